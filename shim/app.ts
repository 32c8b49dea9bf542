/** The HTTP server: one Fastify for both faces, with the shim's endpoints on it. src/server.ts adds GraphQL and starts it. */
import { type IncomingMessage, type ServerOptions, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { GraphQLSchema } from 'graphql'
import { invalidParam, MatrixError, unavailable } from '../src/errors.ts'
import type { Context, Host, Instance } from '../src/graphql/context.ts'
import type { Engine } from '../src/graphql/execute.ts'
import { subscriberOf } from '../src/rules/networks.ts'
import { Admission, RateLimits } from './admission.ts'
import { identify } from './auth.ts'
import { readBody } from './body.ts'
import type { NamedEndpoint } from './endpoint.ts'
import { corsHeaders, failureOf, preflightHeaders, unrecognized, wrongMethod } from './errors.ts'
import { knownMethods, splitPrefix } from './paths.ts'
import { addressReader } from './peer-address.ts'
import { loginLine, type Runtime, registerEndpoints, takeAnyContentType } from './register.ts'
import { registerUpgrades, Upgrades } from './upgrade.ts'

export interface AppOptions {
  readonly host: Host
  readonly schema: GraphQLSchema
  readonly endpoints: readonly NamedEndpoint[]
  readonly engine?: Engine
  /** called for every answered request, for the metrics; `name` is null where no endpoint took it */
  readonly onDone?: (done: { name: string | null; method: string; status: number; seconds: number }) => void
}

export interface App {
  readonly fastify: FastifyInstance
  readonly runtime: Runtime
  readonly upgrades: Upgrades
  /** for the GraphQL face: the same tokens, lines and rates */
  readonly door: Door
}

export interface Door {
  prefixOf(request: IncomingMessage): string | null
  addressOf(request: IncomingMessage): string
  readBody(payload: IncomingMessage, mostBytes: number): Promise<Buffer>
  identify(
    headers: IncomingMessage['headers'],
    query: Query,
    prefix: string | null,
    ip: string,
  ): Promise<Pick<Context, 'instance' | 'actor'>>
  charge(who: Pick<Context, 'instance' | 'actor' | 'ip'>, fields: readonly string[]): void
  enter(instance: Instance | null, signal: AbortSignal): Promise<() => void>
}

type Query = Readonly<Record<string, string | string[] | undefined>>

const mostParamLength = 2_048

export function createApp(options: AppOptions): App {
  const { host } = options
  const { log } = host.ports
  const prefixes = new WeakMap<IncomingMessage, string>()
  const requestIds = requestIdsFrom(host)
  const fastify = Fastify({
    logger: false,
    exposeHeadRoutes: false,
    genReqId: requestIds,
    requestIdHeader: false,
    return503OnClosing: false,
    routerOptions: { maxParamLength: mostParamLength },
    // Requests that offer another protocol (h2c) are ordinary requests.
    http: { shouldUpgradeCallback: (request: IncomingMessage) => request.headers.upgrade?.toLowerCase() === 'websocket' } as ServerOptions,
    rewriteUrl(request) {
      const { prefix, url } = splitPrefix(request.url ?? '/')
      if (prefix !== null) prefixes.set(request, prefix)
      return url
    },
    frameworkErrors: (error, request, reply) => fail(error, request, reply),
    clientErrorHandler: refuseBytes,
  })
  const runtime: Runtime = {
    host,
    schema: options.schema,
    engine: options.engine ?? 'graphql-jit',
    admission: new Admission(),
    rateLimits: new RateLimits(),
    rateClasses: new Map(),
    prefixOf: (request) => prefixes.get(request) ?? null,
    addressOf: addressReader(host.config.trustedProxies),
  }

  function fail(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const failure = failureOf(error)
    if (failure.unexpected)
      log.error({ err: error, requestId: request.id, method: request.method, path: pathOf(request) }, 'request failed')
    request.context?.release()
    reply.removeHeader('content-length').removeHeader('cache-control')
    return reply
      .code(failure.status)
      .headers({ ...corsHeaders, ...failure.headers, 'x-request-id': request.id, 'content-type': 'application/json' })
      .send(JSON.stringify(failure.body))
  }

  let closing = false
  let underWay = 0
  fastify.addHook('preClose', async () => {
    closing = true
    drain(fastify, () => underWay === 0, host.ports)
  })
  fastify.addHook('onRequest', (request, reply, done) => {
    // "OPTIONS must not run endpoint logic or auth."
    if (request.method === 'OPTIONS') return reply.headers(preflightHeaders).code(204).send()
    reply.headers(corsHeaders)
    if (request.is404) takeAnyContentType(request)
    underWay++
    reply.raw.once('close', () => underWay--)
    if (closing) {
      reply.header('connection', 'close')
      return done(unavailable('This homeserver is closing') as Error as never)
    }
    done()
  })
  const { onDone } = options
  fastify.addHook('onResponse', (request, reply, done) => {
    const name = request.routeOptions.config.endpoint?.name ?? null
    const { statusCode: status, elapsedTime } = reply
    onDone?.({ name, method: request.method, status, seconds: elapsedTime / 1_000 })
    if (log.isLevelEnabled('debug')) {
      log.debug(
        { requestId: request.id, method: request.method, path: pathOf(request), name, status, ms: Math.round(elapsedTime * 10) / 10 },
        'request',
      )
    }
    done()
  })
  fastify.setErrorHandler((error, request, reply) => fail(error, request, reply))
  const methodsOf = knownMethods(options.endpoints)
  /** GraphQL, and what operators ask */
  const besideTable = new Map<string, string[]>()
  fastify.addHook('onRoute', ({ url, method, config }) => {
    if (!config?.endpoint) besideTable.set(url, [...(besideTable.get(url) ?? []), ...[method].flat()])
  })
  fastify.setNotFoundHandler((request, reply) => {
    const path = pathOf(request)
    const ofTable = methodsOf(path)
    const methods = ofTable.length > 0 ? ofTable : (besideTable.get(path) ?? [])
    if (methods.length === 0) return fail(unrecognized(), request, reply)
    if (methods.includes(request.method))
      return fail(invalidParam(`A part of the path is longer than ${mostParamLength} characters`), request, reply)
    return fail(wrongMethod(), request, reply.header('allow', methods.join(', ')))
  })

  const operations = registerEndpoints(fastify, options.endpoints, runtime).filter(({ name }) => warmed.has(name))
  const upgrades = new Upgrades(fastify, log)
  registerUpgrades(upgrades, options.endpoints, runtime)
  // After the first answers have gone out, one document per turn of the loop.
  fastify.addHook('onListen', async () => {
    const warmNext = () => {
      const operation = operations.shift()
      if (!operation || closing) return
      operation.warm()
      setImmediate(warmNext)
    }
    setImmediate(warmNext)
  })
  return { fastify, runtime, upgrades, door: doorOf(runtime) }
}

/** What somebody waits for all day is compiled ahead; all of it would take 20 MB, most of which nobody ever asks for. */
const warmed: ReadonlySet<string> = new Set([
  'CreateRoom',
  'JoinRoom',
  'Messages',
  'SendMessage',
  'SendReceipt',
  'SendState',
  'SetReadMarkers',
  'SetTyping',
  'Sync',
])

/** What Node could not read as HTTP has no request to answer: bytes go to the socket. */
function refuseBytes(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const refusal =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new MatrixError('M_TOO_LARGE', 'The headers are too large', {}, 431)
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new MatrixError('M_UNKNOWN', 'The request did not come to its end', {}, 408)
        : new MatrixError('M_UNRECOGNIZED', 'This is not HTTP', {}, 400)
  const { status, body } = failureOf(refusal)
  const text = JSON.stringify(body)
  const headers = { ...corsHeaders, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), connection: 'close' }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}\r\n\r\n${text}`)
}

/** Requests that take longer than this to end are cut off when the server stops. */
const drainMs = 10_000

/** Node waits for connections that never sent a request, which browsers hold ready: they are closed as soon as nothing is under way. */
function drain(fastify: FastifyInstance, isIdle: () => boolean, ports: Host['ports']): void {
  const deadline = ports.now() + drainMs
  const look = () => {
    if (isIdle() || ports.now() >= deadline) fastify.server.closeAllConnections()
    cancel = ports.timer(20, look)
  }
  let cancel = ports.timer(0, look)
  fastify.server.once('close', () => cancel())
}

/** Without the query, which may hold a token. */
function pathOf(request: FastifyRequest): string {
  const { url } = request
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

function requestIdsFrom(host: Host): () => string {
  const start = host.ports.random(4).toString('hex')
  let count = 0
  return () => `${start}-${(++count).toString(36)}`
}

function doorOf({ host, admission, rateLimits, rateClasses, prefixOf, addressOf }: Runtime): Door {
  return {
    prefixOf,
    addressOf,
    readBody: (payload, mostBytes) => readBody(payload, mostBytes, host.ports.timer),
    async identify(headers, query, prefix, ip) {
      // What an appservice may do as the owner, and what is left to who is locked, is said field by field in the schema.
      const asks = { auth: 'accessTokenOptional', puppet: true, locked: true, named: false } as const
      const identity = (await identify(host, asks, headers, query, prefix, ip))!
      const { actor, instance } = identity
      if (host.config.rateLimits && (actor?.appservice ?? null) === null)
        rateLimits.check(instance, actor?.userId ?? subscriberOf(ip), 'usual', host.ports.now())
      return identity
    },
    charge({ instance, actor, ip }, fields) {
      if (!host.config.rateLimits || (actor?.appservice ?? null) !== null) return
      let isFirst = true
      for (const field of fields) {
        const rateClass = rateClasses.get(field) ?? 'usual'
        // One was counted with the request.
        if (rateClass !== 'usual' || !isFirst) rateLimits.check(instance, actor?.userId ?? subscriberOf(ip), rateClass, host.ports.now())
        if (rateClass === 'usual') isFirst = false
      }
    },
    enter: (instance, signal) => admission.enter(instance ?? loginLine, () => signal),
  }
}
