/**
 * What SQLite is told of its tables. ANALYZE would count the rows that happen to be there; knowing nothing, SQLite takes one column of any
 * index to leave ten rows, so that the instance alone is as good as what is asked for, and goes through all of it. What is written here
 * follows from the indexes, so a plan is the same in every file and stays the same while it grows.
 */
import type Database from 'better-sqlite3'

/**
 * Rows of a table, of an instance in it, and of what each further column of an index leaves. Only their relations count, and they are held
 * by the plans in test/storage/plans.test.ts: the more columns of an index are given the better, also by a list (taken to have 25 values),
 * but a range with both ends is better than one column more of another index. A table counts as larger than anything that is looked up in
 * it: else SQLite would go through the whole table first, for a Bloom filter.
 */
const left = [1_000_000_000, 3_000_000, 10_000, 1_000, 100] as const
const leftByMore = 10

/** The primary key of a table without rowid goes by the table's name. */
const indexes = `SELECT t."name" AS "table", iif(i."origin" = 'pk', t."name", i."name") AS "index", i."unique",
  (SELECT count(*) FROM pragma_index_info(i."name")) AS "columns"
  FROM sqlite_schema t JOIN pragma_index_list(t."name") i WHERE t."type" = 'table' ORDER BY 1, 2`

interface Index {
  readonly table: string
  readonly index: string
  readonly unique: 0 | 1
  readonly columns: number
}

/** Writes only what is not so already. Connections opened later go by it. https://www.sqlite.org/fileformat2.html#stat1tab */
export function describeTables(database: Database.Database): void {
  const wanted = database.prepare<[], Index>(indexes).all().map(described)
  const places = database.prepare<[], string>(`SELECT "name" FROM sqlite_schema WHERE "name" LIKE 'sqlite_stat_'`).pluck()
  if (places.all().includes('sqlite_stat1')) {
    const standing = database.prepare('SELECT "tbl", "idx", "stat" FROM sqlite_stat1 ORDER BY 1, 2').raw().all()
    if (JSON.stringify(standing) === JSON.stringify(wanted)) return
  }
  const write = database.transaction(() => {
    // Counts nothing; it makes the tables, which CREATE TABLE may not.
    database.exec('ANALYZE sqlite_schema')
    for (const name of places.all()) database.exec(`DELETE FROM "${name}"`)
    const insert = database.prepare('INSERT INTO sqlite_stat1 ("tbl", "idx", "stat") VALUES (?, ?, ?)')
    for (const row of wanted) insert.run(row)
  })
  write.immediate()
}

function described({ table, index, unique, columns }: Index): [string, string, string] {
  const rows = Array.from({ length: columns + 1 }, (_, given) => (given === columns && unique ? 1 : (left[given] ?? leftByMore)))
  // Stepping from one instance to the next to use a column further right is never meant.
  return [table, index, `${rows.join(' ')} noskipscan`]
}
