/** The bare floors of the same run: what the driver and the router do without us. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import Fastify from 'fastify'

/** One row of 600 bytes a transaction, synchronous=FULL; inserts a second. */
export function driverFloor(ms: number): number {
  const folder = mkdtempSync(join(tmpdir(), 'hungryserv-floor-'))
  const database = new Sqlite(join(folder, 'floor.db'))
  try {
    database.pragma('journal_mode=WAL')
    database.pragma('synchronous=FULL')
    database.exec('CREATE TABLE event (room INTEGER, "order" INTEGER, json TEXT, PRIMARY KEY (room, "order")) WITHOUT ROWID')
    const insert = database.prepare('INSERT INTO event VALUES (1, ?, ?)')
    const json = 'x'.repeat(600)
    const start = performance.now()
    let done = 0
    while (performance.now() - start < ms) insert.run(done++, json)
    return (done * 1_000) / (performance.now() - start)
  } finally {
    database.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** An empty route; run as a process of its own: `node floors.ts PORT`. */
if (process.argv[1]?.endsWith('floors.ts')) {
  const fastify = Fastify()
  fastify.put('/empty', async () => ({}))
  await fastify.listen({ host: '127.0.0.1', port: Number(process.argv[2]) })
}
