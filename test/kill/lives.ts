/** The lives of a server under test: one ends at random, the next one by itself at a point of a commit, and on PostgreSQL the database dies too. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestPostgres } from '../rig/postgres.ts'
import type { Chance } from './chance.ts'
import type { KillAt } from './fault-points.ts'
import type { ServerProcess } from './server-process.ts'

export interface Lives {
  /** started for its first life */
  readonly server: ServerProcess
  readonly kills: number
  readonly chance: Chance
  readonly database: TestPostgres | null
  /** before these, counted from 0, the database is killed; they must be random ones */
  readonly databaseKills: readonly number[]
  /** ends it all */
  readonly signal: AbortSignal
  /** how life n ends by itself; null: it is killed. The first one is */
  end(n: number): KillAt | null
  /** Each time it was started. */
  begun(): void
  /** Resolves when it has answered again. */
  progress(): Promise<void>
  /** for who watches */
  answered(): number
}

/** Lives and dies so many times; then it lives. */
export async function killAll({ server, kills, chance, database, signal, ...lives }: Lives): Promise<void> {
  for (let n = 0; n < kills && !signal.aborted; n++) {
    const end = lives.end(n)
    if (n > 0) await server.start(end ?? undefined)
    lives.begun()
    // The runner takes long silence for a test that hangs.
    if (n % 4 === 0) process.stdout.write(`${n} kills, ${lives.answered()} answered\n`)
    if (end) {
      assert.ok(await server.ends(20_000), `no commit of ${end.what} reached ${end.point}`)
      continue
    }
    await lives.progress()
    if (database && lives.databaseKills.includes(n)) {
      await killDatabase(database, chance)
      await lives.progress()
    }
    await sleep(chance.between(200, 1_000))
    await server.kill()
  }
  if (!signal.aborted) await server.start()
}

async function killDatabase(database: TestPostgres, chance: Chance): Promise<void> {
  await sleep(chance.between(0, 300))
  await database.kill()
  await sleep(chance.between(50, 500))
  await database.start()
}
