/** Who shares a room with whom. By which keys they are found: plans.test.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ChangeSet } from '../../src/storage/change-set.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { change, membership, nothing, onBothEngines, type Place, room, user } from './engines.ts'

/** An instance filled by one change set, and beside it one with the same rows under its own key. */
async function filled(here: Place, fill: (c: ChangeSet, instance: number) => void): Promise<Storage> {
  const shard = await here.open()
  for (const instance of [1, 2]) {
    await shard.open(instance)
    await shard.enqueue(
      change(instance, (c) => fill(c, instance)),
      nothing,
    )
  }
  return shard.storage(1)
}

/** Users 1 and 2 have keys, 3 has none. */
function people(c: ChangeSet, instance: number): void {
  for (const key of [1, 2, 3]) c.put('user', user(instance, key))
  for (const key of [1, 2]) c.put('deviceListChange', { instance, user: key, position: key })
}

await onBothEngines('room-mates', (place) => {
  test('membersWithKeys leaves out who has no keys, and rooms that are deleted', async (t) => {
    const storage = await filled(await place(t), (c, instance) => {
      people(c, instance)
      for (const key of [10, 11]) c.put('room', room(instance, key))
      for (const key of [10, 11, 12]) for (const member of [1, 3]) c.put('membership', membership(instance, key, member))
      c.put('membership', membership(instance, 10, 2, { membership: 'leave' }))
    })
    for (const by of ['users', 'members'] as const) {
      const found = async (rooms: number[]) =>
        (await storage.membersWithKeys(rooms, by)).map((row) => `${row.instance} ${row.room} ${row.user} ${row.membership}`).sort()
      assert.deepEqual(await found([10, 12]), ['1 10 1 join', '1 10 2 leave'])
      assert.deepEqual(await found([11, 11]), ['1 11 1 join'])
      assert.deepEqual(await found([]), [])
    }
  })

  test('sharingRooms: one is joined and the other joined or invited, in a room that is there', async (t) => {
    const memberships = [
      ['join', 'join', true],
      ['join', 'invite', true],
      ['invite', 'join', false],
      ['join', 'leave', false],
      ['ban', 'join', false],
      ['join', 'knock', false],
    ] as const
    const storage = await filled(await place(t), (c, instance) => {
      c.put('user', user(instance, 1))
      for (const [i, [mine, theirs]] of memberships.entries()) {
        c.put('user', user(instance, 10 + i))
        c.put('room', room(instance, 100 + i))
        c.put('membership', membership(instance, 100 + i, 1, { membership: mine }))
        c.put('membership', membership(instance, 100 + i, 10 + i, { membership: theirs }))
      }
      c.put('user', user(instance, 20))
      for (const member of [1, 20]) c.put('membership', membership(instance, 200, member))
    })
    const others = [...memberships.map((_, i) => 10 + i), 20, 99]
    assert.deepEqual((await storage.sharingRooms(1, others)).sort(), [10, 11])
    assert.deepEqual(await storage.sharingRooms(1, [12]), [])
    assert.deepEqual(await storage.sharingRooms(1, []), [])
  })

  test('departedWithKeys: who was in a room that is gone, also who forgot it before, and nobody of a room that is there', async (t) => {
    const storage = await filled(await place(t), (c, instance) => {
      people(c, instance)
      const left = (member: number, key: number, ts: number | null) =>
        c.put('departure', { instance, user: member, room: key, roomId: `!${key}`, position: key, ts })
      for (const member of [1, 2, 3]) left(member, 10, 5)
      left(1, 11, 5)
      left(2, 11, null)
      left(1, 12, null)
      left(2, 12, 5)
      for (const member of [1, 2]) left(member, 13, null)
      c.put('room', room(instance, 13))
    })
    assert.deepEqual(await storage.departedWithKeys(1, [10]), [2])
    assert.deepEqual(await storage.departedWithKeys(1, [11]), [2])
    assert.deepEqual(await storage.departedWithKeys(1, [12]), [2])
    assert.deepEqual(await storage.departedWithKeys(1, [13]), [])
    assert.deepEqual(await storage.departedWithKeys(3, [10]).then((keys) => keys.sort()), [1, 2])
    assert.deepEqual(await storage.departedWithKeys(1, []), [])
  })
})
