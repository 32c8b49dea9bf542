/** The reads that on PostgreSQL are one query over a list of places. */
import { arrayText } from './postgres-statements.ts'
import { columnList, type Queries, relatedColumns, relatedGroups } from './query.ts'
import { type Read, sharedReads } from './reads.ts'
import type { Related, Storage } from './storage.ts'
import { type Rows, tables } from './tables.ts'

const columns = columnList(tables.event, 'e')
const lastText = `SELECT ${columns} FROM unnest($2::bigint[]) AS r("room") CROSS JOIN LATERAL (
  SELECT * FROM "event" l WHERE l."instance" = $1 AND l."room" = r."room" AND l."order" > $3 AND l."order" <= $4 ORDER BY l."order" DESC LIMIT $5) e`
const atText = `SELECT ${columns} FROM unnest($2::bigint[], $3::bigint[]) AS r("room", "order")
  JOIN "event" e ON e."instance" = $1 AND e."room" = r."room" AND e."order" = r."order"`

const byIdText = `SELECT ${columns} FROM unnest($3::text[]) AS r("eventId")
  JOIN "event" e ON e."instance" = $1 AND e."room" = $2 AND e."eventId" = r."eventId"`

const relationsText = `SELECT ${relatedColumns} FROM (SELECT $5::bigint AS "user", * FROM unnest($2::bigint[], $3::text[]) AS p("room", "parent")) r
  JOIN "relation" l ON l."instance" = $1 AND l."room" = r."room" AND l."parent" = r."parent" AND l."relType" = ANY($4::text[]) AND l."order" <= $6
  ${relatedGroups}`

const members = columnList(tables.membership, 'm')
const memberText = `SELECT ${members} FROM unnest($2::bigint[], $3::bigint[]) AS r("room", "user")
  JOIN "membership" m ON m."instance" = $1 AND m."room" = r."room" AND m."user" = r."user"`
const firstText = `SELECT ${members} FROM unnest($2::bigint[]) AS r("room") CROSS JOIN LATERAL (
  SELECT * FROM "membership" l WHERE l."instance" = $1 AND l."room" = r."room" AND l."membership" = ANY($3::text[])
  ORDER BY l."order", l."user" LIMIT $4) m`

export function postgresStorage(read: Read, queries: Queries, instance: number): Storage {
  return {
    ...sharedReads(read, queries, instance),
    async lastEvents(rooms, { after, until, limit }) {
      const events = new Map<number, Rows['event'][]>(rooms.map((room) => [room, []]))
      if (rooms.length === 0) return events
      // Twice the same room would be answered twice.
      const parameters = [instance, numbers([...events.keys()]), after ?? Number.MIN_SAFE_INTEGER, until, limit]
      for (const event of (await read({ sql: lastText, parameters })) as Rows['event'][]) events.get(event.room)?.push(event)
      for (const ofRoom of events.values()) ofRoom.sort((a, b) => a.order - b.order)
      return events
    },
    async eventsAt(places) {
      if (places.length === 0) return []
      const parameters = [instance, numbers(places.map(({ room }) => room)), numbers(places.map(({ order }) => order))]
      return (await read({ sql: atText, parameters })) as Rows['event'][]
    },
    async eventsById(room, eventIds) {
      if (eventIds.length === 0) return []
      return (await read({ sql: byIdText, parameters: [instance, room, arrayText('text', eventIds)] })) as Rows['event'][]
    },
    async relationsTo(parents, relTypes, { user = 0, upTo = Number.MAX_SAFE_INTEGER } = {}) {
      if (parents.size === 0) return []
      const places = [...parents].flatMap(([room, eventIds]) => eventIds.map((eventId) => ({ room, eventId })))
      const eventIds = arrayText(
        'text',
        places.map(({ eventId }) => eventId),
      )
      const parameters = [instance, numbers(places.map(({ room }) => room)), eventIds, arrayText('text', relTypes), user, upTo]
      return (await read({ sql: relationsText, parameters })) as Related[]
    },
    async membersAt(places) {
      if (places.length === 0) return []
      const parameters = [instance, numbers(places.map(({ room }) => room)), numbers(places.map(({ user }) => user))]
      return (await read({ sql: memberText, parameters })) as Rows['membership'][]
    },
    async firstMembers(rooms, memberships, limit) {
      const found = new Map<number, Rows['membership'][]>(rooms.map((room) => [room, []]))
      if (rooms.length === 0) return found
      const parameters = [instance, numbers([...found.keys()]), arrayText('text', memberships), limit]
      for (const member of (await read({ sql: firstText, parameters })) as Rows['membership'][]) found.get(member.room)?.push(member)
      for (const ofRoom of found.values()) ofRoom.sort((a, b) => a.order - b.order || a.user - b.user)
      return found
    },
  }
}

function numbers(values: readonly number[]): string {
  return arrayText('bigint', values)
}
