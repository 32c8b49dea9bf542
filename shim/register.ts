/** Makes the table's endpoints answer: line, token, rate, body, operation, answer. */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { GraphQLSchema } from 'graphql'
import { MatrixError } from '../src/errors.ts'
import { type Host, requireActive } from '../src/graphql/context.ts'
import { type Engine, flow, type Operation, type Piece, prepare, writeJson } from '../src/graphql/execute.ts'
import { subscriberOf } from '../src/rules/networks.ts'
import type { Admission, RateLimits } from './admission.ts'
import { identify, readTimestamp } from './auth.ts'
import { anonymousBodyBytes, readBody } from './body.ts'
import type { Answer, EndpointRequest, FixedEndpoint, HandlerEndpoint, NamedEndpoint, OperationEndpoint, RateClass } from './endpoint.ts'
import { addressesOf } from './paths.ts'
import { checkParams, RequestContext } from './request.ts'
import { checkOf, holdsEventContent, needsNothing, queryReader } from './shape.ts'
import { readJson } from './wire.ts'

export interface Runtime {
  readonly host: Host
  readonly schema: GraphQLSchema
  readonly engine: Engine
  readonly admission: Admission
  readonly rateLimits: RateLimits
  /** how often a root field may be asked for, by the endpoints that do */
  readonly rateClasses: Map<string, RateClass>
  /** the instance named by `/_hungryserv/{instance}/…`, which the router does not see */
  prefixOf(request: IncomingMessage): string | null
  addressOf(request: IncomingMessage): string
}

declare module 'fastify' {
  interface FastifyRequest {
    /** null before the first hook, and where no endpoint took the request */
    context: RequestContext | null
  }
  interface FastifyContextConfig {
    endpoint?: NamedEndpoint
  }
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
type Query = Readonly<Record<string, string | string[]>>

/** Requests without a token and a prefix stand here; those that cost much (login, register, anything by GraphQL) in a line of their own. */
const anonymousLine = {}
export const loginLine = {}

/** Registers them all, and returns their operations, to be warmed. A document that does not fit the schema throws. */
export function registerEndpoints(app: FastifyInstance, endpoints: readonly NamedEndpoint[], runtime: Runtime): Operation[] {
  const operations: Operation[] = []
  app.decorateRequest('context', null)
  // Any content type is taken, for clients send all kinds; nothing is parsed here but gathered up to the limit.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (request: FastifyRequest, payload: IncomingMessage) => {
    const { bodyLimit } = request.routeOptions
    const anonymous = request.context !== null && request.context.actor === null
    return readBody(payload, anonymous ? Math.min(bodyLimit, anonymousBodyBytes) : bodyLimit, runtime.host.ports.timer)
  })
  for (const endpoint of endpoints) {
    if (endpoint.kind === 'operation') {
      const operation = prepare(runtime.schema, endpoint.document.source, runtime.engine)
      checkFlags(endpoint, operation)
      if (endpoint.rateLimited) for (const field of operation.fields) runtime.rateClasses.set(field, endpoint.rateLimited)
      operations.push(operation)
      addRoutes(app, endpoint, runtime, operationHandler(endpoint, operation, runtime))
    } else if (endpoint.kind === 'fixed') {
      addRoutes(app, endpoint, runtime, fixedHandler(endpoint))
    } else if (endpoint.kind === 'upgrade') addRoutes(app, endpoint, runtime, refuseWithoutUpgrade)
  }
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, _body, done) => done(null))
    for (const endpoint of endpoints) {
      if (endpoint.kind === 'handler') addRoutes(scope, endpoint, runtime, ownHandler(endpoint))
    }
  })
  return operations
}

/** Both faces must agree on what an appservice may do as the owner, and what is left to who is locked. */
function checkFlags(endpoint: NamedEndpoint, operation: Operation): void {
  if (endpoint.auth === 'none') return
  for (const flag of ['puppet', 'locked'] as const) {
    if (operation[flag] === endpoint[flag]) continue
    throw new Error(`${endpoint.name}: ${flag} is ${endpoint[flag]}, but ${operation.name} says ${operation[flag]}`)
  }
}

function addRoutes(app: FastifyInstance, endpoint: NamedEndpoint, runtime: Runtime, handle: Handler): void {
  const names = [...endpoint.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!)
  const options = { bodyLimit: endpoint.kind === 'operation' ? endpoint.bodyLimitBytes : 65_536, config: { endpoint } }
  const open = endpoint.kind === 'fixed' && endpoint.auth === 'none'
  for (const url of addressesOf(endpoint)) {
    const missing = names.filter((name) => !url.includes(`:${name}`))
    const handler: Handler =
      missing.length === 0
        ? handle
        : (request, reply) => {
            for (const name of missing) (request.params as Record<string, string>)[name] = ''
            return handle(request, reply)
          }
    if (open) app.route({ method: endpoint.method, url, ...options, onRequest: async (request) => takeAnyContentType(request), handler })
    else app.route({ method: endpoint.method, url, ...options, onRequest: admit(endpoint, runtime), handler })
  }
}

/**
 * Before the body is read: who asks, at whose homeserver, not too often, and then a place in that homeserver's line. Whose body anybody may
 * send without a token takes its place when it is there: bodies that never end would keep all places.
 */
function admit(endpoint: NamedEndpoint, runtime: Runtime): Handler {
  const { host, admission, rateLimits } = runtime
  const named = endpoint.kind === 'operation' && endpoint.owner !== null
  const asks = { auth: endpoint.auth, puppet: endpoint.puppet, locked: endpoint.locked, named }
  return async (request, reply) => {
    const context = new RequestContext(host, runtime.addressOf(request.raw), request.headers['user-agent'])
    request.context = context
    reply.raw.once('close', () => context.close())
    const query = request.query as Query
    const prefix = runtime.prefixOf(request.raw)
    context.prefixed = prefix !== null
    const assertion = endpoint.namesUser ? { ...query, user_id: [query['user_id'] ?? []].flat().slice(0, -1) } : query
    const identity = await identify(host, asks, request.headers, assertion, prefix, context.ip)
    if (identity) {
      context.instance = identity.instance
      context.actor = identity.actor
      context.ts = readTimestamp(query, identity.actor)
      checkRate(context, endpoint, rateLimits)
    }
    if (endpoint.kind !== 'operation' || context.actor) await enterLine(context, named, admission)
    context.contentType = request.headers['content-type'] ?? null
    takeAnyContentType(request)
  }
}

async function enterLine(context: RequestContext, named: boolean, admission: Admission): Promise<void> {
  const line = context.actor || context.prefixed ? context.instance : named ? loginLine : anonymousLine
  context.hold(await admission.enter(line, () => context.signal))
}

/** Fastify refuses content types that it cannot read; Matrix clients send what they like. */
export function takeAnyContentType(request: FastifyRequest): void {
  if (request.raw.headers['content-type']) request.raw.headers['content-type'] = 'application/json'
}

/** Appservices are exempt. */
function checkRate(context: RequestContext, endpoint: NamedEndpoint, rateLimits: RateLimits): void {
  if (!endpoint.rateLimited || !context.host.config.rateLimits || (context.actor?.appservice ?? null) !== null) return
  rateLimits.check(context.instance, context.actor?.userId ?? subscriberOf(context.ip), endpoint.rateLimited, context.host.ports.now())
}

function operationHandler(endpoint: OperationEndpoint & NamedEndpoint, operation: Operation, runtime: Runtime): Handler {
  const readQuery = lazily(() => queryReader(endpoint.query))
  const checkBody = lazily(() => checkOf(endpoint.body))
  const emptyBody = needsNothing(endpoint.body) ? {} : null
  const strict = endpoint.strict ?? holdsEventContent(endpoint.body)
  const hasBody = endpoint.method !== 'GET' && endpoint.method !== 'HEAD'
  return async (request, reply) => {
    const context = request.context!
    if (!context.actor) await enterLine(context, endpoint.owner !== null, runtime.admission)
    const query = readQuery()(request.query as Query)
    const params = request.params as Readonly<Record<string, string>>
    let body: unknown = {}
    if (hasBody) {
      const bytes = request.body as Buffer | undefined
      if (bytes && bytes.length > 0) body = readJson(bytes, strict)
      else if (emptyBody) body = emptyBody
      else throw new MatrixError('M_NOT_JSON', 'A JSON body is needed')
      checkBody()(body, 'body')
    }
    const read: EndpointRequest = { params, query, body, headers: request.headers, context }
    if (!context.hasInstance) await settleOwner(endpoint, read, context, runtime)
    if (endpoint.waits) context.release()
    const data = await operation.run(context, endpoint.variables(read))
    const status = typeof endpoint.status === 'function' ? endpoint.status(data, read) : endpoint.status
    const headers = typeof endpoint.headers === 'function' ? endpoint.headers(data, read) : endpoint.headers
    return answer(reply, context, { status, headers, body: endpoint.response(data, read) })
  }
}

/** Login and register: the owner directory, else the default instance; then that homeserver's own line. */
async function settleOwner(
  endpoint: OperationEndpoint & NamedEndpoint,
  read: EndpointRequest,
  context: RequestContext,
  runtime: Runtime,
): Promise<void> {
  const { host } = runtime
  const owner = endpoint.owner?.(read)
  const found = owner && (await host.byOwner(owner.localpart, owner.domain ?? host.config.userDomain))
  context.instance = requireActive(host, found ?? (await host.defaultInstance()))
  checkRate(context, endpoint, runtime.rateLimits)
  // Whoever keeps a homeserver busy delays the logins at that one, not those of others: they do not wait behind it.
  context.release()
  context.hold(await runtime.admission.enter(context.instance, () => context.signal))
}

function fixedHandler(endpoint: FixedEndpoint): Handler {
  const text = JSON.stringify(endpoint.body)
  return async (_request, reply) => sendText(reply.code(endpoint.status), text)
}

/** shim/upgrade.ts takes the websockets. */
async function refuseWithoutUpgrade(_request: FastifyRequest, reply: FastifyReply): Promise<never> {
  reply.header('upgrade', 'websocket')
  throw new MatrixError('M_UNRECOGNIZED', 'This address takes websockets only', {}, 426)
}

function ownHandler(endpoint: HandlerEndpoint): Handler {
  const readQuery = lazily(() => queryReader(endpoint.query))
  return async (request, reply) => {
    const context = request.context!
    const params = request.params as Readonly<Record<string, string>>
    checkParams(params)
    const length = request.headers['content-length']
    const contentLength = length === undefined ? null : Number(length)
    if (contentLength !== null && contentLength > endpoint.bodyLimitBytes)
      throw new MatrixError('M_TOO_LARGE', 'The request body is too large')
    if (endpoint.waits) context.release()
    const url = request.raw.url ?? ''
    const given = await endpoint.handle({
      method: request.method,
      params,
      query: readQuery()(request.query as Query),
      rawPath: url.split('?', 1)[0]!,
      rawQuery: url.includes('?') ? url.slice(url.indexOf('?') + 1) : '',
      headers: request.headers,
      contentType: context.contentType,
      contentLength,
      body: request.raw,
      context,
    })
    return answer(reply, context, given)
  }
}

async function answer(reply: FastifyReply, context: RequestContext, given: Answer): Promise<FastifyReply> {
  reply.code(given.status ?? 200)
  if (given.headers) reply.headers(given.headers)
  const { body } = given
  if (body instanceof Readable || Buffer.isBuffer(body) || typeof body === 'string') {
    context.release()
    return reply.send(body)
  }
  const written = writeJson(body)
  if (typeof written === 'string') {
    context.release()
    return sendText(reply, written)
  }
  const chunks = flow(written)
  // What fails before the first chunk is still answered with its error.
  const first = await chunks.next()
  context.release()
  reply.header('content-type', 'application/json')
  return reply.send(Readable.from(flow([first.value ?? '', chunks] satisfies Piece[]), { objectMode: false }))
}

function sendText(reply: FastifyReply, text: string): FastifyReply {
  return reply.header('content-type', 'application/json').send(text)
}

/** Checks are made when they are first needed: hundreds of them at start would delay the first answer. */
function lazily<T>(make: () => T): () => T {
  let made: T | undefined
  return () => {
    made ??= make()
    return made
  }
}
