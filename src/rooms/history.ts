/** What was said before and after: pages of a room's events. https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room */
import { MatrixError, notFound } from '../errors.ts'
import type { RoomEventFilter } from '../rules/filter.ts'
import type { EventRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { formatToken, parseToken } from '../stream/token.ts'
import type { Actor } from '../users/actor.ts'
import { parseRoomEventFilter, type RowFilter, rowFilter } from './event-filter.ts'
import { type FormatOptions, formatEvents, requesterOf } from './event-text.ts'
import { memberRowsAt, statePoint, stateRowsAt } from './state.ts'
import { type Readable, requireReadable, visibleTo } from './visibility.ts'

export const usualLimit = 10
export const highestLimit = 1_000

/** Events read for one page at the most: a filter that drops nearly everything must not read a whole room in one request. */
const mostRead = 20_000
/** Events read in one go after a page in which some were dropped. */
const fewestRead = 100

export interface PageOptions {
  /** b: from newer to older */
  readonly dir: 'b' | 'f'
  /** the gap to start from: backwards gives orders ≤ from, forwards orders > from */
  readonly from: number
  /** the gap not to cross */
  readonly to?: number | null | undefined
  readonly limit: number
  readonly wanted: RowFilter
}

export interface Page {
  /** in the direction of reading */
  readonly rows: readonly EventRow[]
  /** the gap to go on from; null when there is nothing more */
  readonly end: number | null
}

/** Reads until there are `limit` events that the reader may see and wants, or no more. */
export async function readPage(instance: Instance, readable: Readable, options: PageOptions): Promise<Page> {
  const { room, user, membership, upTo } = readable
  const { dir, limit } = options
  const back = dir === 'b'
  const to = options.to ?? (back ? Number.MIN_SAFE_INTEGER : upTo)
  const found: EventRow[] = []
  let position = options.from
  for (let read = 0; read < mostRead; ) {
    const size = Math.max(limit - found.length + 1, read === 0 ? 1 : fewestRead)
    const range = back ? { lte: Math.min(position, upTo), gt: to } : { gt: position, lte: Math.min(to, upTo) }
    const rows = await instance.storage.find('event', {
      where: { room: room.key, order: range },
      orderBy: [back ? '-order' : 'order'],
      limit: size,
    })
    const wanted = new Set(await options.wanted(await visibleTo(instance, user, membership, room, rows)))
    for (const row of rows) {
      if (found.length === limit) return { rows: found, end: position }
      if (wanted.has(row)) found.push(row)
      position = back ? row.order - 1 : row.order
    }
    if (rows.length < size) return { rows: found, end: null }
    read += rows.length
  }
  return { rows: found, end: position }
}

export interface Messages {
  readonly roomId: string
  readonly dir: 'b' | 'f'
  readonly from?: string | null | undefined
  readonly to?: string | null | undefined
  /** usually 10, at most 1 000 */
  readonly limit?: number | null | undefined
  /** RoomEventFilter as JSON */
  readonly filter?: string | null | undefined
}

/** The answer of /messages as JSON text: start, chunk, end (absent when there is nothing more), state. Errors: M_FORBIDDEN, M_INVALID_PARAM, M_BAD_JSON. */
export async function messages(instance: Instance, actor: Actor, args: Messages): Promise<string> {
  const filter = parseRoomEventFilter(args.filter)
  const given = args.from ? parseToken(args.from, 'from') : null
  const to = args.to ? parseToken(args.to, 'to') : null
  const readable = await requireReadable(instance, actor, args.roomId)
  const from = given ?? (args.dir === 'b' ? readable.upTo : readable.room.lowest - 1)
  const limit = pageLimit(args.limit ?? filter?.limit)
  const wanted = await rowFilter(instance, readable.user, readable.room, filter)
  const page = await readPage(instance, readable, { dir: args.dir, from, to, limit, wanted })

  const options = formatOptions(readable)
  const requester = requesterOf(actor, readable.user)
  const newest = Math.max(0, ...page.rows.map((row) => row.order))
  const state = filter?.lazyLoadMembers ? await senders(instance, readable, page.rows, statePoint(newest, readable.upTo)) : []
  const texts = await formatEvents(instance, requester, page.rows, { ...options, bundle: true })
  const parts = [`"start":${JSON.stringify(formatToken(from))}`, `"chunk":[${texts.join(',')}]`]
  if (page.end !== null) parts.push(`"end":${JSON.stringify(formatToken(page.end))}`)
  if (state.length > 0) parts.push(`"state":[${(await formatEvents(instance, requester, state, options)).join(',')}]`)
  return `{${parts.join(',')}}`
}

export interface EventId {
  readonly roomId: string
  readonly eventId: string
}

export interface Context extends EventId {
  /** events before and after together, usually 10 */
  readonly limit?: number | null | undefined
  readonly filter?: string | null | undefined
}

/** The answer of /context as JSON text: the event, what stands around it, and the state at the last event. Errors: M_NOT_FOUND, M_BAD_JSON. */
export async function eventContext(instance: Instance, actor: Actor, args: Context): Promise<string> {
  const filter = parseRoomEventFilter(args.filter)
  const { readable, row } = await requireEvent(instance, actor, args)
  const limit = Math.min(Math.max(args.limit ?? filter?.limit ?? usualLimit, 0), highestLimit)
  const wanted = await rowFilter(instance, readable.user, readable.room, filter)
  const before = await around(instance, readable, { dir: 'b', from: row.order - 1, limit: Math.floor(limit / 2), wanted })
  const after = await around(instance, readable, { dir: 'f', from: row.order, limit: Math.ceil(limit / 2), wanted })
  const state = await contextState(instance, readable, [...before.rows, row, ...after.rows], filter)

  const requester = requesterOf(actor, readable.user)
  const options = formatOptions(readable)
  const shown = await formatEvents(instance, requester, [...before.rows, row, ...after.rows], { ...options, bundle: true })
  const stateTexts = await formatEvents(instance, requester, state, options)
  const place = before.rows.length
  return `{${[
    `"event":${shown[place]}`,
    `"events_before":[${shown.slice(0, place).join(',')}]`,
    `"events_after":[${shown.slice(place + 1).join(',')}]`,
    `"start":${JSON.stringify(formatToken((before.rows.at(-1)?.order ?? row.order) - 1))}`,
    `"end":${JSON.stringify(formatToken(after.rows.at(-1)?.order ?? row.order))}`,
    `"state":[${stateTexts.join(',')}]`,
  ].join(',')}}`
}

async function around(instance: Instance, readable: Readable, options: PageOptions): Promise<Page> {
  return options.limit === 0 ? { rows: [], end: options.from } : readPage(instance, readable, options)
}

/** "The state of the room at the last event returned": of the members only the senders when the filter says so. */
async function contextState(
  instance: Instance,
  readable: Readable,
  shown: readonly EventRow[],
  filter: RoomEventFilter | null,
): Promise<EventRow[]> {
  const point = statePoint(Math.max(...shown.map((row) => row.order)), readable.upTo)
  const state = await stateRowsAt(instance, readable.room.key, point)
  if (filter?.lazyLoadMembers) return [...state, ...(await senders(instance, readable, shown, point))]
  const memberships = await instance.storage.find('membership', { where: { room: readable.room.key } })
  return [...state, ...(await memberRowsAt(instance, memberships, point))]
}

/** The m.room.member events of those who sent the rows. */
async function senders(instance: Instance, readable: Readable, rows: readonly EventRow[], point: number): Promise<EventRow[]> {
  const room = readable.room.key
  const users = [...new Set(rows.map((row) => row.sender))]
  const memberships = await instance.storage.membersAt(users.map((user) => ({ room, user })))
  return memberRowsAt(instance, memberships, point)
}

/** The event, when the caller may see it. "404: the event was not found or you do not have permission to read this event." */
export async function requireEvent(instance: Instance, actor: Actor, args: EventId): Promise<{ readable: Readable; row: EventRow }> {
  const readable = await requireReadable(instance, actor, args.roomId).catch((error: unknown) => {
    const hidden = error instanceof MatrixError && error.errcode === 'M_FORBIDDEN' && !actor.puppet
    throw hidden ? notFound('Event not found') : error
  })
  const row = await instance.storage.first('event', { room: readable.room.key, eventId: args.eventId })
  if (!row || row.order > readable.upTo) throw notFound('Event not found')
  const [visible] = await visibleTo(instance, readable.user, readable.membership, readable.room, [row])
  if (!visible) throw notFound('Event not found')
  return { readable, row }
}

function formatOptions({ room, membership, upTo }: Readable): FormatOptions {
  return { roomId: room.roomId, upTo, ...(membership && { memberships: new Map([[room.key, membership]]) }) }
}

export function pageLimit(limit: number | null | undefined): number {
  return Math.min(Math.max(limit ?? usualLimit, 1), highestLimit)
}
