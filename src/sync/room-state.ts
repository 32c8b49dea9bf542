/** The state that stands beside a timeline: before it (`state`) or at its end (`state_after`). */
import type { MembershipRow } from '../storage/tables.ts'
import { type JoinedRoom, type Scope } from './joined-rooms.ts'
import { stateEventsAt } from './look-back.ts'
import type { Summary } from './summary.ts'
import type { Timeline } from './timelines.ts'

/** A state event as stored: clients need no unsigned on state. */
export interface StatePiece {
  readonly room: number
  readonly order: number
  readonly type: string
  readonly stateKey: string
  readonly json: string
}

type Pieces = Map<number, StatePiece[]>

/** State of a room is wanted when its order is in (after, upTo]. */
interface Range {
  readonly after: number
  readonly upTo: number
}

/** Below every order. */
const beginning = Number.MIN_SAFE_INTEGER

/** Everything but memberships. */
export async function readState(scope: Scope, rooms: readonly JoinedRoom[], timelines: ReadonlyMap<number, Timeline>): Promise<Pieces> {
  const pieces: Pieces = new Map()
  if (scope.filter.room.state.nothing) return pieces
  const ranges = rangesOf(scope, rooms, timelines)
  const full = [...ranges].filter(([, range]) => range.after === beginning).map(([room]) => room)
  const part = [...ranges].filter(([, range]) => range.after !== beginning).map(([room]) => room)
  const current = [
    ...(full.length > 0 ? await scope.instance.storage.currentState(full) : []),
    ...(part.length > 0 ? await scope.instance.storage.currentState(part, { after: scope.since! }) : []),
  ]
  const newer = current.filter((piece) => piece.order > ranges.get(piece.room)!.upTo)
  for (const piece of current) if (piece.order <= ranges.get(piece.room)!.upTo) push(pieces, piece)
  for (const row of await stateEventsAt(scope.instance.storage, newer, (room) => ranges.get(room)!.upTo)) {
    if (row.order > ranges.get(row.room)!.after) push(pieces, { room: row.room, order: row.order, type: row.type, stateKey: row.stateKey!, json: row.json })
  }
  return pieces
}

function rangesOf(scope: Scope, rooms: readonly JoinedRoom[], timelines: ReadonlyMap<number, Timeline>): Map<number, Range> {
  const ranges = new Map<number, Range>()
  for (const joined of rooms) {
    const timeline = timelines.get(joined.room.key)!
    const upTo = scope.stateAfter ? scope.until : timeline.start - 1
    if (joined.full) ranges.set(joined.room.key, { after: beginning, upTo })
    // Without a gap everything that changed is in the timeline itself.
    else if (scope.stateAfter || timeline.limited) ranges.set(joined.room.key, { after: scope.since!, upTo })
  }
  return ranges
}

/** Memberships: all, or with lazy loading those that the events shown need, and every one that changed in a gap. */
export async function readMembers(
  scope: Scope,
  rooms: readonly JoinedRoom[],
  timelines: ReadonlyMap<number, Timeline>,
  summaries: ReadonlyMap<number, Summary>,
): Promise<Pieces> {
  const pieces: Pieces = new Map()
  const { filter, instance, requester } = scope
  if (filter.room.state.nothing) return pieces
  const ranges = rangesOf(scope, rooms, timelines)
  const lazy = filter.room.state.lazyLoadMembers || filter.room.timeline.lazyLoadMembers
  const wanted = new Map<string, MembershipRow>()
  const add = (rows: readonly MembershipRow[]): void => {
    for (const row of rows) wanted.set(`${row.room} ${row.user}`, row)
  }

  const whole = lazy ? [] : rooms.filter((joined) => joined.full).map(({ room }) => room.key)
  if (whole.length > 0) add(await instance.storage.find('membership', { where: { room: { in: whole } } }))
  const changed = rooms.filter((joined) => ranges.get(joined.room.key)?.after === scope.since && !joined.full).map(({ room }) => room.key)
  if (changed.length > 0) add(await instance.storage.find('membership', { where: { room: { in: changed }, order: { gt: scope.since! } } }))
  if (lazy) {
    const places = new Map<string, { room: number; user: number }>()
    for (const { room, full } of rooms) {
      const users = new Set(timelines.get(room.key)!.events.map((event) => event.sender))
      if (full) users.add(requester.user)
      for (const hero of summaries.get(room.key)?.heroKeys ?? []) users.add(hero)
      for (const user of users) places.set(`${room.key} ${user}`, { room: room.key, user })
    }
    add(await instance.storage.membersAt([...places.values()]))
  }

  const upTo = (room: number): number => {
    const joined = ranges.get(room)
    return joined?.upTo ?? timelines.get(room)!.start - 1
  }
  for (const row of await stateEventsAt(instance.storage, [...wanted.values()], upTo)) {
    push(pieces, { room: row.room, order: row.order, type: row.type, stateKey: row.stateKey!, json: row.json })
  }
  return pieces
}

function push(pieces: Pieces, piece: StatePiece): void {
  const list = pieces.get(piece.room)
  if (list) list.push(piece)
  else pieces.set(piece.room, [piece])
}
