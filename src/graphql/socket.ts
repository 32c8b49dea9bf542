/** GraphQL over websocket (graphql-ws), on the same path and with the same tokens as HTTP. */
import { GraphQLError, MaxIntrospectionDepthRule, NoSchemaIntrospectionCustomRule, specifiedRules, validate } from 'graphql'
import { MatrixError } from '../errors.ts'
import { type Context, connectionClosed, type Identity } from './context.ts'
import { publicError, publicErrors } from './errors.ts'
import type { GraphqlOptions, Upgrade } from './http.ts'
import { parseDocument } from './limits.ts'
import { newContext, runOnce, runSubscription } from './operations.ts'
import { attachPeer, type PeerExtra } from './socket-peer.ts'

/** Operations that one socket may have running. */
const mostSubscriptions = 100
const mostPayloadBytes = 1_048_576
const closingMs = 1_000

interface SocketExtra extends PeerExtra {
  readonly prefix: string | null
  token?: string
  readonly closed: AbortController
}

export interface GraphqlSockets {
  /** takes over a websocket upgrade to `/graphql` */
  take(upgrade: Upgrade): Promise<void>
  /** closes them all: 1001, going away */
  close(): Promise<void>
}

/** Loaded when the first socket comes. */
export function graphqlSockets(options: GraphqlOptions): GraphqlSockets {
  let server: ReturnType<typeof load> | null = null
  return {
    async take(upgrade) {
      server ??= load(options)
      ;(await server).take(upgrade)
    },
    async close() {
      if (server) (await server).close()
    },
  }
}

async function load({ host, schema, door }: GraphqlOptions) {
  const { handleProtocols, makeServer } = await import('graphql-ws')
  const { WebSocketServer } = await import('ws')
  const { log, timer } = host.ports
  const rules = [...specifiedRules, host.config.introspection ? MaxIntrospectionDepthRule : NoSchemaIntrospectionCustomRule]
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: mostPayloadBytes,
    perMessageDeflate: false,
    handleProtocols,
  })
  const { addressOf } = door

  /** Asked for each operation: a token that ended starts nothing more. */
  const identify = async (extra: SocketExtra): Promise<Pick<Context, 'instance' | 'actor'> | Identity> => {
    const { request, prefix, token } = extra
    const query = Object.fromEntries(new URL(request.url ?? '/', 'http://socket').searchParams)
    const headers = token === undefined ? request.headers : { ...request.headers, authorization: `Bearer ${token}` }
    return door.identify(headers, query, prefix, addressOf(request))
  }

  const server = makeServer<Record<string, unknown>, SocketExtra>({
    schema,
    async onConnect({ extra, connectionParams }) {
      const token = tokenOf(connectionParams)
      if (token !== null) extra.token = token
      try {
        // False closes the socket with 4403 Forbidden.
        return (await identify(extra)).actor !== null
      } catch (error) {
        if (!(error instanceof MatrixError)) log.error({ err: error }, 'websocket refused')
        return false
      }
    },
    async onSubscribe(context, id, payload) {
      const { extra } = context
      try {
        const running = Object.keys(context.subscriptions).length
        if (running > mostSubscriptions)
          throw new MatrixError('M_LIMIT_EXCEEDED', `A connection takes ${mostSubscriptions} operations at a time`)
        const identity = await identify(extra)
        const document = parseDocument(payload.query)
        const problems = validate(schema, document, rules)
        if (problems.length > 0) return publicErrors(problems, log)
        const { request, closed, prefix } = extra
        const userAgent = request.headers['user-agent'] ?? null
        const ip = addressOf(request)
        const charge = (fields: readonly string[]) => door.charge({ ...identity, ip }, fields)
        const from = { signal: closed.signal, ip, userAgent, prefixed: prefix !== null, charge }
        const contextValue = newContext(host, identity, from)
        return { schema, document, operationName: payload.operationName ?? null, variableValues: payload.variables ?? null, contextValue }
      } catch (error) {
        return [publicError(error instanceof Error ? error : new GraphQLError(id), log)]
      }
    },
    execute: async (args) => {
      const context = args.contextValue as Context
      const release = await door.enter(context.instance, context.signal)
      try {
        return await runOnce({ ...args, contextValue: { ...context, release } satisfies Context })
      } finally {
        release()
      }
    },
    subscribe: async (args) => runSubscription(args),
  })
  return {
    take: ({ request, socket, head, prefix }: Upgrade) => {
      sockets.handleUpgrade(request, socket, head, (peer) => {
        const closed = new AbortController()
        peer.once('close', () => closed.abort(connectionClosed))
        attachPeer(server, { socket: peer, request, prefix, closed }, host.ports)
      })
    },
    close: () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets.clients) socket.close(1001, 'Going away')
        // Who does not answer is not waited for.
        const stop = timer(closingMs, () => sockets.clients.forEach((socket) => void socket.terminate()))
        sockets.close(() => {
          stop()
          resolve()
        })
      }),
  }
}

/** `{authorization: "Bearer …"}` (as headers are written) or `{accessToken: "…"}` */
function tokenOf(params: Readonly<Record<string, unknown>> | undefined): string | null {
  const { accessToken } = params ?? {}
  if (typeof accessToken === 'string') return accessToken
  const header = params?.['authorization'] ?? params?.['Authorization']
  return typeof header === 'string' ? (/^Bearer +(\S+) *$/i.exec(header)?.[1] ?? null) : null
}
