/** What may have changed for a user between two positions: so that a read touches only that. */
import { ephemeralEventsIn } from '../rooms/ephemeral-events.ts'
import { typingSince } from '../rooms/typing.ts'
import type { Kind } from '../stream/bus.ts'
import { type Instance, local } from '../stream/instance.ts'

/** Quiet rooms, those with the newest events, in which a client is told after a restart who types. */
const roomsWithTyping = 50

export interface Changes {
  readonly isEmpty: boolean
  /** keys of the rooms that may have something new */
  readonly rooms: readonly number[]
  has(kind: Kind): boolean
  mayHave(room: number, kind: Kind): boolean
}

/** Where nobody knows. */
export const unknownChanges: Changes = { isEmpty: false, rooms: [], has: () => true, mayHave: () => true }

/** Users who began to sync while the instance was open, and from which position on the bus speaks of them. */
const beginnings = local(() => new Map<number, number>())

/** The bus speaks of the user from this position on: of what was before it says nothing. */
export function noteBeginning(instance: Instance, user: number, position: number): void {
  beginnings(instance).set(user, position)
}

/** From the bus alone, whatever the number of rooms; null when it does not remember that far. */
export function rememberedChanges(instance: Instance, user: number, since: number, until: number): Changes | null {
  const entries = since < (beginnings(instance).get(user) ?? 0) ? null : instance.bus.since(since)
  if (entries === null) return null
  const rooms = new Map<number, Set<Kind>>()
  const kinds = new Set<Kind>()
  for (const entry of entries) {
    if (entry.users.includes(user)) {
      for (const kind of entry.kinds) kinds.add(kind)
      for (const room of entry.rooms) {
        const known = rooms.get(room)
        if (known) for (const kind of entry.kinds) known.add(kind)
        else rooms.set(room, new Set(entry.kinds))
      }
    }
    // The last may go beyond: it speaks of several positions, and `until` may lie between them.
    if (entry.position >= until) break
  }
  return {
    isEmpty: kinds.size === 0,
    rooms: [...rooms.keys()],
    has: (kind) => kinds.has(kind),
    mayHave: (room, kind) => rooms.get(room)?.has(kind) === true,
  }
}

/** The same from the database: after a restart, or for a client that was away for long. Of these rooms everything is looked at. */
export async function storedChanges(instance: Instance, user: number, since: number, until: number): Promise<Changes> {
  const { storage } = instance
  const position = { gt: since, lte: until }
  const [memberships, active, accountData] = await Promise.all([
    storage.find('membership', { where: { user } }),
    storage.roomsByActivity(user, { limit: Number.MAX_SAFE_INTEGER }),
    storage.find('accountData', { where: { user, position } }),
  ])
  const rooms = new Set<number>()
  for (const row of memberships) if (row.order > since) rooms.add(row.room)
  for (const { room, order } of active) if (order > since && order <= until) rooms.add(room)
  // An answer may end long before the newest event of a room.
  const later = active.filter(({ order }) => order > until).map(({ room }) => room)
  if (later.length > 0)
    for (const [room, events] of await storage.lastEvents(later, { after: since, until, limit: 1 })) if (events.length > 0) rooms.add(room)
  for (const { room } of accountData) if (room !== 0) rooms.add(room)
  const quiet = active.map(({ room }) => room).filter((room) => !rooms.has(room))
  for (const { room } of await storage.find('receipt', { where: { room: { in: quiet }, position } })) rooms.add(room)
  // What was cut off by a restart is told to have ended where it was likely seen; everywhere would be much to send for little.
  const { opened } = instance.bus
  const seen = since < opened ? quiet.slice(0, until < opened ? 0 : roomsWithTyping) : quiet
  for (const room of seen) if (typingSince(instance, room, since, until) !== null) rooms.add(room)
  for (const room of quiet) if (ephemeralEventsIn(instance, room, since, until).length > 0) rooms.add(room)
  return { ...unknownChanges, rooms: [...rooms] }
}
