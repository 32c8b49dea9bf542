/** Addresses of Beeper's own that bbctl and bridge managers call. */

import { forbidden } from '../../src/errors.ts'
import { type EndpointRequest, endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

/** `{user}` is the localpart of whose homeserver it is. */
const path = '/_matrix/asmux/mxauth/appservice/{user}/{bridge}'

function bridgeOf({
  params,
  context,
}: Pick<EndpointRequest<{ readonly user: string; readonly bridge: string }>, 'params' | 'context'>): string {
  if (!context.instance.ownerId.startsWith(`@${params.user}:`)) throw forbidden(`The bridges of ${params.user} are not at this homeserver`)
  return params.bridge
}

/** Makes the bridge or returns it; bbctl asks on every run. `push: false`: the bridge opens a websocket. */
export const registerBeeperBridge = endpoint({
  method: 'PUT',
  path,
  auth: 'accessToken',
  body: Type.Object({
    address: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    push: Type.Optional(Type.Boolean()),
    self_hosted: Type.Optional(Type.Boolean()),
    receive_ephemeral: Type.Optional(Type.Boolean()),
  }),
  operation: graphql(`
    mutation RegisterBeeperBridge($id: String!, $url: String, $registration: JsonObject) {
      registerBridge(id: $id, url: $url, registration: $registration) { registration }
    }
  `),
  variables: (request) => {
    const { address, push, receive_ephemeral } = request.body
    return {
      id: bridgeOf(request),
      url: push === false ? 'websocket' : (address ?? null),
      registration: receive_ephemeral === undefined ? null : { receive_ephemeral },
    }
  },
  response: ({ registerBridge }) => registerBridge.registration,
})

export const getBeeperBridge = endpoint({
  method: 'GET',
  path,
  auth: 'accessToken',
  operation: graphql(`query GetBeeperBridge($id: String!) { bridge(id: $id) { registration } }`),
  variables: (request) => ({ id: bridgeOf(request) }),
  response: ({ bridge }) => bridge.registration,
})

export const deleteBeeperBridge = endpoint({
  method: 'DELETE',
  path,
  auth: 'accessToken',
  operation: graphql(`mutation DeleteBeeperBridge($id: String!) { deleteBridge(id: $id) }`),
  variables: (request) => ({ id: bridgeOf(request) }),
  response: () => ({}),
})
