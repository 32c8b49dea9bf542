/**
 * Who is typing: held in memory and never stored, yet every change takes a position of the stream, so that readers learn of it like of
 * everything else. https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
 */
import { command, type Decision } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { actingUser, requireSelf } from '../users/users.ts'
import { checkPuppet } from './puppets.ts'
import { coreOf, joinedSyncers, membershipOf, type RoomCore, roomOf } from './room-core.ts'
import { requireJoined } from './send.ts'

const usualTimeoutMs = 30_000
const longestTimeoutMs = 120_000

interface RoomTyping {
  /** ids of who types, with what ends it */
  readonly users: Map<string, () => void>
  /** position of the last change */
  position: number
}

const typing = local(() => new Map<number, RoomTyping>())

/** User ids, in the order in which they began. */
export function typingIn(instance: Instance, room: number): readonly string[] {
  return [...(typing(instance).get(room)?.users.keys() ?? [])]
}

/**
 * Who types, when that changed with since < position ≤ until; null when it did not. From the beginning (`since` null) only when somebody
 * does.
 */
export function typingSince(instance: Instance, room: number, since: number | null, until: number): readonly string[] | null {
  const known = typing(instance).get(room)
  // What comes behind `until` is told next time.
  if (!known || known.position > until) return null
  const told = since === null ? known.users.size > 0 : known.position > since
  return told ? [...known.users.keys()] : null
}

export interface SetTyping {
  readonly roomId: string
  readonly userId: string
  readonly typing: boolean
  /** after which it ends by itself, ms; usually 30 000, at most 120 000 */
  readonly timeoutMs?: number | null | undefined
}

/** Errors: M_FORBIDDEN for another user, or unless joined. */
export async function setTyping(instance: Instance, actor: Actor, args: SetTyping): Promise<boolean> {
  requireSelf(actor, args.userId)
  const room = await command(instance, (decision) => {
    const row = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, row)
    checkPuppet(actor, core)
    const user = actingUser(decision, actor)
    requireJoined(membershipOf(decision, row.key, user.key)?.membership, user.userId)
    if (isTyping(instance, row.key, args.userId) !== args.typing) change(decision, core, args)
    return row.key
  })
  // Typing on only puts off the end.
  if (args.typing && isTyping(instance, room, args.userId)) start(instance, room, args)
  return true
}

function isTyping(instance: Instance, room: number, userId: string): boolean {
  return typing(instance).get(room)?.users.has(userId) === true
}

function change(decision: Decision, core: RoomCore, args: SetTyping): void {
  const { instance } = decision
  decision.announce('typing', {
    rooms: [core.key],
    users: joinedSyncers(decision, core.key).map(({ key }) => key),
    appservices: [...core.appservices].flatMap(([key, members]) => (members > 0 ? [key] : [])),
  })
  // Not before the commit: whoever reads up to a position must not see what comes behind it.
  decision.onCommitted(() => {
    const rooms = typing(instance)
    const room = rooms.get(core.key) ?? { users: new Map(), position: 0 }
    rooms.set(core.key, room)
    room.position = decision.changes.position
    if (args.typing) start(instance, core.key, args)
    else end(room, args.userId)
  })
}

function start(instance: Instance, room: number, args: SetTyping): void {
  const users = typing(instance).get(room)!.users
  users.get(args.userId)?.()
  const timeoutMs = Math.min(Math.max(args.timeoutMs ?? usualTimeoutMs, 1), longestTimeoutMs)
  users.set(
    args.userId,
    instance.ports.timer(timeoutMs, () => void expire(instance, args)),
  )
}

function end(room: RoomTyping, userId: string): void {
  room.users.get(userId)?.()
  room.users.delete(userId)
}

async function expire(instance: Instance, args: SetTyping): Promise<void> {
  try {
    await command(instance, (decision) =>
      change(decision, coreOf(decision, roomOf(decision, args.roomId, args.userId)), { ...args, typing: false }),
    )
  } catch (error) {
    // The room was deleted or the homeserver closes: nobody is left to be told.
    instance.ports.log.debug({ err: error, roomId: args.roomId }, 'typing did not end')
  }
}
