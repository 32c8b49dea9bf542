/**
 * What an open instance throws away in time: answered transaction ids, unused login tokens, ended jobs, old checkpoints, messages that no
 * device came for, what redacted events said. In slices, so that nobody waits.
 */
import { forgetOldCheckpoints } from '../appservices/checkpoints.ts'
import { forgetUnreadMessages } from '../devices/inbox-limits.ts'
import { removeInSlices } from '../jobs/remove-in-slices.ts'
import { forgetUnredacted } from '../rooms/unredacted.ts'
import type { Instance } from '../stream/instance.ts'

const everyMs = 60 * 60_000
/** A transaction id is answered alike for at least as long. https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers */
export const transactionLifetimeMs = 24 * 60 * 60_000

/** How long a job is listed after its end. */
const endedJobMs = 24 * 60 * 60_000

/** Cleans every hour while the instance is open. */
export function startCleaning(instance: Instance): void {
  const later = (): void => {
    const cancel = instance.ports.timer(everyMs, () => {
      instance.closed.removeEventListener('abort', cancel)
      if (instance.closed.aborted) return
      clean(instance)
        .catch((error: unknown) => instance.ports.log.warn({ err: error }, 'old rows were not removed'))
        .finally(later)
    })
    instance.closed.addEventListener('abort', cancel)
  }
  later()
}

export async function clean(instance: Instance): Promise<void> {
  const { storage, ports } = instance
  const before = ports.now() - transactionLifetimeMs
  await removeInSlices(instance, 'transaction', (limit) => storage.keys('transaction', { where: { createdAt: { lt: before } }, limit }))
  // Expired access tokens stay: they tell their client to refresh.
  await removeInSlices(instance, 'secret', (limit) =>
    storage.keys('secret', { where: { kind: 'login', expiresAt: { lt: ports.now() } }, limit }),
  )
  const endedBefore = ports.now() - endedJobMs
  await removeInSlices(instance, 'job', (limit) => storage.keys('job', { where: { endedAt: { lt: endedBefore } }, limit }))
  await forgetOldCheckpoints(instance)
  await forgetUnreadMessages(instance)
  await forgetUnredacted(instance)
}
