// fi.mau.event_id: what bridges repeat under the id that they chose for it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
import { type Historian, path, refused, startHistorian } from './backfill.ts'

let server: TestServer
let owner: Client
let historian: Historian

before(async () => {
  server = await startServer()
  owner = server.owner
  historian = await startHistorian(server, 'whatsapp')
})
after(() => server[Symbol.asyncDispose]())

const answered = (reply: Reply, id: string) => assert.deepEqual([reply.status, reply.body], [200, { event_id: id }])

test('the same event again under its chosen id is answered with that id and written once, whatever has happened since', async () => {
  const { bridge } = historian
  const ghost = bridge.ghost(1)
  const roomId = await historian.portal()
  const put = (kind: string, id: string, content: object, userId = bridge.botId) =>
    bridge.as(userId).request('PUT', `/rooms/${path(roomId)}/${kind}?fi.mau.event_id=${path(id)}`, content)
  const status = (value: number) => ({ 'm.relates_to': { rel_type: 'm.reference', event_id: '$said' }, mutate_event_key: 'n', n: value })
  const member = `state/m.room.member/${path(ghost)}`
  const sent: [kind: string, id: string, content: object, userId?: string][] = [
    ['send/m.room.message/1', '$said', { body: 'x', of: { a: 1, b: 2 } }, ghost],
    ['send/m.room.message/2', '$gone', { body: 'y' }, ghost],
    ['send/com.beeper.message_send_status/3', '$status1', status(1)],
    ['send/com.beeper.message_send_status/4', '$status2', status(2)],
    ['state/com.example/key', '$state1', { n: 1 }],
    ['state/com.example/key', '$state2', { n: 2 }],
    ['state/com.example/key', '$state3', { n: 1 }],
    ['send/m.room.redaction/5', '$redaction', { redacts: '$gone', reason: 'r' }, ghost],
    [member, '$member', { membership: 'join', displayname: 'G' }, ghost],
    [member, '$left', { membership: 'leave' }, ghost],
  ]
  for (const [kind, id, content, userId] of sent) answered(await put(kind, id, content, userId), id)
  const position = async () => (await owner.graphql('{ position }')).data.position
  const read = async () =>
    (await owner.get(`/rooms/${path(roomId)}/messages?dir=b&limit=100`)).body.chunk.map(({ unsigned: _, ...event }: Reply['body']) => event)
  const there = await read()
  // What a status said was put into $said since: the bridge still says what it said itself.
  for (const [kind, id, content, userId] of sent) {
    const again = kind.startsWith('send') ? `${kind}again` : kind
    answered(await put(again, id, content, userId), id)
  }
  assert.deepEqual(await read(), there)
  assert.equal(there.find((event: Reply['body']) => event.event_id === '$said').content.n, 2)
  assert.equal((await owner.get(`/rooms/${path(roomId)}/state/com.example/key`)).body.n, 1)
  const end = await position()
  for (const [kind, id, content, userId] of [
    ['send/m.room.message/a', '$status1', status(1)],
    ['send/com.beeper.message_send_status/b', '$status1', status(3)],
    ['state/com.beeper.message_send_status/', '$status1', status(1)],
    ['state/com.example/other', '$state1', { n: 1 }],
    ['send/m.room.message/c', '$gone', { body: 'y' }],
    ['send/m.room.message/d', '$gone', { body: 'y' }, owner.userId],
    ['state/com.example/key', '$state1', { n: 3 }],
  ] as const) {
    refused(await put(kind, id, content, userId), 409, 'M_INVALID_PARAM')
  }
  assert.equal(await position(), end)
})

test('an event of a batch that is sent again by itself is answered with its id, also while the batch is under way', async () => {
  const roomId = await historian.portal()
  for (let round = 0; round < 10; round++) {
    const events = historian.messages(`batched${round}`, 30)
    const { event_id: id, content, sender, type } = events[round % 2 === 0 ? 0 : 29]!
    const single = () =>
      historian.bridge
        .as(sender)
        .request(
          'PUT',
          `/rooms/${path(roomId)}/send/${type}/${round}?ts=${events[0]!.origin_server_ts}&fi.mau.event_id=${path(id)}`,
          content,
        )
    const sending = historian.send(roomId, { events, forward: true })
    const early = await single()
    answered(early, id)
    // Whichever came first: the batch is there in full, or continues nothing.
    const { status } = await sending
    assert.ok(status === 200 || (status === 400 && round % 2 === 1))
    answered(await single(), id)
    const read = await owner.get(`/rooms/${path(roomId)}/messages?dir=b&limit=1000`)
    assert.equal(read.body.chunk.filter((event: Reply['body']) => event.event_id === id).length, 1)
  }
})
