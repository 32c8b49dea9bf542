/** Messages to devices in transactions: their order, their bounds, outages and restarts. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { queueLength, waitingSince } from '../../src/appservices/queue.ts'
import { jobsDone } from '../jobs/done.ts'
import { startServer, type TestServer } from '../rig/server.ts'
import { onBothEngines } from '../storage/engines.ts'
import { botDevice, EncryptedBridge, sendTo, type Way } from './encryption-rig.ts'

/** What bridges on mautrix-python take. */
const mostBytes = 1_048_576
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n)

await onBothEngines('messages to devices in transactions', (place) => {
  const open = async (t: TestContext): Promise<TestServer> => startServer({ databaseUrl: (await place(t)).url })

  function contents(bridge: EncryptedBridge): number[] {
    return bridge.messages.map(({ content }) => content.n)
  }

  async function waiting(bridge: EncryptedBridge): Promise<number> {
    return (await bridge.instance()).storage.count('toDevice', {})
  }

  test('a room event never comes before a message to a device that was sent before it, however much waits', async (t) => {
    await using server = await open(t)
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const roomId = await bridge.portal(server.owner.userId)
    await bridge.settled()
    await bridge.pause(true)
    for (const n of numbers(110)) {
      // Of many sizes, so that now this bound ends a transaction and now that one.
      await sendTo(server.owner, bridge, { n, text: 'x'.repeat(n % 7 === 0 ? 30_000 : 10) })
      if (n % 2 === 0) await server.owner.send(roomId, String(n))
    }
    await bridge.pause(false)
    await bridge.settled()
    const seen = new Set<number>()
    const said: number[] = []
    for (const { to_device: messages = [], events } of bridge.transactions) {
      for (const { content } of messages) seen.add(content.n)
      for (const { type, content } of events) {
        if (type !== 'm.room.message') continue
        assert.ok(seen.has(Number(content.body)), `${content.body} came before its key`)
        said.push(Number(content.body))
      }
    }
    assert.deepEqual(contents(bridge), numbers(110))
    assert.deepEqual(
      said,
      numbers(110).filter((n) => n % 2 === 0),
    )
  })

  test('250 messages arrive as 100, 100 and 50, and are gone when they are acknowledged', async (t) => {
    await using server = await open(t)
    await using bridge = await EncryptedBridge.start(server, 'echo')
    await bridge.settled()
    await bridge.pause(true)
    await bridge.sendMany(250)
    assert.equal(await waiting(bridge), 250)
    await bridge.pause(false)
    await bridge.settled()
    const sizes = bridge.transactions.flatMap(({ to_device: messages }) => messages?.length ?? [])
    assert.deepEqual(sizes, [100, 100, 50])
    assert.deepEqual(contents(bridge), numbers(250))
    assert.equal(await waiting(bridge), 0)
  })

  test('however large they are, a transaction stays under 1 MiB, all arrive in order, and what comes behind them arrives as well', async (t) => {
    await using server = await open(t)
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const roomId = await bridge.portal(server.owner.userId)
    await bridge.settled()
    await bridge.pause(true)
    const large = 'x'.repeat(60_000)
    for (const n of numbers(20)) {
      await sendTo(server.owner, bridge, { n, large })
      await server.owner.send(roomId, large)
    }
    await server.owner.send(roomId, 'behind the flood')
    await bridge.pause(false)
    await bridge.settled()
    assert.deepEqual(contents(bridge), numbers(20))
    assert.equal(bridge.transactions.at(-1).events.at(-1).content.body, 'behind the flood')
    assert.deepEqual(
      bridge.peer.attempts.map(({ text }) => Buffer.byteLength(text)).filter((bytes) => bytes >= mostBytes),
      [],
    )
  })

  test('a flood of messages and of changed keys delays events by a few transactions, and those of another bridge not at all', async (t) => {
    await using server = await open(t)
    await using bridge = await EncryptedBridge.start(server, 'echo')
    await using other = await EncryptedBridge.start(server, 'other')
    const [roomId, elsewhere] = [await bridge.portal(server.owner.userId), await other.portal(server.owner.userId)]
    await bridge.settled()
    await bridge.pause(true)
    const before = bridge.transactions.length
    await bridge.sendMany(50)
    for (const _ of numbers(150)) await bridge.uploadKeys(0)
    await server.owner.send(roomId, 'behind the flood')
    await server.owner.send(elsewhere, 'elsewhere')
    await other.settled()
    assert.equal(other.transactions.at(-1).events.at(-1).content.body, 'elsewhere')
    await bridge.pause(false)
    await bridge.settled()
    const since = bridge.transactions.slice(before)
    assert.equal(since.at(-1).events.at(-1).content.body, 'behind the flood')
    assert.ok(since.length <= 2, `${since.length} transactions`)
    assert.deepEqual(contents(bridge), numbers(50))
  })

  for (const way of ['HTTP', 'websocket'] satisfies Way[]) {
    test(`over ${way}, a bridge that was away gets what waited, and every attempt says the same, also after a restart of the homeserver`, async (t) => {
      await using server = await open(t)
      await using bridge = await EncryptedBridge.start(server, 'echo', { way })
      const roomId = await bridge.portal(server.owner.userId)
      await bridge.settled()
      const { peer } = bridge
      peer.behaviour = 'lose'
      const before = peer.attempts.length
      await sendTo(server.owner, bridge, { n: 0 })
      await server.owner.send(roomId, 'for which it is the key')
      await peer.until('an attempt', () => peer.attempts.length > before)
      const first = peer.attempts[before]!
      assert.equal(await waiting(bridge), 1, 'what was not acknowledged is still there')
      await server.restart()
      // What happens meanwhile does not change what was frozen.
      await server.owner.post('/keys/claim', { one_time_keys: { [bridge.botId]: { [botDevice]: 'signed_curve25519' } } })
      await sendTo(server.owner, bridge, { n: 1 })
      peer.behaviour = 'ok'
      if ('connect' in peer) await peer.connect()
      await bridge.settled()
      const repeated = peer.attempts.filter(({ txnId }) => txnId === first.txnId)
      assert.ok(repeated.length >= 2)
      for (const { text } of repeated) assert.equal(text, first.text)
      assert.deepEqual(contents(bridge), [0, 1])
      assert.equal(await waiting(bridge), 0)
    })
  }

  test('what waits counts as waiting, since it was sent, and outlives a room that is deleted', async (t) => {
    await using server = await open(t)
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const instance = await bridge.instance()
    const roomId = await bridge.portal(server.owner.userId)
    await bridge.settled()
    assert.deepEqual([await queueLength(instance, await bridge.row()), await waitingSince(instance, await bridge.row())], [0, null])
    await bridge.pause(true)
    const pausedAt = instance.ports.now()
    await bridge.uploadKeys(1)
    const uploadedAt = instance.ports.now()
    await sendTo(server.owner, bridge, { n: 0 })
    const oldest = await waitingSince(instance, await bridge.row())
    assert.ok(oldest !== null && oldest >= pausedAt && oldest <= uploadedAt, 'a change of keys waits as a message does')
    await server.owner.send(roomId, 'in a room that goes')
    const length = await queueLength(instance, await bridge.row())
    await bridge.ask('POST', `/_matrix/client/unstable/com.beeper.yeet/rooms/${roomId}/delete`, {})
    await jobsDone(instance)
    assert.equal(await queueLength(instance, await bridge.row()), length - 1, 'only the event of the room went')
    await bridge.pause(false)
    await bridge.settled()
    assert.deepEqual(contents(bridge), [0])
  })
})
