/** The end of an account. https://spec.matrix.org/v1.19/client-server-api/#account-deactivation */
import { forbidden } from '../errors.ts'
import { type JobKind, putJob, sliceOfRows } from '../jobs/jobs.ts'
import { isPresent, leaveRooms, leavesOfSlice, livingMemberships } from '../rooms/leave-rooms.ts'
import type { JsonObject } from '../rules/values.ts'
import type { KeyOf } from '../storage/change-set.ts'
import type { Find } from '../storage/storage.ts'
import { type TableName, tables } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { reauthenticate, requirePerson } from '../users/reauthentication.ts'
import { devicesOf, removeDevices } from '../users/sessions.ts'
import { putUser, requireUser, userOf } from '../users/users.ts'
import { removeCrossSigningKeys } from './cross-signing.ts'

/** The kind of job. */
export const accountDeactivation = 'deactivateAccount'

interface Arguments {
  readonly userId: string
}

/**
 * Ends the own account for good: password, sessions, keys and profile are gone with the answer, and nobody gets the name again. Leaving rooms
 * and forgetting settings and backups goes on behind it. Messages stay where they were sent. Asks for the password. Errors: 401 with `flows`
 * and `session`; M_FORBIDDEN for the owner, for administrators, and for appservices.
 */
export async function deactivateAccount(
  instance: Instance,
  actor: Actor,
  args: { readonly auth?: JsonObject | null | undefined; readonly ip?: string | null },
): Promise<boolean> {
  await requirePerson(instance, actor)
  // Nobody would be left to manage what they manage.
  if (actor.userId === instance.ownerId) throw forbidden('The owner is not deactivated: the homeserver is deleted instead')
  if (actor.admin) throw forbidden('Administrators are not deactivated')
  await reauthenticate(instance, actor, { purpose: 'account/deactivate', auth: args.auth, ip: args.ip, body: {} })
  await command(instance, (decision) => {
    const user = userOf(decision, requireUser(actor))
    removeDevices(decision, devicesOf(decision, user.key))
    removeCrossSigningKeys(decision, user.key)
    const nobody = { passwordHash: null, displayName: null, avatarUrl: null, profile: '{}', status: 'deactivated' }
    putUser(decision, { ...user, ...nobody, position: decision.takePosition() })
    putJob(decision, accountDeactivation, { userId: user.userId } satisfies Arguments)
  })
  return true
}

/** What others may still ask for: who is gone from a room, and whose keys changed. */
const kept: readonly TableName[] = ['departure', 'deviceListChange']
const ofUser = (Object.keys(tables) as TableName[]).filter((name) => tables[name].key[1] === 'user' && !kept.includes(name))

/** Counted in rooms to leave. */
export const deactivationJob: JobKind = async (instance, job) => {
  const { storage } = instance
  const { userId } = JSON.parse(job.arguments) as Arguments
  const user = await storage.first('user', { userId })
  if (!user) return null
  const present = (await livingMemberships(instance, [user.key])).filter(isPresent)
  const done = job.done + Math.min(present.length, leavesOfSlice)
  const progress = { cursor: '', done, total: job.done + present.length }
  if (present.length > 0) return { ...progress, write: (decision) => leaveRooms(decision, present.slice(0, leavesOfSlice)) }
  for (const table of ofUser) {
    const found = await storage.keys(table, { where: { user: user.key }, limit: sliceOfRows } as Find<TableName>)
    if (found.length === 0) continue
    // Past memory: nobody acts for this user any more.
    return {
      ...progress,
      write: (decision) => {
        for (const key of found) decision.changes.remove(table, key as KeyOf<typeof table>)
      },
    }
  }
  return null
}
