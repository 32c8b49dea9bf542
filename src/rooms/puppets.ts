/** What an appservice may do as the owner is bound to rooms that have a user of it. */
import { forbidden } from '../errors.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
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
