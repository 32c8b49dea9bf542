/** A flood touches one person only: requests wait in the line of their instance before their body is read, and users have their rates. */
import type { RateLimits as RateLimitSettings } from '../src/config.ts'
import { MatrixError, unavailable } from '../src/errors.ts'
import type { Instance } from '../src/graphql/context.ts'
import type { RateClass } from './endpoint.ts'

/** Requests of one line that are worked on at the same time, those not counted that wait for their commit. */
export const mostAtWork = 16
/** Requests that may wait in one line; more get 503. */
const mostWaiting = 4_096
/**
 * Requests started in one turn of the event loop. What came in the same turn has its headers read only, and waits in its line: else the many
 * of a flood would all be worked on before the one of somebody else that came a moment later.
 */
const mostStarts = 8

/** Gives a place back; calling it again does nothing. */
export type Release = () => void

interface Waiter {
  readonly start: (release: Release) => void
  left: boolean
}

interface Line {
  working: number
  /** of those, who wait for the disk only */
  readonly commits: { readonly count: number } | null
  /** more is queued for the disk than may be: it must become less first */
  isFull(): boolean
  readonly waiting: Waiter[]
  /** in the ring of lines that have something to start */
  queued: boolean
}

/** An instance, or something that stands for those whose instance is not known yet. */
interface LineOwner {
  readonly key?: number
  readonly shard?: { isFull(instance: number): boolean }
  readonly commits?: { readonly count: number; onChange: (() => void) | null }
}

function hasPlace({ working, commits, isFull }: Line): boolean {
  return working - (commits?.count ?? 0) < mostAtWork && !isFull()
}

/** Lines by instance; those without an instance yet (login, register) stand in the line of the host. */
export class Admission {
  private readonly lines = new WeakMap<object, Line>()
  private readonly ring: Line[] = []
  /** in this turn of the event loop */
  private starts = 0

  /** Resolves when there is a place. Rejects when the line is too long or `signal` fires first. */
  async enter(owner: LineOwner, signal: () => AbortSignal): Promise<Release> {
    let line = this.lines.get(owner)
    if (!line) {
      line = this.newLine(owner)
      this.lines.set(owner, line)
    }
    if (this.starts < mostStarts && hasPlace(line) && line.waiting.length === 0) return this.take(line)
    if (line.waiting.length >= mostWaiting) throw unavailable('Too many requests are waiting')
    const place = this.wait(line, signal())
    this.queue(line)
    return place
  }

  /** Who waits for a commit leaves the place to others: what they decide meanwhile goes into the next one. */
  private newLine(owner: LineOwner): Line {
    const { shard, key } = owner
    const isFull = shard && key !== undefined ? () => shard.isFull(key) : () => false
    const line: Line = { working: 0, commits: owner.commits ?? null, isFull, waiting: [], queued: false }
    if (owner.commits) owner.commits.onChange = () => this.more(line)
    return line
  }

  private more(line: Line): void {
    // Not within the command that waits: the next one shall not begin inside it.
    if (line.waiting.length > 0 && !line.queued && hasPlace(line)) setImmediate(() => this.serve(line))
  }

  private serve(line: Line): void {
    this.queue(line)
    this.drain()
  }

  /** Into the ring, if there is something to start in it. */
  private queue(line: Line): void {
    if (line.waiting.length === 0 || line.queued || !hasPlace(line)) return
    line.queued = true
    this.ring.push(line)
  }

  private wait(line: Line, signal: AbortSignal): Promise<Release> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiter.left = true
        reject(unavailable('The connection was closed'))
      }
      const waiter: Waiter = {
        left: false,
        start: (release) => {
          signal.removeEventListener('abort', leave)
          resolve(release)
        },
      }
      if (signal.aborted) return leave()
      signal.addEventListener('abort', leave, { once: true })
      line.waiting.push(waiter)
    })
  }

  private take(line: Line): Release {
    if (this.starts++ === 0) {
      setImmediate(() => {
        this.starts = 0
        this.drain()
      })
    }
    line.working++
    let held = true
    return () => {
      if (!held) return
      held = false
      line.working--
      this.serve(line)
    }
  }

  /** Lines are served in turn: each starts one request before any starts its next. */
  private drain(): void {
    while (this.ring.length > 0 && this.starts < mostStarts) {
      const line = this.ring.shift()!
      line.queued = false
      // Filled by what was started meanwhile: it comes again with the next commit.
      if (!hasPlace(line)) continue
      let waiter = line.waiting.shift()
      while (waiter?.left) waiter = line.waiting.shift()
      if (!waiter) continue
      waiter.start(this.take(line))
      this.queue(line)
    }
  }
}

interface Bucket {
  tokens: number
  at: number
}

/** Buckets kept per instance before the full ones are dropped. */
const mostBuckets = 10_000

export class RateLimits {
  private readonly buckets = new WeakMap<Instance, Map<string, Bucket>>()

  /** 429 M_LIMIT_EXCEEDED when `who` asks too often. https://spec.matrix.org/v1.19/client-server-api/#rate-limiting */
  check(instance: Instance, who: string, rateClass: RateClass, now: number): void {
    const rates = instance.config.rateLimits
    if (!rates) return
    const { perSecond, burst } = rates[rateClass]
    let buckets = this.buckets.get(instance)
    if (!buckets) {
      buckets = new Map()
      this.buckets.set(instance, buckets)
    }
    const key = `${rateClass} ${who}`
    let bucket = buckets.get(key)
    if (!bucket) {
      if (buckets.size >= mostBuckets) dropFull(buckets, rates, now)
      bucket = { tokens: burst, at: now }
      buckets.set(key, bucket)
    }
    bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, now - bucket.at) / 1_000) * perSecond)
    bucket.at = now
    if (bucket.tokens < 1) {
      const waitMs = Math.ceil(((1 - bucket.tokens) / perSecond) * 1_000)
      throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many requests', { retry_after_ms: waitMs })
    }
    bucket.tokens -= 1
  }
}

function dropFull(buckets: Map<string, Bucket>, rates: RateLimitSettings, now: number): void {
  for (const [key, bucket] of buckets) {
    const { perSecond, burst } = rates[key.slice(0, key.indexOf(' ')) as RateClass]
    if (bucket.tokens + ((now - bucket.at) / 1_000) * perSecond >= burst) buckets.delete(key)
  }
  // All of them busy: the oldest go, which is kinder than growing without end.
  for (const key of buckets.keys()) {
    if (buckets.size < mostBuckets) break
    buckets.delete(key)
  }
}
