/** Receipts, typing and what is never stored, as sync shows them. https://spec.matrix.org/v1.19/client-server-api/#receipts */
import { ephemeralEventsIn } from '../rooms/ephemeral-events.ts'
import { typingSince } from '../rooms/typing.ts'
import type { ReceiptRow } from '../storage/tables.ts'
import { userIdsOf } from '../users/user-ids.ts'
import { append, type Scope, type SyncedRoom } from './scope.ts'

/** Receipts that moved in (since, until], by room: other people's private ones and those of ignored users left out. */
export async function readReceipts(scope: Scope, rooms: readonly SyncedRoom[]): Promise<Map<number, ReceiptRow[]>> {
  const receipts = new Map<number, ReceiptRow[]>()
  const { instance, requester, ignored, until } = scope
  const read = async (some: readonly SyncedRoom[], after: number): Promise<void> => {
    if (some.length === 0) return
    const keys = some.map(({ room }) => room.key)
    for (const row of await instance.storage.find('receipt', { where: { room: { in: keys }, position: { gt: after, lte: until } } })) {
      if (row.type === 'm.read.private' && row.user !== requester.user) continue
      if (!ignored.has(row.user)) append(receipts, row.room, row)
    }
  }
  await read(
    rooms.filter(({ fresh }) => fresh),
    -1,
  )
  await read(
    rooms.filter(({ fresh, room }) => !fresh && scope.mayHave(room.key, 'receipt')),
    scope.since ?? -1,
  )
  return receipts
}

/** The ephemeral events of each room, as JSON. */
export async function ephemeralEvents(
  scope: Scope,
  rooms: readonly SyncedRoom[],
  receipts: ReadonlyMap<number, readonly ReceiptRow[]>,
): Promise<Map<number, string[]>> {
  const events = new Map<number, string[]>()
  const wants = scope.filter.room.ephemeral
  if (wants.nothing) return events
  const showsReceipts = wants.matches({ type: 'm.receipt' })
  const showsTyping = wants.matches({ type: 'm.typing' })
  const ids = showsReceipts ? await userIdsOf(scope.instance, usersOf(receipts.values())) : null
  const ignoredIds = showsTyping && scope.ignored.size > 0 ? new Set((await userIdsOf(scope.instance, scope.ignored)).values()) : null
  for (const { room, fresh } of rooms) {
    if (!wants.allowsRoom(room.roomId)) continue
    const ofRoom = receipts.get(room.key)
    if (ids && ofRoom) append(events, room.key, receiptEvent(ofRoom, ids))
    for (const event of ephemeralEventsIn(scope.instance, room.key, fresh ? null : scope.since, scope.until)) {
      if (scope.ignored.has(event.sender) || !wants.matches({ type: event.type, sender: event.senderId })) continue
      append(events, room.key, event.json)
    }
    const typing = showsTyping ? typingSince(scope.instance, room.key, fresh ? null : scope.since, scope.until) : null
    if (!typing) continue
    const users = ignoredIds ? typing.filter((userId) => !ignoredIds.has(userId)) : typing
    append(events, room.key, `{"type":"m.typing","content":${JSON.stringify({ user_ids: users })}}`)
  }
  return events
}

function* usersOf(rooms: Iterable<readonly ReceiptRow[]>): Generator<number> {
  for (const receipts of rooms) for (const receipt of receipts) yield receipt.user
}

/** `{eventId: {m.read: {user: {ts, thread_id?}}}}` */
function receiptEvent(receipts: readonly ReceiptRow[], userIds: ReadonlyMap<number, string>): string {
  const content: Record<string, Record<string, Record<string, unknown>>> = {}
  for (const receipt of receipts) {
    const userId = userIds.get(receipt.user)
    if (userId === undefined) continue
    content[receipt.eventId] ??= {}
    const ofEvent = content[receipt.eventId]!
    ofEvent[receipt.type] ??= {}
    const ofType = ofEvent[receipt.type]!
    // Two receipts of one user on one event in different threads: the unthreaded one says more.
    if (ofType[userId] && receipt.thread !== '') continue
    const extra = receipt.extra === '{}' ? {} : (JSON.parse(receipt.extra) as object)
    ofType[userId] = { ...extra, ts: receipt.ts, ...(receipt.thread === '' ? {} : { thread_id: receipt.thread }) }
  }
  return JSON.stringify({ type: 'm.receipt', content })
}
