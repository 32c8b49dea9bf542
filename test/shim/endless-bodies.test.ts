/** Bodies that never end, sent by strangers, keep nobody else from anything. */
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { readBody } from '../../shim/body.ts'
import { MatrixError } from '../../src/errors.ts'
import type { Ports } from '../../src/ports.ts'
import { startServer, type TestServer, testPassword } from '../rig/server.ts'

describe('a body that never ends', () => {
  let server: TestServer
  let userId: string
  before(async () => {
    server = await startServer()
    userId = (await server.register('erna', testPassword)).userId
  })
  after(() => server[Symbol.asyncDispose]())

  /** Connections that have sent the beginning of a body, with more announced. */
  async function begin(path: string, count: number): Promise<Socket[]> {
    const { hostname, port } = new URL(server.url)
    const sockets = Array.from({ length: count }, () => {
      const socket = connect(Number(port), hostname)
      socket.on('error', () => undefined)
      socket.write(`POST ${path} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{`)
      return socket
    })
    await sleep(150)
    return sockets
  }

  async function logIn(path: string): Promise<number> {
    const identifier = { type: 'm.id.user', user: userId }
    return (await server.request('POST', path, { type: 'm.login.password', identifier, password: testPassword })).status
  }

  for (const path of [
    '/_matrix/client/v3/login',
    '/_matrix/client/v3/register',
    '/_matrix/client/v3/refresh',
    '/graphql',
    '/_hungryserv/default/_matrix/client/v3/login',
    '/_hungryserv/default/graphql',
  ]) {
    for (const count of [16, 64]) {
      test(`to ${path}, ${count} times: the owner, logins and others are answered at once`, { timeout: 10_000 }, async () => {
        const headers = { 'content-type': 'application/json' }
        const sockets = await begin(path, count)
        try {
          const statuses = await Promise.all([
            server.owner.get('/account/whoami').then((reply) => reply.status),
            server.owner.graphql('{ whoami { userId } }').then((body) => (body.errors ? 500 : 200)),
            logIn('/login'),
            logIn('/_hungryserv/default/_matrix/client/v3/login'),
            server.request('GET', '/_matrix/client/versions').then((reply) => reply.status),
            server.request('POST', '/refresh', { refresh_token: 'nothing' }).then((reply) => reply.status),
            server.request('POST', '/graphql', { query: '{ __typename }' }, { headers }).then((reply) => reply.status),
          ])
          assert.deepEqual(statuses, [200, 200, 200, 200, 200, 401, 200])
        } finally {
          for (const socket of sockets) socket.destroy()
        }
      })
    }
  }
})

test('it is answered with 408 when its time is over, and its connection is closed', { timeout: 10_000 }, async () => {
  const timer: Ports['timer'] = (delayMs, run) => {
    const handle = setTimeout(run, delayMs === 30_000 ? 50 : delayMs).unref()
    return () => clearTimeout(handle)
  }
  await using server = await startServer({ ports: { timer } })
  const { hostname, port } = new URL(server.url)
  for (const path of ['/_matrix/client/v3/login', '/_matrix/client/v3/createRoom', '/graphql']) {
    const socket = connect(Number(port), hostname)
    const token = path.endsWith('login') ? '' : `authorization: Bearer ${server.owner.token}\r\n`
    socket.write(`POST ${path} HTTP/1.1\r\nhost: h\r\n${token}content-type: application/json\r\ncontent-length: 1000\r\n\r\n{`)
    let answer = ''
    for await (const bytes of socket) answer += String(bytes)
    assert.match(answer, /^HTTP\/1\.1 408 .*M_UNKNOWN/s, path)
  }
})

/** A request whose body the test writes, and the timer that watches over it. */
function request(headers: Record<string, string> = {}) {
  const payload = Object.assign(new PassThrough(), { headers })
  const watch = { delayMs: 0, run: () => {}, cancelled: false }
  const body = readBody(payload as unknown as IncomingMessage, 10, (delayMs, run) => {
    Object.assign(watch, { delayMs, run })
    return () => (watch.cancelled = true)
  })
  body.catch(() => undefined)
  return { payload, watch, body }
}

const refused = (errcode: string, status: number) => (error: unknown) =>
  error instanceof MatrixError && error.errcode === errcode && error.status === status

describe('a body that is read whole', () => {
  test('comes as it was sent, and is no longer watched', async () => {
    const { payload, watch, body } = request({ 'content-length': '6' })
    payload.write('abc')
    payload.end('def')
    assert.equal((await body).toString(), 'abcdef')
    assert.equal(watch.cancelled, true)
  })

  test('has half a minute', async () => {
    const { payload, watch, body } = request()
    payload.write('abc')
    assert.equal(watch.delayMs, 30_000)
    watch.run()
    await assert.rejects(body, refused('M_UNKNOWN', 408))
  })

  test('is refused when it is too large, announced or not, and when it is cut off', async () => {
    await assert.rejects(request({ 'content-length': '11' }).body, refused('M_TOO_LARGE', 413))
    const large = request()
    large.payload.write('a'.repeat(11))
    await assert.rejects(large.body, refused('M_TOO_LARGE', 413))
    const short = request({ 'content-length': '9' })
    short.payload.end('abc')
    await assert.rejects(short.body, refused('M_NOT_JSON', 400))
    const broken = request()
    broken.payload.destroy(new Error('gone'))
    await assert.rejects(broken.body, refused('M_NOT_JSON', 400))
    assert.equal(broken.watch.cancelled, true)
  })
})
