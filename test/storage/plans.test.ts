/** By which index SQLite reads: the plans of the statements themselves, on a file as a shard leaves it. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import Database from 'better-sqlite3'
import { type AnyFind, Queries } from '../../src/storage/query.ts'
import { sqliteDialect } from '../../src/storage/sqlite.ts'
import { sqlitePath } from '../../src/storage/sqlite-connection.ts'
import { SqliteReader } from '../../src/storage/sqlite-reader.ts'
import { sqliteStorage } from '../../src/storage/sqlite-reads.ts'
import type { Find, Storage } from '../../src/storage/storage.ts'
import { type TableName, tables } from '../../src/storage/tables.ts'
import { change, event, membership, nothing, type Place, room, sqlitePlace, user } from './engines.ts'

/** Reads as always, and notes each statement's plan. */
class ExplainingReader extends SqliteReader {
  readonly steps: string[] = []

  override statement(sql: string): ReturnType<SqliteReader['statement']> {
    const nulls = Array.from(sql.matchAll(/\?/g), () => null)
    const plan = super.statement(`EXPLAIN QUERY PLAN ${sql}`).all(...nulls) as { detail: string }[]
    this.steps.push(...plan.map(({ detail }) => detail))
    return super.statement(sql)
  }
}

/** What is looked up in tables, without the lists that are given. */
function lookUps(steps: readonly string[]): string[] {
  return steps.filter(
    (step) =>
      /^(SEARCH|SCAN|BLOOM FILTER|MULTI-INDEX|USE TEMP B-TREE)/.test(step) && !/^SCAN ((json_each|i) VIRTUAL|\(subquery)/.test(step),
  )
}

/** Instance 1 has nearly all rows: 40 rooms with the same 100 members. 30 others have a room each. */
async function skewedFile(t: TestContext): Promise<Place> {
  const here = await sqlitePlace(t)
  const shard = await here.open()
  for (let instance = 1; instance <= 31; instance++) {
    await shard.open(instance)
    const [rooms, members] = instance === 1 ? [40, 100] : [1, 2]
    const filling = change(instance, (c) => {
      for (let member = 1; member <= members; member++) c.put('user', user(instance, member))
      for (let key = 1; key <= rooms; key++) {
        c.put('room', room(instance, key))
        for (let member = 1; member <= members; member++) {
          c.put('membership', membership(instance, key, member))
          c.put('event', event(instance, key, key * 1_000 + member))
        }
      }
    })
    await shard.enqueue(filling, nothing)
  }
  await shard[Symbol.asyncDispose]()
  return here
}

async function explained(t: TestContext): Promise<{ path: string; storage: Storage; steps: string[] }> {
  const path = sqlitePath((await skewedFile(t)).url)
  const reader = new ExplainingReader(path)
  t.after(() => reader.close())
  return { path, storage: sqliteStorage(reader, new Queries(sqliteDialect), 1), steps: reader.steps }
}

test('SQLite reads by the index of which the most columns are given, one of them a list or a range or not', async (t) => {
  const { path, storage, steps } = await explained(t)
  const database = new Database(path, { readonly: true })
  t.after(() => database.close())
  const indexes = database.prepare('SELECT "name", "unique" FROM pragma_index_list(?)')
  const columnsOf = database.prepare('SELECT "name" FROM pragma_index_info(?)').pluck()
  const wrong: string[] = []
  let plans = 0
  for (const table of Object.keys(tables) as TableName[]) {
    for (const { name, unique } of indexes.all(tables[table].name) as { name: string; unique: 0 | 1 }[]) {
      const [first, ...columns] = columnsOf.all(name) as string[]
      if (first !== 'instance') continue
      for (let given = 1; given <= columns.length; given++) {
        const before = columns.slice(0, given - 1)
        const last = columns[given - 1] ?? ''
        const equal = ['instance', ...before].map((column) => `${column}=?`).join(' AND ')
        for (const [condition, end] of [
          [1, `${last}=?`],
          [{ in: [1, 2] }, `${last}=?`],
          [{ gt: 1, lte: 2 }, `${last}>? AND ${last}<?`],
        ] as const) {
          // Positions and the like are nowhere asked for by lists.
          if (typeof condition === 'object' && 'in' in condition && given > 1 && !unique) continue
          steps.length = 0
          const where = { ...Object.fromEntries(before.map((column) => [column, 1])), [last]: condition }
          await storage.find(table, { where } as Find<TableName>)
          plans++
          if (!steps[0]?.endsWith(`(${equal} AND ${end})`)) wrong.push(`${name} ${JSON.stringify(where)}: ${steps[0]}`)
        }
      }
    }
  }
  assert.deepEqual(wrong, [])
  assert.ok(plans > 200, String(plans))
})

const range = { gt: 1, lte: 2 }
const list = { in: [1, 2] }
const texts = { in: ['a', 'b'] }
/** What could be read by several indexes, with the columns that it must be looked up by. None needs sorting but where it is said. */
const competing: [TableName, AnyFind, string, 'sorted'?][] = [
  ['membership', { where: { user: 1 } }, 'user=?'],
  ['membership', { where: { user: 1, membership: 'join' } }, 'user=?'],
  ['membership', { where: { user: list, membership: texts } }, 'user=?'],
  ['membership', { where: { user: 1, membership: 'join', room: { gt: 1 } }, orderBy: ['room'], limit: 9 }, 'user=? AND room>?'],
  ['membership', { where: { user: 1, membership: 'invite' }, orderBy: ['-order'], limit: 9 }, 'user=?', 'sorted'],
  ['membership', { where: { user: list, room: list, membership: 'join' } }, 'room=? AND user=?'],
  ['membership', { where: { room: 1, user: { gt: 1 }, membership: texts }, orderBy: ['user'], limit: 9 }, 'room=? AND user>?'],
  ['membership', { where: { room: list, order: { gt: 1 } } }, 'room=?'],
  ['event', { where: { room: 1, eventId: texts, sender: 1 } }, 'room=? AND eventId=?'],
  ['event', { where: { room: 1, order: range }, orderBy: ['-order'], limit: 9 }, 'room=? AND order>? AND order<?'],
  ['event', { where: { room: 1, stateKey: null }, orderBy: ['-order'], limit: 1 }, 'room=?'],
  [
    'event',
    { where: { room: 1, order: range, sender: 1, redactedBy: null, stateKey: { in: [null, 'a'] } }, orderBy: ['-order'], limit: 9 },
    'room=? AND order>? AND order<?',
  ],
  ['event', { where: { room: 1 }, orderBy: ['order'], limit: 1 }, 'room=?'],
  ['user', { where: { appservice: 1, kind: { not: 'person' } }, limit: 9 }, 'appservice=?'],
  ['user', { where: { appservice: 1, kind: { not: 'person' }, key: { gt: 1 } }, orderBy: ['key'], limit: 9 }, 'appservice=? AND key>?'],
  ['user', { where: { userId: texts, status: { not: 'deactivated' } } }, 'userId=?'],
  ['user', { where: { key: list, appservice: 1 } }, 'key=?'],
  ['accountData', { where: { user: 1, room: 0, position: range }, orderBy: ['position'] }, 'user=? AND position>? AND position<?'],
  ['accountData', { where: { user: 1, room: list, position: range } }, 'user=? AND position>? AND position<?'],
  ['accountData', { where: { user: 1, position: { gt: 1 } } }, 'user=? AND position>?'],
  ['accountData', { where: { user: 1, room: list, type: texts } }, 'user=? AND room=? AND type=?'],
  ['receipt', { where: { room: list, position: { gt: 1 } } }, 'room=? AND position>?'],
  ['receipt', { where: { room: list, position: range } }, 'room=? AND position>? AND position<?'],
  ['receipt', { where: { room: 1, position: { lte: 1 } }, orderBy: ['-position'], limit: 9 }, 'room=? AND position<?'],
  ['departure', { where: { user: 1, position: range } }, 'user=? AND position>? AND position<?'],
  ['signature', { where: { signer: 1, user: { not: 1 }, position: range } }, 'signer=? AND position>? AND position<?'],
  ['signature', { where: { user: list, signer: list } }, 'user=?'],
  ['toDevice', { where: { appservice: 1, position: 1 }, limit: 1 }, 'appservice=? AND position=?'],
  [
    'toDevice',
    { where: { user: 1, deviceId: 'a', position: range }, orderBy: ['position'], limit: 9 },
    'user=? AND deviceId=? AND position>? AND position<?',
  ],
  ['keyCount', { where: { appservice: 1 }, orderBy: ['-position'], limit: 9 }, 'appservice=?'],
  ['checkpoint', { where: { position: range }, orderBy: ['position'], limit: 9 }, 'position>? AND position<?'],
  ['bridgeCheckpoint', { where: { position: range }, orderBy: ['position'], limit: 9 }, 'position>? AND position<?'],
  [
    'bridgeCheckpoint',
    { where: { appservice: list, eventId: 'a' }, orderBy: ['-position'], limit: 9 },
    'appservice=? AND eventId=?',
    'sorted',
  ],
  [
    'interest',
    { where: { appservice: 1, position: { gt: 1 }, since: { gt: 0 } }, orderBy: ['position'], limit: 1 },
    'appservice=? AND position>?',
  ],
  ['transaction', { where: { createdAt: { lt: 1 } }, limit: 9 }, 'createdAt<?'],
  ['unredacted', { where: { redactedAt: { lte: 1 } }, limit: 9 }, 'redactedAt<?'],
  ['unredacted', { where: { room: 1, order: list } }, 'room=? AND order=?'],
  ['media', { where: { uniqueId: 'a' }, orderBy: ['mediaId'], limit: 9 }, 'uniqueId=?'],
  ['media', { where: { user: 1, expiresAt: { gte: 1 } } }, 'expiresAt>?'],
  ['alias', { where: { room: 1 }, orderBy: ['alias'] }, 'room=?'],
  ['backupRoom', { where: { user: 1, backup: 1, key: { gt: 1 } }, orderBy: ['key'], limit: 9 }, 'user=? AND backup=? AND key>?'],
]

test('of several indexes SQLite takes the one that leaves the fewest rows', async (t) => {
  const { storage, steps } = await explained(t)
  const wrong: string[] = []
  for (const [table, find, columns, sorted] of competing) {
    steps.length = 0
    await storage.find(table, find as Find<TableName>)
    const [search, ...more] = lookUps(steps)
    const right = search?.endsWith(`(instance=? AND ${columns})`) && more.length === (sorted ? 1 : 0)
    if (!right) wrong.push(`${table} ${JSON.stringify(find)}: ${[search, ...more].join(', ')}`)
  }
  assert.deepEqual(wrong, [])
})

test('SQLite goes through no table for any other read, nor builds a Bloom filter of one', async (t) => {
  const { storage, steps } = await explained(t)
  await storage.currentState([1, 2])
  await storage.currentState([1, 2], { types: ['a'], after: 1 })
  await storage.memberCounts([1, 2])
  await storage.appserviceCounts(1)
  const descendants = { from: 1, to: 2, newestFirst: true, limit: 9 }
  await storage.descendants(1, '$a', { ...descendants, steps: 1 })
  await storage.descendants(1, '$a', { ...descendants, steps: 3, relType: 'a', type: 'b' })
  await storage.threads(1, { user: 1, upTo: 9, before: 9, limit: 9 })
  await storage.unreadCounts(1)
  await storage.unreadCounts(1, [1, 2])
  await storage.toDeviceSurplus(1, 'a', { messages: 1, bytes: 1 })
  await storage.membersWithKeys([1, 2], 'users')
  await storage.membersWithKeys([1, 2], 'members')
  await storage.sharingRooms(1, [2, 3])
  await storage.departedWithKeys(1, [2, 3])
  await storage.roomsByActivity(1, { limit: 9 })
  await storage.lastEvents([1], { after: null, until: 9, limit: 9 })
  await storage.eventsAt([{ room: 1, order: 1_001 }])
  await storage.eventsById(1, ['$a', '$b'])
  await storage.relationsTo(new Map([[1, ['$a', '$b']]]), ['a', 'b'])
  await storage.membersAt([{ room: 1, user: 1 }])
  await storage.firstMembers([1], ['join'], 9)
  const searched = lookUps(steps).filter((step) => !step.startsWith('USE TEMP B-TREE'))
  assert.ok(searched.length > 30, steps.join('\n'))
  const wrong = searched.filter((step) => !/^SEARCH .*\(instance=\? AND /.test(step))
  // Queries of the statements' own, and the few users with keys: their index is the one that is gone through.
  const few = 'SEARCH k USING COVERING INDEX device_list_change_instance_position_idx (instance=?)'
  const own = ['SCAN joined', 'SCAN m', 'SCAN met', 'SCAN thread', 'SCAN unread', 'SCAN unread', few, few, 'SEARCH newest']
  assert.deepEqual(wrong.sort(), own)
  // What is given its whole key is not looked up in an index first.
  const names = searched.map((step) => /USING (?:COVERING )?INDEX (\w+) \(instance=\? AND/.exec(step)?.[1] ?? '')
  assert.deepEqual(new Set(names), new Set(['', 'event_instance_room_eventId_key', 'membership_instance_user_idx']))
})

test('a file is described once, and again when it was described differently', async (t) => {
  const here = await skewedFile(t)
  const path = sqlitePath(here.url)
  const reopen = async (): Promise<string> => {
    const shard = await here.open()
    await shard[Symbol.asyncDispose]()
    return createHash('sha256').update(readFileSync(path)).digest('hex')
  }
  const behindItsBack = <T>(run: (database: Database.Database) => T): T => {
    const database = new Database(path)
    try {
      return run(database)
    } finally {
      database.close()
    }
  }
  const statistics = () => behindItsBack((database) => database.prepare('SELECT * FROM sqlite_stat1 ORDER BY "tbl", "idx"').all())
  const written = statistics()
  assert.ok(written.length > 50)
  const bytes = createHash('sha256').update(readFileSync(path)).digest('hex')
  assert.equal(await reopen(), bytes, 'nothing is written')
  behindItsBack((database) => database.exec('ANALYZE'))
  assert.notDeepEqual(statistics(), written)
  await reopen()
  assert.deepEqual(statistics(), written)
  assert.equal(
    behindItsBack((database) => database.prepare('SELECT count(*) FROM sqlite_stat4').pluck().get()),
    0,
  )
  behindItsBack((database) => database.exec('DROP TABLE sqlite_stat1'))
  await reopen()
  assert.deepEqual(statistics(), written)
})
