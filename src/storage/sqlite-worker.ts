/**
 * The thread with the only writing connection of a SQLite file: fsyncs, large change sets, checkpoints and vacuum steps happen here and
 * do not stop the event loop.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type Database from 'better-sqlite3'
import type { Taken } from './engine.ts'
import type { Batch, Claim, TableChanges } from './fold.ts'
import { type ConnectionOptions, connect } from './sqlite-connection.ts'
import { rangeTexts, removeText, upsertText } from './sqlite-statements.ts'
import { type Answer, notOwned, type Request } from './sqlite-worker-messages.ts'

let database: Database.Database
let statements = new Map<string, Database.Statement>()

function open(): void {
  database = connect(workerData as ConnectionOptions)
  statements = new Map()
}

/** There are two statements per table and a handful more, so nothing is ever thrown out. */
function statement(sql: string): Database.Statement {
  let prepared = statements.get(sql)
  if (!prepared) {
    prepared = database.prepare(sql)
    statements.set(sql, prepared)
  }
  return prepared
}

function transaction<T>(run: () => T): T {
  statement('BEGIN IMMEDIATE').run()
  try {
    const value = run()
    statement('COMMIT').run()
    return value
  } catch (error) {
    if (database.inTransaction) database.exec('ROLLBACK')
    throw error
  }
}

function commit({ claims, changes }: Batch): void {
  transaction(() => {
    for (const claim of claims) assertOwned(claim)
    for (const change of changes) apply(change)
  })
}

function assertOwned({ instance, owner, epoch, ceiling }: Claim): void {
  const owned =
    ceiling === null
      ? statement('SELECT 1 FROM "ownership" WHERE "instance" = ? AND "owner" = ? AND "epoch" = ?').get(instance, owner, epoch) !==
        undefined
      : statement('UPDATE "ownership" SET "ceiling" = ? WHERE "instance" = ? AND "owner" = ? AND "epoch" = ?').run(
          ceiling,
          instance,
          owner,
          epoch,
        ).changes === 1
  if (!owned) throw Object.assign(new Error(`instance ${instance} was taken over`), { code: notOwned })
}

function apply({ table, ranges, removals, removed, puts, put }: TableChanges): void {
  for (const { range, instance, arguments: given } of ranges) statement(rangeTexts[range]).run({ thread: null, ...given, instance })
  if (removals > 0) runRows(statement(removeText(table)), removed, removals)
  if (puts > 0) runRows(statement(upsertText(table)), put, puts)
}

function runRows(prepared: Database.Statement, columns: readonly (readonly unknown[])[], rows: number): void {
  const row: unknown[] = new Array(columns.length)
  for (let i = 0; i < rows; i++) {
    for (let c = 0; c < columns.length; c++) row[c] = columns[c]?.[i]
    prepared.run(row)
  }
}

function take(instance: number, owner: string): Taken {
  return transaction(() => {
    statement(
      'INSERT INTO "ownership" ("instance", "owner", "epoch", "leaseUntil", "ceiling", "clean") VALUES (?, \'\', 0, 0, 0, 1) ON CONFLICT DO NOTHING',
    ).run(instance)
    const found = statement('SELECT "epoch", "ceiling", "clean" FROM "ownership" WHERE "instance" = ?').get(instance) as {
      epoch: number
      ceiling: number
      clean: number
    }
    const epoch = found.epoch + 1
    statement('UPDATE "ownership" SET "owner" = ?, "epoch" = ?, "clean" = 0 WHERE "instance" = ?').run(owner, epoch, instance)
    return { epoch, ceiling: found.ceiling, clean: found.clean === 1 }
  })
}

function release({ instance, owner, epoch }: Claim): void {
  transaction(() => {
    statement('UPDATE "ownership" SET "owner" = \'\', "clean" = 1 WHERE "instance" = ? AND "owner" = ? AND "epoch" = ?').run(
      instance,
      owner,
      epoch,
    )
  })
}

/** Answers with the number of pages that are still free. */
function vacuum(pages: number): number {
  database.pragma(`incremental_vacuum(${pages})`)
  return database.pragma('freelist_count', { simple: true }) as number
}

function close(): void {
  // With automatic checkpoints off, a replication tool wants to see the log before it is folded in.
  if ((workerData as ConnectionOptions).autoCheckpoint) database.pragma('wal_checkpoint(TRUNCATE)')
  database.close()
}

function handle(request: Request): unknown {
  switch (request.kind) {
    case 'commit':
      return commit(request.batch)
    case 'take':
      return take(request.instance, request.owner)
    case 'release':
      return release(request.claim)
    case 'vacuum':
      return vacuum(request.pages)
    case 'close':
      return close()
  }
}

open()
const port = parentPort
if (!port) throw new Error('sqlite-worker.ts runs as a worker thread')
port.on('message', ({ id, request }: { id: number; request: Request }) => {
  let answer: Answer
  try {
    answer = { id, value: handle(request) }
  } catch (error) {
    const code = (error as { code?: unknown }).code
    answer = { id, error: { message: error instanceof Error ? error.message : String(error), code: typeof code === 'string' ? code : '' } }
    // What a connection remembers after a failed read or write of its file is not worth keeping.
    if (answer.error?.code.startsWith('SQLITE_IOERR')) reopen()
  }
  port.postMessage(answer)
  if (request.kind === 'close') port.close()
})

function reopen(): void {
  try {
    database.close()
    open()
  } catch {
    // The next request fails and says why.
  }
}
