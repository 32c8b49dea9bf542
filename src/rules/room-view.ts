import type { PowerLevels } from './power-levels.ts'
import type { RoomVersion } from './room-version.ts'
import type { JsonObject } from './values.ts'

/** A user's membership in a room. https://spec.matrix.org/v1.19/client-server-api/#room-membership */
export type Membership = 'join' | 'invite' | 'leave' | 'ban' | 'knock'

export function isMembership(value: unknown): value is Membership {
  return value === 'join' || value === 'invite' || value === 'leave' || value === 'ban' || value === 'knock'
}

/** An event that somebody wants to add to a room. Without `stateKey` it is a message event. */
export interface NewEvent {
  readonly type: string
  readonly sender: string
  readonly stateKey?: string | undefined
  readonly content: JsonObject
}

/** What the rules read of a room, as it is before the new event. */
export interface RoomView {
  readonly version: RoomVersion
  /** Null while the room has no m.room.create. */
  readonly creator: string | null
  readonly powerLevels: PowerLevels
  /** Content of m.room.join_rules; undefined when the room has none (then it is invite-only). */
  readonly joinRules: JsonObject | undefined
  /** Null for a user who never had a membership in the room. */
  membership(userId: string): Membership | null
  /** Whether the user is joined to another room; asked only for the rooms that `allowedRooms(joinRules)` names. */
  isJoinedTo(roomId: string, userId: string): boolean
}
