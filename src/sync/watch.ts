/** What subscriptions deliver: the same loop as sync, each from a position that the client can go on from. */

import { typingIn, typingSince } from '../rooms/typing.ts'
import { requireReadable, visibleTo } from '../rooms/visibility.ts'
import type { EventRow, ReceiptRow } from '../storage/tables.ts'
import { waitForUser } from '../stream/consumer.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireUser } from '../users/users.ts'
import { rememberedChanges } from './changes.ts'

/** Events read at once. A slow reader is not buffered for: it reads on from its position when it is ready. */
const sliceOfEvents = 200

/** How long one wait may last before the loop looks again whether somebody is still there. */
const longestWaitMs = 60_000

export interface Watch {
  /** everything after this position is delivered; from now on when null */
  readonly after?: number | null
}

/** Waits for something of the user's after `after`; false when the reader or the instance is gone. */
async function more(instance: Instance, user: number, after: number, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted && !instance.closed.aborted) {
    if (await waitForUser(instance, { user, after, timeoutMs: longestWaitMs, signal })) return true
  }
  return false
}

/** Each event of a room exactly once, in order. Ends when the user has left. Errors: M_FORBIDDEN. */
export async function* watchTimeline(
  instance: Instance,
  actor: Actor,
  args: Watch & { roomId: string },
  signal: AbortSignal,
): AsyncGenerator<EventRow> {
  const user = requireUser(actor)
  let position = args.after ?? instance.bus.published
  // The first read checks; so does every one after, for who leaves sees nothing more.
  for (
    let readable = await requireReadable(instance, actor, args.roomId);
    ;
    readable = await requireReadable(instance, actor, args.roomId)
  ) {
    const until = Math.min(instance.bus.published, readable.upTo)
    const { room, membership } = readable
    let rows: EventRow[]
    do {
      rows = await instance.storage.find('event', {
        where: { room: room.key, order: { gt: position, lte: until } },
        orderBy: ['order'],
        limit: sliceOfEvents,
      })
      for (const row of await visibleTo(instance, user, membership, room, rows)) yield row
      position = rows.at(-1)?.order ?? position
    } while (rows.length === sliceOfEvents && !signal.aborted)
    if (membership?.membership !== 'join') return
    position = Math.max(position, until)
    if (!(await more(instance, user, position, signal))) return
  }
}

export interface InboxChange {
  /** go on from here */
  readonly position: number
  /** keys of the rooms that may have changed; null: look at all of them */
  readonly rooms: readonly number[] | null
}

/** Which rooms of the user changed: the reader takes their latest values, never older ones after newer ones. */
export async function* watchInbox(instance: Instance, actor: Actor, args: Watch, signal: AbortSignal): AsyncGenerator<InboxChange> {
  const user = requireUser(actor)
  let position = args.after ?? instance.bus.published
  do {
    const until = instance.bus.published
    const changes = rememberedChanges(instance, user, position, until)
    position = Math.max(position, until)
    if (changes === null) yield { position, rooms: null }
    else if (changes.rooms.length > 0 || changes.has('departure')) yield { position, rooms: changes.rooms }
  } while (await more(instance, user, position, signal))
}

export interface TypingChange {
  readonly position: number
  readonly userIds: readonly string[]
}

/** The whole list of who types, whenever it changed. Errors: M_FORBIDDEN. */
export async function* watchTyping(
  instance: Instance,
  actor: Actor,
  args: Watch & { roomId: string },
  signal: AbortSignal,
): AsyncGenerator<TypingChange> {
  const user = requireUser(actor)
  let position = args.after ?? null
  do {
    const { room, membership } = await requireReadable(instance, actor, args.roomId)
    if (membership?.membership !== 'join') return
    const until = instance.bus.published
    // Positions of a server that has restarted since say nothing about typing: the list as it is.
    const changed = position === null || position > until ? typingIn(instance, room.key) : typingSince(instance, room.key, position, until)
    position = until
    if (changed) yield { position, userIds: changed }
  } while (await more(instance, user, position, signal))
}

export interface ReceiptChange {
  readonly position: number
  readonly receipts: readonly ReceiptRow[]
}

/** Receipts of a room that changed, the latest of each user, type and thread. Private ones only to their owner. Errors: M_FORBIDDEN. */
export async function* watchReceipts(
  instance: Instance,
  actor: Actor,
  args: Watch & { roomId: string },
  signal: AbortSignal,
): AsyncGenerator<ReceiptChange> {
  const user = requireUser(actor)
  let position = args.after ?? instance.bus.published
  do {
    const { room, membership } = await requireReadable(instance, actor, args.roomId)
    if (membership?.membership !== 'join') return
    const until = instance.bus.published
    const rows = await instance.storage.find('receipt', {
      where: { room: room.key, position: { gt: position, lte: until } },
      orderBy: ['position'],
    })
    const receipts = rows.filter((row) => row.type !== 'm.read.private' || row.user === user)
    position = Math.max(position, until)
    if (receipts.length > 0) yield { position, receipts }
  } while (await more(instance, user, position, signal))
}
