/** What a mutation has written reaches its client, whatever else of the answer fails. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server[Symbol.asyncDispose]())

test('the id of a sent event arrives though the event cannot be read back', async (t) => {
  const roomId = await server.owner.createRoom()
  await server.owner.send(roomId, 'so that all that sending needs is in memory')
  const { storage } = await server.server.host.defaultInstance()
  t.mock.method(storage, 'first', () => Promise.reject(new Error('the disk is gone')))
  const send = 'mutation ($roomId: ID!) { sendMessage(roomId: $roomId, txnId: "p1", content: { body: "x" }) { eventId event { type } } }'
  const { data, errors } = await server.owner.graphql(send, { roomId })
  t.mock.reset()
  assert.match(data.sendMessage.eventId, /^\$/)
  assert.equal(data.sendMessage.event, null)
  assert.deepEqual(errors[0].path, ['sendMessage', 'event'])
  const { body } = await server.owner.get(`/rooms/${encodeURIComponent(roomId)}/event/${data.sendMessage.eventId}`)
  assert.equal(body.content.body, 'x')
})

test('the id of a new room arrives though its maker may not read it: an appservice as the owner, in a room without a user of it', async () => {
  const bridge = await registerBridge(server, 'payloads')
  const create = 'mutation { createRoom(input: { name: "mine" }) { roomId room { title } } }'
  const path = `/graphql?user_id=${encodeURIComponent(server.owner.userId)}`
  const { body } = await server.request(
    'POST',
    path,
    { query: create },
    { token: bridge.as_token, headers: { 'content-type': 'application/json' } },
  )
  assert.equal(body.data.createRoom.room, null)
  assert.equal(body.errors[0].extensions.errcode, 'M_FORBIDDEN')
  const { body: joined } = await server.owner.get('/joined_rooms')
  assert.ok(joined.joined_rooms.includes(body.data.createRoom.roomId))
})

test('JSON within JSON without end is refused, wherever JSON is taken', async () => {
  const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`
  const send = async (query: string, levels: number) => {
    const raw = `{"query":${JSON.stringify(query)},"variables":{"value":${deep(levels)}}}`
    return (await server.owner.request('POST', '/graphql', undefined, { raw, headers: { 'content-type': 'application/json' } })).body
  }
  for (const query of [
    'mutation ($value: JsonObject!) { setAccountData(type: "deep", content: $value) }',
    'mutation ($value: JSON) { setProfileField(key: "deep", value: $value) }',
  ]) {
    assert.equal((await send(query, 90)).errors, undefined)
    for (const levels of [101, 20_000]) assert.equal((await send(query, levels)).errors[0].extensions.errcode, 'M_BAD_JSON')
  }
})
