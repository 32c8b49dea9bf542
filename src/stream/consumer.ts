/** The loop that sync, sliding sync and subscriptions share: register with the bus, read from a position, wait, read again. */
import type { Entry } from './bus.ts'
import type { Instance } from './instance.ts'

/** A waiter woken again so soon after its last answer gathers for a moment: a flood becomes a few larger answers. */
export const soonMs = 20
const gatherMs = 5

export interface Wait {
  /** key of the user whose entries wake */
  readonly user: number
  /** read up to here */
  readonly after: number
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** time of the waiter's last answer, ms; 0 for none */
  readonly lastAnswer?: number
}

/**
 * Resolves true when something newer than `after` concerns the user, false at the deadline, or when the connection or the instance is gone.
 * Nothing published between the caller's read and this call is missed: it is looked for after registering.
 */
export function waitForUser(instance: Instance, wait: Wait): Promise<boolean> {
  return new Promise((resolve) => {
    let settled = false
    const { now } = instance.ports
    const settle = (woken: boolean): void => {
      if (settled) return
      settled = true
      stopListening()
      cancel()
      wait.signal.removeEventListener('abort', stop)
      instance.leaving.removeEventListener('abort', stop)
      if (woken && wait.lastAnswer && now() - wait.lastAnswer < soonMs) instance.ports.timer(gatherMs, () => resolve(true))
      else resolve(woken)
    }
    const stop = (): void => settle(false)
    const onEntry = (entry: Entry): void => {
      if (entry.position > wait.after) settle(true)
    }
    const stopListening = instance.bus.onUser(wait.user, onEntry)
    const cancel = instance.ports.timer(wait.timeoutMs, stop)
    wait.signal.addEventListener('abort', stop)
    instance.leaving.addEventListener('abort', stop)
    if (wait.signal.aborted || instance.leaving.aborted) return stop()
    const missed = instance.bus.since(wait.after)
    if (missed === null || missed.some((entry) => entry.users.includes(wait.user))) settle(true)
  })
}
