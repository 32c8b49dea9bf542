/** A user's memberships as they were at a position: the rows may be newer than what is read. */
import { stateEventsAt } from '../rooms/look-back.ts'
import { membershipHistories } from '../rooms/visibility.ts'
import type { MembershipRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'

/** Rows as of `until`; those that did not exist then are left out. */
export async function membershipsAt(instance: Instance, rows: readonly MembershipRow[], until: number): Promise<MembershipRow[]> {
  const newer = rows.filter((row) => row.order > until)
  if (newer.length === 0) return [...rows]
  const result = rows.filter((row) => row.order <= until)
  const events = new Map((await stateEventsAt(instance.storage, newer, () => until)).map((event) => [event.room, event]))
  const histories = await membershipHistories(instance, newer)
  for (const row of newer) {
    const event = events.get(row.room)
    const history = (histories.get(row.room) ?? []).filter(({ order }) => order <= until)
    const membership = history.at(-1)?.value
    if (!event || !membership) continue
    const other = history.findLastIndex(({ value }) => value !== membership)
    result.push({ ...row, membership, order: event.order, since: history[other + 1]!.order, sender: event.sender, forgotten: 0 })
  }
  return result
}

/** A stretch of time in a room. */
export interface Stay {
  readonly joined: number
  /** order of what ended it, null while it lasts */
  readonly left: number | null
  /** whether there was an earlier one */
  readonly again: boolean
}

/** The last stay of the user in each room; none for who never was in it. */
export async function lastStays(instance: Instance, rows: readonly MembershipRow[]): Promise<Map<number, Stay>> {
  const stays = new Map<number, Stay>()
  if (rows.length === 0) return stays
  for (const [room, history] of await membershipHistories(instance, rows)) {
    const last = history.findLastIndex(({ value }) => value === 'join')
    if (last === -1) continue
    const before = history.slice(0, last).findLastIndex(({ value }) => value !== 'join')
    const again = history.slice(0, before + 1).some(({ value }) => value === 'join')
    stays.set(room, { joined: history[before + 1]!.order, left: history[last + 1]?.order ?? null, again })
  }
  return stays
}
