import { isUserId } from './event-limits.ts'
import type { RoomVersion } from './room-version.ts'
import { forbid, isObject, type Json, type JsonObject, type Refusal, refuse } from './values.ts'

// "Defaults to … if unspecified": https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
const defaultLevels = { users_default: 0, events_default: 0, state_default: 50, ban: 50, kick: 50, redact: 50, invite: 0 }

/** A level that stands at the top of an m.room.power_levels event. */
export type LevelName = keyof typeof defaultLevels

const levelNames = Object.keys(defaultLevels) as readonly LevelName[]

type Levels = ReadonlyMap<string, number>

/** The content of m.room.power_levels as written; defaults are applied by the functions that read it. */
export interface PowerLevels {
  /** False when the room has no m.room.power_levels. */
  readonly written: boolean
  readonly named: Levels
  readonly users: Levels
  readonly events: Levels
  readonly notifications: Levels
}

const noLevels: Levels = new Map()

/** The power levels of a room without m.room.power_levels: its creator has 100, all others 0. */
export function powerLevelsWithoutEvent(creator: string | null): PowerLevels {
  const users = creator === null ? noLevels : new Map([[creator, 100]])
  return { written: false, named: noLevels, users, events: noLevels, notifications: noLevels }
}

/** Reads the content of m.room.power_levels. What is not a level is left out: `authorize` keeps it out of new events. */
export function parsePowerLevels(content: JsonObject, version: RoomVersion): PowerLevels {
  const named = new Map<string, number>()
  for (const name of levelNames) {
    const level = parseLevel(content[name], version)
    if (level !== undefined) named.set(name, level)
  }
  return {
    written: true,
    named,
    users: parseLevels(content.users, version),
    events: parseLevels(content.events, version),
    notifications: parseLevels(content.notifications, version),
  }
}

export function userLevel(levels: PowerLevels, userId: string): number {
  return levels.users.get(userId) ?? namedLevel(levels, 'users_default')
}

export function namedLevel(levels: PowerLevels, name: LevelName): number {
  return levels.named.get(name) ?? defaultLevels[name]
}

/** The level needed to send an event of this type. */
export function requiredLevel(levels: PowerLevels, eventType: string, isState: boolean): number {
  return levels.events.get(eventType) ?? namedLevel(levels, isState ? 'state_default' : 'events_default')
}

/** The level needed to notify everybody in the room, by key of `notifications`, for instance `room`. */
export function notificationLevel(levels: PowerLevels, key: string): number {
  return levels.notifications.get(key) ?? 50
}

/** Rule 9 of room v10 (also v11; v9 where it says less): may `sender` write this m.room.power_levels? */
export function checkPowerLevels(content: JsonObject, current: PowerLevels, sender: string, version: RoomVersion): Refusal | null {
  const invalid = checkShape(content, version)
  if (invalid) return invalid
  // 9.4. If there is no previous m.room.power_levels event in the room, allow.
  if (!current.written) return null

  const next = parsePowerLevels(content, version)
  const own = userLevel(current, sender)
  // 9.5. For users_default, events_default, state_default, ban, redact, kick, invite, and 9.6, 9.7. for entries of
  // events and notifications, that were added, changed or removed: if the current or the new value is higher than
  // the sender's current power level, reject.
  for (const map of ['named', 'events', 'notifications'] as const) {
    for (const [before, after] of changes(current[map], next[map])) {
      if ((before ?? own) > own || (after ?? own) > own) return greaterThanOwn()
    }
  }
  for (const [before, after, userId] of changes(current.users, next.users)) {
    // 9.8. For each entry being changed in, or removed from, users, other than the sender's own: if the current value is
    // greater than or equal to the sender's current power level, reject.
    if (userId !== sender && before !== undefined && before >= own) {
      return before > own ? greaterThanOwn() : forbid("You don't have permission to remove ops level equal to your own")
    }
    // 9.9. For each entry being added to, or changed in, users: if the new value is greater than the sender's, reject.
    if (after !== undefined && after > own) return greaterThanOwn()
  }
  // 9.10. Otherwise, allow.
  return null
}

function checkShape(content: JsonObject, version: RoomVersion): Refusal | null {
  // 9.1. (v10) If any of the properties users_default, … are present and not an integer, reject.
  // 9.2. (v10) If events or notifications are present and not an object with values that are integers, reject.
  // v9 has neither rule, yet a level that cannot be read would count as absent; so they hold there for what is no level.
  for (const name of levelNames) {
    if (name in content && parseLevel(content[name], version) === undefined) return invalidLevel(name)
  }
  for (const name of ['events', 'notifications', 'users']) {
    const entries = content[name]
    if (entries === undefined) continue
    if (!isObject(entries)) return invalidLevel(name)
    for (const [key, level] of Object.entries(entries)) {
      if (parseLevel(level, version) === undefined) return invalidLevel(`${name}.${key}`)
      // 9.3. If users is not an object with keys that are valid user IDs with values that are integers, reject.
      if (name === 'users' && !isUserId(key)) return refuse('M_BAD_JSON', `Not a valid user_id: ${key}`)
    }
  }
  return null
}

function* changes(before: Levels, after: Levels): Iterable<[number | undefined, number | undefined, string]> {
  for (const [key, level] of before) if (after.get(key) !== level) yield [level, after.get(key), key]
  for (const [key, level] of after) if (!before.has(key)) yield [undefined, level, key]
}

function parseLevels(entries: Json | undefined, version: RoomVersion): Levels {
  if (!isObject(entries)) return noLevels
  const levels = new Map<string, number>()
  for (const [key, value] of Object.entries(entries)) {
    const level = parseLevel(value, version)
    if (level !== undefined) levels.set(key, level)
  }
  return levels.size === 0 ? noLevels : levels
}

// Room v9: "a single base 10 integer … optionally with any number of leading or trailing whitespace".
const levelInString = /^[+-]?[0-9]+$/

function parseLevel(value: Json | undefined, version: RoomVersion): number | undefined {
  const level = !version.integerPowerLevels && typeof value === 'string' && levelInString.test(value.trim()) ? Number(value) : value
  return Number.isSafeInteger(level) ? (level as number) : undefined
}

function invalidLevel(name: string): Refusal {
  return refuse('M_BAD_JSON', `${name}: power levels must be integers`)
}

function greaterThanOwn(): Refusal {
  return forbid("You don't have permission to add ops level greater than your own")
}
