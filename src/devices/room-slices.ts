/** Rooms in which users with device keys are looked for, so many at a time that others get their turn. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Instance } from '../stream/instance.ts'

/** Memberships that are looked at together, in a few milliseconds. */
export const membershipsTogether = 6_000

/** So few users with keys are looked up in every room, whatever its size: to count its members first would take longer. */
const fewUsers = 200

/** Rooms whose members are counted together. */
const countedTogether = 16

export interface Slice {
  readonly rooms: readonly number[]
  /** whether to look up the users with keys in each room, or its members among them */
  readonly by: 'users' | 'members'
}

/** Where many have keys, such as ghosts of a bridge that encrypts, it goes by a room's members when they are fewer: most rooms have three. */
export async function* slicesOf(instance: Instance, rooms: readonly number[]): AsyncGenerator<Slice> {
  const { storage } = instance
  if (rooms.length === 0) return
  const some = await storage.keys('deviceListChange', { where: {}, limit: fewUsers + 1 })
  if (some.length <= fewUsers) {
    for await (const slice of slicesByUsers(instance, rooms)) yield { rooms: slice, by: 'users' }
    return
  }
  const users = await storage.count('deviceListChange', {})
  for (let i = 0; i < rooms.length; i += countedTogether) {
    const [small, large]: [number[], number[]] = [[], []]
    let together = 0
    for (const [room, counts] of await storage.memberCounts(rooms.slice(i, i + countedTogether))) {
      const members = Object.values(counts).reduce((sum, count) => sum + count, 0)
      ;(members < users ? small : large).push(room)
      if (members < users) together += members
      if (together < membershipsTogether) continue
      yield { rooms: small.splice(0), by: 'members' }
      together = 0
      await nextTurn()
    }
    if (small.length > 0) yield { rooms: small, by: 'members' }
    for await (const slice of slicesByUsers(instance, large)) yield { rooms: slice, by: 'users' }
    await nextTurn()
  }
}

export async function* slicesByUsers({ storage }: Instance, rooms: readonly number[]): AsyncGenerator<readonly number[]> {
  const users = rooms.length > 1 ? await storage.count('deviceListChange', {}) : 1
  const size = Math.max(1, Math.floor(membershipsTogether / Math.max(1, users)))
  for (let i = 0; i < rooms.length; i += size) {
    if (i > 0) await nextTurn()
    yield rooms.slice(i, i + size)
  }
}
