/** Values as clients send them and as they should not: ids that exist, words that the code knows, numbers and texts that break things. */
import fc from 'fast-check'
import type { Home, IdKind } from '../crossing/home.ts'
import { contentNaming } from '../crossing/home.ts'
import { type Kind, kindOf, type Schema } from '../crossing/parameters.ts'
import { plain } from '../crossing/requests.ts'
import { eventTypes, words } from './vocabulary.ts'

const oneOf = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)

export const nastyText: fc.Arbitrary<string> = oneOf(
  ...[
    '',
    ' ',
    '\0',
    'a\0b',
    '\ud800',
    'a\udc00b',
    '\u{1f4a1}',
    '\u202e',
    '\ufeff',
    '\r\n',
    '..',
    '/',
    '%',
    '%00',
    '%2F',
    '?',
    '#',
    '&',
    '\\',
    "'",
    '"',
  ],
  ...[
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'null',
    'undefined',
    'true',
    '-1',
    '0',
    'NaN',
    'Infinity',
    '{}',
    '[]',
    '{"limit":1}',
  ],
  ...[
    '@',
    '@:',
    '@a',
    '@a:',
    ':example.com',
    '@a:example.com:8448',
    '@A:example.com',
    '@é:example.com',
    '!',
    '!a',
    '!a:b',
    '$',
    '#',
    '#a:',
    '*',
    '**',
    '?*',
  ],
  ...[
    's',
    's-1',
    's0',
    's1',
    's-9007199254740991',
    's9007199254740993',
    't1',
    's1_2',
    'mxc://',
    'mxc://a',
    'mxc://a/b',
    'mxc://a/../b',
    'http://[',
    'main',
  ],
  ...['a'.repeat(255), 'a'.repeat(256), 'é'.repeat(128), `@${'a'.repeat(250)}:example.com`, `!${'a'.repeat(300)}:b`, 'x'.repeat(2_000)],
)

export const text: fc.Arbitrary<string> = fc.oneof(
  { arbitrary: oneOf(...words), weight: 4 },
  { arbitrary: nastyText, weight: 3 },
  { arbitrary: fc.string({ unit: 'binary', maxLength: 12 }), weight: 1 },
  { arbitrary: fc.string({ maxLength: 20 }), weight: 1 },
)

const whole = oneOf(
  0,
  1,
  -1,
  2,
  5,
  50,
  100,
  1_000,
  2_147_483_647,
  -2_147_483_648,
  2_147_483_648,
  9_007_199_254_740_991,
  -9_007_199_254_740_991,
)
const number = fc.oneof({ arbitrary: whole, weight: 6 }, { arbitrary: oneOf(0.5, -0.1, 1e300, 2 ** 53, -(2 ** 63)), weight: 1 })

/** An id of this kind that exists, mostly the first, which fits the first of other kinds; or one of another kind, or none. */
export function idOf(home: Home, kind: Kind): fc.Arbitrary<string> {
  if (kind === 'none' || kind === 'content') return text
  const own = home.ids[kind as IdKind].map(String)
  const others = Object.values(home.ids).flat().map(String)
  return fc.oneof(
    { arbitrary: fc.constant(own[0]!), weight: 18 },
    { arbitrary: oneOf(...own), weight: 6 },
    { arbitrary: oneOf(...others), weight: 1 },
    { arbitrary: text, weight: 2 },
  )
}

/** What is known to be right, as it is or with something in it that is not. */
export function usually(home: Home, usual: unknown, otherwise: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  if (usual === undefined) return otherwise
  const isMap = typeof usual === 'object' && usual !== null && !Array.isArray(usual)
  const spoilt = json(home).map((more) =>
    isMap ? { ...(usual as object), ...(more as object) } : Array.isArray(usual) ? [...usual, more] : usual,
  )
  return fc.oneof({ arbitrary: fc.constant(usual), weight: 5 }, { arbitrary: spoilt, weight: 3 }, { arbitrary: otherwise, weight: 3 })
}

const made = new WeakMap<Home, fc.Arbitrary<unknown>>()

/** Any JSON, of the keys and values that the code looks for. */
export function json(home: Home): fc.Arbitrary<unknown> {
  const known = made.get(home) ?? makeJson(home)
  made.set(home, known)
  return known
}

function makeJson(home: Home): fc.Arbitrary<unknown> {
  const ids = oneOf(...Object.values(home.ids).flat())
  const leaf = fc.oneof(
    { arbitrary: ids, weight: 4 },
    { arbitrary: text, weight: 5 },
    { arbitrary: number, weight: 3 },
    { arbitrary: oneOf<unknown>(true, false, null, [], {}), weight: 3 },
  )
  const key = fc.oneof(
    { arbitrary: oneOf(...words), weight: 8 },
    { arbitrary: ids.map(String), weight: 1 },
    { arbitrary: nastyText, weight: 1 },
  )
  return fc.letrec<{ value: unknown; object: unknown }>((tie) => ({
    value: fc.oneof({ depthSize: 'small' }, leaf, tie('object'), fc.array(tie('value'), { maxLength: 3 })),
    object: fc.array(fc.tuple(key, tie('value')), { maxLength: 5 }).map((pairs) => fromPairs(pairs)),
  })).object
}

/** `Object.fromEntries` makes `__proto__` a key like any other. */
function fromPairs(pairs: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  return Object.fromEntries(pairs)
}

/** Contents that the code understands, with one or two things wrong in them. */
export function content(home: Home): fc.Arbitrary<unknown> {
  const { ids } = home
  const relation = fc.record({
    rel_type: oneOf<unknown>('m.replace', 'm.annotation', 'm.thread', 'm.reference', 'x', 1, null),
    event_id: fc.oneof(oneOf<unknown>(...ids.event, 1, null), text),
    key: oneOf<unknown>('👍', '', 'a'.repeat(300), 1),
  })
  const shapes: fc.Arbitrary<unknown>[] = [
    fc.constant({ msgtype: 'm.text', body: 'text' }),
    fc.record({ msgtype: fc.constant('m.text'), body: text, 'm.relates_to': relation, 'm.new_content': json(home) }),
    fc.record({
      membership: oneOf<unknown>('join', 'invite', 'leave', 'ban', 'knock', 'x', 1, null),
      displayname: json(home),
      reason: text,
    }),
    fc.record({
      users: fc.dictionary(oneOf(...ids.user.map(String), '@x'), number),
      events: fc.dictionary(oneOf(...eventTypes), number),
      ban: number,
    }),
    fc.record({
      join_rule: oneOf<unknown>('public', 'invite', 'knock', 'restricted', 'x', 1),
      allow: fc.array(json(home), { maxLength: 2 }),
    }),
    fc.record({
      alias: oneOf<unknown>(...ids.alias, '#x', 1),
      alt_aliases: fc.array(oneOf<unknown>(...ids.alias, 1, null), { maxLength: 3 }),
    }),
    fc.record({
      actions: fc.array(json(home), { maxLength: 3 }),
      conditions: fc.array(json(home), { maxLength: 3 }),
      pattern: text,
      kind: text,
    }),
    fc.record({ room: json(home), presence: json(home), event_fields: fc.array(text, { maxLength: 3 }), limit: number }),
    fc.constant(contentNaming(home)),
    // What is asked of users' devices, and keys to be handed out.
    fc.dictionary(
      oneOf(...ids.user.map(String), '@a:elsewhere.example'),
      fc.oneof(
        fc.array(oneOf(...ids.device), { maxLength: 2 }),
        fc.dictionary(oneOf(...ids.device.map(String), '*'), oneOf<unknown>('signed_curve25519', 'curve25519', {}, 1)),
      ),
    ),
    fc.dictionary(
      oneOf('signed_curve25519:a', 'signed_curve25519:b', 'curve25519:c', 'd'),
      oneOf<unknown>('x', { key: 'x' }, { key: 1 }, 1),
    ),
  ]
  const shape = fc.oneof(...shapes)
  return fc.oneof(
    { arbitrary: shape, weight: 4 },
    { arbitrary: json(home), weight: 3 },
    { arbitrary: fc.tuple(shape, json(home)).map(([a, b]) => ({ ...(a as object), ...(b as object) })), weight: 2 },
    {
      arbitrary: oneOf<unknown>({}, { body: 'a'.repeat(66_000) }, deep(60), deep(120), { a: 1.5 }, { a: 2 ** 53 }, { a: 'x\0y\ud800' }),
      weight: 1,
    },
  )
}

function deep(levels: number): unknown {
  let value: unknown = {}
  for (let i = 0; i < levels; i++) value = i % 2 ? [value] : { a: value }
  return value
}

export const wrongType: fc.Arbitrary<unknown> = oneOf<unknown>(null, true, 0, -1, 1.5, 1e300, '', 'text', [], {}, [[]], [null], [1], [{}], {
  a: null,
})

/** What is known of an operation's parameters. */
export interface Hints {
  kind(name: string, type: string): Kind
  usual(name: string): unknown
}

export function hintsFor(operation: string): Hints {
  return {
    kind: (name, type) => kindOf(operation, name, type) ?? 'none',
    usual: (name) => plain[`${operation}.${name}`] ?? plain[name],
  }
}

/** A value for a JSON schema, `name` saying whose id a string is. Mostly right. */
export function valueFor(home: Home, schema: Schema, hints: Hints, name: string): fc.Arbitrary<unknown> {
  const right = usually(home, hints.usual(name), rightValue(home, schema, hints, name))
  return fc.oneof({ arbitrary: right, weight: 40 }, { arbitrary: wrongType, weight: 1 })
}

function rightValue(home: Home, schema: Schema, hints: Hints, name: string): fc.Arbitrary<unknown> {
  if (schema.anyOf?.length) return fc.oneof(...schema.anyOf.map((each) => rightValue(home, each, hints, name)), text)
  if ('const' in schema) return fc.constant(schema.const)
  if (schema.enum) return oneOf<unknown>(...schema.enum, 'x')
  switch (schema.type) {
    case 'string':
      return idOf(home, hints.kind(name, 'string'))
    case 'integer':
    case 'number':
      return /timeout/i.test(name)
        ? oneOf<unknown>(0, 1, 20, -1)
        : fc.oneof(oneOf<unknown>(schema.minimum ?? 0, schema.maximum ?? 10), number)
    case 'boolean':
      return fc.boolean()
    case 'array':
      return fc.array(schema.items ? valueFor(home, schema.items, hints, name) : json(home), { maxLength: 4 })
    case 'object':
      return schema.properties && Object.keys(schema.properties).length > 0 ? objectOf(home, schema, hints) : content(home)
    default:
      return fc.oneof(content(home), json(home), text, number)
  }
}

function objectOf(home: Home, schema: Schema, hints: Hints): fc.Arbitrary<unknown> {
  const properties = Object.entries(schema.properties ?? {})
  const values = Object.fromEntries(properties.map(([name, property]) => [name, valueFor(home, property, hints, name)] as const))
  const required = new Set(schema.required)
  const kept = fc.record(Object.fromEntries(properties.map(([name]) => [name, chance(required.has(name) ? 0.97 : 0.5)] as const)))
  return fc
    .tuple(fc.record(values), kept, fc.oneof({ arbitrary: fc.constant({}), weight: 5 }, { arbitrary: json(home), weight: 1 }))
    .map(([all, keep, more]) => ({
      ...Object.fromEntries(Object.entries(all).filter(([name]) => keep[name])),
      ...(more as object),
    }))
}

export function chance(of: number): fc.Arbitrary<boolean> {
  const weight = Math.round(of * 1_000)
  return fc.oneof({ arbitrary: fc.constant(true), weight }, { arbitrary: fc.constant(false), weight: 1_000 - weight })
}
