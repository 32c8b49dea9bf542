/** Requests made from the endpoint table: mostly what the operation takes, with something wrong here and there. */
import fc from 'fast-check'
import type { NamedEndpoint } from '../../shim/endpoint.ts'
import type { Home } from '../crossing/home.ts'
import { bodyOf, type Schema } from '../crossing/parameters.ts'
import { chance, content, type Hints, hintsFor, idOf, json, nastyText, text, valueFor } from './values.ts'
import { eventTypes } from './vocabulary.ts'

/** Who asks; `puppet`: the bridge as the owner. */
export const actors = ['owner', 'person', 'administrator', 'bot', 'ghost', 'puppet', 'nobody'] as const
export type ActorName = (typeof actors)[number]

export interface Case {
  readonly operation: string
  readonly actor: ActorName
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** latin1: each letter is a byte */
  readonly body: string | null
  /** it may wait for something to happen, and is then cut off */
  readonly waits: boolean
}

const one = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)

export function actorFor(appservice: boolean): fc.Arbitrary<ActorName> {
  const weights: Record<ActorName, number> = appservice
    ? { owner: 1, person: 0, administrator: 0, bot: 8, ghost: 3, puppet: 1, nobody: 1 }
    : { owner: 12, person: 3, administrator: 2, bot: 2, ghost: 4, puppet: 4, nobody: 1 }
  return fc.oneof(...actors.map((actor) => ({ arbitrary: fc.constant(actor), weight: weights[actor] })))
}

/** Raw, as no encoder would write it. */
const trickyPart = one(
  ...['%00', 'a%00b', '%2F', '%252F', '..%2f..', '%2e%2e', '.', '..', '', '%', '%z', '%zz', '%ED%A0%80', '%FF', '%C0%80', '%F0%9F%92%A1'],
  ...[
    ';a=1',
    'a;b',
    '%0d%0aX:%201',
    '%20',
    '+',
    '%5C',
    '*',
    ':id',
    '{roomId}',
    '%E2%80%AE',
    'a'.repeat(2_049),
    '%61'.repeat(900),
    '!',
    '$',
    '@',
  ],
)

const trickyQuery = one(
  ...[
    '%zz=1',
    '&&&',
    '=',
    'a[]=1',
    'a[b]=1',
    '__proto__=1',
    'constructor=1',
    'limit=1&limit=x',
    'from=%00',
    'user_id=%00',
    'user_id=',
    'ts=1',
    'ts=-1',
  ],
  ...[
    'ts=9007199254740993',
    'access_token=',
    'access_token=a&access_token=b',
    'device_id=X',
    '?',
    '#',
    '%ED%A0%80=1',
    'user_id=%40nobody%3Aexample.com',
  ],
)

const oddHeaders: fc.Arbitrary<Readonly<Record<string, string>>> = fc.oneof(
  { arbitrary: fc.constant({}), weight: 14 },
  {
    arbitrary: one<Readonly<Record<string, string>>>(
      { authorization: 'Bearer' },
      { authorization: 'Bearer syt_nonsense' },
      { authorization: `Bearer ${'a'.repeat(6_000)}` },
      { authorization: 'Basic YTpi' },
      { authorization: 'Bearer a b' },
      { authorization: 'Bearer \u00ff\u00fe' },
      { 'content-type': 'text/plain; charset=utf-16' },
      { 'content-type': '\u00ff/;;=' },
      { 'content-type': 'multipart/form-data' },
      { 'content-encoding': 'gzip' },
      { 'transfer-encoding': 'chunked' },
      { accept: 'text/event-stream' },
      { accept: 'multipart/mixed' },
      { range: 'bytes=5-1' },
      { range: 'bytes=-0' },
      { range: 'bytes=99999999999999999999-' },
      { 'if-none-match': '"\u00ff", *' },
      { upgrade: 'h2c', connection: 'upgrade' },
      { 'x-forwarded-for': '\u00ff' },
      { 'user-agent': '\u00ff'.repeat(4_000) },
      { cookie: 'a=b' },
      { host: 'a..b' },
      { expect: '100-continue' },
      { 'x-http-method-override': 'DELETE' },
    ),
    weight: 1,
  },
)

const prefix = fc.oneof(
  { arbitrary: fc.constant(''), weight: 16 },
  {
    arbitrary: one('/_hungryserv/default', '/_hungryserv/neighbour', '/_hungryserv/%zz', '/_hungryserv/..', '/_hungryserv/%64efault'),
    weight: 1,
  },
)

export function restCases(endpoint: NamedEndpoint, home: Home): fc.Arbitrary<Case> {
  const hints = hintsFor(endpoint.name)
  const waits = (endpoint.kind === 'operation' || endpoint.kind === 'handler') && endpoint.waits
  return fc
    .record({
      actor: actorFor(endpoint.auth === 'appservice'),
      prefix,
      path: pathOf(endpoint, home, hints),
      query: queryOf(endpoint, home, hints),
      method: fc.oneof(
        { arbitrary: fc.constant(endpoint.method as string), weight: 40 },
        { arbitrary: one('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'), weight: 1 },
      ),
      headers: oddHeaders,
      body: endpoint.kind === 'handler' ? bytes : bodyText(bodyOf(endpoint), home, hints),
    })
    .map(({ prefix, path, query, body, ...drawn }) => {
      const bodiless = drawn.method === 'GET' || drawn.method === 'HEAD' || drawn.method === 'OPTIONS'
      return { operation: endpoint.name, ...drawn, path: `${prefix}${path}${query && `?${query}`}`, body: bodiless ? null : body, waits }
    })
}

function pathOf(endpoint: NamedEndpoint, home: Home, hints: Hints): fc.Arbitrary<string> {
  return fc.oneof(
    ...[endpoint.path, ...endpoint.aliases].map((path) => {
      const parts = path.split('/').map((part) => {
        const name = /^\{(\w+)\}$/.exec(part)?.[1]
        return name === undefined ? fc.constant(part) : pathPart(home, hints, name)
      })
      return fc.tuple(...parts).map((each) => each.join('/'))
    }),
  )
}

function pathPart(home: Home, hints: Hints, name: string): fc.Arbitrary<string> {
  const kind = hints.kind(name, 'string')
  const usual = hints.usual(name) ?? (/server/i.test(name) ? home.instance.bridgeDomain : undefined)
  const right: fc.Arbitrary<string>[] = [idOf(home, kind)]
  if (usual !== undefined) right.push(fc.constant(String(usual)), fc.constant(String(usual)))
  if (/type/i.test(name)) right.push(one(...eventTypes))
  // A new one each time, or nothing would happen but repeats.
  if (kind === 'txn') right.push(fc.integer({ min: 0 }).map(String), fc.integer({ min: 0 }).map(String))
  return fc.oneof({ arbitrary: fc.oneof(...right).map(encode), weight: 40 }, { arbitrary: trickyPart, weight: 1 })
}

function encode(value: string): string {
  return value.isWellFormed() ? encodeURIComponent(value) : '%ED%A0%80'
}

function queryOf(endpoint: NamedEndpoint, home: Home, hints: Hints): fc.Arbitrary<string> {
  const schema = endpoint.query as unknown as Schema
  const usual =
    Object.keys(schema.properties ?? {}).length === 0
      ? fc.constant('')
      : valueFor(home, schema, hints, 'query').map((value) =>
          typeof value !== 'object' || value === null
            ? encode(String(value))
            : Object.entries(value)
                .map(([name, each]) => `${encode(name)}=${encode(typeof each === 'object' ? JSON.stringify(each) : String(each))}`)
                .join('&'),
        )
  return fc.oneof(
    { arbitrary: usual, weight: 12 },
    { arbitrary: fc.tuple(usual, trickyQuery).map((both) => both.filter(Boolean).join('&')), weight: 1 },
  )
}

/** The JSON of a body as text, and what else may come in its place. */
export function bodyText(schema: Schema | null, home: Home, hints: Hints): fc.Arbitrary<string | null> {
  const value = schema === null ? fc.oneof(json(home), content(home)) : valueFor(home, schema, hints, 'body')
  const written = value.map((each) => JSON.stringify(each))
  return fc.oneof(
    { arbitrary: written.map(utf8), weight: 12 },
    { arbitrary: fc.tuple(written, mistake, fc.nat()).map(([json, make, at]) => make(json, at)), weight: 3 },
  )
}

export function utf8(value: string): string {
  return Buffer.from(value).toString('latin1')
}

type Mistake = (json: string, at: number) => string

const numbers = ['1.5', '1.0', '1e400', '-1e3', '9007199254740993', '-0', '00', '+1', 'NaN', '0x1', '1'.repeat(400)]

export const mistake: fc.Arbitrary<Mistake> = one<Mistake>(
  () => '',
  () => 'null',
  () => '[]',
  () => '"text"',
  () => '1',
  (json, at) => utf8(json.slice(0, at % (json.length + 1))),
  (json) => utf8(`${json}x`),
  (json) => utf8(`\ufeff${json}`),
  (json, at) => splice(utf8(json), at, '\0'),
  (json, at) => splice(utf8(json), at, '\xff'),
  (json, at) => splice(utf8(json), at, '"'),
  (json, at) => splice(utf8(json), at, '\\ud800'),
  (json, at) => splice(utf8(json), at, '\xed\xa0\x80'),
  (json) => utf8(json.replace(/^\{/, '{"__proto__":{"admin":true,"toString":1},')),
  (json) => utf8(json.replace(/^\{(.+)\}$/s, '{$1,$1}')),
  (json, at) => utf8(json.replace(/:\s*(\d+|"[^"]*")/, `:${numbers[at % numbers.length]}`)),
  (json) => utf8(json.replace(/:\s*"/, ':"\\u0000\\ud800')),
  (json, at) => utf8(json.replace(/:\s*"[^"]*"/, `:"${'\\u0000'.repeat(at % 9)}${'x'.repeat(70_000)}"`)),
  (json, at) => (at % 8 ? '['.repeat(50_000) : `{"a":${utf8(json)},"b":"${'x'.repeat(1_100_000)}"}`),
  (json) => `${'{"a":'.repeat(99)}${utf8(json)}${'}'.repeat(99)}`,
  (json) => `${'[1,'.repeat(3_000)}${utf8(json)}`,
  (json) => Buffer.from(json, 'utf16le').toString('latin1'),
)

function splice(bytes: string, at: number, piece: string): string {
  const place = at % (bytes.length + 1)
  return bytes.slice(0, place) + piece + bytes.slice(place)
}

const pixel = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
).toString('latin1')

/** Bodies that are no JSON. */
const bytes: fc.Arbitrary<string | null> = fc.oneof(
  fc.constant(null),
  fc.constant(pixel),
  fc.nat({ max: pixel.length }).map((at) => pixel.slice(0, at)),
  fc.nat({ max: pixel.length }).map((at) => splice(pixel, at, '\xff\0')),
  fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array).toString('latin1')),
  fc.oneof(text, nastyText).map(utf8),
  chance(0.1).map((huge) => 'x'.repeat(huge ? 300_000 : 100)),
)
