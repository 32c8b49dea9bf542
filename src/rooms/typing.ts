/**
 * Who is typing: held in memory and never stored, yet every change takes a position of the stream, so that readers learn of it like of
 * everything else. https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
 */
import { command, type Decision } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { actingUser, requireSelf } from '../users/users.ts'
import { checkPuppet } from './puppets.ts'
import { coreOf, joinedSyncers, membershipOf, noSuchRoom, type RoomCore, roomOf } from './room-core.ts'

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
 * does. What a position from before a restart has seen nobody knows any more: then it is told as it is.
 */
export function typingSince(instance: Instance, room: number, since: number | null, until: number): readonly string[] | null {
  const known = typing(instance).get(room)
  // What comes behind `until` is told next time.
  if (known && known.position > until) return null
  const users = known ? [...known.users.keys()] : []
  if (since === null) return users.length > 0 ? users : null
  return since < instance.bus.opened || (known && known.position > since) ? users : null
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
  await command(instance, (decision) => {
    const row = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, row)
    checkPuppet(actor, core)
    const user = actingUser(decision, actor)
    if (membershipOf(decision, row.key, user.key)?.membership !== 'join') throw noSuchRoom(user.userId)
    const timeoutMs = args.typing ? Math.min(Math.max(args.timeoutMs ?? usualTimeoutMs, 1), longestTimeoutMs) : null
    if (typersIn(decision, core.key).includes(user.userId) !== args.typing) change(decision, core, user.userId, timeoutMs)
    // Typing on changes nothing that anybody sees: only its end is put off.
    else if (timeoutMs !== null && isTyping(instance, row.key, user.userId)) start(instance, core, user.userId, timeoutMs)
  })
  return true
}

/** Who leaves, or is made to, types no more. */
export function stopTyping(decision: Decision, core: RoomCore, userId: string): void {
  if (typersIn(decision, core.key).includes(userId)) change(decision, core, userId, null)
}

/** The room is gone: nobody's typing there ends any more. */
export function forgetTyping(instance: Instance, room: number): void {
  for (const cancel of typing(instance).get(room)?.users.values() ?? []) cancel()
  typing(instance).delete(room)
}

/** As decided, which may be ahead of what is told: committed, it is the same. */
function typersIn(decision: Decision, room: number): readonly string[] {
  const decided = decision.instance.memory.peek(typersKey(room))
  return decided ? (decided.value as readonly string[]) : typingIn(decision.instance, room)
}

function isTyping(instance: Instance, room: number, userId: string): boolean {
  return typing(instance).get(room)?.users.has(userId) === true
}

/** `timeoutMs`: until it ends by itself; null: it ends now. */
function change(decision: Decision, core: RoomCore, userId: string, timeoutMs: number | null): void {
  const { instance } = decision
  const others = typersIn(decision, core.key).filter((other) => other !== userId)
  decision.set(typersKey(core.key), timeoutMs === null ? others : [...others, userId])
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
    if (timeoutMs !== null) return start(instance, core, userId, timeoutMs)
    room.users.get(userId)?.()
    room.users.delete(userId)
  })
}

function start(instance: Instance, core: RoomCore, userId: string, timeoutMs: number): void {
  const { users } = typing(instance).get(core.key)!
  users.get(userId)?.()
  users.set(
    userId,
    instance.ports.timer(timeoutMs, () => void expire(instance, core.roomId, userId)),
  )
}

async function expire(instance: Instance, roomId: string, userId: string): Promise<void> {
  try {
    await command(instance, (decision) => stopTyping(decision, coreOf(decision, roomOf(decision, roomId, userId)), userId))
  } catch (error) {
    // The room was deleted or the homeserver closes: nobody is left to be told.
    instance.ports.log.debug({ err: error, roomId }, 'typing did not end')
  }
}

function typersKey(room: number): string {
  return `typing\0${room}`
}
