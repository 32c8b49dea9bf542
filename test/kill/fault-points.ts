/** Where the server of these tests ends itself: at a point of a commit, and in what kind of commit. */
import type { Batch } from '../../src/storage/fold.ts'
import { type TableName, tables } from '../../src/storage/tables.ts'

export type FaultPoint = 'beforeCommit' | 'afterCommit' | 'afterPublish'

/**
 * What a commit must hold: events of a batch, a room's end, rows of a dead room. Batches and yeets are rare among the many sends. Or keys that a
 * device brings, one that is handed out, messages to devices, those that a device or a bridge has, keys of a backup.
 */
export type CommitOf = 'anything' | 'batch' | 'yeet' | 'reclaim' | 'upload' | 'claim' | 'toDevice' | 'synced' | 'delivered' | 'backup'

export interface KillAt {
  readonly point: FaultPoint
  readonly what: CommitOf
  /** since it listened, ms */
  readonly afterMs: number
}

/** So begin the ids of events in the batches that are watched, and of no others. */
export const batchIds = '$batch-'

function column<T extends TableName>(table: T, name: Extract<keyof (typeof tables)[T]['columns'], string>): number {
  return Object.keys(tables[table].columns).indexOf(name)
}

const eventId = column('event', 'eventId')
const claimedAt = column('oneTimeKey', 'claimedAt')

export function holds({ changes }: Batch, what: CommitOf): boolean {
  const puts = (name: TableName) => changes.some(({ table, puts }) => table === name && puts > 0)
  const removes = (name: TableName) => changes.some(({ table, removals }) => table === name && removals > 0)
  const putsKey = (isClaimed: boolean) =>
    changes.some(({ table, put }) => table === 'oneTimeKey' && put[claimedAt]?.some((time) => (time !== null) === isClaimed))
  switch (what) {
    case 'anything':
      return true
    case 'batch':
      return changes.some(({ table, put }) => table === 'event' && put[eventId]?.some((id) => String(id).startsWith(batchIds)))
    case 'yeet':
      return removes('room')
    case 'reclaim':
      return removes('event')
    case 'upload':
      return putsKey(false)
    case 'claim':
      return putsKey(true)
    case 'toDevice':
      return puts('toDevice')
    case 'synced':
      return changes.some(({ table, ranges }) => table === 'toDevice' && ranges.length > 0)
    case 'delivered':
      return removes('frozen') && removes('toDevice')
    case 'backup':
      return puts('backupSession')
  }
}
