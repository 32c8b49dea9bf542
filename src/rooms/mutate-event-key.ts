/**
 * A bridge's message send status may name a key (`mutate_event_key`): its value in the status is copied into the content of the event that the
 * status is about. https://docs.mau.fi/bridges/general/message-status-events.html tells of the rest, which needs nothing here.
 */
import { checkEventLimits } from '../rules/event-limits.ts'
import type { Json, JsonObject } from '../rules/values.ts'
import type { Decision } from '../stream/command.ts'
import { relationOf } from './relations.ts'
import { findEvent, type RoomCore, throwRefusal } from './room-core.ts'

export const messageSendStatusType = 'com.beeper.message_send_status'

/** What relations are found by cannot be changed from outside. */
const keptKeys: readonly Json[] = ['m.relates_to', 'redacts']

/**
 * The target takes no position of its own: the status, written in the same step, tells of it. Nothing happens to what is not there, emptied, or
 * state. Errors: M_TOO_LARGE when the event would be.
 */
export function mutateEventKey(decision: Decision, core: RoomCore, status: JsonObject): void {
  const key = status['mutate_event_key']
  const relation = relationOf(status)
  if (typeof key !== 'string' || keptKeys.includes(key) || !Object.hasOwn(status, key) || !relation) return
  const target = findEvent(decision, core, relation.eventId)
  if (!target || target.redactedBy !== null || target.stateKey !== null) return
  const event = JSON.parse(target.json) as JsonObject
  const json = JSON.stringify({ ...event, content: { ...(event['content'] as JsonObject), [key]: status[key]! } })
  const { eventId, type } = target
  throwRefusal(checkEventLimits({ roomId: core.roomId, eventId, sender: event['sender'] as string, type, json }))
  // A bridge that repeats the event still says what it said at first.
  const changed = new Set(target.changedKeys === null ? [] : (JSON.parse(target.changedKeys) as string[])).add(key)
  decision.put('event', { ...target, json, changedKeys: JSON.stringify([...changed]) })
}
