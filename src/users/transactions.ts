/** Transaction ids: the same request again is answered as the first time. https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers */
import { invalidParam } from '../errors.ts'
import type { Decision } from '../stream/command.ts'
import type { Actor } from './actor.ts'
import { mayHaveSeen } from './seen-transactions.ts'

export interface TransactionId {
  /** the request's path without the transaction id: what it is unique within */
  readonly scope: string
  readonly txnId: string
}

/** Longest transaction id, in bytes: with its scope it is a key of the database. */
const longestId = 1_024

/** Runs `act` unless this transaction id was answered already; remembers the answer in the command's change set. Errors: M_INVALID_PARAM for a very long id. */
export function once<T>(decision: Decision, actor: Actor, user: number, id: TransactionId | null, act: () => T): T {
  if (id === null) return act()
  if (Buffer.byteLength(id.txnId) > longestId) throw invalidParam(`A transaction id has at most ${longestId} bytes`)
  // Scoped by device since v1.7; an appservice without a device is one itself.
  const device = actor.device ?? `as:${actor.appservice}`
  const key = { user, device, scope: id.scope, txnId: id.txnId }
  const known = mayHaveSeen(decision.instance, key) && decision.get('transaction', key)
  const deviceSince = bornAt(decision, actor)
  // Who logs in again under a device's old name counts from one again. What a deleted device sent is cleaned away with its day.
  if (known && known.createdAt >= deviceSince) return JSON.parse(known.answer) as T
  const answer = act()
  // Not before its device, though the clock may have been set back meanwhile.
  const createdAt = Math.max(decision.now, deviceSince)
  decision.put('transaction', { instance: decision.instance.key, ...key, answer: JSON.stringify(answer), createdAt })
  return answer
}

function bornAt(decision: Decision, { user, device: deviceId }: Actor): number {
  const device = user !== null && deviceId !== null ? decision.get('device', { user, deviceId }) : null
  return device?.createdAt ?? 0
}

/** Under which name an event keeps its transaction id: who sent the event reads it beside the event. */
export function sentAs(actor: Actor, txnId: string): { device: string | null; txnId: string } {
  return { device: actor.device ?? (actor.appservice === null ? null : `as:${actor.appservice}`), txnId }
}
