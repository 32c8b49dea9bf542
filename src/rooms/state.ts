/**
 * The state of a room, now or as it was at an order. https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
 * At a point: the latest state event per type and state key with order ≤ point; below the first live event the current state.
 */
import { notFound } from '../errors.ts'
import type { EventRow, MembershipRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { formatEvents, requesterOf } from './event-text.ts'
import { stateEventsAt } from './look-back.ts'
import { type Readable, requireReadable } from './visibility.ts'

/** Members read and written in one go. */
const membersPerPage = 1_000

/** All state events of the room, members included, as pieces of a JSON array. Errors: M_FORBIDDEN. */
export async function roomState(instance: Instance, actor: Actor, roomId: string): Promise<AsyncIterable<string>> {
  const readable = await requireReadable(instance, actor, roomId)
  const point = readable.upTo
  return jsonArray(instance, actor, readable, async function* () {
    yield stateRowsAt(instance, readable.room.key, point)
    yield* memberPagesAt(instance, readable.room.key, point)
  })
}

export interface StateKey {
  readonly roomId: string
  readonly type: string
  readonly stateKey: string
}

/** One state event as a client event. Errors: M_FORBIDDEN, M_NOT_FOUND. */
export async function stateEvent(instance: Instance, actor: Actor, args: StateKey): Promise<string> {
  const readable = await requireReadable(instance, actor, args.roomId)
  const row = found(await stateRow(instance, readable, args))
  const [text] = await formatEvents(instance, requesterOf(actor, readable.user), [row], { roomId: args.roomId })
  return text!
}

/** The content alone, as JSON text. Errors: M_FORBIDDEN, M_NOT_FOUND. */
export async function stateContent(instance: Instance, actor: Actor, args: StateKey): Promise<string> {
  const row = found(await stateRow(instance, await requireReadable(instance, actor, args.roomId), args))
  return JSON.stringify((JSON.parse(row.json) as { content?: object }).content ?? {})
}

function found(row: EventRow | null): EventRow {
  if (!row) throw notFound('The room has no such state')
  return row
}

/** One state event as it stands for the reader, null when there is none. */
export async function stateRow(instance: Instance, readable: Readable, args: Omit<StateKey, 'roomId'>): Promise<EventRow | null> {
  const { storage } = instance
  const room = readable.room.key
  const user = args.type === 'm.room.member' ? await storage.first('user', { userId: args.stateKey }) : null
  const place =
    args.type === 'm.room.member'
      ? user && (await storage.first('membership', { room, user: user.key }))
      : await storage.first('state', { room, type: args.type, stateKey: args.stateKey })
  const rows = place ? await stateEventsAt(storage, [place], () => readable.upTo) : []
  return rows[0] ?? null
}

/** Memberships excepted. `types`: only these. */
export async function stateRowsAt(instance: Instance, room: number, point: number, types?: readonly string[]): Promise<EventRow[]> {
  const states = await instance.storage.find('state', { where: { room, ...(types ? { type: { in: types } } : {}) } })
  const rows = await stateEventsAt(instance.storage, states, () => point)
  return rows.sort((a, b) => a.order - b.order)
}

/** The m.room.member events, a page at a time, in no order. `wants` sees each membership as it was at the point. */
export async function* memberPagesAt(
  instance: Instance,
  room: number,
  point: number,
  wants: (membership: string) => boolean = () => true,
): AsyncGenerator<EventRow[]> {
  for (let after = 0; ; ) {
    const members = await instance.storage.find('membership', {
      where: { room, user: { gt: after } },
      orderBy: ['user'],
      limit: membersPerPage,
    })
    const rows = await memberRowsAt(instance, members, point, wants)
    if (rows.length > 0) yield rows
    if (members.length < membersPerPage) return
    after = members.at(-1)!.user
  }
}

/** The m.room.member events of these members. */
export async function memberRowsAt(
  instance: Instance,
  members: readonly MembershipRow[],
  point: number,
  wants: (membership: string) => boolean = () => true,
): Promise<EventRow[]> {
  // What the row says holds unless it is newer than the point.
  const asked = members.filter((member) => member.order > point || wants(member.membership))
  const rows = await stateEventsAt(instance.storage, asked, () => point)
  if (asked.every((member) => member.order <= point)) return rows
  return rows.filter((row) => wants((JSON.parse(row.json) as { content: { membership: string } }).content.membership))
}

/** Where state is read for an event at this order: prepended history has no state of its own. */
export function statePoint(order: number, upTo: number): number {
  return order < 1 ? upTo : Math.min(order, upTo)
}

/** Pages of rows as pieces of one JSON array of client events. */
export async function* jsonArray(
  instance: Instance,
  actor: Actor,
  readable: Readable,
  pages: () => AsyncIterable<EventRow[]>,
): AsyncGenerator<string> {
  let separator = ''
  yield '['
  for await (const page of pages()) {
    // What a state event replaced is of no use beside the state itself, and would double the reading.
    const rows = page.map((row) => ({ ...row, replaces: null }))
    const texts = await formatEvents(instance, requesterOf(actor, readable.user), rows, { roomId: readable.room.roomId })
    if (texts.length === 0) continue
    yield separator + texts.join(',')
    separator = ','
  }
  yield ']'
}
