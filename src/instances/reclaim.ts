/** Space of deleted instances, given back in slices so that others do not wait. Goes on where it was after a restart. */
import type { Config } from '../config.ts'
import { sliceOfRows } from '../jobs/jobs.ts'
import { removeAllMedia } from '../media/blobs.ts'
import { ChangeSet } from '../storage/change-set.ts'
import type { Shard } from '../storage/storage.ts'
import { type InstanceRow, type TableName, tables } from '../storage/tables.ts'

/** Registers of the shard; the instance's own row stays so that its key is never used again. */
const kept: readonly TableName[] = ['instance', 'ownership', 'ownerId']

/** Removes every row of a deleted instance, then its media; resolves when nothing is left. */
export async function reclaimInstance(shard: Shard, row: InstanceRow, config: Config, signal: AbortSignal): Promise<void> {
  const storage = shard.storage(row.key)
  for (const table of Object.keys(tables) as TableName[]) {
    if (kept.includes(table)) continue
    for (;;) {
      if (signal.aborted) return
      const rows = await storage.keys(table, { where: {}, limit: sliceOfRows })
      if (rows.length === 0) break
      const change = new ChangeSet(row.key)
      for (const each of rows) change.remove(table, each)
      await shard.register(change)
    }
  }
  await removeAllMedia({ key: row.key, config })
  const change = new ChangeSet(row.key)
  change.put('instance', { ...row, status: 'gone' })
  await shard.register(change)
  await shard.reclaimSpace()
}
