/** Local users: people, bots and ghosts. */
import { forbidden, MatrixError, notFound } from '../errors.ts'
import { checkIdentifier, isUserId } from '../rules/event-limits.ts'
import type { UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { isLocal } from '../stream/instance.ts'
import type { Actor } from './actor.ts'
import { appserviceOf } from './registrations.ts'

export function findUser(decision: Decision, userId: string): UserRow | null {
  return decision.find('user', { userId })
}

export function userOf(decision: Decision, key: number): UserRow {
  const user = decision.get('user', { key })
  if (!user) throw notFound('No such user')
  return user
}

/** Errors: M_USER_DEACTIVATED. */
export function requireActive(user: UserRow): void {
  if (user.status === 'deactivated') throw new MatrixError('M_USER_DEACTIVATED', 'This account has been deactivated')
}

/** The row of who is asking; a masqueraded user of the appservice's namespace who does not exist yet is made in the same commit. */
export function actingUser(decision: Decision, actor: Actor): UserRow {
  if (actor.user !== null) return userOf(decision, actor.user)
  return ensureUser(decision, actor.userId, actor.appservice)
}

/**
 * The user with this id; made when it lies in the namespace of the caller's appservice: bridges never register the ghosts they invite.
 * Errors: M_FORBIDDEN for another server's user, M_NOT_FOUND for a local id that nobody has.
 */
export function ensureUser(decision: Decision, userId: string, appservice: number | null): UserRow {
  const user = findUser(decision, userId)
  if (user) return user
  if (!isUserId(userId)) throw new MatrixError('M_INVALID_PARAM', `${userId} is not a user ID`)
  if (!isLocal(decision.instance, userId)) throw forbidden('This homeserver does not federate')
  const registration = appserviceOf(decision, userId)
  if (!registration || registration.key !== appservice) throw notFound(`User ${userId} does not exist`)
  return makeUser(decision, { userId, kind: 'ghost', appservice: registration.key })
}

export interface NewUser {
  readonly userId: string
  readonly kind: 'person' | 'ghost' | 'bot'
  readonly appservice?: number | null
  readonly passwordHash?: string | null
  readonly admin?: boolean
}

export function makeUser(decision: Decision, user: NewUser): UserRow {
  const refusal = checkIdentifier('user_id', user.userId)
  if (refusal) throw new MatrixError('M_INVALID_USERNAME', refusal.error)
  const position = decision.takePosition()
  const row: UserRow = {
    instance: decision.instance.key,
    key: position,
    userId: user.userId,
    kind: user.kind,
    appservice: user.appservice ?? null,
    passwordHash: user.passwordHash ?? null,
    displayName: null,
    avatarUrl: null,
    profile: '{}',
    admin: user.admin ? 1 : 0,
    syncs: user.kind === 'person' ? 1 : 0,
    status: 'active',
    createdAt: decision.now,
    position,
    suspendedAt: null,
  }
  decision.put('user', row)
  if (row.syncs) decision.set(syncersKey, [...syncingUsers(decision), row])
  return row
}

const syncersKey = 'syncing users'

/** People, and a bridge's users who asked for a sync, usually the owner alone: events are evaluated for them and wake their syncs. */
export function syncingUsers(decision: Decision): readonly UserRow[] {
  return decision.need(syncersKey, () => decision.instance.storage.find('user', { where: { syncs: 1 } }))
}

/** Puts a changed row, also where the syncing users are listed. */
export function putUser(decision: Decision, row: UserRow): void {
  decision.put('user', row)
  if (!row.syncs) return
  const syncing = syncingUsers(decision)
  decision.set(
    syncersKey,
    syncing.map((user) => (user.key === row.key ? row : user)),
  )
}

/** Takes a row away, also where the syncing users are listed. */
export function removeUser(decision: Decision, row: UserRow): void {
  decision.remove('user', row)
  if (!row.syncs) return
  const syncing = syncingUsers(decision)
  decision.set(
    syncersKey,
    syncing.filter((user) => user.key !== row.key),
  )
}

/** A bridge's user asked for a sync: from now on events are evaluated for them. A login alone does not ask: most bots never sync. */
export function startSyncing(decision: Decision, user: UserRow): UserRow {
  if (user.syncs) return user
  const row = { ...user, syncs: 1 }
  decision.put('user', row)
  decision.set(syncersKey, [...syncingUsers(decision), row])
  return row
}

/** The key of who is asking. A query does not make users: 403 tells a bridge to register first. */
export function requireUser(actor: Actor): number {
  if (actor.user === null) throw forbidden(`${actor.userId} is not registered`)
  return actor.user
}

/** Errors: M_FORBIDDEN unless `userId` is who is asking. */
export function requireSelf(actor: Actor, userId: string): void {
  if (actor.userId !== userId) throw forbidden(`You may not do this for ${userId}`)
}
