/**
 * Brings a database to the newest tables at start, from prisma/<provider>/migrations, in Prisma's own `_prisma_migrations` format so
 * that `prisma migrate status` and `migrate dev` agree. No engine, no CLI.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Database } from 'better-sqlite3'
import type { Client } from 'pg'

/** Any number will do, as long as every Hungryserv uses the same. */
const advisoryLock = 72_707_369

const sqliteRegister = `CREATE TABLE IF NOT EXISTS "_prisma_migrations" ("id" TEXT PRIMARY KEY NOT NULL, "checksum" TEXT NOT NULL,
  "finished_at" DATETIME, "migration_name" TEXT NOT NULL, "logs" TEXT, "rolled_back_at" DATETIME,
  "started_at" DATETIME NOT NULL DEFAULT current_timestamp, "applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0)`
const postgresRegister = `CREATE TABLE IF NOT EXISTS _prisma_migrations (id VARCHAR(36) PRIMARY KEY NOT NULL,
  checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ, migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ,
  started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0)`
const appliedQuery = 'SELECT migration_name AS name FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL'

interface Migration {
  readonly name: string
  readonly sql: string
  readonly checksum: string
}

/** Where the migrations of a provider lie when nothing else is said. */
export function migrationsFolder(provider: 'sqlite' | 'postgresql'): string {
  return fileURLToPath(new URL(`../../prisma/${provider}/migrations/`, import.meta.url))
}

/** Applies what is missing and answers with its names. Must be called with the file's lock held. */
export function migrateSqlite(database: Database, nowMs: number, folder = migrationsFolder('sqlite')): string[] {
  database.exec(sqliteRegister)
  const applied = database.prepare<[], { name: string }>(appliedQuery).all()
  const missing = missingMigrations(
    folder,
    applied.map(({ name }) => name),
  )
  for (const migration of missing) {
    // No effect inside a transaction, and with it on a rebuilt table would take its children along.
    database.pragma('foreign_keys = OFF')
    database.exec('BEGIN IMMEDIATE')
    try {
      database.exec(migration.sql)
      database.prepare(register('?, ?, ?, ?, ?')).run(migration.checksum.slice(0, 36), migration.checksum, migration.name, nowMs, nowMs)
      database.exec('COMMIT')
    } catch (error) {
      if (database.inTransaction) database.exec('ROLLBACK')
      throw new Error(`migration ${migration.name} failed`, { cause: error })
    }
  }
  return missing.map(({ name }) => name)
}

/** The same on PostgreSQL, where an advisory lock lets one process at a time in. */
export async function migratePostgres(client: Client, folder = migrationsFolder('postgresql')): Promise<string[]> {
  await client.query(`SELECT pg_advisory_lock(${advisoryLock})`)
  try {
    await client.query(postgresRegister)
    const applied = await client.query<{ name: string }>(appliedQuery)
    const missing = missingMigrations(
      folder,
      applied.rows.map(({ name }) => name),
    )
    for (const migration of missing) {
      await client.query('BEGIN')
      try {
        await client.query(migration.sql)
        await client.query(register('$1, $2, $3, now(), now()'), [migration.checksum.slice(0, 36), migration.checksum, migration.name])
        await client.query('COMMIT')
      } catch (error) {
        await client.query('ROLLBACK')
        throw new Error(`migration ${migration.name} failed`, { cause: error })
      }
    }
    return missing.map(({ name }) => name)
  } finally {
    await client.query(`SELECT pg_advisory_unlock(${advisoryLock})`)
  }
}

function register(values: string): string {
  return `INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at, finished_at, applied_steps_count) VALUES (${values}, 1)`
}

function missingMigrations(folder: string, applied: readonly string[]): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, 'migration.sql')))
    .sort()
  const unknown = applied.filter((name) => !names.includes(name))
  if (unknown.length > 0) throw new Error(`the database was written by a newer version: it has the migrations ${unknown.join(', ')}`)
  return names
    .filter((name) => !applied.includes(name))
    .map((name) => {
      const sql = readFileSync(join(folder, name, 'migration.sql'), 'utf8')
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') }
    })
}
