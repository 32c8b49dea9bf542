/** How often somebody may try to log in, per user and per address: in memory, forgotten at a restart. */
import { MatrixError } from '../errors.ts'
import { subscriberOf } from '../rules/networks.ts'
import { type Instance, local } from '../stream/instance.ts'

interface Limit {
  /** attempts that may be made at once */
  readonly burst: number
  /** until one more may be made */
  readonly everyMs: number
}

/** A user is attacked from many addresses, an address attacks many users. Those of one IPv6 connection count as one. */
const limits: Readonly<Record<'user' | 'address', Limit>> = {
  user: { burst: 10, everyMs: 10_000 },
  address: { burst: 50, everyMs: 2_000 },
}

/** Buckets of each kind that are remembered; the least recently used go first. */
const mostBuckets = 10_000

interface Bucket {
  attempts: number
  at: number
}

const bucketsOf = local(() => ({ user: new Map<string, Bucket>(), address: new Map<string, Bucket>() }))

/**
 * Counts an attempt before it is made, so that many at once do not slip through. The returned function takes it back: what succeeds is no
 * guess. Errors: M_LIMIT_EXCEEDED with retry_after_ms.
 */
export function countAttempt(instance: Instance, user: string | null, address: string | null): () => void {
  if (!instance.config.rateLimits) return () => undefined
  const now = instance.ports.now()
  const of = bucketsOf(instance)
  const buckets: Bucket[] = []
  let waitMs = 0
  for (const kind of ['user', 'address'] as const) {
    const name = kind === 'user' ? user : address && subscriberOf(address)
    if (name === null) continue
    const bucket = bucketIn(of[kind], name, now, limits[kind])
    const excess = bucket.attempts + 1 - limits[kind].burst
    if (excess > 0) waitMs = Math.max(waitMs, Math.ceil(excess * limits[kind].everyMs))
    buckets.push(bucket)
  }
  if (waitMs > 0) throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many login attempts', { retry_after_ms: waitMs })
  for (const bucket of buckets) bucket.attempts += 1
  return () => {
    for (const bucket of buckets.splice(0)) bucket.attempts = Math.max(0, bucket.attempts - 1)
  }
}

function bucketIn(buckets: Map<string, Bucket>, name: string, now: number, limit: Limit): Bucket {
  const bucket = buckets.get(name) ?? { attempts: 0, at: now }
  bucket.attempts = Math.max(0, bucket.attempts - Math.max(0, now - bucket.at) / limit.everyMs)
  bucket.at = now
  // Re-inserting keeps the map in the order of use.
  buckets.delete(name)
  buckets.set(name, bucket)
  if (buckets.size > mostBuckets)
    for (const oldest of buckets.keys()) {
      buckets.delete(oldest)
      break
    }
  return bucket
}
