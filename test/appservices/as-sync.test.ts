import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setBridgePaused } from '../../src/appservices/registrations.ts'
import { startServer } from '../rig/server.ts'
import { Clock } from './clock.ts'
import { type Portal, Portals, registrationPath } from './portals.ts'
import { SocketBridge } from './socket-bridge.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i + 1))

let portals: Portals
before(async () => {
  portals = await Portals.open()
})
after(() => portals[Symbol.asyncDispose]())

describe('transactions over the websocket', () => {
  test('the first frame says connect, and events come in order with an integer id and a status in every frame', async () => {
    const portal = await portals.register()
    await portal.send(...numbers(5))
    await using bridge = await portal.connect()
    await bridge.until('all came', () => bridge.bodies.length === 5)
    assert.deepEqual(bridge.frames[0], { command: 'connect', status: 'connected' })
    const { id, command, status, txn_id, events } = bridge.frames[1]
    assert.deepEqual([id, command, status, typeof txn_id, events[0].type], [1, 'transaction', 'ok', 'string', 'm.room.create'])
    assert.deepEqual(bridge.bodies, numbers(5))
    assert.ok(bridge.frames.every((frame) => typeof frame.status === 'string' && typeof frame.command === 'string'))
    assert.ok(bridge.events.every((event) => event.room_id === portal.roomId))
  })

  test('a bridge that has just connected gets half a second for its logins before the first transaction', async () => {
    const portal = await portals.register()
    const frozen = new Clock()
    await using other = await startServer({
      ports: { ...frozen.ports, timer: (ms, run) => (ms === 500 ? () => undefined : frozen.ports.timer(ms, run)) },
    })
    const { as_token: token } = (await other.owner.put(registrationPath('sh-new'), { push: false })).body
    await other.client(token).createRoom()
    await using early = await SocketBridge.connect({ url: other.url, token })
    await early.ask('ping', { timestamp: 1 })
    assert.deepEqual(early.attempts, [])
    await using bridge = await portal.connect()
    await bridge.until('it came', () => bridge.attempts.length === 1)
  })

  test('the next transaction goes out only when the one before it was acknowledged', async () => {
    const portal = await portals.register()
    await portal.send(...numbers(120))
    await using bridge = await portal.connect()
    bridge.behaviour = 'silent'
    await bridge.until('the first came', () => bridge.attempts.length === 1)
    await portal.send('later')
    await bridge.ask('ping', {})
    assert.equal(bridge.attempts.length, 1)
    bridge.behaviour = 'ok'
    bridge.send({ id: bridge.attempts[0]!.id, command: 'response', data: { txn_id: bridge.attempts[0]!.txnId } })
    await bridge.until('all came', () => bridge.bodies.length === 121)
    assert.deepEqual(bridge.bodies, [...numbers(120), 'later'])
    const sizes = bridge.attempts.map(({ text }) => JSON.parse(text).events.length)
    assert.ok(sizes.every((size) => size <= 100))
    assert.equal(new Set(bridge.attempts.map(({ txnId }) => txnId)).size, bridge.attempts.length)
  })

  test('without an answer it comes again after 5 s and then every 30 s, the same under a new frame id, and after seven times the socket is closed with 4002', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    await portals.settled(portal)
    const before = bridge.attempts.length
    bridge.behaviour = 'hang'
    await portal.send('unheard')
    await bridge.until('it came', () => bridge.attempts.length === before + 1)
    await portals.clock.move(4_500)
    assert.equal(bridge.attempts.length, before + 1)
    await portals.clock.move(600)
    await bridge.until('it came again', () => bridge.attempts.length === before + 2)
    for (let times = 3; times <= 7; times++) {
      await portals.clock.move(29_000)
      assert.equal(bridge.attempts.length, before + times - 1)
      await portals.clock.move(1_100)
      await bridge.until('it came again', () => bridge.attempts.length === before + times)
    }
    await portals.clock.move(30_100)
    const { code, reason } = await bridge.closed
    assert.deepEqual([code, JSON.parse(reason)], [4002, { command: 'disconnect', status: 'transactions_not_acknowledged' }])
    const attempts = bridge.attempts.slice(before)
    assert.equal(attempts.length, 7)
    assert.equal(new Set(attempts.map(({ id }) => id)).size, 7)
    assert.equal(new Set(attempts.map(({ txnId, text }) => `${txnId} ${text}`)).size, 1)
    // Nothing is dropped: the next connection gets it.
    bridge.behaviour = 'ok'
    await bridge.connect()
    await bridge.until('it came once more', () => bridge.bodies.length === 1)
    assert.equal(bridge.attempts.at(-1)!.txnId, attempts[0]!.txnId)
    assert.equal(bridge.attempts.at(-1)!.text, attempts[0]!.text)
  })

  test('any acknowledgement begins the count anew, also one to an earlier frame of the same transaction', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    await portals.settled(portal)
    bridge.behaviour = 'silent'
    for (const body of ['one', 'two']) {
      const before = bridge.attempts.length
      await portal.send(body)
      await bridge.until('it came', () => bridge.attempts.length === before + 1)
      await portals.clock.move(5_100)
      for (let i = 0; i < 4; i++) await portals.clock.move(30_100)
      await bridge.until('it came six times', () => bridge.attempts.length === before + 6)
      bridge.send({ id: bridge.attempts[before]!.id, command: 'response', data: {} })
      await portals.settled(portal)
    }
    bridge.behaviour = 'ok'
    await portal.send('three')
    await bridge.until('all came', () => bridge.bodies.length === 3)
    assert.deepEqual(bridge.bodies, ['one', 'two', 'three'])
    assert.equal(bridge.frames.filter((frame) => frame.command === 'connect').length, 1)
  })

  test('a transaction that is answered with an error is tried again, ever more rarely, and never dropped', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    await portals.settled(portal)
    const before = bridge.attempts.length
    bridge.behaviour = 'error'
    await portal.send('refused')
    await bridge.until('it came', () => bridge.attempts.length === before + 1)
    const { lastError, failures } = await failure(portal)
    assert.deepEqual([lastError, failures], ['answered ORG.EXAMPLE: Told to fail', 1])
    for (let i = 0; i < 8; i++) await portals.clock.move(30_000)
    assert.ok(bridge.attempts.length >= before + 9)
    await portal.send('behind it')
    bridge.behaviour = 'ok'
    await portals.clock.move(30_000)
    await bridge.until('both came', () => bridge.bodies.length === 2)
    assert.deepEqual(bridge.bodies, ['refused', 'behind it'])
    assert.equal(new Set(bridge.attempts.slice(before, -1).map(({ txnId, text }) => `${txnId} ${text}`)).size, 1)
  })

  test('a bridge of version 2, which would handle it twice, is sent nothing twice over one connection, and again over the next', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect({ version: '2' })
    await portals.settled(portal)
    const before = bridge.attempts.length
    bridge.behaviour = 'silent'
    await portal.send('once')
    await bridge.until('it came', () => bridge.attempts.length === before + 1)
    await portals.clock.move(5_100)
    for (let i = 0; i < 3; i++) await portals.clock.move(30_100)
    // Paused and resumed in between: what was sent still waits for its answer.
    await setBridgePaused(portals.instance, portals.administrator, portal.id, true)
    await setBridgePaused(portals.instance, portals.administrator, portal.id, false)
    await portals.clock.move(1_000)
    assert.equal(bridge.attempts.length, before + 1)
    await bridge.crash()
    bridge.behaviour = 'ok'
    await bridge.connect()
    await bridge.until('it came again', () => bridge.attempts.length === before + 2)
    assert.equal(bridge.attempts.at(-1)!.txnId, bridge.attempts.at(-2)!.txnId)
    await portal.send('acknowledged')
    await portals.settled(portal)
    assert.deepEqual(bridge.bodies, ['once', 'acknowledged'])
  })

  test('a bridge that says version 1 need not acknowledge: what it has read counts, what it has not comes again', () =>
    sendUnacknowledged('1'))

  test('a bridge that says no version need not acknowledge: what it has read counts, what it has not comes again', () =>
    sendUnacknowledged(null))

  async function sendUnacknowledged(version: string | null): Promise<void> {
    const portal = await portals.register()
    await portal.send(...numbers(120))
    await using bridge = await portal.connect({ version, autoPong: false })
    bridge.behaviour = 'silent'
    await bridge.until('the first came', () => bridge.attempts.length === 1)
    await portal.send('last')
    await bridge.ask('ping', {})
    assert.equal(bridge.attempts.length, 1)
    await bridge.crash()
    await using next = await portal.connect({ version })
    next.behaviour = 'silent'
    await next.until('all came', () => next.bodies.length === 121)
    assert.deepEqual(next.bodies, [...numbers(120), 'last'])
    assert.equal(next.attempts[0]!.txnId, bridge.attempts[0]!.txnId)
    await portals.settled(portal)
  }

  test('no frame comes near 50 MiB: large events go a few at a time, all of them, in order', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    await portals.settled(portal)
    await setBridgePaused(portals.instance, portals.administrator, portal.id, true)
    const before = bridge.attempts.length
    await Promise.all(numbers(100).map((n) => portals.server.owner.send(portal.roomId, n.padEnd(60_000, 'x'))))
    await setBridgePaused(portals.instance, portals.administrator, portal.id, false)
    await bridge.until('all came', () => bridge.bodies.length === 100)
    assert.deepEqual(
      bridge.bodies.map((body) => body.replaceAll('x', '')),
      numbers(100),
    )
    for (const { text } of bridge.attempts.slice(before)) assert.ok(text.length < 1_000_000, `a frame of ${text.length} characters`)
  })

  test('an event arrives exactly once although every second acknowledgement is lost with its connection', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    await portals.settled(portal)
    for (const body of numbers(6)) {
      bridge.behaviour = Number(body) % 2 === 0 ? 'ok' : 'lose'
      await portal.send(body)
      await bridge.until('it came', () => bridge.bodies.includes(body))
      if (bridge.behaviour === 'ok') continue
      await bridge.closed
      bridge.behaviour = 'ok'
      await bridge.connect()
      await portals.settled(portal)
    }
    assert.deepEqual(bridge.bodies, numbers(6))
  })
})

async function failure({ id }: Portal): Promise<{ lastError: string; failures: number }> {
  const { data } = await portals.server.owner.graphql('query ($id: String!) { bridge(id: $id) { lastError failures } }', { id })
  return data.bridge
}
