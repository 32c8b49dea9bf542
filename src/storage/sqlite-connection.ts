/** Opens a connection to a SQLite file with the pragmas that durability and sharing rest on. They last for one connection only. */
import Database from 'better-sqlite3'

export interface ConnectionOptions {
  readonly path: string
  /** the reading side refuses to write */
  readonly readOnly: boolean
  /** false: replication tools checkpoint themselves */
  readonly autoCheckpoint: boolean
}

export function connect({ path, readOnly, autoCheckpoint }: ConnectionOptions): Database.Database {
  const database = new Database(path, { timeout: 5_000 })
  if (!readOnly && database.pragma('page_count', { simple: true }) === 0) {
    // Only an empty file takes this; it lets the space of deleted rooms go back to the disk step by step.
    database.pragma('auto_vacuum = INCREMENTAL')
  }
  database.pragma('journal_mode = WAL')
  database.pragma('synchronous = FULL')
  database.pragma('foreign_keys = OFF')
  database.pragma('temp_store = MEMORY')
  database.pragma('cache_size = -16000')
  database.pragma(`wal_autocheckpoint = ${autoCheckpoint && !readOnly ? 1_000 : 0}`)
  if (readOnly) database.pragma('query_only = ON')
  return database
}

/** A path from `file:…` or from a bare path. */
export function sqlitePath(url: string): string {
  const path = url.startsWith('file://') ? decodeURIComponent(new URL(url).pathname) : url.replace(/^file:/, '')
  if (path === '' || path === ':memory:') throw new Error('a SQLite shard needs a file: reader and writer are two connections')
  return path
}
