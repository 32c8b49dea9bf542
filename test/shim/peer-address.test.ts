import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { after, before, test } from 'node:test'
import { createClient } from 'graphql-ws'
import { WebSocket } from 'ws'
import { addressReader } from '../../shim/peer-address.ts'
import { readConfig } from '../../src/config.ts'
import { startServer, type TestServer } from '../rig/server.ts'

function addressOf(trusted: string, peer: string, forwarded?: string): string {
  const message = { socket: { remoteAddress: peer }, headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded } }
  return addressReader(readConfig({ TRUST_PROXY: trusted }).trustedProxies)(message as unknown as IncomingMessage)
}

test('X-Forwarded-For is believed as far as trusted proxies wrote it', () => {
  for (const [trusted, peer, forwarded, address] of [
    ['off', '127.0.0.1', '203.0.113.7', '127.0.0.1'],
    ['on', '192.0.2.1', '203.0.113.7', '203.0.113.7'],
    ['on', '2001:db8::1', '203.0.113.7, 10.0.0.1', '203.0.113.7'],
    ['on', '192.0.2.1', undefined, '192.0.2.1'],
    ['127.0.0.1', '127.0.0.1', '198.51.100.1, 203.0.113.7', '203.0.113.7'],
    ['127.0.0.1', '::ffff:127.0.0.1', '203.0.113.7', '203.0.113.7'],
    ['127.0.0.1', '192.0.2.1', '203.0.113.7', '192.0.2.1'],
    ['127.0.0.1,10.0.0.0/8', '127.0.0.1', '198.51.100.1,203.0.113.7,10.1.2.3', '203.0.113.7'],
    ['::1', '::1', '2001:db8::7', '2001:db8::7'],
    ['127.0.0.1', '127.0.0.1', 'nonsense', '127.0.0.1'],
    ['127.0.0.1', '127.0.0.1', '', '127.0.0.1'],
  ] as const) {
    assert.equal(addressOf(trusted, peer, forwarded), address, `${trusted} ${peer} ${forwarded}`)
  }
})

let server: TestServer
before(async () => {
  server = await startServer({ config: { trustedProxies: ['127.0.0.0/8'] } })
})
after(() => server[Symbol.asyncDispose]())

/** What the device list says of a session that was begun from behind a proxy. */
async function seenFrom(target: TestServer, headers: Record<string, string>): Promise<string> {
  const { userId } = await target.register('paula', 'a password of Paula')
  const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password: 'a password of Paula' }
  const { body } = await target.request('POST', '/login', login, { headers })
  return (await target.client(body.access_token).get(`/devices/${body.device_id}`)).body.last_seen_ip
}

const forwarded = { 'x-forwarded-for': '203.0.113.7' }

test('a login is noted with the address behind a trusted proxy, and with the peer by default', async () => {
  assert.equal(await seenFrom(server, forwarded), '203.0.113.7')
  await using usual = await startServer()
  assert.equal(await seenFrom(usual, forwarded), '127.0.0.1')
})

test('over a websocket too', async () => {
  class Forwarded extends WebSocket {
    constructor(url: string, protocols: string) {
      super(url, protocols, { headers: forwarded })
    }
  }
  const password = 'a password of Petra'
  const { userId, token } = await server.register('petra', password)
  const client = createClient({
    url: `${server.url.replace('http', 'ws')}/graphql`,
    webSocketImpl: Forwarded,
    connectionParams: { accessToken: token },
  })
  const query = 'mutation ($input: LoginInput!) { login(input: $input) { accessToken deviceId } }'
  const results = client.iterate({ query, variables: { input: { type: 'm.login.password', user: userId, password } } })
  const { value } = await results.next()
  await client.dispose()
  const { accessToken, deviceId } = value!.data!['login'] as { accessToken: string; deviceId: string }
  assert.equal((await server.client(accessToken).get(`/devices/${deviceId}`)).body.last_seen_ip, '203.0.113.7')
})
