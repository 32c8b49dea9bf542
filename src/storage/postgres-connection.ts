/** How connections to PostgreSQL are made, and what their errors mean. */
import pg from 'pg'
import { arrayText } from './postgres-statements.ts'
import type { Dialect } from './query.ts'

const bigint = pg.types.builtins.INT8

/** BIGINT is a number in code, and asserted safe. */
function safeInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} is not a safe integer`)
  return value
}

const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === bigint ? safeInteger : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
}

/**
 * Every query goes by a key, so an index is always right; a plan kept from when the table was small and a scan was cheap is not.
 * A forbidden scan also looks dear enough to compile, hence no JIT.
 */
const settings = '-c jit=off -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off'

/** For the word of the server that a statement took too long, before the connection itself is given up. */
const graceMs = 500

/**
 * `timeoutMs`: a statement that takes longer is ended by the server; a server that says nothing, or cannot be reached any more, is given up
 * by us a moment later.
 */
function bounded(url: string, timeoutMs: number, options: string): pg.ClientConfig {
  return {
    connectionString: url,
    types,
    keepAlive: true,
    connectionTimeoutMillis: 5_000,
    query_timeout: timeoutMs + graceMs,
    options: `${settings} -c statement_timeout=${timeoutMs} ${options}`,
  }
}

export function readingConfig(url: string, timeoutMs: number): pg.ClientConfig {
  return bounded(url, timeoutMs, '-c default_transaction_read_only=on')
}

/** `pipeline`: a whole transaction travels in one round trip. A process that stops in the middle of one must not hold its rows for ever. */
export function writingConfig(url: string, timeoutMs: number, leaseMs: number): pg.ClientConfig {
  const options = `-c synchronous_commit=on -c idle_in_transaction_session_timeout=${leaseMs}`
  return { ...bounded(url, timeoutMs, options), pipeline: true } as pg.ClientConfig
}

/** What only holds a lock, for as long as it is open. */
export function lockingConfig(url: string, timeoutMs: number): pg.ClientConfig {
  return bounded(url, timeoutMs, '')
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html: not what we sent is at fault, but the server or the way to it. */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return true
  const code = error.code ?? ''
  // Connection exceptions, operator intervention (a timeout too), no resources, system errors, internal errors, a primary become a standby.
  return ['08', '57', '53', '58', 'XX', '25006'].some((prefix) => code.startsWith(prefix))
}

/** Databases that sort by code points anyway keep the use of their indexes. */
export async function dialectOf(client: pg.Client): Promise<Dialect> {
  const { rows } = await client.query<{ collation: string }>(
    `SELECT coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate) AS collation FROM pg_database d WHERE datname = current_database()`,
  )
  const bytewise = ['C', 'POSIX', 'C.UTF-8', 'C.utf8'].includes(rows[0]?.collation ?? '')
  return {
    name: 'postgresql',
    among: (column, type) => `${column} = ANY(?::${type}[])`,
    list: (values) => arrayText(typeof values[0] === 'string' ? 'text' : 'bigint', values),
    collate: bytewise ? '' : ' COLLATE "C"',
    noLimit: '',
    finish(sql) {
      let n = 0
      return sql.replaceAll('?', () => `$${++n}`)
    },
  }
}
