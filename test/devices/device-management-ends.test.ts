/** However a session ends, nothing of its device is left, and those who may see it are told. Backups belong to the user and stay. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Client, startServer, type TestServer, testPassword } from '../rig/server.ts'
import { makeDeviceKeys, makeKeys } from './rig.ts'

const ofDevice = ['device', 'deviceKeys', 'oneTimeKey', 'fallbackKey', 'keyCount', 'toDevice'] as const
let server: TestServer
let stranger: Client
let people = 0

before(async () => {
  server = await startServer()
  stranger = await server.register('stranger')
})
after(() => server[Symbol.asyncDispose]())

const passwordOf = (client: Client) => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user: client.userId },
  password: testPassword,
})

async function another(client: Client, deviceId: string): Promise<Client> {
  const { body } = await server.request('POST', '/login', { ...passwordOf(client), device_id: deviceId })
  return new Client(() => server.url, body.access_token, client.userId, deviceId)
}

/** Somebody with a device that has everything, another that watches, and a friend in the same room. */
async function scene() {
  const watching = await server.register(`ann${++people}`, testPassword)
  const friend = await server.register(`bob${people}`)
  const phone = await another(watching, 'PHONE')
  const { userId } = watching
  const roomId = await friend.createRoom({ preset: 'public_chat' })
  assert.equal((await phone.post(`/join/${encodeURIComponent(roomId)}`)).status, 200)
  const keys = {
    device_keys: makeDeviceKeys(userId, 'PHONE'),
    one_time_keys: makeKeys(userId, 'PHONE', ['A', 'B']),
    fallback_keys: makeKeys(userId, 'PHONE', ['F'], { fallback: true }),
  }
  assert.equal((await phone.post('/keys/upload', keys)).status, 200)
  assert.equal((await watching.post('/keys/upload', { device_keys: makeDeviceKeys(userId, watching.deviceId) })).status, 200)
  assert.equal((await friend.put('/sendToDevice/m.test/1', { messages: { [userId]: { PHONE: { waits: true } } } })).status, 200)
  const backup = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: { public_key: 'abc' } }
  assert.equal((await phone.post('/room_keys/version', backup)).status, 200)
  for (const table of ofDevice) assert.notEqual(await rowsOf(userId, table), 0, table)
  const since = Object.fromEntries(
    await Promise.all([watching, friend, stranger].map(async (client) => [client.userId, (await client.sync()).next_batch])),
  ) as Record<string, string>
  return { watching, friend, phone, userId, since }
}

type Scene = Awaited<ReturnType<typeof scene>>

async function rowsOf(userId: string, table: (typeof ofDevice)[number]): Promise<number> {
  const { storage } = await server.server.host.defaultInstance()
  const { key } = (await storage.first('user', { userId }))!
  return storage.count(table, { user: key, deviceId: 'PHONE' })
}

async function changedFor(client: Client, since: string): Promise<string[]> {
  return (await client.sync(`since=${since}`)).device_lists?.changed ?? []
}

const ways: Record<string, { end(scene: Scene): Promise<void>; watcherStays: boolean }> = {
  logout: {
    watcherStays: true,
    end: async ({ phone }) => assert.equal((await phone.post('/logout')).status, 200),
  },
  'logout of all': {
    watcherStays: false,
    end: async ({ phone }) => assert.equal((await phone.post('/logout/all')).status, 200),
  },
  'a new password': {
    watcherStays: true,
    end: async ({ watching }) =>
      assert.equal((await watching.post('/account/password', { new_password: testPassword, auth: passwordOf(watching) })).status, 200),
  },
  'deleting the device': {
    watcherStays: true,
    end: async ({ watching }) =>
      assert.equal((await watching.request('DELETE', '/devices/PHONE', { auth: passwordOf(watching) })).status, 200),
  },
  'deleting many devices': {
    watcherStays: true,
    end: async ({ watching }) =>
      assert.equal((await watching.post('/delete_devices', { devices: ['PHONE'], auth: passwordOf(watching) })).status, 200),
  },
  '100 newer sessions': {
    watcherStays: false,
    end: async ({ watching }) => {
      const { loginWithToken } = await import('../../src/users/accounts.ts')
      const { makeLoginToken } = await import('../../src/users/sessions.ts')
      const instance = await server.server.host.defaultInstance()
      const { actor } = await server.server.host.authenticate(watching.token, null)
      for (let i = 0; i < 100; i++) {
        const { loginToken } = await makeLoginToken(instance, actor)
        await loginWithToken(instance, { token: loginToken })
      }
    },
  },
}

describe('device delete: change to room-mates, not to strangers; keys, tokens and messages are gone, the backup stays:', () => {
  for (const [way, { end, watcherStays }] of Object.entries(ways)) {
    test(way, async () => {
      const made = await scene()
      const { watching, friend, phone, userId, since } = made
      await end(made)
      const ended = await phone.get('/account/whoami')
      assert.deepEqual([ended.status, ended.body.errcode], [401, 'M_UNKNOWN_TOKEN'])
      for (const table of ofDevice) assert.equal(await rowsOf(userId, table), 0, table)
      const { body } = await friend.post('/keys/query', { device_keys: { [userId]: [] } })
      assert.deepEqual(Object.keys(body.device_keys[userId]), watcherStays ? [watching.deviceId] : [])
      assert.deepEqual(await changedFor(friend, since[friend.userId]!), [userId])
      assert.deepEqual(await changedFor(stranger, since[stranger.userId]!), [])
      if (watcherStays) assert.deepEqual(await changedFor(watching, since[userId]!), [userId])
      const again = await another(watching, 'PHONE')
      assert.equal((await again.get('/room_keys/version')).status, 200)
      assert.equal((await again.sync()).to_device?.events.length ?? 0, 0)
      assert.deepEqual((await again.post('/keys/upload')).body.one_time_key_counts, { signed_curve25519: 0 })
    })
  }
})

test('a device with keys that gets another name is told to room-mates and shown with it, one without keys is not', async () => {
  const { watching, friend, userId, since } = await scene()
  await another(watching, 'BARE')
  assert.equal((await watching.put('/devices/BARE', { display_name: 'nobody sees it' })).status, 200)
  assert.deepEqual(await changedFor(friend, since[friend.userId]!), [])
  assert.equal((await watching.put('/devices/PHONE', { display_name: 'my phone' })).status, 200)
  assert.deepEqual(await changedFor(friend, since[friend.userId]!), [userId])
  assert.deepEqual(await changedFor(stranger, since[stranger.userId]!), [])
  const { next_batch } = await friend.sync()
  assert.equal((await watching.put('/devices/PHONE', { display_name: 'my phone' })).status, 200)
  assert.deepEqual(await changedFor(friend, next_batch), [])
  const { body } = await friend.post('/keys/query', { device_keys: { [userId]: ['PHONE'] } })
  assert.equal(body.device_keys[userId].PHONE.unsigned.device_display_name, 'my phone')
})
