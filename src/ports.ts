/** What reaches in from outside besides the network: time, chance and the log. Tests hand in their own. */
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'

export interface Ports {
  /** milliseconds since the epoch */
  now(): number
  /** n random bytes, fit for secrets */
  random(bytes: number): Buffer
  /** calls back once after delayMs; the returned function cancels */
  timer(delayMs: number, run: () => void): () => void
  log: Logger
}

export function systemPorts(log: Logger): Ports {
  return {
    now: () => Date.now(),
    random: (bytes) => randomBytes(bytes),
    timer(delayMs, run) {
      const handle = setTimeout(run, delayMs)
      handle.unref()
      return () => clearTimeout(handle)
    },
    log,
  }
}
