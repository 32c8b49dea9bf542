/**
 * How far messages got on their way to the remote network: kept for a while, the newest of them. What the homeserver says and what bridges report
 * are rows of two tables, so that neither replaces the other.
 */
import { removeInSlices } from '../jobs/remove-in-slices.ts'
import type { BridgeCheckpointRow, CheckpointRow } from '../storage/tables.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireManager } from './managers.ts'

/** Kept for dashboards, of the homeserver's own and of those that bridges report; older ones go. */
export const mostCheckpoints = 10_000
/** Read at once: more than one report holds, all of which lie at one position. */
const mostRead = 1_001

const steps: ReadonlySet<string> = new Set(['CLIENT', 'HOMESERVER', 'BRIDGE', 'DECRYPTED', 'REMOTE', 'COMMAND'])
const statuses: ReadonlySet<string> = new Set([
  ...['SUCCESS', 'WILL_RETRY', 'PERM_FAILURE', 'UNSUPPORTED', 'TIMEOUT', 'DELIVERED', 'DELIVERY_FAILED'],
])

/** Of one message, of each kind, are shown. */
const mostShown = 100

/** As both kinds are shown. */
export type Checkpoint = BridgeCheckpointRow

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
  for (const table of ['checkpoint', 'bridgeCheckpoint'] as const) {
    await removeInSlices(instance, table, (limit) =>
      storage.keys(table, { where: {}, orderBy: ['-position'], limit, offset: mostCheckpoints }),
    )
  }
}

/** The newest steps that a message took, oldest first. Errors: M_FORBIDDEN. */
export async function messageCheckpoints(instance: Instance, actor: Actor, eventId: string): Promise<Checkpoint[]> {
  requireManager(instance, actor)
  const { storage } = instance
  const bridges = await storage.keys('appservice', { where: {} })
  const [own, reported] = await Promise.all([
    storage.find('checkpoint', { where: { eventId }, orderBy: ['-position'], limit: mostShown }),
    storage.find('bridgeCheckpoint', {
      where: { appservice: { in: bridges.map(({ key }) => key) }, eventId },
      orderBy: ['-position'],
      limit: mostShown,
    }),
  ])
  return inOrder([...own, ...reported])
}

export interface CheckpointSlice {
  /** up to this position it is whole */
  readonly position: number
  readonly checkpoints: readonly Checkpoint[]
}

/** What came behind a position, oldest first, and with `bridge` only of messages that went to that one; not all of it at once. */
export async function checkpointsBetween(
  { storage }: Instance,
  { after, until, bridge }: { readonly after: number; readonly until: number; readonly bridge: number | null },
): Promise<CheckpointSlice> {
  const range = { where: { position: { gt: after, lte: until } }, orderBy: ['position'] as const, limit: mostRead }
  const [own, reported] = await Promise.all([storage.find('checkpoint', range), storage.find('bridgeCheckpoint', range)])
  // The last position of a full slice may be cut off: the next slice has it whole.
  const ends = [own, reported].filter((rows) => rows.length === mostRead).map((rows) => rows.at(-1)!.position - 1)
  const position = Math.min(until, ...ends)
  const all = [
    ...own.filter((row) => bridge === null || concerns(row, bridge)),
    ...reported.filter((row) => bridge === null || row.appservice === bridge),
  ]
  return { position, checkpoints: inOrder(all.filter((row) => row.position <= position)) }
}

function concerns({ appservice, others }: CheckpointRow, bridge: number): boolean {
  return appservice === bridge || (others !== null && (JSON.parse(others) as number[]).includes(bridge))
}

function inOrder(rows: Checkpoint[]): Checkpoint[] {
  return rows.sort((a, b) => a.position - b.position || (a.step < b.step ? -1 : 1))
}
