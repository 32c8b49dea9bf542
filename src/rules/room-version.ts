import type { JsonObject } from './values.ts'

export type RoomVersionId = '9' | '10' | '11'

/** What differs between the room versions that we support. https://spec.matrix.org/v1.19/rooms/ */
export interface RoomVersion {
  readonly id: RoomVersionId
  /** v10+: power levels are integers; v9 also takes strings such as "100". */
  readonly integerPowerLevels: boolean
  /** v10+: the join rule `knock_restricted` exists. */
  readonly knockRestricted: boolean
  /** Until v10 the creator is `content.creator` of m.room.create; from v11 on its sender. */
  readonly creatorInContent: boolean
  /** Where m.room.redaction names its target: top level until v10, `content.redacts` from v11 on. */
  readonly redactsInContent: boolean
  /** Content keys that survive a redaction, by event type; `all` keeps the content whole. */
  readonly keptContent: Readonly<Record<string, readonly string[] | 'all'>>
}

const powerLevelKeys = ['ban', 'events', 'events_default', 'kick', 'redact', 'state_default', 'users', 'users_default']

// Rooms v9 and v10, "Redactions".
const keptUntil10: RoomVersion['keptContent'] = {
  'm.room.member': ['membership', 'join_authorised_via_users_server'],
  'm.room.create': ['creator'],
  'm.room.join_rules': ['join_rule', 'allow'],
  'm.room.power_levels': powerLevelKeys,
  'm.room.history_visibility': ['history_visibility'],
}

// Rooms v11, "Redactions": m.room.member also keeps `third_party_invite.signed`.
const keptFrom11: RoomVersion['keptContent'] = {
  ...keptUntil10,
  'm.room.member': ['membership', 'join_authorised_via_users_server', 'third_party_invite.signed'],
  'm.room.create': 'all',
  'm.room.power_levels': [...powerLevelKeys, 'invite'],
  'm.room.redaction': ['redacts'],
}

const version9: RoomVersion = {
  id: '9',
  integerPowerLevels: false,
  knockRestricted: false,
  creatorInContent: true,
  redactsInContent: false,
  keptContent: keptUntil10,
}
const version10: RoomVersion = { ...version9, id: '10', integerPowerLevels: true, knockRestricted: true }
const version11: RoomVersion = {
  ...version10,
  id: '11',
  creatorInContent: false,
  redactsInContent: true,
  keptContent: keptFrom11,
}

/** The supported room versions; `/capabilities` lists exactly these. */
export const roomVersions: Readonly<Record<RoomVersionId, RoomVersion>> = {
  9: version9,
  10: version10,
  11: version11,
}

export const defaultRoomVersion: RoomVersion = version11

/** The facts of a room version, or null when it is not supported (400 M_UNSUPPORTED_ROOM_VERSION). */
export function findRoomVersion(id: string): RoomVersion | null {
  return Object.hasOwn(roomVersions, id) ? roomVersions[id as RoomVersionId] : null
}

/** The user who created the room, from the sender and content of its m.room.create. */
export function creatorOf(version: RoomVersion, createSender: string, createContent: JsonObject): string {
  const named = createContent.creator
  return version.creatorInContent && typeof named === 'string' ? named : createSender
}
