/** The timelines of joined rooms: the newest events after the caller's position that the user may see and the filter wants. */
import type { RoomEventFilter } from '../rules/filter.ts'
import type { JsonObject } from '../rules/values.ts'
import { visibleTo } from '../rooms/visibility.ts'
import type { EventRow } from '../storage/tables.ts'
import type { JoinedRoom, Scope } from './joined-rooms.ts'

export interface Timeline {
  /** oldest first */
  readonly events: EventRow[]
  /** events were left out between `since` and the first one here */
  readonly limited: boolean
  /** position just before the first event */
  readonly before: number
  /** state up to this order stands before the timeline */
  readonly start: number
}

const defaultLimit = 10
const highestLimit = 100
/** A filter that drops nearly everything must not read a room to its beginning. */
const mostRead = 2_000

export async function readTimelines(scope: Scope, rooms: readonly JoinedRoom[]): Promise<Map<number, Timeline>> {
  const timelines = new Map<number, Timeline>()
  for (const fresh of [true, false]) {
    const some = rooms.filter((joined) => joined.fresh === fresh)
    if (some.length > 0) await readSome(scope, some, fresh ? null : scope.since, timelines)
  }
  return timelines
}

async function readSome(scope: Scope, rooms: readonly JoinedRoom[], after: number | null, timelines: Map<number, Timeline>): Promise<void> {
  const { instance, filter, until } = scope
  const limit = Math.min(filter.room.timeline.limit ?? defaultLimit, highestLimit)
  let pending = rooms
  // One more than wanted tells whether anything was left out.
  for (let count = limit + 1; pending.length > 0; count = Math.min(count * 4, mostRead)) {
    const read = await instance.storage.lastEvents(pending.map(({ room }) => room.key), { after, until, limit: count })
    const again: JoinedRoom[] = []
    for (const joined of pending) {
      const rows = read.get(joined.room.key) ?? []
      const wanted = await wantedOf(scope, joined, rows)
      const exhausted = rows.length < count || count >= mostRead
      if (wanted.length <= limit && !exhausted) {
        again.push(joined)
        continue
      }
      timelines.set(joined.room.key, cut(wanted, limit, { after, until, complete: rows.length < count }))
    }
    pending = again
  }
}

async function wantedOf(scope: Scope, joined: JoinedRoom, rows: EventRow[]): Promise<EventRow[]> {
  const { instance, requester, filter } = scope
  const visible = await visibleTo(instance, requester.user, joined.membership, joined.room, rows)
  const wants = filter.room.timeline
  if (wants.nothing) return []
  return visible.filter((row) => !scope.isIgnored(row.sender, row.stateKey) && wantsEvent(wants, row))
}

function wantsEvent(wants: RoomEventFilter, row: EventRow): boolean {
  if (!wants.readsSender && !wants.readsContent) return wants.matches({ type: row.type })
  const { sender, content } = JSON.parse(row.json) as { sender: string; content: JsonObject }
  return wants.matches({ type: row.type, sender, content })
}

function cut(wanted: EventRow[], limit: number, range: { after: number | null; until: number; complete: boolean }): Timeline {
  const events = limit === 0 ? [] : wanted.slice(-limit)
  const first = events[0]
  const leftOut = wanted.length > events.length || !range.complete
  // Nothing to show: the next page backwards begins at the end of what was read.
  const before = first ? first.order - 1 : range.until
  return { events, limited: leftOut, before, start: first ? first.order : range.until + 1 }
}
