/** Tokens end by being revoked or by expiring; what runs for them, such as a long poll or a subscription, ends with them. */
import { MatrixError } from '../errors.ts'
import type { Ports } from '../ports.ts'
import type { Actor } from '../users/actor.ts'

type End = (error: MatrixError) => void

/** Revoked tokens remembered: for as long as a request can be between its token's look-up and its waiting. */
const mostRevoked = 10_000

export class SessionEnds {
  private readonly ports: Ports
  /** hashes, the oldest first */
  private readonly revoked = new Set<string>()
  private readonly running = new Map<string, Set<End>>()

  constructor(ports: Ports) {
    this.ports = ports
  }

  /** The token with this hash was revoked, durably. */
  revoke(hash: string): void {
    if (this.revoked.size >= mostRevoked) this.revoked.delete(this.revoked.values().next().value!)
    this.revoked.add(hash)
    for (const end of [...(this.running.get(hash) ?? [])]) end(sessionEnded())
  }

  /** The same token was given out again. */
  revive(hash: string): void {
    this.revoked.delete(hash)
  }

  isRevoked(hash: string): boolean {
    return this.revoked.has(hash)
  }

  /** Calls `end` with the 401 when the actor's token is revoked or expires, at once if it did; what comes back stops listening. */
  onEnd({ tokenHash, tokenExpiresAt }: Actor, end: End): () => void {
    const ends = this.running.get(tokenHash) ?? new Set()
    this.running.set(tokenHash, ends.add(end))
    const { now, timer } = this.ports
    const cancel = tokenExpiresAt ? timer(Math.max(0, tokenExpiresAt - now()), () => end(tokenExpired())) : () => undefined
    if (this.revoked.has(tokenHash)) end(sessionEnded())
    return () => {
      cancel()
      ends.delete(end)
      if (ends.size === 0 && this.running.get(tokenHash) === ends) this.running.delete(tokenHash)
    }
  }
}

function sessionEnded(): MatrixError {
  return new MatrixError('M_UNKNOWN_TOKEN', 'The session has ended')
}

/** soft_logout: a refresh token may bring a new one, so the client throws nothing away. */
export function tokenExpired(): MatrixError {
  return new MatrixError('M_UNKNOWN_TOKEN', 'The access token has expired', { soft_logout: true })
}
