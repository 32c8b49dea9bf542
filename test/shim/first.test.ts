import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createApp } from '../../shim/app.ts'
import { allEndpoints } from '../../shim/table.ts'
import { schema } from '../../src/graphql/schema.ts'
import { fakeHost } from './fake-host.ts'

test('versions and whoami', async () => {
  const { fastify } = createApp({ host: fakeHost(), schema, endpoints: allEndpoints })
  const v = await fastify.inject({ url: '/_matrix/client/versions' })
  console.log(v.statusCode, v.headers, v.body)
  for (const h of [{}, { authorization: 'Bearer alice-token' }, { authorization: 'Bearer x' }]) {
    const w = await fastify.inject({ url: '/_matrix/client/r0/account/whoami', headers: h })
    console.log(w.statusCode, w.headers, w.body)
  }
  assert.ok(true)
})
