/** Filters that clients upload once and name afterwards. https://spec.matrix.org/v1.19/client-server-api/#filtering */
import { createHash } from 'node:crypto'
import { MatrixError, notFound } from '../errors.ts'
import { compileSyncFilter } from '../rules/filter.ts'
import { isRefusal, type JsonObject } from '../rules/values.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from './actor.ts'
import { actingUser, requireSelf, requireUser } from './users.ts'

/** Longest filter, in UTF-16 code units of its JSON. */
const longestFilter = 65_536

/** The same filter has the same id, so uploading it at each start costs nothing. Errors: M_BAD_JSON, M_TOO_LARGE, M_FORBIDDEN. */
export async function createFilter(
  instance: Instance,
  actor: Actor,
  args: { userId: string; filter: JsonObject },
): Promise<{ filterId: string }> {
  requireSelf(actor, args.userId)
  const compiled = compileSyncFilter(args.filter)
  if (isRefusal(compiled)) throw new MatrixError(compiled.errcode as 'M_BAD_JSON', compiled.error)
  const json = JSON.stringify(args.filter)
  if (json.length > longestFilter) throw new MatrixError('M_TOO_LARGE', 'The filter is too large')
  // No letter of it is `{`, by which /sync tells an id from a filter given in place.
  const filterId = createHash('sha256').update(json).digest('base64url').slice(0, 22)
  return command(instance, (decision) => {
    const user = actingUser(decision, actor).key
    if (!decision.get('filter', { user, filterId })) decision.put('filter', { instance: instance.key, user, filterId, json })
    return { filterId }
  })
}

/** The filter as JSON text. Errors: M_NOT_FOUND (clients then upload it again), M_FORBIDDEN. */
export async function readFilter(instance: Instance, actor: Actor, args: { userId: string; filterId: string }): Promise<string> {
  requireSelf(actor, args.userId)
  const row = await instance.storage.first('filter', { user: requireUser(actor), filterId: args.filterId })
  if (!row) throw notFound('No such filter')
  return row.json
}
