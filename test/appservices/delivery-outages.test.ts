/** Bridges that are away, crash, refuse or are slow, over both sinks: every event arrives once and in order, and others notice nothing. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ExampleBridge } from '../rig/example-bridge.ts'
import { type Client, startServer, type TestServer } from '../rig/server.ts'
import { Clock } from './clock.ts'
import { SocketBridge } from './socket-bridge.ts'

const hour = 3_600_000
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i))

/** What both kinds of bridges can be told. */
interface Bridge extends AsyncDisposable {
  readonly attempts: readonly { txnId: string; text: string }[]
  bodies(): string[]
  behave(how: 'ok' | 'refuse' | 'lose' | 'hang'): void
  crash(): Promise<void>
  /** is there again, and shows it */
  revive(): Promise<void>
  readonly roomId: string
}

type Start = (server: TestServer, id: string) => Promise<Bridge>

const domain = 'example.com'
const path = (id: string) => `/_matrix/asmux/mxauth/appservice/owner/${id}`
const portal = (bot: Client, owner: string) => bot.createRoom({ 'com.beeper.initial_members': [owner] })

const pushed: Start = async (server, id) => {
  const registration = (await server.owner.put(path(id), { push: true, address: 'http://127.0.0.1:1' })).body
  const bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain })
  await server.owner.put(path(id), { push: true, address: bridge.url })
  return {
    attempts: bridge.attempts,
    bodies: () => bodiesOf(bridge.events),
    behave(how) {
      bridge.behaviour = how === 'refuse' ? 500 : how
    },
    crash: () => bridge.crash(),
    async revive() {
      bridge.behaviour = 'ok'
      await bridge.crash()
      await bridge.revive()
      await bridge.request('GET', '/account/whoami')
    },
    roomId: await portal(server.client(registration.as_token), server.owner.userId),
    [Symbol.asyncDispose]: () => bridge[Symbol.asyncDispose](),
  }
}

const connected: Start = async (server, id) => {
  const { as_token: token } = (await server.owner.put(path(id), { push: false })).body
  const bridge = await SocketBridge.connect({ url: server.url, token })
  return {
    attempts: bridge.attempts,
    bodies: () => bodiesOf(bridge.events),
    behave(how) {
      bridge.behaviour = how === 'refuse' ? 'error' : how
    },
    crash: () => bridge.crash(),
    async revive() {
      bridge.behaviour = 'ok'
      await bridge.crash()
      await bridge.connect()
    },
    roomId: await portal(server.client(token), server.owner.userId),
    [Symbol.asyncDispose]: () => bridge[Symbol.asyncDispose](),
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a bridge reads what it gets
function bodiesOf(events: readonly any[]): string[] {
  return events.filter((event) => event.type === 'm.room.message').map((event) => event.content.body)
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; !(await holds()); i++) {
    if (i === 1_000) throw new Error(`waited in vain until ${what}`)
    await sleep(10)
  }
}

async function stateOf(server: TestServer, id: string) {
  const query = 'query ($id: String!) { bridge(id: $id) { queueLength oldestUndelivered lastError failures } }'
  return (await server.owner.graphql(query, { id })).data.bridge
}

const isSettled = (server: TestServer, id: string) => async () => (await stateOf(server, id)).queueLength === 0

for (const [sink, start] of [
  ['HTTP push', pushed],
  ['the websocket', connected],
] as const) {
  describe(`over ${sink}`, () => {
    test('a bridge that is down for an hour gets all of it when it is back, in order and once, in the transactions that were begun', async () => {
      const clock = new Clock(SocketBridge.settle)
      await using server = await startServer({ ports: clock.ports })
      await using bridge = await start(server, 'sh-away')
      await until('it is settled', isSettled(server, 'sh-away'))
      await bridge.crash()
      for (let n = 1; n <= 120; n += 20) {
        for (const body of numbers(n, n + 19)) await server.owner.send(bridge.roomId, body)
        await clock.move(hour / 6)
      }
      const away = await stateOf(server, 'sh-away')
      assert.equal(away.queueLength, 120)
      assert.ok(clock.now() - away.oldestUndelivered >= hour)
      const metrics = await (await fetch(`${server.url}/metrics`)).text()
      const [, seconds] = /oldest_undelivered_seconds\{[^}]*sh-away[^}]*\} (\d+)/.exec(metrics) ?? []
      assert.ok(Number(seconds) >= 3_600, metrics)
      await bridge.revive()
      await until('all came', () => bridge.bodies().length >= 120)
      await until('it is settled', isSettled(server, 'sh-away'))
      assert.deepEqual(bridge.bodies(), numbers(1, 120))
      assertOneContent(bridge)
    })

    test('a bridge that crashes after reading and before answering is sent the same again, and handles nothing twice', async () => {
      const clock = new Clock(SocketBridge.settle)
      await using server = await startServer({ ports: clock.ports })
      await using bridge = await start(server, 'sh-crash')
      await until('it is settled', isSettled(server, 'sh-crash'))
      for (const body of numbers(1, 5)) {
        const before = bridge.attempts.length
        bridge.behave('lose')
        await server.owner.send(bridge.roomId, body)
        await until('it was read', () => bridge.attempts.length > before)
        const { txnId } = bridge.attempts[before]!
        await bridge.revive()
        await until('it came again', () => bridge.attempts.slice(before + 1).some((attempt) => attempt.txnId === txnId))
        await until('it is settled', isSettled(server, 'sh-crash'))
      }
      assert.deepEqual(bridge.bodies(), numbers(1, 5))
      assertOneContent(bridge)
    })

    test('a bridge that refuses one transaction for ever shows it, harms no other, and loses nothing', async () => {
      const clock = new Clock(SocketBridge.settle)
      await using server = await startServer({ ports: clock.ports })
      await using bridge = await start(server, 'sh-refuses')
      await using other = await start(server, 'sh-other')
      await until('both are settled', async () => (await isSettled(server, 'sh-refuses')()) && isSettled(server, 'sh-other')())
      bridge.behave('refuse')
      const before = bridge.attempts.length
      for (const body of numbers(1, 10)) {
        await server.owner.send(bridge.roomId, body)
        await server.owner.send(other.roomId, body)
        await clock.move(hour / 40)
      }
      await until('the other has all', () => other.bodies().length === 10)
      assert.deepEqual(other.bodies(), numbers(1, 10))
      const refused = bridge.attempts.slice(before)
      assert.ok(refused.length > 20)
      assert.equal(new Set(refused.map(({ txnId, text }) => `${txnId} ${text}`)).size, 1)
      const state = await stateOf(server, 'sh-refuses')
      assert.equal(state.queueLength, 10)
      assert.match(state.lastError, /Told to fail/)
      assert.ok(state.failures > 20)
      bridge.behave('ok')
      await clock.move(30_000)
      await until('all came', () => bridge.bodies().length === 10)
      await until('it is settled', isSettled(server, 'sh-refuses'))
      assert.deepEqual(bridge.bodies(), numbers(1, 10))
      assertOneContent(bridge)
      assert.equal((await stateOf(server, 'sh-refuses')).failures, 0)
    })

    test('a server that is stopped while a bridge is silent sends it the same after its restart', async () => {
      await using server = await startServer()
      await using bridge = await start(server, 'sh-silent')
      await until('it is settled', isSettled(server, 'sh-silent'))
      const before = bridge.attempts.length
      bridge.behave('hang')
      await server.owner.send(bridge.roomId, '1')
      await until('it came', () => bridge.attempts.length === before + 1)
      await server.owner.send(bridge.roomId, '2')
      await server.restart()
      await bridge.revive()
      await until('both came', () => bridge.bodies().length === 2)
      await until('it is settled', isSettled(server, 'sh-silent'))
      assert.deepEqual(bridge.bodies(), ['1', '2'])
      assert.equal(bridge.attempts[before + 1]!.txnId, bridge.attempts[before]!.txnId)
      assertOneContent(bridge)
    })
  })
}

test('a bridge that answers slowly is sent one transaction at a time, and nothing twice', async () => {
  await using server = await startServer()
  const registration = (await server.owner.put(path('sh-slow'), { push: true, address: 'http://127.0.0.1:1' })).body
  const options = { homeserverUrl: server.url, registration, domain, onMessage: () => sleep(100) }
  await using bridge = await ExampleBridge.start(options)
  await server.owner.put(path('sh-slow'), { push: true, address: bridge.url })
  const roomId = await portal(server.client(registration.as_token), server.owner.userId)
  for (const body of numbers(1, 10)) await server.owner.send(roomId, body)
  await bridge.until('all came', () => bodiesOf(bridge.events).length === 10)
  await until('it is settled', isSettled(server, 'sh-slow'))
  assert.deepEqual(bodiesOf(bridge.events), numbers(1, 10))
  assert.equal(bridge.mostAtOnce, 1)
  assert.equal(new Set(bridge.attempts.map(({ txnId }) => txnId)).size, bridge.attempts.length)
})

/** "No transaction id was ever sent with two contents", and none comes again after another one. */
function assertOneContent({ attempts }: Bridge): void {
  const contents = new Map<string, string>()
  let last = ''
  for (const { txnId, text } of attempts) {
    assert.equal(contents.get(txnId) ?? text, text)
    if (txnId !== last) assert.ok(!contents.has(txnId), `${txnId} came again after another`)
    contents.set(txnId, text)
    last = txnId
  }
}
