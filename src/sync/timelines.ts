/** The timelines of rooms: the newest events after the caller's position that the user may see and the filter wants. */
import { visibleEvents } from '../rooms/visibility.ts'
import type { RoomEventFilter } from '../rules/filter.ts'
import type { JsonObject } from '../rules/values.ts'
import type { EventRow, MembershipRow } from '../storage/tables.ts'
import { lastEvents } from '../stream/recent-events.ts'
import type { Scope, SyncedRoom } from './scope.ts'

export interface Timeline {
  /** oldest first */
  readonly events: readonly EventRow[]
  /** orders of its state events: they must not stand in the state before it as well */
  readonly shownState: ReadonlySet<number>
  /** events were left out between `since` and the first one here */
  readonly limited: boolean
  /** position just before the first event */
  readonly before: number
  /** what may have changed in the whole range, shown or not */
  readonly changes: RangeChanges
}

interface RangeChanges {
  /** state other than memberships */
  readonly state: boolean
  readonly members: boolean
  /** name or canonical alias */
  readonly names: boolean
  /** state that the filter dropped from the timeline */
  readonly hidden: boolean
}

const defaultLimit = 10
const highestLimit = 100
/** A filter that drops nearly everything must not read a room to its beginning. */
const mostRead = 2_000

const nothingShown: ReadonlySet<number> = new Set()
const nothing: RangeChanges = { state: false, members: false, names: false, hidden: false }
const anything: RangeChanges = { state: true, members: true, names: true, hidden: true }

export async function readTimelines(scope: Scope, rooms: readonly SyncedRoom[]): Promise<Map<number, Timeline>> {
  const timelines = new Map<number, Timeline>()
  const wants = scope.filter.room.timeline
  const fresh: SyncedRoom[] = []
  const going: SyncedRoom[] = []
  for (const synced of rooms) {
    const { key, roomId } = synced.room
    const changes = scope.mayHave(key, 'event') || scope.mayHave(key, 'membership')
    if (wants.nothing || !wants.allowsRoom(roomId)) timelines.set(key, emptyTimeline(scope.until, changes ? anything : nothing))
    else if (synced.fresh) fresh.push(synced)
    else if (changes) going.push(synced)
    else timelines.set(key, emptyTimeline(scope.until, nothing))
  }
  await readRange(scope, fresh, null, timelines)
  await readRange(scope, going, scope.since, timelines)
  return timelines
}

function emptyTimeline(until: number, changes: RangeChanges): Timeline {
  return { events: [], shownState: nothingShown, limited: false, before: until, changes }
}

async function readRange(
  scope: Scope,
  rooms: readonly SyncedRoom[],
  after: number | null,
  timelines: Map<number, Timeline>,
): Promise<void> {
  const { instance, filter, until } = scope
  const limit = Math.min(filter.room.timeline.limit ?? defaultLimit, highestLimit)
  const memberships = new Map<number, MembershipRow>(rooms.map(({ room, membership }) => [room.key, membership]))
  let pending = rooms
  // One more than wanted tells whether anything was left out.
  for (let count = limit + 1; pending.length > 0; count = Math.min(count * 4, mostRead)) {
    const read = await lastEvents(
      instance,
      pending.map(({ room }) => room.key),
      { after, until, limit: count },
    )
    const visible = await visibility(scope, [...read.values()].flat(), memberships)
    const again: SyncedRoom[] = []
    for (const synced of pending) {
      const rows = read.get(synced.room.key) ?? []
      const wanted = rows.filter((row) => visible(row) && isWanted(scope, row))
      const complete = rows.length < count
      if (wanted.length <= limit && !complete && count < mostRead) again.push(synced)
      else timelines.set(synced.room.key, timelineOf(scope, synced, { rows, wanted, limit, complete }))
    }
    pending = again
  }
}

async function visibility(
  scope: Scope,
  rows: readonly EventRow[],
  memberships: ReadonlyMap<number, MembershipRow>,
): Promise<(row: EventRow) => boolean> {
  const visible = await visibleEvents(scope.instance, rows, memberships)
  if (visible.length === rows.length) return () => true
  const set = new Set(visible)
  return (row) => set.has(row)
}

function isWanted({ filter, ignored }: Scope, row: EventRow): boolean {
  if (row.stateKey === null && ignored.has(row.sender)) return false
  return wantsEvent(filter.room.timeline, row)
}

/** The text is read only by filters that look into it. */
export function wantsEvent(wants: RoomEventFilter, event: { readonly type: string; readonly json: string }): boolean {
  if (!wants.readsSender && !wants.readsContent) return wants.matches(event)
  const { sender, content } = JSON.parse(event.json) as { sender: string; content?: JsonObject }
  return wants.matches({ type: event.type, sender, content: content ?? {} })
}

interface Read {
  /** oldest first */
  readonly rows: readonly EventRow[]
  readonly wanted: readonly EventRow[]
  readonly limit: number
  /** nothing of the range lies before the rows */
  readonly complete: boolean
}

function timelineOf(scope: Scope, { fresh, again, closing }: SyncedRoom, { rows, wanted, limit, complete }: Read): Timeline {
  const events = limit === 0 ? [] : wanted.slice(-limit)
  const first = events[0]
  // Nothing to show: the next page backwards begins at the end of what was read.
  const before = first ? first.order - 1 : scope.until
  const isCut = wanted.length > events.length || !complete
  if (closing) events.push(closing)
  const shownState = new Set<number>()
  for (const event of events) if (event.stateKey !== null) shownState.add(event.order)
  return {
    events,
    shownState,
    // Who was here before may know events older than these, and would add them twice.
    limited: isCut || (fresh && again === true),
    before,
    changes: isCut ? anything : changesOf(rows, shownState),
  }
}

function changesOf(rows: readonly EventRow[], shown: ReadonlySet<number>): RangeChanges {
  const changes = { ...nothing } as { -readonly [K in keyof RangeChanges]: boolean }
  for (const { type, stateKey, order } of rows) {
    if (stateKey === null) continue
    if (type === 'm.room.member') changes.members = true
    else changes.state = true
    if (stateKey === '' && (type === 'm.room.name' || type === 'm.room.canonical_alias')) changes.names = true
    if (!shown.has(order)) changes.hidden = true
  }
  return changes
}
