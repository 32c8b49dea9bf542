/** Whose address a request comes from: rate limits and the device list go by it. */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { compileNetworks } from '../src/rules/networks.ts'

/**
 * Requests and websockets alike. `X-Forwarded-For` is believed as far as trusted proxies (networks, CIDR) wrote it: from its end, up to the
 * first address that is none of theirs. Anybody may write its beginning.
 */
export function addressReader(trustedProxies: readonly string[]): (message: IncomingMessage) => string {
  const peerOf = (message: IncomingMessage) => message.socket.remoteAddress ?? ''
  if (trustedProxies.length === 0) return peerOf
  const trusts = compileNetworks(trustedProxies)
  return (message) => {
    let address = peerOf(message)
    const hops = String(message.headers['x-forwarded-for'] ?? '').split(',')
    for (let hop = hops.pop()?.trim(); hop !== undefined && isIP(hop) > 0 && trusts(address); hop = hops.pop()?.trim()) address = hop
    return address
  }
}
