/**
 * What a move carries into the new rooms, found out before it begins: what it comes from is out of sight already and does not change any more,
 * so the plan is the same after a restart.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { sliceOfRows } from '../jobs/jobs.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import type { KeyOf } from '../storage/change-set.ts'
import type { Condition, Find, Where } from '../storage/storage.ts'
import type { EventRow, InterestRow, JobRow, NotificationRow, Rows, TableName } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { spotOf } from '../users/interest.ts'
import { relationOf } from './relations.ts'
import { type Spot, spotName } from './spot.ts'

/** The kind of job that moves what rooms had into those that replace them. */
export const moveHistory = 'moveHistory'
/** Where its cursor is when all has moved. */
export const moved = 'moved'

export interface Move {
  /** keys of the rooms it comes from, and their ids */
  readonly from: readonly { readonly room: number; readonly roomId: string }[]
  /** key of the content that says to which part an event belongs */
  readonly key: string
  readonly parts: readonly { readonly room: number; readonly values: readonly string[] }[]
}

/** An event on its way. */
export interface Place {
  readonly room: number
  readonly order: number
  readonly ts: number
  readonly eventId: string
  readonly sender: number
  readonly inThread: boolean
  /** id of the event that it speaks of: an answer goes where the question goes */
  readonly about: string | null
  /** order of the redaction that emptied it */
  readonly redactedBy: number | null
  /** index of its part; null where it does not say */
  part: number | null
  /** where it stands: the same event may stand in several of the rooms */
  readonly spots: Spot[]
}

/** What a user has of one kind in the rooms: account data of a type, or a receipt of a type and thread. */
export interface Kept {
  readonly user: number
  readonly type: string
  readonly thread: string
}

export interface Plan {
  /**
   * every event that is no state, the newest first, once, and a redaction before what it emptied, whatever their times say; state belongs to
   * the room that it was of
   */
  readonly places: readonly Place[]
  /** what waits for appservices: by the spot of an event; a receipt's order is its position */
  readonly waiting: ReadonlyMap<string, readonly InterestRow[]>
  /** unread marks by the spot of the event */
  readonly marks: ReadonlyMap<string, readonly NotificationRow[]>
  readonly accountData: readonly Kept[]
  readonly receipts: readonly Kept[]
}

/** What says how far somebody has read, in account data. */
export const fullyRead = 'm.fully_read'
/** Followed from an event to one that says where it belongs. */
const mostHops = 10

export async function makePlan(instance: Instance, job: JobRow, move: Move): Promise<Plan> {
  const moves = await movesUnderWay(instance)
  const earlier = moves.find((other) => other.job < job.key && other.move.parts.some(({ room }) => isFrom(move, room)))
  if (earlier) throw new Error(`Job ${earlier.job} has to end first: history is still on its way into these rooms`)
  const accountData = await accountDataOf(instance, move)
  return {
    places: await placesOf(instance, move),
    waiting: await waitingOf(instance, move),
    marks: await marksOf(instance, move),
    accountData: accountData.filter(({ type }) => type !== fullyRead),
    receipts: [...(await receiptsOf(instance, move)), ...accountData.filter(({ type }) => type === fullyRead)],
  }
}

export async function movesUnderWay({
  storage,
}: Instance): Promise<{ readonly job: number; readonly cursor: string; readonly move: Move }[]> {
  const jobs = await storage.find('job', { where: { kind: moveHistory, endedAt: null } })
  return jobs.map(({ key, cursor, arguments: text }) => ({ job: key, cursor, move: JSON.parse(text) as Move }))
}

/** Keys of the rooms that were replaced and whose events have yet to get a place in others. */
export async function roomsOnTheirWay(instance: Instance): Promise<ReadonlySet<number>> {
  const moves = await movesUnderWay(instance)
  return new Set(moves.flatMap(({ cursor, move }) => (cursor === moved ? [] : move.from.map(({ room }) => room))))
}

export function isFrom({ from }: Move, key: number): boolean {
  return from.some(({ room }) => room === key)
}

async function placesOf(instance: Instance, move: Move): Promise<readonly Place[]> {
  const places: Place[] = []
  for (const { room } of move.from) {
    for await (const row of rowsFrom(instance, 'event', 'order', { room })) if (row.stateKey === null) places.push(placeOf(row, move))
  }
  const byId = new Map<string, Place>()
  if (move.parts.length > 1) for await (const place of inTurns(places)) byId.set(place.eventId, place)
  for await (const place of inTurns(places)) place.part ??= partOf(place, byId)
  places.sort((a, b) => b.ts - a.ts || b.order - a.order || b.room - a.room)
  const seen = new Map<string, Place>()
  const once: Place[] = []
  for await (const place of inTurns(places)) {
    const name = `${place.part} ${place.eventId}`
    const twin = seen.get(name)
    if (twin) twin.spots.push(...place.spots)
    else {
      seen.set(name, place)
      once.push(place)
    }
  }
  return redactionsFirst(once)
}

/** What was emptied names its redaction by the place that this got, so it has to have one. */
async function redactionsFirst(places: readonly Place[]): Promise<readonly Place[]> {
  const wanted = new Set<string>()
  for await (const place of inTurns(places)) if (place.redactedBy !== null) wanted.add(redactionSpot(place))
  if (wanted.size === 0) return places
  const redactions = new Map<string, Place>()
  for await (const place of inTurns(places)) {
    for (const name of place.spots.map(spotName)) if (wanted.has(name)) redactions.set(name, place)
  }
  const ordered = new Set<Place>()
  for await (const place of inTurns(places)) {
    // A redaction may be redacted itself.
    const chain = new Set<Place>()
    for (let at: Place | undefined = place; at && !ordered.has(at) && !chain.has(at); at = redactions.get(redactionSpot(at))) chain.add(at)
    for (const each of [...chain].reverse()) ordered.add(each)
  }
  return [...ordered]
}

function redactionSpot({ room, redactedBy }: Place): string {
  return `${room} ${redactedBy}`
}

const itemsPerTurn = 2_000

/** All of a long list; others get a turn now and then. */
export async function* inTurns<T>(items: readonly T[]): AsyncGenerator<T> {
  for (const [i, item] of items.entries()) {
    if (i % itemsPerTurn === itemsPerTurn - 1) await nextTurn()
    yield item
  }
}

function placeOf(row: EventRow, { key, parts }: Move): Place {
  const { room, order, ts, eventId, sender, redactedBy, json } = row
  // Where a text merely speaks of threads, nothing is lost but a place for a marker.
  const place = { room, order, ts, eventId, sender, redactedBy, inThread: json.includes('"m.thread"'), spots: [{ room, order }] }
  if (parts.length === 1) return { ...place, about: null, part: 0 }
  const { content } = JSON.parse(json) as { content?: JsonObject }
  // All that is left of it in a redaction that was redacted itself.
  const redacts = row.type === 'm.room.redaction' ? content?.['redacts'] : undefined
  const value = content?.[key]
  const part = typeof value === 'string' ? parts.findIndex(({ values }) => values.includes(value)) : -1
  // A redaction stays with what it emptied, whatever it says itself.
  if (typeof redacts === 'string') return { ...place, about: redacts, part: null }
  return { ...place, about: aboutOf(content ?? {}), part: part === -1 ? null : part }
}

function aboutOf(content: JsonObject): string | null {
  const relation = relationOf(content)
  if (relation) return relation.eventId
  const relates = content['m.relates_to']
  const reply = isObject(relates) ? relates['m.in_reply_to'] : undefined
  return isObject(reply) && typeof reply['event_id'] === 'string' ? reply['event_id'] : null
}

/** Where the event goes that it speaks of. What belongs nowhere goes to the first part: it is not lost. */
function partOf(place: Place, byId: ReadonlyMap<string, Place>): number {
  let at: Place | undefined = place
  for (let hops = 0; at && hops < mostHops; hops++) {
    if (at.part !== null) return at.part
    at = at.about === null ? undefined : byId.get(at.about)
  }
  return 0
}

/** It is not found by room: all that waits is looked through. */
async function waitingOf(instance: Instance, move: Move): Promise<Map<string, InterestRow[]>> {
  const waiting = new Map<string, InterestRow[]>()
  for (const { key, cursor } of await instance.storage.find('appservice', { where: {}, orderBy: ['key'] })) {
    for await (const row of rowsFrom(instance, 'interest', 'position', { appservice: key }, cursor)) {
      if (isFrom(move, row.room)) append(waiting, spotName(spotOf(row)), row)
    }
  }
  return waiting
}

async function marksOf(instance: Instance, { from }: Move): Promise<Map<string, NotificationRow[]>> {
  const marks = new Map<string, NotificationRow[]>()
  for (const { key: user } of await instance.storage.find('user', { where: { syncs: 1 }, orderBy: ['key'] })) {
    for (const { room } of from) {
      for await (const row of rowsFrom(instance, 'notification', 'order', { user, room })) append(marks, spotName(row), row)
    }
  }
  return marks
}

/** Account data is found by the rooms' members. */
async function accountDataOf({ storage }: Instance, { from }: Move): Promise<Kept[]> {
  const found: KeyOf<'accountData'>[] = []
  for (const { room } of from) {
    for (let after: number | null = 0; after !== null; ) {
      const where = { room, user: { gt: after } }
      const members: KeyOf<'membership'>[] = await storage.keys('membership', { where, orderBy: ['user'], limit: sliceOfRows })
      const users = members.map(({ user }) => user)
      if (users.length > 0) found.push(...(await storage.keys('accountData', { where: { user: { in: users }, room } })))
      after = users.length < sliceOfRows ? null : users.at(-1)!
      await nextTurn()
    }
  }
  return once(found.map(({ user, type }) => ({ user, type, thread: '' })))
}

async function receiptsOf(instance: Instance, { from }: Move): Promise<Kept[]> {
  const found: Kept[] = []
  for (const { room } of from) {
    for await (const { user, type, thread } of rowsFrom(instance, 'receipt', 'position', { room })) found.push({ user, type, thread })
  }
  return once(found)
}

/** Of several rooms once, in an order that is the same each time. */
function once(kept: readonly Kept[]): Kept[] {
  const byName = new Map(kept.map((one) => [`${one.type}\0${one.thread}\0${one.user}`, one]))
  return [...byName.values()].sort((a, b) => a.user - b.user || compare(a.type, b.type) || compare(a.thread, b.thread))
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

/** All rows of a part of a table by a number that orders them, a slice at a time. */
async function* rowsFrom<T extends TableName, C extends Extract<keyof Rows[T], string>>(
  { storage }: Instance,
  table: T,
  column: C,
  where: Where<T>,
  behind: number = Number.MIN_SAFE_INTEGER,
): AsyncGenerator<Rows[T]> {
  for (let after: number | null = behind; after !== null; ) {
    const next: Condition = { gt: after }
    const find = { where: { ...where, [column]: next }, orderBy: [column], limit: sliceOfRows } as unknown as Find<T>
    const rows: Rows[T][] = await storage.find(table, find)
    yield* rows
    after = rows.length < sliceOfRows ? null : (rows.at(-1)![column] as number)
    await nextTurn()
  }
}

function append<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}
