/**
 * Transactions are made from the log: what concerned the appservice behind its cursor. One is frozen before its first attempt, so that every
 * attempt, also after a restart, sends the same under the same id: bridges drop an id they have seen, unread.
 */

import { newSecret } from '../ids.ts'
import { eventText } from '../rooms/event-json.ts'
import type { AppserviceRow, EventRow, FrozenRow, InterestRow } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { partsText, receiptEvents, typingEvent } from './ephemeral.ts'
import type { Transaction } from './sinks.ts'

/** Most events of a transaction, and most receipts. */
const mostEvents = 100
/** Most rooms of a transaction in which typing changed. */
export const mostTyping = 100
/** Most bytes of events, unless one alone is larger. Bridges on mautrix-python take 1 MiB: more would be refused for ever. */
const mostBytes = 512 * 1024

export interface Typing {
  readonly room: number
  readonly userIds: readonly string[]
}

/**
 * Freezes what comes next, in one change set; null when nothing waits. `typing` is what the bridge does not know yet, of 100 rooms at most.
 * What concerned it when written but is gone by now (a deleted room, an older receipt) only moves the cursor.
 */
export async function freezeNext(instance: Instance, appservice: AppserviceRow, typing: readonly Typing[]): Promise<FrozenRow | null> {
  const waiting = await interestOf(instance, appservice)
  const { end, events, receipts } = await choose(instance, waiting, appservice.cursor)
  const roomIds = await roomIdsOf(instance, [...waiting, ...typing])
  const ephemeral = await receiptEvents(instance, appservice.key, receipts, roomIds)
  for (const { room, userIds } of typing) {
    const roomId = roomIds.get(room)
    if (roomId !== undefined) ephemeral.push(typingEvent(roomId, userIds))
  }
  if (end === appservice.cursor && ephemeral.length === 0) return null
  return command(instance, (decision) => {
    if (!decision.get('appservice', { key: appservice.key })) return null
    const standing = decision.get('frozen', { appservice: appservice.key })
    if (standing) return standing
    const frozen: FrozenRow = {
      instance: instance.key,
      appservice: appservice.key,
      txnId: newSecret(instance.ports),
      end,
      events: JSON.stringify(events.map((event) => [event.room, event.order])),
      parts: partsText(ephemeral),
      createdAt: decision.now,
    }
    decision.put('frozen', frozen)
    return frozen
  })
}

/** The bridge has it: the frozen row and the interest go, and the cursor moves, in one change set. */
export function acknowledge(instance: Instance, frozen: FrozenRow): Promise<void> {
  return command(instance, (decision) => {
    const row = decision.get('appservice', { key: frozen.appservice })
    const standing = decision.get('frozen', { appservice: frozen.appservice })
    // Deleted meanwhile.
    if (!row || standing?.txnId !== frozen.txnId) return
    decision.remove('frozen', standing)
    decision.removeRange('interest', { appservice: row.key, upTo: frozen.end })
    decision.put('appservice', { ...row, cursor: Math.max(row.cursor, frozen.end) })
  })
}

/** The body that every attempt sends; null when nothing is left of it. Only what was redacted since is sent without its content. */
export async function transactionOf(instance: Instance, frozen: FrozenRow): Promise<Transaction | null> {
  const places = (JSON.parse(frozen.events) as [number, number][]).map(([room, order]) => ({ room, order }))
  const rows = await instance.storage.eventsAt(places)
  const roomIds = await roomIdsOf(instance, places)
  const texts = await eventTexts(
    instance,
    rows.sort((a, b) => a.order - b.order),
    roomIds,
    frozen.createdAt,
  )
  if (texts.length === 0 && frozen.parts === '{}') return null
  return { txnId: frozen.txnId, body: `{"events":[${texts.join()}]${frozen.parts === '{}' ? '}' : `,${frozen.parts.slice(1)}`}` }
}

function interestOf(instance: Instance, appservice: AppserviceRow): Promise<InterestRow[]> {
  return instance.storage.find('interest', {
    where: { appservice: appservice.key, position: { gt: appservice.cursor, lte: instance.bus.published } },
    orderBy: ['position'],
    limit: 2 * mostEvents,
  })
}

/** The longest start of what waits that has no more than 100 events, 512 KB of them, and 100 receipts. */
async function choose(
  instance: Instance,
  waiting: readonly InterestRow[],
  cursor: number,
): Promise<{ end: number; events: EventRow[]; receipts: Awaited<ReturnType<typeof receiptsAt>> }> {
  const events = new Map(
    (await instance.storage.eventsAt(waiting.map(({ room, position }) => ({ room, order: position })))).map((row) => [row.order, row]),
  )
  let end = cursor
  const chosen: EventRow[] = []
  const rest: InterestRow[] = []
  const others = await othersOf(instance, [...events.values()])
  let bytes = 0
  for (const interest of waiting) {
    const event = events.get(interest.position)
    if (event) for (const each of [event, others.replaced(event), others.redaction(event)]) bytes += Buffer.byteLength(each?.json ?? '')
    if (event ? chosen.length === mostEvents || (chosen.length > 0 && bytes > mostBytes) : rest.length === mostEvents) break
    if (event) chosen.push(event)
    else rest.push(interest)
    end = interest.position
  }
  return { end, events: chosen, receipts: await receiptsAt(instance, rest) }
}

/** Receipts that still stand as they were when they concerned the appservice; newer ones have an interest of their own. */
async function receiptsAt(instance: Instance, places: readonly InterestRow[]) {
  const first = places[0]
  const last = places.at(-1)
  if (!first || !last) return []
  const rows = await instance.storage.find('receipt', {
    where: { room: { in: [...new Set(places.map(({ room }) => room))] }, position: { gte: first.position, lte: last.position } },
  })
  const wanted = new Set(places.map(({ position }) => position))
  return rows.filter((row) => wanted.has(row.position))
}

async function roomIdsOf(instance: Instance, places: readonly { room: number }[]): Promise<Map<number, string>> {
  const keys = [...new Set(places.map(({ room }) => room))]
  const rooms = keys.length === 0 ? [] : await instance.storage.find('room', { where: { key: { in: keys } } })
  return new Map(rooms.map((room) => [room.key, room.roomId]))
}

/** In client format, with the transaction id of whoever sent it: bridges put it into their status events. */
async function eventTexts(
  instance: Instance,
  rows: readonly EventRow[],
  roomIds: ReadonlyMap<number, string>,
  now: number,
): Promise<string[]> {
  const others = await othersOf(instance, rows)
  return rows.flatMap((row) => {
    const roomId = roomIds.get(row.room)
    if (roomId === undefined) return []
    const write = (each: EventRow, more: { replaced?: EventRow | undefined; redactedBecause?: string | undefined } = {}) =>
      // The age at the time it was frozen, so that the text stays the same.
      eventText(each, { roomId, now, requester: { user: each.sender, device: each.device }, ...more })
    const redaction = others.redaction(row)
    return write(row, { replaced: others.replaced(row), redactedBecause: redaction && write(redaction) })
  })
}

/** What an event is sent with: the state that it replaced and the event that redacted it. */
async function othersOf(instance: Instance, rows: readonly EventRow[]) {
  const places = rows.flatMap(({ room, replaces, redactedBy }) =>
    [replaces, redactedBy].flatMap((order) => (order === null ? [] : [{ room, order }])),
  )
  const others = places.length === 0 ? [] : await instance.storage.eventsAt(places)
  const byPlace = new Map(others.map((row) => [`${row.room} ${row.order}`, row]))
  return {
    replaced: ({ room, replaces }: EventRow) => byPlace.get(`${room} ${replaces}`),
    redaction: ({ room, redactedBy }: EventRow) => byPlace.get(`${room} ${redactedBy}`),
  }
}
