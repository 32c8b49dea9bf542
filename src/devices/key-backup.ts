/**
 * Backups of room keys: which there are. The newest that is not deleted is the current one; only that takes keys.
 * https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups
 */
import { invalidParam, MatrixError, notFound } from '../errors.ts'
import { putJob } from '../jobs/jobs.ts'
import { throwRefusal } from '../rooms/room-core.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import type { JsonObject } from '../rules/values.ts'
import type { BackupVersionRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { actingUser, requireUser } from '../users/users.ts'

/** Clients delete the old ones before they make another. */
const mostBackups = 100
/** Of the public key and its signatures, as JSON text. */
const longestAuthData = 65_536

/** The kind of job that reclaims deleted keys. Its arguments: `user` and `backup`, which nobody finds any more, and how many `sessions`. */
export const reclaimBackup = 'reclaimBackup'

export interface BackupDescription {
  readonly algorithm: string
  readonly authData: JsonObject
}

/** Becomes the current one. Errors: M_RESOURCE_LIMIT_EXCEEDED, M_INVALID_PARAM, M_TOO_LARGE. */
export async function createBackup(instance: Instance, actor: Actor, args: BackupDescription): Promise<BackupVersionRow> {
  const { algorithm, authData } = checkDescription(args)
  return command(instance, (decision) => {
    const user = actingUser(decision, actor).key
    const rows = backupsOf(decision, user)
    const living = rows.filter(({ deleted }) => deleted === 0)
    if (living.length >= mostBackups) throw new MatrixError('M_RESOURCE_LIMIT_EXCEEDED', `There are ${mostBackups} backups: delete some`)
    const row: BackupVersionRow = {
      instance: instance.key,
      user,
      version: newestVersion(rows) + 1,
      algorithm,
      authData,
      backup: decision.takePosition(),
      sessions: 0,
      etag: 0,
      deleted: 0,
      createdAt: decision.now,
    }
    decision.write('backupVersion', row)
    // What remembered the highest number so far is not needed any more.
    for (const old of rows) if (old.deleted) decision.changes.remove('backupVersion', old)
    decision.set(backupsKey(user), [...living, row])
    return row
  })
}

/** The current one, or that of a version. Errors: M_NOT_FOUND. */
export async function readBackup(instance: Instance, actor: Actor, version?: string | null): Promise<BackupVersionRow> {
  const where = { user: requireUser(actor), deleted: 0, ...(version == null ? {} : { version: parseVersion(version) }) }
  const [row] = await instance.storage.find('backupVersion', { where, orderBy: ['-version'], limit: 1 })
  if (!row) throw noBackup()
  return row
}

/** "Only `auth_data` can be modified." Errors: M_NOT_FOUND, M_INVALID_PARAM for another algorithm, M_TOO_LARGE. */
export async function updateBackup(
  instance: Instance,
  actor: Actor,
  args: BackupDescription & { readonly version: string },
): Promise<BackupVersionRow> {
  const { algorithm, authData } = checkDescription(args)
  return command(instance, (decision) => {
    const row = backupOf(decision, actingUser(decision, actor).key, args.version)
    if (row.algorithm !== algorithm) throw invalidParam(`The algorithm of this backup is ${row.algorithm}`)
    return keepBackup(decision, { ...row, authData })
  })
}

/** Its keys go with it. One that was deleted before is no error: the request may be a repeated one. Errors: M_NOT_FOUND if there never was such a version. */
export async function deleteBackup(instance: Instance, actor: Actor, version: string): Promise<boolean> {
  await command(instance, (decision) => {
    const user = actingUser(decision, actor).key
    const rows = backupsOf(decision, user)
    const number = parseVersion(version)
    if (number > newestVersion(rows)) throw noBackup()
    const row = rows.find((each) => each.version === number && !each.deleted)
    if (!row) return
    reclaimKeys(decision, user, row.backup, row.sessions)
    if (number === newestVersion(rows)) {
      keepBackup(decision, { ...row, authData: '{}', sessions: 0, deleted: 1 })
      return
    }
    decision.changes.remove('backupVersion', row)
    decision.set(
      backupsKey(user),
      rows.filter((each) => each !== row),
    )
  })
  return true
}

/** A job takes away keys that nobody finds any more. */
export function reclaimKeys(decision: Decision, user: number, backup: number, sessions: number): void {
  if (sessions > 0) putJob(decision, reclaimBackup, { user, backup, sessions })
}

/** Errors: M_NOT_FOUND. */
export function backupOf(decision: Decision, user: number, version: string): BackupVersionRow {
  const number = parseVersion(version)
  const row = backupsOf(decision, user).find((each) => each.version === number && !each.deleted)
  if (!row) throw noBackup()
  return row
}

/** Errors: M_NOT_FOUND; M_WRONG_ROOM_KEYS_VERSION with `current_version` for one that is not the newest. */
export function currentBackup(decision: Decision, user: number, version: string): BackupVersionRow {
  const row = backupOf(decision, user, version)
  const current = newestVersion(backupsOf(decision, user).filter(({ deleted }) => !deleted))
  if (row.version === current) return row
  throw new MatrixError('M_WRONG_ROOM_KEYS_VERSION', 'There is a newer backup', { current_version: String(current) })
}

export function keepBackup(decision: Decision, row: BackupVersionRow): BackupVersionRow {
  decision.write('backupVersion', row)
  const others = backupsOf(decision, row.user).filter(({ version }) => version !== row.version)
  decision.set(backupsKey(row.user), [...others, row])
  return row
}

/** Those of a user, held as one list: at most 100, and perhaps a deleted one, which has the highest number so far. */
function backupsOf(decision: Decision, user: number): readonly BackupVersionRow[] {
  return decision.need(backupsKey(user), () => decision.instance.storage.find('backupVersion', { where: { user } }))
}

function backupsKey(user: number): string {
  return `backups\0${user}`
}

function newestVersion(rows: readonly BackupVersionRow[]): number {
  return rows.reduce((newest, { version }) => Math.max(newest, version), 0)
}

/** A number that nobody ever gets stands for what is none. */
function parseVersion(version: string): number {
  return /^[1-9][0-9]{0,8}$/.test(version) ? Number(version) : 1_000_000_000
}

function noBackup(): MatrixError {
  return notFound('There is no such backup')
}

function checkDescription({ algorithm, authData }: BackupDescription): { algorithm: string; authData: string } {
  if (algorithm === '') throw invalidParam('algorithm must not be empty')
  throwRefusal(checkIdentifier('algorithm', algorithm))
  const text = JSON.stringify(authData)
  if (Buffer.byteLength(text) > longestAuthData) throw new MatrixError('M_TOO_LARGE', `auth_data takes at most ${longestAuthData} bytes`)
  return { algorithm, authData: text }
}
