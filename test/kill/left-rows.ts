/** What the database holds of rooms that are no more, read beside the running server. */
import Sqlite from 'better-sqlite3'
import pg from 'pg'
import { type TableName, tables } from '../../src/storage/tables.ts'

/** Departures stay, for who was away. */
const ofRooms = (Object.keys(tables) as TableName[]).filter((name) => 'room' in tables[name].columns && name !== 'departure')

/** Rows by table, those without any left out; and jobs that have not ended, or not well. */
export async function leftRows(url: string): Promise<Record<string, number>> {
  const counts = {
    // Account data of no room stands under 0.
    ...Object.fromEntries(
      ofRooms.map((name) => {
        const dead = '"room" <> 0 AND "room" NOT IN (SELECT "key" FROM "room")'
        return [name, `SELECT count(*) AS n FROM "${tables[name].name}" WHERE ${dead}`]
      }),
    ),
    job: 'SELECT count(*) AS n FROM "job" WHERE "endedAt" IS NULL OR "error" IS NOT NULL',
  }
  const found = await (/^postgres/.test(url) ? askPostgres : askSqlite)(url, Object.values(counts))
  return Object.fromEntries(Object.keys(counts).flatMap((name, n) => (found[n] === 0 ? [] : [[name, found[n]!]])))
}

async function askPostgres(url: string, queries: readonly string[]): Promise<number[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const found: number[] = []
    for (const query of queries) found.push(Number((await client.query<{ n: string }>(query)).rows[0]!.n))
    return found
  } finally {
    await client.end()
  }
}

async function askSqlite(url: string, queries: readonly string[]): Promise<number[]> {
  const database = new Sqlite(url.replace(/^file:/, ''), { readonly: true })
  try {
    return queries.map((query) => (database.prepare(query).get() as { n: number }).n)
  } finally {
    database.close()
  }
}
