import type { RoomVersion } from './room-version.ts'
import { isObject, type Json, type JsonObject } from './values.ts'

/**
 * The event with all removed that is not essential: https://spec.matrix.org/v1.19/client-server-api/#redactions and the
 * "Redactions" section of its room version. Takes and gives the stored client event; the caller adds
 * `unsigned.redacted_because` when it is read.
 */
export function redactEvent(event: JsonObject, version: RoomVersion): JsonObject {
  const kept =
    typeof event.type === 'string' && Object.hasOwn(version.keptContent, event.type) ? version.keptContent[event.type] : undefined
  const content = isObject(event.content) ? event.content : {}
  return {
    ...pick(event, keptFields),
    content: kept === 'all' ? content : pick(content, kept ?? []),
  }
}

// Of "strip off any keys not in the following list" those that an event has here: the rest is federation's.
const keptFields = ['event_id', 'type', 'room_id', 'sender', 'state_key', 'origin_server_ts']

/** The named keys of an object; `a.b` is the key `b` of the object at `a`. */
function pick(object: JsonObject, keys: readonly string[]): JsonObject {
  const picked: Record<string, Json> = {}
  for (const key of keys) {
    const [outer, inner] = key.split('.') as [string, string?]
    const value = Object.hasOwn(object, outer) ? object[outer] : undefined
    if (value === undefined) continue
    if (inner === undefined) picked[outer] = value
    else if (isObject(value) && value[inner] !== undefined) picked[outer] = { [inner]: value[inner] }
  }
  return picked
}
