/** The PostgreSQL engine: a pool of reading connections and one that writes. */
import pg from 'pg'
import type { Logger } from 'pino'
import { unavailable } from '../errors.ts'
import type { Engine, Taken } from './engine.ts'
import type { Batch, Claim } from './fold.ts'
import { migratePostgres } from './migrate.ts'
import { dialectOf, isOutage, lockingConfig, readingConfig } from './postgres-connection.ts'
import { postgresStorage } from './postgres-reads.ts'
import { PostgresWriter, type PostgresWriterOptions } from './postgres-writer.ts'
import { type Dialect, Queries, type Query } from './query.ts'
import type { Storage } from './storage.ts'
import { tables } from './tables.ts'

export interface PostgresOptions extends PostgresWriterOptions {
  /** connections of the reading side */
  readonly readers: number
  readonly log: Logger
}

/**
 * After so many rows the planner's statistics are gathered, then after four times as many each time. Autovacuum comes once a minute; until
 * then a table counts as tiny, and the first index that fits as good as the right one: a look-up by event id would read its whole room.
 */
const firstAnalysisRows = 500
const analysisGrowth = 4

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
  private readonly locking: pg.ClientConfig
  private readonly log: Logger
  private rows = 0
  private analyzeAt = firstAnalysisRows

  constructor(options: PostgresOptions, dialect: Dialect) {
    const { url, timeoutMs, readers, log } = options
    this.locking = lockingConfig(url, timeoutMs)
    this.log = log
    this.queries = new Queries(dialect)
    this.pool = new pg.Pool({ ...readingConfig(url, timeoutMs), max: readers, idleTimeoutMillis: 0 })
    // A connection that breaks while nobody uses it is replaced by the pool.
    this.pool.on('error', (error) => log.warn({ err: error }, 'an idle reading connection was lost'))
    this.writer = new PostgresWriter(options)
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
      if (error instanceof RangeError) throw error
      return unreachable(error)
    }
  }

  storage(instance: number): Storage {
    return postgresStorage((query) => this.read(query), this.queries, instance)
  }

  async commit(batch: Batch): Promise<void> {
    await this.writer.commit(batch)
    this.rows += batch.rows
    if (this.rows < this.analyzeAt) return
    this.analyzeAt = this.rows * analysisGrowth
    this.analyze().catch((error: unknown) => this.log.warn({ err: error }, 'statistics were not gathered'))
  }

  private async analyze(): Promise<void> {
    const client = new pg.Client(this.locking)
    client.on('error', () => undefined)
    try {
      await client.connect()
      await client.query(
        `ANALYZE ${Object.values(tables)
          .map(({ name }) => `"${name}"`)
          .join()}`,
      )
    } finally {
      client.end().catch(() => undefined)
    }
  }

  /** As the owner that its connections name. */
  take(instance: number): Promise<Taken> {
    return this.writer.take(instance)
  }

  release(claim: Claim): Promise<void> {
    return this.writer.release(claim)
  }

  renew(claims: readonly Claim[]): Promise<Claim[]> {
    return this.writer.renew(claims)
  }

  /** The lock ends with the connection, which is this call's own. */
  async exclusively<T>(name: string, run: () => Promise<T>): Promise<T> {
    const client = new pg.Client(this.locking)
    client.on('error', () => undefined)
    try {
      await client.connect().catch(unreachable)
      await client.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [name]).catch(unreachable)
      return await run()
    } finally {
      client.end().catch(() => undefined)
    }
  }

  /** Autovacuum makes the space reusable. */
  async reclaimSpace(): Promise<void> {}

  async close(): Promise<void> {
    await this.writer.close()
    await this.pool.end()
  }
}

function unreachable(error: unknown): never {
  throw isOutage(error) ? unavailable('the database cannot be reached') : error
}
