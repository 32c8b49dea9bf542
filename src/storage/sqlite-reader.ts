/** The reading side of SQLite: one connection on the main thread, statements kept by their text, the least recently used thrown out. */
import type Database from 'better-sqlite3'
import type { Query } from './query.ts'
import { connect } from './sqlite-connection.ts'

/** Prepared reads kept; the shapes are few, so this is only a guard. */
const mostStatements = 500

export class SqliteReader {
  private readonly database: Database.Database
  private readonly statements = new Map<string, Database.Statement<unknown[]>>()

  constructor(path: string) {
    this.database = connect({ path, readOnly: true, autoCheckpoint: false })
  }

  statement(sql: string): Database.Statement<unknown[]> {
    let prepared = this.statements.get(sql)
    if (prepared) this.statements.delete(sql)
    else {
      prepared = this.database.prepare(sql)
      if (this.statements.size >= mostStatements) {
        for (const oldest of this.statements.keys()) {
          this.statements.delete(oldest)
          break
        }
      }
    }
    // The map is in the order of use.
    this.statements.set(sql, prepared)
    return prepared
  }

  all(query: Query): unknown[] {
    return this.statement(query.sql).all(query.parameters as unknown[])
  }

  close(): void {
    this.database.close()
  }
}
