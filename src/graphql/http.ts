/** The GraphQL face: `/graphql` by HTTP (Yoga: queries, mutations, subscriptions as server-sent events) and by websocket (graphql-ws). */
import type { IncomingMessage } from 'node:http'
import { type Duplex, Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ExecutionArgs, type GraphQLSchema, MaxIntrospectionDepthRule, NoSchemaIntrospectionCustomRule } from 'graphql'
import type { Plugin, YogaServerInstance } from 'graphql-yoga'
import { MatrixError } from '../errors.ts'
import type { Ports } from '../ports.ts'
import { type Context, connectionClosed, type Host, type Identity, type Instance } from './context.ts'
import { publicError, publicErrors } from './errors.ts'
import { examples } from './examples.ts'
import { parseDocument } from './limits.ts'
import { newContext, runOnce, runSubscription } from './operations.ts'
import { graphqlSockets } from './socket.ts'

type Query = Readonly<Record<string, string | string[] | undefined>>

/** What the shim knows of requests, and this face needs as well. */
export interface Door {
  prefixOf(request: IncomingMessage): string | null
  /** of the client, also behind a trusted proxy */
  addressOf(request: IncomingMessage): string
  /** Throws MatrixErrors: too large, cut off, or not at its end in time. */
  readBody(payload: IncomingMessage, mostBytes: number): Promise<Buffer>
  /** The same tokens as everywhere; without one, whose homeserver is meant. Throws MatrixErrors. */
  identify(
    headers: IncomingMessage['headers'],
    query: Query,
    prefix: string | null,
    ip: string,
  ): Promise<Pick<Context, 'instance' | 'actor'> | Identity>
  /** Counts the root fields of an operation as the requests they would be. Throws M_LIMIT_EXCEEDED. */
  charge(who: Pick<Context, 'instance' | 'actor' | 'ip'>, fields: readonly string[]): void
  /** A place in the instance's line, or in the host's for strangers; the function gives it back. */
  enter(instance: Instance | null, signal: AbortSignal): Promise<() => void>
}

export interface GraphqlOptions {
  readonly host: Host
  readonly schema: GraphQLSchema
  readonly door: Door
}

export const graphqlPath = '/graphql'

/** A request without a token may hold a login, not a history. */
const anonymousBodyBytes = 65_536
const mostBodyBytes = 33_554_432

interface ServerContext {
  readonly operation: Context
}

interface Held {
  readonly context: Context
  /** gives the place in the line back; null: none is taken yet */
  release: (() => void) | null
}

declare module 'fastify' {
  interface FastifyRequest {
    /** who asks, of a request to the GraphQL face */
    held: Held | null
  }
}

/** The server that this face is added to. */
export interface App {
  readonly fastify: FastifyInstance
  readonly upgrades: { add(path: string, take: (upgrade: Upgrade) => Promise<void>): void }
  readonly door: Door
}

export interface Upgrade {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  readonly prefix: string | null
}

/** Adds route and websocket. Yoga and graphql-ws are loaded when the first GraphQL client comes. */
export function mountGraphql({ fastify, upgrades, door }: App, given: Omit<GraphqlOptions, 'door'>): void {
  const options = { ...given, door }
  addRoute(fastify, options)
  const sockets = graphqlSockets(options)
  upgrades.add(graphqlPath, sockets.take)
  fastify.addHook('preClose', () => sockets.close())
}

function addRoute(app: FastifyInstance, options: GraphqlOptions): void {
  const { host, door } = options
  const enter = async (held: Held, reply: FastifyReply): Promise<() => void> => {
    const { actor, prefixed, instance, signal } = held.context
    // Strangers who name no homeserver must not keep the default one from its people.
    const release = await door.enter(actor || prefixed ? instance : null, signal)
    held.release = release
    if (reply.raw.closed) release()
    else reply.raw.once('close', release)
    return release
  }
  let yoga: Promise<YogaServerInstance<ServerContext, object>> | null = null
  app.decorateRequest('held', null)
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (request: FastifyRequest, payload: IncomingMessage) =>
      door.readBody(payload, request.held?.context.actor ? mostBodyBytes : anonymousBodyBytes),
    )
    scope.setErrorHandler((error, _request, reply) => refuse(error, reply, host))
    scope.route({
      method: ['GET', 'POST'],
      url: graphqlPath,
      async onRequest(request, reply) {
        const closed = new AbortController()
        reply.raw.once('close', () => closed.abort(connectionClosed))
        const query = request.query as Query
        // GraphiQL's page asks for its data with the token that its reader types in.
        const prefix = door.prefixOf(request.raw)
        const ip = door.addressOf(request.raw)
        const identity = await door.identify(request.headers, query, prefix, ip)
        const userAgent = request.headers['user-agent'] ?? null
        const charge = (fields: readonly string[]) => door.charge({ ...identity, ip }, fields)
        const release = () => request.held?.release?.()
        const from = { signal: closed.signal, ip, userAgent, prefixed: prefix !== null, charge, release }
        request.held = { context: newContext(host, identity, from), release: null }
        // Without a token the place is taken when the body is there: bodies that never end would keep all places.
        if (identity.actor) await enter(request.held, reply)
      },
      async handler(request, reply) {
        yoga ??= loadYoga(options)
        const server = await yoga
        const held = request.held!
        const { context } = held
        const release = held.release ?? (await enter(held, reply))
        const answer = await server.fetch(
          new Request(`http://${graphqlPath.slice(1)}${request.raw.url ?? graphqlPath}`, {
            method: request.method,
            headers: webHeaders(request),
            signal: context.signal,
            ...(request.method === 'POST' && { body: new Uint8Array((request.body as Buffer | undefined) ?? []) }),
          }),
          { operation: context },
        )
        // A subscription's first result may be long in coming.
        release()
        return forward(answer, reply)
      },
    })
  })
}

async function loadYoga({ host, schema }: GraphqlOptions): Promise<YogaServerInstance<ServerContext, object>> {
  const { createYoga } = await import('graphql-yoga')
  const { log } = host.ports
  const { config } = host
  return createYoga<ServerContext, object>({
    schema,
    graphqlEndpoint: graphqlPath,
    cors: false,
    multipart: false,
    batching: false,
    landingPage: false,
    logging: {
      debug() {},
      info() {},
      warn: (...words) => log.warn(words.map(String).join(' ')),
      // Clients' mistakes; what nobody foresaw is logged where it is masked.
      error: (...words) => log.debug(words.map(String).join(' ')),
    },
    maskedErrors: { maskError: (error) => publicError(asForeseen(error), log) },
    graphiql: config.graphiql && {
      title: 'Hungryserv',
      defaultTabs: examples.map((query) => ({ query, headers: exampleHeaders })),
      defaultQuery: examples[0]!,
    },
    async renderGraphiQL(given) {
      const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql')
      return renderGraphiQL(given)
    },
    plugins: [ourEngine(config.introspection, log)],
  })
}

/** Yoga lets out what JSON.parse says of the variables in an address. What a resolver throws comes with its path, never bare. */
function asForeseen(error: unknown): Error {
  if (error instanceof SyntaxError) return new MatrixError('M_NOT_JSON', 'The variables are not valid JSON')
  return error instanceof Error ? error : new Error(String(error))
}

/** graphql-js with our limits, in the place of Yoga's own engine. */
function ourEngine(introspection: boolean, log: Ports['log']): Plugin<ServerContext> {
  return {
    onParse({ setParseFn }) {
      setParseFn(parseDocument)
    },
    onValidate({ addValidationRule }) {
      addValidationRule(introspection ? MaxIntrospectionDepthRule : NoSchemaIntrospectionCustomRule)
      return ({ valid, result, setResult }) => {
        if (!valid) setResult(publicErrors(result, log))
      }
    },
    onExecute({ setExecuteFn }) {
      setExecuteFn((args: ExecutionArgs) => runOnce(ownContext(args)))
    },
    onSubscribe({ setSubscribeFn }) {
      setSubscribeFn((args: ExecutionArgs) => runSubscription(ownContext(args)))
    },
  }
}

/** Yoga hands an object of its own to the resolvers; they get the operation's. */
function ownContext(args: ExecutionArgs): ExecutionArgs {
  return { ...args, contextValue: (args.contextValue as ServerContext).operation }
}

const exampleHeaders = JSON.stringify({ authorization: 'Bearer <access token>' }, null, 2)

function webHeaders(request: FastifyRequest): [string, string][] {
  return Object.entries(request.headers).flatMap(([name, value]): [string, string][] => {
    // Lengths and connections are those of the outer request.
    if (
      value === undefined ||
      ['connection', 'content-length', 'transfer-encoding', 'host', 'upgrade', 'keep-alive', 'expect'].includes(name)
    )
      return []
    return [[name, Array.isArray(value) ? value.join(', ') : value]]
  })
}

async function forward(answer: Response, reply: FastifyReply): Promise<FastifyReply> {
  reply.code(answer.status)
  for (const [name, value] of answer.headers) if (name !== 'content-length') reply.header(name, value)
  const streams = answer.headers.get('content-type')?.startsWith('text/event-stream')
  if (streams && answer.body) return reply.send(Readable.from(chunksOf(answer.body), { objectMode: false }))
  const text = await answer.text()
  // Yoga's bare refusals of what it cannot read or write.
  if (answer.status === 415) throw new MatrixError('M_NOT_JSON', 'A document comes as application/json', {}, 415)
  if (answer.status === 406) throw new MatrixError('M_UNRECOGNIZED', 'Answers are JSON, those of subscriptions text/event-stream', {}, 406)
  return reply.send(text)
}

/** Yoga's streams are not Node's own, which Readable.fromWeb insists on. */
async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const reader = body.getReader()
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value
  } finally {
    await reader.cancel()
  }
}

/** GraphQL clients look for `errors`, Matrix clients for `errcode`: a refusal at the door has both. */
function refuse(error: unknown, reply: FastifyReply, host: Host): FastifyReply {
  const given = error instanceof MatrixError ? error : fromFastify(error)
  const shown = publicError(given ?? (error instanceof Error ? error : new Error(String(error))), host.ports.log)
  const waitMs = given?.fields['retry_after_ms']
  if (typeof waitMs === 'number') reply.header('retry-after', String(Math.max(1, Math.ceil(waitMs / 1_000))))
  return reply
    .code(given?.status ?? 500)
    .header('content-type', 'application/json')
    .send(JSON.stringify({ errcode: given?.errcode ?? 'M_UNKNOWN', error: shown.message, ...given?.fields, errors: [shown.toJSON()] }))
}

/** A content type that cannot be read, a body that was cut off. */
function fromFastify(error: unknown): MatrixError | null {
  if (!(error instanceof Error) || !('code' in error) || !String(error.code).startsWith('FST_')) return null
  const status = 'statusCode' in error ? Number(error.statusCode) : 500
  return status < 500 ? new MatrixError('M_NOT_JSON', error.message, {}, status) : null
}
