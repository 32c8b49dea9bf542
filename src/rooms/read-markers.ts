/** What reading changes in a user's room account data: the m.fully_read marker, and the room no longer marked as unread. */
import type { JsonObject } from '../rules/values.ts'
import type { EventRow, UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { putAccountData } from '../users/account-data.ts'
import { findEvent, type RoomCore } from './room-core.ts'

export interface FullyRead {
  readonly event: EventRow
  /** stands beside event_id in the account data */
  readonly extra: JsonObject
}

/** Moves the marker forward, or back if allowed; returns whether it stands at the event now. https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers */
export function putFullyRead(decision: Decision, core: RoomCore, user: UserRow, marker: FullyRead, allowBackward: boolean): boolean {
  const known = contentOf(decision, core.key, user, 'm.fully_read')?.['event_id']
  if (typeof known === 'string') {
    const order = findEvent(decision, core, known)?.order ?? Number.NEGATIVE_INFINITY
    if (order === marker.event.order) return true
    if (order > marker.event.order && !allowBackward) return false
  }
  putAccountData(decision, user.key, core.key, 'm.fully_read', JSON.stringify({ ...marker.extra, event_id: marker.event.eventId }))
  return true
}

export const markedUnreadType = 'm.marked_unread'
export const markedUnreadTypes: readonly string[] = [markedUnreadType, 'com.famedly.marked_unread']

/** Bridges count on it: a room that its user reads or writes to is not marked as unread any more. */
export function readAgain(decision: Decision, room: number, user: UserRow): void {
  if (!user.syncs) return
  for (const type of markedUnreadTypes) {
    const content = contentOf(decision, room, user, type)
    if (content?.['unread'] === true) putAccountData(decision, user.key, room, type, JSON.stringify({ ...content, unread: false }))
  }
}

/** https://spec.matrix.org/v1.19/client-server-api/#marking-rooms-as-unread */
export function markUnread(decision: Decision, room: number, user: UserRow, unread: boolean): void {
  if (!unread) readAgain(decision, room, user)
  putAccountData(decision, user.key, room, markedUnreadType, JSON.stringify({ unread, ts: decision.now }))
}

function contentOf(decision: Decision, room: number, user: UserRow, type: string): JsonObject | null {
  const row = decision.get('accountData', { user: user.key, room, type })
  return row && (JSON.parse(row.content) as JsonObject)
}
