import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MatrixError } from '../../src/errors.ts'
import { CommitError } from '../../src/storage/engine.ts'
import type { Batch } from '../../src/storage/fold.ts'
import type { Limits } from '../../src/storage/lines.ts'
import { Writer } from '../../src/storage/writer.ts'
import { change, event, nothing, room } from './engines.ts'

/** A writer over a database that is a list: commits wait until they are let go, and fail when told to. */
function rig(limits: Partial<Limits> = {}, now = () => 0) {
  const batches: Batch[] = []
  const lost: string[] = []
  const fatal: Error[] = []
  const gate = { held: false, waiting: [] as (() => void)[], fail: (_batch: Batch): Error | null => null }
  const writer = new Writer({
    limits,
    now,
    async commit(batch) {
      if (gate.held) await new Promise<void>((resolve) => gate.waiting.push(resolve))
      const error = gate.fail(batch)
      if (error) throw error
      batches.push(batch)
    },
    onInstanceLost: (instance, why) => lost.push(`${instance} ${why}`),
    onFatal: (error) => fatal.push(error),
  })
  const go = () => {
    for (const run of gate.waiting.splice(0)) run()
  }
  const send = (instance: number, order: number, published: number[] = [], bytes = 0) =>
    writer.enqueue(
      change(instance, (c) => c.put('event', event(instance, 1, order, { json: 'x'.repeat(bytes) })), order),
      () => published.push(order),
    )
  for (const instance of [1, 2, 3]) writer.open(instance, 'me', 1, 1_000_000)
  return { writer, batches, lost, fatal, gate, go, send }
}

const orders = (batch: Batch | undefined) => batch?.changes[0]?.put[2]
const is503 = (error: unknown) => error instanceof MatrixError && error.status === 503
const holds = (batch: Batch, order: number) => orders(batch)?.includes(order) === true

test('what queues while a commit runs becomes the next one', async () => {
  const { batches, gate, go, send } = rig()
  gate.held = true
  const published: number[] = []
  const first = send(1, 1, published)
  await nextTurn()
  const rest = [2, 3, 4].map((order) => send(1, order, published))
  await nextTurn()
  gate.held = false
  go()
  await Promise.all([first, ...rest])
  assert.deepEqual(batches.map(orders), [[1], [2, 3, 4]])
  assert.deepEqual(published, [1, 2, 3, 4])
})

test('an instance keeps its order and all instances get their turn', async () => {
  const { batches, send } = rig({ batchChangeSets: 4 })
  await Promise.all([...[1, 2, 3, 4, 5].map((order) => send(1, order)), send(2, 21), send(3, 31)])
  assert.deepEqual(batches.map(orders), [
    [1, 21, 31, 2],
    [3, 4, 5],
  ])
})

test('a flood of one instance takes a small share of each batch while another one writes', async () => {
  const { batches, send } = rig({ batchWeight: 100_000, sharedWeight: 3_000 })
  await Promise.all([...[1, 2, 3, 4, 5].map((order) => send(1, order, [], 1_000)), send(2, 21)])
  assert.deepEqual(orders(batches[0]), [1, 21, 2])
})

test('a change set larger than a batch goes alone', async () => {
  const { batches, send } = rig({ batchWeight: 1_000 })
  await Promise.all([send(1, 1), send(1, 2, [], 5_000), send(1, 3)])
  assert.deepEqual(batches.map(orders), [[1], [2], [3]])
})

test('a failing change set gets its own error, what its instance queued behind it 503, others notice nothing', async () => {
  const { writer, lost, gate, go, send } = rig()
  gate.fail = (batch) => (holds(batch, 2) ? new Error('constraint') : null)
  gate.held = true
  const published: number[] = []
  const all = [1, 2, 3].map((order) => send(1, order, published))
  const other = send(2, 21, published)
  await nextTurn()
  const behind = send(1, 4, published)
  const settled = Promise.allSettled([...all, behind, other])
  gate.held = false
  go()
  const [a, b, c, d, e] = await settled
  assert.equal(a?.status, 'fulfilled')
  assert.equal((b as PromiseRejectedResult).reason.message, 'constraint')
  assert.ok(is503((c as PromiseRejectedResult).reason))
  assert.ok(is503((d as PromiseRejectedResult).reason))
  assert.equal(e?.status, 'fulfilled')
  assert.deepEqual(lost, ['1 failed'])
  assert.deepEqual(published, [1, 21])
  // Its memory was dropped, but it is still ours: it goes on.
  await send(1, 5, published)
  assert.equal(writer.queued, 0)
})

test('a change set that cannot be written fails in its turn: what is queued before it is kept', async () => {
  const { batches, lost, send } = rig()
  const published: number[] = []
  const [a, b, c] = await Promise.allSettled([send(1, 1, published), send(1, 1.5, published), send(1, 3, published)])
  assert.deepEqual([a?.status, b?.status, c?.status], ['fulfilled', 'rejected', 'rejected'])
  assert.ok((b as PromiseRejectedResult).reason instanceof TypeError)
  assert.ok(is503((c as PromiseRejectedResult).reason))
  assert.deepEqual(published, [1])
  assert.deepEqual(batches.map(orders), [[1]])
  assert.deepEqual(lost, ['1 failed'])
})

test('an unknown outcome turns away the batch and everything behind it, and its instances must be opened again', async () => {
  const { writer, lost, gate, go, send } = rig()
  gate.fail = () => new CommitError('unknown', new Error('connection lost'))
  gate.held = true
  const all = [send(1, 1), send(2, 21)]
  await nextTurn()
  all.push(send(1, 2))
  const settled = Promise.allSettled(all)
  gate.held = false
  go()
  for (const result of await settled) assert.ok(result.status === 'rejected' && is503(result.reason))
  assert.deepEqual(lost, ['1 lost', '2 lost'])
  await assert.rejects(send(1, 3), is503)
  gate.fail = () => null
  writer.open(1, 'me', 2, 1_000_000)
  await send(1, 4)
})

test('an instance that was taken over is lost alone', async () => {
  const { batches, lost, gate, send } = rig()
  gate.fail = ({ claims }) => (claims.some(({ instance }) => instance === 2) ? new CommitError('notOwned', new Error('taken over')) : null)
  const [one, two, three] = await Promise.allSettled([send(1, 1), send(2, 21), send(3, 31)])
  assert.deepEqual([one?.status, two?.status, three?.status], ['fulfilled', 'rejected', 'fulfilled'])
  assert.deepEqual(lost, ['2 lost'])
  assert.equal(batches.length, 2)
})

test('a failed fsync ends the process', async () => {
  const { fatal, gate, send } = rig()
  gate.fail = () => new CommitError('fatal', new Error('fsync'))
  await assert.rejects(send(1, 1), is503)
  assert.equal(fatal.length, 1)
})

test('what is durable while its instance is being lost is not published', async () => {
  const { writer, gate, go, send } = rig()
  gate.held = true
  const published: number[] = []
  const sent = send(1, 1, published)
  await nextTurn()
  writer.lose(1, new Error('lease'))
  writer.open(1, 'me', 2, 1_000_000)
  gate.held = false
  const settled = Promise.allSettled([sent])
  go()
  const [result] = await settled
  assert.ok(result?.status === 'rejected' && is503(result.reason))
  assert.deepEqual(published, [])
  assert.ok(writer.isOpen(1))
})

test('nothing of an instance becomes durable behind a change set whose outcome is unknown', async () => {
  const { batches, lost, gate, send } = rig()
  const errors = [new Error('constraint'), new CommitError('unknown', new Error('the connection was lost'))]
  gate.fail = () => errors.shift() ?? null
  const results = await Promise.allSettled([1, 2, 3].map((order) => send(1, order)))
  assert.ok(results.every((result) => result.status === 'rejected' && is503(result.reason)))
  assert.deepEqual(batches, [])
  assert.deepEqual(lost, ['1 lost'])
})

test('the stored ceiling is raised before a position above it is published, by a thousand', async () => {
  const { writer, batches, send } = rig()
  writer.open(1, 'me', 2, 10)
  const typing = (position: number) =>
    writer.enqueue(
      change(1, () => undefined, position),
      nothing,
    )
  await send(1, 9)
  await send(1, 11)
  await typing(1_011)
  await typing(1_012)
  assert.deepEqual(
    batches.map(({ claims }) => claims[0]?.ceiling),
    [null, 1_011, 2_012],
    'the typing notification at 1 011 needed no transaction',
  )
})

test('flushed() waits for what is queued, and only for that', async () => {
  const { writer, gate, go, send } = rig()
  await writer.flushed(1)
  gate.held = true
  const published: number[] = []
  const sent = send(1, 1, published)
  await nextTurn()
  const flushed = writer.flushed(1).then(() => published.push(-1))
  await writer.flushed(2)
  gate.held = false
  go()
  await Promise.all([sent, flushed])
  assert.deepEqual(published, [1, -1])
  gate.fail = () => new Error('constraint')
  const failing = assert.rejects(send(1, 2), /constraint/)
  await assert.rejects(writer.flushed(1), is503)
  await failing
})

test('a full line says so and empties again', async () => {
  const { writer, send } = rig({ lineChangeSets: 2, lineWeight: 10_000 })
  const sent = [send(1, 1)]
  assert.equal(writer.isFull(1), false)
  sent.push(send(1, 2))
  assert.equal(writer.isFull(1), true)
  assert.equal(writer.isFull(2), false)
  await Promise.all(sent)
  assert.equal(writer.isFull(1), false)
  const large = send(1, 3, [], 20_000)
  assert.equal(writer.isFull(1), true)
  await large
})

test('while others write, a line is full much sooner, until it has been alone for ten seconds', async () => {
  let now = 0
  const { writer, send } = rig({ lineChangeSets: 6, sharedChangeSets: 2 }, () => now)
  let order = 0
  const fillsAt = async () => {
    const sent: Promise<void>[] = []
    while (!writer.isFull(1)) sent.push(send(1, ++order))
    await Promise.all(sent)
    return sent.length
  }
  assert.equal(await fillsAt(), 6)
  await send(2, 1)
  assert.equal(await fillsAt(), 2)
  now = 9_999
  assert.equal(await fillsAt(), 2)
  assert.equal(writer.isFull(2), false)
  now = 20_000
  assert.equal(await fillsAt(), 6)
})

test('registrations are each for themselves', async () => {
  const { writer, gate, lost } = rig()
  gate.fail = (batch) => (batch.changes.some(({ put }) => put[1]?.includes(2)) ? new Error('constraint') : null)
  const results = await Promise.allSettled([1, 2, 3].map((key) => writer.register(change(key, (c) => c.put('room', room(key, key))))))
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  assert.deepEqual(lost, [])
})

test('closing waits for what is queued and answers with the claim', async () => {
  const { writer, send } = rig()
  const published: number[] = []
  const sent = [send(1, 1, published), send(1, 2, published)]
  const claim = await writer.close(1)
  assert.deepEqual(published, [1, 2])
  assert.equal(claim?.epoch, 1)
  await Promise.all(sent)
  await assert.rejects(send(1, 3), is503)
  assert.equal(await writer.close(1), null)
})
