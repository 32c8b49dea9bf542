/** The rows of end-to-end encryption, each beside what the bare database takes for the same rows, read and written in one process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { Load, quantile, rate } from './load.ts'
import { bridge, type Row } from './rows.ts'
import { type ServerProcess, startProcess } from './server-process.ts'

const v3 = '/_matrix/client/v3'
const devices = 1_000
const keysEach = 100
const sliceMs = 1_500

interface Keyed {
  readonly load: Load
  readonly server: ServerProcess
  readonly token: string
  readonly userIds: readonly string[]
  /** whose turn it is to be claimed from */
  next: number
}

let keyed: Promise<Keyed> | undefined

function withKeys(): Promise<Keyed> {
  keyed ??= grow()
  return keyed
}

export async function closeKeyed(): Promise<void> {
  if (!keyed) return
  const { load, server } = await keyed
  await load.close()
  await server.stop()
}

/** 43 characters, as 32 bytes in base64 are. */
const key = (n: number) => `k${n}`.padEnd(43, 'A')
const signature = (user: string) => ({ [user]: { 'ed25519:BENCH': 's'.repeat(86) } })
const oneTimeKey = (user: string, n: number) => ({ key: key(n), signatures: signature(user) })

function deviceKeys(user: string, n: number): object {
  return {
    user_id: user,
    device_id: 'BENCH',
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: { 'curve25519:BENCH': key(n), 'ed25519:BENCH': key(n) },
    signatures: signature(user),
  }
}

/** Ghosts with a device each, because a bridge can make many of them. */
async function grow(): Promise<Keyed> {
  const server = await startProcess()
  const load = new Load(server.url)
  const login = await load.request('POST', `${v3}/login`, '', {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: server.owner.userId },
    password: server.owner.password,
  })
  const token = login['access_token'] as string
  const asToken = await bridge({ load, token }, 'bench', null)
  const userIds = Array.from({ length: devices }, (_, n) => `@bench_${n}:example.com`)
  let made = 0
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      while (made < devices) {
        const n = made++
        const user = userIds[n]!
        const as = `user_id=${encodeURIComponent(user)}`
        await load.text('POST', `${v3}/register`, asToken, {
          type: 'm.login.application_service',
          username: `bench_${n}`,
          inhibit_login: true,
        })
        await load.text('PUT', `${v3}/devices/BENCH?${as}`, asToken, {})
        await load.text('POST', `${v3}/keys/upload?${as}&device_id=BENCH`, asToken, {
          device_keys: deviceKeys(user, n),
          one_time_keys: Object.fromEntries(
            Array.from({ length: keysEach }, (_, i) => [`signed_curve25519:AAAA${i}`, oneTimeKey(user, i)]),
          ),
        })
      }
    }),
  )
  return { load, server, token, userIds, next: 0 }
}

/** A bare database with these tables' rows, gone when `use` is done. */
async function bare<T>(use: (database: Sqlite.Database) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'hungryserv-floor-'))
  const database = new Sqlite(join(folder, 'floor.db'))
  try {
    database.pragma('journal_mode=WAL')
    database.pragma('synchronous=FULL')
    return await use(database)
  } finally {
    database.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A key marked as claimed and a count written, `together` claims a transaction; claims a second. */
function claimFloor(together: number): Promise<number> {
  return bare((database) => {
    database.exec(`CREATE TABLE key (device INTEGER, id INTEGER, json TEXT, claimed INTEGER, PRIMARY KEY (device, id)) WITHOUT ROWID;
      CREATE TABLE count (device INTEGER PRIMARY KEY, counts TEXT, position INTEGER)`)
    const insert = database.prepare('INSERT INTO key VALUES (?, ?, ?, NULL)')
    const json = JSON.stringify(oneTimeKey('@bench_0:example.com', 0))
    database.transaction(() => {
      for (let n = 0; n < devices * keysEach; n++) insert.run(n % devices, Math.floor(n / devices), json)
    })()
    const claim = database.prepare('UPDATE key SET claimed = ? WHERE device = ? AND id = ?')
    const count = database.prepare('INSERT INTO count VALUES (?, ?, ?) ON CONFLICT (device) DO UPDATE SET counts = excluded.counts')
    const start = performance.now()
    let done = 0
    const some = database.transaction(() => {
      for (let i = 0; i < together; i++, done++) {
        claim.run(done, done % devices, Math.floor(done / devices) % keysEach)
        count.run(done % devices, '{"signed_curve25519":99}', done)
      }
    })
    while (performance.now() - start < 500) some()
    return (done * 1_000) / (performance.now() - start)
  })
}

function claims(clients: number): Row {
  return {
    name: `one-time keys claimed, ${clients} client${clients > 1 ? 's' : ''}`,
    unit: '/s',
    target: null,
    higherIsBetter: true,
    async measure() {
      const home = await withKeys()
      const value = await rate(clients, sliceMs, () => {
        const user = home.userIds[home.next++ % devices]!
        return home.load.text('POST', `${v3}/keys/claim`, home.token, { one_time_keys: { [user]: { BENCH: 'signed_curve25519' } } })
      })
      return { value, floor: await claimFloor(clients) }
    },
  }
}

/** Median of ten, ms. */
async function median(times: number, run: () => unknown): Promise<number> {
  const all: number[] = []
  for (let i = 0; i < times; i++) {
    const start = performance.now()
    await run()
    all.push(performance.now() - start)
  }
  return quantile(all, 0.5)
}

const query: Row = {
  name: 'keys/query for 1 000 users',
  unit: 'ms',
  target: null,
  higherIsBetter: false,
  async measure() {
    const { load, token, userIds } = await withKeys()
    const body = { device_keys: Object.fromEntries(userIds.map((userId) => [userId, []])) }
    const value = await median(10, () => load.text('POST', `${v3}/keys/query`, token, body))
    const floor = await bare((database) => {
      database.exec('CREATE TABLE keys (user TEXT, device TEXT, json TEXT, PRIMARY KEY (user, device)) WITHOUT ROWID')
      const insert = database.prepare('INSERT INTO keys VALUES (?, ?, ?)')
      database.transaction(() => {
        for (const [n, userId] of userIds.entries()) insert.run(userId, 'BENCH', JSON.stringify(deviceKeys(userId, n)))
      })()
      const all = database.prepare('SELECT user, device, json FROM keys WHERE user IN (SELECT value FROM json_each(?))')
      return median(10, () => all.all(JSON.stringify(userIds)))
    })
    return { value, floor }
  },
}

let txn = 0

const fanOut: Row = {
  name: 'to-device message to 500 devices',
  unit: 'ms',
  target: null,
  higherIsBetter: false,
  async measure() {
    const { load, token, userIds } = await withKeys()
    const content = {
      algorithm: 'm.olm.v1.curve25519-aes-sha2',
      sender_key: key(0),
      ciphertext: { [key(1)]: { type: 0, body: 'x'.repeat(1_000) } },
    }
    const receivers = userIds.slice(0, 500)
    const messages = Object.fromEntries(receivers.map((userId) => [userId, { BENCH: content }]))
    const value = await median(10, () => load.text('PUT', `${v3}/sendToDevice/m.room.encrypted/f${txn++}`, token, { messages }))
    const text = JSON.stringify(content)
    const floor = await bare((database) => {
      database.exec(
        'CREATE TABLE inbox (user INTEGER, device TEXT, position INTEGER, content TEXT, PRIMARY KEY (user, device, position)) WITHOUT ROWID',
      )
      const insert = database.prepare('INSERT INTO inbox VALUES (?, ?, ?, ?)')
      let position = 0
      const all = database.transaction(() => {
        position++
        for (let user = 0; user < receivers.length; user++) insert.run(user, 'BENCH', position, text)
      })
      return median(10, () => all())
    })
    return { value, floor }
  },
}

export const encryptionRows: readonly Row[] = [claims(1), claims(32), query, fanOut]
