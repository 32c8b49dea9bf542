/** What people keep about rooms that are merged or split: what is unread, how far they have read, tags and the like. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Batch } from '../../src/storage/fold.ts'
import { tables } from '../../src/storage/tables.ts'
import { jobsDone } from '../jobs/done.ts'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { type Historian, idsOf, path, startHistorian } from './backfill.ts'

const base = '/_matrix/client/unstable/com.beeper.chatmerging'
const handle = 'fi.mau.imessage.handle'

const settled = async (server: TestServer) => jobsDone(await server.server.host.defaultInstance())

interface Scene {
  readonly owner: Client
  readonly historian: Historian
  readonly rooms: [string, string]
  /** ghost 1 writes at this time; the id */
  say(roomId: string, ts: number, content?: object): Promise<string>
  merge(rooms?: readonly string[]): Promise<string>
}

async function scene(server: TestServer): Promise<Scene> {
  const { owner } = server
  const historian = await startHistorian(server, 'imessage')
  const ghost = historian.bridge.as(historian.bridge.ghost(1))
  const rooms: [string, string] = [await historian.portal(), await historian.portal()]
  const create = { invite: [owner.userId, historian.bridge.ghost(1)], 'com.beeper.auto_join_invites': true }
  let txn = 0
  return {
    owner,
    historian,
    rooms,
    async say(roomId, ts, content = {}) {
      const reply = await ghost.request('PUT', `/rooms/${path(roomId)}/send/m.room.message/s${txn++}?ts=${ts}`, {
        ...{ msgtype: 'm.text', body: `${ts}` },
        ...content,
      })
      assert.equal(reply.status, 200, JSON.stringify(reply.body))
      return reply.body.event_id
    },
    async merge(from = rooms) {
      const reply = await historian.bot.post(`${base}/merge`, { create, key: handle, rooms: from })
      assert.equal(reply.status, 200, JSON.stringify(reply.body))
      return reply.body.room_id
    },
  }
}

const accepted = (reply: Reply) => assert.equal(reply.status, 200, JSON.stringify(reply.body))

async function read(reader: Client, roomId: string, eventId: string): Promise<void> {
  accepted(await reader.post(`/rooms/${path(roomId)}/read_markers`, { 'm.read': eventId, 'm.fully_read': eventId }))
}

async function put(owner: Client, roomId: string, type: string, content: object): Promise<void> {
  accepted(await owner.put(`/user/${path(owner.userId)}/rooms/${path(roomId)}/account_data/${type}`, content))
}

interface Kept {
  readonly unread: number
  readonly receipts: Record<string, string>
  readonly data: Record<string, Reply['body']>
}

/** What a sync says: the unread count, by user and thread what is read, account data by type. */
async function kept(reader: Client, roomId: string): Promise<Kept> {
  const room = (await reader.sync()).rooms.join[roomId]
  const receipts: Record<string, string> = {}
  for (const { content } of (room.ephemeral?.events ?? []).filter((event: Reply['body']) => event.type === 'm.receipt')) {
    for (const [eventId, types] of Object.entries(content as Reply['body'])) {
      for (const [type, users] of Object.entries(types as Reply['body'])) {
        for (const [userId, data] of Object.entries(users as Reply['body'])) {
          const thread = (data as Reply['body']).thread_id
          receipts[`${type} ${userId}${thread ? ` ${thread}` : ''}`] = eventId
        }
      }
    }
  }
  const data = Object.fromEntries((room.account_data?.events ?? []).map(({ type, content }: Reply['body']) => [type, content]))
  return { unread: room.unread_notifications.notification_count, receipts, data }
}

class Hold {
  on = false
  readonly failCommit = ({ changes }: Batch): Error | null => {
    const cursor = Object.keys(tables.job.columns).indexOf('cursor')
    const isHeld = changes.some(
      ({ table, put: rows }) => table === 'job' && rows[cursor]?.some((text) => String(text).startsWith('history')),
    )
    return this.on && isHeld ? new Error('told to fail') : null
  }
}

await onBothServers('readers of merged rooms', (start) => {
  test('what was unread stays unread, what was read stays read, and the marker stands before the first that is unread', async () => {
    await using server = await start()
    const { owner, rooms, say, merge } = await scene(server)
    const [one, two] = rooms
    const ids: Record<number, string> = {}
    for (const [roomId, ts] of [
      [one, 1_000],
      [two, 2_000],
      [one, 3_000],
      [two, 4_000],
      [one, 5_000],
      [one, 6_000],
    ] as const) {
      ids[ts] = await say(roomId, ts)
    }
    await read(owner, one, ids[3_000]!)
    await read(owner, two, ids[4_000]!)
    const roomId = await merge()
    await settled(server)
    const { unread, receipts, data } = await kept(owner, roomId)
    assert.equal(unread, 2)
    assert.deepEqual(receipts, { [`m.read ${owner.userId}`]: ids[4_000] })
    assert.equal(data['m.fully_read'].event_id, ids[4_000])
    // Whoever reads on has read it all.
    await read(owner, roomId, ids[6_000]!)
    assert.equal((await kept(owner, roomId)).unread, 0)
    assert.equal((await kept(owner, roomId)).data['m.fully_read'].event_id, ids[6_000])
    await say(roomId, 7_000)
    assert.equal((await kept(owner, roomId)).unread, 1)
  })

  test('where one room is read and an older message of the other is not, the marker stands before that one', async () => {
    await using server = await start()
    const { owner, rooms, say, merge } = await scene(server)
    const [one, two] = rooms
    const first = await say(one, 1_000)
    await say(two, 2_000)
    const last = await say(one, 3_000)
    await read(owner, one, last)
    const roomId = await merge()
    await settled(server)
    const { unread, receipts, data } = await kept(owner, roomId)
    assert.deepEqual([unread, receipts, data['m.fully_read'].event_id], [1, { [`m.read ${owner.userId}`]: first }, first])
  })

  test('what the reader said is read, threads keep their receipts, and ghosts theirs', async () => {
    await using server = await start()
    const { owner, historian, rooms, say, merge } = await scene(server)
    const [one, two] = rooms
    const root = await say(one, 1_000)
    const reply = await say(one, 2_000, { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
    accepted(await owner.post(`/rooms/${path(one)}/receipt/m.read/${path(reply)}`, { thread_id: root }))
    accepted(await owner.post(`/rooms/${path(one)}/receipt/m.read/${path(root)}`, { thread_id: 'main' }))
    await read(owner, two, await say(two, 3_000))
    const said = await owner.send(two, 'mine')
    const ghost = historian.bridge.ghost(1)
    accepted(await historian.bridge.as(ghost).request('POST', `/rooms/${path(two)}/receipt/m.read/${path(said)}`, {}))
    const roomId = await merge()
    await settled(server)
    const { unread, receipts } = await kept(owner, roomId)
    assert.deepEqual(
      [unread, receipts],
      [
        0,
        {
          [`m.read ${owner.userId} ${root}`]: reply,
          [`m.read ${owner.userId} main`]: root,
          [`m.read ${owner.userId}`]: said,
          [`m.read ${ghost}`]: said,
        },
      ],
    )
  })

  test('tags, mute and the like are those of the first room that has them; unread as one, done with only as all', async () => {
    await using server = await start()
    const { owner, historian, rooms, merge } = await scene(server)
    const [one, two] = rooms
    await put(owner, one, 'm.tag', { tags: { 'm.favourite': { order: 0.5 } } })
    await put(owner, two, 'm.tag', { tags: { 'u.work': {} } })
    await put(owner, two, 'com.beeper.mute', { muted_until: -1 })
    await put(owner, one, 'm.marked_unread', { unread: false })
    await put(owner, two, 'm.marked_unread', { unread: true })
    await put(owner, one, 'com.beeper.inbox.done', { updated_ts: 7_000, at_ts: 7_000, at_order: 7 })
    const { next_batch: since } = await owner.sync()
    const first = await merge()
    await settled(server)
    const { data } = await kept(owner, first)
    assert.deepEqual(data, {
      'm.tag': { tags: { 'm.favourite': { order: 0.5 } } },
      'com.beeper.mute': { muted_until: -1 },
      'm.marked_unread': { unread: true },
    })
    const { rooms: changed } = await owner.sync(`since=${since}`)
    assert.equal(changed.join[first].account_data.events.length, 3)

    const third = await historian.portal()
    await put(owner, first, 'com.beeper.inbox.done', { updated_ts: 9_000, at_ts: 9_000, at_order: 9 })
    await put(owner, third, 'com.beeper.inbox.done', { updated_ts: 8_000 })
    const last = await merge([first, third])
    await settled(server)
    assert.deepEqual((await kept(owner, last)).data['com.beeper.inbox.done'], { updated_ts: 8_000 })
  })

  test('a split room leaves each part what was unread there, its own marker, and the tags', async () => {
    await using server = await start()
    const { owner, historian, rooms, say } = await scene(server)
    const [roomId] = rooms
    const ids: string[] = []
    for (const [i, value] of ['a', 'b', 'a', 'b', 'b'].entries()) ids.push(await say(roomId, 1_000 + i, { [handle]: value }))
    await read(owner, roomId, ids[2]!)
    await put(owner, roomId, 'm.tag', { tags: { 'm.lowpriority': {} } })
    const create = { invite: [owner.userId, historian.bridge.ghost(1)], 'com.beeper.auto_join_invites': true }
    const parts = ['a', 'b'].map((value) => ({ values: [value], create }))
    const reply = await historian.bot.post(`${base}/rooms/${path(roomId)}/split`, { key: handle, parts })
    accepted(reply)
    await settled(server)
    for (const [value, unread, eventId] of [
      ['a', 0, ids[2]],
      ['b', 2, ids[1]],
    ] as const) {
      const part = await kept(owner, reply.body.room_ids[value])
      assert.deepEqual([part.unread, part.data['m.fully_read'].event_id], [unread, eventId])
      assert.deepEqual(part.receipts, { [`m.read ${owner.userId}`]: eventId })
      assert.deepEqual(part.data['m.tag'], { tags: { 'm.lowpriority': {} } })
    }
  })

  test('all of it goes on into the room that the new one is merged into, through restarts', async () => {
    const hold = new Hold()
    await using server = await start({ faults: hold })
    const { owner, historian, rooms, say, merge } = await scene(server)
    const third = await historian.portal()
    await historian.sent(rooms[0], { events: historian.messages('far', 1_000) })
    const seen = await say(rooms[0], 1_700_000_000_000)
    await read(owner, rooms[0], seen)
    for (const [i, roomId] of [...rooms, third].entries()) await say(roomId, 1_700_000_000_001 + i)
    await put(owner, rooms[1], 'com.beeper.mute', { muted_until: 0 })
    hold.on = true
    const first = await merge()
    const last = await merge([first, third])
    await server.restart()
    hold.on = false
    await settled(server)
    const { unread, receipts, data } = await kept(owner, last)
    assert.deepEqual(
      [unread, receipts, data['m.fully_read'].event_id, data['com.beeper.mute']],
      [3, { [`m.read ${owner.userId}`]: seen }, seen, { muted_until: 0 }],
    )
    const { storage } = await server.server.host.defaultInstance()
    assert.equal(await storage.count('notification', {}), 3, 'nothing is left in the rooms between')
    assert.equal(await storage.count('receipt', {}), 1)
  })

  test('who has read on in the new room, or set something there, before all has come keeps that', async () => {
    const hold = new Hold()
    await using server = await start({ faults: hold })
    const { owner, rooms, say, merge } = await scene(server)
    for (const [i, roomId] of rooms.entries()) await say(roomId, 1_000 + i)
    await read(owner, rooms[0], await say(rooms[0], 2_000))
    await say(rooms[1], 3_000)
    hold.on = true
    const roomId = await merge()
    const said = await say(roomId, 4_000)
    await read(owner, roomId, said)
    hold.on = false
    await settled(server)
    const { unread, receipts, data } = await kept(owner, roomId)
    assert.deepEqual([unread, receipts, data['m.fully_read'].event_id], [0, { [`m.read ${owner.userId}`]: said }, said])
  })

  test('thousands of receipts and marks move in change sets of some hundred rows', async () => {
    await using server = await start()
    const { owner, historian, rooms } = await scene(server)
    const ghosts = Array.from({ length: 450 }, (_, i) => historian.bridge.ghost(i + 2))
    const crowded = await historian.portal({ 'com.beeper.initial_members': ghosts })
    const events = historian.messages('seen', 450)
    await historian.sent(crowded, { events, forward: true, send_notification: true })
    await Promise.all(
      ghosts.map(async (ghost, i) => {
        const receipt = `/rooms/${path(crowded)}/receipt/m.read/${path(events[i]!.event_id)}`
        accepted(await historian.bridge.as(ghost).request('POST', receipt, {}))
      }),
    )
    const sizes: number[] = []
    const instance = await server.server.host.defaultInstance()
    const { enqueue } = instance.shard
    instance.shard.enqueue = (changes, committed) => {
      sizes.push(changes.operations.length)
      return enqueue.call(instance.shard, changes, committed)
    }
    const create = { 'com.beeper.initial_members': [owner.userId, ...ghosts] }
    const reply = await historian.bot.post(`${base}/merge`, { create, key: handle, rooms: [crowded, rooms[0]] })
    accepted(reply)
    sizes.length = 0
    await settled(server)
    assert.ok(sizes.length > 450 / 100 + 450 / 200)
    assert.ok(Math.max(...sizes) < 1_000, `${Math.max(...sizes)} rows in one change set`)
    const { storage } = instance
    const room = await storage.first('room', { roomId: reply.body.room_id })
    const receipts = await storage.find('receipt', { where: { room: room!.key } })
    assert.deepEqual(receipts.map(({ eventId }) => eventId).sort(), idsOf(events).sort())
  })
})
