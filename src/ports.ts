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

/** Random bytes are asked for at every event; one system call serves many. A byte that was given out is never given again. */
const poolBytes = 8_192

function randomPool(): (bytes: number) => Buffer {
  let pool = Buffer.alloc(0)
  return (bytes) => {
    if (bytes > poolBytes / 4) return randomBytes(bytes)
    if (pool.length < bytes) pool = randomBytes(poolBytes)
    const taken = pool.subarray(0, bytes)
    pool = pool.subarray(bytes)
    return taken
  }
}

export function systemPorts(log: Logger): Ports {
  return {
    now: () => Date.now(),
    random: randomPool(),
    timer(delayMs, run) {
      const handle = setTimeout(run, delayMs)
      handle.unref()
      return () => clearTimeout(handle)
    },
    log,
  }
}
