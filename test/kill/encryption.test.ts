/**
 * The server is killed, in commits of keys and messages among others, and on PostgreSQL the database too, while devices bring keys, others claim
 * them, messages go to devices that sync and to a bridge's in transactions, and room keys into a backup. KILL_SEED repeats a run as far as its
 * chance is ours.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPostgres, type TestPostgres } from '../rig/postgres.ts'
import { BackupWriter } from './backups.ts'
import { Chance, chooseSeed } from './chance.ts'
import { Claimers } from './claims.ts'
import { type Device, type EncryptedScene, setEncryptedScene } from './encryption-scene.ts'
import type { CommitOf, FaultPoint, KillAt } from './fault-points.ts'
import { KeyKeeper } from './keys.ts'
import { rowCounts } from './left-rows.ts'
import { killAll } from './lives.ts'
import { transactionsOf, until } from './scene.ts'
import { ServerProcess } from './server-process.ts'
import { type Arrival, arrivalsOf, Correspondents, DeviceReader } from './to-device.ts'

const kills = 8
/** Before this one the database is killed. */
const databaseKills = [4]
/** Messages to a device in an answer of its sync. */
const mostPerAnswer = 100
const points: readonly FaultPoint[] = ['beforeCommit', 'afterCommit', 'afterPublish']
const commits: readonly CommitOf[] = ['upload', 'claim', 'toDevice', 'synced', 'delivered', 'backup']

const seed = chooseSeed()
const promise = 'a key is handed out once, a message to a device arrives once and in order, uploads and backups stay'

test(`SQLite: killed 8 times, ${promise}`, { timeout: 300_000 }, (t) => surviveKills(t, null))

const postgres = await startPostgres().catch((error: Error) => error)
if (!(postgres instanceof Error)) {
  test(`PostgreSQL: killed 8 times, and the database once, ${promise}`, { timeout: 300_000 }, (t) => surviveKills(t, postgres))
} else if (process.env['CI'] === 'true') throw postgres
else test.skip(`PostgreSQL: ${postgres.message}`)

async function surviveKills(t: TestContext, database: TestPostgres | null): Promise<void> {
  const chance = new Chance(seed)
  t.diagnostic(`KILL_SEED=${chance.seed}`)
  const stop = new AbortController()
  await using server = await ServerProcess.make({ LEASE_MS: '900', ...(database ? { DATABASE_URL: await database.database() } : {}) })
  await server.start()
  const scene = await setEncryptedScene(server, stop.signal)
  await using bridge = scene.bridge
  const { own, served, roomId } = scene
  const [, laptop, tablet] = own.map(({ client }) => client)
  const keepers = [...own.slice(0, 2), ...served].map((device) => new KeyKeeper(device, chance))
  const claimers = new Claimers([tablet!, served[1]!.client], keepers, chance)
  const correspondents = new Correspondents(
    [...own, ...served].map(({ client }) => client),
    scene,
    chance,
  )
  const readers = own.map((device, n) => {
    // One is seldom there: so much waits for it that one answer does not hold it.
    const isDue = () => n < 2 || reader.answers === 0 || correspondents.sentTo(device) > reader.messages + mostPerAnswer
    const reader: DeviceReader = new DeviceReader(device, chance, isDue)
    return reader
  })
  const backup = new BackupWriter(laptop!, [roomId, '!a:example.com', '!b:example.com', '!c:example.com'], chance)
  for (const keeper of keepers) await keeper.prepare()
  await backup.prepare()
  const writers = [...keepers, claimers, correspondents, backup]
  const writing = Promise.all([
    ...keepers.map((keeper) => keeper.run(own.includes(keeper.device))),
    ...[claimers, correspondents, backup].map((writer) => writer.run()),
  ])
  const reading = Promise.all(readers.map((reader) => reader.run()))
  const progress = () => {
    const before = correspondents.count
    return until('the server answers again', () => correspondents.count > before || stop.signal.aborted)
  }
  // Two of three points for each kind of commit in a run on both databases, in the end all.
  const shift = database ? seed + 1 : seed
  const end = (n: number): KillAt | null => {
    // Every fourth is killed at random.
    if (n % 4 === 0) return null
    const nth = n - Math.floor(n / 4) - 1
    return { point: points[(nth + shift) % points.length]!, what: commits[nth % commits.length]!, afterMs: chance.between(200, 600) }
  }
  const lives = { server, kills, chance, database, databaseKills, signal: stop.signal, end, progress, begun() {} }
  const killing = killAll({ ...lives, answered: () => correspondents.count }).then(async () => {
    if (stop.signal.aborted) return
    await progress()
    await until('a device came for more than one answer holds', () => readers[2]!.answers > 1 || stop.signal.aborted, 90_000)
    for (const writer of writers) writer.stop()
    await writing
    for (const reader of readers) reader.stop()
  })
  try {
    // Whoever fails ends the test at once, and not when the last kill is over.
    await Promise.all([killing, writing, reading])
    const arrivals = new Map<Device, readonly Arrival[]>(readers.map((reader) => [reader.device, reader.arrivals]))
    const isServed = () => served.every((device) => correspondents.missing(device, servedArrivals(scene, device)).length === 0)
    await bridge.until('its devices have their messages', isServed, 20_000).catch(() => undefined)
    for (const device of served) arrivals.set(device, servedArrivals(scene, device))
    correspondents.check(arrivals)
    assert.equal(readers[2]!.most, mostPerAnswer, 'the largest answer')
    checkRepeats(scene)
    await backup.check()
    for (const keeper of keepers.slice(0, 2)) assert.equal(await keeper.synced(), await keeper.left(), 'what a sync says is left')
    for (const keeper of keepers.slice(2)) await checkTold(scene, keeper)
    await claimers.check()
    await checkEmpty(server)
  } finally {
    stop.abort()
    for (const each of [...writers, ...readers]) each.stop()
    await Promise.allSettled([killing, writing, reading])
  }
  assert.equal(server.complaints, '')
  const { unanswered, survived, abandoned, batches } = backup
  t.diagnostic(
    `${claimers.count} keys claimed (${[...claimers.unanswered.values()].join('+')} claims unanswered, ${claimers.fallbacks} fallback keys), ` +
      `${keepers.map(({ uploads }) => uploads).join('+')} uploads (${keepers.map((keeper) => keeper.unanswered).join('+')} unanswered), ` +
      `${correspondents.count} messages (${correspondents.unanswered} unanswered), ${readers.map(({ answers }) => answers).join('+')} syncs ` +
      `(${readers.map(({ repeated }) => repeated).join('+')} repeated, ${readers.map(({ most }) => most).join()} messages at most), ${bridge.attempts.length} transactions, ` +
      `${batches} batches (${unanswered} unanswered, ${survived} of them there, ${abandoned} given up) of ${backup.standing.size} keys`,
  )
}

/** What came for a device in the transactions that the bridge acted upon. */
function servedArrivals({ bridge }: EncryptedScene, { userId, deviceId }: Device): Arrival[] {
  return transactionsOf(bridge).flatMap(({ to_device: messages = [], events }) => {
    // biome-ignore lint/suspicious/noExplicitAny: as it came
    const own = messages.filter((message: any) => message.to_user_id === userId && message.to_device_id === deviceId)
    return [...arrivalsOf(own, true), ...arrivalsOf(events, false)]
  })
}

/** Every attempt says the same under the same id, also in another life. */
function checkRepeats({ bridge }: EncryptedScene): void {
  for (const [txnId, attempts] of Map.groupBy(bridge.attempts, (attempt) => attempt.txnId))
    for (const { text } of attempts) assert.equal(text, attempts[0]!.text, `transaction ${txnId}`)
}

/** What the bridge was told last that a device has left is what it has. */
async function checkTold(scene: EncryptedScene, keeper: KeyKeeper): Promise<void> {
  const { userId, deviceId } = keeper.device
  const left = await keeper.left()
  const told = () =>
    transactionsOf(scene.bridge)
      .map((transaction) => transaction.device_one_time_keys_count?.[userId]?.[deviceId]?.signed_curve25519)
      .findLast((count) => count !== undefined)
  await scene.bridge.until(`it knows that ${deviceId} has ${left} keys, and not ${told()}`, () => told() === left, 20_000)
}

/** What the devices and the bridge have acknowledged is not kept. */
async function checkEmpty({ database }: ServerProcess): Promise<void> {
  const read = () => rowCounts(database, ['toDevice', 'interest', 'frozen'])
  let left = await read()
  for (const end = performance.now() + 10_000; Object.keys(left).length > 0 && performance.now() < end; left = await read()) {
    await sleep(50)
  }
  assert.deepEqual(left, {}, 'rows of what was acknowledged')
}
