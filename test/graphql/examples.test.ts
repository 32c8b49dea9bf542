import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { getOperationAST, parse, validate, validateSchema } from 'graphql'
import { examples } from '../../src/graphql/examples.ts'
import { schema } from '../../src/graphql/schema.ts'

test('the schema is sound', () => {
  assert.deepEqual(validateSchema(schema), [])
})

test('GraphiQL opens with examples that fit the schema, one of each kind that there is', () => {
  for (const example of examples) assert.deepEqual(validate(schema, parse(example)), [])
  const kinds = examples.map((example) => getOperationAST(parse(example))?.operation)
  const roots = (['query', 'mutation', 'subscription'] as const).filter((kind) => schema.getRootType(kind))
  assert.deepEqual(kinds, roots)
})

test('what docs/graphql.md shows fits the schema', () => {
  const guide = readFileSync(new URL('../../docs/graphql.md', import.meta.url), 'utf8')
  const blocks = [...guide.matchAll(/```graphql\n(.*?)```/gs)].map((match) => match[1]!)
  assert.ok(blocks.length >= 4)
  for (const block of blocks) assert.deepEqual(validate(schema, parse(block)), [], block)
})
