/** The reads that SQLite does best row by row with a prepared statement, giving the event loop a turn between slices. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { columnList, type Queries, relatedColumns, relatedGroups } from './query.ts'
import { sharedReads } from './reads.ts'
import type { SqliteReader } from './sqlite-reader.ts'
import type { Related, Storage } from './storage.ts'
import { type Rows, tables } from './tables.ts'

/** How long a read may keep the event loop in one piece. */
const sliceMs = 5

/** Looked up together, in about as long. */
const idsAtOnce = 1_000

const columns = columnList(tables.event)
const lastText = `SELECT ${columns} FROM "event" WHERE "instance" = ? AND "room" = ? AND "order" > ? AND "order" <= ? ORDER BY "order" DESC LIMIT ?`
const atText = `SELECT ${columns} FROM "event" WHERE "instance" = ? AND "room" = ? AND "order" = ?`

// The list leads, so that nothing but looking up each of it is left to SQLite.
const byIdText = `SELECT ${columnList(tables.event, 'e')} FROM json_each(?) i CROSS JOIN "event" e
  WHERE e."instance" = ? AND e."room" = ? AND e."eventId" = i."value"`

const anyRelationText = 'SELECT 1 FROM "relation" WHERE "instance" = ? AND "room" = ? LIMIT 1'
// Room by room: a list of rooms and one of parents would be tried in every combination.
const relationsText = `SELECT ${relatedColumns} FROM (SELECT ? AS "user") r CROSS JOIN "relation" l WHERE l."instance" = ? AND l."room" = ?
  AND l."parent" IN (SELECT "value" FROM json_each(?)) AND l."relType" IN (SELECT "value" FROM json_each(?)) AND l."order" <= ? ${relatedGroups}`

const members = columnList(tables.membership)
const memberText = `SELECT ${members} FROM "membership" WHERE "instance" = ? AND "room" = ? AND "user" = ?`
const firstText = `SELECT ${members} FROM "membership" WHERE "instance" = ? AND "room" = ?
  AND "membership" IN (SELECT "value" FROM json_each(?)) ORDER BY "order", "user" LIMIT ?`

export function sqliteStorage(reader: SqliteReader, queries: Queries, instance: number): Storage {
  return {
    ...sharedReads(async (query) => reader.all(query), queries, instance),
    async lastEvents(rooms, { after, until, limit }) {
      const events = new Map<number, Rows['event'][]>()
      await inSlices(rooms, (room) => {
        const rows = reader.statement(lastText).all(instance, room, after ?? Number.MIN_SAFE_INTEGER, until, limit)
        events.set(room, (rows as Rows['event'][]).reverse())
      })
      return events
    },
    async eventsAt(places) {
      const events: Rows['event'][] = []
      await inSlices(places, ({ room, order }) => {
        const row = reader.statement(atText).get(instance, room, order)
        if (row !== undefined) events.push(row as Rows['event'])
      })
      return events
    },
    async eventsById(room, eventIds) {
      const events: Rows['event'][] = []
      for (let i = 0; i < eventIds.length; i += idsAtOnce) {
        if (i > 0) await nextTurn()
        const ids = JSON.stringify(eventIds.slice(i, i + idsAtOnce))
        for (const row of reader.statement(byIdText).all(ids, instance, room)) events.push(row as Rows['event'])
      }
      return events
    },
    async relationsTo(parents, relTypes, { user = 0, upTo = Number.MAX_SAFE_INTEGER } = {}) {
      const found: Related[] = []
      const types = JSON.stringify(relTypes)
      await inSlices([...parents], ([room, eventIds]) => {
        // Most rooms of most bridges have none.
        if (reader.statement(anyRelationText).get(instance, room) === undefined) return
        const rows = reader.statement(relationsText).all(user, instance, room, JSON.stringify(eventIds), types, upTo)
        for (const row of rows) found.push(row as Related)
      })
      return found
    },
    async membersAt(places) {
      const found: Rows['membership'][] = []
      await inSlices(places, ({ room, user }) => {
        const row = reader.statement(memberText).get(instance, room, user)
        if (row !== undefined) found.push(row as Rows['membership'])
      })
      return found
    },
    async firstMembers(rooms, memberships, limit) {
      const found = new Map<number, Rows['membership'][]>()
      const list = JSON.stringify(memberships)
      await inSlices(rooms, (room) => {
        found.set(room, reader.statement(firstText).all(instance, room, list, limit) as Rows['membership'][])
      })
      return found
    },
  }
}

async function inSlices<T>(items: readonly T[], run: (item: T) => void): Promise<void> {
  let start = performance.now()
  for (let i = 0; i < items.length; i++) {
    run(items[i] as T)
    if (i % 16 === 15 && performance.now() - start > sliceMs) {
      await nextTurn()
      start = performance.now()
    }
  }
}
