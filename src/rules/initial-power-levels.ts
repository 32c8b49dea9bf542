import { isObject, type JsonObject, type Refusal, refuse } from './values.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom */
export type RoomPreset = 'private_chat' | 'trusted_private_chat' | 'public_chat'

export interface InitialRoom {
  readonly preset: RoomPreset
  readonly creator: string
  /** The invited users; a trusted_private_chat gives them the creator's level. */
  readonly invitees: readonly string[]
  /** `power_level_content_override` of createRoom. */
  readonly override?: JsonObject | undefined
}

/** The content of a new room's m.room.power_levels: Synapse's defaults, under the caller's override. */
export function initialPowerLevels(room: InitialRoom): JsonObject {
  const { preset, creator, invitees, override } = room
  const operators = preset === 'trusted_private_chat' ? [creator, ...invitees] : [creator]
  const events = {
    'm.room.name': 50,
    'm.room.power_levels': 100,
    'm.room.history_visibility': 100,
    'm.room.canonical_alias': 50,
    'm.room.avatar': 50,
    'm.room.tombstone': 100,
    'm.room.server_acl': 100,
    'm.room.encryption': 100,
  }
  return {
    users: Object.fromEntries(operators.map((userId) => [userId, 100])),
    users_default: 0,
    events: preset === 'public_chat' ? { ...events, 'm.call.invite': 50 } : events,
    events_default: 0,
    state_default: 50,
    ban: 50,
    kick: 50,
    redact: 50,
    invite: preset === 'public_chat' ? 50 : 0,
    historical: 100,
    // "applied on top of the generated m.room.power_levels event content": keys of the top level, each wholesale.
    ...override,
  }
}

/** Refuses an override whose `users` leave out the creator, as Synapse: nobody could send the state that follows. */
export function checkPowerLevelOverride(override: JsonObject, creator: string): Refusal | null {
  const { users } = override
  if (!isObject(users) || Object.hasOwn(users, creator)) return null
  return refuse('M_INVALID_PARAM', `Not a valid power_level_content_override: 'users' did not contain ${creator}`)
}
