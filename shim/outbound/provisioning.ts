/** Requests to the provisioning API of a bridge, at the address that its registration names. */
import type { BridgeRequest, Provision } from '../../src/appservices/sinks.ts'
import { type Outbound, type OutboundAnswer, OutboundError, type Reach } from './http.ts'

/** of an answer's body: contact lists are long */
const mostBytes = 10_485_760

export const provisioningPrefix = '/_matrix/provision/'

export function provisioningSink(outbound: Outbound, networks: readonly string[]): Provision {
  return async (target, request, signal) => {
    const reach: Reach = target.setBy === 'operator' ? 'anywhere' : { networks }
    try {
      const answer = await outbound.send({
        purpose: 'provisioning',
        reach,
        method: request.method as 'GET',
        url: `${target.url}${provisioningPrefix}${request.path}?${request.query}`,
        headers: headersOf(request),
        ...(request.body && { body: request.body }),
        timeoutMs: request.timeoutMs,
        mostBytes,
        signal,
      })
      return { ok: true, answer: { status: answer.status, contentType: contentTypeOf(answer), body: answer.body } }
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error
      return { ok: false, why: error.why === 'timeout' ? 'timeout' : 'connection', error: error.message }
    }
  }
}

/** No others: cookies and tokens of the client stay here. */
function headersOf({ secret, body, contentType }: BridgeRequest): Record<string, string> {
  return {
    authorization: `Bearer ${secret}`,
    accept: 'application/json',
    ...(body && { 'content-type': contentType ?? 'application/json' }),
  }
}

function contentTypeOf({ headers }: OutboundAnswer): string | null {
  const given = headers['content-type']
  return typeof given === 'string' ? given : null
}
