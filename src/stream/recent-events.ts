/**
 * The newest live events of an instance, as they stand in the database at the published position: whoever is woken by the bus finds here
 * what it was woken for, and need not ask the database. Filled at publication, never by decisions.
 */
import type { EventRow } from '../storage/tables.ts'
import type { Instance } from './instance.ts'

/** Kept per instance: enough for a burst between two wakes of a reader. */
const mostEvents = 256
const mostBytes = 128 << 10

export class RecentEvents {
  /** every live event above this position is here */
  private floor: number
  private readonly byRoom = new Map<number, EventRow[]>()
  /** oldest first */
  private readonly line: EventRow[] = []
  private start = 0
  private bytes = 0

  constructor(published: number) {
    this.floor = published
  }

  /** A row that was just published: a new event, or an older one that was rewritten. */
  published(row: EventRow): void {
    if (row.order <= this.floor) return
    const ofRoom = this.byRoom.get(row.room)
    const at = ofRoom?.findLastIndex(({ order }) => order <= row.order) ?? -1
    if (ofRoom && at >= 0 && ofRoom[at]?.order === row.order) {
      // The line keeps the older text until its turn is over: it only counts.
      ofRoom[at] = row
      return
    }
    if (ofRoom) ofRoom.splice(at + 1, 0, row)
    else this.byRoom.set(row.room, [row])
    this.line.push(row)
    this.bytes += row.json.length
    while (this.line.length - this.start > mostEvents || this.bytes > mostBytes) this.forgetOldest()
  }

  /** The newest `limit` events of the room with after < order <= until, oldest first; null when some may not be here. */
  last(room: number, { after, until, limit }: Range): EventRow[] | null {
    const known = after !== null && after >= this.floor
    const ofRoom = this.byRoom.get(room)
    if (!ofRoom) return known ? [] : null
    let end = ofRoom.length
    while (end > 0 && ofRoom[end - 1]!.order > until) end--
    let from = end
    while (from > 0 && end - from < limit && (after === null || ofRoom[from - 1]!.order > after)) from--
    return known || end - from === limit ? ofRoom.slice(from, end) : null
  }

  private forgetOldest(): void {
    const oldest = this.line[this.start++]!
    this.bytes -= oldest.json.length
    this.floor = Math.max(this.floor, oldest.order)
    const ofRoom = this.byRoom.get(oldest.room)!
    if (ofRoom.length > 1) ofRoom.shift()
    else this.byRoom.delete(oldest.room)
    // Dropping one element at a time from the front of an array would copy it each time.
    if (this.start > mostEvents) {
      this.line.splice(0, this.start)
      this.start = 0
    }
  }
}

export interface Range {
  readonly after: number | null
  readonly until: number
  readonly limit: number
}

/** The newest `limit` events of each room in a range, oldest first: from memory where they are new, else from the database. */
export async function lastEvents(instance: Instance, rooms: readonly number[], range: Range): Promise<Map<number, EventRow[]>> {
  const events = new Map<number, EventRow[]>()
  const others: number[] = []
  for (const room of rooms) {
    const recent = instance.recent.last(room, range)
    if (recent) events.set(room, recent)
    else others.push(room)
  }
  if (others.length > 0) for (const [room, rows] of await instance.storage.lastEvents(others, range)) events.set(room, rows)
  return events
}
