// The plain values that the rules take and give.

/** A JSON value as read from a body or from storage; never changed in place. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject

export interface JsonObject {
  readonly [key: string]: Json
}

/** Why something is refused, as Matrix clients expect to read it: the HTTP status follows from the errcode. */
export interface Refusal {
  readonly errcode: string
  readonly error: string
}

export function refuse(errcode: string, error: string): Refusal {
  return { errcode, error }
}

export function forbid(error: string): Refusal {
  return { errcode: 'M_FORBIDDEN', error }
}

/** Tells a refusal from the result of a rule that gives one or the other. */
export function isRefusal(value: object): value is Refusal {
  return 'errcode' in value
}

/** True for a JSON object: not null, not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isArray(value: unknown): value is readonly Json[] {
  return Array.isArray(value)
}

/** Equal whatever the order of keys. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false
  const left = a as Record<string, unknown>
  const right = b as Record<string, unknown>
  const keys = Object.keys(left)
  return keys.length === Object.keys(right).length && keys.every((key) => Object.hasOwn(right, key) && sameJson(left[key], right[key]))
}
