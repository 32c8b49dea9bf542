/** Pages of what relates to an event, and of a room's threads. https://spec.matrix.org/v1.19/client-server-api/#relationships-api */
import type { EventRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { formatToken, parseToken } from '../stream/token.ts'
import type { Actor } from '../users/actor.ts'
import { rowFilter } from './event-filter.ts'
import { formatEvents, requesterOf } from './event-text.ts'
import { pageLimit, requireEvent } from './history.ts'
import { eventsTogether, formatPage, longestPage } from './page-size.ts'
import { type Readable, requireReadable, visibleTo } from './visibility.ts'

/** "the server MUST […] recurse at least 3 levels" */
const steps = 3

/** Places looked up together while some are not for the reader. */
const slice = 200
/** Of one page at the most: an ignored user's reactions must not be read without end. */
const mostRead = 20_000

export interface Relations {
  readonly roomId: string
  readonly eventId: string
  readonly relType?: string | null | undefined
  readonly eventType?: string | null | undefined
  readonly from?: string | null | undefined
  readonly to?: string | null | undefined
  /** usually 10, at most 1 000 */
  readonly limit?: number | null | undefined
  /** usually b: the newest first */
  readonly dir?: 'b' | 'f' | null | undefined
  /** also what relates to what relates to it */
  readonly recurse?: boolean | null | undefined
}

/** The answer of /relations as JSON text: chunk, next_batch, prev_batch, recursion_depth. Errors: M_NOT_FOUND, M_FORBIDDEN, M_INVALID_PARAM. */
export async function relations(instance: Instance, actor: Actor, args: Relations): Promise<string> {
  const given = args.from ? parseToken(args.from, 'from') : null
  const to = args.to ? parseToken(args.to, 'to') : null
  const { readable, row } = await requireEvent(instance, actor, args)
  const room = readable.room.key
  const back = args.dir !== 'f'
  const limit = pageLimit(args.limit)
  // A token is the gap behind an order.
  const range = back
    ? { from: (to ?? Number.MIN_SAFE_INTEGER) + 1, to: Math.min(given ?? readable.upTo, readable.upTo) }
    : { from: (given ?? Number.MIN_SAFE_INTEGER) + 1, to: Math.min(to ?? readable.upTo, readable.upTo) }
  const { recurse, relType, eventType: type } = args
  const next = (after: number | null, size: number): Promise<number[]> => {
    const rest = after === null ? range : back ? { ...range, to: after - 1 } : { ...range, from: after + 1 }
    const options = { steps: recurse ? steps : 1, newestFirst: back, limit: size, relType, type, ...rest }
    return instance.storage.descendants(room, row.eventId, options)
  }
  const { rows, end } = await gather(instance, readable, limit, next)
  const chunk = await texts(instance, actor, readable, rows)
  const parts = [`"chunk":[${chunk.join()}]`]
  const last = chunk.length < rows.length ? rows[chunk.length - 1]!.order : end
  if (last !== null) parts.push(`"next_batch":${JSON.stringify(formatToken(back ? last - 1 : last))}`)
  if (given !== null) parts.push(`"prev_batch":${JSON.stringify(formatToken(given))}`)
  if (recurse) parts.push(`"recursion_depth":${steps}`)
  return `{${parts.join()}}`
}

/**
 * Rows that the reader may see and does not ignore, up to a limit, and as many as a page holds; `next` gives the orders of those behind an order,
 * fewer than asked for at the end. With them the order behind which to go on, also where none was found; null when there is nothing more.
 */
async function gather(
  instance: Instance,
  readable: Readable,
  limit: number,
  next: (after: number | null, size: number) => Promise<number[]>,
): Promise<{ rows: EventRow[]; end: number | null }> {
  const { room, user, membership } = readable
  const wanted = await rowFilter(instance, user, room, null)
  const found: EventRow[] = []
  let length = 0
  let after: number | null = null
  for (let read = 0; read < mostRead; ) {
    const size = read === 0 ? limit + 1 : Math.max(slice, limit + 1)
    const orders = await next(after, size)
    for (let i = 0; i < orders.length; i += eventsTogether) {
      const together = orders.slice(i, i + eventsTogether)
      const rows = new Map(
        (await instance.storage.eventsAt(together.map((order) => ({ room: room.key, order })))).map((row) => [row.order, row]),
      )
      const sorted = together.flatMap((order) => rows.get(order) ?? [])
      for (const row of await wanted(await visibleTo(instance, user, membership, room, sorted))) {
        length += row.json.length
        if (found.length === limit || (length > longestPage && found.length > 0)) return { rows: found, end: found.at(-1)!.order }
        found.push(row)
      }
    }
    if (orders.length < size) return { rows: found, end: null }
    after = orders.at(-1)!
    read += orders.length
  }
  return { rows: found, end: after }
}

export interface Threads {
  readonly roomId: string
  /** participated: only where the reader began or answered */
  readonly include?: 'all' | 'participated' | null | undefined
  readonly from?: string | null | undefined
  readonly limit?: number | null | undefined
}

/** The answer of /threads as JSON text: the roots, the thread with the newest reply first. Errors: M_FORBIDDEN, M_INVALID_PARAM. */
export async function threads(instance: Instance, actor: Actor, args: Threads): Promise<string> {
  const given = args.from ? parseToken(args.from, 'from') : null
  const readable = await requireReadable(instance, actor, args.roomId)
  const { room, user, membership, upTo } = readable
  const limit = pageLimit(args.limit)
  const wanted = await rowFilter(instance, user, room, null)
  const roots: { row: EventRow; latest: number }[] = []
  let length = 0
  let end: number | null = given ?? upTo
  const isFull = () => roots.length >= limit || length > longestPage
  for (let read = 0; end !== null && !isFull() && read < mostRead; read += slice) {
    const found = await instance.storage.threads(room.key, { user, upTo, before: end, limit: slice })
    const rows = await instance.storage.eventsById(
      room.key,
      found.map(({ parent }) => parent),
    )
    const shown = new Map((await wanted(await visibleTo(instance, user, membership, room, rows))).map((row) => [row.eventId, row]))
    end = found.length < slice ? null : found.at(-1)!.latest - 1
    for (const [i, { parent, latest, participated }] of found.entries()) {
      const root = shown.get(parent)
      if (!root || (args.include === 'participated' && participated === 0 && root.sender !== user)) continue
      roots.push({ row: root, latest })
      length += root.json.length
      if (!isFull()) continue
      if (i < found.length - 1) end = latest - 1
      break
    }
  }
  const chunk = await texts(
    instance,
    actor,
    readable,
    roots.map(({ row }) => row),
  )
  if (chunk.length < roots.length) end = roots[chunk.length - 1]!.latest - 1
  const next = end === null ? '' : `,"next_batch":${JSON.stringify(formatToken(end))}`
  return `{"chunk":[${chunk.join()}]${next}}`
}

/** Of as many as a page holds. */
function texts(instance: Instance, actor: Actor, { room, user, membership, upTo }: Readable, rows: readonly EventRow[]): Promise<string[]> {
  const memberships = membership && { memberships: new Map([[room.key, membership]]) }
  const options = { roomId: room.roomId, bundle: true, upTo, ...memberships }
  return formatPage(rows, (some) => formatEvents(instance, requesterOf(actor, user), some, options))
}
