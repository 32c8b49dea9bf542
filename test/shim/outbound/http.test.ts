import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { Outbound, type OutboundRequest } from '../../../shim/outbound/http.ts'
import { compileNetworks, publicNetwork } from '../../../src/rules/networks.ts'

async function serve(listener: RequestListener) {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const usual = { purpose: 'push', method: 'GET', reach: 'anywhere', timeoutMs: 2_000, mostBytes: 1_000 } as const

test('what is not public cannot be reached by name or by address, in any spelling', async () => {
  let asked = 0
  await using server = await serve((_, response) => void response.end(String(++asked)))
  await using outbound = new Outbound()
  const hosts = ['127.0.0.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '0x7f.1', '2130706433', '0.0.0.0', '127.1']
  for (const host of hosts) {
    await assert.rejects(outbound.send({ ...usual, reach: 'public', url: `http://${host}:${server.port}/` }), { why: 'refused' }, host)
  }
  await assert.rejects(outbound.send({ ...usual, reach: { networks: ['10.0.0.0/8'] }, url: `http://localhost:${server.port}/` }), {
    why: 'refused',
  })
  assert.equal(asked, 0)
  const answer = await outbound.send({ ...usual, reach: { networks: ['127.0.0.0/8'] }, url: `http://localhost:${server.port}/` })
  assert.equal(String(answer.body), '1')
  // A connection that was opened under another rule is not used.
  await assert.rejects(outbound.send({ ...usual, reach: 'public', url: `http://localhost:${server.port}/` }), { why: 'refused' })
})

test('networks hold what they say', () => {
  const networks = compileNetworks(['10.0.0.0/8', 'fd00::/8'])
  assert.deepEqual(['10.255.0.1', '11.0.0.1', 'fd12::1', 'fe80::1', '::ffff:10.0.0.1', '::ffff:b00:1', 'nonsense'].map(networks), [
    true,
    false,
    true,
    false,
    true,
    false,
    false,
  ])
  for (const bad of ['10.0.0.0', '10.0.0.0/33', 'x/8', '']) assert.throws(() => compileNetworks([bad]), /Not a network/)
  const open = ['1.1.1.1', '2606:4700:4700::1111']
  const closed = [
    '10.0.0.1',
    '169.254.169.254',
    '172.31.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '::1',
    '::',
    'fe80::1%eth0',
    'fd00::1',
    '::ffff:10.0.0.1',
    '64:ff9b::a00:1',
    '2002:a00:1::',
  ]
  assert.deepEqual(open.map(publicNetwork), [true, true])
  assert.deepEqual(
    closed.filter((address) => publicNetwork(address)),
    [],
  )
})

test('redirects are not followed, and size and time are capped', async () => {
  await using server = await serve((request, response) => {
    if (request.url === '/redirect') response.writeHead(302, { location: '/large' }).end()
    else if (request.url === '/large') response.end('x'.repeat(100_000))
    else if (request.url === '/slow') response.write('x')
  })
  await using outbound = new Outbound()
  const ask = (path: string, more: Partial<OutboundRequest> = {}) =>
    outbound.send({ ...usual, url: `http://127.0.0.1:${server.port}${path}`, ...more })
  assert.equal((await ask('/redirect')).status, 302)
  await assert.rejects(ask('/large'), { why: 'size' })
  assert.equal((await ask('/large', { cut: true })).body.length, 1_000)
  await assert.rejects(ask('/slow', { timeoutMs: 100 }), { why: 'timeout' })
  await assert.rejects(ask('/never', { timeoutMs: 100 }), { why: 'timeout' })
  const gone = new AbortController()
  const waiting = ask('/never', { signal: gone.signal })
  gone.abort()
  await assert.rejects(waiting, { why: 'aborted' })
  await assert.rejects(outbound.send({ ...usual, url: 'file:///etc/passwd' }), { why: 'refused' })
  await assert.rejects(outbound.send({ ...usual, url: 'http://127.0.0.1:1/' }), { why: 'connection' })
})
