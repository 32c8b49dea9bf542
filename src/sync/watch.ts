/**
 * What subscriptions deliver: the same loop as sync. Each read begins at a position and ends at the published one, so a client goes on from
 * the last position it got, and a slow reader is not buffered for: it reads on when it is ready.
 *
 * A watch ends when its signal is aborted, its reader has left the room or the room is deleted; a homeserver that closes ends it with a 503: come again.
 */

import { unavailable } from '../errors.ts'
import { type EphemeralEvent, ephemeralEventsIn } from '../rooms/ephemeral-events.ts'
import { rowFilter } from '../rooms/event-filter.ts'
import { noSuchRoom } from '../rooms/room-core.ts'
import { type EventView, viewEvents } from '../rooms/timeline.ts'
import { typingIn, typingSince } from '../rooms/typing.ts'
import { type Readable, requireReadable, visibleTo } from '../rooms/visibility.ts'
import type { ReceiptRow } from '../storage/tables.ts'
import type { Entry, Kind } from '../stream/bus.ts'
import { waitForUser } from '../stream/consumer.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { ignoredUsers } from '../users/ignored-users.ts'
import { ignoredKeys } from './account-data.ts'
import { rememberedChanges, storedChanges } from './changes.ts'
import { type InboxChange, readInboxChanges } from './inbox.ts'
import { syncingUser } from './sync.ts'

/** Events read at once: an event has up to 64 KiB, and a subscription holds one such slice. */
const sliceOfEvents = 100
const sliceOfReceipts = 500

/** How long one wait may last before the loop looks again whether somebody is still there. */
const longestWaitMs = 60_000

export interface Watch {
  /** everything after this position is delivered; from now on when null. Held within 0…published */
  readonly after?: number | null | undefined
}

export interface RoomWatch extends Watch {
  readonly roomId: string
}

/** Each event of a room exactly once, in order. Ends with the leave of who leaves. Errors: M_FORBIDDEN. */
export async function* watchTimeline(instance: Instance, actor: Actor, args: RoomWatch, signal: AbortSignal): AsyncGenerator<EventView> {
  const user = await syncingUser(instance, actor)
  let position = startOf(instance, args)
  let lastAnswer = 0
  for (;;) {
    const readable = await requireReadable(instance, actor, args.roomId)
    const until = readable.upTo
    const wanted = await rowFilter(instance, user, readable.room, null)
    while (position < until && !signal.aborted) {
      const rows = await instance.storage.find('event', {
        where: { room: readable.room.key, order: { gt: position, lte: until } },
        orderBy: ['order'],
        limit: sliceOfEvents,
      })
      const shown = await wanted(await visibleTo(instance, user, readable.membership, readable.room, rows))
      position = rows.length < sliceOfEvents ? until : rows.at(-1)!.order
      if (shown.length === 0) continue
      yield* await viewEvents(instance, actor, readable, shown)
      lastAnswer = instance.ports.now()
    }
    if (readable.membership?.membership !== 'join') return
    if (!(await wokenIn(instance, { user, after: position, signal, lastAnswer }, readable, 'event'))) return
  }
}

/** What changed in the list of rooms, with its latest values: never older ones after newer ones. */
export async function* watchInbox(instance: Instance, actor: Actor, args: Watch, signal: AbortSignal): AsyncGenerator<InboxChange> {
  const user = await syncingUser(instance, actor)
  let position = startOf(instance, args)
  let lastAnswer = 0
  for (;;) {
    const until = instance.bus.published
    const changes = rememberedChanges(instance, user, position, until) ?? (await storedChanges(instance, user, position, until))
    if (!changes.isEmpty) {
      yield* readInboxChanges(instance, actor, changes, { since: position, until })
      lastAnswer = instance.ports.now()
    }
    position = until
    if (!(await woken(instance, { user, after: position, signal, lastAnswer }, () => true))) return
  }
}

export interface TypingChange {
  readonly position: number
  readonly userIds: readonly string[]
}

/** The whole list of who types, whenever it changed; the list as it is when nobody knows what it was at `after`. Errors: M_FORBIDDEN. */
export async function* watchTyping(instance: Instance, actor: Actor, args: RoomWatch, signal: AbortSignal): AsyncGenerator<TypingChange> {
  const user = await syncingUser(instance, actor)
  let position = startOf(instance, args)
  let unknown = typeof args.after !== 'number'
  let lastAnswer = 0
  for (let readable = await requireJoined(instance, actor, args.roomId); ; readable = await requireReadable(instance, actor, args.roomId)) {
    if (readable.membership?.membership !== 'join') return
    const until = instance.bus.published
    const { key } = readable.room
    // Typing is not stored: a position from before a restart says nothing about it.
    unknown ||= instance.bus.since(position) === null
    const typing = unknown ? typingIn(instance, key) : typingSince(instance, key, position, until)
    position = until
    unknown = false
    if (typing) {
      const ignored = await ignoredUsers(instance, user)
      yield { position, userIds: typing.filter((userId) => !ignored.has(userId)) }
      lastAnswer = instance.ports.now()
    }
    if (!(await wokenIn(instance, { user, after: position, signal, lastAnswer }, readable, 'typing'))) return
  }
}

export interface ReceiptChange {
  readonly position: number
  readonly receipts: readonly ReceiptRow[]
}

/** Receipts of a room that moved, the latest of each user, type and thread. Private ones only to their owner. Errors: M_FORBIDDEN. */
export async function* watchReceipts(
  instance: Instance,
  actor: Actor,
  args: RoomWatch,
  signal: AbortSignal,
): AsyncGenerator<ReceiptChange> {
  const user = await syncingUser(instance, actor)
  let position = startOf(instance, args)
  let lastAnswer = 0
  for (let readable = await requireJoined(instance, actor, args.roomId); ; readable = await requireReadable(instance, actor, args.roomId)) {
    if (readable.membership?.membership !== 'join') return
    const until = instance.bus.published
    const ignored = await ignoredKeys(instance, user)
    while (position < until && !signal.aborted) {
      const rows = await instance.storage.find('receipt', {
        where: { room: readable.room.key, position: { gt: position, lte: until } },
        orderBy: ['position'],
        limit: sliceOfReceipts,
      })
      position = rows.length < sliceOfReceipts ? until : rows.at(-1)!.position
      const receipts = rows.filter((row) => (row.type === 'm.read' || row.user === user) && !ignored.has(row.user))
      if (receipts.length === 0) continue
      yield { position, receipts }
      lastAnswer = instance.ports.now()
    }
    if (!(await wokenIn(instance, { user, after: position, signal, lastAnswer }, readable, 'receipt'))) return
  }
}

/** Events of a room that are never stored, each once while it lasts. Errors: M_FORBIDDEN. */
export async function* watchEphemeralEvents(
  instance: Instance,
  actor: Actor,
  args: RoomWatch,
  signal: AbortSignal,
): AsyncGenerator<EphemeralEvent> {
  const user = await syncingUser(instance, actor)
  let position = startOf(instance, args)
  let lastAnswer = 0
  for (let readable = await requireJoined(instance, actor, args.roomId); ; readable = await requireReadable(instance, actor, args.roomId)) {
    if (readable.membership?.membership !== 'join') return
    const until = instance.bus.published
    const events = ephemeralEventsIn(instance, readable.room.key, position, until)
    position = until
    const ignored = events.length > 0 ? await ignoredKeys(instance, user) : null
    for (const event of events) {
      if (ignored?.has(event.sender)) continue
      yield event
      lastAnswer = instance.ports.now()
    }
    if (!(await wokenIn(instance, { user, after: position, signal, lastAnswer }, readable, 'ephemeral'))) return
  }
}

/** As a sync token: what is ahead of the stream, or before its beginning, is no place to wait at. */
export function startOf(instance: Instance, { after }: Watch): number {
  const { published } = instance.bus
  return typeof after === 'number' ? Math.min(Math.max(after, 0), published) : published
}

/** Typing and receipts are for those who are in the room: not for who left it, nor for who reads it from outside. */
async function requireJoined(instance: Instance, actor: Actor, roomId: string): Promise<Readable> {
  const readable = await requireReadable(instance, actor, roomId)
  if (readable.membership?.membership !== 'join') throw noSuchRoom(actor.userId)
  return readable
}

export interface Wait {
  readonly user: number
  /** read up to here */
  readonly after: number
  readonly signal: AbortSignal
  readonly lastAnswer: number
}

/** Waits for an entry that concerns the reader: what else happens costs no read. False when the reader is gone; 503 when the homeserver is. */
export async function woken(instance: Instance, wait: Wait, concerns: (entry: Entry) => boolean): Promise<boolean> {
  let { after } = wait
  while (!wait.signal.aborted) {
    if (instance.leaving.aborted) throw unavailable('This homeserver is closing')
    if (!(await waitForUser(instance, { ...wait, after, timeoutMs: longestWaitMs }))) continue
    const entries = instance.bus.since(after)
    if (entries === null || entries.some((entry) => entry.users.includes(wait.user) && concerns(entry))) return true
    after = instance.bus.published
  }
  return false
}

/** The same for what may bring something of this kind in a room, or end the reading of it. False, too, when the room was deleted. */
async function wokenIn(instance: Instance, wait: Wait, { room }: Readable, kind: Kind): Promise<boolean> {
  const concerns = ({ kinds, rooms }: Entry) =>
    kinds.has('departure') || ((kinds.has(kind) || kinds.has('membership')) && rooms.includes(room.key))
  // By its key: there may be another one of its name.
  return (await woken(instance, wait, concerns)) && (await instance.storage.first('room', { key: room.key })) !== null
}
