/** One REST route as a typed value that names a GraphQL operation. The table is shim/table.ts; shim/register.ts makes them answer. */
import type { IncomingMessage } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import type { Static, TObject, TSchema } from 'typebox'
import type { Context } from '../src/graphql/context.ts'
import type { Document } from '../src/graphql/execute.ts'
import type { Documents } from './generated/documents.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE' | 'PATCH' | 'HEAD'

/**
 * `accessToken`: a user's token or an as_token, which may masquerade (`user_id`, `device_id`, `ts`). `accessTokenOptional`: the same when
 * there is a token. `appservice`: an as_token only. `management`: the secret of the settings, which acts as an administrator. `none`: a token is
 * not looked at.
 */
export type Auth = 'none' | 'accessToken' | 'accessTokenOptional' | 'appservice' | 'management'

/** Which bucket of shim/admission.ts a request takes from; `true` is 'usual'. */
export type RateClass = 'usual' | 'message' | 'login' | 'media'

/** The names between braces of a path. */
export type PathParams<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? { readonly [K in Name]: string } & PathParams<Rest>
  : unknown

export interface EndpointRequest<Params = Readonly<Record<string, string>>, Query = Readonly<Record<string, unknown>>, Body = unknown> {
  readonly params: Params
  readonly query: Query
  readonly body: Body
  readonly headers: IncomingMessage['headers']
  readonly context: Context
}

interface Route {
  readonly method: Method
  /** under the newest version; the others are answered as well (shim/paths.ts) */
  readonly path: string
  /** further paths with the same parameters, such as an unstable one */
  readonly aliases: readonly string[]
  readonly auth: Auth
  readonly rateLimited: RateClass | null
  /** whether an appservice may use it as the instance's owner; with `auth: 'none'` nobody asks */
  readonly puppet: boolean
  /** whether who is locked may use it */
  readonly locked: boolean
  /** its own `user_id` is the last of the query; what an appservice asserts by that name stands before it */
  readonly namesUser: boolean
  readonly query: TObject
}

export interface OperationEndpoint extends Route {
  readonly kind: 'operation'
  readonly body: TSchema
  readonly strict: boolean | null
  readonly bodyLimitBytes: number
  readonly waits: boolean
  readonly owner: ((request: EndpointRequest) => Owner | null) | null
  readonly document: Document<unknown, unknown>
  readonly variables: (request: EndpointRequest) => Readonly<Record<string, unknown>>
  readonly response: (data: unknown, request: EndpointRequest) => unknown
  readonly status: number | ((data: unknown, request: EndpointRequest) => number)
  readonly headers: Readonly<Record<string, string>> | ((data: unknown, request: EndpointRequest) => Readonly<Record<string, string>>)
}

/** A handler of its own: only for bytes (media, the provisioning proxy) and redirects. */
export interface HandlerEndpoint extends Route {
  readonly kind: 'handler'
  readonly waits: boolean
  readonly bodyLimitBytes: number
  readonly handle: (request: HandlerRequest) => Promise<Answer>
}

export interface FixedEndpoint extends Route {
  readonly kind: 'fixed'
  readonly status: number
  readonly body: object
}

/** Takes over a websocket upgrade. */
export interface UpgradeEndpoint extends Route {
  readonly kind: 'upgrade'
  readonly upgrade: (request: UpgradeRequest) => Promise<void>
}

export type Endpoint = OperationEndpoint | HandlerEndpoint | FixedEndpoint | UpgradeEndpoint

/** An endpoint of the table: its name is the spec's operationId, its section the file's name. */
export type NamedEndpoint = Endpoint & { readonly name: string; readonly section: string }

/** Whose homeserver a request without a token means. A null domain is the host's user domain. */
export interface Owner {
  readonly localpart: string
  readonly domain: string | null
}

export interface HandlerRequest<Params = Readonly<Record<string, string>>, Query = Readonly<Record<string, unknown>>> {
  readonly method: string
  readonly params: Params
  readonly query: Query
  /** the path as it came, behind a prefix, with its percent-encoding */
  readonly rawPath: string
  /** the query as it came, without `?`; may hold a token */
  readonly rawQuery: string
  readonly headers: IncomingMessage['headers']
  readonly contentType: string | null
  /** null when the client did not say */
  readonly contentLength: number | null
  readonly body: Readable
  readonly context: Context
}

export interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** bytes or text as they are; anything else as JSON */
  readonly body: unknown
}

export interface UpgradeRequest<Params = Readonly<Record<string, string>>, Query = Readonly<Record<string, unknown>>> {
  readonly params: Params
  readonly query: Query
  readonly context: Context
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  /** Runs an endpoint with this body as if it had come in a request of its own: with the same token, in the homeserver's line. */
  perform(endpoint: OperationEndpoint, body: unknown): Promise<unknown>
}

/** A JSON body larger than this is refused (413) unless the endpoint says otherwise. */
export const usualBodyBytes = 1_048_576

interface Options<Path extends string, Query extends TSchema> {
  method: Method
  path: Path
  aliases?: readonly string[]
  auth: Auth
  rateLimited?: boolean | RateClass
  puppet?: boolean
  locked?: boolean
  namesUser?: boolean
  query?: Query
}

/** No property that the operation does not take: a misspelt variable is a compile error. */
type Exact<Wanted, Given extends Wanted> = Given & { readonly [K in Exclude<keyof Given, keyof Wanted>]: never }

type NoFields = TObject<Record<never, never>>

export function endpoint<
  const Path extends string,
  Result,
  Variables,
  Given extends Variables,
  Query extends TSchema = NoFields,
  Body extends TSchema = NoFields,
>(
  options: Options<Path, Query> & {
    body?: Body
    /** Whether the body is refused for fractions, unsafe integers and duplicate keys. Usual: when its schema names EventContent. */
    strict?: boolean
    bodyLimitBytes?: number
    /** It waits for something to happen: it gives its place in the instance's line back. */
    waits?: boolean
    /** Without a token: whose homeserver is meant (login, register). Such a body is at most 64 KiB. */
    owner?: (request: EndpointRequest<PathParams<Path>, Static<Query>, Static<Body>>) => Owner | null
    operation: Document<Result, Variables>
    variables: (request: EndpointRequest<PathParams<Path>, Static<Query>, Static<Body>>) => Exact<Variables, Given>
    /** The answer's JSON; what it holds of JsonText is written as it is. */
    response: (data: Result, request: EndpointRequest<PathParams<Path>, Static<Query>, Static<Body>>) => unknown
    status?: number | ((data: Result, request: EndpointRequest<PathParams<Path>, Static<Query>, Static<Body>>) => number)
    headers?:
      | Readonly<Record<string, string>>
      | ((data: Result, request: EndpointRequest<PathParams<Path>, Static<Query>, Static<Body>>) => Readonly<Record<string, string>>)
  },
): OperationEndpoint {
  return {
    kind: 'operation',
    ...route(options),
    body: options.body ?? noFields,
    strict: options.strict ?? null,
    bodyLimitBytes: options.bodyLimitBytes ?? (options.owner ? 65_536 : usualBodyBytes),
    waits: options.waits ?? false,
    owner: (options.owner ?? null) as OperationEndpoint['owner'],
    document: options.operation as Document<unknown, unknown>,
    variables: options.variables as unknown as OperationEndpoint['variables'],
    response: options.response as OperationEndpoint['response'],
    status: (options.status ?? 200) as OperationEndpoint['status'],
    headers: (options.headers ?? {}) as OperationEndpoint['headers'],
  }
}

/** A row that `answers`: always the same reply. */
export function fixedReply<const Path extends string>(
  options: Omit<Options<Path, NoFields>, 'auth' | 'query'> & { auth?: Auth; status: number; body: object },
): FixedEndpoint {
  return { kind: 'fixed', ...route({ auth: 'none', ...options }), status: options.status, body: options.body }
}

export function handlerEndpoint<const Path extends string, Query extends TSchema = NoFields>(
  options: Options<Path, Query> & {
    waits?: boolean
    bodyLimitBytes?: number
    handle: (request: HandlerRequest<PathParams<Path>, Static<Query>>) => Promise<Answer>
  },
): HandlerEndpoint {
  return {
    kind: 'handler',
    ...route(options),
    waits: options.waits ?? false,
    bodyLimitBytes: options.bodyLimitBytes ?? Number.MAX_SAFE_INTEGER,
    handle: options.handle as unknown as HandlerEndpoint['handle'],
  }
}

export function upgradeEndpoint<const Path extends string, Query extends TSchema = NoFields>(
  options: Omit<Options<Path, Query>, 'method'> & { upgrade: (request: UpgradeRequest<PathParams<Path>, Static<Query>>) => Promise<void> },
): UpgradeEndpoint {
  return { kind: 'upgrade', ...route({ method: 'GET', ...options }), upgrade: options.upgrade as unknown as UpgradeEndpoint['upgrade'] }
}

/** A document of the core's schema. `npm run codegen` writes its types; until then it is a compile error. */
export function graphql<const Source extends keyof Documents>(
  source: Source,
): Document<Documents[Source]['result'], Documents[Source]['variables']> {
  return { source }
}

const noFields = { type: 'object', properties: {} } as unknown as TObject

function route(options: Options<string, TSchema>): Route {
  return {
    method: options.method,
    path: options.path,
    aliases: options.aliases ?? [],
    auth: options.auth,
    rateLimited: options.rateLimited === true ? 'usual' : options.rateLimited || null,
    puppet: options.puppet ?? false,
    locked: options.locked ?? false,
    namesUser: options.namesUser ?? false,
    query: (options.query ?? noFields) as TObject,
  }
}
