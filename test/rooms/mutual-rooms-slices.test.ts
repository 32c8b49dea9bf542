/** Rooms in common of users with thousands of them: memberships are read a slice at a time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mutualRoomCursor, mutualRooms } from '../../src/rooms/mutual-rooms.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'
import { membership, onBothEngines, room } from '../storage/engines.ts'
import { openRig } from './rig.ts'

const first = 1_000_000

/** Alice is in all of these rooms, Bob in every second, Carol in the last. */
async function fill(instance: Instance, rooms: number, users: readonly [alice: number, bob: number, carol: number]): Promise<void> {
  await command(instance, (decision) => {
    decision.takePosition()
    for (let i = 0; i < rooms; i++) {
      const key = first + i
      decision.put('room', room(instance.key, key))
      const members = users.filter((_, who) => who === 0 || (who === 1 ? i % 2 === 0 : i === rooms - 1))
      for (const member of members) decision.put('membership', membership(instance.key, key, member))
    }
  })
}

await onBothEngines('rooms in common, in slices', (place) => {
  test('of two thousand rooms each comes once, in the order in which they were made, whoever asks', async (t) => {
    await using rig = await openRig(await place(t))
    const [alice, bob, carol] = [await rig.person('alice'), await rig.person('bob'), await rig.person('carol')]
    await fill(rig.instance, 2_001, [alice.user!, bob.user!, carol.user!])
    const evenRooms = Array.from({ length: 1_001 }, (_, i) => `!${first + 2 * i}`)
    const read = async (actor: Actor, userId: string): Promise<string[]> => {
      const found: string[] = []
      for (let after: string | null = null; ; ) {
        const { rooms, count, hasNextPage } = await mutualRooms(rig.instance, actor, { userId, after })
        assert.ok(rooms.length <= 100)
        for (const readable of rooms) assert.deepEqual([readable.user, readable.membership?.user], [actor.user, actor.user])
        found.push(...rooms.map((readable) => readable.room.roomId))
        if (!hasNextPage) {
          assert.equal(count, found.length)
          return found
        }
        after = mutualRoomCursor(rooms.at(-1)!)
      }
    }
    assert.deepEqual(await read(alice, bob.userId), evenRooms)
    assert.deepEqual(await read(bob, alice.userId), evenRooms)
    assert.deepEqual(await read(alice, carol.userId), [`!${first + 2_000}`])
    assert.deepEqual(await read(carol, bob.userId), [`!${first + 2_000}`])
  })
})
