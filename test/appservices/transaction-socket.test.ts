/** What goes over one websocket of a bridge, when what lies behind it fails. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { pino } from 'pino'
import { bridgeSockets } from '../../src/appservices/sockets.ts'
import { TransactionSocket } from '../../src/appservices/transaction-socket.ts'
import { systemPorts } from '../../src/ports.ts'
import { Portals } from './portals.ts'

let portals: Portals
before(async () => {
  portals = await Portals.open()
})
after(() => portals[Symbol.asyncDispose]())

test('what a bridge has acknowledged is not sent again over the same connection, should the commit of it fail; what it refused is', async () => {
  const sent: string[] = []
  let ok = true
  const connection = {
    version: 2 as const,
    gone: new AbortController().signal,
    async transaction({ txnId }: { txnId: string }) {
      sent.push(txnId)
      return ok ? { ok: true as const, data: {} } : { ok: false as const, code: 'ORG.EXAMPLE', message: 'no' }
    },
    request: () => Promise.reject(new Error('not asked')),
    close: () => undefined,
  }
  const socket = new TransactionSocket(connection, systemPorts(pino({ level: 'silent' })))
  const deliver = (txnId: string) => socket.deliver({ txnId, body: '{}' }, new AbortController().signal, () => undefined)
  assert.deepEqual(await deliver('a'), { ok: true })
  assert.deepEqual(await deliver('a'), { ok: true })
  assert.deepEqual(await deliver('b'), { ok: true })
  assert.deepEqual(sent, ['a', 'b'])
  ok = false
  assert.equal((await deliver('c')).ok, false)
  assert.equal((await deliver('c')).ok, false)
  assert.deepEqual(sent, ['a', 'b', 'c', 'c'])
})

test('a bridge that has connected anew is sent nothing before its half second, whatever was about to be sent', async () => {
  const portal = await portals.register()
  await using old = await portal.connect()
  await portals.settled(portal)
  const sockets = bridgeSockets(portals.instance)
  assert.ok(sockets.isReady(portal.key))
  await using bridge = await portal.connect()
  await old.closed
  const outcome = await sockets.deliver(portal.key, { txnId: 'early', body: '{"events":[]}' }, AbortSignal.timeout(200), () => undefined)
  assert.deepEqual([outcome.ok, bridge.attempts.map(({ txnId }) => txnId)], [false, []])
})

test('a bridge that handles a transaction reads nothing meanwhile, not even pings: it is given up by the transaction, not by the pings', async () => {
  const portal = await portals.register()
  await using slow = await portal.connect({ autoPong: false })
  await portals.settled(portal)
  slow.behaviour = 'hang'
  const before = slow.attempts.length
  await portal.send('takes long')
  await slow.until('it came', () => slow.attempts.length > before)
  await portals.clock.move(150_000)
  assert.ok(bridgeSockets(portals.instance).isConnected(portal.key))
  const { id, txnId } = slow.attempts[before]!
  slow.send({ id, command: 'response', data: { txn_id: txnId } })
  await portals.settled(portal)
  await portals.clock.move(120_000)
  assert.equal((await slow.closed).code, 1006)
})
