/** A PostgreSQL that does not answer: nobody waits for it without end. */
import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import pg from 'pg'
import { MatrixError } from '../../src/errors.ts'
import { openShard } from '../../src/storage/shard.ts'
import type { Shard } from '../../src/storage/storage.ts'
import { testPostgres } from '../rig/postgres.ts'
import { change, event, nothing, quietPorts } from './engines.ts'

const skip = await testPostgres().then(
  () => false,
  (error: Error) => {
    if (process.env['CI'] === 'true') throw error
    return error.message
  },
)

const is503 = (error: unknown) => error instanceof MatrixError && error.status === 503
const timeoutMs = 300

async function opened(t: TestContext, url: string): Promise<{ shard: Shard; lost: string[] }> {
  const shard = await openShard({ name: 'test', url, ports: quietPorts(), onFatal: (error) => assert.fail(error), timeoutMs, readers: 1 })
  t.after(() => shard[Symbol.asyncDispose]())
  const lost: string[] = []
  shard.onInstanceLost = (instance, why) => lost.push(`${instance} ${why}`)
  return { shard, lost }
}

async function write(shard: Shard): Promise<void> {
  const { position } = await shard.open(1)
  const order = position + 1
  await shard.enqueue(
    change(1, (c) => c.put('event', event(1, 1, order)), order),
    nothing,
  )
  assert.equal((await shard.storage(1).find('event', { where: { room: 1, order } })).length, 1)
}

/** Between us and the server; `freeze` lets nothing more through on the connections that there are. */
async function wire(t: TestContext, url: string): Promise<{ url: string; freeze(): void }> {
  const { pathname, searchParams } = new URL(url)
  const pairs: [Socket, Socket][] = []
  const server = createServer((near) => {
    const far = connect(join(searchParams.get('host')!, '.s.PGSQL.5432'))
    pairs.push([near, far])
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.pipe(other)
      one.on('error', () => other.destroy()).on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const pair of pairs) for (const socket of pair) socket.destroy()
    server.close()
  })
  return {
    url: `postgresql://postgres@127.0.0.1:${(server.address() as AddressInfo).port}${pathname}`,
    freeze() {
      for (const [near, far] of pairs) {
        near.unpipe(far).pause()
        far.unpipe(near).pause()
      }
    },
  }
}

test('connections that say nothing any more: what waits for them is 503, and new ones are made', { skip, timeout: 30_000 }, async (t) => {
  const through = await wire(t, await (await testPostgres()).database())
  const { shard, lost } = await opened(t, through.url)
  await write(shard)
  through.freeze()
  await Promise.all([
    assert.rejects(shard.storage(1).count('event', {}), is503),
    assert.rejects(
      shard.enqueue(
        change(1, (c) => c.put('event', event(1, 1, 500)), 500),
        nothing,
      ),
      is503,
    ),
  ])
  assert.deepEqual(lost, ['1 lost'])
  await write(shard)
})

test('a statement that the server does not come to an end with is 503, and the instance can be had again', {
  skip,
  timeout: 30_000,
}, async (t) => {
  const url = await (await testPostgres()).database()
  const { shard, lost } = await opened(t, url)
  await write(shard)
  const other = new pg.Client({ connectionString: url })
  await other.connect()
  await other.query('BEGIN')
  await other.query('LOCK TABLE "event" IN ACCESS EXCLUSIVE MODE')
  const stuck = shard.enqueue(
    change(1, (c) => c.put('event', event(1, 1, 500)), 500),
    nothing,
  )
  await Promise.all([assert.rejects(stuck, is503), assert.rejects(shard.storage(1).count('event', {}), is503)])
  assert.deepEqual(lost, ['1 lost'])
  await other.end()
  await write(shard)
})
