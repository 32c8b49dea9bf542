/**
 * Whether a person may use the account: locked people may do nothing (https://spec.matrix.org/v1.19/client-server-api/#account-locking), suspended
 * ones only read (#account-suspension). Tokens are remembered with what their user's row said when they were looked up, so what changes while the
 * instance is open is kept here and counts more.
 */
import { MatrixError } from '../errors.ts'
import type { UserRow } from '../storage/tables.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor, Standing } from './actor.ts'

type End = (error: MatrixError) => void

/** Both by user. At most one entry for each person who was locked or suspended since the instance opened, and one for each that waits. */
const changedOf = local(() => new Map<number, Standing>())
const waitingOf = local(() => new Map<number, Set<End>>())

const free: Standing = { locked: false, suspended: false }

export function standingOfRow({ status, suspendedAt }: Pick<UserRow, 'status' | 'suspendedAt'>): Standing {
  return { locked: status === 'locked', suspended: suspendedAt !== null }
}

/** Of whom the actor acts as: an appservice may do no more as its owner than the owner. */
export function standingOf(instance: Instance, actor: Actor | null): Standing {
  if (!actor || actor.user === null) return free
  return changedOf(instance).get(actor.user) ?? actor.standing ?? free
}

/** After the commit. What waits for a locked person ends with 401. */
export function standingChanged(instance: Instance, user: number, standing: Standing): void {
  changedOf(instance).set(user, standing)
  if (standing.locked) for (const end of [...(waitingOf(instance).get(user) ?? [])]) end(userLocked())
}

/** Calls `end` with the 401 when the actor's user is locked, at once when locked already; what comes back stops listening. */
export function onLock(instance: Instance, actor: Actor, end: End): () => void {
  const { user } = actor
  if (user === null) return () => undefined
  const waiting = waitingOf(instance)
  const ends = waiting.get(user) ?? new Set()
  waiting.set(user, ends.add(end))
  if (standingOf(instance, actor).locked) end(userLocked())
  return () => {
    ends.delete(end)
    if (ends.size === 0 && waiting.get(user) === ends) waiting.delete(user)
  }
}

/** soft_logout: clients keep their keys, for the account may come back. */
export function userLocked(): MatrixError {
  return new MatrixError('M_USER_LOCKED', 'This account has been locked', { soft_logout: true })
}

export function userSuspended(): MatrixError {
  return new MatrixError('M_USER_SUSPENDED', 'You cannot perform this action while suspended')
}
