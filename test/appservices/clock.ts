/** Time that runs as usual and can be moved on: what was due in between happens in order, and the server has a moment for what follows from it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Ports } from '../../src/ports.ts'

interface Timer {
  readonly at: number
  readonly run: () => void
  readonly handle: NodeJS.Timeout
}

/** What follows from a timer takes a few turns of the loop. */
const momentMs = 5

export class Clock {
  private ahead = 0
  private readonly settle: () => Promise<unknown>
  private readonly timers = new Set<Timer>()
  readonly ports: Pick<Ports, 'now' | 'timer'> = {
    now: () => this.now(),
    timer: (delayMs, run) => {
      const fire = () => {
        this.timers.delete(timer)
        run()
      }
      const handle = setTimeout(fire, delayMs)
      handle.unref()
      const timer: Timer = { at: this.now() + Math.ceil(delayMs), run: fire, handle }
      this.timers.add(timer)
      return () => {
        clearTimeout(handle)
        this.timers.delete(timer)
      }
    },
  }

  /** `settle` resolves when peers have answered what they were sent. */
  constructor(settle: () => Promise<unknown> = async () => undefined) {
    this.settle = settle
  }

  now(): number {
    return Date.now() + this.ahead
  }

  async move(ms: number): Promise<void> {
    const end = this.now() + ms
    for (;;) {
      const due = [...this.timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (!due) break
      this.ahead += Math.max(0, due.at - this.now())
      clearTimeout(due.handle)
      due.run()
      await this.moment()
    }
    this.ahead += Math.max(0, end - this.now())
    await this.moment()
  }

  private async moment(): Promise<void> {
    await sleep(momentMs)
    await this.settle()
  }
}
