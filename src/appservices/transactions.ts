/**
 * Transactions are made from the log: what concerned the appservice behind its cursor. One is frozen before its first attempt, so that every
 * attempt, also after a restart, sends the same under the same id: bridges drop an id they have seen, unread.
 */
import { newSecret } from '../ids.ts'
import { eventText } from '../rooms/event-json.ts'
import { roomsOnTheirWay } from '../rooms/merge-plan.ts'
import { spotName } from '../rooms/spot.ts'
import type { KeyOf } from '../storage/change-set.ts'
import type { AppserviceRow, EventRow, FrozenRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { deviceParts } from './encryption.ts'
import { receiptEvents, typingEvent } from './ephemeral.ts'
import type { Transaction } from './sinks.ts'
import { partsText } from './transaction-parts.ts'
import { chooseNext, othersOf } from './waiting.ts'

/** Most rooms of a transaction in which typing changed. */
export const mostTyping = 100

export interface Typing {
  readonly room: number
  readonly userIds: readonly string[]
}

/** What the bridge is told besides what waits for it. */
export interface Further {
  /** what it does not know yet, of 100 rooms at most */
  readonly typing: readonly Typing[]
  /** what all devices of its users have left to hand out, and not only those where that changed */
  readonly allCounts: boolean
}

/**
 * Freezes what comes next, in one change set; null when nothing waits. What concerned it when written but is gone by now (a deleted room, an
 * older receipt) only moves the cursor.
 */
export async function freezeNext(instance: Instance, appservice: AppserviceRow, { typing, allCounts }: Further): Promise<FrozenRow | null> {
  const next = await chooseNext(instance, appservice)
  const roomIds = await roomIdsOf(instance, [...next.receipts, ...typing])
  const ephemeral = await receiptEvents(instance, appservice.key, next.receipts, roomIds)
  for (const { room, userIds } of typing) {
    const roomId = roomIds.get(room)
    if (roomId !== undefined) ephemeral.push(typingEvent(roomId, userIds))
  }
  if (next.end === appservice.cursor && ephemeral.length === 0) return null
  const parts = partsText({
    ephemeral: ephemeral.map((event) => JSON.stringify(event)),
    ...(await deviceParts(instance, appservice, next, allCounts)),
  })
  const frozen = await command(instance, (decision) => {
    if (!decision.get('appservice', { key: appservice.key })) return null
    const standing = decision.get('frozen', { appservice: appservice.key })
    if (standing) return standing
    const places = next.rooms.map((key) => ({ key }))
    decision.loadAll('room', places, (keys) => instance.storage.find('room', { where: { key: { in: keys.map(({ key }) => key) } } }))
    if (places.some((key) => !decision.get('room', key))) return 'changed'
    const frozen: FrozenRow = {
      instance: instance.key,
      appservice: appservice.key,
      txnId: newSecret(instance.ports),
      end: next.end,
      events: JSON.stringify(next.events.map((event) => [event.room, event.order])),
      parts,
      createdAt: decision.now,
    }
    decision.put('frozen', frozen)
    return frozen
  })
  // A room was deleted, merged or split meanwhile: what is in it may be somewhere else.
  return frozen === 'changed' ? freezeNext(instance, appservice, { typing, allCounts }) : frozen
}

/**
 * The bridge has it: the frozen row, the interest and the messages to devices go, and the cursor moves, in one change set. A device that has
 * synced keeps its messages until its sync says that it has them: its bridge may read either.
 */
export async function acknowledge(instance: Instance, { cursor }: AppserviceRow, frozen: FrozenRow): Promise<void> {
  const messages = 'to_device' in JSON.parse(frozen.parts) ? await messagesOf(instance, frozen, cursor) : []
  await command(instance, (decision) => {
    const row = decision.get('appservice', { key: frozen.appservice })
    const standing = decision.get('frozen', { appservice: frozen.appservice })
    // Deleted meanwhile.
    if (!row || standing?.txnId !== frozen.txnId) return
    decision.remove('frozen', standing)
    decision.removeRange('interest', { appservice: row.key, upTo: frozen.end })
    // Past memory: decisions put messages and never look for them.
    for (const message of messages) if (!hasSynced(decision, message)) decision.changes.remove('toDevice', message)
    decision.put('appservice', { ...row, cursor: Math.max(row.cursor, frozen.end) })
  })
}

/** The messages that it holds: all that lie between the cursor and its end. */
function messagesOf({ storage }: Instance, { appservice, end }: FrozenRow, cursor: number): Promise<KeyOf<'toDevice'>[]> {
  return storage.keys('toDevice', { where: { appservice, position: { gt: cursor, lte: end } } })
}

function hasSynced(decision: Decision, { user, deviceId }: KeyOf<'toDevice'>): boolean {
  return (decision.get('device', { user, deviceId })?.syncedAt ?? null) !== null
}

/**
 * What every attempt sends; null when nothing is left of it. Only what was redacted since is sent without its content, and what has moved to a
 * merged room with that room's id. 'moving': some of it is on its way there.
 */
export async function transactionOf(instance: Instance, frozen: FrozenRow): Promise<Transaction | 'moving' | null> {
  const places = (JSON.parse(frozen.events) as [number, number][]).map(([room, order]) => ({ room, order }))
  const rows = await instance.storage.eventsAt(places)
  const roomIds = await roomIdsOf(instance, places)
  if (places.some(({ room }) => !roomIds.has(room))) {
    const onTheirWay = await roomsOnTheirWay(instance)
    if (places.some(({ room }) => onTheirWay.has(room))) return 'moving'
    const now = await instance.storage.first('frozen', { appservice: frozen.appservice })
    if (now?.txnId === frozen.txnId && now.events !== frozen.events) return transactionOf(instance, now)
  }
  const bySpot = new Map(rows.map((row) => [spotName(row), row]))
  const inOrder = places.flatMap((place) => bySpot.get(spotName(place)) ?? [])
  const texts = await eventTexts(instance, inOrder, roomIds, frozen.createdAt)
  if (texts.length === 0 && frozen.parts === '{}') return null
  return { txnId: frozen.txnId, body: `{"events":[${texts.join()}]${frozen.parts === '{}' ? '}' : `,${frozen.parts.slice(1)}`}` }
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
