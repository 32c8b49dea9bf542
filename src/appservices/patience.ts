/** When a delivery waits, and what ends the wait. */
import type { Ports } from '../ports.ts'
import type { Outcome } from './sinks.ts'

export const longestWaitMs = 30_000
const firstWaitMs = 500
/** A sign of life ends a wait at most this often: a bridge that talks but does not listen is not hammered. */
const signOfLifeEveryMs = 1_000
/**
 * From the first sign of life to the attempt. Bridges on bridgev2 listen and ask who they are before their logins are loaded; what arrives in
 * between they refuse for good ("not logged in"), although they acknowledge it.
 */
export const settleMs = 500

type Why = (Outcome & { ok: false })['why']

export class Patience {
  private readonly ports: Ports
  private failures = 0
  /** something was heard since begin() */
  private woken = false
  private release: (() => void) | null = null
  private defer: ((delayMs: number) => void) | null = null
  /** set while waiting after a failure to connect */
  private hopeful = false
  private lastHopeAt = Number.NEGATIVE_INFINITY
  private idle = false

  constructor(ports: Ports) {
    this.ports = ports
  }

  /** Called before looking for work: what is heard from now on is not missed by a wait that follows. */
  begin(): void {
    this.woken = false
  }

  /** There is something to deliver. Does not shorten a wait after a failure. */
  wake(): void {
    this.woken = true
    if (this.idle) this.release?.()
  }

  /** Ends whatever wait there is. */
  end(): void {
    this.woken = true
    this.release?.()
  }

  success(): void {
    this.failures = 0
  }

  async untilWoken(): Promise<void> {
    if (this.woken) return
    this.idle = true
    await this.wait(null)
    this.idle = false
  }

  /** Twice as long each time, up to 30 s, less up to half by chance so that bridges do not come back all at once. */
  async afterFailure(why: Why): Promise<void> {
    const delayMs = Math.min(longestWaitMs, firstWaitMs * 2 ** this.failures)
    this.failures++
    const chance = this.ports.random(4).readUInt32LE() / 2 ** 32
    this.hopeful = why === 'connection'
    await this.wait(delayMs * (1 - chance / 2))
    this.hopeful = false
  }

  /**
   * Any request of the bridge, a ping, its websocket: after a failure to connect it is tried again when it has settled, at most once a second,
   * and not before, should its turn have come sooner.
   */
  signOfLife(): void {
    if (!this.hopeful) return
    this.hopeful = false
    const now = this.ports.now()
    this.lastHopeAt = Math.max(now + settleMs, this.lastHopeAt + signOfLifeEveryMs)
    this.defer?.(this.lastHopeAt - now)
  }

  private wait(delayMs: number | null): Promise<void> {
    return new Promise((resolve) => {
      let cancel: () => void = () => undefined
      const done = () => {
        cancel()
        this.release = null
        this.defer = null
        resolve()
      }
      this.release = done
      this.defer = (ms) => {
        cancel()
        cancel = this.ports.timer(ms, done)
      }
      if (delayMs !== null) this.defer(delayMs)
    })
  }
}
