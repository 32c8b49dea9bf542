/** How far somebody has read. https://spec.matrix.org/v1.19/client-server-api/#receipts */
import { invalidParam, MatrixError, notFound } from '../errors.ts'
import { isEventId } from '../rules/event-limits.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import type { EventRow, RoomRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { noteInterest } from '../users/interest.ts'
import { registrations } from '../users/registrations.ts'
import { actingUser } from '../users/users.ts'
import { inboxDoneType, putDone } from './archive.ts'
import { clearUnread } from './notifications.ts'
import { checkPuppet } from './puppets.ts'
import { putFullyRead, readAgain } from './read-markers.ts'
import { relationOf } from './relations.ts'
import { coreOf, findEvent, joinedSyncers, membershipOf, type RoomCore, roomOf } from './room-core.ts'
import { requireJoined } from './send.ts'

export type ReceiptType = 'm.read' | 'm.read.private'

/** Longest JSON of what a receipt carries besides ts and thread_id. */
const mostExtraBytes = 65_536

/** Relations followed from an event to the thread it belongs to. */
const mostHops = 3

export interface Receipt {
  readonly eventId: string
  /** "main" or a thread's root; without, the receipt counts for all threads */
  readonly threadId?: string | null | undefined
  /** further keys: they stand beside ts in what others read. `ts` among them, ms, is the receipt's time if an appservice says so */
  readonly extra?: JsonObject | null | undefined
}

export interface SendReceipt extends Receipt {
  readonly roomId: string
  /** m.read, m.read.private, m.fully_read, or com.beeper.inbox.done: archived as of this event */
  readonly type: string
  /** m.fully_read only: it may move back */
  readonly allowBackward?: boolean | null | undefined
}

/** Errors: M_FORBIDDEN unless joined, M_NOT_FOUND for an unknown event, M_INVALID_PARAM for a bad type or thread. */
export async function sendReceipt(instance: Instance, actor: Actor, args: SendReceipt): Promise<boolean> {
  const { type } = args
  if (type === 'm.fully_read') {
    await setReadMarkers(instance, actor, { roomId: args.roomId, fullyRead: args, allowBackward: args.allowBackward ?? false })
  } else if (type === 'm.read' || type === 'm.read.private') {
    await setReadMarkers(instance, actor, { roomId: args.roomId, [type === 'm.read' ? 'read' : 'readPrivate']: args })
  } else if (type === inboxDoneType) {
    await archiveAt(instance, actor, args)
  } else {
    throw invalidParam(`Receipt type must be m.read, m.read.private, m.fully_read or ${inboxDoneType}`)
  }
  return true
}

/** A receipt of this type says that its sender is done with the room: account data, which nobody else hears of. */
async function archiveAt(instance: Instance, actor: Actor, args: SendReceipt): Promise<void> {
  if (args.threadId) throw invalidParam(`thread_id does not go with ${inboxDoneType}`)
  await command(instance, (decision) => {
    const { room, core, user } = readerOf(decision, actor, args.roomId)
    putDone(decision, room, user, { atOrder: eventOf(decision, core, args).order, extra: extraOf(args) })
  })
}

export interface ReadMarkers {
  readonly roomId: string
  readonly read?: Receipt | null | undefined
  readonly readPrivate?: Receipt | null | undefined
  readonly fullyRead?: Receipt | null | undefined
  /** `com.beeper.allow_backward`: m.fully_read may move back; receipts never do */
  readonly allowBackward?: boolean | null | undefined
}

/** Any of the three markers in one step: all or none. Errors: as sendReceipt. */
export async function setReadMarkers(instance: Instance, actor: Actor, args: ReadMarkers): Promise<boolean> {
  await command(instance, (decision) => moveMarkers(decision, actor, readerOf(decision, actor, args.roomId), args))
  return true
}

export interface Reader {
  readonly room: RoomRow
  readonly core: RoomCore
  readonly user: UserRow
}

/** Who reads, and where. Errors: M_FORBIDDEN unless joined. */
export function readerOf(decision: Decision, actor: Actor, roomId: string): Reader {
  const room = roomOf(decision, roomId, actor.userId)
  const core = coreOf(decision, room)
  checkPuppet(actor, core)
  const user = actingUser(decision, actor)
  // "A receipt must never be recorded for a user who is not joined."
  requireJoined(membershipOf(decision, room.key, user.key)?.membership, user.userId)
  return { room, core, user }
}

/** A room that is read is not marked as unread any more, also when a bridge says again how far. */
export function moveMarkers(decision: Decision, actor: Actor, { core, user }: Reader, args: Omit<ReadMarkers, 'roomId'>): void {
  const { read, readPrivate, fullyRead, allowBackward } = args
  if (fullyRead?.threadId) throw invalidParam('thread_id does not go with m.fully_read')
  const reached = (receipt: Receipt): Reached => ({ ...receipt, event: eventOf(decision, core, receipt) })
  const standing = [
    fullyRead && putFullyRead(decision, core, user, { ...reached(fullyRead), extra: extraOf(fullyRead) }, allowBackward === true),
    read && putReceipt(decision, actor, core, user, 'm.read', reached(read)),
    readPrivate && putReceipt(decision, actor, core, user, 'm.read.private', reached(readPrivate)),
  ]
  if (standing.includes(true)) readAgain(decision, core.key, user)
}

/**
 * In the command of a bridge that says how far somebody has read: receipt and marker to this event, for who is joined. The bridge is not told
 * what it said itself.
 */
export function markReadTo(decision: Decision, actor: Actor, core: RoomCore, user: UserRow, event: EventRow): void {
  if (membershipOf(decision, core.key, user.key)?.membership !== 'join') return
  const marked = user.syncs ? putFullyRead(decision, core, user, { event, extra: {} }, false) : false
  const read = putReceipt(decision, actor, core, user, 'm.read', { eventId: event.eventId, event, silentTo: actor.appservice })
  if (marked || read) readAgain(decision, core.key, user)
}

interface Reached extends Receipt {
  readonly event: EventRow
  /** key of an appservice that is not told */
  readonly silentTo?: number | null
}

/** Returns whether it stands at this event now: also when it stood there. */
function putReceipt(decision: Decision, actor: Actor, core: RoomCore, user: UserRow, type: ReceiptType, receipt: Reached): boolean {
  const { event } = receipt
  const thread = threadIdOf(decision, core, event, receipt.threadId)
  const known = decision.get('receipt', { room: core.key, user: user.key, type, thread })
  if (known && known.order >= event.order) return known.order === event.order
  const { ts, ...extra } = extraOf(receipt)
  decision.put('receipt', {
    instance: decision.instance.key,
    room: core.key,
    user: user.key,
    type,
    thread,
    eventId: event.eventId,
    order: event.order,
    ts: actor.appservice !== null && Number.isSafeInteger(ts) ? (ts as number) : decision.now,
    extra: JSON.stringify(extra),
    position: decision.takePosition(),
  })
  if (user.syncs) clearUnread(decision, user.key, core.key, event.order, thread === '' ? null : thread === 'main' ? '' : thread)
  announce(decision, core, user, type, receipt.silentTo ?? null)
  return true
}

/** A private receipt is for its owner alone, and for the bridge whose ghost the owner is. */
function announce(decision: Decision, core: RoomCore, user: UserRow, type: ReceiptType, silentTo: number | null): void {
  const hidden = type === 'm.read.private'
  const users = hidden ? (user.syncs ? [user] : []) : joinedSyncers(decision, core.key)
  const appservices = registrations(decision).filter(
    ({ key, receiveEphemeral }) =>
      receiveEphemeral && key !== silentTo && (core.appservices.get(key) ?? 0) > 0 && (!hidden || key === user.appservice),
  )
  for (const { key } of appservices) noteInterest(decision, key, decision.changes.position, core.key)
  decision.announce('receipt', { rooms: [core.key], users: users.map(({ key }) => key), appservices: appservices.map(({ key }) => key) })
}

function eventOf(decision: Decision, core: RoomCore, receipt: Receipt): EventRow {
  const event = findEvent(decision, core, receipt.eventId)
  if (!event) throw notFound('Event not found')
  return event
}

function extraOf(receipt: Receipt): JsonObject {
  const extra = receipt.extra ?? {}
  if (Buffer.byteLength(JSON.stringify(extra)) > mostExtraBytes) throw new MatrixError('M_TOO_LARGE', 'The receipt is too large')
  return extra
}

/** The thread column of a receipt row. Errors: M_INVALID_PARAM when the event is not in the thread. */
function threadIdOf(decision: Decision, core: RoomCore, event: EventRow, threadId: string | null | undefined): string {
  if (threadId === undefined || threadId === null) return ''
  if (threadId !== 'main' && !isEventId(threadId)) throw invalidParam('thread_id must be main or an event ID')
  // A root belongs to its thread as well as to the main timeline.
  if (threadId !== event.eventId && threadId !== threadOfEvent(decision, core, event)) {
    throw invalidParam(`${event.eventId} is not related to thread ${threadId}`)
  }
  return threadId
}

/** "main", or the root of the thread that the event or what it relates to is part of. */
function threadOfEvent(decision: Decision, core: RoomCore, start: EventRow): string {
  let event: EventRow | null = start
  for (let hops = 0; event && hops <= mostHops; hops++) {
    const { content } = JSON.parse(event.json) as { content?: JsonObject }
    const relation = isObject(content) ? relationOf(content) : null
    if (!relation) break
    if (relation.relType === 'm.thread') return relation.eventId
    event = findEvent(decision, core, relation.eventId)
  }
  return 'main'
}
