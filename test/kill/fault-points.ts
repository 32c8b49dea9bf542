/** Where the server of these tests ends itself: at a point of a commit, and in what kind of commit. */
import type { Batch } from '../../src/storage/fold.ts'
import { type TableName, tables } from '../../src/storage/tables.ts'

export type FaultPoint = 'beforeCommit' | 'afterCommit' | 'afterPublish'

/** What a commit must hold: events of a batch, a room's end, rows of a dead room. Batches and yeets are rare among the many sends. */
export type CommitOf = 'anything' | 'batch' | 'yeet' | 'reclaim'

export interface KillAt {
  readonly point: FaultPoint
  readonly what: CommitOf
  /** since it listened, ms */
  readonly afterMs: number
}

/** So begin the ids of events in the batches that are watched, and of no others. */
export const batchIds = '$batch-'

const eventId = Object.keys(tables.event.columns).indexOf('eventId')

export function holds({ changes }: Batch, what: CommitOf): boolean {
  const removes = (name: TableName) => changes.some(({ table, removals }) => table === name && removals > 0)
  switch (what) {
    case 'anything':
      return true
    case 'batch':
      return changes.some(({ table, put }) => table === 'event' && put[eventId]?.some((id) => String(id).startsWith(batchIds)))
    case 'yeet':
      return removes('room')
    case 'reclaim':
      return removes('event')
  }
}
