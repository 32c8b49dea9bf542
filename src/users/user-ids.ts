/** Matrix ids of user keys. Keys are never used again and ids never change, so what was read once may be kept. */
import type { UserRow } from '../storage/tables.ts'
import { type Instance, local } from '../stream/instance.ts'

/** Ids kept per instance; beyond it all are dropped and read anew. */
const mostIds = 20_000

const known = local(() => new Map<number, string>())

/** Users who are gone are left out. */
export async function userIdsOf(instance: Instance, keys: Iterable<number>): Promise<ReadonlyMap<number, string>> {
  const ids = known(instance)
  const result = new Map<number, string>()
  const missing = new Set<number>()
  for (const key of keys) {
    const id = ids.get(key)
    if (id === undefined) missing.add(key)
    else result.set(key, id)
  }
  if (missing.size === 0) return result
  const rows = await instance.storage.find('user', { where: { key: { in: [...missing] } } })
  if (ids.size + rows.length > mostIds) ids.clear()
  for (const row of rows) {
    ids.set(row.key, row.userId)
    result.set(row.key, row.userId)
  }
  return result
}

/** The rows, in the order of the keys; null for who is gone. */
export async function readUsersByKey(instance: Instance, keys: readonly number[]): Promise<(UserRow | null)[]> {
  const rows = await instance.storage.find('user', { where: { key: { in: keys } } })
  const byKey = new Map(rows.map((row) => [row.key, row]))
  return keys.map((key) => byKey.get(key) ?? null)
}
