// The inbox as Beeper's clients keep it, against a real server.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
import { registerBridge, type TestBridge } from '../users/bridge.ts'

let server: TestServer
let alice: Client
let bob: Client
let owner: Client
let bridge: TestBridge
const path = encodeURIComponent

before(async () => {
  server = await startServer()
  alice = await server.register('alice')
  bob = await server.register('bob')
  owner = server.owner
  bridge = await registerBridge(server, 'inbox')
})
after(() => server[Symbol.asyncDispose]())

function refused(reply: Reply, status: number, errcode: string): void {
  assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(reply.body))
}

function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

async function shared(): Promise<string> {
  const roomId = await alice.createRoom({ invite: [bob.userId] })
  accepted(await bob.post(`/rooms/${path(roomId)}/join`))
  return roomId
}

const inboxState = (client: Client, roomId: string, body: unknown, userId = client.userId) =>
  client.request('PUT', `/_matrix/client/unstable/com.beeper.inbox/user/${path(userId)}/rooms/${path(roomId)}/inbox_state`, body)
const archive = (client: Client, body: unknown) => client.request('POST', '/_matrix/client/unstable/com.beeper.inbox/batch_archive', body)
const dataPath = (client: Client, roomId: string, type: string) => `/user/${path(client.userId)}/rooms/${path(roomId)}/account_data/${type}`
const data = async (client: Client, roomId: string, type: string) => (await client.get(dataPath(client, roomId, type))).body
/** notification and highlight counts */
async function unread(client: Client, roomId: string): Promise<[number, number]> {
  const { unread_notifications: counts } = (await client.sync()).rooms.join[roomId]
  return [counts.notification_count, counts.highlight_count]
}

describe('inbox_state', () => {
  test('reads, is done with and marks as unread in one step', async () => {
    const roomId = await shared()
    const eventId = await bob.send(roomId, 'hi')
    assert.deepEqual(await unread(alice, roomId), [1, 0])
    const before = Date.now()
    const body = {
      marked_unread: true,
      done: { at_delta: 5_000, at_order: 7 },
      read_markers: { 'm.fully_read': eventId, 'm.read': eventId, 'com.beeper.fully_read.extra': { 'fi.mau.double_puppet_source': 'x' } },
    }
    assert.deepEqual(accepted(await inboxState(alice, roomId, body)), {})
    assert.deepEqual(await unread(alice, roomId), [0, 0])
    const { updated_ts, at_ts, at_order } = await data(alice, roomId, 'com.beeper.inbox.done')
    assert.deepEqual([at_ts - updated_ts, at_order, updated_ts >= before], [5_000, 7, true])
    assert.equal(
      (await data(alice, roomId, 'm.marked_unread')).unread,
      true,
      'who asks for the mark gets it, although reading takes it away',
    )
    assert.deepEqual(await data(alice, roomId, 'm.fully_read'), { 'fi.mau.double_puppet_source': 'x', event_id: eventId })
    accepted(await inboxState(alice, roomId, { marked_unread: false }))
    assert.equal((await data(alice, roomId, 'm.marked_unread')).unread, false)
    assert.deepEqual(accepted(await inboxState(alice, roomId, {})), {})
  })

  test('is refused for others, outside the room, for what is no room id and for unknown events, and then changes nothing', async () => {
    const roomId = await shared()
    refused(await inboxState(bob, roomId, {}, alice.userId), 403, 'M_FORBIDDEN')
    refused(await inboxState(owner, roomId, { marked_unread: true }), 403, 'M_FORBIDDEN')
    refused(await inboxState(alice, 'nonsense', {}), 400, 'M_INVALID_PARAM')
    refused(await inboxState(alice, roomId, { marked_unread: 1 }), 400, 'M_BAD_JSON')
    const body = { marked_unread: true, done: {}, read_markers: { 'm.read': '$none' } }
    refused(await inboxState(alice, roomId, body), 404, 'M_NOT_FOUND')
    assert.equal((await alice.get(dataPath(alice, roomId, 'm.marked_unread'))).status, 404)
    assert.equal((await alice.get(dataPath(alice, roomId, 'com.beeper.inbox.done'))).status, 404)
  })

  test('is for a bridge as the owner in its own rooms', async () => {
    const create = await bridge.as(bridge.botId).request('POST', '/createRoom', { invite: [owner.userId] })
    const own = accepted(create).room_id
    const foreign = await owner.createRoom()
    const puppet = bridge.as(owner.userId)
    const set = (roomId: string) =>
      puppet.request('PUT', `/_matrix/client/unstable/com.beeper.inbox/user/${path(owner.userId)}/rooms/${path(roomId)}/inbox_state`, {
        marked_unread: true,
      })
    accepted(await set(own))
    assert.equal((await data(owner, own, 'm.marked_unread')).unread, true)
    refused(await set(foreign), 403, 'M_FORBIDDEN')
  })
})

describe('archiving', () => {
  test('marks many rooms as done, and passes over those the user is not in', async () => {
    const mine = [await alice.createRoom(), await alice.createRoom()]
    const foreign = await bob.createRoom()
    const { next_batch: since } = await alice.sync()
    assert.deepEqual(accepted(await archive(alice, { room_ids: [...mine, mine[0], foreign, '!nobody:example.com'] })), {})
    for (const roomId of mine) {
      const { at_ts, updated_ts } = await data(alice, roomId, 'com.beeper.inbox.done')
      assert.equal(at_ts, updated_ts)
    }
    const synced = await alice.sync(`since=${since}`)
    assert.deepEqual(Object.keys(synced.rooms.join).sort(), [...mine].sort(), 'every device is told')
    refused(await archive(alice, { room_ids: [mine[0], 'nonsense'] }), 400, 'M_INVALID_PARAM')
    refused(await archive(alice, {}), 400, 'M_MISSING_PARAM')
    refused(await archive(alice, { room_ids: Array.from({ length: 10_001 }, () => '!a:b') }), 413, 'M_TOO_LARGE')
    const asBridge = await bridge
      .as(owner.userId)
      .request('POST', '/_matrix/client/unstable/com.beeper.inbox/batch_archive', { room_ids: [] })
    refused(asBridge, 403, 'M_FORBIDDEN')
  })

  test('a receipt of type com.beeper.inbox.done says as of which event, keeps its further keys, and nobody else sees it', async () => {
    const roomId = await shared()
    const eventId = await bob.send(roomId, 'hi')
    const event = accepted(await alice.get(`/rooms/${path(roomId)}/event/${path(eventId)}`))
    const { next_batch: since } = await bob.sync()
    accepted(await alice.post(`/rooms/${path(roomId)}/receipt/com.beeper.inbox.done/${path(eventId)}`, { 'com.example': 1 }))
    const { updated_ts, ...done } = await data(alice, roomId, 'com.beeper.inbox.done')
    assert.deepEqual(done, { 'com.example': 1, at_ts: updated_ts, at_order: event.unsigned['com.beeper.hs.order'] })
    assert.equal((await bob.sync(`since=${since}`)).rooms, undefined)
    refused(await alice.post(`/rooms/${path(roomId)}/receipt/com.beeper.inbox.done/${path('$none')}`), 404, 'M_NOT_FOUND')
    refused(await alice.post(`/rooms/${path(roomId)}/receipt/com.example/${path(eventId)}`), 400, 'M_INVALID_PARAM')
  })
})

describe('a room muted by com.beeper.mute', () => {
  const mute = (roomId: string, until: number) => alice.put(dataPath(alice, roomId, 'com.beeper.mute'), { muted_until: until })

  test('counts nothing but mentions until the time is over', async () => {
    const roomId = await shared()
    accepted(await mute(roomId, -1))
    await bob.send(roomId, 'quiet')
    assert.deepEqual(await unread(alice, roomId), [0, 0])
    const mention = { msgtype: 'm.text', body: 'you', 'm.mentions': { user_ids: [alice.userId] } }
    accepted(await bob.put(`/rooms/${path(roomId)}/send/m.room.message/mention`, mention))
    assert.deepEqual(await unread(alice, roomId), [1, 1])
    for (const [until, count] of [
      [Date.now() + 3_600_000, 1],
      [Date.now() - 1, 2],
      [0, 3],
    ] as const) {
      accepted(await mute(roomId, until))
      await bob.send(roomId, `until ${until}`)
      assert.deepEqual(await unread(alice, roomId), [count, 1])
    }
  })

  test('shows in GraphQL, where it is set as well', async () => {
    const roomId = await shared()
    const ask = 'query($r: ID!) { room(roomId: $r) { mutedUntil doneAt } time }'
    const before = (await alice.graphql(ask, { r: roomId })).data
    assert.deepEqual(before.room, { mutedUntil: null, doneAt: null })
    const change = 'mutation($r: ID!) { muteRoom(roomId: $r, until: -1) archiveRooms(roomIds: [$r]) }'
    assert.deepEqual((await alice.graphql(change, { r: roomId })).data, { muteRoom: true, archiveRooms: true })
    const { room } = (await alice.graphql(ask, { r: roomId })).data
    assert.equal(room.mutedUntil, -1)
    assert.ok(room.doneAt >= before.time)
    const refusal = await alice.graphql('mutation($r: ID!) { muteRoom(roomId: $r, until: -2) }', { r: roomId })
    assert.equal(refusal.errors[0].extensions.errcode, 'M_INVALID_PARAM')
    const foreign = await owner.graphql('mutation($r: ID!) { muteRoom(roomId: $r, until: -1) }', { r: roomId })
    assert.equal(foreign.errors[0].extensions.errcode, 'M_FORBIDDEN')
    const state = 'mutation($r: ID!) { setInboxState(roomId: $r, done: { atDelta: 60000 }, markedUnread: true) }'
    assert.deepEqual((await alice.graphql(state, { r: roomId })).data, { setInboxState: true })
  })
})

describe('reading', () => {
  test('an own message reads the room and takes the mark of unread away', async () => {
    const roomId = await shared()
    await bob.send(roomId, 'hi')
    accepted(await alice.put(dataPath(alice, roomId, 'm.marked_unread'), { unread: true }))
    await alice.send(roomId, 'answer')
    assert.deepEqual(await unread(alice, roomId), [0, 0])
    assert.equal((await data(alice, roomId, 'm.marked_unread')).unread, false)
  })

  test('moving the read marker takes the mark of unread away, under either of its names', async () => {
    const roomId = await shared()
    const eventId = await bob.send(roomId, 'hi')
    const types = ['m.marked_unread', 'com.famedly.marked_unread']
    for (const type of types) accepted(await alice.put(dataPath(alice, roomId, type), { unread: true }))
    accepted(await alice.post(`/rooms/${path(roomId)}/read_markers`, { 'm.fully_read': eventId }))
    for (const type of types) assert.equal((await data(alice, roomId, type)).unread, false)
  })

  test('the fully read marker moves back with com.beeper.allow_backward only', async () => {
    const roomId = await shared()
    const [first, second] = [await bob.send(roomId, '1'), await bob.send(roomId, '2')]
    const move = (eventId: string, more = {}) => alice.post(`/rooms/${path(roomId)}/read_markers`, { 'm.fully_read': eventId, ...more })
    accepted(await move(second))
    accepted(await move(first))
    assert.equal((await data(alice, roomId, 'm.fully_read')).event_id, second)
    accepted(await move(first, { 'com.beeper.allow_backward': true }))
    assert.equal((await data(alice, roomId, 'm.fully_read')).event_id, first)
    const receipt = `/rooms/${path(roomId)}/receipt/m.fully_read/`
    accepted(await alice.post(receipt + path(second)))
    accepted(await alice.post(receipt + path(first), { 'com.beeper.allow_backward': true }))
    assert.equal((await data(alice, roomId, 'm.fully_read')).event_id, first)
  })

  test('message status makes nothing unread', async () => {
    const roomId = await shared()
    const content = { network: 'x', status: 'SUCCESS', 'm.relates_to': { rel_type: 'm.reference', event_id: '$x' } }
    accepted(await bob.put(`/rooms/${path(roomId)}/send/com.beeper.message_send_status/1`, content))
    assert.deepEqual(await unread(alice, roomId), [0, 0])
  })
})

describe('the clock', () => {
  test('is told to who has a token', async () => {
    const { time_ms } = accepted(await alice.request('GET', '/_matrix/client/unstable/com.beeper.timesync'))
    assert.ok(Math.abs(time_ms - Date.now()) < 60_000)
    refused(await server.request('GET', '/_matrix/client/unstable/com.beeper.timesync'), 401, 'M_MISSING_TOKEN')
  })
})
