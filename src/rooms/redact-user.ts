/**
 * Redacting what somebody said in a room, the newest first, so many events with each request.
 * https://github.com/matrix-org/matrix-spec-proposals/pull/4194
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { invalidParam } from '../errors.ts'
import { authorize, checkRedaction, neverRedacted } from '../rules/auth.ts'
import { isUserId } from '../rules/event-limits.ts'
import type { EventRow, RoomRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import { Missing } from '../stream/memory.ts'
import type { Actor } from '../users/actor.ts'
import { once } from '../users/transactions.ts'
import { actingUser } from '../users/users.ts'
import { checkPuppet } from './puppets.ts'
import { redactEvent } from './redact.ts'
import { coreOf, findEvent, type RoomCore, roomOf, throwRefusal, viewOf } from './room-core.ts'
import { type Readable, requireReadable, visibleTo } from './visibility.ts'

/** Events redacted by one request: all of it is one change set. */
const usualLimit = 25
const mostEvents = 100
/** What they hold and what their redactions say, in bytes; a single event may be larger. */
const mostBytes = 256_000
/** Events of the room gone through in one go, and by one request. */
const eventsPerRead = 1_000
const mostRead = 200_000
/** Remembered of each homeserver: where a request stopped. */
const mostStops = 100

export interface RedactUser {
  readonly roomId: string
  /** whose events */
  readonly userId: string
  /** stands in each redaction */
  readonly reason?: string | null | undefined
  /** usually 25, at most 100 */
  readonly limit?: number | null | undefined
  /** the same again answers the same */
  readonly txnId?: string | null | undefined
}

export interface RedactedEvents {
  /** how many this request redacted */
  readonly total: number
  /** whether there may be more to redact */
  readonly more: boolean
}

/**
 * Redacts events of one's own, or anybody's with the redact power level: messages, reactions and the like, and what the user's earlier
 * m.room.member events tell of them. What is redacted already counts for nothing. Redactions stay, or those of one's own would never end, and
 * so does all other state: names, levels and encryption are the room's. Errors: M_FORBIDDEN, M_INVALID_PARAM, M_TOO_LARGE for a very long reason,
 * M_USER_SUSPENDED for others' events while suspended.
 */
export async function redactUser(instance: Instance, actor: Actor, args: RedactUser): Promise<RedactedEvents> {
  if (!isUserId(args.userId)) throw invalidParam(`${args.userId} is not a user ID`)
  let found = null as Found | null
  const answer = await command(instance, (decision) => {
    const room = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, room)
    checkPuppet(actor, core)
    const sender = actingUser(decision, actor)
    const id = args.txnId ? { scope: `redactUser/${args.roomId}/${args.userId}`, txnId: args.txnId } : null
    return once(decision, actor, sender.key, id, () => {
      checkAllowed(decision, core, sender.userId, args.userId)
      if (!found) throw new Missing(findEvents(instance, actor, args).then((events) => (found = events)))
      return { total: redactAll(decision, room, sender, found.rows, args.reason ?? null), more: found.stop !== null }
    })
  })
  // After the commit: what failed is looked for again.
  if (found) remember(instance, found)
  return answer
}

/** Also where there is nothing to redact. */
function checkAllowed(decision: Decision, core: RoomCore, sender: string, userId: string): void {
  const view = viewOf(decision, core)
  throwRefusal(authorize({ type: 'm.room.redaction', sender, content: {} }, view))
  throwRefusal(checkRedaction(sender, { type: 'm.room.message', sender: userId }, view))
}

/** How many there were left to redact: somebody else may have been faster. */
function redactAll(decision: Decision, room: RoomRow, sender: UserRow, rows: readonly EventRow[], reason: string | null): number {
  let total = 0
  const redact = (eventId: string) => (): void => {
    // Each redaction leaves another core behind.
    const core = coreOf(decision, room)
    if (findEvent(decision, core, eventId)?.redactedBy !== null) return
    redactEvent(decision, core, sender, { eventId, content: reason === null ? {} : { reason }, device: null, txnId: null })
    total++
  }
  decision.all(rows.map((row) => redact(row.eventId)))
  return total
}

interface Found {
  /** the newest first */
  readonly rows: readonly EventRow[]
  /** null: the room was gone through to its end */
  readonly stop: Stop | null
  readonly key: string
}

/** Of the orders from `from` to `upTo` nothing is left to redact for a reader who is joined since `since`, while `current` is the user's membership. */
interface Stop extends Standing {
  readonly from: number
  readonly upTo: number
}

interface Standing {
  readonly since: number
  /** order of the m.room.member event in force, which stays */
  readonly current: number | null
}

/** A client asks until there is no more: without these each request would go through what those before it went through. */
const stops = local(() => new Map<string, Stop>())

function remember(instance: Instance, { key, stop }: Found): void {
  const known = stops(instance)
  known.delete(key)
  if (stop) known.set(key, stop)
  const [oldest] = known.keys()
  if (known.size > mostStops && oldest !== undefined) known.delete(oldest)
}

/** The newest that are not redacted, as many as one request takes. */
async function findEvents(instance: Instance, actor: Actor, args: RedactUser): Promise<Found> {
  const readable = await requireReadable(instance, actor, args.roomId)
  const { room, user, upTo } = readable
  const key = `${room.key} ${user} ${args.userId}`
  const target = await instance.storage.first('user', { userId: args.userId })
  if (!target) return { rows: [], stop: null, key }
  const current = (await instance.storage.first('membership', { room: room.key, user: target.key }))?.order ?? null
  const standing: Standing = { since: readable.membership?.since ?? 0, current }
  const before = stops(instance).get(key)
  const last = before?.since === standing.since && before.current === current ? before : null

  const most = Math.min(Math.max(args.limit ?? usualLimit, 1), mostEvents)
  const reasonBytes = Buffer.byteLength(args.reason ?? '')
  const rows: EventRow[] = []
  let bytes = 0
  let read = 0
  // What came since the last request, and then what it left.
  const gaps = last
    ? [
        { above: last.upTo, to: upTo },
        { above: Number.MIN_SAFE_INTEGER, to: last.from - 1 },
      ]
    : [{ above: Number.MIN_SAFE_INTEGER, to: upTo }]
  for (const { above, to } of gaps) {
    for (let next: number | null = to; next !== null; ) {
      const page: Page = await readBack(instance, readable, { above, to: next, target, current })
      for (const row of page.rows) {
        bytes += Buffer.byteLength(row.json) + reasonBytes
        if (rows.length === most || (rows.length > 0 && bytes > mostBytes))
          return { rows, stop: { from: row.order + 1, upTo, ...standing }, key }
        rows.push(row)
      }
      next = page.next
      read += page.read
      if (read >= mostRead && next !== null) return { rows, stop: { from: next + 1, upTo, ...standing }, key }
      await nextTurn()
    }
  }
  return { rows, stop: null, key }
}

interface Page {
  readonly rows: readonly EventRow[]
  /** where to read on; null at the end */
  readonly next: number | null
  /** events of the room that were gone through */
  readonly read: number
}

/** There is no index of senders: the database goes through so many events of the room, but only the target's are brought. */
async function readBack(
  instance: Instance,
  { room, user, membership }: Readable,
  { above, to, target, current }: { above: number; to: number; target: UserRow; current: number | null },
): Promise<Page> {
  const passed = await instance.storage.keys('event', {
    where: { room: room.key, order: { gt: above, lte: to } },
    orderBy: ['-order'],
    limit: eventsPerRead,
  })
  const last = passed.at(-1)
  if (!last) return { rows: [], next: null, read: 0 }
  const found = await instance.storage.find('event', {
    where: {
      room: room.key,
      order: { gte: last.order, lte: to },
      sender: target.key,
      redactedBy: null,
      type: { not: 'm.room.redaction' },
      stateKey: { in: [null, target.userId] },
    },
    orderBy: ['-order'],
    limit: mostEvents + 1,
  })
  const said = found.filter(({ stateKey, type, order }) =>
    stateKey === null ? !neverRedacted.includes(type) : type === 'm.room.member' && order !== current,
  )
  const rows = await visibleTo(instance, user, membership, room, said)
  if (found.length > mostEvents) return { rows, next: found.at(-1)!.order - 1, read: found.length }
  return { rows, next: passed.length < eventsPerRead ? null : last.order - 1, read: passed.length }
}
