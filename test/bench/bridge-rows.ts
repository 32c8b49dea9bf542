/** The rows of what bridges do in bulk: history, deletion, joining, and what a flood of it costs somebody else. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { startPostgres, type TestPostgres } from '../rig/postgres.ts'
import { floodOf, historyOf, sendHistory } from './history.ts'
import { Load, quantile } from './load.ts'
import { bridge, type Row, type World } from './rows.ts'
import { type ServerProcess, startProcess } from './server-process.ts'

const v3 = '/_matrix/client/v3'
const unstable = '/_matrix/client/unstable'

/** A bridge of its own for each row: deleting one must not take the others' rooms along. */
const tokens = new Map<string, Promise<string>>()

function tokenOf(world: World, id: string): Promise<string> {
  let token = tokens.get(id)
  if (!token) {
    token = bridge(world, id, null)
    tokens.set(id, token)
  }
  return token
}

async function newRoom(world: World, token: string, ghosts: readonly string[]): Promise<string> {
  const invite = [world.ownerId, ...ghosts]
  const body = { preset: 'private_chat', invite, 'com.beeper.initial_members': invite, 'com.beeper.auto_join_invites': true }
  return (await world.load.request('POST', `${v3}/createRoom`, token, body))['room_id'] as string
}

const batchSend: Row = {
  name: 'batch_send of history, 5 000 events a call',
  unit: '/s',
  target: 50_000,
  higherIsBetter: true,
  async measure(world) {
    const token = await tokenOf(world, 'history')
    const room = await newRoom(world, token, ['@history_1:example.com'])
    const bodies = Array.from({ length: 6 }, () => historyOf('history', 5_000))
    const start = performance.now()
    for (const body of bodies) await sendHistory(world.load, token, room, body)
    return { value: (bodies.length * 5_000 * 1_000) / (performance.now() - start) }
  },
}

/** Rows of the server's SQLite file, seen from outside. */
function look(world: World): Database.Database {
  return new Database(join(world.server.dataDir, 'hungryserv.db'), { readonly: true })
}

async function until(done: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!done()) {
    if (performance.now() > deadline) throw new Error('it never ended')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Measured once: the answer, then how long until no row of the room is left and the file has no free pages worth speaking of. */
const deletions = new WeakMap<World, Map<number, Promise<{ answerMs: number; spaceMs: number }>>>()

function deletion(world: World, round: number): Promise<{ answerMs: number; spaceMs: number }> {
  const ofWorld = deletions.get(world) ?? new Map<number, Promise<{ answerMs: number; spaceMs: number }>>()
  deletions.set(world, ofWorld)
  let measured = ofWorld.get(round)
  if (!measured) {
    measured = measureDeletion(world)
    ofWorld.set(round, measured)
  }
  return measured
}

async function measureDeletion(world: World): Promise<{ answerMs: number; spaceMs: number }> {
  const token = await tokenOf(world, 'history')
  const room = await newRoom(world, token, ['@history_1:example.com'])
  for (let i = 0; i < 20; i++) await sendHistory(world.load, token, room, historyOf('history', 5_000))
  const database = look(world)
  try {
    const key = (database.prepare('SELECT "key" FROM "room" WHERE "roomId" = ?').get(room) as { key: number }).key
    const rows = database.prepare('SELECT count(*) AS n FROM (SELECT 1 FROM "event" WHERE "room" = ? LIMIT 1)')
    const start = performance.now()
    await world.load.text('POST', `${unstable}/com.beeper.yeet/rooms/${encodeURIComponent(room)}/delete`, token, {})
    const answerMs = performance.now() - start
    await until(() => (rows.get(key) as { n: number }).n === 0)
    await until(() => (database.pragma('freelist_count', { simple: true }) as number) < 1_000)
    return { answerMs, spaceMs: performance.now() - start }
  } finally {
    database.close()
  }
}

const yeetAnswer: Row = {
  name: 'delete a room of 100 000 events: answer',
  unit: 'ms',
  target: 10,
  higherIsBetter: false,
  measure: async (world, round) => ({ value: (await deletion(world, round)).answerMs }),
}

const yeetSpace: Row = {
  name: 'delete a room of 100 000 events: space back',
  unit: 'ms',
  target: 5_000,
  higherIsBetter: false,
  measure: async (world, round) => ({ value: (await deletion(world, round)).spaceMs }),
}

const deleteBridge: Row = {
  name: 'delete a bridge: 4 716 ghosts, 100 000 events',
  unit: 'ms',
  target: 5_000,
  higherIsBetter: false,
  async measure(world, round) {
    const id = `gone${round}`
    const token = await tokenOf(world, id)
    const rooms: string[] = []
    for (let first = 0; first < 4_716; first += 100) {
      const ghosts = Array.from({ length: Math.min(100, 4_716 - first) }, (_, i) => `@${id}_${first + i}:example.com`)
      rooms.push(await newRoom(world, token, ghosts))
    }
    for (const room of rooms) await sendHistory(world.load, token, room, historyOf(id, Math.floor(100_000 / rooms.length)))
    const database = look(world)
    try {
      const ghosts = database.prepare(
        `SELECT count(*) AS n FROM (SELECT 1 FROM "user" WHERE "userId" LIKE '@${id}\\_%' ESCAPE '\\' LIMIT 1)`,
      )
      const keys = rooms.map((room) => (database.prepare('SELECT "key" FROM "room" WHERE "roomId" = ?').get(room) as { key: number }).key)
      const events = database.prepare(`SELECT count(*) AS n FROM (SELECT 1 FROM "event" WHERE "room" IN (${keys.join()}) LIMIT 1)`)
      const start = performance.now()
      await world.load.request('POST', '/graphql', world.token, { query: `mutation { deleteBridge(id: "${id}") { id } }` })
      await until(() => (ghosts.get() as { n: number }).n === 0 && (events.get() as { n: number }).n === 0)
      return { value: performance.now() - start }
    } finally {
      database.close()
    }
  },
}

const massJoin: Row = {
  name: '10 000 ghosts join one room in one call',
  unit: 'ms',
  target: 2_000,
  higherIsBetter: false,
  async measure(world, round) {
    const token = await tokenOf(world, 'crowd')
    const ghosts = Array.from({ length: 10_000 }, (_, i) => `@crowd_${round}x${i}:example.com`)
    const start = performance.now()
    await newRoom(world, token, ghosts)
    return { value: performance.now() - start }
  },
}

interface P99 {
  readonly send: number
  readonly wake: number
}

interface Beside {
  readonly alone: P99
  /** beside a flood of another process: what the machine itself costs when it is busy */
  readonly apart: P99
  readonly together: P99
}

/** Somebody's homeserver, first alone, then beside a flood that another process takes, then in the same process as one that takes it. */
const besides = new Map<string, Promise<Beside>>()

function beside(engine: 'SQLite' | 'PostgreSQL', round: number): Promise<Beside> {
  const key = `${engine} ${round}`
  let measured = besides.get(key)
  if (!measured) {
    measured = measureBeside(engine)
    besides.set(key, measured)
  }
  return measured
}

async function measureBeside(engine: 'SQLite' | 'PostgreSQL'): Promise<Beside> {
  const postgres: TestPostgres | null = engine === 'PostgreSQL' ? await startPostgres({ durable: true }) : null
  const newServer = async () => startProcess(postgres ? { environment: { DATABASE_URL: await postgres.database('C') } } : {})
  const servers = [await newServer(), await newServer()] as const
  const loads = servers.map(({ url }) => new Load(url))
  try {
    const home = await quietHome(servers[0], loads[0]!)
    const alone = await measureHome(home)
    const apart = await underFlood(servers[1], loads[1]!, () => measureHome(home))
    const together = await underFlood(servers[0], loads[0]!, () => measureHome(home))
    const line = (name: 'send' | 'wake') => `${name} ${[alone, apart, together].map((each) => each[name].toFixed(1)).join(' → ')} ms`
    process.stderr.write(
      `${engine}, p99 of a quiet homeserver alone → beside another process's flood → beside a flood: ${line('send')}, ${line('wake')}\n`,
    )
    return { alone, apart, together }
  } finally {
    for (const load of loads) await load.close()
    for (const server of servers) await server.stop()
    await postgres?.stop()
  }
}

async function underFlood<T>(server: ServerProcess, load: Load, measure: () => Promise<T>): Promise<T> {
  const { place, token: ownerToken } = await floodOf(server, load)
  const flood = spawn(process.execPath, ['test/bench/flood.ts', JSON.stringify({ ...place, ownerToken })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    // It has a room of 100 000 events to delete before it says that it begins.
    await new Promise<void>((resolve, reject) => {
      flood.stdout.once('data', () => resolve())
      flood.once('exit', (code) => reject(new Error(`the flood ended with ${code}`)))
    })
    return await measure()
  } finally {
    flood.removeAllListeners('exit')
    flood.kill('SIGKILL')
  }
}

interface Home {
  readonly load: Load
  readonly prefix: string
  readonly token: string
  readonly room: string
}

async function quietHome(server: ServerProcess, load: Load): Promise<Home> {
  const login = (base: string, user: string, password: string): Promise<string> =>
    load
      .request('POST', `${base}${v3}/login`, '', { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password })
      .then((answer) => answer['access_token'] as string)
  const administrator = await login('', server.administrator.userId, server.administrator.password)
  const answer = await load.request('POST', '/graphql', administrator, {
    query: 'mutation { createInstance(name: "quiet", owner: "quiet") { password } }',
  })
  const { password } = (answer['data'] as { createInstance: { password: string } }).createInstance
  const prefix = '/_hungryserv/quiet'
  const token = await login(prefix, 'quiet', password)
  const room = (await load.request('POST', `${prefix}${v3}/createRoom`, token, {}))['room_id'] as string
  return { load, prefix, token, room }
}

let txn = 0

/** p99 of 300 sends, and of how long a long poll takes to answer each, ms. */
async function measureHome({ load, prefix, token, room }: Home): Promise<P99> {
  const sends: number[] = []
  const wakes: number[] = []
  let since = (await load.request('GET', `${prefix}${v3}/sync`, token))['next_batch'] as string
  for (let i = 0; i < 300; i++) {
    const woken = load.request('GET', `${prefix}${v3}/sync?timeout=30000&since=${since}`, token)
    await new Promise((resolve) => setTimeout(resolve, 25))
    const start = performance.now()
    const sent = load
      .text('PUT', `${prefix}${v3}/rooms/${encodeURIComponent(room)}/send/m.room.message/q${txn++}`, token, {
        msgtype: 'm.text',
        body: 'quiet',
      })
      .then(() => sends.push(performance.now() - start))
    since = (await woken)['next_batch'] as string
    wakes.push(performance.now() - start)
    await sent
  }
  return { send: quantile(sends, 0.99), wake: quantile(wakes, 0.99) }
}

function floodRow(engine: 'SQLite' | 'PostgreSQL', what: 'send' | 'wake'): Row {
  return {
    name: `p99 of another homeserver's ${what} beside a flood, ${engine}`,
    unit: '×',
    target: 2,
    higherIsBetter: false,
    async measure(_world, round) {
      const { alone, apart, together } = await beside(engine, round)
      return { value: together[what] / alone[what], floor: apart[what] / alone[what] }
    },
  }
}

export const bridgeRows: readonly Row[] = [
  batchSend,
  yeetAnswer,
  yeetSpace,
  deleteBridge,
  massJoin,
  floodRow('SQLite', 'send'),
  floodRow('SQLite', 'wake'),
  floodRow('PostgreSQL', 'send'),
  floodRow('PostgreSQL', 'wake'),
]
