/** What carries transactions to a bridge. The core knows no HTTP: whoever opens an instance hands these in. */

/** Where a bridge is, and whose word that is: an owner's address counts within the configured networks only. */
export interface Target {
  /** keys of the instance and of the appservice, for sinks that the bridge itself opened */
  readonly instance: number
  readonly appservice: number
  /** an http or https address without a slash at the end, or "websocket" */
  readonly url: string
  readonly hsToken: string
  readonly setBy: 'operator' | 'owner'
}

export interface Transaction {
  readonly txnId: string
  /** JSON text, the same at every attempt */
  readonly body: string
}

/**
 * How an attempt ended. `connection`: nobody was there; `timeout`: somebody was, but gave no answer; `status`: an answer other than success.
 */
export type Outcome =
  | { readonly ok: true }
  | {
      readonly ok: false
      readonly why: 'connection' | 'timeout' | 'status'
      readonly error: string
      readonly status?: number
      readonly body?: string
    }

/** Never throws. When the signal aborts the outcome no longer matters. */
export type Deliver = (target: Target, transaction: Transaction, signal: AbortSignal) => Promise<Outcome>
export type Ping = (target: Target, transactionId: string | null, signal: AbortSignal) => Promise<Outcome>

export interface Sinks {
  readonly push: Deliver
  readonly ping: Ping
  /** `fi.mau.as_sync`: for appservices whose url is "websocket" */
  readonly websocket?: Deliver
}
