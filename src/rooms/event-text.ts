/** Events as a client reads them, many at a time: what their `unsigned` needs is read for all of them at once. */
import type { EventRow, MembershipRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { bundledRelations } from './aggregations.ts'
import { eventText, type Requester } from './event-json.ts'
import { spotName } from './spot.ts'

export { type Requester, requesterOf } from './event-json.ts'

export interface FormatOptions {
  /** of the rows' room, or by room key; left out in /sync */
  readonly roomId?: string | ReadonlyMap<number, string>
  /** `unsigned["m.relations"]`: edits, threads and references */
  readonly bundle?: boolean
  /** what lies behind this order is not bundled: for who left */
  readonly upTo?: number
  /** the requester's rows by room key, for `unsigned.membership`; left out, that is left out */
  readonly memberships?: ReadonlyMap<number, MembershipRow>
  readonly format?: 'client' | 'federation'
}

/** The JSON of each row, in their order. Rows may be of several rooms. */
export async function formatEvents(
  instance: Instance,
  requester: Requester,
  rows: readonly EventRow[],
  options: FormatOptions = {},
): Promise<string[]> {
  const now = instance.ports.now()
  const { roomId, memberships } = options
  const roomIdOf = typeof roomId === 'object' ? (room: number) => roomId.get(room) : () => roomId
  const [others, relations] = await Promise.all([
    otherEvents(instance, rows),
    options.bundle ? bundledRelations(instance, requester, rows, { roomIdOf, upTo: options.upTo }) : null,
  ])
  return rows.map((row) => {
    const redaction = row.redactedBy === null ? undefined : others?.get(spotName({ room: row.room, order: row.redactedBy }))
    const common = { roomId: roomIdOf(row.room), now, requester, federation: options.format === 'federation' }
    return eventText(row, {
      ...common,
      membership: memberships?.get(row.room),
      replaced: row.replaces === null ? undefined : others?.get(spotName({ room: row.room, order: row.replaces })),
      redactedBecause: redaction && eventText(redaction, common),
      relations: relations?.get(spotName(row)),
    })
  })
}

/** What the rows replaced and what redacted them, in one read; null when there is nothing to read. */
async function otherEvents(instance: Instance, rows: readonly EventRow[]): Promise<Map<string, EventRow> | null> {
  const known = new Map<string, EventRow>()
  const places = new Map<string, { room: number; order: number }>()
  for (const row of rows) {
    for (const order of [row.replaces, row.redactedBy]) {
      if (order !== null) places.set(spotName({ room: row.room, order }), { room: row.room, order })
    }
  }
  if (places.size === 0) return null
  for (const row of rows) {
    const key = spotName(row)
    if (places.delete(key)) known.set(key, row)
  }
  if (places.size > 0) {
    for (const row of await instance.storage.eventsAt([...places.values()])) known.set(spotName(row), row)
  }
  return known
}
