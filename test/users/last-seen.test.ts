/** When and from where a device was used last: people look there for sessions that are not theirs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, startServer, testPassword } from '../rig/server.ts'

const minutes = 60_000

test('the device list says when and from where each was used last, and another device’s use changes nothing of it', async () => {
  let now = 1_750_000_000_000
  await using server = await startServer({ config: { trustedProxies: ['127.0.0.0/8'] }, ports: { now: () => now } })
  const ann = await server.register('ann', testPassword)
  const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })
  const identifier = { type: 'm.id.user', user: ann.userId }
  const login = { type: 'm.login.password', identifier, password: testPassword, device_id: 'PHONE' }
  const { body } = await server.request('POST', '/login', login, from('192.0.2.1'))
  const phone = server.client(body.access_token, ann.userId)
  const seen = async () => {
    const { last_seen_ip, last_seen_ts } = (await ann.get('/devices/PHONE')).body
    return [last_seen_ip, last_seen_ts]
  }
  assert.deepEqual(await seen(), ['192.0.2.1', now])
  for (const [address, request] of [
    ['192.0.2.2', (client: Client, options: object) => client.request('GET', '/account/whoami', undefined, options)],
    [
      '2001:db8::1',
      (client: Client, { headers }: { headers: object }) =>
        client.request(
          'POST',
          '/graphql',
          { query: '{ viewer { userId } }' },
          { headers: { ...headers, 'content-type': 'application/json' } },
        ),
    ],
  ] as const) {
    now += 10 * minutes
    assert.equal((await request(phone, from(address))).status, 200)
    // Noted after the answer.
    while ((await seen())[1] !== now) await sleep(5)
    assert.deepEqual(await seen(), [address, now])
  }
})
