/** What the database holds though nobody needs it any more, read beside the running server. */
import Sqlite from 'better-sqlite3'
import pg from 'pg'
import { type TableName, tables } from '../../src/storage/tables.ts'

/** Departures stay, for who was away. */
const ofRooms = (Object.keys(tables) as TableName[]).filter((name) => 'room' in tables[name].columns && name !== 'departure')

/** Rows of rooms that are no more by table, those without any left out; and jobs that have not ended, or not well. */
export function leftRows(url: string): Promise<Record<string, number>> {
  return ask(url, {
    // Account data of no room stands under 0.
    ...Object.fromEntries(
      ofRooms.map((name) => {
        const dead = '"room" <> 0 AND "room" NOT IN (SELECT "key" FROM "room")'
        return [name, `SELECT count(*) AS n FROM "${tables[name].name}" WHERE ${dead}`]
      }),
    ),
    job: 'SELECT count(*) AS n FROM "job" WHERE "endedAt" IS NULL OR "error" IS NOT NULL',
  })
}

/** Rows of these tables, those without any left out. */
export function rowCounts(url: string, names: readonly TableName[]): Promise<Record<string, number>> {
  return ask(url, Object.fromEntries(names.map((name) => [name, `SELECT count(*) AS n FROM "${tables[name].name}"`])))
}

/** Of queries for a count those that find something, by their names. */
async function ask(url: string, counts: Readonly<Record<string, string>>): Promise<Record<string, number>> {
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
