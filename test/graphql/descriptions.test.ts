/** What the SDL tells whoever writes a client: errors, permissions and units of every field of the roots. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GraphQLField, type GraphQLInputType, getNamedType, isInputObjectType } from 'graphql'
import { schema } from '../../src/graphql/schema.ts'

const roots = [schema.getQueryType()!, schema.getMutationType()!, schema.getSubscriptionType()!]
const fields = roots.flatMap((root) => Object.values(root.getFields()).map((field) => [`${root.name}.${field.name}`, field] as const))

function wanting(fits: (description: string, field: GraphQLField<unknown, unknown>) => boolean): string[] {
  return fields.filter(([, field]) => !fits(field.description ?? '', field)).map(([name]) => name)
}

test('every root field names its errors, or says that there are none', () => {
  assert.deepEqual(
    wanting((text) => /\bErrors\b[^:]*: .*\bM_[A-Z]/.test(text) || /\bNo errors\./.test(text)),
    [],
  )
})

test('every root field says who may use it', () => {
  const who = /\b(as_token|token|users?|viewer|owner|administrators?|appservice|own|Whoever|Anybody|Those who)\b/i
  assert.deepEqual(
    wanting((text) => who.test(text)),
    [],
  )
})

test('what an appservice may not do as the owner says so, unless that goes without saying', () => {
  const plain = /\b(not for (an )?appservices?|administrators?|Needs no (access )?token|Needs an as_token)\b/i
  assert.deepEqual(
    wanting((text, field) => field.extensions['puppet'] === true || plain.test(text)),
    [],
  )
})

test('numbers have a unit, in their name or beside it', () => {
  const counted = /(Ms|Bytes|Ts|At)$|^(first|last)$/
  const unclear: string[] = []
  const look = (name: string, type: GraphQLInputType, description: string | null | undefined, seen: readonly string[]): void => {
    const named = getNamedType(type)
    if (isInputObjectType(named) && !seen.includes(named.name)) {
      for (const field of Object.values(named.getFields()))
        look(`${named.name}.${field.name}`, field.type, field.description, [...seen, named.name])
    }
    const short = name.slice(name.lastIndexOf('.') + 1)
    if (['Int', 'Float'].includes(named.name) && !counted.test(short) && !description) unclear.push(name)
  }
  for (const [name, field] of fields) {
    for (const arg of field.args) look(`${name}.${arg.name}`, arg.type, arg.description, [])
    if (['Int', 'Float'].includes(getNamedType(field.type).name)) assert.match(field.description ?? '', /bytes|milliseconds/i, name)
  }
  assert.deepEqual(unclear, [])
})
