/** The rows of dead rooms, reclaimed in slices by a job. They are out of everybody's sight already: nothing finds a room's key any more. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type JobKind, type Slice, sliceOfRows } from '../jobs/jobs.ts'
import type { KeyOf } from '../storage/change-set.ts'
import type { Find } from '../storage/storage.ts'
import { type JobRow, type Table, type TableName, tables } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'

interface Arguments {
  /** keys of the dead rooms */
  readonly rooms: readonly number[]
}

/** Where the job is: at one of the rooms, or, when those are done, in what waits for a bridge. */
type Cursor = { readonly room: number } | { readonly appservice: number; readonly position: number }

const names = Object.keys(tables) as TableName[]
/** What belongs to a room begins with its key; what a user keeps about one is found by the room's members. Departures stay. */
const ofRoom = names.filter((name) => (tables[name].key[1] === 'room' && name !== 'membership') || name === 'alias')
const ofUserInRoom = names.filter((name) => tables[name].key[1] === 'user' && tables[name].key[2] === 'room' && name !== 'departure')

/** Counted in rooms: to count events would take others' time. */
export const reclaimRoomsJob: JobKind = async (instance, job) => {
  const { rooms } = JSON.parse(job.arguments) as Arguments
  const cursor: Cursor = job.cursor === '' ? { room: 0 } : (JSON.parse(job.cursor) as Cursor)
  if (!('room' in cursor)) return reclaimInterest(instance, job, new Set(rooms), cursor)
  const found: Found[] = []
  let { room } = cursor
  // Small rooms are reclaimed together, a large one by itself.
  for (; room < rooms.length && rowsIn(found) < sliceOfRows; room++) {
    const { rows, isAll } = await rowsOf(instance, rooms[room]!, sliceOfRows - rowsIn(found))
    found.push(...rows)
    if (!isAll) break
  }
  if (found.length === 0) return reclaimInterest(instance, job, new Set(rooms), { appservice: 0, position: 0 })
  const write = (decision: Decision) => {
    for (const each of found) remove(decision, each)
  }
  return { cursor: JSON.stringify({ room }), done: room, total: rooms.length, write }
}

interface Found {
  readonly table: TableName
  readonly keys: readonly object[]
}

function rowsIn(found: readonly Found[]): number {
  return found.reduce((sum, { keys }) => sum + keys.length, 0)
}

/** What is left of a room, of each table at most `limit`. */
async function rowsOf({ storage }: Instance, room: number, limit: number): Promise<{ rows: Found[]; isAll: boolean }> {
  const rows: Found[] = []
  const take = async (table: TableName, where: object): Promise<boolean> => {
    const keys = await storage.keys(table, { where, ...byNumber(table), limit } as Find<TableName>)
    if (keys.length > 0) rows.push({ table, keys })
    return keys.length < limit
  }
  const members = await storage.keys('membership', { where: { room }, orderBy: ['user'], limit })
  let isAll = members.length < limit
  let areBare = true
  for (const table of ofUserInRoom) areBare = (await take(table, { user: { in: members.map(({ user }) => user) }, room })) && areBare
  // Members go when nothing is left that only they lead to.
  if (areBare && members.length > 0) rows.push({ table: 'membership', keys: members })
  isAll &&= areBare
  for (const table of ofRoom) isAll = (await take(table, { room })) && isAll
  return { rows, isAll }
}

/** In the order of the key where that is one of numbers: what is removed together then lies together. */
function byNumber(table: TableName): { orderBy?: readonly string[] } {
  const { key, columns }: Table = tables[table]
  const next = key[1] === 'room' ? key[2] : undefined
  return next !== undefined && columns[next] === 'bigint' ? { orderBy: [next] } : {}
}

function remove(decision: Decision, { table, keys }: Found): void {
  for (const key of keys) {
    // Past memory: nobody looks for what belongs to a dead key. A name may have got another meaning meanwhile.
    if (table === 'alias') removeAlias(decision, (key as KeyOf<'alias'>).alias)
    else decision.changes.remove(table, key as KeyOf<typeof table>)
  }
}

function removeAlias(decision: Decision, alias: string): void {
  const row = decision.get('alias', { alias })
  if (row && !decision.get('room', { key: row.room })) decision.remove('alias', row)
}

/** What waits for bridges that are away is not found by room: all of it is looked through, in order. */
async function reclaimInterest(
  instance: Instance,
  job: JobRow,
  rooms: ReadonlySet<number>,
  from: { appservice: number; position: number },
): Promise<Slice | null> {
  let { appservice, position } = from
  const bridges = await instance.storage.find('appservice', { where: { key: { gte: appservice } }, orderBy: ['key'] })
  for (const { key } of bridges) {
    if (key !== appservice) position = 0
    appservice = key
    for (;;) {
      const waiting = await instance.storage.find('interest', {
        where: { appservice, position: { gt: position } },
        orderBy: ['position'],
        limit: sliceOfRows,
      })
      position = waiting.at(-1)?.position ?? position
      const dead = waiting.filter(({ room }) => rooms.has(room))
      if (dead.length > 0) {
        return {
          cursor: JSON.stringify({ appservice, position }),
          done: job.done,
          write: (decision) => remove(decision, { table: 'interest', keys: dead }),
        }
      }
      if (waiting.length < sliceOfRows) break
      await nextTurn()
    }
  }
  return null
}
