import { compileGlob, type TextTest } from './glob.ts'
import { isArray, isObject, type JsonObject, type Refusal, refuse } from './values.ts'

/** What a filter looks at. Account data and to-device messages have no sender; `content` is read only for `contains_url`. */
export interface FilterableEvent {
  readonly type: string
  readonly sender?: string | undefined
  readonly content?: JsonObject | undefined
}

/** An EventFilter, compiled. https://spec.matrix.org/v1.19/client-server-api/#filtering */
export interface EventFilter {
  matches(event: FilterableEvent): boolean
  /** True when no event can match: the section need not be read. */
  readonly nothing: boolean
  readonly limit?: number
}

/** A RoomEventFilter, compiled: sections of a room, and `filter` of /messages and /context. */
export interface RoomEventFilter extends EventFilter {
  /** By `rooms` and `not_rooms`. */
  allowsRoom(roomId: string): boolean
  /** Whether `matches` reads `sender`. */
  readonly readsSender: boolean
  /** Whether `matches` reads `content`. */
  readonly readsContent: boolean
  readonly lazyLoadMembers: boolean
  readonly includeRedundantMembers: boolean
  readonly unreadThreadNotifications: boolean
  /** Only events that another event with one of these relations points to. */
  readonly relatedByRelTypes?: readonly string[]
  /** Only events that an event of one of these senders relates to. */
  readonly relatedBySenders?: readonly string[]
}

/** A sync filter, compiled. */
export interface SyncFilter {
  readonly eventFields?: readonly string[]
  readonly eventFormat: 'client' | 'federation'
  readonly presence: EventFilter
  readonly accountData: EventFilter
  /** `com.beeper.to_device`; left out: all messages */
  readonly toDevice?: EventFilter
  readonly room: {
    allowsRoom(roomId: string): boolean
    /** True when nothing of any room is wanted, as bots say that sync only for their keys: no room need be looked at. */
    readonly nothing: boolean
    readonly includeLeave: boolean
    readonly state: RoomEventFilter
    readonly timeline: RoomEventFilter
    readonly ephemeral: RoomEventFilter
    readonly accountData: RoomEventFilter
  }
}

/** Compiles the filter of a sync; unknown keys are ignored, a value of the wrong type is 400 M_BAD_JSON. */
export function compileSyncFilter(json: unknown): SyncFilter | Refusal {
  return compile(json, (filter) => {
    const room = filter.object('room')
    const rooms = room.strings('rooms')
    const state = roomEventFilter(room.object('state'))
    const timeline = roomEventFilter(room.object('timeline'))
    const ephemeral = roomEventFilter(room.object('ephemeral'))
    const accountData = roomEventFilter(room.object('account_data'))
    return {
      ...optional('eventFields', filter.strings('event_fields')),
      eventFormat: filter.oneOf('event_format', ['client', 'federation']) ?? 'client',
      presence: eventFilter(filter.object('presence')),
      accountData: eventFilter(filter.object('account_data')),
      ...optional('toDevice', filter.has('com.beeper.to_device') ? eventFilter(filter.object('com.beeper.to_device')) : undefined),
      room: {
        allowsRoom: allowList(rooms, room.strings('not_rooms')),
        nothing: rooms?.length === 0 || [state, timeline, ephemeral, accountData].every(({ nothing }) => nothing),
        includeLeave: room.boolean('include_leave'),
        state,
        timeline,
        ephemeral,
        accountData,
      },
    }
  })
}

/** Compiles the `filter` of /messages, /context and /search. */
export function compileRoomEventFilter(json: unknown): RoomEventFilter | Refusal {
  return compile(json, roomEventFilter)
}

function eventFilter(filter: Reader): EventFilter {
  const types = filter.strings('types')
  const notTypes = filter.strings('not_types')
  const allowsType = allowList(types, notTypes, typePattern)
  const senders = filter.strings('senders')
  const allowsSender = allowList(senders, filter.strings('not_senders'))
  return {
    matches: ({ type, sender }) => allowsType(type) && (sender === undefined ? senders === undefined : allowsSender(sender)),
    nothing: types?.length === 0 || senders?.length === 0 || (notTypes?.includes('*') ?? false),
    ...optional('limit', filter.count('limit')),
  }
}

function roomEventFilter(filter: Reader): RoomEventFilter {
  const base = eventFilter(filter)
  const containsUrl = filter.optionalBoolean('contains_url')
  const rooms = filter.strings('rooms')
  return {
    ...base,
    // "If true, includes only events with a url key in their content. If false, excludes those events."
    matches:
      containsUrl === undefined ? base.matches : (event) => base.matches(event) && (typeof event.content?.url === 'string') === containsUrl,
    nothing: base.nothing || rooms?.length === 0,
    allowsRoom: allowList(rooms, filter.strings('not_rooms')),
    readsSender: filter.strings('senders') !== undefined || filter.strings('not_senders') !== undefined,
    readsContent: containsUrl !== undefined,
    lazyLoadMembers: filter.boolean('lazy_load_members'),
    includeRedundantMembers: filter.boolean('include_redundant_members'),
    unreadThreadNotifications:
      filter.boolean('unread_thread_notifications') || filter.boolean('org.matrix.msc3773.unread_thread_notifications'),
    ...optional('relatedByRelTypes', filter.strings('related_by_rel_types')),
    ...optional('relatedBySenders', filter.strings('related_by_senders')),
  }
}

/** "A * can be used as a wildcard to match any sequence of characters." */
function typePattern(pattern: string): TextTest | null {
  return pattern.includes('*') ? compileGlob(pattern, { wildcards: '*', match: 'whole' }) : null
}

/** An absent list allows everything, an empty one nothing; "if a type is in both, it will be excluded". */
function allowList(
  included: readonly string[] | undefined,
  excluded: readonly string[] | undefined,
  compilePattern: (entry: string) => TextTest | null = () => null,
): TextTest {
  const test = (entries: readonly string[]): TextTest => {
    const patterns = entries.map(compilePattern).filter((pattern) => pattern !== null)
    const literals = new Set(entries)
    return (text) => literals.has(text) || patterns.some((pattern) => pattern(text))
  }
  const isIncluded = included && test(included)
  const isExcluded = excluded?.length ? test(excluded) : undefined
  return (text) => !isExcluded?.(text) && (isIncluded?.(text) ?? true)
}

/** Reads the keys of a filter; the first value of a wrong type is kept as the refusal. */
interface Reader {
  has(key: string): boolean
  object(key: string): Reader
  strings(key: string): readonly string[] | undefined
  boolean(key: string): boolean
  optionalBoolean(key: string): boolean | undefined
  count(key: string): number | undefined
  oneOf<T extends string>(key: string, values: readonly T[]): T | undefined
}

function compile<T>(json: unknown, build: (filter: Reader) => T): T | Refusal {
  if (!isObject(json)) return refuse('M_BAD_JSON', 'The filter must be an object')
  const wrong: string[] = []
  const compiled = build(reader(json, '', wrong))
  return wrong[0] === undefined ? compiled : refuse('M_BAD_JSON', wrong[0])
}

function reader(json: JsonObject, path: string, wrong: string[]): Reader {
  function read<T>(key: string, wanted: string, accepts: (value: unknown) => value is T): T | undefined {
    const value = Object.hasOwn(json, key) ? json[key] : undefined
    if (value === undefined || accepts(value)) return value
    wrong.push(`filter: ${path}${key} must be ${wanted}`)
    return undefined
  }
  const optionalBoolean = (key: string): boolean | undefined => read(key, 'a boolean', (value) => typeof value === 'boolean')
  return {
    has: (key) => Object.hasOwn(json, key),
    object: (key) => reader(read(key, 'an object', isObject) ?? {}, `${path}${key}.`, wrong),
    strings: (key) => read(key, 'an array of strings', isStrings),
    optionalBoolean,
    boolean: (key) => optionalBoolean(key) ?? false,
    count: (key) => read(key, 'a whole number', isCount),
    oneOf: <T extends string>(key: string, values: readonly T[]) =>
      read(key, `one of ${values.join(', ')}`, (value): value is T => (values as readonly unknown[]).includes(value)),
  }
}

function isStrings(value: unknown): value is readonly string[] {
  return isArray(value) && value.every((entry) => typeof entry === 'string')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function optional<K extends string, T>(key: K, value: T | undefined): { readonly [key in K]?: T } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [key in K]?: T }
}
