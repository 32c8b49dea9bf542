/**
 * Delivery to the bridges of an open instance: a loop per appservice, a consumer of the log. One transaction at a time, in order, at least
 * once. It holds nothing that matters: cursor, interest and the frozen transaction are rows.
 */
import { typingIn } from '../rooms/typing.ts'
import type { JsonObject } from '../rules/values.ts'
import type { AppserviceRow, FrozenRow } from '../storage/tables.ts'
import type { Entry } from '../stream/bus.ts'
import { type Instance, local } from '../stream/instance.ts'
import { hasDevicesInTransactions } from './encryption.ts'
import { Patience } from './patience.ts'
import type { Outcome, Sinks, Target, Transaction } from './sinks.ts'
import { type BridgeSockets, bridgeSockets } from './sockets.ts'
import { acknowledge, freezeNext, mostTyping, type Typing, transactionOf } from './transactions.ts'

/** What is known of a bridge's deliveries since the instance was opened. */
export interface DeliveryState {
  readonly lastError: string | null
  readonly lastErrorAt: number | null
  /** attempts of the transaction under way that failed */
  readonly failures: number
}

/** After the database did not answer. */
const againMs = 5_000

interface Deliveries {
  sinks: Sinks | null
  readonly loops: Map<number, Delivery>
}

const deliveriesOf = local<Deliveries>(() => ({ sinks: null, loops: new Map() }))

/** Begins all deliveries of an instance that was opened; they end when it closes. */
export function startDeliveries(instance: Instance, sinks: Sinks): void {
  const deliveries = deliveriesOf(instance)
  deliveries.sinks = sinks
  const { loops } = deliveries
  bridgeSockets(instance).onChange((appservice) => loops.get(appservice)?.patience.end())
  void begin(instance)
}

async function begin(instance: Instance): Promise<void> {
  try {
    for (const { key } of await instance.storage.find('appservice', { where: {} })) appserviceChanged(instance, key)
  } catch (error) {
    if (instance.closed.aborted) return
    instance.ports.log.warn({ err: error }, 'deliveries could not begin')
    instance.ports.timer(againMs, () => void begin(instance))
  }
}

/** An appservice was made, changed or removed. Nothing happens while deliveries rest because the instance is suspended. */
export function appserviceChanged(instance: Instance, appservice: number): void {
  const { sinks, loops } = deliveriesOf(instance)
  if (!sinks || instance.closed.aborted) return
  const loop = loops.get(appservice)
  if (loop) loop.changed()
  else {
    const delivery = new Delivery(instance, appservice, sinks)
    loops.set(appservice, delivery)
    void delivery.run().finally(() => loops.delete(appservice))
  }
}

/** The bridge showed a sign of life. */
export function appserviceAlive(instance: Instance, appservice: number): void {
  deliveriesOf(instance).loops.get(appservice)?.patience.signOfLife()
}

export function deliveryState(instance: Instance, appservice: number): DeliveryState {
  return deliveriesOf(instance).loops.get(appservice)?.state ?? { lastError: null, lastErrorAt: null, failures: 0 }
}

export function sinksOf(instance: Instance): Sinks | null {
  return deliveriesOf(instance).sinks
}

export function targetOf(row: AppserviceRow & { url: string }): Target {
  return {
    url: row.url,
    hsToken: row.hsToken,
    setBy: row.setBy === 'operator' ? 'operator' : 'owner',
  }
}

/** One attempt, or the wait for one. */
interface Attempt {
  readonly ends: AbortController
  /** what it was made with; null before it is made */
  way: string | null
}

/**
 * While this stays the same an attempt goes on, whatever else is changed: cut off and made again, a bridge that handles it slowly would handle it
 * twice. A paused websocket is sent nothing more; its answer counts later.
 */
function wayOf({ url, setBy, hsToken, status }: AppserviceRow): string {
  return url === 'websocket' ? `websocket ${status}` : JSON.stringify([url, setBy, hsToken])
}

class Delivery {
  readonly patience: Patience
  state: DeliveryState = { lastError: null, lastErrorAt: null, failures: 0 }
  private readonly instance: Instance
  private readonly key: number
  private readonly sinks: Sinks
  private readonly sockets: BridgeSockets
  /** rooms whose typing may differ from what the bridge was told */
  private readonly typingRooms = new Set<number>()
  private readonly toldTyping = new Map<number, string>()
  private toldCounts = false
  private attempt: Attempt = { ends: new AbortController(), way: null }

  constructor(instance: Instance, key: number, sinks: Sinks) {
    this.instance = instance
    this.key = key
    this.sinks = sinks
    this.sockets = bridgeSockets(instance)
    this.patience = new Patience(instance.ports)
  }

  /** Looks at the row again: an attempt at an old address or with an old token ends, and so does a wait. */
  changed(): void {
    this.patience.end()
    void this.endOutdated(this.attempt)
  }

  private async endOutdated(attempt: Attempt): Promise<void> {
    const row = await this.instance.storage.first('appservice', { key: this.key }).catch(() => null)
    if (!row || attempt.way !== wayOf(row)) attempt.ends.abort()
  }

  /** Ends when the instance closes or the appservice is removed. */
  async run(): Promise<void> {
    const { instance } = this
    const stopListening = instance.bus.onAppservice(this.key, (entry) => this.hear(entry))
    const close = () => {
      this.attempt.ends.abort()
      this.patience.end()
    }
    instance.closed.addEventListener('abort', close)
    try {
      while (!instance.closed.aborted) {
        try {
          if (!(await this.step())) return
        } catch (error) {
          if (instance.closed.aborted) return
          // A commit failed, or the database is away: what stands there is looked at again.
          instance.ports.log.warn({ err: error, appservice: this.key }, 'a delivery was interrupted')
          await this.patience.afterFailure('status')
        }
      }
    } finally {
      stopListening()
      instance.closed.removeEventListener('abort', close)
      this.patience.end()
    }
  }

  /** One transaction, or one wait. False when the appservice is gone. */
  private async step(): Promise<boolean> {
    const { instance, key, patience } = this
    patience.begin()
    const attempt: Attempt = { ends: new AbortController(), way: null }
    this.attempt = attempt
    const [row, standing] = await Promise.all([
      instance.storage.first('appservice', { key }),
      instance.storage.first('frozen', { appservice: key }),
    ])
    if (row?.url !== 'websocket') this.sockets.close(key, 'registrationChanged')
    if (!row) return false
    attempt.way = wayOf(row)
    // Nothing is queued then when keys are handed out.
    if (row.url === null) this.toldCounts = false
    const deliver = this.sinkOf(row)
    if (!deliver) {
      await patience.untilWoken()
      return true
    }
    const frozen = standing ?? (await this.freeze(row))
    if (!frozen) {
      // Where somebody typed nothing may have changed since.
      if (this.typingRooms.size === 0) await patience.untilWoken()
      return true
    }
    const transaction = await transactionOf(instance, frozen)
    if (transaction === 'moving') {
      await patience.untilWoken()
      return true
    }
    const outcome: Outcome = transaction ? await deliver(transaction) : { ok: true }
    if (instance.closed.aborted) return true
    if (outcome.ok) {
      await acknowledge(instance, row, frozen)
      patience.success()
      if (this.state.failures > 0) this.state = { ...this.state, failures: 0 }
    } else await this.fail(row, outcome)
    return true
  }

  /**
   * The first one since the instance was opened, or since the registration wants it and says where to, says what all devices have left: what
   * the bridge knows may be old.
   */
  private async freeze(row: AppserviceRow): Promise<FrozenRow | null> {
    const frozen = await freezeNext(this.instance, row, { typing: this.takeTyping(row), allCounts: !this.toldCounts })
    if (frozen) this.toldCounts = hasDevicesInTransactions(row)
    return frozen
  }

  /** How the bridge is reached now; null while it is paused, wants nothing, or has no websocket open. */
  private sinkOf(row: AppserviceRow): ((transaction: Transaction) => Promise<Outcome>) | null {
    const { key, url } = row
    const { signal } = this.attempt.ends
    if (row.status !== 'active' || url === null) return null
    if (url !== 'websocket') return (transaction) => this.sinks.push(targetOf({ ...row, url }), transaction, signal)
    if (!this.sockets.isReady(key)) return null
    return (transaction) => this.sockets.deliver(key, transaction, signal, (error) => this.note(row, error))
  }

  private async fail(row: AppserviceRow, outcome: Outcome & { ok: false }): Promise<void> {
    // Given up because the registration changed: at once again, by what it says now.
    if (this.attempt.ends.signal.aborted) return
    this.note(row, outcome.error)
    // Its next websocket is the sign of life; until then there is nobody to try.
    if (row.url === 'websocket' && outcome.why === 'connection') return
    await this.patience.afterFailure(outcome.why)
  }

  private note(row: AppserviceRow, error: string): void {
    const { ports } = this.instance
    const failures = this.state.failures + 1
    this.state = { lastError: error, lastErrorAt: ports.now(), failures }
    ports.log[failures === 1 ? 'warn' : 'debug']({ appservice: row.id, error, failures }, 'a transaction was not delivered')
  }

  private hear(entry: Entry): void {
    if (entry.kinds.has('typing')) for (const room of entry.rooms) this.typingRooms.add(room)
    this.patience.wake()
  }

  /** Who is typing where that has changed for the bridge. It is lost when the process ends; the next change tells all of it. */
  private takeTyping(row: AppserviceRow): Typing[] {
    if (this.typingRooms.size === 0) return []
    const rooms = [...this.typingRooms].slice(0, mostTyping)
    for (const room of rooms) this.typingRooms.delete(room)
    if ((JSON.parse(row.registration) as JsonObject)['receive_ephemeral'] !== true) return []
    return rooms.flatMap((room) => {
      const userIds = typingIn(this.instance, room)
      const text = userIds.join()
      if ((this.toldTyping.get(room) ?? '') === text) return []
      if (text === '') this.toldTyping.delete(room)
      else this.toldTyping.set(room, text)
      return [{ room, userIds }]
    })
  }
}
