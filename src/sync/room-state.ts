/** The state that stands beside a timeline: before it (`state`) or at its end (`state_after`). */
import { type Place, stateEventsBack } from '../rooms/look-back.ts'
import type { EventRow } from '../storage/tables.ts'
import { append, beginning, type Scope, type SyncedRoom } from './scope.ts'
import type { Summary } from './summary.ts'
import { type Timeline, wantsEvent } from './timelines.ts'

/** A state event as stored: clients need no unsigned on state. */
export interface StatePiece {
  readonly room: number
  readonly order: number
  readonly type: string
  readonly json: string
}

/** For each room the state that the client lacks, oldest first. */
export async function readState(
  scope: Scope,
  rooms: readonly SyncedRoom[],
  timelines: ReadonlyMap<number, Timeline>,
  summaries: ReadonlyMap<number, Summary>,
): Promise<Map<number, StatePiece[]>> {
  const wants = scope.filter.room.state
  const wanted = wants.nothing ? [] : rooms.filter(({ room }) => wants.allowsRoom(room.roomId))
  if (wanted.length === 0) return new Map()
  const [state, members] = await Promise.all([changedState(scope, wanted, timelines), neededMembers(scope, wanted, timelines, summaries)])
  const pieces = new Map<number, StatePiece[]>()
  // With state_after the client does not take state from the timeline.
  const closing = wanted.flatMap((synced) => (scope.stateAfter && synced.closing ? [synced.closing] : []))
  for (const piece of [...state, ...members, ...closing]) if (wantsEvent(wants, piece)) append(pieces, piece.room, piece)
  for (const ofRoom of pieces.values()) ofRoom.sort((a, b) => a.order - b.order)
  return pieces
}

/** After which order state is new to the client; null when all that changed is in the timeline itself. */
function lowerBound(scope: Scope, { full }: SyncedRoom, { limited, changes }: Timeline): number | null {
  if (full) return beginning
  return scope.stateAfter || limited || changes.hidden ? scope.since : null
}

/** Everything but memberships. */
async function changedState(scope: Scope, rooms: readonly SyncedRoom[], timelines: ReadonlyMap<number, Timeline>): Promise<StatePiece[]> {
  const whole: number[] = []
  const part: number[] = []
  const bounds = new Map<number, number>()
  for (const synced of rooms) {
    const { key } = synced.room
    const timeline = timelines.get(key)!
    const after = lowerBound(scope, synced, timeline)
    if (after === null || (!synced.full && !timeline.changes.state)) continue
    bounds.set(key, after)
    if (synced.full) whole.push(key)
    else part.push(key)
  }
  const { storage } = scope.instance
  const [all, newer] = await Promise.all([
    whole.length > 0 ? storage.currentState(whole) : [],
    part.length > 0 ? storage.currentState(part, { after: scope.since! }) : [],
  ])
  const pieces = await resolve(scope, timelines, [...all, ...newer])
  return pieces.filter((piece) => piece.order > bounds.get(piece.room)!)
}

/** Memberships: all, or with lazy loading those that the events shown need, and every one that changed in a gap. */
async function neededMembers(
  scope: Scope,
  rooms: readonly SyncedRoom[],
  timelines: ReadonlyMap<number, Timeline>,
  summaries: ReadonlyMap<number, Summary>,
): Promise<StatePiece[]> {
  const { filter, since } = scope
  const { storage } = scope.instance
  const lazy = filter.room.state.lazyLoadMembers || filter.room.timeline.lazyLoadMembers
  const whole: number[] = []
  const changed: number[] = []
  const single: { room: number; user: number }[] = []
  for (const synced of rooms) {
    const { key } = synced.room
    const timeline = timelines.get(key)!
    if (synced.full && !lazy) whole.push(key)
    else if (!synced.full && timeline.changes.members && lowerBound(scope, synced, timeline) !== null) changed.push(key)
    if (lazy) for (const user of lazyMembers(scope, synced, timeline, summaries.get(key))) single.push({ room: key, user })
  }
  const [all, newer, some] = await Promise.all([
    whole.length > 0 ? storage.find('membership', { where: { room: { in: whole } } }) : [],
    changed.length > 0 ? storage.find('membership', { where: { room: { in: changed }, order: { gt: since! } } }) : [],
    single.length > 0 ? storage.membersAt(single) : [],
  ])
  const asked = new Set(single.map(memberKey))
  const [needed, inGap] = await Promise.all([
    resolve(scope, timelines, [...all, ...some]),
    resolve(
      scope,
      timelines,
      newer.filter((row) => !asked.has(memberKey(row))),
    ),
  ])
  return [...needed, ...inGap.filter(({ order }) => order > since!)]
}

function memberKey({ room, user }: { readonly room: number; readonly user: number }): string {
  return `${room} ${user}`
}

/** Whose membership a client that loads members lazily needs beside these events. To send one again is allowed, and forgets nothing. */
function lazyMembers(scope: Scope, { full }: SyncedRoom, { events }: Timeline, summary: Summary | undefined): Set<number> {
  const users = new Set<number>()
  for (const event of events) users.add(event.sender)
  if (full) users.add(scope.requester.user)
  for (const hero of summary?.heroKeys ?? []) users.add(hero)
  return users
}

/**
 * The state events to send for rows of current state. A row may be newer than what is read, or its event may stand in the timeline: then
 * the one that was in force before it is sent. With state_after the timeline does not count.
 */
async function resolve(
  scope: Scope,
  timelines: ReadonlyMap<number, Timeline>,
  rows: readonly (Place & Partial<StatePiece>)[],
): Promise<StatePiece[]> {
  const isShown = ({ room, order }: Place): boolean => !scope.stateAfter && timelines.get(room)!.shownState.has(order)
  const pieces: StatePiece[] = []
  const places: Place[] = []
  for (const row of rows) {
    if (row.order > scope.until) places.push(row)
    else if (isShown(row)) {
      const { replaces } = shownEvent(timelines.get(row.room)!, row.order)
      if (replaces !== null) places.push({ room: row.room, order: replaces })
    } else if (row.json === undefined) places.push(row)
    else pieces.push(row as StatePiece)
  }
  if (places.length > 0) {
    pieces.push(...(await stateEventsBack(scope.instance.storage, places, (row) => row.order <= scope.until && !isShown(row))))
  }
  return pieces
}

function shownEvent({ events }: Timeline, order: number): EventRow {
  return events.find((event) => event.order === order)!
}
