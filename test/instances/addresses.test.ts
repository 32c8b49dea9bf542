/** Names that come before anybody knows who asks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'

await onBothServers('names that nobody can have', (start) => {
  test('are refused like wrong ones, in the prefix and where an owner is named', async () => {
    await using server = await start({ config: { registration: 'open' } })
    const nul = 'a\0b'
    const refused = async (method: string, path: string, body?: unknown) => {
      const reply = await server.request(method, path, body)
      return [reply.status, reply.body.errcode]
    }
    assert.deepEqual(await refused('GET', '/_hungryserv/a%00b/_matrix/client/v3/login'), [404, 'M_NOT_FOUND'])
    assert.deepEqual(await refused('POST', '/login', { type: 'm.login.password', user: nul, password: 'x' }), [400, 'M_INVALID_PARAM'])
    assert.deepEqual(await refused('POST', '/register', { username: nul, password: 'x' }), [400, 'M_INVALID_PARAM'])
    assert.deepEqual(await refused('GET', '/register/available?username=a%00b'), [400, 'M_INVALID_PARAM'])
  })
})
