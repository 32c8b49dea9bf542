/** What an appservice may do as the owner is bound to rooms that have a user of it. */
import { forbidden } from '../errors.ts'
import type { UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { registrations } from '../users/registrations.ts'
import { ensureUser, findUser } from '../users/users.ts'
import type { RoomCore } from './room-core.ts'

/** Errors: M_FORBIDDEN for a puppet in a room without a user of its appservice. */
export function checkPuppet(actor: Actor, core: RoomCore): void {
  if (actor.puppet && (core.appservices.get(actor.appservice!) ?? 0) === 0) throw notYours()
}

/** The same for queries. */
export async function checkPuppetRead(instance: Instance, actor: Actor, room: number): Promise<void> {
  if (actor.puppet && ((await instance.storage.appserviceCounts(room)).get(actor.appservice!) ?? 0) === 0) throw notYours()
}

function notYours(): Error {
  return forbidden('The appservice has no user in this room')
}

/** Whether the user is one of the appservice's: of its namespaces, its bot, or the owner. */
export function maySpeakFor(decision: Decision, appservice: number, userId: string): boolean {
  const registration = registrations(decision).find(({ key }) => key === appservice)
  const user = findUser(decision, userId)
  if (userId === decision.instance.ownerId || (user && user.key === registration?.bot)) return true
  // A namespace never covers a user with a login.
  return registration?.namespaces.users.matches(userId) === true && user?.kind !== 'person'
}

/** That user; made if need be. Errors: M_FORBIDDEN for one whom the appservice may not speak for. */
export function speaker(decision: Decision, appservice: number, userId: string): UserRow {
  if (!maySpeakFor(decision, appservice, userId)) throw forbidden(`The appservice may not speak for ${userId}`)
  return ensureUser(decision, userId, appservice)
}
