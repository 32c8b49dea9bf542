/**
 * The websockets that bridges open (`fi.mau.as_sync`), one for each bridge at most: the newest. Transactions go over them, and whatever is asked of
 * a bridge that cannot be reached otherwise. Their frames are the shim's business.
 */
import { MatrixError } from '../errors.ts'
import type { JsonObject } from '../rules/values.ts'
import { type Instance, local } from '../stream/instance.ts'
import { settleMs } from './patience.ts'
import type { Outcome, Transaction } from './sinks.ts'
import { TransactionSocket } from './transaction-socket.ts'

/** Requests that one bridge may have unanswered. */
const mostRequests = 100

/** Why we close a socket. */
export type Goodbye = 'replaced' | 'notAcknowledged' | 'leaving' | 'registrationChanged'

export type Answer =
  | { readonly ok: true; readonly data: JsonObject }
  | { readonly ok: false; readonly code: string; readonly message: string }

/** A websocket, as who reads its frames hands it in. */
export interface Connection {
  /** 1: never acknowledges, so that reading a frame counts; 2: acknowledges; 3: acknowledges, and drops what comes a second time */
  readonly version: 1 | 2 | 3
  /** aborted when nothing more goes over it */
  readonly gone: AbortSignal
  /** Sends it, each time in a frame of its own. The answer comes sooner or later, or never. */
  transaction(transaction: Transaction): Promise<Answer>
  /** Asks. When the signal aborts nobody waits for the answer any more. */
  request(command: string, data: JsonObject, signal: AbortSignal): Promise<Answer>
  close(why: Goodbye): void
}

export interface RequestOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

type Listener = (appservice: number, connected: boolean) => void

/** Those of an open instance. */
export const bridgeSockets = local((instance: Instance) => new BridgeSockets(instance))

export class BridgeSockets {
  private readonly instance: Instance
  private readonly sockets = new Map<number, TransactionSocket>()
  private readonly unanswered = new Map<number, number>()
  private readonly listeners = new Set<Listener>()

  constructor(instance: Instance) {
    this.instance = instance
    instance.leaving.addEventListener('abort', () => {
      for (const socket of this.sockets.values()) socket.connection.close('leaving')
    })
  }

  isConnected(appservice: number): boolean {
    return this.sockets.has(appservice)
  }

  /**
   * Whether this bridge may open a websocket now. Errors: COM.BEEPER.SHUTTING_DOWN, COM.BEEPER.TXN_WS_NOT_ENABLED unless its registration
   * says `url: websocket`, M_UNKNOWN_TOKEN when it is gone.
   */
  async admit(appservice: number): Promise<void> {
    this.checkOpen()
    const row = await this.instance.storage.first('appservice', { key: appservice })
    if (!row) throw new MatrixError('M_UNKNOWN_TOKEN', 'Unknown access token')
    if (row.url !== 'websocket')
      throw new MatrixError(
        'COM.BEEPER.TXN_WS_NOT_ENABLED',
        'This bridge is not registered for a websocket: set its address to "websocket"',
      )
    this.checkOpen()
  }

  /** Takes a new connection. The one before it is closed after that, so that the bridge is connected throughout. */
  attach(appservice: number, connection: Connection): void {
    if (this.instance.leaving.aborted) {
      connection.close('leaving')
      return
    }
    const before = this.sockets.get(appservice)
    const socket = new TransactionSocket(connection, this.instance.ports)
    this.sockets.set(appservice, socket)
    const detach = () => {
      socket.settled = false
      if (this.sockets.get(appservice) !== socket) return
      this.sockets.delete(appservice)
      this.tell(appservice, false)
    }
    connection.gone.addEventListener('abort', detach)
    before?.connection.close('replaced')
    // As after any sign of life: its logins are not loaded yet.
    this.instance.ports.timer(settleMs, () => {
      if (connection.gone.aborted) return
      socket.settled = true
      this.tell(appservice, true)
    })
    this.tell(appservice, true)
  }

  /** Whether transactions may go to it. */
  isReady(appservice: number): boolean {
    return this.sockets.get(appservice)?.settled ?? false
  }

  /** One transaction over the socket there is; see TransactionSocket. */
  async deliver(appservice: number, transaction: Transaction, signal: AbortSignal, onTimeout: (error: string) => void): Promise<Outcome> {
    const socket = this.sockets.get(appservice)
    // It may have gone, or connected anew, since it was asked whether it is ready.
    if (!socket?.settled) return { ok: false, why: 'connection', error: 'the bridge has no websocket open' }
    return socket.deliver(transaction, signal, onTimeout)
  }

  /**
   * Sends a command to the bridge and returns the `data` of its answer. Errors: 502 FI.MAU.WS_NOT_CONNECTED without a websocket or when it closes
   * meanwhile, 504 M_CONNECTION_TIMEOUT after `timeoutMs`, 429 M_LIMIT_EXCEEDED when too many wait for this bridge, 400 M_UNKNOWN with the field
   * `code` when the bridge answers with an error.
   */
  async request(appservice: number, command: string, data: JsonObject, { timeoutMs, signal }: RequestOptions): Promise<JsonObject> {
    const socket = this.sockets.get(appservice)
    if (!socket) throw new MatrixError('FI.MAU.WS_NOT_CONNECTED', 'The bridge has no websocket open')
    const waiting = this.unanswered.get(appservice) ?? 0
    if (waiting >= mostRequests)
      throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many requests wait for this bridge', { retry_after_ms: 1_000 })
    this.unanswered.set(appservice, waiting + 1)
    try {
      const answer = await socket.request(command, data, timeoutMs, signal)
      if (answer.ok) return answer.data
      throw new MatrixError('M_UNKNOWN', answer.message, { code: answer.code }, 400)
    } finally {
      const left = this.unanswered.get(appservice)! - 1
      if (left === 0) this.unanswered.delete(appservice)
      else this.unanswered.set(appservice, left)
    }
  }

  close(appservice: number, why: Goodbye): void {
    this.sockets.get(appservice)?.connection.close(why)
  }

  /** Hears when a bridge gets or loses its websocket, and again when transactions may go over it; what comes back stops listening. */
  onChange(listener: Listener): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  private tell(appservice: number, connected: boolean): void {
    for (const listener of [...this.listeners]) listener(appservice, connected)
  }

  private checkOpen(): void {
    if (this.instance.leaving.aborted) throw new MatrixError('COM.BEEPER.SHUTTING_DOWN', 'This homeserver is shutting down')
  }
}
