import { compileGlob, type TextTest } from './glob.ts'
import { maxPatternLength } from './push-rules.ts'
import { ignoreCase, type PushSubject, type PushUser, type TableKey } from './push-subject.ts'
import { isArray, isObject, type Json, type JsonObject } from './values.ts'

/** A condition of a push rule, compiled. https://spec.matrix.org/v1.19/client-server-api/#conditions-1 */
export interface PushCondition {
  matches(subject: PushSubject, user: PushUser): boolean
  /** Without this value, case ignored, the condition cannot hold. */
  readonly needs?: { readonly key: TableKey; readonly value: string }
}

/** What an unknown or malformed condition compiles to. */
export const neverMatches: PushCondition = { matches: () => false }

export function compileCondition(condition: Json): PushCondition {
  if (!isObject(condition)) return neverMatches
  const { kind, key, pattern, value } = condition
  switch (kind) {
    case 'event_match':
      return typeof key === 'string' && typeof pattern === 'string' ? eventMatch(key, pattern) : neverMatches
    case 'event_property_is':
      return typeof key === 'string' && isScalar(value) ? eventPropertyIs(key, value) : neverMatches
    case 'event_property_contains':
      return typeof key === 'string' && isScalar(value) ? eventPropertyContains(key, value) : neverMatches
    case 'room_member_count':
      return roomMemberCount(condition.is)
    case 'sender_notification_permission':
      return typeof key === 'string' ? { matches: (subject) => subject.senderLevel >= subject.notificationLevel(key) } : neverMatches
    case 'contains_display_name':
      return containsDisplayName()
    case 'im.nheko.msc3664.related_event_match':
      return relatedSender(condition)
    default:
      return neverMatches
  }
}

/** "This is a glob pattern match on a property of the event." */
function eventMatch(key: string, pattern: string): PushCondition {
  if (pattern.length > maxPatternLength) return neverMatches
  const wanted = ignoreCase(pattern)
  // "As a special case, if key is content.body, then pattern must instead match any substring of the value of the
  // property which starts and ends at a word boundary."
  if (key === 'content.body') {
    const test = compileGlob(wanted, { wildcards: '*?', match: 'words' })
    return { matches: ({ event, body }) => typeof event.content.body === 'string' && test(body) }
  }
  // "The match is performed case-insensitively, and must match the entire value of the event property given by key. …
  // If the property … does not have a string value, then the condition will not match, even if pattern is *."
  const test = compileIgnoringCase(wanted)
  const read = compilePath(key)
  const matches = ({ event }: PushSubject): boolean => {
    const value = read(event)
    return typeof value === 'string' && test(value)
  }
  return isTableKey(key) && !hasWildcard.test(wanted) ? { matches, needs: { key, value: wanted } } : { matches }
}

const hasWildcard = /[*?]/
const ascii = /^[ -~]*$/

function compileIgnoringCase(wanted: string): TextTest {
  if (hasWildcard.test(wanted)) {
    const test = compileGlob(wanted, { wildcards: '*?', match: 'whole' })
    return (text) => test(ignoreCase(text))
  }
  // Whatever lower-cases to ASCII has the same length, so most values are told apart by that alone.
  const sameLength = ascii.test(wanted)
  return (text) => text === wanted || (!(sameLength && text.length !== wanted.length) && ignoreCase(text) === wanted)
}

/** "This is an exact value match on a property of the event." */
function eventPropertyIs(key: string, wanted: Scalar): PushCondition {
  const read = compilePath(key)
  return { matches: ({ event }) => read(event) === wanted }
}

/** "This matches if an array property of an event exactly contains a value." */
function eventPropertyContains(key: string, wanted: Scalar): PushCondition {
  const read = compilePath(key)
  return {
    matches: ({ event }) => {
      const value = read(event)
      return isArray(value) && value.includes(wanted)
    },
  }
}

const memberCount = /^(==|<|>|>=|<=)?([0-9]+)$/

/** "A decimal integer optionally prefixed by one of ==, <, >, >= or <=." */
function roomMemberCount(is: Json | undefined): PushCondition {
  const [, operator = '==', digits] = (typeof is === 'string' && memberCount.exec(is)) || []
  if (digits === undefined) return neverMatches
  const count = Number(digits)
  switch (operator) {
    case '<':
      return { matches: (subject) => subject.memberCount < count }
    case '>':
      return { matches: (subject) => subject.memberCount > count }
    case '<=':
      return { matches: (subject) => subject.memberCount <= count }
    case '>=':
      return { matches: (subject) => subject.memberCount >= count }
    default:
      return { matches: (subject) => subject.memberCount === count }
  }
}

/** MSC3664, so far as it asks who sent the event that this one relates to. */
function relatedSender({ key, pattern, rel_type: relType }: JsonObject): PushCondition {
  if (key !== 'sender' || typeof pattern !== 'string' || typeof relType !== 'string') return neverMatches
  return { matches: ({ related }) => related?.relType === relType && related.sender === pattern }
}

/** "This matches messages where content.body contains the owner's display name in that room." */
function containsDisplayName(): PushCondition {
  // Compiled again only when the name differs from the last one seen.
  let name: string | undefined
  let test: TextTest = () => false
  return {
    matches: ({ body }, { displayName }) => {
      // An empty name would be everywhere.
      if (!displayName || body === '') return false
      if (name !== displayName) {
        name = displayName
        test = compileGlob(ignoreCase(displayName), { wildcards: '', match: 'words' })
      }
      return test(body)
    },
  }
}

type Scalar = null | boolean | number | string

function isScalar(value: Json | undefined): value is Scalar {
  return value !== undefined && (typeof value !== 'object' || value === null)
}

function isTableKey(key: string): key is TableKey {
  return key === 'type' || key === 'sender' || key === 'room_id'
}

/** Reads the property at a path. https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths */
function compilePath(path: string): (event: Json) => Json | undefined {
  const keys = parsePath(path)
  return (event) => {
    let value: Json | undefined = event
    for (const key of keys) {
      if (!isObject(value) || !Object.hasOwn(value, key)) return undefined
      value = value[key]
    }
    return value
  }
}

/** "Any literal dot or backslash found in a property name should be escaped … Other escape sequences are left as-is." */
export function parsePath(path: string): readonly string[] {
  const keys = ['']
  for (const [token] of path.matchAll(/\\[.\\]|[\s\S]/g)) {
    if (token === '.') keys.push('')
    else keys[keys.length - 1] += token.length === 2 ? token.charAt(1) : token
  }
  return keys
}
