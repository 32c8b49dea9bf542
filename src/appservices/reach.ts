/**
 * Watches whether bridges take what they are sent. One that has left a transaction unanswered or refused for half a minute, or whose websocket
 * has been away for as long, is BRIDGE_UNREACHABLE until it answers. That is a row, so it is known after a restart; nothing is dropped for it.
 *
 * Nothing is asked of the deliveries: a transaction under way is a frozen row. There is a timer only while something waits.
 */
import type { AppserviceRow, BridgeReachRow, FrozenRow } from '../storage/tables.ts'
import type { Entry } from '../stream/bus.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { deliveryState } from './delivery.ts'
import { bridgeSockets } from './sockets.ts'

/** How long a bridge may leave a transaction unanswered, or have no websocket. */
export const patienceMs = 30_000
/** Changes of registrations and websockets in a row are looked at together. */
const gatherMs = 250
/** Any commit may be the answer of a bridge that was unreachable. */
const recoveryMs = 1_000
/** After the database did not answer. */
const againMs = 5_000

/** Begins with the deliveries of an open instance and ends when it closes. */
export function watchReach(instance: Instance): void {
  const watch = new ReachWatch(instance)
  const ends = [instance.bus.onAny((entry) => watch.hear(entry)), bridgeSockets(instance).onChange(() => watch.lookWithin(gatherMs))]
  instance.closed.addEventListener('abort', () => {
    for (const end of ends) end()
    watch.end()
  })
  watch.lookWithin(0)
}

interface Since {
  /** address and status: when one of them changes, the bridge gets its half minute anew */
  readonly setup: string
  readonly at: number
}

class ReachWatch {
  private readonly instance: Instance
  private readonly active = new Map<number, Since>()
  private readonly unconnected = new Map<number, number>()
  /** bridges that are unreachable */
  private told = new Set<number>()
  private dueAt = Number.POSITIVE_INFINITY
  private cancel: () => void = () => undefined
  private looking = false

  constructor(instance: Instance) {
    this.instance = instance
  }

  hear(entry: Entry): void {
    if (entry.kinds.has('appservice')) this.lookWithin(gatherMs)
    else if (this.told.size > 0) this.lookWithin(recoveryMs)
    else if (entry.appservices.length > 0) this.lookWithin(patienceMs)
  }

  lookWithin(ms: number): void {
    const { ports, closed } = this.instance
    const dueAt = ports.now() + ms
    if (closed.aborted || dueAt >= this.dueAt) return
    this.cancel()
    this.dueAt = dueAt
    this.cancel = ports.timer(ms, () => void this.look())
  }

  end(): void {
    this.cancel()
  }

  private async look(): Promise<void> {
    this.dueAt = Number.POSITIVE_INFINITY
    if (this.looking) return this.lookWithin(gatherMs)
    this.looking = true
    try {
      await this.judgeAll()
    } catch (error) {
      if (this.instance.closed.aborted) return
      this.instance.ports.log.warn({ err: error }, 'bridges could not be looked after')
      this.lookWithin(againMs)
    } finally {
      this.looking = false
    }
  }

  private async judgeAll(): Promise<void> {
    const { storage, ports } = this.instance
    const [bridges, frozen, reach] = await Promise.all([
      storage.find('appservice', { where: {} }),
      storage.find('frozen', { where: {} }),
      storage.find('bridgeReach', { where: { reachable: 0 } }),
    ])
    const now = ports.now()
    const frozenOf = new Map(frozen.map((row) => [row.appservice, row]))
    const reachOf = new Map(reach.map((row) => [row.appservice, row]))
    this.told = new Set(reachOf.keys())
    this.forgetOthers(new Set(bridges.map((row) => row.key)))
    for (const bridge of bridges) {
      const transaction = frozenOf.get(bridge.key) ?? null
      const since = this.waitingSince(bridge, transaction, now)
      const told = reachOf.get(bridge.key)
      // It has answered when what it is sent now is younger than our verdict.
      const lasts = told && since !== null && (this.unconnected.has(bridge.key) || transaction!.createdAt < told.since + patienceMs)
      const late = lasts || (since !== null && now - since >= patienceMs)
      if (late !== (told !== undefined)) await this.tell(bridge, late ? since : null)
      if (since !== null && !late) this.lookWithin(since + patienceMs - now)
    }
  }

  private forgetOthers(living: ReadonlySet<number>): void {
    for (const key of this.active.keys()) if (!living.has(key)) this.active.delete(key)
    for (const key of this.unconnected.keys()) if (!living.has(key)) this.unconnected.delete(key)
  }

  /** Since when it leaves us waiting; null when it does not, or when nothing is to be delivered. */
  private waitingSince({ key, url, status }: AppserviceRow, transaction: FrozenRow | null, now: number): number | null {
    const setup = `${status} ${url}`
    const known = this.active.get(key)
    const active = known?.setup === setup ? known : { setup, at: now }
    this.active.set(key, active)
    if (status !== 'active' || url !== 'websocket' || bridgeSockets(this.instance).isConnected(key)) {
      this.unconnected.delete(key)
    } else if (!this.unconnected.has(key)) this.unconnected.set(key, now)
    if (status !== 'active' || url === null) return null
    const waits = [transaction && Math.max(transaction.createdAt, active.at), this.unconnected.get(key) ?? null]
    const begun = waits.filter((at) => at !== null)
    return begun.length === 0 ? null : Math.min(...begun)
  }

  private async tell(bridge: AppserviceRow, since: number | null): Promise<void> {
    const { instance } = this
    const { lastError } = deliveryState(instance, bridge.key)
    const error = since === null ? null : this.unconnected.has(bridge.key) ? 'the bridge has no websocket open' : (lastError ?? 'no answer')
    const changed = await command(instance, (decision) => {
      if (!decision.get('appservice', { key: bridge.key })) return false
      const row: BridgeReachRow = {
        instance: instance.key,
        appservice: bridge.key,
        reachable: since === null ? 1 : 0,
        since: since ?? decision.now,
        error,
        position: decision.takePosition(),
      }
      decision.write('bridgeReach', row)
      decision.announce('bridgeState', {})
      return true
    })
    if (!changed) return
    const about = { appservice: bridge.id, error, since }
    if (since === null) {
      this.told.delete(bridge.key)
      instance.ports.log.info({ appservice: bridge.id }, 'a bridge is reachable again')
    } else {
      this.told.add(bridge.key)
      instance.ports.log.error(about, 'a bridge is unreachable: what is sent to it waits')
    }
  }
}
