/** What readers keep about rooms that are merged or split: account data, receipts and how far they have read. */
import type { JsonObject } from '../rules/values.ts'
import type { AccountDataRow, ReceiptRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { Missing } from '../stream/memory.ts'
import { putAccountData } from '../users/account-data.ts'
import { inboxDoneType } from './archive.ts'
import { fullyRead, isFrom, type Kept, type Move, movesUnderWay, type Plan } from './merge-plan.ts'
import { markerOf, type Ranks, rankPlaces } from './merge-ranks.ts'
import { markedUnreadTypes } from './read-markers.ts'
import { joinedSyncers, membershipOf } from './room-core.ts'
import { type Spot, spotName } from './spot.ts'

type Write = (decision: Decision) => void

/** Each part gets what the first of the rooms has of a type; what a user has there by now stays. */
export async function moveAccountData(instance: Instance, move: Move, slice: readonly Kept[]): Promise<Write> {
  const rows = await accountDataOf(instance, move, slice)
  const merged = slice.flatMap((kept) => {
    const content = mergedContent(kept.type, rows.get(nameOf(kept)) ?? [], move.from.length)
    return content === null ? [] : { ...kept, content }
  })
  const places = placesOf(instance, move)
  return (decision) => {
    for (const place of places(decision)) {
      lookUp(decision, place, merged)
      for (const { user, type, content } of merged) {
        if (hasAccountData(decision, place, user, type)) continue
        writeAccountData(decision, place, { user, type, content: JSON.stringify(content) })
      }
    }
  }
}

/** Rooms are unread as one of them is, and done with when all of them are. The order up to which means nothing in another room. */
function mergedContent(type: string, rows: readonly AccountDataRow[], rooms: number): JsonObject | null {
  const contents = rows.map(({ content }) => JSON.parse(content) as JsonObject)
  if (markedUnreadTypes.includes(type)) return contents.find(({ unread }) => unread === true) ?? contents[0] ?? null
  if (type !== inboxDoneType) return contents[0] ?? null
  if (contents.length < rooms) return null
  const doneAt = ({ at_ts: at, updated_ts: updated }: JsonObject) => Number(at ?? updated ?? 0)
  const { at_order: _order, ...earliest } = contents.reduce((first, content) => (doneAt(content) < doneAt(first) ? content : first))
  return earliest
}

const ranksOf = new WeakMap<Plan, Ranks>()

/** To the events where they have gone by now. A bridge that was not told of a receipt in its old room is told of it in the new one. */
export async function moveReceipts(instance: Instance, move: Move, plan: Plan, slice: readonly Kept[]): Promise<Write> {
  const ranks = ranksOf.get(plan) ?? (await rankPlaces(plan))
  ranksOf.set(plan, ranks)
  const rooms = move.from.map(({ room }) => room)
  const receipts = await receiptsOf(instance, move, slice)
  const markers = await accountDataOf(instance, move, slice.filter(isMarker))
  const markedAt = await ordersOf(instance, [...markers.values()].flat())
  const parts = move.parts.map(({ room }, part) => {
    const reached = slice.flatMap((kept): Reached[] => {
      const rows = receipts.get(nameOf(kept)) ?? []
      const marks = markers.get(nameOf(kept)) ?? []
      const newest = rows.reduce<ReceiptRow | null>((one, row) => (one && one.position > row.position ? one : row), null)
      const read = isMarker(kept) ? marks.flatMap((row) => markedAt.get(spotName({ room: row.room, order: row.position })) ?? []) : rows
      const isOfThread = kept.thread !== '' && kept.thread !== 'main'
      const eventId = isOfThread ? newest?.eventId : markerOf(plan, ranks, rooms, part, kept.user, read)?.eventId
      return eventId === undefined ? [] : [{ kept, eventId, receipt: newest, marker: marks[0] ?? null, rows }]
    })
    return { room, reached }
  })
  const orders = new Map<number, ReadonlyMap<string, number>>()
  for (const { room, reached } of parts) {
    const events = await instance.storage.eventsById(room, [...new Set(reached.map(({ eventId }) => eventId))])
    orders.set(room, new Map(events.map(({ eventId, order }) => [eventId, order])))
  }
  const places = placesOf(instance, move)
  return (decision) => {
    for (const place of places(decision)) {
      const reached = parts.find(({ room }) => room === place.room)?.reached ?? []
      lookUp(
        decision,
        place,
        reached.map(({ kept }) => kept),
      )
      for (const each of reached) {
        const order = orders.get(place.room)?.get(each.eventId)
        if (order === undefined) continue
        if (isMarker(each.kept)) putMarker(decision, place, each)
        else putReceipt(decision, place, each, order, plan)
      }
    }
  }
}

interface Reached {
  readonly kept: Kept
  readonly eventId: string
  /** the user's newest of this kind */
  readonly receipt: ReceiptRow | null
  readonly marker: AccountDataRow | null
  /** all of this kind */
  readonly rows: readonly ReceiptRow[]
}

function putMarker(decision: Decision, place: Target, { kept: { user }, eventId, marker }: Reached): void {
  if (!marker || hasAccountData(decision, place, user, fullyRead)) return
  const content = JSON.stringify({ ...(JSON.parse(marker.content) as JsonObject), event_id: eventId })
  writeAccountData(decision, place, { user, type: fullyRead, content })
}

function putReceipt(decision: Decision, place: Target, { kept, eventId, receipt, rows }: Reached, order: number, plan: Plan): void {
  const { room, isHidden } = place
  const { user, type, thread } = kept
  const standing = decision.get('receipt', { room, user, type, thread })
  if (!receipt || (standing && standing.order >= order) || (!isHidden && membershipOf(decision, room, user)?.membership !== 'join')) return
  const position = decision.takePosition()
  decision.put('receipt', { ...receipt, room, eventId, order, position })
  for (const row of rows.flatMap((each) => plan.waiting.get(spotName({ room: each.room, order: each.position })) ?? [])) {
    // Past memory: decisions put interest and never look for it.
    decision.changes.remove('interest', row)
    decision.write('interest', { ...row, position, room, order: null })
  }
  const readers = isHidden ? [] : type === 'm.read' ? joinedSyncers(decision, room).map(({ key }) => key) : [user]
  decision.announce('receipt', { rooms: isHidden ? [] : [room], users: readers })
}

/** Where something moves. */
interface Target {
  readonly room: number
  /** it was merged or split itself meanwhile: nobody sees it, and what it has moves on */
  readonly isHidden: boolean
}

/** The rooms of the parts, those that were deleted meanwhile left out. */
function placesOf(instance: Instance, { parts }: Move): (decision: Decision) => Target[] {
  const handedOn = new Map<number, boolean>()
  return (decision) =>
    parts.flatMap(({ room }) => {
      if (decision.get('room', { key: room })) return { room, isHidden: false }
      const isHidden = handedOn.get(room)
      if (isHidden === undefined) throw new Missing(isHandedOn(instance, room).then((is) => handedOn.set(room, is)))
      return isHidden ? { room, isHidden } : []
    })
}

async function isHandedOn(instance: Instance, room: number): Promise<boolean> {
  await instance.shard.flushed(instance.key)
  return (await movesUnderWay(instance)).some(({ move }) => isFrom(move, room))
}

/** All that is decided on, at once. */
function lookUp(decision: Decision, { room }: Target, kept: readonly Kept[]): void {
  decision.all(
    kept.flatMap(({ user, type, thread }) => [
      () => membershipOf(decision, room, user),
      () => decision.get('accountData', { user, room, type }),
      () => decision.get('receipt', { room, user, type, thread }),
    ]),
  )
}

/** Also of who is not in the room, and so gets none. */
function hasAccountData(decision: Decision, { room, isHidden }: Target, user: number, type: string): boolean {
  const membership = membershipOf(decision, room, user)?.membership
  const isMember = membership === 'join' || membership === 'invite'
  return (!isHidden && !isMember) || decision.get('accountData', { user, room, type }) !== null
}

function writeAccountData(
  decision: Decision,
  { room, isHidden }: Target,
  { user, type, content }: Omit<Kept, 'thread'> & { content: string },
): void {
  if (!isHidden) putAccountData(decision, user, room, type, content)
  else decision.write('accountData', { instance: decision.instance.key, user, room, type, content, position: decision.takePosition() })
}

function isMarker({ type }: Kept): boolean {
  return type === fullyRead
}

function nameOf({ user, type, thread }: Kept): string {
  return `${user}\0${thread}\0${type}`
}

/** Of each kind, in the order of the rooms. */
async function accountDataOf({ storage }: Instance, { from }: Move, slice: readonly Kept[]): Promise<Map<string, AccountDataRow[]>> {
  if (slice.length === 0) return new Map()
  const users = { in: [...new Set(slice.map(({ user }) => user))] }
  const types = { in: [...new Set(slice.map(({ type }) => type))] }
  const rows: AccountDataRow[] = []
  for (const { room } of from) {
    rows.push(...(await storage.find('accountData', { where: { user: users, room, type: types } })))
  }
  return Map.groupBy(rows, ({ user, type }) => nameOf({ user, type, thread: '' }))
}

async function receiptsOf({ storage }: Instance, { from }: Move, slice: readonly Kept[]): Promise<Map<string, ReceiptRow[]>> {
  if (slice.length === 0) return new Map()
  const wanted = <K extends 'user' | 'type' | 'thread'>(column: K) => ({ in: [...new Set(slice.map((kept) => kept[column]))] })
  const kinds = { user: wanted('user'), type: wanted('type'), thread: wanted('thread') }
  const rows: ReceiptRow[] = []
  for (const { room } of from) rows.push(...(await storage.find('receipt', { where: { room, ...kinds } })))
  return Map.groupBy(rows, nameOf)
}

/** Where markers stand: by the room and the position of the marker. */
async function ordersOf({ storage }: Instance, markers: readonly AccountDataRow[]): Promise<Map<string, Spot>> {
  const spots = new Map<string, Spot>()
  for (const { room, position, content } of markers) {
    const eventId = (JSON.parse(content) as JsonObject)['event_id']
    const [event] = typeof eventId === 'string' ? await storage.eventsById(room, [eventId]) : []
    if (event) spots.set(spotName({ room, order: position }), { room, order: event.order })
  }
  return spots
}
