/**
 * Putting keys into a backup and taking them out. The rows are too many to be held in memory: what is stored of them is read for each request,
 * and counts only while the backup is as it was then. https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { invalidParam, MatrixError } from '../errors.ts'
import { throwRefusal } from '../rooms/room-core.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import type { JsonObject } from '../rules/values.ts'
import type { BackupRoomRow, BackupSessionRow, BackupVersionRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { Missing } from '../stream/memory.ts'
import type { Actor } from '../users/actor.ts'
import { actingUser } from '../users/users.ts'
import { backupOf, currentBackup, keepBackup, reclaimKeys } from './key-backup.ts'
import { acknowledgeRoomKeys, type StoredRoomKey } from './room-key-ack.ts'

/** Of one request. Clients send 100 to 200. */
const mostKeys = 5_000
/** Of one key, as JSON text; they have about 1 000. */
const longestSessionData = 65_536
/** Prepared or looked up in one piece: then others get a turn. */
const sliceOfKeys = 200
/** Rooms whose keys are looked up before others get a turn. */
const lookUpsAtOnce = 16

export interface RoomKey {
  readonly roomId: string
  readonly sessionId: string
  readonly firstMessageIndex: number
  readonly forwardedCount: number
  readonly isVerified: boolean
  /** encrypted by the client */
  readonly sessionData: JsonObject
}

/** A key that needs only its place. */
type PreparedKey = Omit<BackupSessionRow, 'instance' | 'user' | 'backupRoom'>

/**
 * Puts keys; what is stored stays where it is better. The row that comes back says how many there are then, and has another etag if any was
 * stored. All in one step. Errors: M_NOT_FOUND, M_WRONG_ROOM_KEYS_VERSION for a backup that is not the current one, M_INVALID_PARAM, M_TOO_LARGE.
 */
export async function putRoomKeys(
  instance: Instance,
  actor: Actor,
  args: { readonly version: string; readonly keys: readonly RoomKey[] },
): Promise<BackupVersionRow> {
  const keys = await prepare(args.keys)
  let known: Known | null = null
  return command(instance, (decision) => {
    const user = actingUser(decision, actor)
    const backup = currentBackup(decision, user.key, args.version)
    if (keys.size === 0) return backup
    if (!known || isStale(known, backup)) {
      const ids = new Map([...keys].map(([roomId, ofRoom]) => [roomId, ofRoom.map(({ sessionId }) => sessionId)]))
      throw new Missing(readKnown(instance, backup, ids).then((read) => (known = read)))
    }
    const stored: StoredRoomKey[] = []
    let added = 0
    for (const [roomId, ofRoom] of keys) {
      const room = known.rooms.get(roomId)
      const taken = ofRoom.filter((key) => isBetter(key, room?.sessions.get(key.sessionId)))
      if (taken.length === 0) continue
      const place = { instance: instance.key, user: user.key, backupRoom: room?.row.key ?? decision.takePosition() }
      for (const key of taken) {
        decision.write('backupSession', { ...key, ...place })
        stored.push({ roomId, sessionId: key.sessionId, firstMessageIndex: key.firstMessageIndex })
      }
      const isNew = taken.filter(({ sessionId }) => !room?.sessions.has(sessionId)).length
      if (isNew > 0) keepRoom(decision, backup, { roomId, key: place.backupRoom, sessions: (room?.row.sessions ?? 0) + isNew })
      added += isNew
    }
    if (stored.length === 0) return backup
    acknowledgeRoomKeys(decision, user, stored)
    return keepBackup(decision, { ...backup, sessions: backup.sessions + added, etag: backup.etag + 1 })
  })
}

/**
 * Takes out one key, those of a room, or all. They are gone at once, whatever their number; a job gives the space back. What is not there is no
 * error. Errors: M_NOT_FOUND for no such backup, M_INVALID_PARAM.
 */
export async function deleteRoomKeys(
  instance: Instance,
  actor: Actor,
  args: { readonly version: string; readonly roomId?: string | null | undefined; readonly sessionId?: string | null | undefined },
): Promise<BackupVersionRow> {
  const { version, roomId, sessionId } = args
  if (sessionId != null && roomId == null) throw invalidParam('A session is one of a room')
  let known: Known | null = null
  return command(instance, (decision) => {
    const user = actingUser(decision, actor).key
    const backup = backupOf(decision, user, version)
    if (backup.sessions === 0) return backup
    if (roomId == null) {
      reclaimKeys(decision, user, backup.backup, backup.sessions)
      return keepBackup(decision, { ...backup, backup: decision.takePosition(), sessions: 0, etag: backup.etag + 1 })
    }
    if (!known || isStale(known, backup)) {
      const ids = new Map([[roomId, sessionId == null ? [] : [sessionId]]])
      throw new Missing(readKnown(instance, backup, ids).then((read) => (known = read)))
    }
    const room = known.rooms.get(roomId)
    if (!room || (sessionId != null && !room.sessions.has(sessionId))) return backup
    const left = sessionId == null ? 0 : room.row.sessions - 1
    if (sessionId != null) {
      decision.changes.remove('backupSession', { instance: instance.key, user, backupRoom: room.row.key, sessionId })
    }
    if (left > 0) keepRoom(decision, backup, { ...room.row, sessions: left })
    else decision.changes.remove('backupRoom', room.row)
    if (sessionId == null) {
      // A backup of its own, of which nobody knows.
      const dead = decision.takePosition()
      keepRoom(decision, { ...backup, backup: dead }, room.row)
      reclaimKeys(decision, user, dead, room.row.sessions)
    }
    return keepBackup(decision, { ...backup, sessions: backup.sessions - (room.row.sessions - left), etag: backup.etag + 1 })
  })
}

function keepRoom(
  decision: Decision,
  { instance, user, backup }: BackupVersionRow,
  room: Pick<BackupRoomRow, 'roomId' | 'key' | 'sessions'>,
): void {
  decision.write('backupRoom', { ...room, instance, user, backup })
}

/** What is stored of the keys that a request names, as it was when nothing of the backup was still on its way to the disk. */
interface Known {
  readonly backup: number
  readonly etag: number
  /** by room id */
  readonly rooms: ReadonlyMap<string, { readonly row: BackupRoomRow; readonly sessions: ReadonlyMap<string, Rank> }>
}

type Rank = Pick<BackupSessionRow, 'isVerified' | 'firstMessageIndex' | 'forwardedCount'>

function isStale(known: Known, { backup, etag }: BackupVersionRow): boolean {
  return known.backup !== backup || known.etag !== etag
}

/** `backup` is as decisions see it, perhaps ahead of the disk: what it tells of is waited for. */
async function readKnown(instance: Instance, backup: BackupVersionRow, ids: ReadonlyMap<string, readonly string[]>): Promise<Known> {
  await instance.shard.flushed(instance.key)
  const { storage } = instance
  const { user } = backup
  const rooms = new Map<string, { row: BackupRoomRow; sessions: Map<string, Rank> }>()
  for (const roomIds of slicesOf([...ids.keys()])) {
    const where = { user, backup: backup.backup, roomId: { in: roomIds } }
    for (const row of await storage.find('backupRoom', { where })) rooms.set(row.roomId, { row, sessions: new Map() })
    await nextTurn()
  }
  const lookUps = [...rooms.values()].flatMap(({ row, sessions }) =>
    slicesOf(ids.get(row.roomId)!).map((sessionIds) => async () => {
      const where = { user, backupRoom: row.key, sessionId: { in: sessionIds } }
      for (const { sessionId, isVerified, firstMessageIndex, forwardedCount } of await storage.find('backupSession', { where })) {
        sessions.set(sessionId, { isVerified, firstMessageIndex, forwardedCount })
      }
    }),
  )
  for (let i = 0; i < lookUps.length; i += lookUpsAtOnce) {
    await Promise.all(lookUps.slice(i, i + lookUpsAtOnce).map((lookUp) => lookUp()))
    await nextTurn()
  }
  return { backup: backup.backup, etag: backup.etag, rooms }
}

function slicesOf(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / sliceOfKeys) }, (_, i) => ids.slice(i * sliceOfKeys, (i + 1) * sliceOfKeys))
}

/** "it will keep the key that has `is_verified` set to `true`; … the key with a lower `first_message_index`; … with a lower `forwarded_count`." */
function isBetter(key: Rank, stored: Rank | undefined): boolean {
  if (!stored) return true
  if (key.isVerified !== stored.isVerified) return key.isVerified > stored.isVerified
  if (key.firstMessageIndex !== stored.firstMessageIndex) return key.firstMessageIndex < stored.firstMessageIndex
  return key.forwardedCount < stored.forwardedCount
}

/** By room id; of a key that is named twice the better one. */
async function prepare(keys: readonly RoomKey[]): Promise<Map<string, PreparedKey[]>> {
  if (keys.length > mostKeys) throw new MatrixError('M_TOO_LARGE', `At most ${mostKeys} keys are stored at once`)
  const rooms = new Map<string, Map<string, PreparedKey>>()
  let prepared = 0
  for (const { roomId, sessionId, firstMessageIndex, forwardedCount, isVerified, sessionData } of keys) {
    if (++prepared % sliceOfKeys === 0) await nextTurn()
    checkId('room_id', roomId)
    checkId('session_id', sessionId)
    if (firstMessageIndex < 0) throw invalidParam('first_message_index must not be negative')
    if (forwardedCount < 0) throw invalidParam('forwarded_count must not be negative')
    const text = JSON.stringify(sessionData)
    if (Buffer.byteLength(text) > longestSessionData) {
      throw new MatrixError('M_TOO_LARGE', `session_data takes at most ${longestSessionData} bytes`)
    }
    const key = { sessionId, firstMessageIndex, forwardedCount, isVerified: isVerified ? 1 : 0, sessionData: text }
    const ofRoom = rooms.get(roomId) ?? new Map<string, PreparedKey>()
    if (isBetter(key, ofRoom.get(sessionId))) rooms.set(roomId, ofRoom.set(sessionId, key))
  }
  return new Map([...rooms].map(([roomId, ofRoom]) => [roomId, [...ofRoom.values()]]))
}

function checkId(name: string, id: string): void {
  if (id === '') throw invalidParam(`${name} must not be empty`)
  throwRefusal(checkIdentifier(name, id))
}
