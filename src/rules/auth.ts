import { isRoomAlias } from './event-limits.ts'
import { authorizeMember } from './member-auth.ts'
import { checkPowerLevels, namedLevel, requiredLevel, userLevel } from './power-levels.ts'
import type { NewEvent, RoomView } from './room-view.ts'
import { forbid, isArray, type JsonObject, type Refusal, refuse } from './values.ts'

/**
 * Whether an event may be added to a room, by the rules of its room version; null allows it.
 * https://spec.matrix.org/v1.19/rooms/v10/#authorisation-rules (the numbers; v9 and v11 differ where said).
 * Rules 2 (auth_events) and 3 (m.federate) are about federation.
 */
export function authorize(event: NewEvent, room: RoomView): Refusal | null {
  const { type, sender, stateKey, content } = event
  // 1. If type is m.room.create: …
  if (type === 'm.room.create') return authorizeCreate(content, room)
  if (room.creator === null) return forbid('No create event in the room')
  // 4. If type is m.room.member: …
  if (type === 'm.room.member') return authorizeMember(event, room)
  // 5. If the sender's current membership state is not join, reject.
  if (room.membership(sender) !== 'join') return forbid(`User ${sender} not in room`)

  const own = userLevel(room.powerLevels, sender)
  // 6. If type is m.room.third_party_invite: allow if and only if sender's current power level is greater than or equal
  // to the invite level.
  if (type === 'm.room.third_party_invite') {
    return own >= namedLevel(room.powerLevels, 'invite') ? null : forbid("You don't have permission to invite users")
  }
  // 7. If the event type's required power level is greater than the sender's power level, reject.
  const required = requiredLevel(room.powerLevels, type, stateKey !== undefined)
  if (own < required) {
    return forbid(`You don't have permission to post that to the room. user_level (${own}) < send_level (${required})`)
  }
  // 8. If the event has a state_key that starts with an @ and does not match the sender, reject.
  if (stateKey?.startsWith('@') && stateKey !== sender) return forbid('You are not allowed to set others state')
  // 9. If type is m.room.power_levels: …
  if (type === 'm.room.power_levels') return checkPowerLevels(content, room.powerLevels, sender, room.version)
  // 10. Otherwise, allow.
  return null
}

function authorizeCreate(content: JsonObject, room: RoomView): Refusal | null {
  // 1.1. If it has any prev_events, reject.
  if (room.creator !== null) return forbid('The room has been created already')
  // 1.3. If content.room_version is present and is not a recognised version, reject.
  if ((content.room_version ?? room.version.id) !== room.version.id) {
    return refuse('M_UNSUPPORTED_ROOM_VERSION', `room appears to have unsupported version ${String(content.room_version)}`)
  }
  // 1.4. (until v10) If content has no creator property, reject.
  if (room.version.creatorInContent && typeof content.creator !== 'string') return forbid("Create event lacks a 'creator' property")
  // 1.5. Otherwise, allow.
  return null
}

/** Types of events that nobody redacts, be they state or not. As Synapse: without these a room could not go on. */
export const neverRedacted: readonly string[] = ['m.room.create', 'm.room.server_acl']

/** The event that somebody wants to redact. */
export interface RedactionTarget {
  readonly type: string
  readonly sender: string
}

/**
 * Whether the sender of an m.room.redaction may redact its target, beside `authorize`; `target` is null when this room
 * has no such event. https://spec.matrix.org/v1.19/client-server-api/#redactions
 */
export function checkRedaction(sender: string, target: RedactionTarget | null, room: RoomView): Refusal | null {
  if (target === null) return refuse('M_NOT_FOUND', 'Could not find event')
  if (neverRedacted.includes(target.type)) return forbid(`Redacting ${target.type} events is not permitted`)
  // "A user with the redact power level … can redact events … users can always redact their own events."
  const allowed = target.sender === sender || userLevel(room.powerLevels, sender) >= namedLevel(room.powerLevels, 'redact')
  return allowed ? null : forbid("You don't have permission to redact events")
}

/** The aliases that an m.room.canonical_alias names; each must exist and point to this room, else 400 M_BAD_ALIAS. */
export function canonicalAliases(content: JsonObject): readonly string[] {
  const { alias, alt_aliases: alternatives } = content
  return [alias, ...(isArray(alternatives) ? alternatives : [])].filter((each) => typeof each === 'string' && each !== '') as string[]
}

/** The shape of m.room.canonical_alias. https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias */
export function checkCanonicalAlias(content: JsonObject): Refusal | null {
  const { alias, alt_aliases: alternatives } = content
  // `alias`: "If not present, null or empty the room should be considered to have no canonical alias."
  if (alias !== undefined && alias !== null && typeof alias !== 'string') return refuse('M_INVALID_PARAM', 'alias must be a string')
  if (alternatives !== undefined && !isArray(alternatives)) return refuse('M_INVALID_PARAM', 'alt_aliases must be an array')
  for (const alternative of alternatives ?? []) {
    if (typeof alternative !== 'string' || alternative === '') return refuse('M_INVALID_PARAM', 'alt_aliases must hold room aliases')
  }
  const malformed = canonicalAliases(content).find((each) => !isRoomAlias(each))
  return malformed === undefined ? null : refuse('M_INVALID_PARAM', `${malformed} is not a room alias`)
}
