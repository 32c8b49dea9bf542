/** Compares what an instance holds in memory, cell by cell, with what loading it anew from the database gives. */
import assert from 'node:assert/strict'
import type { OpenInstance } from '../../src/instances/open-instance.ts'
import type { Where } from '../../src/storage/storage.ts'
import { type Table, type TableName, tables } from '../../src/storage/tables.ts'
import type { Instance } from '../../src/stream/instance.ts'
import { Memory } from '../../src/stream/memory.ts'

type Load = () => Promise<unknown>

/** A memory that remembers how each of its cells was loaded, or would have been. */
class RememberingMemory extends Memory {
  readonly loads = new Map<string, Load | null>()

  override need<T>(key: string, load: () => Promise<T>): T {
    this.loads.set(key, load)
    return super.need(key, load)
  }

  override needAll(keys: readonly string[], load: (missing: readonly string[]) => Promise<ReadonlyMap<string, unknown>>): void {
    for (const key of keys) this.loads.set(key, async () => (await load([key])).get(key) ?? null)
    super.needAll(keys, load)
  }

  override set(key: string, value: unknown, touched: number): void {
    if (!this.loads.has(key)) this.loads.set(key, null)
    super.set(key, value, touched)
  }
}

/** From now on, through every drop, the instance's memory can be checked. To be called before the instance does anything. */
export function rememberLoads(instance: OpenInstance): void {
  instance.dropMemory = () => {
    instance.memory = new RememberingMemory(() => instance.bus.published)
  }
  instance.dropMemory()
}

/** The number of cells compared. Nothing may be queued. */
export async function checkMemory(instance: Instance): Promise<number> {
  const memory = instance.memory as RememberingMemory
  let cells = 0
  for (const [key, load] of memory.loads) {
    const cell = memory.peek(key)
    if (!cell) continue
    const loaded = await (load ?? loadOf(instance, key))()
    // A count of unread marks above 0 only says that it is worth looking.
    if (key.startsWith('unread\0') && (cell.value as number) > 0) continue
    assert.equal(comparable(key, cell.value), comparable(key, loaded), `${instance.name}: ${JSON.stringify(key)}`)
    cells++
  }
  return cells
}

/** Rows and unique indexes that were put before anybody looked for them. */
function loadOf(instance: Instance, key: string): Load {
  const parts = key.split('\0')
  const index = /^by (\w+)$/.exec(parts[0]!)?.[1] as TableName | undefined
  const table = index ?? (parts[0] as TableName)
  assert.ok(table in tables, `nobody knows how to load ${JSON.stringify(key)}`)
  const described: Table = tables[table]
  const named: [string, string][] = index
    ? parts.slice(1).flatMap((name, i, all) => (i % 2 === 0 ? [[name, all[i + 1]!] as [string, string]] : []))
    : described.key.map((name, i) => [name, parts[i + 1]!])
  const where = named
    .filter(([name]) => name !== 'instance')
    .map(([name, text]) => [name, described.columns[name] === 'text' ? text : Number(text)] as const)
  return () => instance.storage.first(table, Object.fromEntries(where) as Where<typeof table>)
}

/** As text in which only what matters differs. */
function comparable(key: string, value: unknown): string {
  const [kind = ''] = key.split('\0')
  // An index gives the key; the rest of its row may be of any age.
  if (kind.startsWith('by ')) return value === null ? 'null' : keyOf(kind.slice(3) as TableName, value as Record<string, unknown>)
  // Two marks of a room say since when something is known, which loading moves.
  if (kind === 'core') return textOf({ ...(value as object), idsGivenAt: 0, batchedAt: 0 })
  if (Array.isArray(value)) return value.map(textOf).sort().join('\n')
  return textOf(value)
}

function keyOf(table: TableName, row: Readonly<Record<string, unknown>>): string {
  return (tables[table].key as readonly string[]).map((name) => String(row[name])).join(' ')
}

/** Keys sorted; of a map only what is not 0; functions left out. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (inner instanceof Map) return [...inner].filter(([, count]) => count !== 0).sort()
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}
