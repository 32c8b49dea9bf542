/**
 * An instance is open in exactly one process. On SQLite the whole file belongs to one: a small SQLite file beside the database is held in
 * BEGIN EXCLUSIVE, which the kernel frees when the process dies, and a text file names the holder.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import type { Taken } from './engine.ts'

/** More positions than a restored replica, or an unclean end, can have lost. */
const uncleanStep = 100_000
const retryMs = 100

/** The position an instance continues from, so that none is given out twice. */
export function firstPosition({ ceiling, clean }: Taken): number {
  return clean ? ceiling : ceiling + uncleanStep
}

export interface FileLock {
  release(): void
}

/** Waits for the lock of a database file; after `waitMs` throws an Error that names the holder. */
export async function lockFile(path: string, waitMs: number, nowMs: number): Promise<FileLock> {
  const holder = `${path}.holder`
  const database = new Database(`${path}.lock`, { timeout: 0 })
  try {
    for (let waitedMs = 0; !tryLock(database); waitedMs += retryMs) {
      if (waitedMs >= waitMs) throw new Error(`${path} is in use by ${holderOf(holder)}`)
      await sleep(retryMs)
    }
    writeFileSync(holder, `process ${process.pid} on ${hostname()} since ${new Date(nowMs).toISOString()}\n`)
  } catch (error) {
    database.close()
    throw error
  }
  return {
    release() {
      rmSync(holder, { force: true })
      database.close()
    },
  }
}

function tryLock(database: Database.Database): boolean {
  try {
    database.exec('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY')) return false
    throw error
  }
}

function holderOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return 'another process'
  }
}
