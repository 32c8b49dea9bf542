/** The SQLite engine: reads on this thread, writes in a worker. */
import { Worker } from 'node:worker_threads'
import { CommitError, type Engine, type Taken } from './engine.ts'
import type { Batch, Claim } from './fold.ts'
import { migrateSqlite } from './migrate.ts'
import { type Dialect, Queries, type Query } from './query.ts'
import { connect } from './sqlite-connection.ts'
import { SqliteReader } from './sqlite-reader.ts'
import { sqliteStorage } from './sqlite-reads.ts'
import { describeTables } from './sqlite-statistics.ts'
import { type Answer, notOwned, type Request } from './sqlite-worker-messages.ts'
import type { Storage } from './storage.ts'

export interface SqliteOptions {
  readonly path: string
  readonly autoCheckpoint: boolean
  readonly nowMs: number
  /** the writing thread ended by itself */
  onFatal(error: Error): void
}

/** Pages given back per step; about 5 ms of the writer's time. */
const vacuumPages = 256

export const sqliteDialect: Dialect = {
  name: 'sqlite',
  among: (column) => `${column} IN (SELECT "value" FROM json_each(?))`,
  list: (values) => JSON.stringify(values),
  collate: '',
  noLimit: ' LIMIT -1',
  finish: (sql) => sql,
}

export class SqliteEngine implements Engine {
  readonly name = 'sqlite'
  readonly queries = new Queries(sqliteDialect)
  private readonly reader: SqliteReader
  private readonly worker: Worker
  private readonly waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  private requests = 0
  private ended: Error | null = null
  private closing = false

  /** Migrates and describes the file, then opens both sides. The caller holds the lock of the file. */
  constructor(options: SqliteOptions) {
    const { path, autoCheckpoint } = options
    const database = connect({ path, readOnly: false, autoCheckpoint })
    try {
      migrateSqlite(database, options.nowMs)
      describeTables(database)
    } finally {
      database.close()
    }
    this.reader = new SqliteReader(path)
    const file = import.meta.url.endsWith('.ts') ? './sqlite-worker.ts' : './sqlite-worker.js'
    this.worker = new Worker(new URL(file, import.meta.url), { workerData: { path, readOnly: false, autoCheckpoint } })
    this.worker.on('message', (answer: Answer) => this.settle(answer))
    const end = (error: Error) => {
      this.ended ??= error
      for (const { reject } of this.waiting.values()) reject(new CommitError('fatal', error))
      this.waiting.clear()
      if (!this.closing) options.onFatal(error)
    }
    this.worker.on('error', end)
    this.worker.on('exit', () => end(new Error('the writing thread ended')))
  }

  async read(query: Query): Promise<unknown[]> {
    return this.reader.all(query)
  }

  storage(instance: number): Storage {
    return sqliteStorage(this.reader, this.queries, instance)
  }

  async commit(batch: Batch): Promise<void> {
    await this.ask({ kind: 'commit', batch })
  }

  async take(instance: number, owner: string): Promise<Taken> {
    return (await this.ask({ kind: 'take', instance, owner })) as Taken
  }

  async release(claim: Claim): Promise<void> {
    await this.ask({ kind: 'release', claim })
  }

  /** The lock of the file is ours for as long as the process lives. */
  async renew(): Promise<Claim[]> {
    return []
  }

  /** The whole file belongs to one process. */
  exclusively<T>(_name: string, run: () => Promise<T>): Promise<T> {
    return run()
  }

  async reclaimSpace(): Promise<void> {
    let free = Number.POSITIVE_INFINITY
    for (;;) {
      // One step at a time, so that commits get in between.
      const left = (await this.ask({ kind: 'vacuum', pages: vacuumPages })) as number
      if (left === 0 || left >= free) return
      free = left
    }
  }

  async close(): Promise<void> {
    this.closing = true
    // First, so that the writer's checkpoint finds no reader and the last connection folds the log in.
    this.reader.close()
    const exited = new Promise((resolve) => this.worker.once('exit', resolve))
    if (this.ended) return
    await this.ask({ kind: 'close' })
    await exited
  }

  private ask(request: Request): Promise<unknown> {
    if (this.ended) return Promise.reject(new CommitError('fatal', this.ended))
    const id = ++this.requests
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject })
      this.worker.postMessage({ id, request })
    })
  }

  private settle({ id, value, error }: Answer): void {
    const waiting = this.waiting.get(id)
    this.waiting.delete(id)
    if (error) waiting?.reject(judged(error))
    else waiting?.resolve(value)
  }
}

/** https://www.sqlite.org/rescode.html: which failures say that the change set is at fault, and which say that the disk is. */
function judged({ message, code }: { message: string; code: string }): Error {
  const error = Object.assign(new Error(message), { code })
  if (code === notOwned) return new CommitError('notOwned', error)
  // After a failed fsync the kernel may have dropped the pages: asking again would be answered with a lie.
  if (code === 'SQLITE_IOERR_FSYNC' || code === 'SQLITE_IOERR_DIR_FSYNC') return new CommitError('fatal', error)
  const disk = [
    'SQLITE_IOERR',
    'SQLITE_FULL',
    'SQLITE_BUSY',
    'SQLITE_CORRUPT',
    'SQLITE_NOTADB',
    'SQLITE_CANTOPEN',
    'SQLITE_READONLY',
    'SQLITE_NOMEM',
  ]
  if (disk.some((prefix) => code.startsWith(prefix))) return new CommitError('unknown', error)
  return error
}
