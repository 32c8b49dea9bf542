/** Devices of bridges' users: made and used by the as_token alone (MSC4190, MSC4326), and never the owner's. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { command } from '../../src/stream/command.ts'
import { beginSession, mostDevices } from '../../src/users/sessions.ts'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
import { registerBridge, type TestBridge } from '../users/bridge.ts'

const json = { headers: { 'content-type': 'application/json' } }
let server: TestServer
let bridge: TestBridge

before(async () => {
  server = await startServer()
  bridge = await registerBridge(server, 'devices')
})
after(() => server[Symbol.asyncDispose]())

function refused({ status, body }: Reply, ...wanted: [number, string]): void {
  assert.deepEqual([status, body.errcode], wanted)
}

async function login(userId: string, deviceId?: string): Promise<Client> {
  const identifier = { type: 'm.id.user', user: userId }
  const body = { type: 'm.login.application_service', identifier, device_id: deviceId }
  const { body: session } = await server.request('POST', '/login', body, { token: bridge.as_token })
  return server.client(session.access_token, userId)
}

async function rowOf(userId: string) {
  const { storage } = await server.server.host.defaultInstance()
  return (await storage.first('user', { userId }))!
}

describe('AS device creation and masquerade: an appservice', () => {
  test('makes a device for its bot and for a ghost that is not there yet: 201, and 200 when it is renamed', async () => {
    for (const userId of [bridge.botId, bridge.ghost(1)]) {
      const as = bridge.as(userId)
      const made = await as.request('PUT', '/devices/BRIDGE', { display_name: 'a bridge' })
      assert.deepEqual([made.status, made.body], [201, {}])
      const renamed = await as.request('PUT', '/devices/BRIDGE', { display_name: 'the bridge' })
      assert.deepEqual([renamed.status, renamed.body], [200, {}])
      const { body } = await as.request('GET', '/devices')
      assert.deepEqual(
        body.devices.map((device: { device_id: string; display_name: string }) => [device.device_id, device.display_name]),
        [['BRIDGE', 'the bridge']],
      )
      const whoami = await as.request('GET', '/account/whoami?device_id=BRIDGE&org.matrix.msc3202.device_id=BRIDGE')
      assert.deepEqual(whoami.body, { user_id: userId, device_id: 'BRIDGE', is_guest: false })
    }
  })

  test('makes no device with an id that is none, or for others than its users', async () => {
    const as = bridge.as(bridge.ghost(2))
    // Nobody could name the one, and a message to the other would be for all devices.
    for (const deviceId of ['x'.repeat(256), '', '*']) {
      refused(await as.request('PUT', `/devices/${deviceId}`, {}), 400, 'M_INVALID_PARAM')
      const query = `mutation { updateDevice(deviceId: "${deviceId}") { created } }`
      assert.equal((await as.request('POST', '/graphql', { query }, json)).body.errors[0].extensions.errcode, 'M_INVALID_PARAM')
    }
    const identifier = { type: 'm.id.user', user: bridge.ghost(2) }
    const login = { type: 'm.login.application_service', identifier, device_id: '*' }
    refused(await server.request('POST', '/login', login, { token: bridge.as_token }), 400, 'M_INVALID_PARAM')
    refused(await bridge.as('@stranger:example.com').request('PUT', '/devices/BRIDGE', {}), 403, 'M_FORBIDDEN')
    refused(await bridge.as(server.administrator.userId).request('PUT', '/devices/BRIDGE', {}), 403, 'M_FORBIDDEN')
  })

  test('never renames, makes, sees or deletes devices of the owner', async () => {
    const as = bridge.as(server.owner.userId)
    const own = server.owner.deviceId
    refused(await as.request('PUT', `/devices/${own}`, { display_name: 'mine' }), 403, 'M_FORBIDDEN')
    refused(await as.request('PUT', '/devices/NEW', {}), 403, 'M_FORBIDDEN')
    refused(await as.request('GET', '/devices'), 403, 'M_FORBIDDEN')
    refused(await as.request('GET', `/devices/${own}`), 403, 'M_FORBIDDEN')
    refused(await as.request('DELETE', `/devices/${own}`), 403, 'M_FORBIDDEN')
    refused(await as.request('POST', '/delete_devices', { devices: [own] }), 403, 'M_FORBIDDEN')
    refused(await as.request('GET', `/account/whoami?device_id=${own}`), 400, 'M_UNKNOWN_DEVICE')
    const { body } = await server.owner.get('/devices')
    assert.deepEqual(
      body.devices.map(({ device_id }: { device_id: string }) => device_id),
      [own],
    )
  })

  test('deletes devices of its users without being asked for anything, and those of one user only', async () => {
    const [first, second] = [bridge.as(bridge.ghost(3)), bridge.as(bridge.ghost(4))]
    for (const as of [first, second]) {
      for (const deviceId of ['ONE', 'TWO', 'THREE']) assert.equal((await as.request('PUT', `/devices/${deviceId}`, {})).status, 201)
    }
    assert.equal((await first.request('DELETE', '/devices/ONE')).status, 200)
    assert.equal((await first.request('DELETE', '/devices/ONE')).status, 200)
    assert.equal((await first.request('POST', '/delete_devices', { devices: ['TWO', 'UNKNOWN'] })).status, 200)
    for (const body of [{}, { auth: { session: 'x' } }])
      refused(await first.request('POST', '/delete_devices', body), 400, 'M_MISSING_PARAM')
    const left = async (as: typeof first) =>
      (await as.request('GET', '/devices')).body.devices.map(({ device_id }: { device_id: string }) => device_id)
    assert.deepEqual(await left(first), ['THREE'])
    assert.deepEqual(await left(second), ['ONE', 'THREE', 'TWO'])
    refused(await first.request('GET', '/account/whoami?device_id=ONE'), 400, 'M_UNKNOWN_DEVICE')
  })

  test('speaks for no device that its user does not have: 400 M_UNKNOWN_DEVICE on both faces', async () => {
    const as = bridge.as(bridge.ghost(5))
    assert.equal((await as.request('PUT', '/devices/BRIDGE', {})).status, 201)
    refused(await as.request('GET', '/account/whoami?device_id=UNKNOWN'), 400, 'M_UNKNOWN_DEVICE')
    refused(await as.request('GET', '/account/whoami?org.matrix.msc3202.device_id=UNKNOWN'), 400, 'M_UNKNOWN_DEVICE')
    refused(await bridge.as(bridge.ghost(6)).request('GET', '/account/whoami?device_id=BRIDGE'), 400, 'M_UNKNOWN_DEVICE')
    const ask = (deviceId: string) =>
      as.request('POST', `/graphql?device_id=${deviceId}`, { query: '{ viewer { userId deviceId } }' }, json)
    const { body } = await ask('BRIDGE')
    assert.deepEqual(body.data.viewer, { userId: bridge.ghost(5), deviceId: 'BRIDGE' })
    const wrong = await ask('UNKNOWN')
    assert.equal(wrong.body.errors?.[0].extensions.errcode ?? wrong.body.errcode, 'M_UNKNOWN_DEVICE')
  })

  test('ends a device by logout where it names one, and all of a user’s by logout/all', async () => {
    const as = bridge.as(bridge.ghost(12))
    for (const deviceId of ['ONE', 'TWO', 'THREE']) await as.request('PUT', `/devices/${deviceId}`, {})
    refused(await as.request('POST', '/logout', {}), 403, 'M_FORBIDDEN')
    assert.equal((await as.request('POST', '/logout?device_id=ONE', {})).status, 200)
    refused(await as.request('POST', '/logout?device_id=ONE', {}), 400, 'M_UNKNOWN_DEVICE')
    assert.equal((await as.request('GET', '/devices')).body.devices.length, 2)
    assert.equal((await as.request('POST', '/logout/all', {})).status, 200)
    assert.deepEqual((await as.request('GET', '/devices')).body.devices, [])
    for (const path of ['/logout', '/logout/all'])
      refused(await bridge.as(server.owner.userId).request('POST', path, {}), 403, 'M_FORBIDDEN')
  })

  test('makes devices by GraphQL too, where the owner’s are closed to it', async () => {
    const query = 'mutation { updateDevice(deviceId: "GRAPHQL", displayName: "a bridge") { created device { deviceId displayName } } }'
    const ask = async (userId: string, text: string) => (await bridge.as(userId).request('POST', '/graphql', { query: text }, json)).body
    assert.deepEqual((await ask(bridge.ghost(7), query)).data.updateDevice, {
      created: true,
      device: { deviceId: 'GRAPHQL', displayName: 'a bridge' },
    })
    const remove = `mutation { deleteDevices(deviceIds: ["GRAPHQL", "${server.owner.deviceId}"]) }`
    assert.equal((await ask(bridge.ghost(7), remove)).data.deleteDevices, true)
    for (const text of [query, remove, '{ devices { deviceId } }', '{ viewer { devices { deviceId } } }']) {
      assert.equal((await ask(server.owner.userId, text)).errors[0].extensions.errcode, 'M_FORBIDDEN', text)
    }
    assert.equal((await server.owner.get('/account/whoami')).status, 200)
  })
})

describe('a bot that logs in', () => {
  test('uses its device again, by its token and by the as_token', async () => {
    const first = await login(bridge.botId, 'LOGIN')
    const second = await login(bridge.botId, 'LOGIN')
    refused(await first.get('/account/whoami'), 401, 'M_UNKNOWN_TOKEN')
    const wanted = { user_id: bridge.botId, device_id: 'LOGIN', is_guest: false }
    assert.deepEqual((await second.get('/account/whoami')).body, wanted)
    assert.deepEqual((await bridge.as(bridge.botId).request('GET', '/account/whoami?device_id=LOGIN')).body, wanted)
  })

  test('logs into a device that was made without a token', async () => {
    const as = bridge.as(bridge.ghost(8))
    await as.request('PUT', '/devices/MADE', { display_name: 'made' })
    const session = await login(bridge.ghost(8), 'MADE')
    assert.equal((await session.get('/devices/MADE')).body.display_name, 'made')
    assert.equal((await session.get('/devices')).body.devices.length, 1)
  })

  test('is not one of those whose events are evaluated before it asks for a sync itself', async () => {
    const session = await login(bridge.ghost(9), 'SYNC')
    await bridge.as(bridge.ghost(9)).request('PUT', '/devices/OTHER', {})
    await session.get('/account/whoami')
    assert.equal((await rowOf(bridge.ghost(9))).syncs, 0)
    const { next_batch } = await session.sync()
    assert.equal((await rowOf(bridge.ghost(9))).syncs, 1)
    const roomId = await server.owner.createRoom({ preset: 'public_chat' })
    await bridge.as(bridge.ghost(9)).request('POST', `/join/${encodeURIComponent(roomId)}`, {})
    const { rooms } = await session.sync(`since=${next_batch}&timeout=10000`)
    assert.deepEqual(Object.keys(rooms.join), [roomId])
  })

  test('is logged out by logout with its device, and by the end of its bridge at once', async () => {
    const other = await registerBridge(server, 'shortlived')
    const identifier = (user: string) => ({ type: 'm.login.application_service', identifier: { type: 'm.id.user', user } })
    const sessions = await Promise.all(
      [other.botId, other.ghost(1), other.ghost(2)].map(async (user) => {
        const { body } = await server.request('POST', '/login', identifier(user), { token: other.as_token })
        return server.client(body.access_token, user)
      }),
    )
    assert.equal((await sessions[0]!.post('/logout')).status, 200)
    refused(await sessions[0]!.get('/account/whoami'), 401, 'M_UNKNOWN_TOKEN')
    assert.equal((await sessions[1]!.get('/account/whoami')).status, 200)
    const { errors } = await server.owner.graphql('mutation { deleteBridge(id: "shortlived") { id } }')
    assert.equal(errors, undefined)
    for (const session of sessions) refused(await session.get('/account/whoami'), 401, 'M_UNKNOWN_TOKEN')
  })
})

describe('when a user has as many devices as can be', () => {
  test('the one more ends the longest unused session, never what was made without a token', async () => {
    const instance = await server.server.host.defaultInstance()
    const ghost = bridge.ghost(10)
    const as = bridge.as(ghost)
    await as.request('PUT', '/devices/MADE', {})
    const begin = (deviceId: string) =>
      command(instance, (decision) => beginSession(decision, decision.find('user', { userId: ghost })!, { deviceId }))
    for (let i = 1; i < mostDevices; i++) await begin(`S${i}`)
    const { key } = await rowOf(ghost)
    assert.equal(await instance.storage.count('device', { user: key }), mostDevices)
    await begin('ONE MORE')
    assert.equal((await as.request('PUT', '/devices/MADE2', {})).status, 201)
    assert.equal(await instance.storage.count('device', { user: key }), mostDevices)
    for (const deviceId of ['MADE', 'MADE2', encodeURIComponent('ONE MORE')]) {
      assert.equal((await as.request('GET', `/devices/${deviceId}`)).status, 200)
    }
  })

  test('and none of them is a session, one more is refused', async () => {
    const as = bridge.as(bridge.ghost(11))
    for (let i = 0; i < mostDevices; i++) assert.equal((await as.request('PUT', `/devices/D${i}`, {})).status, 201)
    refused(await as.request('PUT', '/devices/MORE', {}), 403, 'M_FORBIDDEN')
    const login = { type: 'm.login.application_service', identifier: { type: 'm.id.user', user: bridge.ghost(11) } }
    refused(await server.request('POST', '/login', login, { token: bridge.as_token }), 403, 'M_FORBIDDEN')
    assert.equal((await as.request('PUT', '/devices/D0', { display_name: 'still mine' })).status, 200)
  })
})
