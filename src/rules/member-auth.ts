import { isUserId } from './event-limits.ts'
import { namedLevel, userLevel } from './power-levels.ts'
import type { Membership, NewEvent, RoomView } from './room-view.ts'
import { forbid, isArray, isObject, type JsonObject, type Refusal, refuse } from './values.ts'

// Rule 4 of https://spec.matrix.org/v1.19/rooms/v10/#authorisation-rules. 4.2 (signatures) is about federation.

/** Rule 4: may this m.room.member be added to the room? */
export function authorizeMember(event: NewEvent, room: RoomView): Refusal | null {
  const target = event.stateKey
  const membership = event.content.membership
  // 4.1. If there is no state_key property, or no membership property in content, reject.
  if (target === undefined) return refuse('M_BAD_JSON', 'm.room.member must be a state event')
  if (typeof membership !== 'string') return refuse('M_BAD_JSON', 'm.room.member must have a membership')
  if (!isUserId(target)) return refuse('M_INVALID_PARAM', 'The state key of m.room.member must be a user ID')

  switch (membership) {
    case 'join':
      return authorizeJoin(event, target, room)
    case 'invite':
      return authorizeInvite(event, target, room)
    case 'leave':
      return authorizeLeave(event.sender, target, room)
    case 'ban':
      return authorizeBan(event.sender, target, room)
    case 'knock':
      return authorizeKnock(event.sender, target, room)
    default:
      // 4.8. Otherwise, the membership is unknown. Reject.
      return refuse('M_BAD_JSON', `Unknown membership ${membership}`)
  }
}

/** What /kick and /unban presuppose of their target, beyond the rules, to which both are a leave of somebody else. */
export function checkMembershipAction(action: 'kick' | 'unban', target: Membership | null): Refusal | null {
  if (action === 'unban') {
    return target === 'ban' ? null : refuse('M_BAD_STATE', `Cannot unban user who was not banned (membership=${target ?? 'none'})`)
  }
  if (target === 'ban') return refuse('M_BAD_STATE', 'Cannot kick user who was banned')
  return target === null || target === 'leave' ? targetNotInRoom() : null
}

/** The rooms whose members may join a restricted room. https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms */
export function allowedRooms(joinRules: JsonObject | undefined): readonly string[] {
  const allow = joinRules?.allow
  if (!isArray(allow)) return []
  return allow.flatMap((condition) =>
    isObject(condition) && condition.type === 'm.room_membership' && typeof condition.room_id === 'string' ? [condition.room_id] : [],
  )
}

/** Whether the join rule is `restricted` or, where the room version has it, `knock_restricted`. */
export function isRestricted(room: Pick<RoomView, 'version' | 'joinRules'>): boolean {
  const rule = joinRuleOf(room)
  return rule === 'restricted' || rule === 'knock_restricted'
}

/** Whether the server may name this user as `join_authorised_via_users_server` of a restricted join. */
export function mayAuthoriseJoin(userId: string, room: RoomView): boolean {
  return room.membership(userId) === 'join' && userLevel(room.powerLevels, userId) >= namedLevel(room.powerLevels, 'invite')
}

function authorizeJoin({ sender, content }: NewEvent, target: string, room: RoomView): Refusal | null {
  const current = room.membership(target)
  // 4.3.1. If the only previous event is an m.room.create and the state_key is the creator, allow.
  // createRoom writes both in one change set, so a creator without a membership is exactly that moment.
  if (target === room.creator && sender === target && current === null) return null
  // 4.3.2. If the sender does not match state_key, reject.
  if (sender !== target) return forbid('Cannot force another user to join.')
  // 4.3.3. If the sender is banned, reject.
  if (current === 'ban') return forbid('You are banned from this room')
  const isIn = current === 'join' || current === 'invite'
  switch (joinRuleOf(room)) {
    // 4.3.4. If the join_rule is invite or knock then allow if membership state is invite or join.
    case 'invite':
    case 'knock':
      return isIn ? null : forbid('You are not invited to this room.')
    // 4.3.5. If the join_rule is restricted or knock_restricted: 1. If membership state is join or invite, allow.
    case 'restricted':
    case 'knock_restricted':
      return isIn ? null : authorizeRestrictedJoin(target, content, room)
    // 4.3.6. If the join_rule is public, allow.
    case 'public':
      return null
    // 4.3.7. Otherwise, reject.
    default:
      return forbid('You are not allowed to join this room')
  }
}

function authorizeRestrictedJoin(target: string, content: JsonObject, room: RoomView): Refusal | null {
  // "The user is a member of an allowed room" is what the authorising server checks; here that is always us.
  if (!allowedRooms(room.joinRules).some((roomId) => room.isJoinedTo(roomId, target))) {
    return forbid('You do not belong to any of the required rooms/spaces to join this room.')
  }
  // 4.3.5.2. If the join_authorised_via_users_server key in content is not a user with sufficient permission to
  // invite other users or is not a joined member of the room, reject.
  const authorisedBy = content.join_authorised_via_users_server
  if (typeof authorisedBy !== 'string') return forbid('Join event is missing authorising user.')
  return mayAuthoriseJoin(authorisedBy, room) ? null : forbid('The authorising user may not invite to this room.')
}

function authorizeInvite({ sender, content }: NewEvent, target: string, room: RoomView): Refusal | null {
  const current = room.membership(target)
  // 4.4.1. If content has a third_party_invite property: … 7. If any signature in signed matches any public key in the
  // m.room.third_party_invite event, allow. 8. Otherwise, reject. We ask no identity server, so no signature matches.
  if ('third_party_invite' in content) return forbid('You are not invited to this room.')
  // 4.4.2. If the sender's current membership state is not join, reject.
  if (room.membership(sender) !== 'join') return notInRoom(sender)
  // 4.4.3. If target user's current membership state is join or ban, reject.
  if (current === 'ban') return forbid(`${target} is banned from the room`)
  if (current === 'join') return forbid(`${target} is already in the room.`)
  // 4.4.4. If the sender's power level is greater than or equal to the invite level, allow. 4.4.5. Otherwise, reject.
  const allowed = userLevel(room.powerLevels, sender) >= namedLevel(room.powerLevels, 'invite')
  return allowed ? null : forbid("You don't have permission to invite users")
}

function authorizeLeave(sender: string, target: string, room: RoomView): Refusal | null {
  const current = room.membership(target)
  // 4.5.1. If the sender matches state_key, allow if and only if that user's current membership state is invite, join,
  // or knock.
  if (sender === target) {
    return current === 'invite' || current === 'join' || current === 'knock' ? null : notInRoom(sender)
  }
  // 4.5.2. If the sender's current membership state is not join, reject.
  if (room.membership(sender) !== 'join') return notInRoom(sender)
  // Beyond the rules, as Synapse: nobody is kicked who is not there.
  if (current === null || current === 'leave') return targetNotInRoom()
  // 4.5.3. If the target user's current membership state is ban, and the sender's power level is less than the ban
  // level, reject.
  const own = userLevel(room.powerLevels, sender)
  if (current === 'ban' && own < namedLevel(room.powerLevels, 'ban')) return forbid(`You cannot unban user ${target}.`)
  // 4.5.4. If the sender's power level is greater than or equal to the kick level, and the target user's power level is
  // less than the sender's power level, allow. 4.5.5. Otherwise, reject.
  const allowed = own >= namedLevel(room.powerLevels, 'kick') && userLevel(room.powerLevels, target) < own
  return allowed ? null : forbid(`You cannot ${current === 'ban' ? 'unban' : 'kick'} user ${target}.`)
}

function authorizeBan(sender: string, target: string, room: RoomView): Refusal | null {
  // 4.6.1. If the sender's current membership state is not join, reject.
  if (room.membership(sender) !== 'join') return notInRoom(sender)
  // 4.6.2. If the sender's power level is greater than or equal to the ban level, and the target user's power level is
  // less than the sender's power level, allow. 4.6.3. Otherwise, reject.
  const own = userLevel(room.powerLevels, sender)
  if (own < namedLevel(room.powerLevels, 'ban')) return forbid("You don't have permission to ban")
  return userLevel(room.powerLevels, target) < own ? null : forbid("You don't have permission to ban this user")
}

function authorizeKnock(sender: string, target: string, room: RoomView): Refusal | null {
  // 4.7.1. If the join_rule is anything other than knock or (v10) knock_restricted, reject.
  const rule = joinRuleOf(room)
  if (rule !== 'knock' && rule !== 'knock_restricted') return forbid("You don't have permission to knock")
  // 4.7.2. If sender does not match state_key, reject.
  if (sender !== target) return forbid('You cannot knock for other users')
  // 4.7.3. If the sender's current membership is not ban, invite, or join, allow. 4.7.4. Otherwise, reject.
  switch (room.membership(sender)) {
    case 'ban':
      return forbid('You are banned from this room')
    case 'invite':
      return forbid('You are already invited to this room')
    case 'join':
      return forbid('You cannot knock on a room you are already in')
    default:
      return null
  }
}

/** The join rule in force: `invite` when there is none, null when the room version does not know it. */
function joinRuleOf({ joinRules, version }: Pick<RoomView, 'version' | 'joinRules'>): string | null {
  const rule = joinRules?.join_rule
  if (rule === undefined) return 'invite'
  if (typeof rule !== 'string' || (rule === 'knock_restricted' && !version.knockRestricted)) return null
  return rule
}

function notInRoom(userId: string): Refusal {
  return forbid(`User ${userId} not in room`)
}

function targetNotInRoom(): Refusal {
  return forbid('The target user is not in the room')
}
