/** The keys of a backup, a page at a time: all of them may be 100 MB. */
import { invalidParam, notFound } from '../errors.ts'
import type { BackupRoomRow, BackupSessionRow, BackupVersionRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { readBackup } from './key-backup.ts'

const roomsOfPage = 200
/** A key has 64 KiB at most, and usually one. */
const keysOfPage = 100
const mostKeysOfPage = 1_000
/** A page that is longer ends early: 1 000 keys usually have half of it, and a document may ask for many pages. UTF-16 code units. */
const longestPage = 2_000_000
/** Keys of a page that are read together. */
const readTogether = 25

export interface BackedUpKey extends BackupSessionRow {
  readonly roomId: string
}

/** `{"rooms": {id: {"sessions": {id: key}}}}`, or of one room `{"sessions": {id: key}}`; empty when there are none. Errors: M_NOT_FOUND. */
export async function readRoomKeys(
  instance: Instance,
  actor: Actor,
  args: { readonly version: string; readonly roomId?: string | null | undefined },
): Promise<AsyncIterable<string>> {
  const backup = await readBackup(instance, actor, args.version)
  return args.roomId == null ? allOf(instance, backup) : roomOf(instance, await findRoom(instance, backup, args.roomId))
}

/** Errors: M_NOT_FOUND. */
export async function readRoomKey(
  instance: Instance,
  actor: Actor,
  args: { readonly version: string; readonly roomId: string; readonly sessionId: string },
): Promise<BackedUpKey> {
  const backup = await readBackup(instance, actor, args.version)
  const room = await findRoom(instance, backup, args.roomId)
  const by = room && { user: backup.user, backupRoom: room.key, sessionId: args.sessionId }
  const row = by && (await instance.storage.first('backupSession', by))
  if (!row) throw notFound('This key is not in the backup')
  return { ...row, roomId: args.roomId }
}

function findRoom(instance: Instance, { user, backup }: BackupVersionRow, roomId: string): Promise<BackupRoomRow | null> {
  return instance.storage.first('backupRoom', { user, backup, roomId })
}

async function* allOf(instance: Instance, { user, backup }: BackupVersionRow): AsyncGenerator<string> {
  let separator = ''
  yield '{"rooms":{'
  for (let after = 0; ; ) {
    const where = { user, backup, key: { gt: after } }
    const rooms = await instance.storage.find('backupRoom', { where, orderBy: ['key'], limit: roomsOfPage })
    for await (const { room, keys, isAll } of beginningsOf(instance, rooms)) {
      yield `${separator}${JSON.stringify(room.roomId)}:`
      yield* roomOf(instance, room, keys, isAll)
      separator = ','
    }
    if (rooms.length < roomsOfPage) break
    after = rooms.at(-1)!.key
  }
  yield '}}'
}

interface Beginning {
  readonly room: BackupRoomRow
  readonly keys: readonly BackupSessionRow[]
  readonly isAll: boolean
}

/** The first keys of each room. Small rooms are read together: most have a few keys. They may have grown since: never more than a page. */
async function* beginningsOf(instance: Instance, rooms: readonly BackupRoomRow[]): AsyncGenerator<Beginning> {
  for (let start = 0, end = 1; start < rooms.length; start = end, end++) {
    let expected = rooms[start]!.sessions
    while (end < rooms.length && expected + rooms[end]!.sessions <= keysOfPage) expected += rooms[end++]!.sessions
    const together = rooms.slice(start, end)
    const where = { user: together[0]!.user, backupRoom: { in: together.map(({ key }) => key) } }
    const order = ['backupRoom', 'sessionId'] as const
    const rows = await instance.storage.find('backupSession', { where, orderBy: order, limit: keysOfPage })
    // The room in which a full page ends may have more, and those behind it were not read.
    const last = rows.length < keysOfPage ? null : rows.at(-1)!.backupRoom
    if (last !== null) end = start + together.findIndex(({ key }) => key === last) + 1
    const byRoom = Map.groupBy(rows, ({ backupRoom }) => backupRoom)
    for (const room of rooms.slice(start, end)) yield { room, keys: byRoom.get(room.key) ?? [], isAll: room.key !== last }
  }
}

/** `beginning`: its first keys, where they were read already; `isAll`: there are no others. */
async function* roomOf(
  instance: Instance,
  room: BackupRoomRow | null,
  beginning: readonly BackupSessionRow[] = [],
  isAll = room === null,
): AsyncGenerator<string> {
  yield '{"sessions":{'
  yield beginning.map(keyText).join(',')
  let last = beginning.at(-1)?.sessionId ?? ''
  let separator = beginning.length > 0 ? ',' : ''
  while (room && !isAll) {
    const page = await keysOf(instance, room, last, keysOfPage)
    if (page.length > 0) yield separator + page.map(keyText).join(',')
    isAll = page.length < keysOfPage
    last = page.at(-1)?.sessionId ?? last
    separator = ','
  }
  yield '}}'
}

/** In the order of their ids, behind one of them or '', which is none. */
async function keysOf(instance: Instance, { user, key, roomId }: BackupRoomRow, after: string, limit: number): Promise<BackedUpKey[]> {
  const where = { user, backupRoom: key, sessionId: { gt: after } }
  const rows = await instance.storage.find('backupSession', { where, orderBy: ['sessionId'], limit })
  return rows.map((row) => ({ ...row, roomId }))
}

function keyText(row: BackupSessionRow): string {
  return `${JSON.stringify(row.sessionId)}:{"first_message_index":${row.firstMessageIndex},"forwarded_count":${row.forwardedCount},"is_verified":${row.isVerified === 1},"session_data":${row.sessionData}}`
}

export interface KeyPage {
  readonly keys: readonly BackedUpKey[]
  readonly hasNextPage: boolean
}

/** Room by room; may have fewer keys than were asked for. Errors: M_INVALID_PARAM. */
export async function readKeyPage(
  instance: Instance,
  { user, backup }: BackupVersionRow,
  page: {
    readonly first?: number | null | undefined
    readonly after?: string | null | undefined
    readonly last?: number | null | undefined
    readonly before?: string | null | undefined
  },
): Promise<KeyPage> {
  if (typeof page.last === 'number' || page.before) throw invalidParam('Keys are paged with first and after')
  const cursor = /^k([0-9]{1,15})\.(.*)$/s.exec(page.after || 'k0.')
  if (!cursor) throw invalidParam(`after: ${page.after} is not a cursor of keys`)
  const limit = page.first ?? keysOfPage
  if (limit < 1 || limit > mostKeysOfPage) throw invalidParam(`A page has 1 to ${mostKeysOfPage} keys`)
  const begun = Number(cursor[1])
  const keys: BackedUpKey[] = []
  let length = 0
  const isFull = () => keys.length > limit || length > longestPage
  for (let from = begun; !isFull(); ) {
    // Every room has a key at least.
    const where = { user, backup, key: { gte: from } }
    const rooms = await instance.storage.find('backupRoom', { where, orderBy: ['key'], limit: Math.min(roomsOfPage, limit + 1) })
    for (const room of rooms) {
      let last = room.key === begun ? cursor[2]! : ''
      while (!isFull()) {
        const wanted = Math.min(readTogether, limit + 1 - keys.length)
        const part = await keysOf(instance, room, last, wanted)
        keys.push(...part)
        for (const { sessionData } of part) length += sessionData.length
        if (part.length < wanted) break
        last = part.at(-1)!.sessionId
      }
    }
    if (rooms.length < Math.min(roomsOfPage, limit + 1)) break
    from = rooms.at(-1)!.key + 1
  }
  // The last one says that there are more.
  return isFull() ? { keys: keys.slice(0, -1), hasNextPage: true } : { keys, hasNextPage: false }
}

export function keyCursor({ backupRoom, sessionId }: BackedUpKey): string {
  return `k${backupRoom}.${sessionId}`
}
