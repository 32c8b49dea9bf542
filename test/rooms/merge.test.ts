// com.beeper.chatmerging: rooms that become one, and one that becomes several.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
import { type Historian, type HistoryEvent, idsOf, pageBack, path, refused, startHistorian } from './backfill.ts'

let server: TestServer
let owner: Client
let historian: Historian
const handle = 'fi.mau.imessage.handle'
const base = '/_matrix/client/unstable/com.beeper.chatmerging'

before(async () => {
  server = await startServer()
  owner = server.owner
  historian = await startHistorian(server, 'imessage')
})
after(() => server[Symbol.asyncDispose]())

const create = (more: object = {}) => ({
  preset: 'private_chat',
  invite: [owner.userId, historian.bridge.ghost(1)],
  'com.beeper.auto_join_invites': true,
  ...more,
})
const merge = (rooms: string[], more: object = {}) =>
  historian.bot.post(`${base}/merge`, { create: create(), key: handle, rooms, user_id: historian.bridge.botId, ...more })
const split = (roomId: string, parts: object[]) => historian.bot.post(`${base}/rooms/${path(roomId)}/split`, { key: handle, parts })

/** Until nothing is moved any more. */
async function settled(): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const { data } = await owner.graphql('{ jobs { kind endedAt } }')
    if (data.jobs.every(({ endedAt }: Reply['body']) => endedAt !== null)) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.fail('the jobs do not end')
}

/** n messages `step` ms apart. */
function chat(name: string, n: number, start: number, step: number, content: object = {}): HistoryEvent[] {
  return historian.messages(name, n).map((event, i) => ({
    ...event,
    origin_server_ts: start + i * step,
    content: { ...event.content, ...content },
  }))
}

async function gone(roomId: string): Promise<void> {
  refused(await owner.get(`/rooms/${path(roomId)}/messages?dir=b`), 403, 'M_FORBIDDEN')
  refused(await historian.bot.get(`/rooms/${path(roomId)}/state`), 403, 'M_FORBIDDEN')
  for (const reader of [owner, historian.bot]) assert.ok(!(await reader.get('/joined_rooms')).body.joined_rooms.includes(roomId))
}

describe('merging', () => {
  test('the new room has the history of all by time, and the old ones are gone for everybody', async () => {
    const [one, two] = [await historian.portal(), await historian.portal()]
    const [a, b] = [chat('a', 5, 1_000, 1_000), chat('b', 5, 1_500, 1_000)]
    await historian.sent(one, { events: a })
    await historian.sent(two, { events: b, forward: true })
    const said = await owner.send(one, 'last')
    const { next_batch: since } = await owner.sync()
    const reply = await merge([one, two])
    assert.equal(reply.status, 200, JSON.stringify(reply.body))
    const roomId = reply.body.room_id
    await gone(one)
    await gone(two)
    await settled()
    const events = await pageBack(owner, roomId, 3)
    const interleaved = a.flatMap((event, i) => [event.event_id, b[i]!.event_id])
    assert.deepEqual(idsOf(events), [said, ...interleaved.toReversed()])
    assert.deepEqual(
      events.slice(1).map((event) => event.origin_server_ts),
      [...a, ...b].map((event) => event.origin_server_ts).sort((x, y) => y - x),
    )
    assert.ok(events.every((event) => event.room_id === roomId && event.unsigned['com.beeper.hs.order'] < 0))
    const { rooms } = await owner.sync(`since=${since}`)
    assert.deepEqual(Object.keys(rooms.leave).sort(), [one, two].sort())
    assert.deepEqual(Object.keys(rooms.join), [roomId])
    // Everybody is in it, and life goes on.
    assert.ok((await owner.get(`/rooms/${path(roomId)}/joined_members`)).body.joined[historian.bridge.ghost(1)])
    await owner.send(roomId, 'on')
  })

  test('relations, redactions and more than a slice of events come along', async () => {
    const [one, two] = [await historian.portal(), await historian.portal()]
    const events = chat('long', 1_234, 1_000, 10)
    const relates = { 'm.relates_to': { rel_type: 'm.annotation', event_id: events[0]!.event_id, key: '👍' } }
    const reaction = { ...events[0]!, type: 'm.reaction', event_id: '$reaction', origin_server_ts: 50_000, content: relates }
    const thread = { 'm.relates_to': { rel_type: 'm.thread', event_id: events[1]!.event_id } }
    const reply = { ...events[1]!, event_id: '$reply', origin_server_ts: 50_001, content: { body: 'reply', ...thread } }
    const redaction = {
      type: 'm.room.redaction',
      sender: historian.bridge.ghost(1),
      origin_server_ts: 50_002,
      event_id: '$redaction',
      redacts: events[2]!.event_id,
      content: {},
    }
    await historian.sent(one, { events: [...events, reaction, reply, redaction] })
    const roomId = (await merge([one, two])).body.room_id
    await settled()
    assert.equal((await pageBack(owner, roomId, 1_000)).length, 1_237)
    const read = async (id: string) => (await owner.get(`/rooms/${path(roomId)}/event/${path(id)}`)).body
    assert.equal((await read(events[1]!.event_id)).unsigned['m.relations']['m.thread'].latest_event.event_id, '$reply')
    const emptied = await read(events[2]!.event_id)
    assert.deepEqual([emptied.content, emptied.unsigned.redacted_because.event_id], [{}, '$redaction'])
    const again = historian.bridge.as(historian.bridge.ghost(1)).request('PUT', `/rooms/${path(roomId)}/send/m.reaction/r1`, relates)
    refused(await again, 400, 'M_DUPLICATE_ANNOTATION')
  })

  test('what was encrypted says for which room, the first one however often it moves', async () => {
    const rooms = await Promise.all([1, 2, 3].map(() => historian.portal()))
    const content = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'x', session_id: 's' }
    for (const [i, room] of rooms.entries()) {
      await historian.sent(room, { events: [{ ...chat(`enc${i}`, 1, 1_000 + i, 1)[0]!, type: 'm.room.encrypted', content }] })
    }
    const first = (await merge(rooms.slice(0, 2))).body.room_id
    await settled()
    const second = (await merge([first, rooms[2]!])).body.room_id
    await settled()
    const events = await pageBack(owner, second)
    assert.deepEqual(
      events.map((event) => event.content),
      rooms.toReversed().map((room) => ({ ...content, 'com.beeper.original_room_id': room })),
    )
    assert.deepEqual(
      events.map((event) => event.origin_server_ts),
      [1_002, 1_001, 1_000],
    )
  })

  test('a merge that was begun is finished after a restart', async () => {
    const [one, two] = [await historian.portal(), await historian.portal()]
    await historian.sent(one, { events: chat('far', 3_000, 1_000, 1) })
    const old = await (await server.server.host.defaultInstance()).storage.first('room', { roomId: one })
    const roomId = (await merge([one, two])).body.room_id
    await server.restart()
    await settled()
    const { data } = await owner.graphql('{ jobs { kind done total } }')
    const move = data.jobs.find(({ kind }: Reply['body']) => kind === 'MOVE_HISTORY')
    assert.deepEqual([move.done, move.total], [3_000, 3_000])
    const { storage } = await server.server.host.defaultInstance()
    assert.equal(await storage.count('event', { room: old!.key }), 0, 'nothing is left of the old room')
    const ids = idsOf(await pageBack(owner, roomId, 1_000))
    assert.deepEqual(ids, idsOf(chat('far', 3_000, 1_000, 1)).toReversed())
  })

  test('what is still on its way follows into the room that the new one is merged into, through a restart as well', async () => {
    const rooms = await Promise.all([1, 2, 3, 4].map(() => historian.portal()))
    const chats = rooms.map((_, i) => chat(`chained${i}`, 1_200, 1_000 + i, 10))
    for (const [i, room] of rooms.entries()) await historian.sent(room, { events: chats[i]! })
    const first = (await merge(rooms.slice(0, 2))).body.room_id
    const second = (await merge([first, rooms[2]!])).body.room_id
    await server.restart()
    const third = (await merge([second, rooms[3]!])).body.room_id
    await settled()
    const interleaved = chats[0]!.flatMap((_, i) => chats.map((events) => events[i]!.event_id))
    assert.deepEqual(idsOf(await pageBack(owner, third, 1_000)), interleaved.toReversed())
    const { storage } = await server.server.host.defaultInstance()
    assert.equal(await storage.count('room', { roomId: { in: [first, second] } }), 0)
    assert.equal(await storage.count('event', { eventId: chats[0]![0]!.event_id }), 1, 'nothing is left in the rooms between')
  })

  test('of a room that is deleted while its history comes nothing is left', async () => {
    const [one, two] = [await historian.portal(), await historian.portal()]
    const events = chat('dropped', 1_200, 1_000, 10)
    await historian.sent(one, { events })
    const roomId = (await merge([one, two])).body.room_id
    await historian.bot.post(`/_matrix/client/unstable/com.beeper.yeet/rooms/${path(roomId)}/delete`, {})
    await settled()
    const { storage } = await server.server.host.defaultInstance()
    assert.equal(await storage.count('event', { eventId: events[0]!.event_id }), 0)
  })

  test('an event that the new room got meanwhile does not come twice', async () => {
    const [one, two] = [await historian.portal(), await historian.portal()]
    const events = chat('twice', 10, 1_000, 1)
    await historian.sent(one, { events })
    await historian.sent(two, { events: events.slice(5) })
    const reply = await merge([one, two])
    await historian.send(reply.body.room_id, { events: events.slice(0, 1) })
    await settled()
    const ids = idsOf(await pageBack(owner, reply.body.room_id))
    assert.deepEqual(ids.toSorted(), idsOf(events).toSorted())
  })
})

describe('splitting', () => {
  test('events go to the room of their value, what speaks of them follows, the rest goes to the first', async () => {
    const roomId = await historian.portal()
    const alice = chat('alice', 3, 1_000, 10, { [handle]: 'tel:1' })
    const bob = chat('bob', 3, 1_005, 10, { [handle]: 'tel:2' })
    const reaction = {
      ...bob[0]!,
      type: 'm.reaction',
      event_id: '$of-bob',
      origin_server_ts: 2_000,
      content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: bob[0]!.event_id, key: '👍' } },
    }
    const answer = {
      ...bob[0]!,
      event_id: '$to-reaction',
      origin_server_ts: 2_001,
      content: { body: 'answer', 'm.relates_to': { 'm.in_reply_to': { event_id: '$of-bob' } } },
    }
    await historian.sent(roomId, { events: [...alice, ...bob, reaction, answer] })
    const said = await owner.send(roomId, 'to nobody')
    const reply = await split(roomId, [
      { user_id: historian.bridge.ghost(1), values: ['mail:1', 'tel:1'], create: create() },
      { user_id: historian.bridge.botId, values: ['tel:2'], create: create() },
    ])
    assert.equal(reply.status, 200, JSON.stringify(reply.body))
    const ids = reply.body.room_ids
    assert.deepEqual(Object.keys(ids).sort(), ['mail:1', 'tel:1', 'tel:2'])
    assert.equal(ids['mail:1'], ids['tel:1'])
    assert.notEqual(ids['tel:1'], ids['tel:2'])
    await gone(roomId)
    await settled()
    assert.deepEqual(idsOf(await pageBack(owner, ids['tel:1'])), [said, ...idsOf(alice).toReversed()])
    assert.deepEqual(idsOf(await pageBack(owner, ids['tel:2'])), ['$to-reaction', '$of-bob', ...idsOf(bob).toReversed()])
    const creator = (await owner.get(`/rooms/${path(ids['tel:1'])}/state`)).body.find(
      (event: Reply['body']) => event.type === 'm.room.create',
    )
    assert.equal(creator.sender, historian.bridge.ghost(1))
  })

  test('a room is split while its history is still on its way', async () => {
    const rooms = [await historian.portal(), await historian.portal()]
    const chats = ['p', 'q'].map((name, i) => chat(name, 1_200, 1_000 + i, 10, { [handle]: name }))
    for (const [i, room] of rooms.entries()) await historian.sent(room, { events: chats[i]! })
    const merged = (await merge(rooms)).body.room_id
    const { body } = await split(merged, [
      { values: ['p'], create: create() },
      { values: ['q'], create: create() },
    ])
    await settled()
    for (const [i, name] of ['p', 'q'].entries()) {
      assert.deepEqual(idsOf(await pageBack(owner, body.room_ids[name], 1_000)), idsOf(chats[i]!).toReversed())
    }
  })

  test('a merged room is split again', async () => {
    const rooms = [await historian.portal(), await historian.portal()]
    const chats = ['x', 'y'].map((name, i) => chat(name, 4, 1_000 + i, 10, { [handle]: name }))
    for (const [i, room] of rooms.entries()) await historian.sent(room, { events: chats[i]! })
    const merged = (await merge(rooms)).body.room_id
    await settled()
    const { body } = await split(merged, [
      { values: ['x'], create: create() },
      { values: ['y'], create: create() },
    ])
    await settled()
    for (const [i, name] of ['x', 'y'].entries()) {
      assert.deepEqual(idsOf(await pageBack(owner, body.room_ids[name])), idsOf(chats[i]!).toReversed())
    }
  })
})

test('only a bridge, only rooms with a user of it, only as its own users; what is refused changes nothing', async () => {
  const [one, two, foreign] = [await historian.portal(), await historian.portal(), await owner.createRoom()]
  const body = { create: create(), key: handle, rooms: [one, two] }
  const part = { values: ['a'], create: create() }
  const splitPath = `${base}/rooms/${path(one)}/split`
  refused(await owner.post(`${base}/merge`, body), 403, 'M_FORBIDDEN')
  refused(await owner.post(splitPath, { key: handle, parts: [part] }), 403, 'M_FORBIDDEN')
  refused(await historian.bridge.as(owner.userId).request('POST', `${base}/merge`, body), 403, 'M_FORBIDDEN')
  refused(await historian.bridge.as(owner.userId).request('POST', splitPath, { key: handle, parts: [part] }), 403, 'M_FORBIDDEN')
  const other = await startHistorian(server, 'sms')
  refused(await other.bot.post(`${base}/merge`, body), 403, 'M_FORBIDDEN')
  refused(await merge([one, foreign]), 403, 'M_FORBIDDEN')
  refused(await merge([one, '!nowhere:example.com']), 403, 'M_FORBIDDEN')
  refused(await merge([one, two], { user_id: server.administrator.userId }), 403, 'M_FORBIDDEN')
  refused(await merge([one]), 400, 'M_INVALID_PARAM')
  refused(await merge([one, one]), 400, 'M_INVALID_PARAM')
  refused(await merge([one, two], { create: create({ room_version: '99' }) }), 400, 'M_UNSUPPORTED_ROOM_VERSION')
  refused(await merge([one, two], { create: create({ invite_3pid: [{}] }) }), 403, 'M_THREEPID_DENIED')
  refused(await merge([one, two], { create: 'yes' }), 400, 'M_BAD_JSON')
  refused(await split(one, []), 400, 'M_INVALID_PARAM')
  refused(await split(one, [part, part]), 400, 'M_INVALID_PARAM')
  refused(await split(foreign, [part]), 403, 'M_FORBIDDEN')
  refused(await split(one, [{ ...part, user_id: '@sms_1:example.com' }]), 403, 'M_FORBIDDEN')
  for (const roomId of [one, two]) assert.ok((await owner.get('/joined_rooms')).body.joined_rooms.includes(roomId))
  await owner.send(one, 'still here')
})
