// Batches by GraphQL, and how its clients page into what was prepended.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { RoomRow } from '../../src/storage/tables.ts'
import { watchInbox } from '../../src/sync/watch.ts'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
import { type Historian, idsOf, startHistorian } from './backfill.ts'

let server: TestServer
let owner: Client
let historian: Historian

before(async () => {
  server = await startServer()
  owner = server.owner
  historian = await startHistorian(server, 'whatsapp')
})
after(() => server[Symbol.asyncDispose]())

const mutation = `mutation($roomId: ID!, $events: [BatchEventInput!]!, $markReadBy: ID) {
  batchSend(roomId: $roomId, events: $events, markReadBy: $markReadBy) { eventIds }
}`
const input = (name: string, n: number) =>
  historian
    .messages(name, n)
    .map(({ type, sender, content, origin_server_ts: ts, event_id: eventId }) => ({ type, sender, content, ts, eventId }))

test('a client that pages a timeline backwards comes to the first event of prepended history', async () => {
  const roomId = await historian.portal()
  const sent = await historian.bot.graphql(mutation, { roomId, events: input('history', 25), markReadBy: owner.userId })
  assert.deepEqual(sent.data.batchSend.eventIds, idsOf(historian.messages('history', 25)))
  const seen: string[] = []
  for (let before: string | null = null; ; ) {
    const query = `query($roomId: ID!, $before: String) {
      room(roomId: $roomId) { lowest timeline(last: 10, before: $before) { edges { node { eventId stateKey } } pageInfo { hasPreviousPage startCursor } } }
    }`
    const { data } = await owner.graphql(query, { roomId, before })
    assert.equal(data.room.lowest, -25)
    const { edges, pageInfo } = data.room.timeline
    seen.unshift(...edges.filter(({ node }: Reply['body']) => node.stateKey === null).map(({ node }: Reply['body']) => node.eventId))
    if (!pageInfo.hasPreviousPage) break
    before = pageInfo.startCursor
  }
  assert.deepEqual(seen, idsOf(historian.messages('history', 25)))
})

test('who watches the inbox is told of the room when history comes', { timeout: 20_000 }, async () => {
  const roomId = await historian.portal()
  const { host } = server.server
  const { instance, actor } = await host.authenticate(owner.token, null)
  const stop = new AbortController()
  const changes = watchInbox(instance, actor, {}, stop.signal)
  const next = changes.next()
  await historian.sent(roomId, { events: historian.messages('watched', 3) })
  const { value } = await next
  assert.deepEqual(
    value?.rooms.map(({ room }: { room: RoomRow }) => [room.roomId, room.lowest]),
    [[roomId, -3]],
  )
  stop.abort()
  await changes.return(undefined)
})

test('what the rules refuse is refused by GraphQL as well', async () => {
  const roomId = await historian.portal()
  const errcode = async (client: Client, events: object[]) =>
    (await client.graphql(mutation, { roomId, events })).errors?.[0].extensions.errcode
  assert.equal(await errcode(owner, input('x', 1)), 'M_FORBIDDEN')
  assert.equal(await errcode(historian.bot, [...input('x', 1), ...input('x', 1)]), 'M_INVALID_PARAM')
  assert.equal(await errcode(historian.bot, input('x', 5_001)), 'M_TOO_LARGE')
  assert.equal(await errcode(historian.bot, [{ ...input('x', 1)[0]!, content: { a: 0.5 } }]), 'M_BAD_JSON')
})
