/** A user's membership as it was at a position: the row may be newer than what is read. */
import type { Membership } from '../rules/room-view.ts'
import type { MembershipRow } from '../storage/tables.ts'
import type { Storage } from '../storage/storage.ts'
import { stateEventsAt } from './look-back.ts'

/** Rows as of `until`; those that did not exist then are left out. */
export async function membershipsAt(storage: Storage, rows: readonly MembershipRow[], until: number): Promise<MembershipRow[]> {
  const newer = rows.filter((row) => row.order > until)
  if (newer.length === 0) return [...rows]
  const events = new Map((await stateEventsAt(storage, newer, () => until)).map((event) => [event.room, event]))
  const result = rows.filter((row) => row.order <= until)
  for (const row of newer) {
    const event = events.get(row.room)
    if (!event) continue
    const { content } = JSON.parse(event.json) as { content: { membership?: Membership } }
    // `since` is not known exactly: taking the event's order at most resends a room as newly joined.
    result.push({ ...row, membership: content.membership ?? 'leave', order: event.order, since: Math.min(row.since, event.order), sender: event.sender })
  }
  return result
}
