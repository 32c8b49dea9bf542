import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { SignJWT } from 'jose'
import { readConfig } from '../../src/config.ts'
import { registerPerson } from '../../src/users/accounts.ts'
import { hashPassword } from '../../src/users/passwords.ts'
import { startServer, type TestServer, testPassword } from '../rig/server.ts'
import { registerBridge } from './bridge.ts'

let now = 1_750_000_000_000
const jwtSecret = 'a secret shared with the one who signs'
let test: TestServer

before(async () => {
  test = await startServer({
    config: { jwtSecret, publicUrl: 'https://matrix.example.com', rateLimits: readConfig({}).rateLimits },
    ports: { now: () => now },
  })
  await registerPerson(await test.server.host.defaultInstance(), { username: 'ann', password: testPassword, inhibitLogin: true })
})
after(() => test[Symbol.asyncDispose]())

/** Later, so that what was counted against earlier tests is forgotten. */
function rest(): void {
  now += 3_600_000
}

function logIn(body: object, headers: Readonly<Record<string, string>> = {}) {
  return test.request('POST', '/login', body, { headers })
}

const asAnn = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'ann' }, password: testPassword }

describe('login', () => {
  it('keeps the beginning of a very long name of a device', async () => {
    const { body } = await logIn({ ...asAnn, initial_device_display_name: '🐦'.repeat(10_000) })
    const devices = await test.request('GET', '/devices', undefined, { token: body.access_token })
    const [device] = devices.body.devices.filter((each: { device_id: string }) => each.device_id === body.device_id)
    assert.equal(device.display_name, '🐦'.repeat(255))
  })

  it('offers the ways that work', async () => {
    const { body } = await test.request('GET', '/login')
    assert.deepEqual(
      body.flows.map((flow: { type: string }) => flow.type),
      ['m.login.password', 'm.login.application_service', 'm.login.token', 'org.matrix.login.jwt'],
    )
  })

  for (const [what, user] of Object.entries({ 'a localpart': 'ann', 'a full user id': '@ann:example.com' })) {
    it(`takes ${what} as identifier, and answers a token that works`, async () => {
      const { status, body } = await logIn({ ...asAnn, identifier: { type: 'm.id.user', user } })
      assert.equal(status, 200)
      assert.equal(body.user_id, '@ann:example.com')
      assert.match(body.access_token, /^syt_/)
      const whoami = await test.client(body.access_token).get('/account/whoami')
      assert.deepEqual(whoami.body, { user_id: '@ann:example.com', device_id: body.device_id, is_guest: false })
    })
  }

  it('takes the older `user` beside the password', async () => {
    assert.equal((await logIn({ type: 'm.login.password', user: 'ann', password: testPassword })).status, 200)
  })

  it('tells clients the public address', async () => {
    const { body } = await logIn(asAnn)
    assert.deepEqual(body.well_known, { 'm.homeserver': { base_url: 'https://matrix.example.com' } })
    assert.deepEqual((await test.request('GET', '/.well-known/matrix/client')).body, body.well_known)
  })

  it('refuses a wrong password and an unknown name alike', async () => {
    const wrong = await logIn({ ...asAnn, password: 'not it' })
    const unknown = await logIn({ ...asAnn, identifier: { type: 'm.id.user', user: 'nobody' } })
    assert.equal(wrong.status, 403)
    assert.deepEqual(wrong.body, unknown.body)
    assert.equal(wrong.body.errcode, 'M_FORBIDDEN')
  })

  it('refuses an e-mail address, an empty body and an unknown type', async () => {
    const mail = await logIn({ ...asAnn, identifier: { type: 'm.id.thirdparty', medium: 'email', address: 'ann@example.com' } })
    assert.deepEqual([mail.status, mail.body.errcode], [403, 'M_FORBIDDEN'])
    const empty = await logIn({})
    assert.deepEqual([empty.status, empty.body.errcode], [400, 'M_MISSING_PARAM'])
    const unknown = await logIn({ type: 'm.login.sso' })
    assert.deepEqual([unknown.status, unknown.body.errcode], [400, 'M_UNKNOWN'])
  })

  it('with a known device_id ends the old token of that device', async () => {
    const first = await logIn({ ...asAnn, device_id: 'TABLET' })
    const second = await logIn({ ...asAnn, device_id: 'TABLET' })
    assert.equal(second.body.device_id, 'TABLET')
    const old = await test.client(first.body.access_token).get('/account/whoami')
    assert.deepEqual([old.status, old.body.errcode], [401, 'M_UNKNOWN_TOKEN'])
    assert.equal((await test.client(second.body.access_token).get('/account/whoami')).status, 200)
  })

  it('with a JWT makes the account that it names', async () => {
    const key = new TextEncoder().encode(jwtSecret)
    const token = await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject('jane').sign(key)
    const { body } = await logIn({ type: 'org.matrix.login.jwt', token })
    assert.equal(body.user_id, '@jane:example.com')
    const forged = await logIn({ type: 'org.matrix.login.jwt', token: `${token.slice(0, -4)}AAAA` })
    assert.deepEqual([forged.status, forged.body.errcode], [403, 'M_FORBIDDEN'])
  })
})

describe('an appservice logs in', () => {
  it('as its bot and as a ghost of its namespace, and as nobody else', async () => {
    const bridge = await registerBridge(test, 'logins')
    const headers = { authorization: `Bearer ${bridge.as_token}` }
    const type = 'm.login.application_service'
    const bot = await logIn({ type, identifier: { type: 'm.id.user', user: bridge.sender_localpart } }, headers)
    assert.equal(bot.body.user_id, bridge.botId)
    const ghost = await logIn({ type, identifier: { type: 'm.id.user', user: bridge.ghost(1) } }, headers)
    assert.equal(ghost.body.user_id, bridge.ghost(1))
    const ann = await logIn({ type, identifier: { type: 'm.id.user', user: '@ann:example.com' } }, headers)
    assert.deepEqual([ann.status, ann.body.errcode], [400, 'M_EXCLUSIVE'])
  })

  it('not without its token', async () => {
    const { status, body } = await logIn({ type: 'm.login.application_service', identifier: { type: 'm.id.user', user: 'x' } })
    assert.deepEqual([status, body.errcode], [401, 'M_MISSING_TOKEN'])
  })
})

describe('refresh tokens', () => {
  it('come only where they were asked for', async () => {
    const { body } = await logIn(asAnn)
    assert.equal('refresh_token' in body, false)
    assert.equal('expires_in_ms' in body, false)
  })

  it('give a new pair; the old one ends when the new one is used', async () => {
    const first = (await logIn({ ...asAnn, refresh_token: true })).body
    assert.ok(first.expires_in_ms > 0)
    const second = (await test.request('POST', '/refresh', { refresh_token: first.refresh_token })).body
    assert.equal((await test.client(first.access_token).get('/account/whoami')).status, 200)
    assert.equal((await test.client(second.access_token).get('/account/whoami')).status, 200)
    await test.client(second.access_token).get('/account/whoami')
    const old = await test.client(first.access_token).get('/account/whoami')
    assert.deepEqual([old.status, old.body.errcode], [401, 'M_UNKNOWN_TOKEN'])
  })

  it('refuse what they do not know', async () => {
    const { status, body } = await test.request('POST', '/refresh', { refresh_token: 'made up' })
    assert.deepEqual([status, body.errcode], [401, 'M_UNKNOWN_TOKEN'])
  })

  it('leave an expired access token soft', async () => {
    const { body } = await logIn({ ...asAnn, refresh_token: true })
    rest()
    rest()
    const expired = await test.client(body.access_token).get('/account/whoami')
    assert.deepEqual([expired.status, expired.body.errcode, expired.body.soft_logout], [401, 'M_UNKNOWN_TOKEN', true])
  })
})

describe('login attempts', () => {
  it('on one user are limited, and a right password counts for nothing', async () => {
    rest()
    for (let i = 0; i < 15; i++) {
      assert.equal((await logIn(asAnn)).status, 200)
      rest()
    }
    let refused = await logIn({ ...asAnn, password: 'guess' })
    for (let i = 0; refused.status === 403 && i < 20; i++) refused = await logIn({ ...asAnn, password: 'guess' })
    assert.deepEqual([refused.status, refused.body.errcode], [429, 'M_LIMIT_EXCEEDED'])
    assert.ok(refused.body.retry_after_ms > 0)
    assert.ok(Number(refused.headers.get('retry-after')) >= 1)
    now += refused.body.retry_after_ms
    assert.equal((await logIn(asAnn)).status, 200)
  })
})

describe('a login token', () => {
  it('is made with the password, works once, and not after two minutes', async () => {
    rest()
    const session = test.client((await logIn(asAnn)).body.access_token)
    const path = '/_matrix/client/v1/login/get_token'
    const asked = await session.request('POST', path, {})
    assert.equal(asked.status, 401)
    assert.equal('errcode' in asked.body, false)
    assert.deepEqual(asked.body.flows, [{ stages: ['m.login.password'] }])
    const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'ann' }, session: asked.body.session }
    const wrong = await session.request('POST', path, { auth: { ...auth, password: 'no' } })
    assert.deepEqual([wrong.status, wrong.body.errcode], [401, 'M_FORBIDDEN'])
    const { body } = await session.request('POST', path, { auth: { ...auth, password: testPassword } })
    const type = 'm.login.token'
    assert.equal((await logIn({ type, token: body.login_token })).body.user_id, '@ann:example.com')
    assert.equal((await logIn({ type, token: body.login_token })).status, 403)
    const late = await session.request('POST', path, { auth: { ...auth, session: undefined, password: testPassword } })
    now += late.body.expires_in_ms + 1
    assert.equal((await logIn({ type, token: late.body.login_token })).status, 403)
  })

  it("is not made with another user's password", async () => {
    rest()
    const instance = await test.server.host.defaultInstance()
    await registerPerson(instance, { username: 'bob', password: 'another good password', inhibitLogin: true })
    const session = test.client((await logIn(asAnn)).body.access_token)
    const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'bob' }, password: 'another good password' }
    const { status, body } = await session.request('POST', '/_matrix/client/v1/login/get_token', { auth })
    assert.deepEqual([status, body.errcode], [401, 'M_FORBIDDEN'])
  })
})

describe('a new password', () => {
  const path = '/account/password'
  const next = 'another good password'
  async function person(name: string) {
    rest()
    await registerPerson(await test.server.host.defaultInstance(), { username: name, password: testPassword, inhibitLogin: true })
    const as = { ...asAnn, identifier: { type: 'm.id.user', user: name } }
    const session = async () => test.client((await logIn(as)).body.access_token)
    return { as, session, auth: { type: 'm.login.password', identifier: as.identifier, password: testPassword } }
  }

  it('takes the old one, and ends all sessions but the one that asks', async () => {
    const { as, session, auth } = await person('nora')
    const [own, other] = [await session(), await session()]
    const asked = await own.post(path, { new_password: next })
    assert.deepEqual([asked.status, asked.body.errcode, asked.body.flows], [401, undefined, [{ stages: ['m.login.password'] }]])
    const wrong = await own.post(path, { new_password: next, auth: { ...auth, password: 'no', session: asked.body.session } })
    assert.deepEqual([wrong.status, wrong.body.errcode], [401, 'M_FORBIDDEN'])
    assert.equal((await logIn(as)).status, 200)
    // The rest was said before.
    const done = await own.post(path, { auth: { ...auth, session: asked.body.session } })
    assert.deepEqual([done.status, done.body], [200, {}])
    assert.equal((await logIn(as)).status, 403)
    assert.equal((await logIn({ ...as, password: next })).status, 200)
    assert.equal((await own.get('/account/whoami')).status, 200)
    assert.equal((await other.get('/account/whoami')).status, 401)
  })

  it('leaves the other sessions where it was asked to', async () => {
    const { session, auth } = await person('nils')
    const [own, other] = [await session(), await session()]
    assert.equal((await own.post(path, { new_password: next, logout_devices: false, auth })).status, 200)
    assert.equal((await other.get('/account/whoami')).status, 200)
  })

  it('is refused when it is weak or missing, with the password of somebody else, and to appservices', async () => {
    const { session, auth } = await person('nina')
    const own = await session()
    const weak = await own.post(path, { new_password: 'short', auth })
    assert.deepEqual([weak.status, weak.body.errcode], [400, 'M_WEAK_PASSWORD'])
    const missing = await own.post(path, { auth })
    assert.deepEqual([missing.status, missing.body.errcode], [400, 'M_MISSING_PARAM'])
    const other = await own.post(path, { new_password: next, auth: { ...auth, identifier: asAnn.identifier } })
    assert.deepEqual([other.status, other.body.errcode], [401, 'M_FORBIDDEN'])
    const bridge = await registerBridge(test, 'passwords')
    const bot = await test.client(bridge.as_token).post(path, { new_password: next })
    assert.deepEqual([bot.status, bot.body.errcode], [403, 'M_FORBIDDEN'])
  })
})

describe('sessions', () => {
  it('are listed, and end with logout', async () => {
    rest()
    const session = (await logIn({ ...asAnn, device_id: 'PHONE', initial_device_display_name: 'my phone' })).body
    const client = test.client(session.access_token)
    const { body } = await client.get('/devices')
    const phone = body.devices.find((device: { device_id: string }) => device.device_id === 'PHONE')
    assert.equal(phone.display_name, 'my phone')
    assert.deepEqual((await client.get('/devices/PHONE')).body.device_id, 'PHONE')
    assert.equal((await client.get('/devices/NONE')).body.errcode, 'M_NOT_FOUND')
    assert.deepEqual((await client.post('/logout')).body, {})
    assert.equal((await client.get('/account/whoami')).body.errcode, 'M_UNKNOWN_TOKEN')
    assert.equal((await client.post('/logout')).status, 401)
  })

  it('end all at once with logout/all', async () => {
    rest()
    const one = test.client((await logIn(asAnn)).body.access_token)
    const two = test.client((await logIn(asAnn)).body.access_token)
    assert.equal((await one.post('/logout/all')).status, 200)
    for (const client of [one, two]) assert.equal((await client.get('/devices')).status, 401)
    assert.equal((await one.post('/logout/all')).status, 401)
  })

  it('are no more than 100: the longest unused ends', async () => {
    rest()
    const { key } = (await (await test.server.host.defaultInstance()).storage.first('user', { userId: '@jane:example.com' }))!
    const instance = await test.server.host.defaultInstance()
    const { SignJWT: Sign } = await import('jose')
    const token = await new Sign({}).setProtectedHeader({ alg: 'HS256' }).setSubject('jane').sign(new TextEncoder().encode(jwtSecret))
    const { loginWithJwt } = await import('../../src/users/accounts.ts')
    const first = await loginWithJwt(instance, { token })
    now += 1
    const second = await loginWithJwt(instance, { token })
    now += 600_000
    // The first is in use, so the second is the longest unused.
    assert.equal((await test.client(first.accessToken).get('/account/whoami')).status, 200)
    await instance.shard.flushed(instance.key)
    for (let i = 0; i < 99; i++) {
      now += 1
      await loginWithJwt(instance, { token })
    }
    assert.equal(await instance.storage.count('device', { user: key }), 100)
    assert.equal((await test.client(first.accessToken).get('/account/whoami')).status, 200)
    assert.equal((await test.client(second.accessToken).get('/account/whoami')).status, 401)
  })
})

describe('GraphQL', () => {
  it('logs in and out like REST', async () => {
    rest()
    const query = `mutation ($input: LoginInput!) { login(input: $input) { userId accessToken refreshToken homeserverUrl } }`
    const input = { type: 'm.login.password', user: 'ann', password: testPassword }
    const json = { headers: { 'content-type': 'application/json' } }
    const { body } = await test.request('POST', '/graphql', { query, variables: { input } }, json)
    const { userId, accessToken, refreshToken, homeserverUrl } = body.data.login
    assert.deepEqual([userId, refreshToken, homeserverUrl], ['@ann:example.com', null, 'https://matrix.example.com'])
    const client = test.client(accessToken)
    const viewer = (await client.graphql('{ viewer { userId admin devices { deviceId } user { kind } } }')).data.viewer
    assert.deepEqual([viewer.userId, viewer.admin, viewer.user.kind], ['@ann:example.com', false, 'PERSON'])
    assert.equal((await client.graphql('mutation { logout }')).data.logout, true)
    const wrong = await test.request('POST', '/graphql', { query, variables: { input: { ...input, password: 'no' } } }, json)
    assert.equal(wrong.body.errors[0].extensions.errcode, 'M_FORBIDDEN')
  })
})

describe('passwords', () => {
  it('are kept as argon2id', async () => {
    assert.match(await hashPassword('x'), /^\$argon2id\$/)
  })
})
