/**
 * The one way to write. A command is a synchronous decision: it reads rows from memory, throws a MatrixError to refuse, and puts rows.
 * What it reads and is not in memory is loaded, and the decision starts over; so between its first read and its change set being queued
 * nothing else of the instance happens, and no lock is needed. A decision that throws leaves no trace. It must not look up what it draws
 * at random: it would draw anew each time it starts over.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { unavailable } from '../errors.ts'
import { ChangeSet, type KeyOf, keyText, type RangeKind, type RangeRemovals } from '../storage/change-set.ts'
import type { Where } from '../storage/storage.ts'
import { type Rows, type TableName, tables } from '../storage/tables.ts'
import type { Entry, Kind } from './bus.ts'
import type { Instance } from './instance.ts'
import { type Cell, Missing } from './memory.ts'

/** Rows of one read: others get their turn between two. */
const readTogether = 500

export class Decision {
  readonly instance: Instance
  readonly changes: ChangeSet
  private readonly undo: [string, Cell | undefined][] = []
  private readonly positionBefore: number
  private readonly kinds = new Set<Kind>()
  private readonly rooms = new Set<number>()
  private readonly users = new Set<number>()
  private readonly appservices = new Set<number>()
  private readonly committed: (() => void)[] = []
  private readonly applied: (() => void)[] = []

  constructor(instance: Instance) {
    this.instance = instance
    this.changes = new ChangeSet(instance.key)
    this.positionBefore = instance.position
  }

  get now(): number {
    return this.instance.ports.now()
  }

  /** The next position of the stream. Also the key of whatever is made at it. */
  takePosition(): number {
    this.instance.position += 1
    this.changes.position = this.instance.position
    return this.instance.position
  }

  /** The row with this primary key, or null. */
  get<T extends TableName>(table: T, key: Omit<KeyOf<T>, 'instance'>): Rows[T] | null {
    const full = { ...key, instance: this.instance.key } as unknown as KeyOf<T>
    if (this.isUnborn(key)) return (this.instance.memory.peek(`${table}\0${keyText(table, full)}`)?.value as Rows[T] | undefined) ?? null
    return this.need(`${table}\0${keyText(table, full)}`, () => this.instance.storage.first(table, keyWhere(table, key)))
  }

  /** The row of a unique index, or null. `columns` are those of the index but `instance`, in its order. */
  find<T extends TableName>(table: T, by: Where<T>): Rows[T] | null {
    const values = by as Readonly<Record<string, unknown>>
    if (this.isUnborn(values))
      return (this.instance.memory.peek(indexKey(table, Object.keys(values), values))?.value as Rows[T] | undefined) ?? null
    const key = this.need<KeyOf<T> | null>(indexKey(table, Object.keys(values), values), async () => {
      return this.instance.storage.first(table, by) as Promise<KeyOf<T> | null>
    })
    return key && this.get(table, key)
  }

  /** Whether the memory holds what find() answers, or is about to. */
  knows<T extends TableName>(table: T, by: Where<T>): boolean {
    const values = by as Readonly<Record<string, unknown>>
    return this.instance.memory.knows(indexKey(table, Object.keys(values), values))
  }

  /** Loads what find() answers for many values of a unique column, with few reads instead of two for each. The table's key is one column. */
  findAll<T extends TableName>(table: T, column: Extract<keyof Rows[T], string>, values: readonly string[]): void {
    const { memory } = this.instance
    const byIndex = new Map(values.map((value) => [indexKey(table, [column], { [column]: value }), value]))
    memory.needAll([...byIndex.keys()], (missing) =>
      this.readAll(table, column, choose(byIndex, missing), (row) => indexKey(table, [column], row as never)),
    )
    const rows = [...byIndex.keys()].flatMap((key) => (memory.peek(key)?.value as Rows[T] | null | undefined) ?? [])
    const rowKey = (row: Rows[T]) => `${table}\0${keyText(table, row)}`
    const key = tables[table].key.at(-1) as Extract<keyof Rows[T], string>
    const byKey = new Map(rows.map((row) => [rowKey(row), row[key] as number]))
    memory.needAll([...byKey.keys()], (missing) => this.readAll(table, key, choose(byKey, missing), rowKey))
  }

  /** Loads what get() answers for many keys, with few reads instead of one for each. `read` answers with the rows that there are. */
  loadAll<T extends TableName>(
    table: T,
    keys: readonly Omit<KeyOf<T>, 'instance'>[],
    read: (missing: readonly Omit<KeyOf<T>, 'instance'>[]) => Promise<readonly Rows[T][]>,
  ): void {
    const nameOf = (key: object) => `${table}\0${keyText(table, { ...key, instance: this.instance.key } as unknown as KeyOf<T>)}`
    const byName = new Map(keys.filter((key) => !this.isUnborn(key)).map((key) => [nameOf(key), key]))
    this.instance.memory.needAll([...byName.keys()], async (missing) => {
      const rows = await read(choose(byName, missing))
      return new Map(rows.map((row) => [nameOf(row), row]))
    })
  }

  private async readAll<T extends TableName>(
    table: T,
    column: Extract<keyof Rows[T], string>,
    values: readonly (string | number)[],
    nameOf: (row: Rows[T]) => string,
  ): Promise<Map<string, Rows[T]>> {
    const found = new Map<string, Rows[T]>()
    for (let start = 0; start < values.length; start += readTogether) {
      if (start > 0) await nextTurn()
      const where = { [column]: { in: values.slice(start, start + readTogether) } } as unknown as Where<T>
      for (const row of await this.instance.storage.find(table, { where })) found.set(nameOf(row), row)
    }
    return found
  }

  /**
   * Looks up several things and, when some are missing, loads them together: the decision starts over once and not once for each.
   */
  all(lookUps: Iterable<() => unknown>): void {
    const loads: Promise<unknown>[] = []
    for (const lookUp of lookUps) {
      try {
        lookUp()
      } catch (error) {
        if (!(error instanceof Missing)) throw error
        loads.push(error.load)
      }
    }
    if (loads.length > 0) throw new Missing(Promise.all(loads))
  }

  put<T extends TableName>(table: T, row: Rows[T]): void {
    this.changes.put(table, row)
    this.set(`${table}\0${keyText(table, row)}`, row)
    this.setIndexes(table, row as never, row)
  }

  /** Puts a row that no decision reads, or only once it is durable: it is not kept in memory. */
  write<T extends TableName>(table: T, row: Rows[T]): void {
    this.changes.put(table, row)
  }

  remove<T extends TableName>(table: T, row: Rows[T]): void {
    this.changes.remove(table, row as unknown as KeyOf<T>)
    this.set(`${table}\0${keyText(table, row)}`, null)
    this.setIndexes(table, row as never, null)
  }

  /** What a removal by range removes must not be read with get(). */
  removeRange<K extends RangeKind>(range: K, args: RangeRemovals[K]): void {
    this.changes.removeRange(range, args)
  }

  /** A derived value of a room under a name of its own; `empty` for a room that is just being made. */
  needIn<T>(room: number, key: string, load: () => Promise<T>, empty: T): T {
    if (this.isUnborn({ room })) {
      const cell = this.instance.memory.peek(key)
      return cell ? (cell.value as T) : empty
    }
    return this.need(key, load)
  }

  /** A derived value under a name of its own, such as a room's core. Values are never changed in place. */
  need<T>(key: string, load: () => Promise<T>): T {
    return this.instance.memory.need(key, load)
  }

  set(key: string, value: unknown): void {
    const memory = this.instance.memory
    this.undo.push([key, memory.peek(key)])
    // Touched by a position that is surely not below the one this change set will publish.
    memory.set(key, value, this.instance.position + 1)
  }

  /** Says what the bus will carry. */
  announce(kind: Kind, about: { rooms?: Iterable<number>; users?: Iterable<number>; appservices?: Iterable<number> }): void {
    this.kinds.add(kind)
    for (const room of about.rooms ?? []) this.rooms.add(room)
    for (const user of about.users ?? []) this.users.add(user)
    for (const appservice of about.appservices ?? []) this.appservices.add(appservice)
  }

  /** Runs when the decision has come to pass, still synchronously: for what is memory only, such as typing. */
  onApplied(run: () => void): void {
    this.applied.push(run)
  }

  /** Runs after the commit, before the bus hears of it. */
  onCommitted(run: () => void): void {
    this.committed.push(run)
  }

  rollback(): void {
    const memory = this.instance.memory
    for (let i = this.undo.length - 1; i >= 0; i--) memory.restore(...this.undo[i]!)
    this.instance.position = this.positionBefore
  }

  /** Queues the change set, announced or not; resolves when it is durable and published. */
  submit(): Promise<void> {
    const { instance, changes } = this
    if (changes.isEmpty && this.kinds.size === 0) return instance.shard.flushed(instance.key)
    // Whatever is announced takes a position, or a reader who is at the last one would never look.
    if (changes.position === 0) this.takePosition()
    for (const run of this.applied) run()
    const entry: Entry = {
      position: changes.position,
      kinds: this.kinds,
      rooms: [...this.rooms],
      users: [...this.users],
      appservices: [...this.appservices],
    }
    return instance.shard.enqueue(changes, () => {
      for (const run of this.committed) run()
      for (const operation of changes.operations) {
        if (operation.kind === 'put' && operation.table === 'event') instance.recent.published(operation.row as unknown as Rows['event'])
      }
      instance.bus.publish(entry)
    })
  }

  /**
   * Keys of rooms and users are the positions at which they were made. What belongs to one that is not published yet is in memory, pinned,
   * or nowhere: no need to look.
   */
  isUnborn(key: object): boolean {
    const { room, user } = key as { room?: unknown; user?: unknown }
    const { published } = this.instance.bus
    return (typeof room === 'number' && room > published) || (typeof user === 'number' && user > published)
  }

  private setIndexes(table: TableName, row: Readonly<Record<string, unknown>>, key: unknown): void {
    for (const columns of tables[table].unique) {
      if ((columns as readonly string[]).includes('instance')) this.set(indexKey(table, columns.slice(1), row), key)
    }
  }
}

function choose<T>(values: ReadonlyMap<string, T>, keys: readonly string[]): T[] {
  return keys.flatMap((key) => values.get(key) ?? [])
}

/** The primary key's columns of it, as a condition. */
function keyWhere<T extends TableName>(table: T, key: object): Where<T> {
  const where: Record<string, unknown> = {}
  for (const column of tables[table].key) if (column !== 'instance') where[column] = (key as Readonly<Record<string, unknown>>)[column]
  return where as Where<T>
}

function indexKey(table: TableName, columns: readonly string[], values: Readonly<Record<string, unknown>>): string {
  let text = `by ${table}`
  for (const column of columns) text += `\0${column}\0${values[column]}`
  return text
}

/** Most times a decision starts over: each time one thing more is in memory, so only a defect reaches this. */
const mostRestarts = 100_000

/**
 * Decides and writes. Resolves with what `decide` returned once it is durable; a refusal too waits until what it was decided on is.
 * Errors: whatever `decide` throws; 503 when the instance's queue is full or a commit failed.
 */
export async function command<T>(instance: Instance, decide: (decision: Decision) => T): Promise<T> {
  for (let restarts = 0; restarts < mostRestarts; restarts++) {
    if (instance.closed.aborted) throw unavailable('This homeserver is closing')
    if (instance.shard.isFull(instance.key)) {
      // Whoever else waited may have filled it again.
      await instance.shard.flushed(instance.key)
      if (instance.shard.isFull(instance.key)) continue
    }
    instance.memory.evict()
    const decision = new Decision(instance)
    let result: T
    try {
      result = decide(decision)
    } catch (error) {
      decision.rollback()
      if (error instanceof Missing) {
        await error.load
        continue
      }
      await instance.shard.flushed(instance.key)
      throw error
    }
    await instance.commits.until(decision.submit())
    return result
  }
  throw new Error('a decision never found all it needs in memory')
}

/** Loads what these reads need, all at once, before a decision that needs much. */
export async function prefetch(instance: Instance, reads: readonly ((decision: Decision) => unknown)[]): Promise<void> {
  const decision = new Decision(instance)
  try {
    decision.all(reads.map((read) => () => read(decision)))
  } catch (error) {
    if (!(error instanceof Missing)) throw error
    await error.load
  }
}
