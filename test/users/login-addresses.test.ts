/** Whoever has an IPv6 connection has more addresses than could be counted one by one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../src/config.ts'
import { subscriberOf } from '../../src/rules/networks.ts'
import { startServer } from '../rig/server.ts'

test('guesses from the addresses of one IPv6 connection count together, those of the next one do not', async () => {
  const rateLimits = { ...readConfig({}).rateLimits!, login: { perSecond: 1_000, burst: 1_000 } }
  await using server = await startServer({
    config: { rateLimits, trustedProxies: ['127.0.0.0/8'] },
    ports: { now: () => 1_750_000_000_000 },
  })
  const guess = async (address: string, user: string) => {
    const body = { type: 'm.login.token', token: user }
    return (await server.request('POST', '/login', body, { headers: { 'x-forwarded-for': address } })).status
  }
  const statuses: number[] = []
  for (let i = 0; i < 51; i++) statuses.push(await guess(`2001:db8:0:1:${i.toString(16)}::1`, `guess-${i}`))
  assert.deepEqual([statuses.slice(0, 50).every((status) => status === 403), statuses[50]], [true, 429])
  assert.equal(await guess('2001:db8:0:2::1', 'another'), 403)
})

test('whose an address is does not depend on how it is spelt', () => {
  for (const spelt of ['2001:db8::1', '2001:0db8:0:0:ffff::', '2001:db8:0:0:1:2:3:4', '2001:DB8::1%eth0'])
    assert.equal(subscriberOf(spelt), '2001:db8:0:0::/64', spelt)
  for (const spelt of ['192.0.2.7', '::ffff:192.0.2.7', '::ffff:c000:207']) assert.equal(subscriberOf(spelt), '192.0.2.7', spelt)
  assert.deepEqual([subscriberOf('::1'), subscriberOf('')], ['0:0:0:0::/64', ''])
})
