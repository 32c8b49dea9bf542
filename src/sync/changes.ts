/** What may have changed for a user between two positions: so that a read touches only that. */
import type { MembershipRow } from '../storage/tables.ts'
import type { Kind } from '../stream/bus.ts'
import type { Instance } from '../stream/instance.ts'

export interface Changes {
  /** rooms that may have something new; null: any */
  readonly rooms: ReadonlySet<number> | null
  readonly kinds: ReadonlySet<Kind> | null
  readonly isEmpty: boolean
}

const unknown: Changes = { rooms: null, kinds: null, isEmpty: false }

/** From the bus alone, whatever the number of rooms; "any" when it does not remember that far. */
export function changesSince(instance: Instance, user: number, since: number, until: number): Changes {
  const entries = instance.bus.since(since)
  if (entries === null) return unknown
  const rooms = new Set<number>()
  const kinds = new Set<Kind>()
  let any = false
  for (const entry of entries) {
    if (entry.position > until || !entry.users.includes(user)) continue
    any = true
    for (const room of entry.rooms) rooms.add(room)
    for (const kind of entry.kinds) kinds.add(kind)
  }
  return { rooms, kinds, isEmpty: !any }
}

/** The user's memberships in the rooms that may have changed, or in all. */
export async function membershipsFor(instance: Instance, user: number, changes: Changes): Promise<MembershipRow[]> {
  if (changes.rooms === null) return instance.storage.find('membership', { where: { user } })
  if (changes.rooms.size === 0) return []
  return instance.storage.membersAt([...changes.rooms].map((room) => ({ room, user })))
}
