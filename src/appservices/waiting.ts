/** What waits for an appservice behind its cursor, and how much of it goes into one transaction. */
import { roomsOnTheirWay } from '../rooms/merge-plan.ts'
import { spotName } from '../rooms/spot.ts'
import type { AppserviceRow, EventRow, InterestRow, ReceiptRow, ToDeviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { noRoom, spotOf } from '../users/interest.ts'
import { hasDevicesInTransactions, mostToDevice, toDeviceBetween, toDeviceBytes } from './encryption.ts'

/** Most events of a transaction, and most receipts. */
const mostEvents = 100
/** As many positions are looked at; what only says that keys changed costs a transaction nothing. */
const mostWaiting = 300
/** Most bytes of events and messages, unless one alone is larger. Bridges on mautrix-python take 1 MiB: more would be refused for ever. */
const mostBytes = 512 * 1024

/** From the first position to the last. */
interface Range {
  readonly gte: number
  readonly lte: number
}

export interface Waiting {
  readonly end: number
  /** keys of the rooms of events and receipts, those that were deleted left out */
  readonly rooms: readonly number[]
  readonly events: readonly EventRow[]
  readonly receipts: readonly ReceiptRow[]
  readonly toDevice: readonly ToDeviceRow[]
  /** where device lists or key counts changed; null: nowhere */
  readonly ofNoRoom: Range | null
}

/**
 * The longest start of what waits that has no more than 100 events, 100 messages to devices, 512 KB of both, and 100 receipts. It ends at one
 * position for all of them, so that no event overtakes the keys that it needs.
 */
export async function chooseNext(instance: Instance, appservice: AppserviceRow): Promise<Waiting> {
  const { waiting, rooms } = await settledInterest(instance, appservice)
  const ofRooms = waiting.filter(({ room }) => room !== noRoom)
  const rows = await instance.storage.eventsAt(ofRooms.map(spotOf))
  const eventAt = new Map(rows.map((row) => [spotName(row), row]))
  const messageAt = new Map((await messagesAmong(instance, appservice, waiting)).map((row) => [row.position, row]))
  const others = await othersOf(instance, rows)
  const events: EventRow[] = []
  const toDevice: ToDeviceRow[] = []
  const receipts: InterestRow[] = []
  const ofNoRoom: InterestRow[] = []
  let end = appservice.cursor
  let bytes = 0
  for (const interest of waiting) {
    const event = eventAt.get(spotName(spotOf(interest)))
    const message = messageAt.get(interest.position)
    if (event) for (const each of [event, others.replaced(event), others.redaction(event)]) bytes += Buffer.byteLength(each?.json ?? '')
    if (message) bytes += toDeviceBytes(message)
    if (bytes > mostBytes && events.length + toDevice.length > 0) break
    if (event) {
      if (events.length === mostEvents) break
      events.push(event)
    } else if (message) {
      if (toDevice.length === mostToDevice) break
      toDevice.push(message)
    } else if (interest.room === noRoom) ofNoRoom.push(interest)
    else {
      if (receipts.length === mostEvents) break
      receipts.push(interest)
    }
    end = interest.position
  }
  return { end, rooms, events, toDevice, receipts: await receiptsAt(instance, receipts), ofNoRoom: rangeOf(ofNoRoom) }
}

/** What an event is sent with: the state that it replaced and the event that redacted it. */
export async function othersOf(instance: Instance, rows: readonly EventRow[]) {
  const places = rows.flatMap(({ room, replaces, redactedBy }) =>
    [replaces, redactedBy].flatMap((order) => (order === null ? [] : [{ room, order }])),
  )
  const others = places.length === 0 ? [] : await instance.storage.eventsAt(places)
  const byPlace = new Map(others.map((row) => [spotName(row), row]))
  return {
    replaced: ({ room, replaces }: EventRow) => byPlace.get(`${room} ${replaces}`),
    redaction: ({ room, redactedBy }: EventRow) => byPlace.get(`${room} ${redactedBy}`),
  }
}

/**
 * What waits, up to where something has yet to move from a room that was merged or split: nothing overtakes it, and whoever moves it says so. A
 * room that is gone was deleted when it is not on its way, and what waits of it was read after that was seen: else it may just have moved.
 */
async function settledInterest(
  instance: Instance,
  appservice: AppserviceRow,
): Promise<{ waiting: InterestRow[]; rooms: readonly number[] }> {
  const deleted = new Set<number>()
  for (;;) {
    const waiting = await interestOf(instance, appservice)
    const keys = new Set(waiting.flatMap(({ room }) => (room === noRoom || deleted.has(room) ? [] : room)))
    const there = keys.size === 0 ? [] : await instance.storage.keys('room', { where: { key: { in: [...keys] } } })
    const rooms = there.map(({ key }) => key)
    if (rooms.length === keys.size) return { waiting, rooms }
    const onTheirWay = await roomsOnTheirWay(instance)
    const end = waiting.findIndex(({ room }) => onTheirWay.has(room))
    if (end !== -1) return { waiting: waiting.slice(0, end), rooms }
    for (const key of keys) if (!rooms.includes(key)) deleted.add(key)
  }
}

function interestOf(instance: Instance, appservice: AppserviceRow): Promise<InterestRow[]> {
  return instance.storage.find('interest', {
    where: { appservice: appservice.key, position: { gt: appservice.cursor, lte: instance.bus.published } },
    orderBy: ['position'],
    limit: mostWaiting,
  })
}

/** One more than fit: the first that does not fit ends the transaction, so none behind it is passed over. */
async function messagesAmong(instance: Instance, appservice: AppserviceRow, waiting: readonly InterestRow[]): Promise<ToDeviceRow[]> {
  const range = rangeOf(waiting.filter(({ room }) => room === noRoom))
  // A bridge that no longer wants them leaves them to its syncs.
  if (!range || !hasDevicesInTransactions(appservice)) return []
  return toDeviceBetween(instance, appservice.key, range, mostToDevice + 1)
}

function rangeOf(places: readonly InterestRow[]): Range | null {
  const [first, last] = [places[0], places.at(-1)]
  return first && last ? { gte: first.position, lte: last.position } : null
}

/** Receipts that still stand as they were when they concerned the appservice; newer ones have an interest of their own. */
async function receiptsAt(instance: Instance, places: readonly InterestRow[]): Promise<ReceiptRow[]> {
  const position = rangeOf(places)
  if (!position) return []
  const rows = await instance.storage.find('receipt', { where: { room: { in: [...new Set(places.map(({ room }) => room))] }, position } })
  const wanted = new Set(places.map((place) => place.position))
  return rows.filter((row) => wanted.has(row.position))
}
