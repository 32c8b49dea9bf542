/** What one document may cost before and while it is answered. A stranger may send any, so each must be cheap to refuse. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getIntrospectionQuery, getOperationAST } from 'graphql'
import { checkLimits, parseDocument } from '../../src/graphql/limits.ts'
import { schema } from '../../src/graphql/schema.ts'

function check(source: string): void {
  const document = parseDocument(source)
  checkLimits(schema, document, getOperationAST(document)!, {})
}

test('the whole schema may be asked for once, as tools do it, but not over and over', () => {
  const whole = getIntrospectionQuery({
    descriptions: true,
    specifiedByUrl: true,
    directiveIsRepeatable: true,
    inputValueDeprecation: true,
    oneOf: true,
  })
  check(whole)
  const fields = '__schema { types { name fields { name args { name description } } } }'
  const again = (times: number) => `{ ${Array.from({ length: times }, (_, i) => `a${i}: ${fields}`).join(' ')} }`
  check(again(2))
  assert.throws(() => check(again(100)), /more than 100000 fields/)
  const types = Array.from({ length: 100 }, (_, i) => `a${i}: types { fields { args { name description } } }`).join(' ')
  assert.throws(() => check(`{ __schema { ${types} } }`), /more than 100000 fields/)
  const names = Array.from({ length: 300 }, (_, i) => `a${i}: name`).join(' ')
  assert.throws(() => check(`{ __schema { types { fields { type { fields { ${names} } } } } } }`), /more than 100000 fields/)
})

test('a page size in the default of a variable counts like one in its value', () => {
  assert.throws(() => check('query ($n: Int = 1001) { inbox(first: $n) { edges { cursor } } }'), /first is 1000 at most/)
  const rooms = 'inbox(first: $n) { edges { node { members(first: $n) { edges { cursor } } } } }'
  check(`query ($n: Int = 10) { ${rooms} }`)
  assert.throws(() => check(`query ($n: Int = 1000) { ${rooms} }`), /more than 100000 fields/)
})

test('__typename counts like every other field', () => {
  const names = Array.from({ length: 200 }, (_, i) => `a${i}: __typename`).join(' ')
  assert.throws(() => check(`{ inbox(first: 1000) { edges { node { ${names} } } } }`), /more than 100000 fields/)
})

test('a field that stands in a document again and again is refused before all of them are compared with each other', () => {
  const repeated = [
    `{ ${'whoami { userId } '.repeat(900)} }`,
    `{ ...F0 } ${Array.from({ length: 325 }, (_, i) => `fragment F${i} on Query { ${i < 324 ? `...F${i + 1} ` : ''}whoami { userId } }`).join(' ')}`,
    `{ ${'a: __typename '.repeat(900)} }`,
  ]
  for (const source of repeated) assert.throws(() => parseDocument(source), /again and again/)
  // Sixty rooms at once, each under a name of its own.
  const rooms = Array.from({ length: 60 }, (_, i) => `r${i}: room(roomId: "!${i}") { roomId title unread { notificationCount } }`)
  check(`{ ${rooms.join(' ')} }`)
})
