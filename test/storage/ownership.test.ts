import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { MatrixError } from '../../src/errors.ts'
import { openShard } from '../../src/storage/shard.ts'
import { sqlitePath } from '../../src/storage/sqlite-connection.ts'
import { startPostgres } from '../rig/postgres.ts'
import { change, event, nothing, postgresPlace, quietPorts, sqlitePlace } from './engines.ts'

const is503 = (error: unknown) => error instanceof MatrixError && error.status === 503

/** Another process that opens the shard and instance 1, and says so. */
async function holder(url: string, leaseMs: number): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      '--experimental-strip-types',
      fileURLToPath(import.meta.resolve('./holder.ts')),
      url,
      String(leaseMs),
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve())
    child.once('exit', () => reject(new Error('the other process did not get the shard')))
  })
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await exited
}

test('SQLite: a second process waits, then fails naming the holder; a killed holder is no obstacle', { timeout: 30_000 }, async (t) => {
  const here = await sqlitePlace(t)
  const other = await holder(here.url, 1_000)
  await assert.rejects(here.open({ lockWaitMs: 300 }), new RegExp(`in use by process ${other.pid} on `))
  const waiting = here.open({ lockWaitMs: 10_000 })
  await kill(other)
  const shard = await waiting
  assert.equal((await shard.open(1)).position, 100_000, 'it was not closed cleanly')
  const file = `${sqlitePath(here.url)}.holder`
  assert.match(readFileSync(file, 'utf8'), new RegExp(`process ${process.pid} on `))
  await shard[Symbol.asyncDispose]()
  assert.equal(existsSync(file), false)
})

const postgres = await startPostgres().catch((error: Error) => {
  if (process.env['CI'] === 'true') throw error
  return error
})
const skip = postgres instanceof Error ? postgres.message : false

test('PostgreSQL: an instance of another living process is 503 until that process is gone', {
  skip,
  timeout: 30_000,
}, async (t) => {
  const here = await postgresPlace(t)
  const other = await holder(here.url, 900)
  const shard = await here.open({ leaseMs: 900 })
  await assert.rejects(shard.open(1), is503)
  // It renews: after more than a lease it is still the other's.
  await sleep(1_500)
  await assert.rejects(shard.open(1), is503)
  assert.deepEqual(await shard.open(2), { position: 0 })
  await kill(other)
  await assert.rejects(shard.open(1), is503, 'nobody can know yet')
  for (let tries = 0; tries < 30; tries++) {
    const opened = await shard.open(1).catch(() => null)
    if (opened) {
      assert.equal(opened.position, 100_000)
      return
    }
    await sleep(100)
  }
  assert.fail('the instance of a dead process was not to be had')
})

test('PostgreSQL: a process that stands still loses its instance when its lease has run out', { skip, timeout: 30_000 }, async (t) => {
  const here = await postgresPlace(t)
  const other = await holder(here.url, 900)
  t.after(() => kill(other))
  const shard = await here.open({ leaseMs: 900 })
  await assert.rejects(shard.open(1), is503)
  other.kill('SIGSTOP')
  for (;;) {
    const opened = await shard.open(1).catch((error: unknown) => assert.ok(is503(error)))
    if (opened) return assert.equal(opened.position, 100_000)
    await sleep(100)
  }
})

test('PostgreSQL: the instance of a process that was killed is taken over without waiting for its lease', {
  skip,
  timeout: 30_000,
}, async (t) => {
  const here = await postgresPlace(t)
  const other = await holder(here.url, 600_000)
  const shard = await here.open({ leaseMs: 600_000 })
  await assert.rejects(shard.open(1), is503)
  await kill(other)
  for (;;) {
    const opened = await shard.open(1).catch((error: unknown) => assert.ok(is503(error)))
    if (opened) return assert.equal(opened.position, 100_000)
    await sleep(100)
  }
})

test('PostgreSQL: a process that lost its connection and made a new one keeps its instance', { skip, timeout: 30_000 }, async (t) => {
  const here = await postgresPlace(t)
  const shard = await here.open({ leaseMs: 3_000 })
  const reopened = new Promise((resolve) => {
    shard.onInstanceLost = (instance) => resolve(shard.open(instance))
  })
  await shard.open(1)
  const other = await here.open({ leaseMs: 3_000 })
  const client = new pg.Client({ connectionString: here.url })
  await client.connect()
  await client.query(
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
  )
  await client.end()
  await assert.rejects(other.open(1), is503)
  await reopened
  // Longer than a dead one would be waited for.
  await sleep(500)
  for (let tries = 0; tries < 2; tries++) await assert.rejects(other.open(1), is503)
  await shard.enqueue(
    change(1, (c) => c.put('event', event(1, 1, 200_000)), 200_000),
    nothing,
  )
})

test('PostgreSQL: an instance that somebody else took is noticed by the next renewal', { skip, timeout: 30_000 }, async (t) => {
  const here = await postgresPlace(t)
  const shard = await here.open({ leaseMs: 300 })
  await shard.open(1)
  await shard.open(2)
  const lost = new Promise<string>((resolve) => (shard.onInstanceLost = (instance, why) => resolve(`${instance} ${why}`)))
  const thief = await here.open()
  await thief.register(
    change(1, (c) => c.put('ownership', { instance: 1, owner: 'thief', epoch: 9, leaseUntil: 2 ** 50, ceiling: 0, clean: 0 })),
  )
  assert.equal(await lost, '1 lost')
  await assert.rejects(shard.open(1), is503)
})

test('PostgreSQL: with the server killed everything queued is 503; afterwards the instance is taken again and no acknowledged row is missing', {
  skip,
  timeout: 60_000,
}, async () => {
  if (postgres instanceof Error) return
  const url = await postgres.database()
  const shard = await openShard({ name: 'test', url, ports: quietPorts(), onFatal: (error) => assert.fail(error) })
  try {
    const lost: string[] = []
    shard.onInstanceLost = (instance, why) => lost.push(`${instance} ${why}`)
    let { position } = await shard.open(1)
    const acknowledged: number[] = []
    let stop = false
    const errors: unknown[] = []
    const senders = Array.from({ length: 8 }, async () => {
      while (!stop) {
        const order = ++position
        const one = change(1, (c) => c.put('event', event(1, 1, order)), order)
        await shard.enqueue(one, nothing).then(
          () => acknowledged.push(order),
          async (error: unknown) => {
            errors.push(error)
            await sleep(20)
          },
        )
      }
    })
    await sleep(300)
    await postgres.kill()
    await assert.rejects(async () => {
      for (;;) await shard.storage(1).count('event', {})
    }, is503)
    await sleep(200)
    assert.deepEqual(lost, ['1 lost'])
    await assert.rejects(shard.open(1), is503)
    stop = true
    await Promise.all(senders)
    assert.ok(errors.length > 0 && errors.every(is503))
    await postgres.start()
    const before = position
    position = (await shard.open(1)).position
    assert.ok(position > before)
    const rows = await shard.storage(1).find('event', { where: { room: 1 }, orderBy: ['order'] })
    const stored = new Set(rows.map(({ order }) => order))
    assert.ok(acknowledged.length > 0 && acknowledged.every((order) => stored.has(order)))
    await shard.enqueue(
      change(1, (c) => c.put('event', event(1, 1, position + 1)), position + 1),
      nothing,
    )
  } finally {
    await shard[Symbol.asyncDispose]()
  }
})
