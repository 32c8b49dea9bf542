/**
 * Administrators lock and suspend people, and take it back. Nothing is lost by it: devices, keys and rooms stay, and messages go on arriving.
 * https://spec.matrix.org/v1.19/client-server-api/#server-administration
 */
import { forbidden, invalidParam, notFound } from '../errors.ts'
import { isUserId } from '../rules/event-limits.ts'
import type { UserRow } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import { type Instance, isLocal } from '../stream/instance.ts'
import { fullUserId } from './accounts.ts'
import type { Actor, Standing } from './actor.ts'
import { standingChanged, standingOfRow } from './standing.ts'
import { findUser, putUser } from './users.ts'

export type Moderated = Standing & { readonly userId: string }

/**
 * Locked: every token answers 401 M_USER_LOCKED, whatever waits ends, and nobody logs in. Errors: M_FORBIDDEN for who is no administrator, on
 * administrators and on users of bridges; M_INVALID_PARAM for another server's user; M_NOT_FOUND for nobody and for who was deactivated.
 */
export function setUserLocked(instance: Instance, actor: Actor, args: { userId: string; locked: boolean }): Promise<Moderated> {
  return moderate(instance, actor, args.userId, (user) => ({ ...user, status: args.locked ? 'locked' : 'active' }))
}

/**
 * Suspended: 403 M_USER_SUSPENDED for events, memberships and profiles, and for taking away what others said; not for leaving and for redacting what
 * is one's own. Errors: as above.
 */
export function setUserSuspended(instance: Instance, actor: Actor, args: { userId: string; suspended: boolean }): Promise<Moderated> {
  const { now } = instance.ports
  return moderate(instance, actor, args.userId, (user) => ({ ...user, suspendedAt: args.suspended ? (user.suspendedAt ?? now()) : null }))
}

/** Errors: as above, but that users of bridges are neither, and that administrators may ask for themselves. */
export async function readModeration(instance: Instance, actor: Actor, user: string): Promise<Moderated> {
  const userId = askedFor(instance, actor, user)
  return moderatedOf(present(await instance.storage.first('user', { userId }), actor, userId))
}

export function moderatedOf(user: UserRow): Moderated {
  return { userId: user.userId, ...standingOfRow(user) }
}

/** Whether the actor may lock and suspend people. */
export function isModerator(actor: Actor): boolean {
  return actor.admin && actor.appservice === null
}

async function moderate(instance: Instance, actor: Actor, asked: string, change: (user: UserRow) => UserRow): Promise<Moderated> {
  const userId = askedFor(instance, actor, asked)
  return command(instance, (decision) => {
    const user = present(findUser(decision, userId), actor, userId)
    if (user.admin === 1) throw forbidden('Administrators are neither locked nor suspended')
    // They come and go with their bridge. A ghost that may not speak would hold up what its bridge delivers.
    if (user.kind !== 'person') throw forbidden('Users of bridges are neither locked nor suspended: pause the bridge instead')
    const row = change(user)
    // Also when nothing changes: an answer that was lost may have left the memory behind.
    putUser(decision, row)
    decision.onCommitted(() => standingChanged(instance, row.key, standingOfRow(row)))
    return moderatedOf(row)
  })
}

/** The full id. Who asks comes first: nobody else learns who exists. */
function askedFor(instance: Instance, actor: Actor, user: string): string {
  if (!isModerator(actor)) throw forbidden('Only an administrator may do this')
  const userId = fullUserId(instance, user)
  if (!isUserId(userId) || !isLocal(instance, userId)) throw invalidParam(`${userId} is not a user of this homeserver`)
  return userId
}

function present(user: UserRow | null, actor: Actor, userId: string): UserRow {
  if (!user || user.status === 'deactivated') throw notFound(`There is no user ${userId}`)
  if (user.admin === 1 && user.userId !== actor.userId) throw forbidden('Another administrator is not yours to look at')
  return user
}
