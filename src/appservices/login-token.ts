/** The provisioning secret of all bridges that bbctl configures: it knows one for each person. */
import { newSecret } from '../ids.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireManager } from './managers.ts'

/** Made when it is first asked for; it opens nothing here. Errors: M_FORBIDDEN. */
export async function loginToken(instance: Instance, actor: Actor): Promise<string> {
  requireManager(instance, actor)
  const standing = await instance.storage.first('loginToken', {})
  if (standing) return standing.token
  const drawn = newSecret(instance.ports)
  return command(instance, (decision) => {
    const row = decision.get('loginToken', {}) ?? { instance: instance.key, token: drawn }
    decision.put('loginToken', row)
    return row.token
  })
}
