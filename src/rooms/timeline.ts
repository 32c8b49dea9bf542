/** A room's events as people page through them: oldest first, whichever way they come. */
import { invalidParam } from '../errors.ts'
import type { JsonObject } from '../rules/values.ts'
import type { EventRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { lastEvents } from '../stream/recent-events.ts'
import { formatToken, parseToken } from '../stream/token.ts'
import type { Actor } from '../users/actor.ts'
import { ignoredUsers } from '../users/ignored-users.ts'
import { requireUser } from '../users/users.ts'
import { rowFilter } from './event-filter.ts'
import { formatEvents, requesterOf } from './event-text.ts'
import { type EventId, readPage, requireEvent, shortened } from './history.ts'
import { formatPage } from './page-size.ts'
import { stateRow } from './state.ts'
import { type TypedContent, typedContent } from './typed-content.ts'
import { type Readable, requireReadable } from './visibility.ts'

/** An event as somebody reads it. */
export interface EventView {
  readonly roomId: string
  readonly row: EventRow
  /** the client event as JSON text */
  readonly text: string
}

export interface TimelineArgs {
  readonly first?: number | null | undefined
  /** cursor of the event behind which to begin */
  readonly after?: string | null | undefined
  readonly last?: number | null | undefined
  /** cursor of the event before which to end */
  readonly before?: string | null | undefined
}

export interface Timeline {
  /** oldest first */
  readonly events: readonly EventView[]
  readonly hasPreviousPage: boolean
  readonly hasNextPage: boolean
  /** Of the first and the last event. Where none was found among all that was read, the one to go on from: a client must not begin anew. */
  readonly startCursor: string | null
  readonly endCursor: string | null
}

const usualPage = 20
const largestPage = 1_000

/** The first events behind `after`, or the last ones before `before`; usually the newest 20, and fewer large ones. Errors: M_FORBIDDEN, M_INVALID_PARAM. */
export async function readTimeline(instance: Instance, actor: Actor, roomId: string, args: TimelineArgs): Promise<Timeline> {
  const forwards = typeof args.first === 'number'
  if (forwards && typeof args.last === 'number') throw invalidParam('Either first or last')
  const limit = args.first ?? args.last ?? usualPage
  if (limit < 1 || limit > largestPage) throw invalidParam(`A page has 1 to ${largestPage} events`)
  const after = args.after ? parseToken(args.after, 'after') : null
  // An event's cursor is the gap behind it; the one before it ends the page.
  const before = args.before ? parseToken(args.before, 'before') - 1 : null
  const readable = await requireReadable(instance, actor, roomId)
  const wanted = await rowFilter(instance, readable.user, readable.room, null)
  const start = after ?? readable.room.lowest - 1
  const end = before ?? readable.upTo
  const found = forwards
    ? await readPage(instance, readable, { dir: 'f', from: start, to: end, limit, wanted })
    : await readPage(instance, readable, { dir: 'b', from: end, to: start, limit, wanted })
  const texts = await formatPage(found.rows, (rows) => textsOf(instance, actor, readable, rows))
  const page = shortened(found, texts.length, forwards ? 'f' : 'b')
  const views = page.rows.map((row, i) => ({ roomId, row, text: texts[i]! }))
  const events = forwards ? views : views.reverse()
  const [first, last] = [events[0], events.at(-1)]
  const reached = page.end === null ? null : formatToken(forwards ? page.end : page.end + 1)
  return {
    events,
    hasPreviousPage: forwards ? after !== null : page.end !== null,
    hasNextPage: forwards ? page.end !== null : before !== null,
    startCursor: first ? cursorOf(first) : forwards ? null : reached,
    endCursor: last ? cursorOf(last) : forwards ? reached : null,
  }
}

export function cursorOf(event: EventView): string {
  return formatToken(event.row.order)
}

export async function viewEvents(instance: Instance, actor: Actor, readable: Readable, rows: readonly EventRow[]): Promise<EventView[]> {
  const texts = await textsOf(instance, actor, readable, rows)
  return rows.map((row, i) => ({ roomId: readable.room.roomId, row, text: texts[i]! }))
}

function textsOf(instance: Instance, actor: Actor, readable: Readable, rows: readonly EventRow[]): Promise<string[]> {
  const { room, user, membership, upTo } = readable
  const memberships = membership && { memberships: new Map([[room.key, membership]]) }
  return formatEvents(instance, requesterOf(actor, user), rows, { roomId: room.roomId, bundle: true, upTo, ...memberships })
}

export interface Newest {
  /** of the newest event, 0 when there is none */
  readonly order: number
  /** null when its sender is ignored */
  readonly event: EventView | null
}

/**
 * The newest event of each room that the caller is in, in the order of the rooms. Whoever is in a room may see it: it is their join, or
 * came after it.
 */
export async function viewNewestEvents(instance: Instance, actor: Actor, rooms: readonly number[]): Promise<Newest[]> {
  const user = requireUser(actor)
  const [newest, found, memberships, ignored] = await Promise.all([
    lastEvents(instance, rooms, { after: null, until: instance.bus.published, limit: 1 }),
    instance.storage.find('room', { where: { key: { in: rooms } } }),
    instance.storage.membersAt(rooms.map((room) => ({ room, user }))),
    ignoredUsers(instance, user),
  ])
  const rows = [...newest.values()].flat().filter((row) => row.stateKey !== null || ignored.size === 0 || !ignored.has(senderOf(row)))
  const roomId = new Map(found.map((room) => [room.key, room.roomId]))
  const texts = await formatEvents(instance, requesterOf(actor, user), rows, {
    roomId,
    bundle: true,
    memberships: new Map(memberships.map((row) => [row.room, row])),
  })
  const views = new Map(rows.map((row, i) => [row.room, { roomId: roomId.get(row.room) ?? '', row, text: texts[i]! }]))
  return rooms.map((room) => ({ order: newest.get(room)?.[0]?.order ?? 0, event: views.get(room) ?? null }))
}

function senderOf(row: EventRow): string {
  return (JSON.parse(row.json) as { sender: string }).sender
}

/** One event. Errors: M_NOT_FOUND when there is none that the caller may see. */
export async function viewEvent(instance: Instance, actor: Actor, args: EventId): Promise<EventView> {
  const { readable, row } = await requireEvent(instance, actor, args)
  return (await viewEvents(instance, actor, readable, [row]))[0]!
}

/** One state event, null when the room has none. Errors: M_FORBIDDEN. */
export async function viewState(
  instance: Instance,
  actor: Actor,
  args: { roomId: string; type: string; stateKey: string },
): Promise<EventView | null> {
  const readable = await requireReadable(instance, actor, args.roomId)
  const row = await stateRow(instance, readable, args)
  return row && (await viewEvents(instance, actor, readable, [row]))[0]!
}

export function contentOf({ row }: EventView): JsonObject {
  return (JSON.parse(row.json) as { content?: JsonObject }).content ?? {}
}

/** Null for uncommon events and for those that were emptied. */
export function typedContentOf(event: EventView): TypedContent | null {
  const { row } = event
  if (row.redactedBy !== null && row.type !== 'm.room.member') return null
  return typedContent({ type: row.type, stateKey: row.stateKey, content: contentOf(event) })
}
