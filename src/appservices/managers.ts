/** Who may register and change bridges. */
import { forbidden } from '../errors.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'

/** An administrator, whose word counts everywhere, or the owner of the homeserver. Never an appservice, also not as the owner. */
export function requireManager(instance: Instance, actor: Actor): 'operator' | 'owner' {
  if (actor.appservice === null) {
    if (actor.admin) return 'operator'
    if (actor.userId === instance.ownerId) return 'owner'
  }
  throw forbidden('Only the owner and administrators may do this')
}
