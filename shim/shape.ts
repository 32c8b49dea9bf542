/**
 * Checks a value against a TypeBox schema, and tells what is wrong as Matrix does: M_MISSING_PARAM for what is not there, M_BAD_JSON for the
 * wrong type, M_INVALID_PARAM for a wrong value. It knows the keywords below and refuses a schema with others when the endpoint is made.
 */
import type { TSchema } from 'typebox'
import { MatrixError } from '../src/errors.ts'
import type { JsonObject } from '../src/rules/values.ts'
import { Type } from './type.ts'

/** The content of an event: any JSON object; makes the reading of the body strict. */
export const EventContent = Type.Unsafe<JsonObject>({ type: 'object', eventContent: true })
/** Any JSON object that is no event content, such as account data. */
export const AnyObject = Type.Unsafe<JsonObject>({ type: 'object' })
/** 0 or more */
export const Milliseconds = Type.Integer({ minimum: 0 })

interface Schema {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly patternProperties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | boolean
  readonly anyOf?: readonly Schema[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly pattern?: string
  readonly eventContent?: boolean
}

const known: ReadonlySet<string> = new Set([
  ...[
    'type',
    'properties',
    'required',
    'items',
    'patternProperties',
    'additionalProperties',
    'anyOf',
    'const',
    'enum',
    'minimum',
    'maximum',
  ],
  ...['minLength', 'maxLength', 'minItems', 'maxItems', 'pattern', 'eventContent', 'description', 'title', 'examples', 'default'],
])

/** Throws a MatrixError when the value does not fit. `name` is what the value is called in the message. */
export type Check = (value: unknown, name: string) => void

export function checkOf(schema: TSchema): Check {
  return make(schema as Schema)
}

/** Whether event content may stand in a body of this schema. */
export function holdsEventContent(schema: TSchema): boolean {
  return JSON.stringify(schema).includes('"eventContent":true')
}

/** An absent body stands for `{}` where nothing is required. */
export function needsNothing(schema: TSchema): boolean {
  const { type, required } = schema as Schema
  return type === 'object' && (required ?? []).length === 0
}

function make(schema: Schema): Check {
  for (const keyword of Object.keys(schema)) {
    if (!known.has(keyword) && !keyword.startsWith('~')) throw new Error(`shim/shape.ts does not know the keyword ${keyword}`)
  }
  if (schema.anyOf) return anyOf(schema.anyOf)
  const isType = typeTests[schema.type ?? 'any']
  if (!isType) throw new Error(`shim/shape.ts does not know the type ${schema.type}`)
  const rest = parts(schema)
  return (value, name) => {
    if (!isType(value)) throw new MatrixError('M_BAD_JSON', `${name} must be ${article(schema.type ?? '')}`)
    for (const check of rest) check(value, name)
  }
}

const typeTests: Readonly<Record<string, (value: unknown) => boolean>> = {
  any: () => true,
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  array: Array.isArray,
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  integer: Number.isSafeInteger,
  number: Number.isFinite,
  null: (value) => value === null,
}

function parts(schema: Schema): Check[] {
  const checks: Check[] = []
  const refuseUnless = (holds: (value: never) => boolean, what: string) =>
    checks.push((value, name) => {
      if (!holds(value as never)) throw new MatrixError('M_INVALID_PARAM', `${name} ${what}`)
    })
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, pattern } = schema
  if ('const' in schema) refuseUnless((value) => value === schema.const, `must be ${JSON.stringify(schema.const)}`)
  if (schema.enum) refuseUnless((value) => schema.enum?.includes(value) ?? false, `must be one of ${schema.enum.join(', ')}`)
  if (minimum !== undefined) refuseUnless((value: number) => value >= minimum, `must be at least ${minimum}`)
  if (maximum !== undefined) refuseUnless((value: number) => value <= maximum, `must be at most ${maximum}`)
  if (minLength !== undefined) refuseUnless((value: string) => value.length >= minLength, `must have at least ${minLength} characters`)
  if (maxLength !== undefined) refuseUnless((value: string) => value.length <= maxLength, `must have at most ${maxLength} characters`)
  if (minItems !== undefined) refuseUnless((value: unknown[]) => value.length >= minItems, `must have at least ${minItems} items`)
  if (maxItems !== undefined) refuseUnless((value: unknown[]) => value.length <= maxItems, `must have at most ${maxItems} items`)
  if (pattern !== undefined) {
    const expression = new RegExp(pattern)
    refuseUnless((value: string) => expression.test(value), 'does not look as it should')
  }
  if (schema.items) checks.push(items(make(schema.items)))
  if (schema.properties) checks.push(properties(schema.properties, new Set(schema.required)))
  for (const [expression, inner] of Object.entries(schema.patternProperties ?? {})) checks.push(record(new RegExp(expression), make(inner)))
  if (typeof schema.additionalProperties === 'object')
    checks.push(others(new Set(Object.keys(schema.properties ?? {})), make(schema.additionalProperties)))
  return checks
}

function items(check: Check): Check {
  return (value, name) => {
    for (const item of value as unknown[]) check(item, name)
  }
}

function properties(schemas: Readonly<Record<string, Schema>>, required: ReadonlySet<string>): Check {
  const all = Object.entries(schemas).map(([key, schema]) => [key, make(schema), required.has(key)] as const)
  return (value) => {
    for (const [key, check, needed] of all) {
      const property = Object.hasOwn(value as object, key) ? (value as Record<string, unknown>)[key] : undefined
      if (property !== undefined) check(property, key)
      else if (needed) throw new MatrixError('M_MISSING_PARAM', `Missing ${key}`)
    }
  }
}

function record(expression: RegExp, check: Check): Check {
  return (value) => {
    for (const [key, property] of Object.entries(value as object)) if (expression.test(key)) check(property, key)
  }
}

function others(named: ReadonlySet<string>, check: Check): Check {
  return (value) => {
    for (const [key, property] of Object.entries(value as object)) if (!named.has(key)) check(property, key)
  }
}

/** The last alternative's error stands when all have the same type, as unions of constants have. */
function anyOf(schemas: readonly Schema[]): Check {
  const checks = schemas.map(make)
  const constants = schemas.every((schema) => 'const' in schema)
  return (value, name) => {
    let mildest: MatrixError | null = null
    for (const check of checks) {
      try {
        return check(value, name)
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error
        if (!mildest || mildest.errcode === 'M_BAD_JSON') mildest = error
      }
    }
    if (!mildest) return
    const allowed = schemas.map((schema) => JSON.stringify(schema.const)).join(', ')
    throw constants && mildest.errcode === 'M_INVALID_PARAM'
      ? new MatrixError('M_INVALID_PARAM', `${name} must be one of ${allowed}`)
      : mildest
  }
}

function article(type: string): string {
  return type === 'null' ? 'null' : /^[aio]/.test(type) ? `an ${type}` : `a ${type}`
}

/** Names in a query that say who asks; they are no part of what is asked. */
const whoAsks: ReadonlySet<string> = new Set(['access_token', 'user_id', 'device_id', 'org.matrix.msc3202.device_id', 'ts'])

/**
 * The query by its schema: numbers and booleans are read strictly, a list takes a name once or several times, of a single value given
 * several times the last counts. A record takes every name but those that say who asks.
 */
export function queryReader(schema: TSchema): (query: Readonly<Record<string, string | string[]>>) => Readonly<Record<string, unknown>> {
  const { properties, patternProperties } = schema as Schema
  const named = Object.entries(properties ?? {})
  const [other] = Object.values(patternProperties ?? {})
  const check = checkOf(schema)
  return (query) => {
    const names = other ? Object.keys(query).flatMap((name) => (whoAsks.has(name) ? [] : [[name, other] as const])) : named
    const read: Record<string, unknown> = {}
    for (const [name, property] of names) {
      const given = query[name]
      if (given === undefined) continue
      if (property.type === 'array')
        read[name] = (Array.isArray(given) ? given : [given]).map((each) => readText(each, property.items?.type, name))
      else read[name] = readText(Array.isArray(given) ? given.at(-1)! : given, property.type, name)
    }
    check(read, 'query')
    return read
  }
}

function readText(text: string, type: string | undefined, name: string): unknown {
  if (type === 'integer' || type === 'number') {
    if (!/^-?\d{1,16}$/.test(text)) throw new MatrixError('M_INVALID_PARAM', `${name} must be a whole number`)
    return Number(text)
  }
  if (type === 'boolean') {
    if (text !== 'true' && text !== 'false') throw new MatrixError('M_INVALID_PARAM', `${name} must be true or false`)
    return text === 'true'
  }
  return text
}
