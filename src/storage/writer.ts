/**
 * Group commit. Every instance has a line of change sets; a batch takes a prefix of each line in turn, becomes one transaction, and what
 * queues while it runs becomes the next one. No timer: one waiting client gets its own commit at once, sixty-four share one.
 */
import { unavailable } from '../errors.ts'
import type { ChangeSet } from './change-set.ts'
import { CommitError } from './engine.ts'
import { type Batch, type Claim, fold, refusal } from './fold.ts'
import { type Entry, type Limits, Line, Lines } from './lines.ts'

/** How far above its highest position a commit raises the stored ceiling. */
export const ceilingStep = 1_000

/** Points at which tests stop, kill or fail the writer. */
export interface Faults {
  beforeCommit?(batch: Batch): void | Promise<void>
  /** between the commit and its publication */
  afterCommit?(batch: Batch): void | Promise<void>
  /** between the publication and the answers */
  afterPublish?(batch: Batch): void | Promise<void>
  /** an error to fail this commit with, instead of doing it */
  failCommit?(batch: Batch): Error | null
}

export interface WriterOptions {
  commit(batch: Batch): Promise<void>
  onInstanceLost(instance: number, why: 'failed' | 'lost', error: Error): void
  /** Nothing this process promises can be kept any more: it must end. */
  onFatal(error: Error): void
  readonly limits?: Partial<Limits>
  readonly faults?: Faults
  /** a clock, ms */
  readonly now?: () => number
}

export class Writer {
  private readonly options: WriterOptions
  private readonly lines: Lines
  private readonly registers: Line
  private running = false
  private idle = Promise.withResolvers<void>()
  readonly totals = { batches: 0, changeSets: 0, rows: 0, commitSeconds: 0 }

  constructor(options: WriterOptions) {
    this.options = options
    this.lines = new Lines(options.limits, options.now)
    this.registers = new Line(null, 0)
    this.idle.resolve()
  }

  get queued(): number {
    return this.lines.queued
  }

  /** From now on the instance's change sets are written under this claim, until it is closed or lost. */
  open(instance: number, owner: string, epoch: number, ceiling: number): void {
    this.lines.open.set(instance, new Line({ instance, owner, epoch, ceiling: null }, ceiling))
  }

  isOpen(instance: number): boolean {
    return this.lines.open.has(instance)
  }

  claims(): Claim[] {
    return [...this.lines.open.values()].flatMap((line) => line.claim ?? [])
  }

  /** Waits for what is queued, then takes no more of this instance. Answers with its claim, or null when it is not open (any more). */
  async close(instance: number): Promise<Claim | null> {
    const line = this.lines.open.get(instance)
    if (!line) return null
    while (line.last && this.lines.open.get(instance) === line) {
      await line.last.promise.catch(() => undefined)
    }
    // Lost, and perhaps opened again, while we waited.
    if (this.lines.open.get(instance) !== line) return null
    this.lines.open.delete(instance)
    return line.claim
  }

  enqueue(change: ChangeSet, onCommitted: () => void): Promise<void> {
    const line = this.lines.open.get(change.instance)
    if (!line) return Promise.reject(unavailable('this instance is not open here'))
    return this.add(line, change, onCommitted)
  }

  /** A change set of no instance's line: if it fails, only it fails. */
  register(change: ChangeSet): Promise<void> {
    return this.add(this.registers, change, () => undefined)
  }

  /** Resolves when everything queued so far is durable. */
  flushed(instance: number): Promise<void> {
    const last = this.lines.open.get(instance)?.last
    if (!last) return Promise.resolve()
    return last.promise.catch((error: unknown) => {
      // The error belongs to the command that queued it; here it only means: ask again.
      throw unavailable(`an earlier command failed: ${error instanceof Error ? error.message : error}`)
    })
  }

  isFull(instance: number): boolean {
    return this.lines.isFull(instance)
  }

  /** The instance is no longer ours, or what the database holds of it is unknown. */
  lose(instance: number, error: Error, epoch?: number): void {
    const line = this.lines.open.get(instance)
    // The news may be about an earlier life.
    if (!line || (epoch !== undefined && line.claim?.epoch !== epoch)) return
    this.lines.open.delete(instance)
    line.lost = true
    this.giveUp(line, [], 'lost', error)
  }

  loseAll(error: Error): void {
    for (const instance of [...this.lines.open.keys()]) this.lose(instance, error)
  }

  /** Resolves when nothing is queued. */
  drained(): Promise<void> {
    return this.idle.promise
  }

  private add(line: Line, change: ChangeSet, onCommitted: () => void): Promise<void> {
    const entry = this.lines.add(line, change, onCommitted, refusal(change, line.claim === null))
    if (!this.running) {
      this.running = true
      this.idle = Promise.withResolvers<void>()
      // What arrives in the same turn of the event loop shares the first commit.
      setImmediate(() => this.run())
    }
    return entry.promise
  }

  private async run(): Promise<void> {
    try {
      for (let batch = this.lines.take(); batch.length > 0; batch = this.lines.take()) await this.write(batch)
    } catch (error) {
      this.options.onFatal(error instanceof Error ? error : new Error(String(error)))
    } finally {
      this.running = false
      this.idle.resolve()
    }
  }

  private async write(entries: readonly Entry[]): Promise<void> {
    const error = await this.attempt(entries)
    if (!error) return
    if (this.isFinal(error, entries)) return
    // Somebody in this batch is to blame: first find the instance, then the change set.
    const byLine = Map.groupBy(entries, (entry) => entry.line)
    for (const [line, own] of byLine) {
      const again = byLine.size > 1 ? await this.attempt(own) : error
      if (!again || this.isFinal(again, own)) continue
      for (const entry of own) {
        if (entry.done) continue
        const failure = own.length > 1 ? await this.attempt([entry]) : again
        // Of an instance's line nothing may become durable behind what did not: it was decided on it.
        if (!failure || this.isFinal(failure, line.claim ? own : [entry])) continue
        this.lines.finish(entry)
        entry.reject(failure)
        if (line.claim) this.giveUp(line, own, 'failed', failure)
      }
    }
  }

  /** Errors that no smaller batch would mend: what was in it, and all behind it, starts again from the database. */
  private isFinal(error: Error, entries: readonly Entry[]): boolean {
    if (!(error instanceof CommitError)) return false
    // Not owned: found out which by going one instance at a time.
    if (error.kind === 'notOwned' && entries.some((entry) => entry.line !== entries[0]?.line)) return false
    for (const entry of entries) {
      if (entry.done) continue
      this.lines.finish(entry)
      entry.reject(unavailable(error.message))
    }
    for (const line of new Set(entries.map((entry) => entry.line))) {
      if (line.claim && this.lines.open.get(line.claim.instance) === line) this.lose(line.claim.instance, error)
    }
    if (error.kind === 'fatal') this.options.onFatal(error)
    return true
  }

  /** Tells the instance first, so that nothing is decided on its old memory, then turns away what is queued. */
  private giveUp(line: Line, rest: readonly Entry[], why: 'failed' | 'lost', error: Error): void {
    // What was lost before is nobody's any more; its instance may be open again and knows nothing of this.
    const isOurs = why === 'lost' || !line.lost
    const turnedAway = rest.filter((entry) => !entry.done)
    for (const entry of turnedAway) this.lines.finish(entry)
    turnedAway.push(...this.lines.empty(line))
    if (line.claim && isOurs) this.options.onInstanceLost(line.claim.instance, why, error)
    for (const entry of turnedAway) entry.reject(unavailable(error.message))
  }

  /** One transaction. Resolves with the error when it failed. */
  private async attempt(all: readonly Entry[]): Promise<Error | null> {
    const entries = all.filter((entry) => !entry.done)
    const refused = entries.find((entry) => entry.refused)?.refused
    if (refused) return refused
    const positions = new Map<Line, number>()
    for (const { line, change } of entries) positions.set(line, Math.max(positions.get(line) ?? 0, change.position))
    const claims: Claim[] = []
    let raised = false
    for (const [line, position] of positions) {
      if (!line.claim) continue
      const ceiling = position > line.ceiling ? position + ceilingStep : null
      if (ceiling !== null) raised = true
      claims.push({ ...line.claim, ceiling })
    }
    const { changes, rows } = fold(entries.map((entry) => entry.change))
    const batch: Batch = { claims, changes, rows }
    const faults = this.options.faults
    const start = performance.now()
    try {
      await faults?.beforeCommit?.(batch)
      const failure = faults?.failCommit?.(batch)
      if (failure) throw failure
      // Typing takes positions but stores nothing: no transaction while its positions are below the ceiling.
      if (rows > 0 || raised) await this.options.commit(batch)
      await faults?.afterCommit?.(batch)
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error))
    } finally {
      this.totals.commitSeconds += (performance.now() - start) / 1_000
    }
    this.totals.batches += 1
    this.totals.changeSets += entries.length
    this.totals.rows += rows
    for (const [line, position] of positions) if (position > line.ceiling) line.ceiling = position + ceilingStep
    this.publish(entries)
    if (faults?.afterPublish) await faults.afterPublish(batch)
    for (const entry of entries) entry.resolve()
    return null
  }

  private publish(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.lines.finish(entry)
      // Lost while the commit ran: it is durable, but the instance starts from the database and nobody can hear of it here.
      if (entry.line.lost) {
        entry.reject(unavailable('this instance is being opened again'))
        continue
      }
      try {
        entry.onCommitted()
      } catch (error) {
        this.options.onFatal(error instanceof Error ? error : new Error(String(error)))
      }
    }
  }
}
