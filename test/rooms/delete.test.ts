/** Deleted rooms, on both databases. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRoom } from '../../src/rooms/create.ts'
import { deleteRoom } from '../../src/rooms/delete.ts'
import { createAlias, roomOfAlias } from '../../src/rooms/directory.ts'
import { joinedRooms } from '../../src/rooms/members.ts'
import { sendReceipt } from '../../src/rooms/receipts.ts'
import { setRoomAccountData } from '../../src/rooms/room-account-data.ts'
import { ChangeSet } from '../../src/storage/change-set.ts'
import { type TableName, tables } from '../../src/storage/tables.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'
import { jobsDone } from '../jobs/done.ts'
import { event, notification, onBothEngines } from '../storage/engines.ts'
import { openRig, type Rig } from './rig.ts'

/** Everything that a bridge room can hold, and `more` messages; its id and key. */
async function fullRoom(rig: Rig, owner: Actor, bot: Actor, more = 0): Promise<{ roomId: string; key: number }> {
  const { instance } = rig
  const roomId = await rig.room(bot, { invite: [owner.userId], aliasName: 'portal' })
  const eventId = await rig.say(bot, roomId, 'hello')
  await rig.say(bot, roomId, 'reaction', { 'm.relates_to': { rel_type: 'm.thread', event_id: eventId } })
  await sendReceipt(instance, owner, { roomId, type: 'm.read', eventId })
  await setRoomAccountData(instance, owner, { userId: owner.userId, roomId, type: 'com.example', content: {} })
  const { key } = (await instance.storage.first('room', { roomId }))!
  for (let i = 0; i < more; i += 1_000) {
    const change = new ChangeSet(instance.key)
    for (let n = i; n < i + 1_000; n++) {
      change.put('event', event(instance.key, key, -n - 1))
      change.put('notification', notification(instance.key, owner.user!, key, -n - 1))
    }
    await instance.shard.enqueue(change, () => undefined)
  }
  return { roomId, key }
}

/** How many rows of a room each table holds, those without any left out. */
async function rowsOf(instance: Instance, key: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const table of Object.keys(tables) as TableName[]) {
    if (!('room' in tables[table].columns)) continue
    const count = await instance.storage.count(table, { room: key } as never)
    if (count > 0) counts[table] = count
  }
  return counts
}

await onBothEngines('deleted rooms', (place) => {
  test('a job reclaims every row of a deleted room in slices and leaves the departures', async (t) => {
    await using rig = await openRig(await place(t))
    const { instance } = rig
    const owner = await rig.person('owner')
    const { bot } = await rig.bridge()
    const { roomId, key } = await fullRoom(rig, owner, bot, 2_000)
    const before = await rowsOf(instance, key)
    for (const table of ['event', 'state', 'membership', 'relation', 'receipt', 'notification', 'accountData', 'alias', 'interest']) {
      assert.ok(before[table]! > 0, table)
    }
    const batches: number[] = []
    const { enqueue } = instance.shard
    t.mock.method(instance.shard, 'enqueue', function (this: typeof instance.shard, change: ChangeSet, done: () => void) {
      const removed = change.operations.filter((operation) => operation.kind === 'remove')
      for (const rows of Map.groupBy(removed, ({ table }) => table).values()) batches.push(rows.length)
      return enqueue.call(this, change, done)
    })
    assert.equal(await deleteRoom(instance, bot, roomId), true)
    await jobsDone(instance)
    assert.deepEqual(await rowsOf(instance, key), { departure: 1 })
    assert.ok(Math.max(...batches) <= 500, `${batches}`)
    const [job] = await instance.storage.find('job', { where: { kind: 'reclaimRooms' } })
    assert.deepEqual([job!.done, job!.total, job!.error], [1, 1, null])
  })

  test('the same room id made anew is another room, and keeps all that is its own', async (t) => {
    await using rig = await openRig(await place(t))
    const { instance } = rig
    const owner = await rig.person('owner')
    const { bot } = await rig.bridge()
    const roomId = '!chosen:beeper.local'
    await createRoom(instance, bot, { roomId, aliasName: 'portal', initialMembers: [owner.userId] })
    const { key } = (await instance.storage.first('room', { roomId }))!
    // What deleting looks at is in memory from then on: the two below decide in their order.
    await deleteRoom(instance, bot, await rig.room(bot))
    const [deleted, made] = await Promise.all([
      deleteRoom(instance, bot, roomId),
      createRoom(instance, bot, { roomId, aliasName: 'portal', initialMembers: [owner.userId] }),
    ])
    assert.deepEqual([deleted, made.roomId], [true, roomId])
    await jobsDone(instance)
    const next = (await instance.storage.first('room', { roomId }))!
    assert.notEqual(next.key, key)
    assert.deepEqual(await rowsOf(instance, key), { departure: 1 })
    assert.equal((await roomOfAlias(instance, '#portal:beeper.local')).roomId, roomId)
    assert.deepEqual(await joinedRooms(instance, owner), [roomId])
    await rig.say(owner, roomId, 'new life')
    // An alias of a dead room is free at once as well, for another one.
    await deleteRoom(instance, owner, roomId)
    const other = await rig.room(owner)
    await createAlias(instance, owner, { alias: '#portal:beeper.local', roomId: other })
    await jobsDone(instance)
    assert.equal((await roomOfAlias(instance, '#portal:beeper.local')).roomId, other)
  })

  test('bridges delete rooms that they made or have a user in; the owner and administrators any; nobody else', async (t) => {
    await using rig = await openRig(await place(t))
    const { instance } = rig
    const owner = await rig.person('owner')
    const guest = await rig.person('guest')
    const { bot, ghost, puppet } = await rig.bridge()
    const delete_ = (actor: Actor, roomId: string) => deleteRoom(instance, actor, roomId)
    const forbidden = { errcode: 'M_FORBIDDEN' }
    const foreign = await rig.room(guest)
    await assert.rejects(delete_(bot, foreign), forbidden)
    await assert.rejects(delete_(puppet(owner), foreign), forbidden)
    await assert.rejects(delete_(guest, foreign), forbidden)
    await assert.rejects(delete_(guest, '!nowhere:beeper.local'), forbidden)
    await assert.rejects(delete_(owner, '!nowhere:beeper.local'), { errcode: 'M_NOT_FOUND' })
    const joined = await rig.room(guest, {}, [bot])
    const made = await rig.room(ghost('bob'))
    assert.equal(await delete_(ghost('eve'), joined), true)
    await assert.rejects(delete_(bot, joined), { errcode: 'M_NOT_FOUND' })
    assert.equal(await delete_(bot, made), true)
    assert.equal(await delete_(owner, foreign), true)
    assert.equal(await delete_({ ...guest, admin: true }, await rig.room(guest)), true)
  })
})
