/** Locked people: every door is shut, and nothing behind it is lost. https://spec.matrix.org/v1.19/client-server-api/#account-locking */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SignJWT } from 'jose'
import { allEndpoints } from '../../shim/table.ts'
import { makeDeviceKeys, signingKey } from '../devices/rig.ts'
import { GraphqlError, Subscription } from '../interop/graphql/client.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { type Client, type TestServer, testPassword } from '../rig/server.ts'
import { registerBridge } from './bridge.ts'
import { accepted, addressOf, errcodeOf, lockedOut, refused, setLocked } from './moderation-rig.ts'

const jwtSecret = 'a secret shared with the one who signs'
const inbox = 'subscription { inbox { position } }'

function logIn(server: TestServer, user: string, more: object = {}) {
  const identifier = { type: 'm.id.user', user }
  return server.request('POST', '/login', { type: 'm.login.password', identifier, password: testPassword, ...more })
}

/** The errcode that ends it. */
async function ending(subscription: Subscription): Promise<string> {
  for (;;) {
    try {
      if ((await subscription.next()) === null) return 'nothing'
    } catch (error) {
      if (error instanceof GraphqlError) return error.errcode
      throw error
    }
  }
}

await onBothServers('locked people', (start) => {
  test('every token of a locked person answers 401 M_USER_LOCKED, softly, at every endpoint but those that log out', async () => {
    await using server = await start()
    const ann = await server.register('ann', testPassword)
    const other = server.client((await logIn(server, 'ann')).body.access_token, ann.userId)
    await setLocked(server, ann, true)
    const params: Record<string, string> = { userId: ann.userId }
    let count = 0
    for (const { name, method, path, auth } of allEndpoints) {
      if (!['accessToken', 'accessTokenOptional'].includes(auth) || name.startsWith('logout')) continue
      const address = path.replaceAll(/\{(\w+)\}/g, (_, part: string) => encodeURIComponent(params[part] ?? part))
      lockedOut(await ann.request(method, address, {}), `${method} ${path}`)
      count++
    }
    assert.ok(count > 120, `${count} endpoints`)
    lockedOut(await other.get('/account/whoami'))
    for (const query of ['{ viewer { userId } }', '{ homeserverUrl }', 'mutation { setDisplayName(displayName: "x") }'])
      assert.equal(await errcodeOf(ann, query), 'M_USER_LOCKED', query)
    await assert.rejects(new Subscription(server.url, ann.token, inbox, {}).next(), { errcode: 'M_USER_LOCKED' })
    // What needs no token says who it is as before.
    assert.equal((await ann.get('/_matrix/client/versions')).status, 200)
    accepted(await ann.post('/logout'))
    refused(await ann.get('/account/whoami'), 401, 'M_UNKNOWN_TOKEN')
    assert.deepEqual((await other.graphql('mutation { logoutAll }')).data, { logoutAll: true })
    refused(await other.get('/account/whoami'), 401, 'M_UNKNOWN_TOKEN')
  })

  test('what waits for a person ends with M_USER_LOCKED when the person is locked, and nobody else notices', {
    timeout: 30_000,
  }, async () => {
    await using server = await start()
    const [ann, bob] = [await server.register('ann'), await server.register('bob')]
    const poll = async (client: Client) => {
      const { next_batch: since } = await client.sync()
      return client.get(`/sync?since=${since}&timeout=60000`)
    }
    const [annPoll, bobPoll] = [poll(ann), poll(bob)]
    const socket = ending(new Subscription(server.url, ann.token, inbox, {}))
    const events = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ann.token}`, 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ query: inbox }),
    })
    await sleep(300)
    await setLocked(server, ann, true)
    lockedOut(await annPoll)
    assert.equal(await socket, 'M_USER_LOCKED')
    assert.match(await events.text(), /M_USER_LOCKED.*soft_logout|soft_logout.*M_USER_LOCKED/)
    await bob.createRoom()
    assert.equal((await bobPoll).status, 200)
  })

  test('nobody logs in as a locked person in any way, nor renews a token; a wrong password learns nothing of it', async () => {
    await using server = await start({ config: { jwtSecret } })
    const ann = await server.register('ann', testPassword)
    const { body: renewable } = await logIn(server, 'ann', { refresh_token: true })
    const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'ann' }, password: testPassword }
    const { session } = (await ann.post('/_matrix/client/v1/login/get_token')).body
    const { login_token } = accepted(await ann.post('/_matrix/client/v1/login/get_token', { auth: { ...auth, session } }))
    const key = new TextEncoder().encode(jwtSecret)
    const jwt = await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject('ann').sign(key)
    await setLocked(server, ann, true)
    const ways = {
      password: () => logIn(server, 'ann'),
      token: () => server.request('POST', '/login', { type: 'm.login.token', token: login_token }),
      jwt: () => server.request('POST', '/login', { type: 'org.matrix.login.jwt', token: jwt }),
      refresh: () => server.request('POST', '/refresh', { refresh_token: renewable.refresh_token }),
    }
    for (const [name, way] of Object.entries(ways)) lockedOut(await way(), name)
    refused(await logIn(server, 'ann', { password: 'wrong' }), 403, 'M_FORBIDDEN')
    const login = (password: string) => ({ input: { type: 'm.login.password', user: 'ann', password } })
    const document = 'mutation ($input: LoginInput!) { login(input: $input) { userId } }'
    assert.equal(await errcodeOf(server.client(''), document, login(testPassword)), 'M_USER_LOCKED')
    // The login token was not used up by the refusal.
    await setLocked(server, ann, false)
    for (const way of Object.values(ways)) accepted(await way())
  })

  test('unlocking gives everything back: the same tokens, rooms, keys, and what was sent meanwhile; restarts change nothing', async () => {
    await using server = await start()
    const ann = await server.register('ann')
    const keys = makeDeviceKeys(ann.userId, ann.deviceId, signingKey())
    accepted(await ann.post('/keys/upload', { device_keys: keys }))
    const room = await server.owner.createRoom({ invite: [ann.userId] })
    accepted(await ann.post(`/join/${encodeURIComponent(room)}`))
    const { next_batch: since } = await ann.sync()
    await setLocked(server, ann, true)
    await server.restart()
    lockedOut(await ann.get(`/sync?since=${since}`))
    assert.deepEqual(accepted(await server.administrator.get(addressOf('lock', ann.userId))), { locked: true })
    const known = accepted(await server.owner.post('/keys/query', { device_keys: { [ann.userId]: [] } })).device_keys
    assert.deepEqual(known[ann.userId][ann.deviceId].keys, (keys as unknown as { keys: object }).keys)
    const sent = await server.owner.send(room, 'while you were away')
    accepted(await server.owner.put('/sendToDevice/m.room_key/1', { messages: { [ann.userId]: { '*': { key: 1 } } } }))
    await setLocked(server, ann, false)
    const missed = await ann.sync(`since=${since}`)
    assert.deepEqual(
      missed.rooms.join[room].timeline.events.map((event: { event_id: string }) => event.event_id),
      [sent],
    )
    assert.deepEqual(
      missed.to_device.events.map((event: { content: object }) => event.content),
      [{ key: 1 }],
    )
    await server.restart()
    await ann.send(room, 'back again')
  })

  test('an appservice may not act as a locked owner, and goes on with everything else', async () => {
    await using server = await start()
    const bridge = await registerBridge(server, 'courier')
    const whoami = () => bridge.as(server.owner.userId).request('GET', '/account/whoami')
    accepted(await whoami())
    await setLocked(server, server.owner, true)
    lockedOut(await whoami())
    const query = { query: '{ whoami { userId } }' }
    const graphql = await bridge
      .as(server.owner.userId)
      .request('POST', '/graphql', query, { headers: { 'content-type': 'application/json' } })
    assert.equal(graphql.body.errors[0].extensions.errcode, 'M_USER_LOCKED')
    const { room_id } = accepted(await bridge.as(bridge.botId).request('POST', '/createRoom', { invite: [server.owner.userId] }))
    accepted(
      await bridge.as(bridge.ghost(1)).request('PUT', `/profile/${encodeURIComponent(bridge.ghost(1))}/displayname`, { displayname: 'x' }),
    )
    await setLocked(server, server.owner, false)
    accepted(await bridge.as(server.owner.userId).request('POST', `/join/${encodeURIComponent(room_id)}`, {}))
  })
})
