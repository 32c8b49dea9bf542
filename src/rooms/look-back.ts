/**
 * State as it was at a position. The tables of current state may be newer than the position a read is bound to; then the event that stood
 * before is found by going back over what each state event replaced.
 */

import type { Storage } from '../storage/storage.ts'
import type { EventRow } from '../storage/tables.ts'

export interface Place {
  readonly room: number
  readonly order: number
}

/** For each place the state event that was in force at `upTo(room)`: itself, or the nearest before; none when there was none. */
export function stateEventsAt(storage: Storage, places: readonly Place[], upTo: (room: number) => number): Promise<EventRow[]> {
  return stateEventsBack(storage, places, (row) => row.order <= upTo(row.room))
}

/** For each place the first state event going back that is accepted: itself, what it replaced, and so on. */
export async function stateEventsBack(
  storage: Storage,
  places: readonly Place[],
  accepts: (row: EventRow) => boolean,
): Promise<EventRow[]> {
  const found: EventRow[] = []
  let asked = places
  while (asked.length > 0) {
    const earlier: Place[] = []
    for (const row of await storage.eventsAt(asked)) {
      if (accepts(row)) found.push(row)
      else if (row.replaces !== null) earlier.push({ room: row.room, order: row.replaces })
    }
    asked = earlier
  }
  return found
}
