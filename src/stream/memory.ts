/**
 * What *decide* reads, held in memory and written through. May be ahead of the disk, so queries never read it.
 * Every entry remembers the position that touched it last: it may be evicted only when that is published (else a reload would
 * read the past).
 */
export interface Cell {
  value: unknown
  touched: number
  /** looked up since the last eviction came by */
  used: boolean
}

/** Thrown by a lookup that is not in memory: the command awaits it and decides again from the start. */
export class Missing {
  readonly load: Promise<unknown>
  constructor(load: Promise<unknown>) {
    this.load = load
  }
}

/** What is kept per instance before the least recently used goes: cells, and bytes of text in them (an event has up to 64 KiB). */
const mostCells = 20_000
const mostBytes = 32_000_000

export class Memory {
  private readonly cells = new Map<string, Cell>()
  private readonly loading = new Map<string, Promise<unknown>>()
  private published: () => number
  /** rough size of what is held */
  private bytes = 0

  constructor(published: () => number) {
    this.published = published
  }

  get size(): number {
    return this.cells.size
  }

  peek(key: string): Cell | undefined {
    return this.cells.get(key)
  }

  /** Whether the value is here or on its way here. */
  knows(key: string): boolean {
    return this.cells.has(key) || this.loading.has(key)
  }

  /** The value under `key`; when it is not here, throws a Missing that loads it. Concurrent loads share one promise. */
  need<T>(key: string, load: () => Promise<T>): T {
    const cell = this.cells.get(key)
    if (cell) {
      cell.used = true
      return cell.value as T
    }
    const promise = this.loading.get(key) ?? this.begin([key], async () => new Map([[key, await load()]]))
    throw new Missing(promise)
  }

  /** The same for many that are loaded together. What the load does not bring is null. */
  needAll(keys: readonly string[], load: (missing: readonly string[]) => Promise<ReadonlyMap<string, unknown>>): void {
    const away = keys.filter((key) => !this.cells.has(key))
    if (away.length === 0) return
    const missing = away.filter((key) => !this.loading.has(key))
    const loads = new Set(away.flatMap((key) => this.loading.get(key) ?? []))
    if (missing.length > 0) loads.add(this.begin(missing, () => load(missing)))
    throw new Missing(Promise.all(loads))
  }

  private begin(keys: readonly string[], load: () => Promise<ReadonlyMap<string, unknown>>): Promise<unknown> {
    // A write that came meanwhile is newer than what was read.
    const settle = (arrive: (key: string) => void) => {
      for (const key of keys) {
        if (this.loading.get(key) !== promise) continue
        this.loading.delete(key)
        arrive(key)
      }
    }
    const promise: Promise<unknown> = load().then(
      (values) => settle((key) => !this.cells.has(key) && this.put(key, { value: values.get(key) ?? null, touched: 0, used: true })),
      (error: unknown) => {
        settle(() => undefined)
        throw error
      },
    )
    // A decision that is refused for another reason never awaits it; its error must not end the process.
    promise.catch(() => undefined)
    for (const key of keys) this.loading.set(key, promise)
    return promise
  }

  set(key: string, value: unknown, touched: number): void {
    this.loading.delete(key)
    this.put(key, { value, touched, used: true })
  }

  /** Puts back what was there before a decision that did not come to pass. */
  restore(key: string, cell: Cell | undefined): void {
    if (cell) this.put(key, cell)
    else this.drop(key)
  }

  /**
   * Called between decisions only: what a decision looked up must not vanish under it. What was used since the last time gets a second
   * chance at the end of the line; keeping the exact order of use would cost more than it brings.
   */
  evict(): void {
    if (this.cells.size <= mostCells && this.bytes <= mostBytes) return
    const published = this.published()
    let tries = mostCells / 4
    for (const [key, cell] of this.cells) {
      if ((this.cells.size <= mostCells * 0.9 && this.bytes <= mostBytes * 0.9) || tries-- === 0) break
      if (cell.used || cell.touched > published) {
        cell.used = false
        this.cells.delete(key)
        this.cells.set(key, cell)
      } else this.drop(key)
    }
  }

  private put(key: string, cell: Cell): void {
    const before = this.cells.get(key)
    if (before) this.bytes -= textBytes(before.value)
    this.bytes += textBytes(cell.value)
    this.cells.set(key, cell)
  }

  private drop(key: string): void {
    const cell = this.cells.get(key)
    if (!cell) return
    this.bytes -= textBytes(cell.value)
    this.cells.delete(key)
  }
}

/** The texts that a row can be large by; a list is as large as what is in it. */
function textBytes(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  if (Array.isArray(value)) return value.reduce((bytes: number, item) => bytes + textBytes(item), 0)
  const { json, content, authData, deviceData } = value as Readonly<Record<string, unknown>>
  let bytes = 0
  for (const text of [json, content, authData, deviceData]) if (typeof text === 'string') bytes += text.length
  return bytes
}
