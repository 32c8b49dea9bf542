/** Beeper's own addresses by which bridges are registered, commanded and logged in to networks. */
import { askProvisioning, mostRequestBytes } from '../../src/appservices/provisioning.ts'
import { forbidden } from '../../src/errors.ts'
import { requireActor } from '../../src/graphql/context.ts'
import { readBody } from '../body.ts'
import { type Answer, type EndpointRequest, endpoint, graphql, type HandlerRequest, handlerEndpoint, type Method } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'
import { Type } from '../type.ts'

/** `{user}` is the localpart of whose homeserver it is. */
const path = '/_matrix/asmux/mxauth/appservice/{user}/{bridge}'
/** The same for another program of the operator's. */
const managementPath = '/_matrix/asmux/appservice/{user}/{bridge}'

type Named = Pick<EndpointRequest<{ readonly user: string; readonly bridge: string }>, 'params' | 'context'>

function bridgeOf({ params, context }: Named): string {
  if (!context.instance.ownerId.startsWith(`@${params.user}:`)) throw forbidden(`The bridges of ${params.user} are not at this homeserver`)
  return params.bridge
}

const RegisterBody = Type.Object({
  address: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  push: Type.Optional(Type.Boolean()),
  self_hosted: Type.Optional(Type.Boolean()),
  receive_ephemeral: Type.Optional(Type.Boolean()),
})

interface RegisterGiven {
  readonly address?: string | null
  readonly push?: boolean
  readonly receive_ephemeral?: boolean
}

const register = graphql(`
  mutation RegisterBeeperBridge($id: String!, $url: String, $registration: JsonObject) {
    registerBridge(id: $id, url: $url, registration: $registration, withLoginToken: true) { registration }
  }
`)

/** The configurations that bbctl writes want it, also for a bridge that was registered before. */
const encrypting = { 'org.matrix.msc3202': true }

/** `push: false`: the bridge opens a websocket. */
function registerVariables(request: Named & { readonly body: RegisterGiven }) {
  const { address, push, receive_ephemeral } = request.body
  return {
    id: bridgeOf(request),
    url: push === false ? 'websocket' : (address ?? null),
    registration: { ...encrypting, ...(receive_ephemeral !== undefined && { receive_ephemeral }) },
  }
}

const read = graphql(`query GetBeeperBridge($id: String!) { bridge(id: $id) { registration } }`)
const remove = graphql(`mutation DeleteBeeperBridge($id: String!) { deleteBridge(id: $id) { id } }`)

/** Makes the bridge or returns it; bbctl asks on every run. */
export const registerBeeperBridge = endpoint({
  method: 'PUT',
  path,
  auth: 'accessToken',
  body: RegisterBody,
  operation: register,
  variables: registerVariables,
  response: ({ registerBridge }) => registerBridge.registration,
})

export const getBeeperBridge = endpoint({
  method: 'GET',
  path,
  auth: 'accessToken',
  operation: read,
  variables: (request) => ({ id: bridgeOf(request) }),
  response: ({ bridge }) => bridge.registration,
})

export const deleteBeeperBridge = endpoint({
  method: 'DELETE',
  path,
  auth: 'accessToken',
  operation: remove,
  variables: (request) => ({ id: bridgeOf(request) }),
  response: () => ({}),
})

export const manageRegisterBridge = endpoint({
  method: 'PUT',
  path: managementPath,
  auth: 'management',
  body: RegisterBody,
  operation: register,
  variables: registerVariables,
  response: ({ registerBridge }) => registerBridge.registration,
})

export const manageGetBridge = endpoint({
  method: 'GET',
  path: managementPath,
  auth: 'management',
  operation: read,
  variables: (request) => ({ id: bridgeOf(request) }),
  response: ({ bridge }) => bridge.registration,
})

export const manageDeleteBridge = endpoint({
  method: 'DELETE',
  path: managementPath,
  auth: 'management',
  operation: remove,
  variables: (request) => ({ id: bridgeOf(request) }),
  response: () => ({}),
})

/** A command over the bridge's websocket; what the bridge answers is the answer. */
export const execBeeperBridge = endpoint({
  method: 'POST',
  path: `${path}/exec/{command}`,
  auth: 'accessToken',
  rateLimited: true,
  waits: true,
  body: AnyObject,
  operation: graphql(`
    mutation ExecBridge($id: String!, $command: String!, $data: JsonObject!) { execBridge(id: $id, command: $command, data: $data) }
  `),
  variables: (request) => ({ id: bridgeOf(request), command: request.params.command, data: request.body }),
  response: ({ execBridge }) => execBridge,
})

const bridgePath = '/_matrix/client/unstable/com.beeper.bridge/{bridge}'

/** The states of a bridge and of its logins, however they were reported: `{bridgeState, remoteState}`. */
export const getBridgeLogins = endpoint({
  method: 'GET',
  path: `${bridgePath}/logins`,
  auth: 'accessToken',
  operation: graphql(`query GetBridgeLogins($id: String!) { bridgeGlobalState(id: $id) }`),
  variables: ({ params }) => ({ id: params.bridge }),
  response: ({ bridgeGlobalState }) => bridgeGlobalState,
})

/** Parts of a path before those that go to the bridge. */
const partsBefore = `${bridgePath}/_matrix/provision/v3`.split('/').length

/** What a bridge answers is not ours: no browser shall run it. */
const harmless = { 'content-security-policy': "sandbox; default-src 'none'", 'x-content-type-options': 'nosniff' }

/** The provisioning API of a bridge. The requests and answers are the bridge's, so they are not read here. */
function provisioning(method: Method) {
  return handlerEndpoint({
    method,
    path: `${bridgePath}/_matrix/provision/v3/*`,
    auth: 'accessToken',
    rateLimited: true,
    // A login waits until somebody has scanned a code.
    waits: true,
    bodyLimitBytes: mostRequestBytes,
    async handle(request): Promise<Answer> {
      const { context } = request
      const answer = await askProvisioning(
        context.instance,
        requireActor(context),
        {
          id: request.params.bridge,
          method,
          path: request.rawPath.split('/').slice(partsBefore).join('/'),
          query: request.rawQuery,
          contentType: request.contentType,
          body: await bodyOf(request),
        },
        context.signal,
      )
      const headers = { ...harmless, ...(answer.contentType && { 'content-type': answer.contentType }) }
      return { status: answer.status, headers, body: answer.body }
    },
  })
}

async function bodyOf({ method, body, context }: Pick<HandlerRequest, 'method' | 'body' | 'context'>): Promise<Buffer | null> {
  if (method === 'GET') return null
  const read = await readBody(body as Parameters<typeof readBody>[0], mostRequestBytes, context.host.ports.timer)
  return read.length === 0 ? null : read
}

export const provisionGet = provisioning('GET')
export const provisionPost = provisioning('POST')
export const provisionPut = provisioning('PUT')
export const provisionPatch = provisioning('PATCH')
export const provisionDelete = provisioning('DELETE')
