/** What we ask of a bridge over HTTP. https://spec.matrix.org/v1.19/application-service-api/#pushing-events */
import type { Outbound, OutboundAnswer, OutboundRequest, Reach } from './http.ts'
import { OutboundError } from './http.ts'
import { provisioningPrefix, provisioningSink } from './provisioning.ts'

export interface Target {
  readonly url: string
  readonly hsToken: string
  readonly setBy: 'operator' | 'owner'
}

type Outcome =
  | { readonly ok: true }
  | {
      readonly ok: false
      readonly why: 'connection' | 'timeout' | 'status'
      readonly error: string
      readonly status?: number
      readonly body?: string
    }

export interface Options {
  /** where owners may have bridges (CIDR); an operator's word counts everywhere */
  readonly networks: readonly string[]
  readonly deliveryTimeoutMs?: number
  readonly pingTimeoutMs?: number
}

/** A bridge that is handling a lot answers late, and one that is asked again meanwhile would handle it twice: slow is not dead. */
const usualDeliveryTimeoutMs = 120_000
const usualPingTimeoutMs = 30_000
/** of a failed answer's body that is shown */
const shownBytes = 1_024

const json = { 'content-type': 'application/json' }

/** The push sink and the ping, as src/appservices takes them. */
export function appserviceSinks(outbound: Outbound, options: Options) {
  const reachOf = (target: Target): Reach => (target.setBy === 'operator' ? 'anywhere' : { networks: options.networks })
  /** addresses whose bridge knows only the paths from before r0.1 */
  const legacy = new Set<string>()

  const ask = (
    target: Target,
    signal: AbortSignal,
    rest: Pick<OutboundRequest, 'purpose' | 'method' | 'body' | 'timeoutMs'> & { path: string },
  ) => {
    const { path, ...more } = rest
    // Old bridges read the token from the query, new ones from the header only.
    const url = `${target.url}${path}?access_token=${encodeURIComponent(target.hsToken)}`
    const headers = { ...json, authorization: `Bearer ${target.hsToken}` }
    return outbound.send({ ...more, url, headers, reach: reachOf(target), mostBytes: shownBytes, cut: true, signal })
  }

  const push = async (target: Target, transaction: { txnId: string; body: string }, signal: AbortSignal): Promise<Outcome> => {
    const put = (prefix: string) =>
      ask(target, signal, {
        purpose: 'appservice',
        method: 'PUT',
        path: `${prefix}/transactions/${encodeURIComponent(transaction.txnId)}`,
        body: transaction.body,
        timeoutMs: options.deliveryTimeoutMs ?? usualDeliveryTimeoutMs,
      })
    return outcomeOf(target, async () => {
      if (legacy.has(target.url)) {
        const answer = await put('')
        if (!isUnknownPath(answer)) return answer
        legacy.delete(target.url)
      }
      const answer = await put('/_matrix/app/v1')
      if (!isUnknownPath(answer)) return answer
      const older = await put('')
      if (isUnknownPath(older)) return answer
      legacy.add(target.url)
      return older
    })
  }

  const ping = (target: Target, transactionId: string | null, signal: AbortSignal): Promise<Outcome> =>
    outcomeOf(target, () =>
      ask(target, signal, {
        purpose: 'ping',
        method: 'POST',
        path: '/_matrix/app/v1/ping',
        body: JSON.stringify(transactionId === null ? {} : { transaction_id: transactionId }),
        timeoutMs: options.pingTimeoutMs ?? usualPingTimeoutMs,
      }),
    )

  return { push, ping, provision: provisioningSink(outbound, options.networks), provisioningPrefix }
}

/** "Homeservers should fall back to the older endpoints if the new ones are not found": 404 or 405. */
function isUnknownPath({ status }: OutboundAnswer): boolean {
  return status === 404 || status === 405
}

async function outcomeOf({ hsToken }: Target, run: () => Promise<OutboundAnswer>): Promise<Outcome> {
  try {
    const { status, body } = await run()
    if (status >= 200 && status < 300) return { ok: true }
    // Many say in an error what they were asked, query and all; it is logged and shown.
    const text = [hsToken, encodeURIComponent(hsToken)].reduce((shown, token) => shown.replaceAll(token, '…'), body.toString('utf8'))
    return { ok: false, why: 'status', status, body: text, error: `answered ${status} ${text}`.trim() }
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error
    return { ok: false, why: error.why === 'timeout' ? 'timeout' : 'connection', error: error.message }
  }
}
