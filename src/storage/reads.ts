/** The reads of an instance that are the same SQL on both engines. */
import type { KeyOf } from './change-set.ts'
import { columnList, type Dialect, type Queries, type Query } from './query.ts'
import type { Find, StateText, Storage, Thread, Where } from './storage.ts'
import { type Rows, type TableName, tables } from './tables.ts'

export type Read = (query: Query) => Promise<unknown[]>
export type SharedReads = Omit<Storage, 'lastEvents' | 'eventsAt' | 'eventsById' | 'relationsTo' | 'membersAt' | 'firstMembers'>

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
    async keys<T extends TableName>(table: T, find: Find<T>): Promise<KeyOf<T>[]> {
      const query = queries.keys(table, instance, find)
      return query ? ((await read(query)) as KeyOf<T>[]) : []
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
    async descendants(room, parent, { steps, from, to, newestFirst, limit, relType = null, type = null }) {
      const only = { ...(relType !== null && { relType }), ...(type !== null && { type }) }
      if (steps === 1) {
        const where = { room, parent, order: { gte: from, lte: to }, ...only }
        return (await this.keys('relation', { where, orderBy: [newestFirst ? '-order' : 'order'], limit })).map(({ order }) => order)
      }
      const sql = texts.descendants(relType !== null, type !== null, newestFirst)
      const rows = await read({ sql, parameters: [instance, room, parent, steps, from, to, ...Object.values(only), limit] })
      return (rows as { order: number }[]).map(({ order }) => order)
    },
    async threads(room, { user, upTo, before, limit }) {
      return (await read({ sql: texts.threads, parameters: [user, instance, room, upTo, before, limit] })) as Thread[]
    },
    async unreadCounts(user, rooms, upTo = Number.MAX_SAFE_INTEGER) {
      if (rooms?.length === 0) return []
      const query = rooms
        ? { sql: texts.unreadCountsOf, parameters: [instance, user, upTo, list(rooms)] }
        : { sql: texts.unreadCounts, parameters: [instance, user, upTo] }
      return (await read(query)) as { room: number; thread: string; notify: number; highlight: number }[]
    },
    async toDeviceSurplus(user, deviceId, { messages, bytes }) {
      const rows = await read({ sql: texts.toDeviceSurplus, parameters: [instance, user, deviceId, messages, bytes] })
      return (rows[0] as { position: number | null } | undefined)?.position ?? null
    },
    async membersWithKeys(rooms, by) {
      if (rooms.length === 0) return []
      return (await read({ sql: texts.membersWithKeys[by], parameters: [instance, list(rooms)] })) as Rows['membership'][]
    },
    async sharingRooms(user, others) {
      if (others.length === 0) return []
      const rows = await read({ sql: texts.sharingRooms, parameters: [instance, list(others), user] })
      return (rows as { user: number }[]).map((row) => row.user)
    },
    async departedWithKeys(user, rooms) {
      if (rooms.length === 0) return []
      const rows = await read({ sql: texts.departedWithKeys, parameters: [instance, user, list(rooms)] })
      return (rows as { user: number }[]).map((row) => row.user)
    },
    async roomsByActivity(user, { before, limit }) {
      const parameters = [instance, user, before ?? Number.MAX_SAFE_INTEGER, limit]
      return (await read({ sql: texts.roomsByActivity, parameters })) as { room: number; order: number }[]
    },
  }
}

interface Texts {
  currentState(byType: boolean, after: boolean): string
  descendants(byRelType: boolean, byType: boolean, newestFirst: boolean): string
  readonly threads: string
  readonly memberCounts: string
  readonly appserviceCounts: string
  readonly unreadCounts: string
  readonly unreadCountsOf: string
  readonly toDeviceSurplus: string
  readonly membersWithKeys: { readonly users: string; readonly members: string }
  readonly sharingRooms: string
  readonly departedWithKeys: string
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
        WHERE "instance" = ? AND "user" = ? AND "order" <= ?${rooms} GROUP BY "room", "thread") SELECT * FROM "unread"`,
    )
  // SQLite joins in this order.
  const withKeys = (joined: string) =>
    finish(
      `SELECT ${columnList(tables.membership, 'm')} FROM "room" r ${joined} WHERE r."instance" = ? AND ${among('r."key"')}
        AND m."instance" = r."instance" AND m."room" = r."key" AND k."instance" = m."instance" AND k."user" = m."user"`,
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
    // Steps go by what an event relates to; asked for are only some of the events met on the way.
    descendants: (byRelType, byType, newestFirst) =>
      finish(
        `WITH RECURSIVE "met" AS (
          SELECT l."instance", l."room", l."order", l."relType", l."type", 1 AS "step" FROM "relation" l
            WHERE l."instance" = ? AND l."room" = ? AND l."parent" = ?
          UNION ALL SELECT l."instance", l."room", l."order", l."relType", l."type", m."step" + 1
            FROM "met" m CROSS JOIN "event" e CROSS JOIN "relation" l WHERE m."step" < ?
            AND e."instance" = m."instance" AND e."room" = m."room" AND e."order" = m."order"
            AND l."instance" = e."instance" AND l."room" = e."room" AND l."parent" = e."eventId")
        SELECT DISTINCT "order" FROM "met" WHERE "order" >= ? AND "order" <= ?${byRelType ? ' AND "relType" = ?' : ''}${byType ? ' AND "type" = ?' : ''}
          ORDER BY "order"${newestFirst ? ' DESC' : ''} LIMIT ?`,
      ),
    threads: finish(
      `WITH "thread" AS (SELECT "parent", max("order") AS "latest", max(CASE WHEN "sender" = ? THEN 1 ELSE 0 END) AS "participated"
          FROM "relation" WHERE "instance" = ? AND "room" = ? AND "relType" = 'm.thread' AND "order" <= ? GROUP BY "parent")
        SELECT "parent", "latest", "participated" FROM "thread" WHERE "latest" <= ? ORDER BY "latest" DESC LIMIT ?`,
    ),
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
    // The length of a text is known without reading it.
    toDeviceSurplus: finish(
      `WITH "newest" AS (SELECT "position", row_number() OVER "back" AS "messages", sum(octet_length("content")) OVER "back" AS "bytes"
        FROM "to_device" WHERE "instance" = ? AND "user" = ? AND "deviceId" = ? WINDOW "back" AS (ORDER BY "position" DESC))
        SELECT max("position") AS "position" FROM "newest" WHERE "messages" > ? OR "bytes" > ?`,
    ),
    membersWithKeys: {
      users: withKeys('CROSS JOIN "device_list_change" k CROSS JOIN "membership" m'),
      members: withKeys('CROSS JOIN "membership" m CROSS JOIN "device_list_change" k'),
    },
    // Ends at the first room that they share. Which rooms the other has comes from the index alone (`i`): of most of them nothing more is
    // read, because the first one is not there.
    sharingRooms: finish(
      `SELECT u."key" AS "user" FROM "user" u WHERE u."instance" = ? AND ${dialect.among('u."key"', 'bigint')} AND EXISTS (
        SELECT 1 FROM "membership" i CROSS JOIN "membership" m CROSS JOIN "membership" t CROSS JOIN "room" r
        WHERE i."instance" = u."instance" AND i."user" = u."key"
        AND m."instance" = i."instance" AND m."room" = i."room" AND m."user" = ? AND m."membership" = 'join'
        AND t."instance" = i."instance" AND t."room" = i."room" AND t."user" = i."user" AND t."membership" IN ('join', 'invite')
        AND r."instance" = i."instance" AND r."key" = i."room")`,
    ),
    departedWithKeys: finish(
      `SELECT DISTINCT t."user" FROM "departure" d CROSS JOIN "device_list_change" k CROSS JOIN "departure" t
        WHERE d."instance" = ? AND d."user" = ? AND ${dialect.among('d."room"', 'bigint')}
        AND NOT EXISTS (SELECT 1 FROM "room" r WHERE r."instance" = d."instance" AND r."key" = d."room") AND k."instance" = d."instance"
        AND k."user" <> d."user" AND t."instance" = d."instance" AND t."user" = k."user" AND t."room" = d."room"`,
    ),
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
