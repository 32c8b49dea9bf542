import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allEndpoints } from '../../shim/table.ts'
import { prepare } from '../../src/graphql/execute.ts'
import { schema } from '../../src/graphql/schema.ts'

test('every document of the table fits the schema, with both engines', () => {
  for (const engine of ['graphql-js', 'graphql-jit'] as const) {
    for (const each of allEndpoints) if (each.kind === 'operation') prepare(schema, each.document.source, engine).warm()
  }
})

test('no two endpoints have the same method and path', () => {
  const routes = allEndpoints.map(({ method, path }) => `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`)
  assert.deepEqual(
    routes.filter((route, index) => routes.indexOf(route) !== index),
    [],
  )
})

test('both faces agree on what an appservice may do as the owner', () => {
  for (const each of allEndpoints) {
    if (each.kind !== 'operation' || each.auth === 'none') continue
    assert.equal(prepare(schema, each.document.source, 'graphql-js').puppet, each.puppet, each.name)
  }
})
