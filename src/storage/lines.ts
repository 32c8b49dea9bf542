/** The lines of change sets that wait for the writer, and the taking of batches from them in turn. */
import type { ChangeSet } from './change-set.ts'
import type { Claim } from './fold.ts'

export interface Limits {
  /** of one instance's line, above which admission stops it */
  readonly lineChangeSets: number
  readonly lineWeight: number
  /** of one batch */
  readonly batchChangeSets: number
  readonly batchWeight: number
  /** of one instance in a batch while others are writing too: what they wait for */
  readonly sharedWeight: number
  /**
   * of one instance's line while others are writing too, above which admission stops it: else the many of a flood are parsed, decided and
   * answered together, and whoever comes meanwhile waits for all of them
   */
  readonly sharedChangeSets: number
}

/** A batch much larger than this commits no faster per row, it only makes others wait longer. */
const usual: Limits = {
  lineChangeSets: 1_000,
  lineWeight: 16 << 20,
  batchChangeSets: 2_000,
  batchWeight: 512 << 10,
  sharedWeight: 24 << 10,
  sharedChangeSets: 4,
}

/** For how long after two instances wrote in turn the disk counts as shared, ms: whoever types writes that often. */
const sharedMs = 10_000

/** One change set on its way. */
export class Entry {
  readonly line: Line
  readonly change: ChangeSet
  readonly onCommitted: () => void
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  /** resolved, or about to be, or rejected */
  done = false
  /** why it cannot be written; it fails when its turn comes, because what is queued before it is still good */
  readonly refused: Error | null

  constructor(line: Line, change: ChangeSet, onCommitted: () => void, refused: Error | null) {
    this.refused = refused
    this.line = line
    this.change = change
    this.onCommitted = onCommitted
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.promise = promise
    this.resolve = resolve
    this.reject = reject
  }
}

/** What one instance has queued. Made anew each time the instance is opened, so that an earlier life's change sets are told apart. */
export class Line {
  /** null: change sets of no open instance, each for itself */
  readonly claim: Claim | null
  /** as stored */
  ceiling: number
  readonly waiting: Entry[] = []
  /** of everything not yet durable, the batch under way included */
  count = 0
  weight = 0
  last: Entry | null = null
  /** what the instance held in memory was dropped: nothing of this line may be published any more */
  lost = false

  constructor(claim: Claim | null, ceiling: number) {
    this.claim = claim
    this.ceiling = ceiling
  }
}

export class Lines {
  readonly open = new Map<number, Line>()
  queued = 0
  private readonly limits: Limits
  /** lines with something waiting, in the order of their turns */
  private turns: Line[] = []
  private sharedAt = Number.NEGATIVE_INFINITY
  private lastAlone: Line | null = null
  /** ms, from any point */
  private readonly now: () => number

  constructor(limits: Partial<Limits> = {}, now = () => performance.now()) {
    this.limits = { ...usual, ...limits }
    this.now = now
  }

  isFull(instance: number): boolean {
    const line = this.open.get(instance)
    if (!line) return false
    const { lineChangeSets, sharedChangeSets, lineWeight } = this.limits
    return line.count >= lineChangeSets || line.weight >= lineWeight || (line.count >= sharedChangeSets && this.isShared())
  }

  add(line: Line, change: ChangeSet, onCommitted: () => void, refused: Error | null): Entry {
    const entry = new Entry(line, change, onCommitted, refused)
    if (line.waiting.length === 0) this.turns.push(line)
    line.waiting.push(entry)
    line.count += 1
    line.weight += change.weight
    line.last = entry
    this.queued += 1
    return entry
  }

  /** The next batch: one change set of each line in turn until it is large enough. Empty when nothing waits. */
  take(): Entry[] {
    const { batchChangeSets, batchWeight, sharedWeight } = this.limits
    const shared = this.turns.length > 1 || this.isShared()
    const most = shared ? sharedWeight : batchWeight
    const batch: Entry[] = []
    const weights = new Map<Line, number>()
    const later: Line[] = []
    let weight = 0
    let turns = this.turns
    let next = 0
    while (batch.length < batchChangeSets) {
      if (next === turns.length) break
      const line = turns[next++]
      const entry = line?.waiting[0]
      if (!line || !entry) continue
      const own = weights.get(line) ?? 0
      if (batch.length > 0 && weight + entry.change.weight > batchWeight) {
        next -= 1
        break
      }
      if (own > 0 && own + entry.change.weight > most) {
        later.push(line)
        continue
      }
      line.waiting.shift()
      batch.push(entry)
      weight += entry.change.weight
      // An empty change set counts too, else an endless line of them would fill the batch before its turn is over.
      weights.set(line, own + entry.change.weight + 1)
      if (line.waiting.length > 0) turns.push(line)
      // The part already served is cut off now and then, not at each step.
      if (next > 1_024) {
        turns = turns.slice(next)
        next = 0
      }
    }
    this.turns = [...turns.slice(next), ...later]
    this.note(weights)
    return batch
  }

  /** The entry is durable or refused. */
  finish(entry: Entry): void {
    entry.done = true
    const line = entry.line
    line.count -= 1
    line.weight -= entry.change.weight
    this.queued -= 1
    if (line.last === entry) line.last = null
  }

  /** Takes everything out of a line, the batch under way excepted, and answers with it. */
  empty(line: Line): Entry[] {
    const entries = line.waiting.splice(0)
    for (const entry of entries) this.finish(entry)
    this.turns = this.turns.filter((other) => other !== line)
    return entries
  }

  private isShared(): boolean {
    return this.now() - this.sharedAt < sharedMs
  }

  private note(weights: ReadonlyMap<Line, number>): void {
    const [alone = null] = weights.keys()
    if (weights.size > 1 || (alone && this.lastAlone && alone !== this.lastAlone)) this.sharedAt = this.now()
    this.lastAlone = alone ?? this.lastAlone
  }
}
