/** The blocks of `rooms.join`, a slice of rooms at a time with one read for each kind of thing. */
import type { SyncFilter } from '../rules/filter.ts'
import type { JsonObject } from '../rules/values.ts'
import { formatEvents, type Requester } from '../rooms/event-text.ts'
import type { AccountDataRow, EventRow, MembershipRow, ReceiptRow, RoomRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { formatToken } from '../stream/token.ts'
import { readMembers, readState, type StatePiece } from './room-state.ts'
import { readSummaries, type Summary } from './summary.ts'
import { readTimelines, type Timeline } from './timelines.ts'
import { receiptEvent, typingEvents } from './ephemeral.ts'

export interface JoinedRoom {
  readonly room: RoomRow
  readonly membership: MembershipRow
  /** everything is sent: initial, newly joined, or full_state */
  readonly full: boolean
  /** timeline from the beginning: initial or newly joined */
  readonly fresh: boolean
}

export interface Scope {
  readonly instance: Instance
  readonly requester: Requester
  readonly userId: string
  readonly filter: SyncFilter
  /** null: initial */
  readonly since: number | null
  readonly until: number
  readonly stateAfter: 'state_after' | 'org.matrix.msc4222.state_after' | null
  /** whether the user ignores the sender; state is shown all the same */
  isIgnored(sender: number, stateKey: string | null): boolean
  /** a room that the user left: no counts, no ephemeral events */
  readonly isLeft?: boolean
}

/** One text `"!room":{…}` for each room that has something to say. */
export async function joinedBlocks(scope: Scope, rooms: readonly JoinedRoom[]): Promise<string[]> {
  if (rooms.length === 0) return []
  const { instance, filter, since } = scope
  const keys = rooms.map(({ room }) => room.key)
  const touched = touchedRooms(scope)
  const timelines = await readTimelines(scope, rooms)
  const state = await readState(scope, rooms, timelines)
  const summaries = scope.isLeft ? new Map<number, Summary>() : await readSummaries(scope, rooms, timelines, (room) => touched.members.has(room))
  const members = await readMembers(scope, rooms, timelines, summaries)
  const texts = await textsOf(scope, [...timelines.values()])
  const receipts = scope.isLeft || !filter.room.ephemeral.matches({ type: 'm.receipt' }) ? new Map<number, ReceiptRow[]>() : await readReceipts(scope, rooms)
  const ids = await userIds(instance, [...receipts.values()].flat())
  const accountData = await readRoomAccountData(scope, rooms)
  const unread = scope.isLeft ? new Map<number, Unread[]>() : await readUnread(scope, keys)

  const blocks: string[] = []
  for (const joined of rooms) {
    const { key, roomId } = joined.room
    const timeline = timelines.get(key)!
    const shown = new Set(timeline.events.map((event) => event.order))
    const pieces = [...(state.get(key) ?? []), ...(members.get(key) ?? [])].filter(
      // What the timeline shows must not stand in the state before it as well.
      (piece) => (scope.stateAfter || !shown.has(piece.order)) && wantsState(filter, piece),
    )
    const ephemeral: string[] = []
    const ofRoom = receipts.get(key)
    if (ofRoom) ephemeral.push(receiptEvent(ofRoom, ids))
    if (!scope.isLeft && filter.room.ephemeral.matches({ type: 'm.typing' })) {
      ephemeral.push(...typingEvents(instance, joined.room, joined.fresh ? null : since, scope.userId, scope.until))
    }
    const data = (accountData.get(key) ?? []).filter((row) => filter.room.accountData.matches({ type: row.type }))
    const summary = summaries.get(key)
    const empty = timeline.events.length === 0 && !timeline.limited && pieces.length === 0 && ephemeral.length === 0 && data.length === 0
    if (empty && !joined.full && !summary && !touched.unread.has(key)) continue
    const parts = [
      `"timeline":{"events":[${timeline.events.map((event) => texts.get(event)!).join(',')}],"limited":${timeline.limited},"prev_batch":${JSON.stringify(formatToken(timeline.before))}}`,
      `"${scope.stateAfter ?? 'state'}":{"events":[${pieces.map((piece) => piece.json).join(',')}]}`,
      `"account_data":{"events":[${data.map((row) => `{"type":${JSON.stringify(row.type)},"content":${row.content}}`).join(',')}]}`,
    ]
    if (!scope.isLeft) parts.push(`"ephemeral":{"events":[${ephemeral.join(',')}]}`, unreadText(filter, unread.get(key) ?? []))
    if (summary) parts.push(`"summary":${JSON.stringify(summaryContent(summary))}`)
    blocks.push(`${JSON.stringify(roomId)}:{${parts.join(',')}}`)
  }
  return blocks
}

/** Rooms whose members or unread counts changed, as the bus remembers; after a restart the timelines tell. */
function touchedRooms({ instance, requester, since, until }: Scope): { members: Set<number>; unread: Set<number> } {
  const members = new Set<number>()
  const unread = new Set<number>()
  for (const entry of (since === null ? null : instance.bus.since(since)) ?? []) {
    if (entry.position > until || !entry.users.includes(requester.user)) continue
    if (entry.kinds.has('membership')) for (const room of entry.rooms) members.add(room)
    // A receipt of the user's own brings the room with its new counts even without events.
    if (entry.kinds.has('unread')) for (const room of entry.rooms) unread.add(room)
  }
  return { members, unread }
}

function wantsState(filter: SyncFilter, piece: StatePiece): boolean {
  const wants = filter.room.state
  if (!wants.readsSender && !wants.readsContent) return wants.matches({ type: piece.type })
  const { sender, content } = JSON.parse(piece.json) as { sender: string; content: JsonObject }
  return wants.matches({ type: piece.type, sender, content })
}

/** Bundled aggregations stand where a timeline begins anew; what follows live brings its relations itself. */
async function textsOf(scope: Scope, timelines: readonly Timeline[]): Promise<Map<EventRow, string>> {
  const texts = new Map<EventRow, string>()
  for (const bundle of [true, false]) {
    const events = timelines.filter((timeline) => timeline.limited === bundle).flatMap((timeline) => timeline.events)
    if (events.length === 0) continue
    const formatted = await formatEvents(scope.instance, scope.requester, events, { bundle })
    events.forEach((event, i) => texts.set(event, formatted[i]!))
  }
  return texts
}

async function readReceipts({ instance, requester, since, until }: Scope, rooms: readonly JoinedRoom[]): Promise<Map<number, ReceiptRow[]>> {
  const byRoom = new Map<number, ReceiptRow[]>()
  const read = async (keys: number[], after: number): Promise<void> => {
    if (keys.length === 0) return
    for (const row of await instance.storage.find('receipt', { where: { room: { in: keys }, position: { gt: after, lte: until } } })) {
      if (row.type === 'm.read.private' && row.user !== requester.user) continue
      const rows = byRoom.get(row.room)
      if (rows) rows.push(row)
      else byRoom.set(row.room, [row])
    }
  }
  await read(rooms.filter((joined) => joined.fresh).map(({ room }) => room.key), -1)
  await read(rooms.filter((joined) => !joined.fresh).map(({ room }) => room.key), since ?? -1)
  return byRoom
}

async function userIds(instance: Instance, receipts: readonly ReceiptRow[]): Promise<Map<number, string>> {
  const users = await instance.storage.find('user', { where: { key: { in: [...new Set(receipts.map((receipt) => receipt.user))] } } })
  return new Map(users.map((user) => [user.key, user.userId]))
}

async function readRoomAccountData(scope: Scope, rooms: readonly JoinedRoom[]): Promise<Map<number, AccountDataRow[]>> {
  const { instance, requester, since, until, filter } = scope
  const byRoom = new Map<number, AccountDataRow[]>()
  if (filter.room.accountData.nothing) return byRoom
  const fresh = new Set(rooms.filter((joined) => joined.fresh).map(({ room }) => room.key))
  const after = fresh.size > 0 ? -1 : (since ?? -1)
  const where = { user: requester.user, room: { in: rooms.map(({ room }) => room.key) }, position: { gt: after, lte: until } }
  for (const row of await instance.storage.find('accountData', { where })) {
    if (!fresh.has(row.room) && since !== null && row.position <= since) continue
    const rows = byRoom.get(row.room)
    if (rows) rows.push(row)
    else byRoom.set(row.room, [row])
  }
  return byRoom
}

type Unread = { thread: string; notify: number; highlight: number }

async function readUnread({ instance, requester }: Scope, rooms: readonly number[]): Promise<Map<number, Unread[]>> {
  const byRoom = new Map<number, Unread[]>()
  for (const { room, ...counts } of await instance.storage.unreadCounts(requester.user, rooms)) {
    const list = byRoom.get(room)
    if (list) list.push(counts)
    else byRoom.set(room, [counts])
  }
  return byRoom
}

/** Clients clear all thread counts when a block lacks them: the whole map, or one count for all. */
function unreadText(filter: SyncFilter, counts: readonly Unread[]): string {
  const sum = (rows: readonly Unread[]): string =>
    `{"notification_count":${rows.reduce((n, row) => n + row.notify, 0)},"highlight_count":${rows.reduce((n, row) => n + row.highlight, 0)}}`
  if (!filter.room.timeline.unreadThreadNotifications) return `"unread_notifications":${sum(counts)}`
  const threads = counts.filter((row) => row.thread !== '').map((row) => `${JSON.stringify(row.thread)}:${sum([row])}`)
  return `"unread_notifications":${sum(counts.filter((row) => row.thread === ''))},"unread_thread_notifications":{${threads.join(',')}}`
}

function summaryContent(summary: Summary): Record<string, unknown> {
  return {
    'm.joined_member_count': summary.joined,
    'm.invited_member_count': summary.invited,
    ...(summary.heroes ? { 'm.heroes': summary.heroes } : {}),
  }
}
