import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { test } from 'node:test'
import Database from 'better-sqlite3'
import pg from 'pg'
import { MatrixError } from '../../src/errors.ts'
import { migratePostgres, migrateSqlite } from '../../src/storage/migrate.ts'
import { sqlitePath } from '../../src/storage/sqlite-connection.ts'
import type { Shard } from '../../src/storage/storage.ts'
import { change, event, nothing, onBothEngines, type Place, room, sqlitePlace } from './engines.ts'

const is503 = (error: unknown) => error instanceof MatrixError && error.status === 503

/** As somebody else would, behind the shard's back. */
async function behindItsBack(here: Place, sql: string): Promise<unknown[]> {
  if (here.engine === 'sqlite') {
    const database = new Database(sqlitePath(here.url), { timeout: 5_000 })
    try {
      const statement = database.prepare(sql)
      return statement.reader ? statement.all() : [statement.run()]
    } finally {
      database.close()
    }
  }
  const client = new pg.Client({ connectionString: here.url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

function send(shard: Shard, instance: number, order: number, eventId = `$${order}`): Promise<void> {
  const one = change(instance, (c) => c.put('event', event(instance, 1, order, { eventId })), order)
  return shard.enqueue(one, nothing)
}

async function orders(shard: Shard, instance: number): Promise<number[]> {
  return (await shard.storage(instance).find('event', { where: { room: 1 }, orderBy: ['order'] })).map(({ order }) => order)
}

await onBothEngines('a shard', (place, engine) => {
  test('what was acknowledged is there after the shard is closed and opened again', async (t) => {
    const here = await place(t)
    const first = await here.open()
    assert.deepEqual(await first.open(1), { position: 0 })
    await Promise.all([1, 2, 3].map((order) => send(first, 1, order)))
    await first[Symbol.asyncDispose]()
    const second = await here.open()
    assert.deepEqual(await second.open(1), { position: 1_003 }, 'the ceiling, raised by the first commit')
    assert.deepEqual(await orders(second, 1), [1, 2, 3])
    assert.equal(second.stats().queued, 0)
  })

  test('concurrent change sets share a transaction', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    await shard.open(1)
    const committed: number[] = []
    await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        shard.enqueue(
          change(1, (c) => c.put('event', event(1, 1, i + 1)), i + 1),
          () => committed.push(i + 1),
        ),
      ),
    )
    assert.deepEqual(
      committed,
      Array.from({ length: 200 }, (_, i) => i + 1),
    )
    assert.ok(shard.stats().batches < 10)
    assert.equal(shard.stats().changeSets, 200)
  })

  test('a change set that the database refuses fails alone; its instance goes on after a fresh start', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    const lost: string[] = []
    shard.onInstanceLost = (instance, why) => lost.push(`${instance} ${why}`)
    await shard.open(1)
    await shard.open(2)
    const twice = [send(shard, 1, 1, '$same'), send(shard, 1, 2, '$same'), send(shard, 1, 3), send(shard, 2, 1), send(shard, 2, 2)]
    const [a, b, c, d, e] = await Promise.allSettled(twice)
    assert.deepEqual(
      [a?.status, b?.status, c?.status, d?.status, e?.status],
      ['fulfilled', 'rejected', 'rejected', 'fulfilled', 'fulfilled'],
    )
    assert.match(String((b as PromiseRejectedResult).reason.message), /unique/i)
    assert.ok(is503((c as PromiseRejectedResult).reason))
    assert.deepEqual(lost, ['1 failed'])
    assert.deepEqual(await orders(shard, 1), [1])
    assert.deepEqual(await orders(shard, 2), [1, 2])
    await send(shard, 1, 4)
    assert.deepEqual(await orders(shard, 1), [1, 4])
  })

  test('under commits that fail at random, exactly what was acknowledged is stored', async (t) => {
    const here = await place(t)
    let seed = 7
    const failCommit = () => {
      seed = (seed * 48_271) % 2_147_483_647
      return seed % 5 === 0 ? new Error('made to fail') : null
    }
    const shard = await here.open({ faults: { failCommit }, limits: { batchChangeSets: 16 } })
    const acknowledged = new Map<number, Set<number>>()
    const published = new Map<number, number[]>()
    const lost = new Map<number, number>()
    shard.onInstanceLost = (instance) => lost.set(instance, (lost.get(instance) ?? 0) + 1)
    const instances = [1, 2, 3]
    const errors: unknown[] = []
    for (const instance of instances) {
      await shard.open(instance)
      acknowledged.set(instance, new Set())
      published.set(instance, [])
    }
    await Promise.all(
      instances.flatMap((instance) => {
        let position = 0
        return Array.from({ length: 8 }, async () => {
          for (let i = 0; i < 30; i++) {
            const order = ++position
            const one = change(instance, (c) => c.put('event', event(instance, 1, order)), order)
            await shard
              .enqueue(one, () => published.get(instance)?.push(order))
              .then(
                () => acknowledged.get(instance)?.add(order),
                (error: unknown) => errors.push(error),
              )
          }
        })
      }),
    )
    assert.ok(errors.length > 0)
    assert.ok(errors.every((error) => is503(error) || (error as Error).message === 'made to fail'))
    for (const instance of instances) {
      const stored = await orders(shard, instance)
      assert.deepEqual(stored, published.get(instance), 'published in order, all of it stored')
      assert.deepEqual(new Set(stored), acknowledged.get(instance))
    }
    assert.ok(lost.size > 0)
  })

  test('an instance that was not released continues 100 000 above its ceiling, a released one at it', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    await shard.open(1)
    await send(shard, 1, 5)
    await shard.release(1)
    assert.deepEqual(await shard.open(1), { position: 1_005 })
    await send(shard, 1, 1_006)
    await shard.release(1)
    await behindItsBack(here, 'UPDATE "ownership" SET "clean" = 0')
    assert.deepEqual(await shard.open(1), { position: 102_006 })
    await assert.rejects(shard.open(1), /open already/)
    const [row] = await shard.lookup('ownership', { where: { instance: 1 } })
    assert.equal(row?.epoch, 3)
  })

  test('an instance whose epoch was taken in the middle of its work is lost; nothing it decided afterwards is stored', async (t) => {
    const here = await place(t)
    let steal = false
    const shard = await here.open({
      faults: {
        async beforeCommit() {
          if (!steal) return
          steal = false
          await behindItsBack(here, 'UPDATE "ownership" SET "epoch" = "epoch" + 1 WHERE "instance" = 1')
        },
      },
    })
    const lost: string[] = []
    shard.onInstanceLost = (instance, why) => lost.push(`${instance} ${why}`)
    await shard.open(1)
    await shard.open(2)
    await send(shard, 1, 1)
    steal = true
    const [one, two] = await Promise.allSettled([send(shard, 1, 2), send(shard, 2, 1)])
    assert.ok(one?.status === 'rejected' && is503(one.reason))
    assert.equal(two?.status, 'fulfilled')
    assert.deepEqual(lost, ['1 lost'])
    await assert.rejects(send(shard, 1, 3), is503)
    assert.deepEqual(await orders(shard, 1), [1])
    assert.ok((await shard.open(1)).position >= 100_000)
    await send(shard, 1, 200_000)
    assert.deepEqual(await orders(shard, 1), [1, 200_000])
  })

  test('register writes rows of an instance that is not open', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    const instance = { key: 7, name: 'seven', owner: '@a:b', userDomain: 'b', bridgeDomain: 'b', status: 'active', createdAt: 1 }
    const registering = change(7, (c) => {
      c.put('instance', instance)
      c.put('ownerId', { userId: '@a:b', instance: 7 })
    })
    await shard.register(registering)
    assert.deepEqual({ ...(await shard.lookup('instance', { where: { name: 'seven' } }))[0] }, instance)
    const sameName = change(8, (c) => c.put('instance', { ...instance, key: 8 }))
    await assert.rejects(shard.register(sameName), /unique/i)
  })

  test('removals by range on every table that has one', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    for (const instance of [1, 2]) {
      await shard.open(instance)
      const filling = change(instance, (c) => {
        for (const position of [1, 2, 3]) {
          c.put('interest', { instance, appservice: 5, position, room: 1, order: null, since: null })
          c.put('notification', { instance, user: 1, room: 1, order: position, thread: '', highlight: 0 })
        }
      })
      await shard.enqueue(filling, nothing)
    }
    const removing = change(1, (c) => {
      c.removeRange('interest', { appservice: 5, upTo: 2 })
      c.removeRange('notifications', { user: 1, room: 1, upTo: 1 })
    })
    await shard.enqueue(removing, nothing)
    const left = async (instance: number) => [
      (await shard.storage(instance).find('interest', { where: {} })).map(({ position }) => position),
      (await shard.storage(instance).find('notification', { where: {}, orderBy: ['order'] })).map(({ order }) => order),
    ]
    assert.deepEqual(await left(1), [[3], [2, 3]])
    assert.deepEqual(await left(2), [
      [1, 2, 3],
      [1, 2, 3],
    ])
  })

  test('migrations are applied once, and a database of a newer version is refused', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    await shard[Symbol.asyncDispose]()
    const names = await behindItsBack(here, 'SELECT migration_name, checksum, applied_steps_count FROM _prisma_migrations')
    assert.ok(names.length > 0)
    if (engine === 'sqlite') {
      const database = new Database(sqlitePath(here.url))
      assert.deepEqual(migrateSqlite(database, 1), [])
      database.close()
    } else {
      const client = new pg.Client({ connectionString: here.url })
      await client.connect()
      assert.deepEqual(await migratePostgres(client), [])
      await client.end()
    }
    assert.deepEqual(await behindItsBack(here, 'SELECT migration_name, checksum, applied_steps_count FROM _prisma_migrations'), names)
    await behindItsBack(here, `UPDATE _prisma_migrations SET migration_name = '9999_later'`)
    await assert.rejects(here.open(), /newer version.*9999_later/)
  })

  test('texts that look like syntax come back as they went in', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    await shard.open(1)
    const texts = ['NULL', '', '{a,b}', 'a"b\\c', "it's", '\n\t', '😀', 'null', '$1', '?']
    const filling = change(1, (c) => {
      for (const [i, text] of texts.entries()) c.put('room', room(1, i + 1, { roomId: text, version: text }))
    })
    await shard.enqueue(filling, nothing)
    const rows = await shard.storage(1).find('room', { where: { roomId: { in: texts } }, orderBy: ['key'] })
    assert.deepEqual(
      rows.map(({ version }) => version),
      texts,
    )
  })

  test('the space of 20 000 removed rows comes back', { timeout: 60_000 }, async (t) => {
    const here = await place(t)
    const shard = await here.open()
    await shard.open(1)
    const adding = change(1, (c) => {
      for (let order = 1; order <= 20_000; order++) c.put('event', event(1, 1, order, { json: 'x'.repeat(300) }))
    })
    await shard.enqueue(adding, nothing)
    const removing = change(1, (c) => {
      for (let order = 1; order <= 20_000; order++) c.remove('event', { instance: 1, room: 1, order })
    })
    await shard.enqueue(removing, nothing)
    assert.equal(await shard.storage(1).count('event', {}), 0)
    await shard.reclaimSpace()
    if (engine === 'sqlite') {
      const [free] = await behindItsBack(here, 'SELECT freelist_count FROM pragma_freelist_count')
      assert.deepEqual({ ...(free as object) }, { freelist_count: 0 })
      const [mode] = await behindItsBack(here, 'SELECT auto_vacuum FROM pragma_auto_vacuum')
      assert.deepEqual({ ...(mode as object) }, { auto_vacuum: 2 })
    }
  })
})

test('SQLite: with automatic checkpoints off the log is left to the replication tool', async (t) => {
  for (const autoCheckpoint of [true, false]) {
    const here = await sqlitePlace(t)
    const shard = await here.open({ autoCheckpoint })
    await shard.open(1)
    const before = statSync(sqlitePath(here.url)).size
    for (let slice = 0; slice < 8; slice++) {
      const filling = change(1, (c) => {
        for (let i = 1; i <= 500; i++) c.put('event', event(1, 1, slice * 500 + i, { json: 'x'.repeat(2_000) }))
      })
      await shard.enqueue(filling, nothing)
    }
    const grown = statSync(sqlitePath(here.url)).size - before
    assert.equal(grown > 0, autoCheckpoint)
  }
})
