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
  readonly questionTimeoutMs?: number
}

/** A bridge that is handling a lot answers late, and one that is asked again meanwhile would handle it twice: slow is not dead. */
const usualDeliveryTimeoutMs = 120_000
const usualPingTimeoutMs = 30_000
/** Somebody waits for the answer. */
const usualQuestionTimeoutMs = 5_000
const mostAnswerBytes = 65_536
/** of a failed answer's body that is shown */
const shownBytes = 1_024

const prefix = '/_matrix/app/v1'

const json = { 'content-type': 'application/json' }

/** The push sink, the ping and questions, as src/appservices takes them. */
export function appserviceSinks(outbound: Outbound, options: Options) {
  const reachOf = (target: Target): Reach => (target.setBy === 'operator' ? 'anywhere' : { networks: options.networks })
  /**
   * Addresses whose bridge knows only the paths from before r0.1. Learned apart: what answers a question at any path may take no transaction there.
   */
  const legacy = { push: new Set<string>(), ask: new Set<string>() }

  const send = (
    target: Target,
    signal: AbortSignal,
    rest: Pick<OutboundRequest, 'purpose' | 'method' | 'body' | 'timeoutMs'> & { path: string; mostBytes?: number },
  ) => {
    const { path, mostBytes, ...more } = rest
    // Old bridges read the token from the query, new ones from the header only.
    const url = `${target.url}${path}${path.includes('?') ? '&' : '?'}access_token=${encodeURIComponent(target.hsToken)}`
    const headers = { ...json, authorization: `Bearer ${target.hsToken}` }
    const size = mostBytes === undefined ? { mostBytes: shownBytes, cut: true } : { mostBytes }
    return outbound.send({ ...more, ...size, url, headers, reach: reachOf(target), signal })
  }

  /** At the path of today, else at the one of old; which of them the bridge knows is learned from what it answers. */
  const atKnownPath = async (
    { url }: Target,
    known: Set<string>,
    attempt: (age: 'today' | 'old') => Promise<OutboundAnswer>,
    isUnknown: (answer: OutboundAnswer) => boolean,
  ): Promise<OutboundAnswer> => {
    if (known.has(url)) {
      const answer = await attempt('old')
      if (!isUnknown(answer)) return answer
      known.delete(url)
    }
    const answer = await attempt('today')
    if (!isUnknown(answer)) return answer
    const older = await attempt('old')
    if (isUnknown(older)) return answer
    known.add(url)
    return older
  }

  const push = (target: Target, transaction: { txnId: string; body: string }, signal: AbortSignal): Promise<Outcome> => {
    const put = (age: 'today' | 'old') =>
      send(target, signal, {
        purpose: 'appservice',
        method: 'PUT',
        path: `${age === 'today' ? prefix : ''}/transactions/${encodeURIComponent(transaction.txnId)}`,
        body: transaction.body,
        timeoutMs: options.deliveryTimeoutMs ?? usualDeliveryTimeoutMs,
      })
    return outcomeOf(target, () => atKnownPath(target, legacy.push, put, isUnknownPath))
  }

  const ping = (target: Target, transactionId: string | null, signal: AbortSignal): Promise<Outcome> =>
    outcomeOf(target, () =>
      send(target, signal, {
        purpose: 'ping',
        method: 'POST',
        path: `${prefix}/ping`,
        body: JSON.stringify(transactionId === null ? {} : { transaction_id: transactionId }),
        timeoutMs: options.pingTimeoutMs ?? usualPingTimeoutMs,
      }),
    )

  const ask = async (target: Target, question: string, signal: AbortSignal): Promise<string | null> => {
    const older = question.startsWith('thirdparty/') ? '/_matrix/app/unstable' : ''
    const timeoutMs = options.questionTimeoutMs ?? usualQuestionTimeoutMs
    // For both paths together.
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
    const get = (age: 'today' | 'old') => {
      const path = `${age === 'today' ? prefix : older}/${question}`
      return send(target, inTime, { purpose: 'question', method: 'GET', path, timeoutMs, mostBytes: mostAnswerBytes })
    }
    try {
      const { status, body } = await atKnownPath(target, legacy.ask, get, isUnknownQuestion)
      return status >= 200 && status < 300 ? body.toString('utf8') : null
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error
      return null
    }
  }

  return { push, ping, ask, provision: provisioningSink(outbound, options.networks), provisioningPrefix }
}

/** "Homeservers should fall back to the older endpoints if the new ones are not found": 404 or 405. */
function isUnknownPath({ status }: OutboundAnswer): boolean {
  return status === 404 || status === 405
}

/** To a question 404 may also be the answer; that has an errcode of its own. */
function isUnknownQuestion(answer: OutboundAnswer): boolean {
  return isUnknownPath(answer) && (answer.status === 405 || !/"errcode"\s*:\s*"(?!M_UNRECOGNIZED")/.test(answer.body.toString('utf8')))
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
