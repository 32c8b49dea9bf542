/** What carries transactions to a bridge. The core knows no HTTP: whoever opens an instance hands these in. Websockets come by themselves (sockets.ts). */

/** Where a bridge is, and whose word that is: an owner's address counts within the configured networks only. */
export interface Target {
  /** an http or https address without a slash at the end */
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

/** A request to the provisioning API of a bridge. */
export interface BridgeRequest {
  readonly method: string
  /** behind the prefix of all provisioning APIs, percent-encoded and normalised */
  readonly path: string
  readonly query: string
  readonly contentType: string | null
  readonly body: Buffer | null
  readonly secret: string
  readonly timeoutMs: number
}

export interface BridgeAnswer {
  readonly status: number
  readonly contentType: string | null
  readonly body: Buffer
}

export type Provision = (
  target: Target,
  request: BridgeRequest,
  signal: AbortSignal,
) => Promise<
  | { readonly ok: true; readonly answer: BridgeAnswer }
  | { readonly ok: false; readonly why: 'connection' | 'timeout'; readonly error: string }
>

/**
 * Asks a bridge. The question is what stands behind the prefix of the API for bridges, percent-encoded, with its query. The body of a 2xx answer;
 * null for any other, and when none of at most 64 KiB came in time. Never throws.
 */
export type Ask = (target: Target, question: string, signal: AbortSignal) => Promise<string | null>

export interface Sinks {
  readonly push: Deliver
  readonly ping: Ping
  readonly ask: Ask
  readonly provision: Provision
  /** where all provisioning APIs begin */
  readonly provisioningPrefix: string
}
