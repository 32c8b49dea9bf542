import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { after, beforeEach, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createApp } from '../../shim/app.ts'
import { fakeHost } from './fake-host.ts'
import { probe, probeEndpoints, probeSchema, reset } from './probe.ts'

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const alice = bearer('alice-token')

describe('over the network', () => {
  const host = fakeHost()
  const { fastify } = createApp({ host, schema: probeSchema, endpoints: probeEndpoints })
  let port = 0
  beforeEach(async () => {
    reset()
    if (!port) {
      await fastify.listen({ port: 0, host: '127.0.0.1' })
      port = (fastify.server.address() as AddressInfo).port
    }
  })
  after(() => fastify.close())
  const until = async (holds: () => boolean) => {
    for (let i = 0; i < 400 && !holds(); i++) await sleep(5)
    assert.ok(holds())
  }

  test('a long poll ends with its connection', async () => {
    const controller = new AbortController()
    const poll = fetch(`http://127.0.0.1:${port}/_matrix/client/v3/probe/wait`, { headers: alice, signal: controller.signal })
    await until(() => probe.waiting === 1)
    controller.abort()
    await assert.rejects(poll)
    await until(() => probe.waiting === 0)
    assert.equal(probe.aborted, 1)
  })

  test('sixteen requests of one homeserver are worked on, long polls and other homeservers aside', async () => {
    const get = (path: string, headers: Record<string, string>) =>
      fetch(`http://127.0.0.1:${port}/_matrix/client/v3/probe/${path}`, { headers })
    const polls = Array.from({ length: 20 }, () => get('wait', alice))
    await until(() => probe.atWork === 20)
    const works = Array.from({ length: 40 }, () => get('work', alice))
    await until(() => probe.atWork === 36)
    await sleep(50)
    assert.equal(probe.atWork, 36)
    const other = get('work', bearer('bob-token'))
    await until(() => probe.atWork === 37)
    while (probe.wake.length > 0 || probe.atWork > 0) {
      for (const wake of probe.wake.splice(0)) wake()
      await sleep(5)
    }
    for (const answer of await Promise.all([...polls, ...works, other])) assert.equal(answer.status, 200)
    assert.equal(probe.mostAtWork, 37)
  })

  test('who leaves the line takes no place', async () => {
    const get = (signal: AbortSignal) => fetch(`http://127.0.0.1:${port}/_matrix/client/v3/probe/work`, { headers: alice, signal })
    const keep = new AbortController()
    const first = Array.from({ length: 16 }, () => get(keep.signal))
    await until(() => probe.atWork === 16)
    const leave = new AbortController()
    const leavers = Array.from({ length: 5 }, () => get(leave.signal))
    const last = get(keep.signal)
    await sleep(50)
    leave.abort()
    await Promise.allSettled(leavers)
    await sleep(20)
    for (const wake of probe.wake.splice(0)) wake()
    await until(() => probe.atWork === 1)
    for (const wake of probe.wake.splice(0)) wake()
    for (const answer of await Promise.all([...first, last])) assert.equal(answer.status, 200)
  })

  test('a place is given back when the body never comes', async () => {
    const sockets = Array.from({ length: 20 }, () => {
      const socket = connect(port, '127.0.0.1')
      socket.write(
        'POST /_matrix/client/v3/rooms/!r/join HTTP/1.1\r\nhost: h\r\nauthorization: Bearer alice-token\r\ncontent-length: 10\r\n\r\n{',
      )
      return socket
    })
    await sleep(50)
    for (const socket of sockets) socket.destroy()
    const answer = await fetch(`http://127.0.0.1:${port}/_matrix/client/v3/rooms/!r/join`, { method: 'POST', headers: alice })
    assert.equal(answer.status, 200)
  })

  test('an upgrade that nobody takes is refused in Matrix terms, and other protocols are ordinary requests', async () => {
    const raw = async (upgrade: string, path: string) => {
      const socket = connect(port, '127.0.0.1')
      socket.write(`GET ${path} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: ${upgrade}\r\n\r\n`)
      const [bytes] = (await once(socket, 'data')) as [Buffer]
      socket.destroy()
      return bytes.toString()
    }
    assert.match(await raw('websocket', '/_matrix/client/versions'), /^HTTP\/1\.1 404 .*M_UNRECOGNIZED/s)
    assert.match(await raw('h2c', '/_matrix/client/versions'), /^HTTP\/1\.1 200 /)
  })

  test('what is no HTTP is answered and harms nobody', async () => {
    const socket = connect(port, '127.0.0.1')
    socket.write('NONSENSE\r\n\r\n')
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    assert.match(bytes.toString(), /^HTTP\/1\.1 400/)
    socket.destroy()
  })
})
