/** Renaming and deleting one's own devices, and what must be proven first. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { SignJWT } from 'jose'
import { readConfig } from '../../src/config.ts'
import { type Client, startServer, type TestServer, testPassword } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'

const jwtSecret = 'a secret shared with the one who signs'
let server: TestServer
let now = 1_750_000_000_000

before(async () => {
  server = await startServer({ config: { jwtSecret, rateLimits: readConfig({}).rateLimits }, ports: { now: () => now } })
})
after(() => server[Symbol.asyncDispose]())
// What was counted against earlier tests is forgotten.
beforeEach(() => {
  now += 3_600_000
})

const passwordOf = (client: Client) => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user: client.userId },
  password: testPassword,
})

/** One more session of the same person. */
async function another(client: Client, deviceId: string): Promise<Client> {
  const { body } = await server.request('POST', '/login', { ...passwordOf(client), device_id: deviceId })
  return server.client(body.access_token, client.userId)
}

function jwtFor(client: Client): Promise<string> {
  const localpart = client.userId.slice(1).split(':')[0]!
  return new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject(localpart).sign(new TextEncoder().encode(jwtSecret))
}

function refused({ status, body }: { status: number; body: { errcode?: string } }, ...wanted: [number, string]): void {
  assert.deepEqual([status, body.errcode], wanted)
}

const devicesOf = async (client: Client): Promise<string[]> =>
  (await client.get('/devices')).body.devices.map(({ device_id }: { device_id: string }) => device_id)

test('a device is renamed by its user only, and keeps its name when none is given', async () => {
  const [ann, bob] = [await server.register('ann1', testPassword), await server.register('bob1', testPassword)]
  const path = `/devices/${ann.deviceId}`
  const name = async () => (await ann.get(path)).body.display_name
  const renamed = await ann.put(path, { display_name: 'my phone' })
  assert.deepEqual([renamed.status, renamed.body], [200, {}])
  assert.equal(await name(), 'my phone')
  assert.equal((await ann.put(path, {})).status, 200)
  assert.equal(await name(), 'my phone')
  refused(await bob.put(path, { display_name: 'mine' }), 404, 'M_NOT_FOUND')
  refused(await ann.put('/devices/UNKNOWN', { display_name: 'mine' }), 404, 'M_NOT_FOUND')
  assert.equal(await name(), 'my phone')
  assert.equal((await ann.put(path, { display_name: '' })).status, 200)
  assert.equal(await name(), undefined)
})

test('the name of a device has at most 255 characters', async () => {
  const ann = await server.register('ann2', testPassword)
  const path = `/devices/${ann.deviceId}`
  assert.equal((await ann.put(path, { display_name: '🐦'.repeat(255) })).status, 200)
  refused(await ann.put(path, { display_name: '🐦'.repeat(256) }), 400, 'M_INVALID_PARAM')
  assert.equal((await ann.get(path)).body.display_name, '🐦'.repeat(255))
})

test('a device that logs in again keeps its name', async () => {
  const ann = await server.register('ann3', testPassword)
  await another(ann, 'PHONE')
  await ann.put('/devices/PHONE', { display_name: 'my phone' })
  await server.request('POST', '/login', { ...passwordOf(ann), device_id: 'PHONE', initial_device_display_name: 'another name' })
  assert.equal((await ann.get('/devices/PHONE')).body.display_name, 'my phone')
})

test('a device is deleted when the password was said, and its session ends', async () => {
  const ann = await server.register('ann4', testPassword)
  const phone = await another(ann, 'PHONE')
  const asked = await ann.request('DELETE', '/devices/PHONE')
  assert.deepEqual([asked.status, asked.body.errcode, asked.body.flows], [401, undefined, [{ stages: ['m.login.password'] }]])
  const { session } = asked.body
  refused(await ann.request('DELETE', '/devices/PHONE', { auth: { ...passwordOf(ann), password: 'no', session } }), 401, 'M_FORBIDDEN')
  assert.equal((await phone.get('/account/whoami')).status, 200)
  const deleted = await ann.request('DELETE', '/devices/PHONE', { auth: { ...passwordOf(ann), session } })
  assert.deepEqual([deleted.status, deleted.body], [200, {}])
  refused(await phone.get('/account/whoami'), 401, 'M_UNKNOWN_TOKEN')
  assert.deepEqual(await devicesOf(ann), [ann.deviceId])
})

test('deleting what is not there is no mistake', async () => {
  const ann = await server.register('ann5', testPassword)
  const auth = passwordOf(ann)
  assert.equal((await ann.request('DELETE', '/devices/UNKNOWN', { auth })).status, 200)
  assert.equal((await ann.post('/delete_devices', { devices: ['UNKNOWN', ''], auth })).status, 200)
  assert.deepEqual(await devicesOf(ann), [ann.deviceId])
})

test('many devices are deleted at once, the own one too, and nobody else’s', async () => {
  const [ann, bob] = [await server.register('ann6', testPassword), await server.register('bob6', testPassword)]
  const sessions = [await another(ann, 'ONE'), await another(ann, 'TWO'), ann]
  const kept = await another(ann, 'KEPT')
  await another(bob, 'ONE')
  const devices = ['ONE', 'TWO', ann.deviceId, bob.deviceId]
  const asked = await ann.post('/delete_devices', { devices })
  assert.equal(asked.status, 401)
  // The rest was said before.
  assert.equal((await ann.post('/delete_devices', { auth: { ...passwordOf(ann), session: asked.body.session } })).status, 200)
  for (const session of sessions) refused(await session.get('/account/whoami'), 401, 'M_UNKNOWN_TOKEN')
  assert.deepEqual(await devicesOf(kept), ['KEPT'])
  assert.deepEqual((await devicesOf(bob)).sort(), [bob.deviceId, 'ONE'].sort())
})

test('the password is good for the devices it was asked for, once, and for nothing else', async () => {
  const ann = await server.register('ann7', testPassword)
  for (const deviceId of ['ONE', 'TWO']) await another(ann, deviceId)
  refused(await ann.post('/delete_devices', {}), 400, 'M_MISSING_PARAM')
  const begin = async () => (await ann.post('/delete_devices', { devices: ['ONE'] })).body.session
  const auth = { ...passwordOf(ann), session: await begin() }
  refused(await ann.post('/delete_devices', { devices: ['TWO'], auth }), 400, 'M_INVALID_PARAM')
  refused(await ann.post('/account/password', { new_password: testPassword, auth: { ...auth, session: await begin() } }), 400, 'M_UNKNOWN')
  const other = (await ann.post('/account/password', { new_password: testPassword })).body.session
  refused(await ann.post('/delete_devices', { devices: ['ONE'], auth: { ...auth, session: other } }), 400, 'M_UNKNOWN')
  const good = { ...auth, session: await begin() }
  assert.deepEqual((await devicesOf(ann)).sort(), [ann.deviceId, 'ONE', 'TWO'].sort())
  assert.equal((await ann.post('/delete_devices', { devices: ['ONE'], auth: good })).status, 200)
  refused(await ann.post('/delete_devices', { devices: ['ONE'], auth: good }), 400, 'M_UNKNOWN')
})

test('the session of somebody else’s request proves nothing', async () => {
  const [ann, bob] = [await server.register('ann8', testPassword), await server.register('bob8', testPassword)]
  const { session } = (await ann.post('/delete_devices', { devices: [bob.deviceId] })).body
  refused(await bob.post('/delete_devices', { auth: { ...passwordOf(bob), session } }), 400, 'M_UNKNOWN')
  refused(await ann.post('/delete_devices', { auth: { ...passwordOf(bob), session } }), 401, 'M_FORBIDDEN')
})

test('who has no password proves it with a JWT of their own', async () => {
  const [jane, joan] = [await server.register('jane'), await server.register('joan')]
  const asked = await jane.post('/delete_devices', { devices: ['GONE'] })
  assert.deepEqual([asked.status, asked.body.flows], [401, [{ stages: ['org.matrix.login.jwt'] }]])
  const auth = { type: 'org.matrix.login.jwt', session: asked.body.session }
  refused(await jane.post('/delete_devices', { auth: { ...auth, token: await jwtFor(joan) } }), 401, 'M_FORBIDDEN')
  refused(await jane.post('/delete_devices', { auth: { ...auth, token: 'forged' } }), 401, 'M_FORBIDDEN')
  refused(await jane.post('/delete_devices', { auth: { ...passwordOf(jane), session: asked.body.session } }), 401, 'M_UNRECOGNIZED')
  assert.equal((await jane.post('/delete_devices', { auth: { ...auth, token: await jwtFor(jane) } })).status, 200)
})

test('who has a password does not get by with a JWT', async () => {
  const ann = await server.register('ann9', testPassword)
  const { session } = (await ann.post('/delete_devices', { devices: ['GONE'] })).body
  const auth = { type: 'org.matrix.login.jwt', session, token: await jwtFor(ann) }
  refused(await ann.post('/delete_devices', { auth }), 401, 'M_UNRECOGNIZED')
})

test('who has no password where no JWT logs in is told to have one set', async () => {
  await using plain = await startServer()
  const jane = await plain.register('jane')
  refused(await jane.post('/delete_devices', { devices: [jane.deviceId] }), 403, 'M_FORBIDDEN')
  assert.equal((await jane.get('/account/whoami')).status, 200)
})

test('guesses at the password are limited', async () => {
  const ann = await server.register('ann10', testPassword)
  const guess = (password: string) => ann.post('/delete_devices', { devices: ['GONE'], auth: { ...passwordOf(ann), password } })
  let reply = await guess('no')
  for (let guesses = 0; reply.status === 401 && guesses < 30; guesses++) reply = await guess('no')
  refused(reply, 429, 'M_LIMIT_EXCEEDED')
  refused(await guess(testPassword), 429, 'M_LIMIT_EXCEEDED')
  now += reply.body.retry_after_ms
  assert.equal((await guess(testPassword)).status, 200)
})

test('GraphQL renames and deletes under the same rules', async () => {
  const ann = await server.register('ann11', testPassword)
  const phone = await another(ann, 'PHONE')
  const rename = 'mutation($id: ID!, $name: String) { updateDevice(deviceId: $id, displayName: $name) { created device { displayName } } }'
  const renamed = await ann.graphql(rename, { id: 'PHONE', name: 'my phone' })
  assert.deepEqual(renamed.data.updateDevice, { created: false, device: { displayName: 'my phone' } })
  assert.equal((await ann.graphql(rename, { id: 'UNKNOWN', name: 'x' })).errors[0].extensions.errcode, 'M_NOT_FOUND')
  const remove = 'mutation($ids: [ID!], $auth: JsonObject) { deleteDevices(deviceIds: $ids, auth: $auth) }'
  const asked = (await ann.graphql(remove, { ids: ['PHONE'] })).errors[0].extensions
  assert.deepEqual([asked.errcode, asked.flows], [undefined, [{ stages: ['m.login.password'] }]])
  const { data } = await ann.graphql(remove, { auth: { ...passwordOf(ann), session: asked.session } })
  assert.equal(data.deleteDevices, true)
  assert.equal((await phone.get('/account/whoami')).status, 401)
  const { viewer } = (await ann.graphql('{ viewer { deviceId devices { deviceId } } }')).data
  assert.deepEqual(viewer, { deviceId: ann.deviceId, devices: [{ deviceId: ann.deviceId }] })
})

test('a session that a bridge began is never asked for a password, and makes no other', async () => {
  const bridge = await registerBridge(server, 'sessions')
  const as = { headers: { authorization: `Bearer ${bridge.as_token}` } }
  const body = { type: 'm.login.application_service', identifier: { type: 'm.id.user', user: bridge.botId }, device_id: 'BOT' }
  const bot = server.client((await server.request('POST', '/login', body, as)).body.access_token)
  refused(await bot.put('/devices/NEW', {}), 404, 'M_NOT_FOUND')
  refused(await bot.post('/_matrix/client/v1/login/get_token'), 403, 'M_FORBIDDEN')
  refused(await bot.post('/account/password', { new_password: testPassword }), 403, 'M_FORBIDDEN')
  assert.equal((await bot.request('DELETE', '/devices/BOT')).status, 200)
  refused(await bot.get('/account/whoami'), 401, 'M_UNKNOWN_TOKEN')
})
