/** Throwing away what is old, while everybody else goes on. */
import type { KeyOf } from '../storage/change-set.ts'
import type { TableName } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { sliceOfRows } from './jobs.ts'

/** Removes what `next` finds, `limit` keys at a time, until it finds less. */
export async function removeInSlices<T extends TableName>(
  instance: Instance,
  table: T,
  next: (limit: number) => Promise<readonly KeyOf<T>[]>,
): Promise<void> {
  while (!instance.closed.aborted) {
    const keys = await next(sliceOfRows)
    if (keys.length === 0) return
    // Past memory: a decision that still holds one of these only answers a late repeat as before.
    await command(instance, (decision) => {
      for (const key of keys) decision.changes.remove(table, key)
    })
    if (keys.length < sliceOfRows) return
  }
}
