/** What a list of rooms shows of each for one user: unread counts, direct chats, who has read; and changing it in one step. */
import { invalidParam } from '../errors.ts'
import { isRoomId } from '../rules/event-limits.ts'
import { isArray, isObject, type JsonObject } from '../rules/values.ts'
import type { ReceiptRow } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { userIdsOf } from '../users/user-ids.ts'
import { requireSelf } from '../users/users.ts'
import { type Done, putDone } from './archive.ts'
import { markUnread } from './read-markers.ts'
import { moveMarkers, type ReadMarkers, readerOf } from './receipts.ts'
import type { Readable } from './visibility.ts'

export interface InboxState {
  readonly userId: string
  readonly roomId: string
  readonly markedUnread?: boolean | null | undefined
  readonly done?: Done | null | undefined
  readonly readMarkers?: Omit<ReadMarkers, 'roomId'> | null | undefined
}

/**
 * All of a room's place in the inbox in one step, or nothing. The mark of unread comes last: who asks for it wants it, although reading
 * takes it away. Errors: M_FORBIDDEN for another user's and unless joined, M_INVALID_PARAM for what is no room id, and as setReadMarkers.
 */
export async function setInboxState(instance: Instance, actor: Actor, args: InboxState): Promise<boolean> {
  requireSelf(actor, args.userId)
  if (!isRoomId(args.roomId)) throw invalidParam(`${args.roomId} is not a room ID`)
  await command(instance, (decision) => {
    const reader = readerOf(decision, actor, args.roomId)
    const { readMarkers, done, markedUnread } = args
    if (readMarkers) moveMarkers(decision, actor, reader, readMarkers)
    if (done) putDone(decision, reader.room, reader.user, done)
    if (typeof markedUnread === 'boolean') markUnread(decision, reader.room.key, reader.user, markedUnread)
  })
  return true
}

export interface UnreadCount {
  readonly notify: number
  readonly highlight: number
}

export interface Unread extends UnreadCount {
  /** of the threads with something unread */
  readonly threads: readonly (UnreadCount & { readonly threadId: string })[]
  /** the user marked the room as unread */
  readonly marked: boolean
}

/** In the order of the rooms. The counts of a room are those of its threads and its main timeline together. */
export async function readUnread(instance: Instance, user: number, rooms: readonly number[]): Promise<Unread[]> {
  const [counts, marks] = await Promise.all([
    instance.storage.unreadCounts(user, rooms),
    instance.storage.find('accountData', { where: { user, room: { in: rooms }, type: 'm.marked_unread' } }),
  ])
  const marked = new Set(marks.filter((row) => (JSON.parse(row.content) as JsonObject)['unread'] === true).map((row) => row.room))
  const byRoom = Map.groupBy(counts, (count) => count.room)
  return rooms.map((room) => {
    const own = byRoom.get(room) ?? []
    return {
      notify: own.reduce((sum, count) => sum + count.notify, 0),
      highlight: own.reduce((sum, count) => sum + count.highlight, 0),
      threads: own.filter(({ thread }) => thread !== '').map(({ thread, notify, highlight }) => ({ threadId: thread, notify, highlight })),
      marked: marked.has(room),
    }
  })
}

/** Ids of the rooms that are direct chats of the user. https://spec.matrix.org/v1.19/client-server-api/#mdirect */
export async function readDirectRooms(instance: Instance, user: number): Promise<ReadonlySet<string>> {
  const row = await instance.storage.first('accountData', { user, room: 0, type: 'm.direct' })
  const content: unknown = row ? JSON.parse(row.content) : {}
  const lists = isObject(content) ? Object.values(content).filter(isArray) : []
  return new Set(lists.flat().filter((roomId) => typeof roomId === 'string'))
}

/** The newest receipts of a room are shown, not all of a large room's. */
const mostReceipts = 1_000

export interface ShownReceipt {
  readonly userId: string
  readonly eventId: string
  /** ms */
  readonly ts: number
  /** null: for all threads; "main" or a thread's root */
  readonly threadId: string | null
  readonly private: boolean
}

/** Newest first; of private ones the reader's own. */
export async function readReceipts(instance: Instance, { room, user, upTo }: Readable): Promise<ShownReceipt[]> {
  const rows = await instance.storage.find('receipt', {
    where: { room: room.key, position: { lte: upTo } },
    orderBy: ['-position'],
    limit: mostReceipts,
  })
  return showReceipts(
    instance,
    rows.filter((row) => row.type === 'm.read' || row.user === user),
  )
}

/** In the order of the rows; those of users who are gone are left out. */
export async function showReceipts(instance: Instance, rows: readonly ReceiptRow[]): Promise<ShownReceipt[]> {
  const ids = await userIdsOf(
    instance,
    rows.map((row) => row.user),
  )
  return rows.flatMap((row) => {
    const userId = ids.get(row.user)
    if (userId === undefined) return []
    return { userId, eventId: row.eventId, ts: row.ts, threadId: row.thread || null, private: row.type !== 'm.read' }
  })
}
