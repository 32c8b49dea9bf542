// A room as the rules see it, for the tests of the rules.
import { parsePowerLevels, powerLevelsWithoutEvent } from '../../src/rules/power-levels.ts'
import { type RoomVersionId, roomVersions } from '../../src/rules/room-version.ts'
import type { Membership, NewEvent, RoomView } from '../../src/rules/room-view.ts'
import type { JsonObject } from '../../src/rules/values.ts'

export const creator = '@creator:example.com'
export const moderator = '@moderator:example.com'
export const user = '@user:example.com'
export const other = '@other:example.com'

export interface RoomOptions {
  readonly version?: RoomVersionId
  readonly creator?: string | null
  readonly members?: Readonly<Record<string, Membership>>
  /** Content of m.room.power_levels; null for a room without. */
  readonly powerLevels?: JsonObject | null
  readonly joinRules?: JsonObject
  /** Who is joined to other rooms, by room id. */
  readonly elsewhere?: Readonly<Record<string, readonly string[]>>
}

/** Creator (100), moderator (50) and user (0) are joined unless said otherwise. */
export function room(options: RoomOptions = {}): RoomView {
  const version = roomVersions[options.version ?? '11']
  const members: Record<string, Membership> = { [creator]: 'join', [moderator]: 'join', [user]: 'join', ...options.members }
  const levels = options.powerLevels === undefined ? { users: { [creator]: 100, [moderator]: 50 } } : options.powerLevels
  const roomCreator = options.creator === undefined ? creator : options.creator
  return {
    version,
    creator: roomCreator,
    powerLevels: levels === null ? powerLevelsWithoutEvent(roomCreator) : parsePowerLevels(levels, version),
    joinRules: options.joinRules,
    membership: (userId) => members[userId] ?? null,
    isJoinedTo: (roomId, userId) => options.elsewhere?.[roomId]?.includes(userId) ?? false,
  }
}

export function member(sender: string, target: string, membership: string, content: JsonObject = {}): NewEvent {
  return { type: 'm.room.member', sender, stateKey: target, content: { membership, ...content } }
}

export function message(sender: string, content: JsonObject = { msgtype: 'm.text', body: 'hello' }): NewEvent {
  return { type: 'm.room.message', sender, content }
}

export function state(sender: string, type: string, content: JsonObject = {}, stateKey = ''): NewEvent {
  return { type, sender, stateKey, content }
}
