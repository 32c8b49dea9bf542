/** Whether we reach a bridge. https://spec.matrix.org/v1.19/application-service-api/#pinging */
import { forbidden, MatrixError } from '../errors.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { appserviceAlive, sinksOf, targetOf } from './delivery.ts'
import { requireManager } from './managers.ts'

/**
 * Asks the bridge and measures, by its own as_token or for the owner and administrators. Errors: M_FORBIDDEN (another appservice's id),
 * M_URL_NOT_SET, M_BAD_STATUS (with status and body), M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT.
 */
export async function pingBridge(
  instance: Instance,
  actor: Actor,
  args: { id: string; transactionId?: string | null | undefined },
): Promise<{ durationMs: number }> {
  const row = await instance.storage.first('appservice', { id: args.id })
  if (!row || row.key !== actor.appservice || actor.puppet) {
    if (actor.appservice !== null || !row) throw forbidden(`You may not ping the appservice ${args.id}`)
    requireManager(instance, actor)
  }
  const sinks = sinksOf(instance)
  if (row.url === null || row.url === 'websocket' || !sinks) throw new MatrixError('M_URL_NOT_SET', 'The appservice has no address to ping')
  const startedAt = instance.ports.now()
  const outcome = await sinks.ping(targetOf({ ...row, url: row.url }), args.transactionId ?? null, instance.leaving)
  if (outcome.ok) {
    appserviceAlive(instance, row.key)
    return { durationMs: Math.max(0, instance.ports.now() - startedAt) }
  }
  if (outcome.why === 'timeout') throw new MatrixError('M_CONNECTION_TIMEOUT', `The appservice did not answer: ${outcome.error}`)
  if (outcome.why === 'connection') throw new MatrixError('M_CONNECTION_FAILED', `The appservice cannot be reached: ${outcome.error}`)
  throw new MatrixError('M_BAD_STATUS', 'The appservice answered with an error', { status: outcome.status ?? 0, body: outcome.body ?? '' })
}
