/** How far messages got on their way to the remote network: kept for a while, the newest of them. */
import { removeInSlices } from '../jobs/remove-in-slices.ts'
import type { CheckpointRow } from '../storage/tables.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireManager } from './managers.ts'

/** Kept for dashboards; older ones go. */
export const mostCheckpoints = 10_000

const steps: ReadonlySet<string> = new Set(['CLIENT', 'HOMESERVER', 'BRIDGE', 'DECRYPTED', 'REMOTE', 'COMMAND'])
const statuses: ReadonlySet<string> = new Set([
  ...['SUCCESS', 'WILL_RETRY', 'PERM_FAILURE', 'UNSUPPORTED', 'TIMEOUT', 'DELIVERED', 'DELIVERY_FAILED'],
])

const countsOf = local(() => ({ sinceCleaning: 0, byOutcome: new Map<string, number>() }))

/** Counts what was reported; a bridge that reports without end pays for the cleaning. */
export async function checkpointsCame(instance: Instance, rows: readonly Pick<CheckpointRow, 'step' | 'status'>[]): Promise<void> {
  const counts = countsOf(instance)
  for (const { step, status } of rows) {
    const name = `${steps.has(step) ? step : 'other'} ${statuses.has(status) ? status : 'other'}`
    counts.byOutcome.set(name, (counts.byOutcome.get(name) ?? 0) + 1)
  }
  counts.sinceCleaning += rows.length
  if (counts.sinceCleaning > mostCheckpoints) await forgetOldCheckpoints(instance)
}

/** Reported since the homeserver was opened. What no bridge should say is `other`. */
export function checkpointCounts(instance: Instance): { step: string; status: string; count: number }[] {
  return [...countsOf(instance).byOutcome].map(([name, count]) => {
    const [step = '', status = ''] = name.split(' ')
    return { step, status, count }
  })
}

/** All but the newest, in slices, so that nobody waits. */
export async function forgetOldCheckpoints(instance: Instance): Promise<void> {
  countsOf(instance).sinceCleaning = 0
  const { storage } = instance
  await removeInSlices(instance, 'checkpoint', (limit) =>
    storage.keys('checkpoint', { where: {}, orderBy: ['-position'], limit, offset: mostCheckpoints }),
  )
}

/** The steps that a message took, oldest first. Errors: M_FORBIDDEN. */
export async function messageCheckpoints(instance: Instance, actor: Actor, eventId: string): Promise<CheckpointRow[]> {
  requireManager(instance, actor)
  return instance.storage.find('checkpoint', { where: { eventId }, orderBy: ['position', 'step'] })
}
