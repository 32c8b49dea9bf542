/** Two homeservers with the same as_token, as two people may have who copied one example. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client } from '../rig/server.ts'

await onBothServers('an as_token that another homeserver has', (start) => {
  test('is refused, and stays with the first, whatever the second has looked up before', async () => {
    await using server = await start()
    const { data } = await server.administrator.graphql('mutation { createInstance(name: "bob", owner: "bob") { password } }')
    const login = { type: 'm.login.password', user: 'bob', password: data.createInstance.password }
    const bob = server.client((await server.request('POST', '/login', login)).body.access_token)
    const register = async (owner: Client, id: string, asToken: string): Promise<string | undefined> => {
      const registration = { as_token: asToken, hs_token: `${asToken} of the homeserver`.replaceAll(' ', '-') }
      const { errors } = await owner.graphql(
        'mutation($id: String!, $registration: JsonObject) { registerBridge(id: $id, registration: $registration) { id } }',
        { id, registration },
      )
      return errors?.[0].extensions.errcode
    }
    const userOf = async (token: string) => (await server.client(token).get('/account/whoami')).body.user_id
    const [first, second] = ['an-example-that-two-people-copied', 'another-example-of-an-as-token']
    assert.equal(await register(server.owner, 'signal', first!), undefined)
    assert.equal(await register(bob, 'telegram', first!), 'M_INVALID_PARAM')
    assert.equal(await userOf(first!), '@signalbot:example.com')
    // He had it himself once.
    assert.equal(await register(bob, 'telegram', second!), undefined)
    assert.equal(await register(bob, 'telegram', 'a-third-as-token-of-his-own'), undefined)
    assert.equal(await register(server.owner, 'signal', second!), undefined)
    assert.equal(await register(bob, 'telegram', second!), 'M_INVALID_PARAM')
    assert.equal(await userOf(second!), '@signalbot:example.com')
  })
})
