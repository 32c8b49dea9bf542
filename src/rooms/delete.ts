/**
 * Deleting rooms: gone for everybody at once, whatever their size. One change set takes away the room's row, which is its name and all that
 * leads to what else is stored of it, and leaves departures for those who may have seen it. Keys are never used again, so the same
 * room id made anew a moment later is another room. What the dead key still holds is reclaimed by a job (delete-rows.ts).
 */
import { forbidden, notFound } from '../errors.ts'
import { putJob } from '../jobs/jobs.ts'
import type { RoomRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { syncingUsers } from '../users/users.ts'
import { usersWithKeys } from '../users/users-with-keys.ts'
import { coreOf, findRoom, membershipOf } from './room-core.ts'
import { forgetTyping } from './typing.ts'

/** Users with keys who are looked for in each room. Where bridges give keys to thousands of ghosts, nobody hears that those are gone with it. */
const mostWithKeys = 200

/** The kind of job that reclaims the rows of dead rooms. */
export const reclaimRooms = 'reclaimRooms'

/**
 * Takes rooms away in the caller's change set: names, aliases and all reading of them end with it. Deliveries skip their events, also those of a
 * transaction that was frozen: a bridge that has seen it drops the transaction id, another one gets what is left of it.
 */
export function deleteRooms(decision: Decision, rooms: readonly RoomRow[]): void {
  if (rooms.length === 0) return
  hideRooms(decision, rooms)
  putJob(decision, reclaimRooms, { rooms: rooms.map(({ key }) => key) })
}

/** The same, but what the dead keys hold stays for whoever wants it: a job of the caller's reclaims it in the end. */
export function hideRooms(decision: Decision, rooms: readonly RoomRow[]): void {
  const { instance } = decision
  // Of those with keys it tells the others that they share the room no more.
  const withKeys = usersWithKeys(decision)
  const readers = new Set([...syncingUsers(decision).map(({ key }) => key), ...(withKeys.length <= mostWithKeys ? withKeys : [])])
  const places = rooms.flatMap(({ key: room }) => [...readers].map((user) => ({ room, user })))
  decision.loadAll('membership', places, (missing) => instance.storage.membersAt(missing))
  const position = decision.takePosition()
  const told = new Set<number>()
  for (const { key, roomId } of rooms) {
    for (const user of readers) {
      const membership = membershipOf(decision, key, user)
      // Who forgot the room has its departure already.
      if (!membership || membership.forgotten) continue
      decision.write('departure', { instance: instance.key, user, room: key, roomId, position, ts: decision.now })
      told.add(user)
    }
  }
  for (const room of rooms) decision.remove('room', room)
  const keys = rooms.map(({ key }) => key)
  decision.announce('departure', { rooms: keys, users: told })
  decision.onCommitted(() => {
    for (const key of keys) forgetTyping(instance, key)
  })
}

/**
 * For an appservice that made the room or has a user in it, for the owner and for administrators.
 * Errors: M_NOT_FOUND when there is no such room (any more), M_FORBIDDEN.
 */
export async function deleteRoom(instance: Instance, actor: Actor, roomId: string): Promise<boolean> {
  await command(instance, (decision) => {
    const isManager = actor.appservice === null && (actor.admin || actor.userId === instance.ownerId)
    if (actor.appservice === null && !isManager) throw forbidden('Only bridges, the owner and administrators may delete rooms')
    const room = findRoom(decision, roomId)
    if (!room) throw notFound(`Room ${roomId} not found`)
    if (!isManager && room.appservice !== actor.appservice && (coreOf(decision, room).appservices.get(actor.appservice!) ?? 0) === 0) {
      throw forbidden('The appservice has no user in this room')
    }
    deleteRooms(decision, [room])
  })
  return true
}
