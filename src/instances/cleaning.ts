/**
 * What an open instance throws away in time: answered transaction ids, unused login tokens, ended jobs, old checkpoints. In slices, so that
 * nobody waits.
 */
import { forgetOldCheckpoints } from '../appservices/checkpoints.ts'
import { sliceOfRows } from '../jobs/jobs.ts'
import type { KeyOf } from '../storage/change-set.ts'
import type { TableName } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
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
  await removeAll(instance, 'transaction', () => storage.keys('transaction', { where: { createdAt: { lt: before } }, limit: sliceOfRows }))
  // Expired access tokens stay: they tell their client to refresh.
  await removeAll(instance, 'secret', () =>
    storage.keys('secret', { where: { kind: 'login', expiresAt: { lt: ports.now() } }, limit: sliceOfRows }),
  )
  const endedBefore = ports.now() - endedJobMs
  await removeAll(instance, 'job', () => storage.keys('job', { where: { endedAt: { lt: endedBefore } }, limit: sliceOfRows }))
  await forgetOldCheckpoints(instance)
}

async function removeAll<T extends TableName>(instance: Instance, table: T, next: () => Promise<KeyOf<T>[]>): Promise<void> {
  while (!instance.closed.aborted) {
    const rows = await next()
    if (rows.length === 0) return
    // Past memory: a decision that still holds one of these only answers a late repeat as before.
    await command(instance, (decision) => {
      for (const row of rows) decision.changes.remove(table, row)
    })
    if (rows.length < sliceOfRows) return
  }
}
