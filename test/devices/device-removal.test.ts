/** Many devices that end in one step. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { command } from '../../src/stream/command.ts'
import { beginSession, mostDevices } from '../../src/users/sessions.ts'
import { type Client, startServer, type TestServer, testPassword } from '../rig/server.ts'
import { makeDeviceKeys, makeKeys } from './rig.ts'
import { keyOf } from './to-device-rig.ts'

/** Of a person who has as many devices as can be, each with tokens and keys, after a start. */
async function withManyDevices(server: TestServer, client: Client): Promise<string[]> {
  const instance = await server.server.host.defaultInstance()
  const key = await keyOf(instance, client.userId)
  const deviceIds = Array.from({ length: mostDevices - 1 }, (_, n) => `D${n}`)
  for (const deviceId of deviceIds) {
    const session = { deviceId, withRefreshToken: true }
    const { accessToken } = await command(instance, (decision) => beginSession(decision, decision.get('user', { key })!, session))
    const keys = {
      device_keys: makeDeviceKeys(client.userId, deviceId),
      one_time_keys: makeKeys(client.userId, deviceId, ['A', 'B']),
      fallback_keys: makeKeys(client.userId, deviceId, ['F'], { fallback: true }),
    }
    assert.equal((await server.client(accessToken).post('/keys/upload', keys)).status, 200)
  }
  await server.restart()
  return deviceIds
}

const tables = ['deviceKeys', 'oneTimeKey', 'fallbackKey', 'keyCount', 'device', 'secret'] as const
const passwordOf = ({ userId }: Client) => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user: userId },
  password: testPassword,
})

const ways: Record<string, (client: Client, deviceIds: readonly string[]) => Promise<{ readonly status: number }>> = {
  'logout of all': (client) => client.post('/logout/all'),
  'a new password': (client) => client.post('/account/password', { new_password: testPassword, auth: passwordOf(client) }),
  'deleting them': (client, devices) => client.post('/delete_devices', { devices, auth: passwordOf(client) }),
  'the end of the account': (client) => client.post('/account/deactivate', { auth: passwordOf(client) }),
}

describe('100 devices end in one decision that starts over a few times, and room-mates are told:', () => {
  for (const [way, end] of Object.entries(ways)) {
    test(way, async () => {
      await using server = await startServer()
      const ann = await server.register('ann', testPassword)
      const deviceIds = await withManyDevices(server, ann)
      const instance = await server.server.host.defaultInstance()
      const user = await keyOf(instance, ann.userId)
      let attempts = 0
      const { devicesRemoved } = instance.upward
      Object.assign(instance.upward, {
        devicesRemoved: (...args: Parameters<typeof devicesRemoved>) => {
          attempts++
          devicesRemoved(...args)
        },
      })
      const told: number[] = []
      instance.bus.onAny(({ kinds, position }) => kinds.has('deviceList') && told.push(position))
      assert.equal((await end(ann, deviceIds)).status, 200)
      assert.ok(attempts >= 1 && attempts < 10, `${attempts} attempts`)
      assert.equal(told.length, 1)
      for (const table of tables) {
        const rows = await instance.storage.find(table, { where: { user } })
        const left = rows.filter((row) => !('kind' in row) || row.kind !== 'login')
        assert.ok(left.length <= 1 && !JSON.stringify(left).includes('"D'), `${table}: ${left.length}`)
      }
    })
  }
})
