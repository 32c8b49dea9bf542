import type { Membership } from './room-view.ts'
import type { JsonObject } from './values.ts'

export type HistoryVisibility = 'world_readable' | 'shared' | 'invited' | 'joined'

/** "If no history_visibility is set, or if the value is not understood, the visibility is assumed to be shared." */
export function parseHistoryVisibility(content: JsonObject | undefined): HistoryVisibility {
  const value = content?.history_visibility
  return value === 'world_readable' || value === 'invited' || value === 'joined' ? value : 'shared'
}

/** What decides whether a user may see one event. */
export interface Sight {
  /** In force just before the event. */
  readonly visibility: HistoryVisibility
  /** The user's membership just before the event; null for none. */
  readonly membership: Membership | null
  /** Whether the user joined at any point after the event. */
  readonly joinedLater: boolean
  /** When the event is an m.room.history_visibility: what it sets. */
  readonly newVisibility?: HistoryVisibility | undefined
  /** When the event is the user's own m.room.member: what it sets. */
  readonly newMembership?: Membership | undefined
}

/**
 * Whether a user may see an event. A user who left sees what was sent up to the leave, and the leave itself.
 * https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
 */
export function maySee(sight: Sight): boolean {
  const { visibility, membership, newVisibility, newMembership } = sight
  // "For m.room.history_visibility events themselves, the user should be allowed to see the event if the
  // history_visibility before or after the event would allow them to see it. … Likewise, for the user's own m.room.member
  // events, … if their membership before or after the event would allow them to see it."
  if (
    maySeeAt(visibility, membership, sight.joinedLater) ||
    maySeeAt(newVisibility ?? visibility, newMembership ?? membership, sight.joinedLater)
  ) {
    return true
  }
  // As Synapse: who declines or loses an invitation, or a knock, sees how the room went away.
  return newMembership !== undefined && (membership === 'invite' || membership === 'knock')
}

function maySeeAt(visibility: HistoryVisibility, membership: Membership | null, joinedLater: boolean): boolean {
  // 1. If the history_visibility was set to world_readable, allow.
  if (visibility === 'world_readable') return true
  // 2. If the user's membership was join, allow.
  if (membership === 'join') return true
  // 3. If history_visibility was set to shared, and the user joined the room at any point after the event was sent, allow.
  if (visibility === 'shared') return joinedLater
  // 4. If the user's membership was invite, and the history_visibility was set to invited, allow. 5. Otherwise, deny.
  return visibility === 'invited' && membership === 'invite'
}
