/** What was said before and after: pages of a room's events. https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room */
import { MatrixError, notFound } from '../errors.ts'
import type { RoomEventFilter } from '../rules/filter.ts'
import type { EventRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { formatToken, parseToken } from '../stream/token.ts'
import type { Actor } from '../users/actor.ts'
import { parseRoomEventFilter, type RowFilter, rowFilter } from './event-filter.ts'
import { type FormatOptions, formatEvents, requesterOf } from './event-text.ts'
import { eventsTogether, formatPage, longestPage } from './page-size.ts'
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

/** Reads until there are `limit` events that the reader may see and wants, or as many as a page holds, or no more. */
export async function readPage(instance: Instance, readable: Readable, options: PageOptions): Promise<Page> {
  const { room, user, membership, upTo } = readable
  const { dir, limit } = options
  const back = dir === 'b'
  const to = options.to ?? (back ? Number.MIN_SAFE_INTEGER : upTo)
  const found: EventRow[] = []
  let length = 0
  let position = options.from
  for (let read = 0; read < mostRead; ) {
    const size = Math.min(Math.max(limit - found.length + 1, read === 0 ? 1 : fewestRead), eventsTogether)
    const range = back ? { lte: Math.min(position, upTo), gt: to } : { gt: position, lte: Math.min(to, upTo) }
    const rows = await instance.storage.find('event', {
      where: { room: room.key, order: range },
      orderBy: [back ? '-order' : 'order'],
      limit: size,
    })
    const wanted = new Set(await options.wanted(await visibleTo(instance, user, membership, room, rows)))
    for (const row of rows) {
      if (found.length === limit) return { rows: found, end: position }
      if (wanted.has(row)) {
        length += row.json.length
        if (length > longestPage && found.length > 0) return { rows: found, end: position }
        found.push(row)
      }
      position = gapBehind(row, dir)
    }
    if (rows.length < size) return { rows: found, end: null }
    read += rows.length
  }
  return { rows: found, end: position }
}

/** In the direction of reading. */
function gapBehind(row: EventRow, dir: 'b' | 'f'): number {
  return dir === 'b' ? row.order - 1 : row.order
}

/** The page without what did not fit: some are longer with what belongs to them, such as an edit. */
export function shortened({ rows, end }: Page, fitting: number, dir: 'b' | 'f'): Page {
  return fitting === rows.length ? { rows, end } : { rows: rows.slice(0, fitting), end: gapBehind(rows[fitting - 1]!, dir) }
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

/** The answer of /messages as JSON text: start, chunk, end (absent when there is nothing more), state. Large events: fewer. Errors: M_FORBIDDEN, M_INVALID_PARAM, M_BAD_JSON. */
export async function messages(instance: Instance, actor: Actor, args: Messages): Promise<string> {
  const filter = parseRoomEventFilter(args.filter)
  const given = args.from ? parseToken(args.from, 'from') : null
  const to = args.to ? parseToken(args.to, 'to') : null
  const readable = await requireReadable(instance, actor, args.roomId)
  const from = given ?? (args.dir === 'b' ? readable.upTo : readable.room.lowest - 1)
  const limit = pageLimit(args.limit ?? filter?.limit)
  const wanted = await rowFilter(instance, readable.user, readable.room, filter)
  const found = await readPage(instance, readable, { dir: args.dir, from, to, limit, wanted })

  const options = formatOptions(readable)
  const requester = requesterOf(actor, readable.user)
  const texts = await formatPage(found.rows, (rows) => formatEvents(instance, requester, rows, { ...options, bundle: true }))
  const page = shortened(found, texts.length, args.dir)
  const newest = Math.max(0, ...page.rows.map((row) => row.order))
  const state = filter?.lazyLoadMembers ? await senders(instance, readable, page.rows, statePoint(newest, readable.upTo)) : []
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
  const requester = requesterOf(actor, readable.user)
  const options = formatOptions(readable)
  const format = (rows: readonly EventRow[]) => formatEvents(instance, requester, rows, { ...options, bundle: true })
  const side = async (dir: 'b' | 'f', from: number, most: number) => {
    const { rows } = most === 0 ? { rows: [] } : await readPage(instance, readable, { dir, from, limit: most, wanted })
    const texts = await formatPage(rows, format, longestPage / 2)
    return { rows: rows.slice(0, texts.length), texts }
  }
  const before = await side('b', row.order - 1, Math.floor(limit / 2))
  const after = await side('f', row.order, Math.ceil(limit / 2))
  const state = await contextState(instance, readable, [...before.rows, row, ...after.rows], filter)

  const [event] = await format([row])
  const stateTexts = await formatEvents(instance, requester, state, options)
  return `{${[
    `"event":${event}`,
    `"events_before":[${before.texts.join(',')}]`,
    `"events_after":[${after.texts.join(',')}]`,
    `"start":${JSON.stringify(formatToken((before.rows.at(-1)?.order ?? row.order) - 1))}`,
    `"end":${JSON.stringify(formatToken(after.rows.at(-1)?.order ?? row.order))}`,
    `"state":[${stateTexts.join(',')}]`,
  ].join(',')}}`
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
