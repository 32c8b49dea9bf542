/** Registering by GraphQL knows the same bounds as by REST. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { readConfig } from '../../src/config.ts'
import { startServer, type TestServer } from '../rig/server.ts'

let server: TestServer

before(async () => {
  // Wide enough that only the limit of wrong guesses is met.
  const rateLimits = { ...readConfig({}).rateLimits!, login: { perSecond: 100, burst: 1_000 } }
  server = await startServer({ config: { registration: 'token', rateLimits } })
})

after(() => server[Symbol.asyncDispose]())

test('the name of another homeserver’s owner is taken, on both faces', async () => {
  await server.administrator.graphql('mutation { createInstance(name: "arno", owner: "arno") { name } }')
  const headers = { 'content-type': 'application/json' }
  const graphql = async (query: string) => (await server.request('POST', '/graphql', { query }, { headers })).body.errors[0].extensions
  const input = '{ username: "arno", password: "long enough it is" }'
  const { errcode: rest } = (await server.request('POST', '/register', { username: 'arno', password: 'long enough it is' })).body
  const { errcode } = await graphql(`mutation { register(input: ${input}) { userId } }`)
  const { errcode: asked } = await graphql('{ usernameAvailable(username: "arno") }')
  assert.deepEqual([rest, errcode, asked], ['M_USER_IN_USE', 'M_USER_IN_USE', 'M_USER_IN_USE'])
})

test('a document that tries many registration tokens is answered for the first fifty wrong ones only; right ones are no guesses', async () => {
  await server.administrator.graphql('mutation { createRegistrationToken(token: "right") { token } }')
  const ask = async (fields: string) => {
    const headers = { 'content-type': 'application/json' }
    return (await server.request('POST', '/graphql', { query: `{ ${fields} }` }, { headers })).body
  }
  const tried = (token: string, count: number) =>
    Array.from({ length: count }, (_, i) => `a${i}: registrationTokenValid(token: "${token}")`).join(' ')
  assert.equal((await ask(tried('right', 40))).errors, undefined)
  const { errors } = await ask(tried('wrong', 80))
  assert.ok(errors.length >= 1 && errors.every((error: { extensions: object }) => 'retry_after_ms' in error.extensions))
  assert.equal((await ask(tried('right', 1))).errors[0].extensions.errcode, 'M_LIMIT_EXCEEDED')
})
