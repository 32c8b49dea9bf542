/**
 * The server is killed at random moments, and on PostgreSQL the database too, while people and ghosts send, a client syncs, and a bridge takes
 * transactions, brings history and yeets rooms: nothing that was answered is lost, nothing is there twice or in part. KILL_SEED repeats a run as far as its chance is ours.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPostgres, type TestPostgres } from '../rig/postgres.ts'
import { Historian } from './batches.ts'
import { Chance, chooseSeed } from './chance.ts'
import type { CommitOf, FaultPoint, KillAt } from './fault-points.ts'
import { leftRows } from './left-rows.ts'
import { killAll } from './lives.ts'
import { RoomHistory, readBack, SyncClient } from './readers.ts'
import { messagesOf, setScene, until } from './scene.ts'
import { Senders } from './senders.ts'
import { ServerProcess } from './server-process.ts'
import { Yeeter } from './yeets.ts'

const kills = 20
const senders = 32
const points: readonly FaultPoint[] = ['beforeCommit', 'afterCommit', 'afterPublish']
const commits: readonly CommitOf[] = ['anything', 'batch', 'yeet', 'reclaim']
/** Jobs have so long to end when the last kill is over. */
const jobsMs = 20_000
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
  const historian = new Historian(scene.bot, scene.historyRooms, scene.members, chance)
  const yeeter = new Yeeter(scene.bot, scene.reader, scene.members, chance)
  const writers = [load, historian, yeeter]
  const sending = Promise.all(writers.map((writer) => writer.run()))
  const syncingToEnd = syncing.run()
  const progress = () => {
    const before = load.answered.length
    return until('the server answers again', () => load.answered.length > before || stop.signal.aborted)
  }

  let checks: Promise<void> = Promise.resolve()
  const wrong = Promise.withResolvers<never>()
  const lives = {
    server,
    kills,
    chance,
    database,
    databaseKills,
    signal: stop.signal,
    // Every second life ends by itself at a fault point.
    end: (n: number) => (n % 2 === 1 ? killAtPoint((n - 1) / 2, chance) : null),
    begun() {
      checks = checks.then(() => checkHistories(histories, load)).catch(wrong.reject)
    },
    progress,
    answered: () => load.answered.length,
  }
  const killing = killAll(lives).then(async () => {
    if (stop.signal.aborted) return
    await checks
    await progress()
    for (const writer of writers) writer.stop()
    await sending
    syncing.stop()
  })
  try {
    // Whoever fails ends the test at once, and not when the last kill is over.
    await Promise.race([wrong.promise, Promise.all([killing, sending, syncingToEnd])])
    await load.repeat(500)
    await checkHistories(histories, load)
    await checkReaders(scene.rooms, histories, syncing, bridge)
    await checkBatches(historian, scene.reader, scene.historyRooms, syncing)
    await checkYeets(yeeter, syncing, server.database)
  } finally {
    stop.abort()
    await Promise.allSettled([killing, sending, syncingToEnd])
  }
  assert.equal(server.complaints, '')
  const { standing, unanswered, survived, abandoned } = historian
  t.diagnostic(
    `${load.answered.length} answered, ${syncing.answers} syncs with ${syncing.gaps} gaps, ${bridge.attempts.length} transactions, ` +
      `${standing.length} batches (${unanswered} unanswered, ${survived} of them there, ${abandoned} given up), ` +
      `${yeeter.dead.length} rooms yeeted (${yeeter.unanswered} unanswered, ${yeeter.spared.length} spared)`,
  )
}

/** The points in turn, and the kinds of commits in turn: their numbers share no divisor, so that each life dies another way. */
function killAtPoint(n: number, chance: Chance): KillAt {
  return { point: points[n % points.length]!, what: commits[n % commits.length]!, afterMs: chance.between(200, 1_000) }
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

/** The batches are where they belong, whichever way one reads; who synced saw those at the live end once, and of the others none. */
async function checkBatches(
  historian: Historian,
  reader: ConstructorParameters<typeof RoomHistory>[0],
  rooms: readonly string[],
  syncing: SyncClient,
): Promise<void> {
  const histories = new Map(rooms.map((roomId) => [roomId, new RoomHistory(reader, roomId)]))
  for (const [roomId, history] of histories) {
    await history.read()
    const ids = history.events.map(({ event_id }) => event_id)
    assertSame(await readBack(reader, roomId, 120), ids, 'what pages back hold')
    const seen = syncing.seen.get(roomId)!
    assertSame(seen, history.idsFrom(seen[0]!), 'what the client synced')
  }
  historian.check(histories)
}

/** Dead rooms stay dead, who synced them was told, and when the jobs are done nothing is left of them. */
async function checkYeets(yeeter: Yeeter, syncing: SyncClient, database: string): Promise<void> {
  await yeeter.check()
  const untold = yeeter.dead.filter(({ roomId }) => syncing.seen.has(roomId) && !syncing.left.has(roomId))
  assert.deepEqual(untold, [], 'rooms that a client still shows')
  for (const { roomId } of yeeter.spared) assert.ok(!syncing.left.has(roomId), `${roomId} was said to be gone`)
  let left = await leftRows(database)
  for (const end = performance.now() + jobsMs; Object.keys(left).length > 0 && performance.now() < end; left = await leftRows(database)) {
    await sleep(100)
  }
  assert.deepEqual(left, {}, 'rows of dead rooms')
}

/** Thousands of ids in an error help nobody. */
function assertSame(actual: readonly string[], expected: readonly string[], what: string): void {
  const [there, meant] = [new Set(actual), new Set(expected)]
  const missing = expected.flatMap((id, n) => (there.has(id) ? [] : [`${n} of ${expected.length}`]))
  const foreign = actual.filter((id) => !meant.has(id))
  const doubled = actual.length - there.size
  assert.deepEqual({ missing, foreign, doubled }, { missing: [], foreign: [], doubled: 0 }, what)
  const at = actual.findIndex((id, n) => id !== expected[n])
  assert.equal(at, -1, `${what}: another order from number ${at} on`)
}
