/** The PostgreSQL engine: a pool of reading connections and one that writes. */
import pg from 'pg'
import type { Logger } from 'pino'
import { unavailable } from '../errors.ts'
import type { Engine, Taken } from './engine.ts'
import type { Batch, Claim } from './fold.ts'
import { migratePostgres } from './migrate.ts'
import { dialectOf, isOutage, readingConfig } from './postgres-connection.ts'
import { postgresStorage } from './postgres-reads.ts'
import { PostgresWriter } from './postgres-writer.ts'
import { type Dialect, Queries, type Query } from './query.ts'
import type { Storage } from './storage.ts'

export interface PostgresOptions {
  readonly url: string
  readonly leaseMs: number
  /** connections of the reading side */
  readonly readers: number
  readonly log: Logger
  /** The writing connection is gone, and with it the certainty about everything queued. */
  onLost(error: Error): void
}

/** Names given to prepared reads; the shapes come from code, so this is only a guard for the server's memory. */
const mostStatements = 1_000

/** Migrates the database and opens both sides. */
export async function openPostgres(options: PostgresOptions): Promise<Engine> {
  const client = new pg.Client({ connectionString: options.url, connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    await migratePostgres(client)
    return new PostgresEngine(options, await dialectOf(client))
  } finally {
    await client.end()
  }
}

class PostgresEngine implements Engine {
  readonly name = 'postgresql'
  readonly queries: Queries
  private readonly pool: pg.Pool
  private readonly writer: PostgresWriter
  private readonly names = new Map<string, string>()

  constructor({ url, leaseMs, readers, log, onLost }: PostgresOptions, dialect: Dialect) {
    this.queries = new Queries(dialect)
    this.pool = new pg.Pool({ ...readingConfig(url), max: readers, idleTimeoutMillis: 0 })
    // A connection that breaks while nobody uses it is replaced by the pool.
    this.pool.on('error', (error) => log.warn({ err: error }, 'an idle reading connection was lost'))
    this.writer = new PostgresWriter(url, leaseMs, onLost)
  }

  async read({ sql, parameters }: Query): Promise<unknown[]> {
    let name = this.names.get(sql)
    if (name === undefined && this.names.size < mostStatements) {
      name = `r${this.names.size}`
      this.names.set(sql, name)
    }
    try {
      const { rows } = await this.pool.query({ ...(name !== undefined && { name }), text: sql, values: parameters as unknown[] })
      return rows
    } catch (error) {
      throw isOutage(error) && !(error instanceof RangeError) ? unavailable('the database cannot be reached') : error
    }
  }

  storage(instance: number): Storage {
    return postgresStorage((query) => this.read(query), this.queries, instance)
  }

  commit(batch: Batch): Promise<void> {
    return this.writer.commit(batch)
  }

  take(instance: number, owner: string): Promise<Taken> {
    return this.writer.take(instance, owner)
  }

  release(claim: Claim): Promise<void> {
    return this.writer.release(claim)
  }

  renew(claims: readonly Claim[]): Promise<Claim[]> {
    return this.writer.renew(claims)
  }

  /** Autovacuum makes the space reusable. */
  async reclaimSpace(): Promise<void> {}

  async close(): Promise<void> {
    await this.writer.close()
    await this.pool.end()
  }
}
