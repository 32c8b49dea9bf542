import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createRegistrationToken } from '../../src/users/registration-tokens.ts'
import { startServer, type TestServer, testPassword } from '../rig/server.ts'
import { registerBridge, type TestBridge } from './bridge.ts'

function register(test: TestServer, body: object, query = '') {
  return test.request('POST', `/register${query}`, body)
}

async function administrator(test: TestServer) {
  return (await test.server.host.authenticate(test.administrator.token, null)).actor
}

describe('registration that is off', () => {
  let test: TestServer
  before(async () => {
    test = await startServer()
  })
  after(() => test[Symbol.asyncDispose]())

  it('is refused, guests too', async () => {
    const person = await register(test, { username: 'new', password: testPassword })
    assert.deepEqual([person.status, person.body.errcode], [403, 'M_FORBIDDEN'])
    const guest = await register(test, {}, '?kind=guest')
    assert.deepEqual([guest.status, guest.body.errcode], [403, 'M_GUEST_ACCESS_FORBIDDEN'])
    assert.equal((await test.request('GET', '/register/available?username=new')).status, 403)
    const validity = await test.request('GET', '/_matrix/client/v1/register/m.login.registration_token/validity?token=x')
    assert.deepEqual([validity.status, validity.body.errcode], [403, 'M_FORBIDDEN'])
  })
})

describe('open registration', () => {
  let test: TestServer
  let bridge: TestBridge
  before(async () => {
    test = await startServer({ config: { registration: 'open' } })
    bridge = await registerBridge(test, 'opened')
  })
  after(() => test[Symbol.asyncDispose]())

  it('asks for the dummy stage without an errcode, then makes the account and logs in', async () => {
    const asked = await register(test, { username: 'carol', password: testPassword, device_id: 'FIRST' })
    assert.equal(asked.status, 401)
    assert.deepEqual(asked.body.flows, [{ stages: ['m.login.dummy'] }])
    assert.deepEqual(asked.body.params, {})
    assert.equal('errcode' in asked.body, false)
    // `auth` alone: the rest stands as in the first request.
    const made = await register(test, { auth: { type: 'm.login.dummy', session: asked.body.session } })
    assert.equal(made.status, 200)
    assert.deepEqual([made.body.user_id, made.body.device_id], ['@carol:example.com', 'FIRST'])
    assert.equal((await test.client(made.body.access_token).get('/account/whoami')).status, 200)
    const again = await register(test, { auth: { type: 'm.login.dummy', session: asked.body.session } })
    assert.deepEqual([again.status, again.body.errcode], [400, 'M_UNKNOWN'])
  })

  it('in one step with inhibit_login makes the account and no session', async () => {
    const { body } = await register(test, {
      username: 'dave',
      password: testPassword,
      inhibit_login: true,
      auth: { type: 'm.login.dummy' },
    })
    assert.deepEqual(body, { user_id: '@dave:example.com' })
  })

  it('makes up a name where none is given', async () => {
    const { body } = await register(test, { password: testPassword, auth: { type: 'm.login.dummy' } })
    assert.match(body.user_id, /^@[a-z0-9-]+:example\.com$/)
  })

  it("refuses names that are taken, wrong or a bridge's, before it asks for anything", async () => {
    const errcode = async (username: string) => (await register(test, { username, password: testPassword })).body.errcode
    assert.equal(await errcode('owner'), 'M_USER_IN_USE')
    assert.equal(await errcode('Not A Name'), 'M_INVALID_USERNAME')
    assert.equal(await errcode(bridge.ghost(1).slice(1).split(':')[0]!), 'M_EXCLUSIVE')
    const available = (username: string) => test.request('GET', `/register/available?username=${encodeURIComponent(username)}`)
    assert.deepEqual((await available('erin')).body, { available: true })
    assert.deepEqual([(await available('owner')).status, (await available('owner')).body.errcode], [400, 'M_USER_IN_USE'])
  })

  it('refuses a weak password, and one that is missing', async () => {
    const weak = await register(test, { username: 'weak', password: '1234567', auth: { type: 'm.login.dummy' } })
    assert.deepEqual([weak.status, weak.body.errcode], [400, 'M_WEAK_PASSWORD'])
    const none = await register(test, { username: 'weak', auth: { type: 'm.login.dummy' } })
    assert.deepEqual([none.status, none.body.errcode], [400, 'M_MISSING_PARAM'])
  })

  it('gives one name to one of many who ask at once', async () => {
    const replies = await Promise.all(
      Array.from({ length: 8 }, () => register(test, { username: 'frank', password: testPassword, auth: { type: 'm.login.dummy' } })),
    )
    assert.equal(replies.filter((reply) => reply.status === 200).length, 1)
    assert.ok(replies.every((reply) => reply.status === 200 || reply.body.errcode === 'M_USER_IN_USE'))
  })

  it('lets an appservice register its ghosts, exactly', async () => {
    const headers = { authorization: `Bearer ${bridge.as_token}` }
    const ask = (username: string) =>
      test.request('POST', '/register', { type: 'm.login.application_service', username, inhibit_login: true }, { headers })
    const localpart = bridge.ghost(7).slice(1).split(':')[0]!
    assert.deepEqual((await ask(localpart)).body, { user_id: bridge.ghost(7) })
    const again = await ask(localpart)
    assert.deepEqual([again.status, again.body.errcode], [400, 'M_USER_IN_USE'])
    assert.equal((await ask('stranger')).body.errcode, 'M_EXCLUSIVE')
    const anonymous = await register(test, { type: 'm.login.application_service', username: localpart })
    assert.deepEqual([anonymous.status, anonymous.body.errcode], [401, 'M_MISSING_TOKEN'])
  })
})

describe('registration by token', () => {
  let test: TestServer
  let now = 1_750_000_000_000
  before(async () => {
    test = await startServer({ config: { registration: 'token' }, ports: { now: () => now } })
  })
  after(() => test[Symbol.asyncDispose]())

  it('takes a token of the administrator as often as it allows', async () => {
    const instance = await test.server.host.defaultInstance()
    const { token } = await createRegistrationToken(instance, await administrator(test), { usesAllowed: 1, expiresAt: now + 1_000 })
    const path = `/_matrix/client/v1/register/m.login.registration_token/validity?token=${token}`
    assert.deepEqual((await test.request('GET', path)).body, { valid: true })
    const asked = await register(test, { username: 'gina', password: testPassword })
    assert.deepEqual(asked.body.flows, [{ stages: ['m.login.registration_token'] }])
    const auth = { type: 'm.login.registration_token', session: asked.body.session }
    const wrong = await register(test, { auth: { ...auth, token: 'guess' } })
    assert.deepEqual([wrong.status, wrong.body.errcode, wrong.body.completed], [401, 'M_FORBIDDEN', []])
    const made = await register(test, { auth: { ...auth, token } })
    assert.equal(made.body.user_id, '@gina:example.com')
    assert.deepEqual((await test.request('GET', path)).body, { valid: false })
    const second = await register(test, { username: 'hugo', password: testPassword, auth: { type: auth.type, token } })
    assert.equal(second.status, 401)
  })

  it('takes no expired token', async () => {
    const instance = await test.server.host.defaultInstance()
    const { token } = await createRegistrationToken(instance, await administrator(test), { expiresAt: now + 1_000 })
    now += 2_000
    const late = await register(test, { username: 'ivan', password: testPassword, auth: { type: 'm.login.registration_token', token } })
    assert.equal(late.status, 401)
  })

  it('has tokens made by administrators only', async () => {
    const instance = await test.server.host.defaultInstance()
    const { actor } = await test.server.host.authenticate(test.owner.token, null)
    await assert.rejects(createRegistrationToken(instance, { ...actor, admin: false }, {}), { errcode: 'M_FORBIDDEN' })
    await assert.rejects(createRegistrationToken(instance, { ...actor, admin: true }, { token: 'not a token' }), {
      errcode: 'M_INVALID_PARAM',
    })
  })

  it('has one use of a token for one of many who ask at once', async () => {
    const instance = await test.server.host.defaultInstance()
    const { token } = await createRegistrationToken(instance, await administrator(test), { usesAllowed: 1 })
    const replies = await Promise.all(
      Array.from({ length: 6 }, (_, n) =>
        register(test, { username: `race${n}`, password: testPassword, auth: { type: 'm.login.registration_token', token } }),
      ),
    )
    assert.equal(replies.filter((reply) => reply.status === 200).length, 1)
  })
})
