/** Websocket upgrades: Fastify does not route them. */
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Host } from '../src/graphql/context.ts'
import { type Operation, prepare } from '../src/graphql/execute.ts'
import { identify } from './auth.ts'
import type { NamedEndpoint, OperationEndpoint, UpgradeEndpoint, UpgradeRequest } from './endpoint.ts'
import { corsHeaders, failureOf, unrecognized } from './errors.ts'
import { addressesOf, splitPrefix } from './paths.ts'
import type { Runtime } from './register.ts'
import { checkParams, RequestContext } from './request.ts'
import { type Check, checkOf, queryReader } from './shape.ts'

export interface Upgrade {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  readonly prefix: string | null
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string | string[]>>
}

export class Upgrades {
  private readonly routes: { readonly parts: readonly string[]; readonly take: (upgrade: Upgrade) => Promise<void> }[] = []
  private readonly log: Host['ports']['log']

  constructor(app: FastifyInstance, log: Host['ports']['log']) {
    this.log = log
    app.server.on('upgrade', (request, socket, head) => void this.take(request, socket, head))
  }

  /** `path` in the router's notation */
  add(path: string, take: (upgrade: Upgrade) => Promise<void>): void {
    this.routes.push({ parts: path.split('/'), take })
  }

  private async take(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // Without a listener an error of the socket would end the process.
    socket.on('error', () => socket.destroy())
    try {
      const { prefix, url } = splitPrefix(request.url ?? '/')
      const [path = '', search = ''] = url.split('?', 2)
      const parts = path.split('/')
      const route = this.routes.find((candidate) => matches(candidate.parts, parts))
      if (!route) throw unrecognized()
      const params: Record<string, string> = {}
      route.parts.forEach((part, i) => {
        if (part.startsWith(':')) params[part.slice(1)] = decode(parts[i]!)
      })
      await route.take({ request, socket, head, prefix, params, query: readSearch(search) })
    } catch (error) {
      const failure = failureOf(error)
      if (failure.unexpected) this.log.error({ err: error }, 'websocket upgrade failed')
      refuse(socket, failure.status, failure.headers, failure.body)
    }
  }
}

/** The table's upgrade endpoints. */
export function registerUpgrades(upgrades: Upgrades, endpoints: readonly NamedEndpoint[], runtime: Runtime): void {
  for (const endpoint of endpoints) {
    if (endpoint.kind !== 'upgrade') continue
    for (const address of addressesOf(endpoint)) upgrades.add(address, (upgrade) => run(endpoint, upgrade, runtime))
  }
}

async function run(endpoint: UpgradeEndpoint, upgrade: Upgrade, runtime: Runtime): Promise<void> {
  const { host, addressOf } = runtime
  const { request, socket, head, query, params } = upgrade
  checkParams(params)
  const ip = addressOf(request)
  const identity = await identify(
    host,
    { auth: endpoint.auth, puppet: endpoint.puppet, locked: endpoint.locked, named: false },
    request.headers,
    query,
    upgrade.prefix,
    ip,
  )
  const context = new RequestContext(host, ip, request.headers['user-agent'])
  context.instance = identity!.instance
  context.actor = identity!.actor
  socket.once('close', () => context.close())
  const perform = performer(context, request.headers, runtime)
  await endpoint.upgrade({ params, query: queryReader(endpoint.query)(query), context, request, socket, head, perform })
}

/** Prepared when a socket first needs them. */
const prepared = new WeakMap<OperationEndpoint, { readonly operation: Operation; readonly check: Check }>()

function performer(socket: RequestContext, headers: IncomingMessage['headers'], runtime: Runtime): UpgradeRequest['perform'] {
  return async (endpoint, body) => {
    let ready = prepared.get(endpoint)
    if (!ready) {
      ready = { operation: prepare(runtime.schema, endpoint.document.source, runtime.engine), check: checkOf(endpoint.body) }
      prepared.set(endpoint, ready)
    }
    ready.check(body, 'data')
    // A context each: what is loaded for one request is not remembered for the next.
    const context = new RequestContext(socket.host, socket.ip, socket.userAgent ?? undefined)
    context.instance = socket.instance
    context.actor = socket.actor
    context.hold(await runtime.admission.enter(context.instance, () => socket.signal))
    try {
      const request = { params: {}, query: {}, body, headers, context }
      return endpoint.response(await ready.operation.run(context, endpoint.variables(request)), request)
    } finally {
      context.close()
    }
  }
}

function matches(pattern: readonly string[], parts: readonly string[]): boolean {
  return pattern.length === parts.length && pattern.every((part, i) => part === parts[i] || (part.startsWith(':') && parts[i] !== ''))
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw unrecognized()
  }
}

export function readSearch(search: string): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = Object.create(null)
  for (const [name, value] of new URLSearchParams(search)) {
    const earlier = query[name]
    query[name] = earlier === undefined ? value : [...(Array.isArray(earlier) ? earlier : [earlier]), value]
  }
  return query
}

function refuse(socket: Duplex, status: number, headers: Readonly<Record<string, string>>, body: object): void {
  if (socket.destroyed || !socket.writable) return
  const text = JSON.stringify(body)
  const all = {
    ...corsHeaders,
    ...headers,
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(text)),
    connection: 'close',
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${text}`)
}
