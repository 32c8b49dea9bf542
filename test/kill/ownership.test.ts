/** An instance is open in exactly one process, which knows when it no longer is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { testPostgres } from '../rig/postgres.ts'
import { postgresPlace } from '../storage/engines.ts'
import { Chance, chooseSeed } from './chance.ts'
import { logIn, PatientClient } from './client.ts'
import { checkAll, openInstances, runAll } from './instances.ts'
import { ServerProcess } from './server-process.ts'

test('SQLite: a second process waits for the file, then ends naming who has it; a killed one is no obstacle', {
  timeout: 60_000,
}, async () => {
  await using server = await ServerProcess.make({})
  await server.start()
  const second = await server.startSecond({ LOCK_WAIT_MS: '300' })
  assert.equal(second.code, 1)
  assert.match(second.complaints, new RegExp(`in use by process ${server.pid} on \\S+ since `))
  await logIn(server.url, server.accounts!.owner, AbortSignal.timeout(10_000))
  await server.kill()
  await server.start()
  await logIn(server.url, server.accounts!.owner, AbortSignal.timeout(10_000))
})

const skip = await testPostgres().then(
  () => false,
  (error: Error) => {
    if (process.env['CI'] === 'true') throw error
    return error.message
  },
)

test('PostgreSQL: a second process answers 503 until the first one is gone and its lease ran out', { skip, timeout: 60_000 }, async () => {
  const settings = { DATABASE_URL: await (await testPostgres()).database(), LEASE_MS: '1500', LOG_LEVEL: 'silent' }
  await using first = await ServerProcess.make(settings)
  await first.start()
  const signal = AbortSignal.timeout(30_000)
  const token = await logIn(first.url, first.accounts!.owner, signal)
  const whoami = (url: string) => fetch(`${url}/_matrix/client/v3/account/whoami`, { headers: { authorization: `Bearer ${token}` } })
  await using second = await ServerProcess.make(settings)
  await second.start()
  const refused = await whoami(second.url)
  assert.equal(refused.status, 503)
  assert.ok(Number(refused.headers.get('retry-after')) > 0)
  // It renews: after more than a lease it is still the first one's.
  await sleep(2_000)
  assert.equal((await whoami(second.url)).status, 503)
  assert.equal((await whoami(first.url)).status, 200)
  await first.kill()
  const { user_id } = await new PatientClient({ url: second.url, token, signal }).ask('GET', '/account/whoami')
  assert.equal(user_id, first.accounts!.owner.userId)
})

test('PostgreSQL: connections cut under load: ownership is taken again, and memory equals a fresh load', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const chance = new Chance(chooseSeed())
  t.diagnostic(`KILL_SEED=${chance.seed}`)
  const place = await postgresPlace(t)
  const all = await openInstances(place, chance, {}, false)
  const { host, loads } = all
  const client = new pg.Client({ connectionString: place.url })
  t.after(() => client.end())
  await client.connect()
  const epochs = async () =>
    (await client.query<{ epoch: string }>('SELECT "epoch" FROM "ownership" ORDER BY "instance"')).rows.map(({ epoch }) => Number(epoch))
  const before = await epochs()
  let cuts = 0
  let done = false
  const cutting = (async () => {
    while (!done) {
      await sleep(chance.between(500, 1_500))
      // Readers and writer, or the writer alone, wherever it is at the moment.
      const which = chance.happens(0.5) ? '' : `AND query LIKE 'COMMIT%'`
      await client.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ${which}`,
      )
      cuts++
    }
  })()
  await runAll(all, () => cuts >= 6)
  done = true
  await cutting
  const after = await epochs()
  assert.ok(
    after.every((epoch, n) => epoch > before[n]!),
    `epochs ${before} and ${after}`,
  )
  const cells = await checkAll(all)
  t.diagnostic(`${cuts} cuts, epochs ${after}, ${loads.get('first')!.transient.length} failures, ${cells} cells`)
  for (const name of loads.keys()) await host.closeInstance(name)
})
