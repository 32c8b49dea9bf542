/** What a device's name means when it was another's before, and what is asked for devices that are not there. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { command } from '../../src/stream/command.ts'
import { findUser, putUser } from '../../src/users/users.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { type Client, type TestServer, testPassword } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { accepted, refused } from './backup-rig.ts'

async function login(server: TestServer, userId: string, device_id: string): Promise<Client> {
  const identifier = { type: 'm.id.user', user: userId }
  const reply = await server.request('POST', '/login', { type: 'm.login.password', identifier, password: testPassword, device_id })
  return server.client(accepted(reply).access_token, userId)
}

await onBothServers('the lives of devices', (start) => {
  test('a transaction id is answered alike as long as its device lives, and is new to the next one of that name', async () => {
    await using server = await start()
    const { userId } = await server.register('ann', testPassword)
    const first = await login(server, userId, 'FIXED')
    const roomId = await first.createRoom()
    const path = `/rooms/${encodeURIComponent(roomId)}`
    const say = async (client: Client, body: string) =>
      accepted(await client.put(`${path}/send/m.room.message/t1`, { msgtype: 'm.text', body })).event_id as string
    const one = await say(first, 'one')
    assert.equal(await say(first, 'again'), one)
    // Its tokens are others, but it is the same device.
    const same = await login(server, userId, 'FIXED')
    assert.equal(await say(same, 'again'), one)
    accepted(await same.post('/logout'))
    const next = await login(server, userId, 'FIXED')
    const two = await say(next, 'two')
    assert.notEqual(two, one)
    assert.equal(await say(next, 'again'), two)
    await server.restart()
    assert.equal(await say(next, 'again'), two)
    assert.equal(accepted(await next.get(`${path}/event/${two}`)).content.body, 'two')
  })

  test('what is sent again is told apart from nothing by a clock that was set back', async () => {
    let now = Date.now()
    await using server = await start({ ports: { now: () => now } })
    const ann = await server.register('ann', testPassword)
    const path = `/rooms/${encodeURIComponent(await ann.createRoom())}/send/m.room.message/t1`
    now -= 5_000
    const say = async (body: string) => accepted(await ann.put(path, { msgtype: 'm.text', body })).event_id as string
    const one = await say('one')
    assert.equal(await say('again'), one)
    now += 10_000
    assert.equal(await say('again'), one)
  })

  test('a request deletes at most 1 000 devices, before anybody is asked for a password', async () => {
    await using server = await start()
    const ann = await server.register('ann', testPassword)
    const names = (count: number) => Array.from({ length: count }, (_, i) => `D${i}`)
    refused(await ann.post('/delete_devices', { devices: names(1_001) }), 413, 'M_TOO_LARGE')
    const mutation = 'mutation ($ids: [ID!]) { deleteDevices(deviceIds: $ids) }'
    assert.equal((await ann.graphql(mutation, { ids: names(1_001) })).errors[0].extensions.errcode, 'M_TOO_LARGE')
    // What is too long for a device's id needs no deleting.
    const devices = [...names(998), 'x'.repeat(100_000), ann.deviceId]
    const { status, body } = await ann.post('/delete_devices', { devices })
    assert.equal(status, 401)
    const identifier = { type: 'm.id.user', user: ann.userId }
    const auth = { type: 'm.login.password', identifier, password: testPassword, session: body.session }
    assert.equal((await ann.post('/delete_devices', { devices, auth })).status, 200)
    assert.equal((await ann.get('/devices')).status, 401)
  })

  test('a ghost that is deactivated is not logged in, nor given a device', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const bridge = await registerBridge(server, 'left')
    const type = 'm.login.application_service'
    const loginAs = (user: string) =>
      server.request('POST', '/login', { type, identifier: { type: 'm.id.user', user } }, { token: bridge.as_token })
    const ghost = bridge.ghost(1)
    accepted(await loginAs(ghost))
    await command(instance, (decision) => putUser(decision, { ...findUser(decision, ghost)!, status: 'deactivated' }))
    refused(await loginAs(ghost), 403, 'M_USER_DEACTIVATED')
    refused(await bridge.as(ghost).request('PUT', '/devices/NEW', {}), 403, 'M_USER_DEACTIVATED')
    const { errors } = await server
      .client(bridge.as_token)
      .graphql(`mutation { login(input: { type: "${type}", user: "${ghost}" }) { userId } }`)
    assert.equal(errors[0].extensions.errcode, 'M_USER_DEACTIVATED')
    accepted(await loginAs(bridge.ghost(2)))
  })

  test('a ghost that is not made yet has no list of devices: 403', async () => {
    await using server = await start()
    const bridge = await registerBridge(server, 'new')
    refused(await bridge.as(bridge.ghost(1)).request('GET', '/devices'), 403, 'M_FORBIDDEN')
    assert.deepEqual(accepted(await bridge.as(bridge.botId).request('GET', '/devices')).devices, [])
  })
})
