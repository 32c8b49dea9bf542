/** Join, invite, leave, kick, ban, unban, knock, forget. https://spec.matrix.org/v1.19/client-server-api/#room-membership */
import { forbidden, MatrixError, notFound } from '../errors.ts'
import { isUserId } from '../rules/event-limits.ts'
import { allowedRooms, checkMembershipAction, isRestricted, mayAuthoriseJoin } from '../rules/member-auth.ts'
import type { Membership } from '../rules/room-view.ts'
import { type JsonObject, sameJson } from '../rules/values.ts'
import type { RoomRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { registrations } from '../users/registrations.ts'
import { actingUser, ensureUser, findUser } from '../users/users.ts'
import { appendEvent, repeatedId } from './append.ts'
import { checkPuppet, maySpeakFor } from './puppets.ts'
import { coreOf, findRoom, membershipOf, type RoomCore, roomOf, throwRefusal, viewOf } from './room-core.ts'

interface Options {
  readonly ts?: number
  readonly eventId?: string
  /** the transaction id that the request chose, and who reads it beside the event */
  readonly device?: string | null
  readonly txnId?: string
  /** the caller's appservice answers for it: the auth rules are not asked */
  readonly vouched?: boolean
  /** comes with a new room */
  readonly created?: boolean
}

/**
 * `com.beeper.arbitrary_member_change`: the bot of a bridge, in a room, writes any m.room.member of the bridge's users and of the owner, as when
 * it takes back a change that the remote side did not accept.
 */
export function mayChangeAnyMember(decision: Decision, actor: Actor, core: RoomCore, userId: string): boolean {
  const registration = registrations(decision).find(({ key }) => key === actor.appservice)
  if (!registration || actor.user !== registration.bot || !isUserId(userId)) return false
  return membershipOf(decision, core.key, registration.bot)?.membership === 'join' && maySpeakFor(decision, registration.key, userId)
}

/**
 * One m.room.member event, whatever asked for it. Joins and invites carry the target's profile where the content does not say another.
 * The same content again answers the event that stands.
 */
export function changeMembership(
  decision: Decision,
  actor: Actor,
  core: RoomCore,
  sender: UserRow,
  targetId: string,
  given: JsonObject,
  options: Options = {},
): { eventId: string; core: RoomCore } {
  const membership = given['membership']
  const target =
    membership === 'invite' || sender.userId === targetId || options.vouched
      ? ensureUser(decision, targetId, actor.appservice)
      : findUser(decision, targetId)
  if (!target) throw forbidden(`User ${targetId} not in room`)
  const before = membershipOf(decision, core.key, target.key)
  let content = given
  if (membership === 'join' || membership === 'invite' || membership === 'knock') content = withProfile(target, given)
  if (membership === 'join' && isRestricted(core) && before?.membership !== 'join' && before?.membership !== 'invite') {
    content = { ...content, ...authorisation(decision, core, target.userId) }
  }
  const draft = { type: 'm.room.member', stateKey: target.userId, sender, content, ...options }
  const repeated = repeatedId(decision, core, draft)
  if (repeated) return { eventId: repeated, core }
  if (before?.membership === membership && before?.sender === sender.key) {
    const row = decision.get('event', { room: core.key, order: before.order })
    if (row && sameJson((JSON.parse(row.json) as { content: JsonObject }).content, content)) return { eventId: row.eventId, core }
  }
  const appended = appendEvent(decision, core, draft)
  return { eventId: appended.row.eventId, core: appended.core }
}

function withProfile(user: UserRow, content: JsonObject): JsonObject {
  const profile: Record<string, string> = {}
  if (user.displayName !== null) profile['displayname'] = user.displayName
  if (user.avatarUrl !== null) profile['avatar_url'] = user.avatarUrl
  return { ...profile, ...content }
}

/** Who stands up for a restricted join: a joined user who may invite. Found among the allowed candidates at hand. */
function authorisation(decision: Decision, core: RoomCore, userId: string): JsonObject {
  const view = viewOf(decision, core)
  if (!allowedRooms(core.joinRules).some((roomId) => view.isJoinedTo(roomId, userId))) return {}
  const candidates = [core.creator, ...core.powerLevels.users.keys()].filter((candidate) => candidate !== null)
  const authoriser = candidates.find((candidate) => mayAuthoriseJoin(candidate, view))
  return authoriser ? { join_authorised_via_users_server: authoriser } : {}
}

/** By id or alias. Errors: M_NOT_FOUND for an alias nobody has, M_FORBIDDEN. */
export function joinRoom(
  instance: Instance,
  actor: Actor,
  args: { roomIdOrAlias: string; reason?: string | null | undefined; extra?: JsonObject | null | undefined },
): Promise<{ roomId: string }> {
  return command(instance, (decision) => {
    const room = roomByIdOrAlias(decision, args.roomIdOrAlias)
    const core = coreOf(decision, room)
    // A puppet may accept an invitation of its own bridge's room; checked like everything else it does.
    checkPuppet(actor, core)
    const user = actingUser(decision, actor)
    // Idempotent: who is joined stays joined, without an event.
    if (membershipOf(decision, core.key, user.key)?.membership !== 'join') {
      changeMembership(decision, actor, core, user, user.userId, { ...args.extra, ...reasoned(args.reason), membership: 'join' })
    }
    return { roomId: room.roomId }
  })
}

export function knockRoom(
  instance: Instance,
  actor: Actor,
  args: { roomIdOrAlias: string; reason?: string | null | undefined },
): Promise<{ roomId: string }> {
  return command(instance, (decision) => {
    const room = roomByIdOrAlias(decision, args.roomIdOrAlias)
    const core = coreOf(decision, room)
    checkPuppet(actor, core)
    const user = actingUser(decision, actor)
    if (membershipOf(decision, core.key, user.key)?.membership !== 'knock') {
      changeMembership(decision, actor, core, user, user.userId, { ...reasoned(args.reason), membership: 'knock' })
    }
    return { roomId: room.roomId }
  })
}

export interface MembershipAction {
  readonly roomId: string
  readonly userId: string
  readonly reason?: string | null | undefined | undefined
  readonly extra?: JsonObject | null | undefined | undefined
}

/** Errors: M_FORBIDDEN; for a member the text says "is already in the room", which bridges read. */
export function inviteUser(instance: Instance, actor: Actor, args: MembershipAction): Promise<boolean> {
  return act(instance, actor, args, 'invite', 'invite')
}

export function kickUser(instance: Instance, actor: Actor, args: MembershipAction): Promise<boolean> {
  return act(instance, actor, args, 'kick', 'leave')
}

export function banUser(instance: Instance, actor: Actor, args: MembershipAction): Promise<boolean> {
  return act(instance, actor, args, 'ban', 'ban')
}

/** Errors: M_BAD_STATE when the target is not banned. */
export function unbanUser(instance: Instance, actor: Actor, args: MembershipAction): Promise<boolean> {
  return act(instance, actor, args, 'unban', 'leave')
}

async function act(
  instance: Instance,
  actor: Actor,
  args: MembershipAction,
  action: 'invite' | 'kick' | 'ban' | 'unban',
  membership: Membership,
): Promise<boolean> {
  await command(instance, (decision) => {
    const core = coreOf(decision, roomOf(decision, args.roomId, actor.userId))
    checkPuppet(actor, core)
    const sender = actingUser(decision, actor)
    const target =
      action === 'invite' || action === 'ban' ? ensureUser(decision, args.userId, actor.appservice) : findUser(decision, args.userId)
    const current = (target && membershipOf(decision, core.key, target.key)?.membership) ?? null
    const senderIn = membershipOf(decision, core.key, sender.key)?.membership === 'join'
    if (senderIn && (action === 'kick' || action === 'unban')) throwRefusal(checkMembershipAction(action, current as Membership | null))
    changeMembership(decision, actor, core, sender, args.userId, { ...args.extra, ...reasoned(args.reason), membership })
  })
  return true
}

/** Leaves a room, declines an invitation or withdraws a knock; answers too when the user has left already. */
export async function leaveRoom(
  instance: Instance,
  actor: Actor,
  args: { roomId: string; reason?: string | null | undefined; extra?: JsonObject | null | undefined },
): Promise<boolean> {
  await command(instance, (decision) => {
    const core = coreOf(decision, roomOf(decision, args.roomId, actor.userId))
    checkPuppet(actor, core)
    const user = actingUser(decision, actor)
    if (membershipOf(decision, core.key, user.key)?.membership === 'leave') return
    changeMembership(decision, actor, core, user, user.userId, { ...args.extra, ...reasoned(args.reason), membership: 'leave' })
  })
  return true
}

/** Takes a left room out of everything the user sees. Errors: M_UNKNOWN (400) while still in the room. */
export async function forgetRoom(instance: Instance, actor: Actor, roomId: string): Promise<boolean> {
  await command(instance, (decision) => {
    const room = roomOf(decision, roomId, actor.userId)
    checkPuppet(actor, coreOf(decision, room))
    const user = actingUser(decision, actor)
    const membership = membershipOf(decision, room.key, user.key)
    if (!membership) throw forbidden(`User ${user.userId} not in room`)
    if (membership.membership !== 'leave' && membership.membership !== 'ban') {
      throw new MatrixError('M_UNKNOWN', `User ${user.userId} is in room ${roomId}`, {}, 400)
    }
    if (membership.forgotten) return
    decision.put('membership', { ...membership, forgotten: 1 })
    decision.put('departure', {
      instance: instance.key,
      user: user.key,
      room: room.key,
      roomId,
      position: decision.takePosition(),
      ts: null,
    })
    decision.announce('departure', { users: [user.key] })
  })
  return true
}

/** Errors: M_NOT_FOUND for an alias nobody has; an unknown room is like one that may not be joined. */
export function roomByIdOrAlias(decision: Decision, idOrAlias: string): RoomRow {
  if (idOrAlias.startsWith('#')) {
    const alias = decision.get('alias', { alias: idOrAlias })
    const room = alias && decision.get('room', { key: alias.room })
    if (!room) throw notFound(`Room alias ${idOrAlias} not found`)
    return room
  }
  if (!idOrAlias.startsWith('!')) throw new MatrixError('M_INVALID_PARAM', `${idOrAlias} was not legal room ID or room alias`)
  const room = findRoom(decision, idOrAlias)
  if (!room) throw notFound(`Room ${idOrAlias} not found`)
  return room
}

function reasoned(reason: string | null | undefined): JsonObject {
  return reason ? { reason } : {}
}
