/**
 * The server is killed at random moments, and on PostgreSQL the database too, while people and ghosts send, a client syncs and a bridge
 * takes transactions: nothing that was answered is lost, nothing is there twice. KILL_SEED repeats a run as far as its chance is ours.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPostgres, type TestPostgres } from '../rig/postgres.ts'
import { Chance, chooseSeed } from './chance.ts'
import { RoomHistory, SyncClient } from './readers.ts'
import { messagesOf, setScene, until } from './scene.ts'
import { Senders } from './senders.ts'
import { type FaultPoint, ServerProcess } from './server-process.ts'

const kills = 20
const senders = 32
const points: readonly FaultPoint[] = ['beforeCommit', 'afterCommit', 'afterPublish']
/** Before these the database is killed first. */
const databaseKills = [4, 8, 12, 16]

test('SQLite: killed 20 times, nothing answered is lost and nothing is doubled', { timeout: 400_000 }, (t) => surviveKills(t, null))

const postgres = await startPostgres().catch((error: Error) => error)
if (!(postgres instanceof Error)) {
  test(
    'PostgreSQL: killed 20 times, and the database 4 times, nothing answered is lost and nothing is doubled',
    { timeout: 400_000 },
    (t) => surviveKills(t, postgres),
  )
} else if (process.env['CI'] === 'true') throw postgres
else test.skip(`PostgreSQL: ${postgres.message}`)

async function surviveKills(t: TestContext, database: TestPostgres | null): Promise<void> {
  const chance = new Chance(chooseSeed())
  t.diagnostic(`KILL_SEED=${chance.seed}`)
  const stop = new AbortController()
  await using server = await ServerProcess.make({ LEASE_MS: '900', ...(database ? { DATABASE_URL: await database.database() } : {}) })
  await server.start()
  const scene = await setScene(server, senders, stop.signal)
  await using bridge = scene.bridge
  const load = new Senders(scene.senders, scene.rooms, chance)
  const syncing = new SyncClient(scene.syncing)
  const histories = scene.rooms.map((roomId) => new RoomHistory(scene.reader, roomId))
  const sending = load.run()
  const syncingToEnd = syncing.run()
  const progress = () => {
    const before = load.answered.length
    return until('the server answers again', () => load.answered.length > before || stop.signal.aborted)
  }

  let checks: Promise<void> = Promise.resolve()
  const wrong = Promise.withResolvers<never>()
  const killAll = async () => {
    for (let n = 0; n < kills && !stop.signal.aborted; n++) {
      // Every second life ends by itself at a fault point.
      const killAt = n % 2 === 1 ? { point: points[((n - 1) / 2) % points.length]!, afterMs: chance.between(200, 1_000) } : undefined
      if (n > 0) await server.start(killAt)
      checks = checks.then(() => checkHistories(histories, load)).catch(wrong.reject)
      if (killAt) {
        assert.ok(await server.ends(20_000), `no commit reached ${killAt.point}`)
        continue
      }
      await progress()
      if (database && databaseKills.includes(n)) {
        await killDatabase(database, chance)
        await progress()
      }
      await sleep(chance.between(200, 1_000))
      await server.kill()
      // The runner takes long silence for a test that hangs.
      if (n % 4 === 0) process.stdout.write(`${n + 1} kills, ${load.answered.length} answered\n`)
    }
    if (stop.signal.aborted) return
    await server.start()
    await checks
    await progress()
    load.stop()
    await sending
    syncing.stop()
  }
  const killing = killAll()
  try {
    // Whoever fails ends the test at once, and not when the last kill is over.
    await Promise.race([wrong.promise, Promise.all([killing, sending, syncingToEnd])])
    await load.repeat(500)
    await checkHistories(histories, load)
    await checkReaders(scene.rooms, histories, syncing, bridge)
  } finally {
    stop.abort()
    await Promise.allSettled([killing, sending, syncingToEnd])
  }
  assert.equal(server.complaints, '')
  t.diagnostic(
    `${load.answered.length} answered, ${syncing.answers} syncs with ${syncing.gaps} gaps, ${bridge.attempts.length} transactions`,
  )
}

async function killDatabase(database: TestPostgres, chance: Chance): Promise<void> {
  await sleep(chance.between(0, 300))
  await database.kill()
  await sleep(chance.between(50, 500))
  await database.start()
}

/** What was answered until now is there once and in order, and what was there is there still. */
async function checkHistories(histories: readonly RoomHistory[], load: Senders): Promise<void> {
  const answered = [...load.answered]
  await Promise.all(histories.map((history) => history.read()))
  for (const history of histories) history.check(answered)
}

/** The client that synced saw each event once and in order, from the first it heard of to the last; the bridge each message. */
async function checkReaders(
  rooms: readonly string[],
  histories: readonly RoomHistory[],
  syncing: SyncClient,
  bridge: Parameters<typeof messagesOf>[0],
): Promise<void> {
  const last = new Set(histories.map(({ events }) => events.at(-1).event_id))
  await bridge.until(
    'it has the last event of each room',
    () => new Set(bridge.events.filter((event) => last.has(event.event_id))).size === last.size,
  )
  const received = messagesOf(bridge)
  for (const [n, roomId] of rooms.entries()) {
    const seen = syncing.seen.get(roomId)!
    assertSame(seen, histories[n]!.idsFrom(seen[0]!), 'what the client synced')
    assertSame(received.get(roomId) ?? [], histories[n]!.messages(), 'what the bridge received')
  }
}

/** Thousands of ids in an error help nobody. */
function assertSame(actual: readonly string[], expected: readonly string[], what: string): void {
  const missing = expected.flatMap((id, n) => (actual.includes(id) ? [] : [`${n} of ${expected.length}`]))
  const foreign = actual.filter((id) => !expected.includes(id))
  const doubled = actual.filter((id, n) => actual.indexOf(id) !== n)
  assert.deepEqual({ missing, foreign, doubled }, { missing: [], foreign: [], doubled: [] }, what)
  const at = actual.findIndex((id, n) => id !== expected[n])
  assert.equal(at, -1, `${what}: another order from number ${at} on`)
}
