/** The reads of an instance that are the same SQL on both engines. */
import type { Dialect, Queries, Query } from './query.ts'
import type { Find, StateText, Storage, Where } from './storage.ts'
import type { Rows, TableName } from './tables.ts'

export type Read = (query: Query) => Promise<unknown[]>
export type SharedReads = Omit<Storage, 'lastEvents' | 'eventsAt' | 'relationsTo' | 'membersAt' | 'firstMembers'>

export function sharedReads(read: Read, queries: Queries, instance: number): SharedReads {
  const texts = textsOf(queries.dialect)
  const list = queries.dialect.list
  return {
    async find<T extends TableName>(table: T, find: Find<T>): Promise<Rows[T][]> {
      const query = queries.rows(table, instance, find)
      return query ? ((await read(query)) as Rows[T][]) : []
    },
    async first<T extends TableName>(table: T, by: Where<T>): Promise<Rows[T] | null> {
      const query = queries.rows(table, instance, { where: by, limit: 1 })
      const rows = query ? await read(query) : []
      return (rows[0] as Rows[T] | undefined) ?? null
    },
    async count<T extends TableName>(table: T, where: Where<T>): Promise<number> {
      const query = queries.count(table, instance, { where })
      const rows = query ? await read(query) : []
      return (rows[0] as { count: number } | undefined)?.count ?? 0
    },
    async currentState(rooms, { types, after } = {}) {
      if (rooms.length === 0 || types?.length === 0) return []
      const parameters: unknown[] = [instance, list(rooms)]
      if (types) parameters.push(list(types))
      if (after !== undefined) parameters.push(after)
      const sql = texts.currentState(types !== undefined, after !== undefined)
      return (await read({ sql, parameters })) as StateText[]
    },
    async memberCounts(rooms) {
      const counts = new Map<number, Record<string, number>>(rooms.map((room) => [room, {}]))
      if (rooms.length === 0) return counts
      const rows = await read({ sql: texts.memberCounts, parameters: [instance, list(rooms)] })
      for (const { room, membership, members } of rows as { room: number; membership: string; members: number }[]) {
        const ofRoom = counts.get(room)
        if (ofRoom) ofRoom[membership] = members
      }
      return counts
    },
    async appserviceCounts(room) {
      const rows = await read({ sql: texts.appserviceCounts, parameters: [instance, room] })
      return new Map((rows as { appservice: number; members: number }[]).map(({ appservice, members }) => [appservice, members]))
    },
    async unreadCounts(user, rooms) {
      if (rooms?.length === 0) return []
      const query = rooms
        ? { sql: texts.unreadCountsOf, parameters: [instance, user, list(rooms)] }
        : { sql: texts.unreadCounts, parameters: [instance, user] }
      return (await read(query)) as { room: number; thread: string; notify: number; highlight: number }[]
    },
    async roomsByActivity(user, { before, limit }) {
      const parameters = [instance, user, before ?? Number.MAX_SAFE_INTEGER, limit]
      return (await read({ sql: texts.roomsByActivity, parameters })) as { room: number; order: number }[]
    },
  }
}

interface Texts {
  currentState(byType: boolean, after: boolean): string
  readonly memberCounts: string
  readonly appserviceCounts: string
  readonly unreadCounts: string
  readonly unreadCountsOf: string
  readonly roomsByActivity: string
}

const made = new WeakMap<Dialect, Texts>()

/** Once per dialect: the same text finds the same prepared statement. */
function textsOf(dialect: Dialect): Texts {
  let texts = made.get(dialect)
  if (!texts) {
    texts = makeTexts(dialect)
    made.set(dialect, texts)
  }
  return texts
}

function makeTexts(dialect: Dialect): Texts {
  const { finish } = dialect
  const among = (column: string) => dialect.among(column, 'bigint')
  const unread = (rooms: string) =>
    finish(
      `WITH "unread" AS (SELECT "room", "thread", count(*) AS "notify", sum("highlight") AS "highlight" FROM "notification"
        WHERE "instance" = ? AND "user" = ?${rooms} GROUP BY "room", "thread") SELECT * FROM "unread"`,
    )
  const states = new Map<string, string>()
  return {
    currentState(byType, after) {
      const shape = `${byType} ${after}`
      let sql = states.get(shape)
      if (sql === undefined) {
        // CROSS JOIN keeps SQLite from starting at the events.
        sql = finish(
          `SELECT s."room", s."type", s."stateKey", s."order", e."json" FROM "state" s CROSS JOIN "event" e
            WHERE s."instance" = ? AND ${among('s."room"')}${byType ? ` AND ${dialect.among('s."type"', 'text')}` : ''}${after ? ' AND s."order" > ?' : ''}
            AND e."instance" = s."instance" AND e."room" = s."room" AND e."order" = s."order"`,
        )
        states.set(shape, sql)
      }
      return sql
    },
    memberCounts: finish(
      `SELECT "room", "membership", count(*) AS "members" FROM "membership" WHERE "instance" = ? AND ${among('"room"')} GROUP BY "room", "membership"`,
    ),
    appserviceCounts: finish(
      `SELECT u."appservice", count(*) AS "members" FROM "membership" m CROSS JOIN "user" u WHERE m."instance" = ? AND m."room" = ?
        AND m."membership" IN ('join', 'invite') AND u."instance" = m."instance" AND u."key" = m."user" AND u."appservice" IS NOT NULL
        GROUP BY u."appservice"`,
    ),
    unreadCounts: unread(''),
    unreadCountsOf: unread(` AND ${among('"room"')}`),
    // One look at the end of each room's events. A deleted room has no row, while its memberships wait to be reclaimed.
    roomsByActivity: finish(
      `WITH "joined" AS MATERIALIZED (
        SELECT m."room", (SELECT max(e."order") FROM "event" e WHERE e."instance" = m."instance" AND e."room" = m."room") AS "order"
        FROM "membership" m WHERE m."instance" = ? AND m."user" = ? AND m."membership" = 'join'
        AND EXISTS (SELECT 1 FROM "room" r WHERE r."instance" = m."instance" AND r."key" = m."room"))
        SELECT "room", "order" FROM "joined" WHERE "order" < ? ORDER BY "order" DESC, "room" DESC LIMIT ?`,
    ),
  }
}
