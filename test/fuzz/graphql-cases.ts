/** Requests made from the SDL: every root field with every argument below it, values of the argument's type and of others. */
import fc from 'fast-check'
import { type GraphQLInputType, isEnumType, isInputObjectType, isListType, isNonNullType } from 'graphql'
import type { RootField } from '../crossing/documents.ts'
import type { Home } from '../crossing/home.ts'
import { actorFor, type Case, mistake, utf8 } from './cases.ts'
import { chance, content, hintsFor, idOf, json, text, usually, wrongType } from './values.ts'
import { eventTypes } from './vocabulary.ts'

const one = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)

export function graphqlCases(field: RootField, home: Home): fc.Arbitrary<Case> {
  const drawn = Object.fromEntries(
    field.variables.map(({ variable, field: owner, name, type }) => [variable, argument(home, owner, name, type)] as const),
  )
  const request = fc.tuple(fc.record(drawn), documentOf(field.source), oddParts).map(([variables, query, odd]) => ({
    query,
    variables: Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== leftOut)),
    ...odd,
  }))
  const body = fc.oneof(
    { arbitrary: request.map((each) => utf8(JSON.stringify(each))), weight: 20 },
    { arbitrary: fc.tuple(request, mistake, fc.nat()).map(([each, make, at]) => make(JSON.stringify(each), at)), weight: 1 },
  )
  const streams = field.operation === 'subscription'
  return fc.record({ actor: actorFor(/^report|^ping/.test(field.name)), body, get: chance(0.02) }).map(({ actor, body, get }) => {
    const address = `/graphql?query=${encodeURIComponent(field.source)}&variables=${encodeURIComponent(body)}`
    // Node itself refuses what is longer than 16 KiB.
    const inAddress = get && address.length < 8_000
    return {
      operation: `${field.operation} ${field.name}`,
      actor,
      method: inAddress ? 'GET' : 'POST',
      path: inAddress ? address : '/graphql',
      headers: { 'content-type': 'application/json', ...(streams && { accept: 'text/event-stream' }) },
      body: inAddress ? null : body,
      waits: streams || field.variables.some(({ name }) => /timeout/i.test(name)),
    }
  })
}

const leftOut = Symbol('left out')

function argument(home: Home, owner: string, name: string, type: GraphQLInputType): fc.Arbitrary<unknown> {
  const value = valueFor(home, owner, name, type)
  if (isNonNullType(type)) return fc.oneof({ arbitrary: value, weight: 60 }, { arbitrary: fc.constant(leftOut), weight: 1 })
  return fc.oneof(
    { arbitrary: value, weight: 4 },
    { arbitrary: fc.constant(leftOut), weight: 5 },
    { arbitrary: fc.constant(null), weight: 1 },
  )
}

function valueFor(home: Home, owner: string, name: string, given: GraphQLInputType): fc.Arbitrary<unknown> {
  return fc.oneof({ arbitrary: rightValue(home, owner, name, given), weight: 80 }, { arbitrary: wrongType, weight: 1 })
}

function rightValue(home: Home, owner: string, name: string, given: GraphQLInputType): fc.Arbitrary<unknown> {
  const type = isNonNullType(given) ? given.ofType : given
  if (isListType(type)) return fc.array(valueFor(home, owner, name, type.ofType), { maxLength: 4 })
  if (isEnumType(type)) return one(...type.getValues().map((value) => value.name))
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields())
    return fc
      .record(Object.fromEntries(fields.map((each) => [each.name, argument(home, type.name, each.name, each.type)] as const)))
      .map((object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== leftOut)))
  }
  const hints = hintsFor(owner)
  const usual = hints.usual(name)
  switch (type.name) {
    case 'ID':
    case 'String': {
      const kind = hints.kind(name, type.name)
      const right: fc.Arbitrary<unknown>[] = [idOf(home, kind)]
      if (usual !== undefined) right.push(fc.constant(usual), fc.constant(usual))
      if (/type/i.test(name)) right.push(one(...eventTypes))
      if (kind === 'txn') right.push(fc.integer({ min: 0 }).map(String))
      return fc.oneof(...right)
    }
    case 'Int':
      if (/timeout/i.test(name)) return one(0, 1, 20, -1)
      return one(0, 1, 1, 2, 2, 3, 3, 10, 10, 20, 100, 1_000, -1, 1_001, 2_147_483_647, -2_147_483_648, 2_147_483_648)
    case 'Float':
    case 'Position':
    case 'Timestamp':
      return one<unknown>(
        ...home.ids.position,
        0,
        -1,
        1.5,
        1_700_000_000_000,
        Number.MAX_SAFE_INTEGER,
        -Number.MAX_SAFE_INTEGER,
        2 ** 53,
        1e300,
      )
    case 'Boolean':
      return fc.boolean()
    case 'EventContent':
    case 'JsonObject':
      return usually(home, usual, content(home))
    default:
      return usually(home, usual, fc.oneof(content(home), fc.array(json(home), { maxLength: 3 }), json(home), text))
  }
}

/** The document as it is, or one that asks for far too much. */
function documentOf(source: string): fc.Arbitrary<string> {
  const inner = source.slice(source.indexOf('{') + 1, source.lastIndexOf('}'))
  return fc.oneof(
    { arbitrary: fc.constant(source), weight: 60 },
    {
      arbitrary: one(
        source.slice(0, source.length / 2),
        `${source} ${source}`,
        source.replaceAll('$', '$$'),
        source.replace(inner, Array.from({ length: 50 }, (_, n) => `a${n}: ${inner.trim()}`).join(' ')),
        source.replace(inner, `${inner} ...F`).concat(' fragment F on Query { ...F }'),
        '{ __schema { types { fields { type { fields { type { fields { type { name } } } } } } } } }',
        `{ ${'a { '.repeat(2_000)}${'} '.repeat(2_000)}}`,
        `query { ${'whoami { userId } '.repeat(2_000)} }`,
        '\0',
        '{ whoami { userId @skip(if: $x) } }',
        'subscription { whoami { userId } }',
        '',
      ),
      weight: 1,
    },
  )
}

const oddParts: fc.Arbitrary<object> = fc.oneof(
  { arbitrary: fc.constant({}), weight: 60 },
  {
    arbitrary: one<object>(
      { operationName: 'x' },
      { operationName: 1 },
      { variables: [] },
      { variables: 'x' },
      { extensions: 1 },
      { query: 1 },
      { query: null },
      { id: 'x' },
    ),
    weight: 1,
  },
)
