/** Every HTTP request that we make goes through here: with a purpose, a rule for the address, and caps on time and size. No redirects. */
import { type LookupAddress, type LookupOptions, lookup as resolve } from 'node:dns'
import { isIP } from 'node:net'
import { Agent, buildConnector, errors, request } from 'undici'
import { compileNetworks, type Networks, publicNetwork } from '../../src/rules/networks.ts'

/** Where a request may go; checked on the address that is connected to, after the name was resolved. */
export type Reach = 'anywhere' | 'public' | { readonly networks: readonly string[] }

export interface OutboundRequest {
  /** what it is for; stands in the log */
  readonly purpose: 'appservice' | 'ping' | 'question' | 'provisioning' | 'push' | 'preview' | 'media'
  readonly reach: Reach
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'HEAD'
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  /** for the whole of it, from the connection to the last byte */
  readonly timeoutMs: number
  /** of the answer's body; what is beyond ends the request, or with `cut` is left unread */
  readonly mostBytes: number
  readonly cut?: boolean
  readonly signal?: AbortSignal
}

export interface OutboundAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

/** `refused`: the address is out of reach; `connection`: nobody there, or gone midway; `timeout`; `size`: too large; `aborted`: by us. */
export class OutboundError extends Error {
  readonly why: 'refused' | 'connection' | 'timeout' | 'size' | 'aborted'

  constructor(why: OutboundError['why'], message: string) {
    super(message)
    this.name = 'OutboundError'
    this.why = why
  }
}

/** How long a connection may take. */
const connectTimeoutMs = 10_000

/** Connections are kept per rule: one that was opened under another rule is never used. */
export class Outbound implements AsyncDisposable {
  private readonly agents = new Map<string, Agent>()

  /** Errors: OutboundError. An answer of whatever status is an answer. */
  async send(outbound: OutboundRequest): Promise<OutboundAnswer> {
    const url = URL.parse(outbound.url)
    if (!url || !/^https?:$/.test(url.protocol)) throw new OutboundError('refused', 'not an http or https address')
    const limit = AbortSignal.timeout(outbound.timeoutMs)
    const signal = outbound.signal ? AbortSignal.any([outbound.signal, limit]) : limit
    try {
      const { statusCode, headers, body } = await request(url, {
        dispatcher: this.agent(outbound.reach),
        method: outbound.method,
        headers: { 'user-agent': 'Hungryserv', ...outbound.headers },
        body: outbound.body ?? null,
        signal,
        // The limit above is for all of it.
        headersTimeout: 0,
        bodyTimeout: 0,
      })
      return { status: statusCode, headers, body: await readBody(body, outbound) }
    } catch (error) {
      throw outboundError(error, outbound, limit)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.agents.values()].map((agent) => agent.destroy()))
  }

  private agent(reach: Reach): Agent {
    const key = typeof reach === 'string' ? reach : reach.networks.join()
    let agent = this.agents.get(key)
    if (!agent) {
      agent = new Agent({ connect: connector(networksOf(reach)), pipelining: 1 })
      this.agents.set(key, agent)
    }
    return agent
  }
}

function networksOf(reach: Reach): Networks | null {
  if (reach === 'anywhere') return null
  return reach === 'public' ? publicNetwork : compileNetworks(reach.networks)
}

/** A name is resolved once, and only addresses within reach are given to the socket. */
function connector(networks: Networks | null): buildConnector.connector {
  if (!networks) return buildConnector({ timeout: connectTimeoutMs })
  const check = (address: string): OutboundError | null =>
    networks(address) ? null : new OutboundError('refused', `${address} may not be connected to`)
  type Found = (error: Error | null, address?: string | LookupAddress[], family?: number) => void
  const lookup = (hostname: string, options: LookupOptions, found: Found) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return found(error)
      const within = addresses.filter(({ address }) => networks(address))
      const [first] = within
      if (!first) return found(check(addresses[0]?.address ?? hostname) ?? new OutboundError('refused', `${hostname} has no address`))
      if (options.all) found(null, within)
      else found(null, first.address, first.family)
    })
  }
  const connect = buildConnector({ timeout: connectTimeoutMs, lookup: lookup as never })
  return (options, callback) => {
    const host = options.hostname.replace(/^\[|\]$/g, '')
    // An address that is written out is not looked up.
    const refusal = isIP(host) ? check(host) : null
    if (refusal) callback(refusal, null)
    else connect(options, callback)
  }
}

async function readBody(body: AsyncIterable<Buffer> & { destroy(): unknown }, { mostBytes, cut }: OutboundRequest): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    size += chunk.length
    if (size > mostBytes) {
      if (!cut) throw new OutboundError('size', `the answer is larger than ${mostBytes} bytes`)
      // Leaving the loop ends the connection: the rest is not wanted.
      break
    }
  }
  return Buffer.concat(chunks).subarray(0, mostBytes)
}

function outboundError(error: unknown, { signal, timeoutMs }: OutboundRequest, limit: AbortSignal): OutboundError {
  if (error instanceof OutboundError) return error
  if (signal?.aborted) return new OutboundError('aborted', 'given up')
  if (limit.aborted) return new OutboundError('timeout', `no answer within ${timeoutMs / 1_000} s`)
  if (error instanceof errors.ConnectTimeoutError)
    return new OutboundError('connection', `no connection within ${connectTimeoutMs / 1_000} s`)
  const { message, code } = error as Error & { code?: string }
  return new OutboundError('connection', message || code || 'the connection failed')
}
