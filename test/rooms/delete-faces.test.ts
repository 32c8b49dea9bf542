/** Deleted rooms as clients and bridges see them, on both faces. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jobsDone } from '../jobs/done.ts'
import { type BridgeRegistration, ExampleBridge } from '../rig/example-bridge.ts'
import { type Client, startServer, type TestServer } from '../rig/server.ts'

const yeetPath = (roomId: string) => `/_matrix/client/unstable/com.beeper.yeet/rooms/${encodeURIComponent(roomId)}/delete`
const register =
  'mutation($id: String!) { registerBridge(id: $id, registration: { namespaces: { users: [{ regex: "@br_.*", exclusive: true }] } }) { registration } }'

/** A bridge without an address, as its bot. */
async function bridgeOf({ administrator, client }: TestServer): Promise<{ bot: Client; registration: BridgeRegistration }> {
  const { data, errors } = await administrator.graphql(register, { id: 'br' })
  assert.equal(errors, undefined)
  const { registration } = data.registerBridge
  return { bot: client(registration.as_token), registration }
}

const portal = ({ owner }: TestServer, more: object = {}) => ({
  invite: [owner.userId],
  'com.beeper.initial_members': ['@br_bob:example.com'],
  ...more,
})

test('a yeeted room is gone for everyone at once, on both faces', async () => {
  await using server = await startServer()
  const { owner } = server
  const { bot } = await bridgeOf(server)
  const roomId = await bot.createRoom(portal(server))
  const eventId = await owner.send(roomId, 'hello')
  const room = `/rooms/${encodeURIComponent(roomId)}`
  const yeeted = await bot.post(yeetPath(roomId))
  assert.deepEqual([yeeted.status, yeeted.body], [200, {}])
  for (const client of [owner, bot]) {
    assert.deepEqual((await client.get('/joined_rooms')).body.joined_rooms, [])
    for (const path of ['/state', '/messages?dir=b', '/joined_members', '/members', '/state/m.room.encryption']) {
      const { status, body } = await client.get(room + path)
      assert.deepEqual([path, status, body.errcode], [path, 403, 'M_FORBIDDEN'])
    }
    assert.equal((await client.get(`${room}/event/${encodeURIComponent(eventId)}`)).status, 404)
    assert.equal((await client.put(`${room}/send/m.room.message/x`, { body: 'x' })).status, 403)
    const again = await client.post(yeetPath(roomId))
    assert.deepEqual([again.status, again.body.errcode], client === bot ? [404, 'M_NOT_FOUND'] : [403, 'M_FORBIDDEN'])
  }
  assert.equal((await owner.sync()).rooms?.join?.[roomId], undefined)
  const { data, errors } = await owner.graphql('{ inbox { edges { node { roomId } } } }')
  assert.deepEqual([data.inbox.edges, errors], [[], undefined])
  const asked = await owner.graphql('query($id: ID!) { room(roomId: $id) { roomId } }', { id: roomId })
  assert.equal(asked.errors[0].extensions.errcode, 'M_FORBIDDEN')
  const twice = await owner.graphql('mutation($id: ID!) { deleteRoom(roomId: $id) }', { id: roomId })
  assert.equal(twice.errors[0].extensions.errcode, 'M_NOT_FOUND')
})

test('who synced a yeeted room sees it leave: waiting, later, after a restart, and by a token older than the room', async () => {
  await using server = await startServer()
  const { owner } = server
  const { bot } = await bridgeOf(server)
  const first = (await owner.sync()).next_batch
  const roomId = await bot.createRoom(portal(server))
  const { next_batch } = await owner.sync()
  const waiting = owner.sync(`since=${next_batch}&timeout=20000`)
  // The answer must come of the deletion, not of what was read before it.
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal((await bot.post(yeetPath(roomId))).status, 200)
  const isLeft = ({ rooms }: { rooms?: { leave?: Record<string, { timeline: { events: Record<string, unknown>[] } }> } }) => {
    const [event] = rooms!.leave![roomId]!.timeline.events
    assert.deepEqual([event!['type'], event!['state_key'], event!['content']], ['m.room.member', owner.userId, { membership: 'leave' }])
  }
  isLeft(await waiting)
  isLeft(await owner.sync(`since=${next_batch}`))
  isLeft(await owner.sync(`since=${first}`))
  await server.restart()
  isLeft(await owner.sync(`since=${next_batch}`))
  const now = await owner.sync(`since=${first}`)
  isLeft(now)
  assert.equal((await owner.sync(`since=${now.next_batch}`)).rooms, undefined)
})

test('a room made anew under the same id comes as another one: whole, and cut from what a client knew', async () => {
  await using server = await startServer()
  const { owner } = server
  const { bot } = await bridgeOf(server)
  const chosen = portal(server, { 'fi.mau.room_id': '!chosen:example.com' })
  const roomId = await bot.createRoom(chosen)
  const { next_batch } = await owner.sync()
  await bot.post(yeetPath(roomId))
  assert.equal(await bot.createRoom(chosen), roomId)
  const { rooms } = await owner.sync(`since=${next_batch}`)
  assert.equal(rooms.leave, undefined)
  const { timeline, state } = rooms.join[roomId]
  assert.equal(timeline.limited, true)
  const create = [...state.events, ...timeline.events].filter(({ type }: { type: string }) => type === 'm.room.create')
  assert.equal(create.length, 1)
})

test('subscriptions: the inbox sees the room vanish, what watches the room ends', async () => {
  await using server = await startServer()
  const { owner } = server
  const { bot } = await bridgeOf(server)
  const chosen = portal(server, { 'fi.mau.room_id': '!chosen:example.com' })
  const roomId = await bot.createRoom(chosen)
  const position = (await owner.graphql('{ position }')).data.position
  const ofRoom = (field: string) => subscribe(owner, server.url, `subscription($id: ID!) { ${field} }`, { id: roomId })
  const timeline = ofRoom('timeline(roomId: $id) { eventId }')
  const typing = ofRoom('typing(roomId: $id) { userIds }')
  await typing.next()
  const next = timeline.next()
  await owner.put(`/rooms/${encodeURIComponent(roomId)}/typing/${encodeURIComponent(owner.userId)}`, { typing: true, timeout: 30_000 })
  await typing.next()
  const sent = await owner.send(roomId, 'last words')
  assert.deepEqual((await next).value, { data: { timeline: { eventId: sent } } })
  await bot.post(yeetPath(roomId))
  const inbox = subscribe(owner, server.url, 'subscription($after: Position) { inbox(after: $after) { left } }', { after: position })
  for await (const { data } of inbox) if (data.inbox.left.includes(roomId)) break
  assert.equal((await timeline.next()).done, true)
  assert.equal((await typing.next()).done, true)
  // The same when there is another room of its name at once.
  await bot.createRoom(chosen)
  const again = ofRoom('typing(roomId: $id) { userIds }')
  await again.next()
  await bot.post(yeetPath(roomId))
  await bot.createRoom(chosen)
  assert.equal((await again.next()).done, true)
})

test('deliveries pass over the events of a deleted room and go on', async () => {
  await using server = await startServer()
  const { owner } = server
  const { registration, bot } = await bridgeOf(server)
  await using bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'example.com' })
  bridge.behaviour = 500
  await server.administrator.graphql('mutation($url: String) { setBridgeAddress(id: "br", url: $url) { id } }', { url: bridge.url })
  const dead = await bot.createRoom(portal(server))
  const living = await bot.createRoom(portal(server))
  for (let i = 0; i < 150; i++) await owner.send(dead, `dead ${i}`)
  await owner.send(living, 'first')
  // One transaction is frozen by now, with events of the room.
  await bridge.until('it was tried', () => bridge.attempts.length > 0)
  const [frozen] = bridge.attempts
  assert.ok(frozen!.text.includes(dead))
  assert.equal((await bot.post(yeetPath(dead))).status, 200)
  await jobsDone(await server.server.host.defaultInstance())
  bridge.behaviour = 'ok'
  await owner.send(living, 'second')
  await bridge.until('the living room was told', () => bridge.events.some((event) => event.content.body === 'second'))
  const bodies = bridge.events.filter(({ room_id }) => room_id === living).flatMap(({ content }) => content.body ?? [])
  assert.deepEqual(bodies, ['first', 'second'])
  assert.ok(!bridge.events.some(({ room_id }) => room_id === dead))
})

interface Result {
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it asked for
  readonly data: any
}

/** Results of a subscription as they come, by server-sent events. */
async function* subscribe(client: Client, url: string, query: string, variables: object): AsyncGenerator<Result> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${client.token}`, 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({ query, variables }),
    signal: AbortSignal.timeout(20_000),
  })
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const [event, data] = ['event', 'data'].map((name) => new RegExp(`^${name}: ?(.*)$`, 'm').exec(text.slice(0, end))?.[1])
      text = text.slice(end + 2)
      if (event === 'complete') return
      if (data) yield JSON.parse(data) as Result
    }
  }
}
