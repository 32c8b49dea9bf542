/** What bridges ask besides the client-server API. https://spec.matrix.org/v1.19/application-service-api/#client-server-api-extensions */

import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/application-service-api/#post_matrixclientv1appserviceappserviceidping */
export const pingAppservice = endpoint({
  method: 'POST',
  path: '/_matrix/client/v1/appservice/{appserviceId}/ping',
  aliases: ['/_matrix/client/unstable/fi.mau.msc2659/appservice/{appserviceId}/ping'],
  auth: 'appservice',
  waits: true,
  body: Type.Object({ transaction_id: Type.Optional(Type.String()) }),
  operation: graphql(`mutation PingBridge($id: String!, $transactionId: String) { pingBridge(id: $id, transactionId: $transactionId) }`),
  variables: ({ params, body }) => ({ id: params.appserviceId, transactionId: body.transaction_id ?? null }),
  response: ({ pingBridge }) => ({ duration_ms: pingBridge }),
})

/** `homeserver.status_endpoint` of a bridgev2 configuration: a BridgeState, or the states of all logins at once. */
export const reportBridgeState = endpoint({
  method: 'POST',
  path: '/_bridge/state',
  auth: 'appservice',
  body: Type.Record(Type.String(), Type.Unknown()),
  operation: graphql(`mutation ReportBridgeState($state: JsonObject!) { reportBridgeState(state: $state) }`),
  variables: ({ body }) => ({ state: body }),
  response: () => ({}),
})

/** `homeserver.message_send_checkpoint_endpoint` of a bridgev2 configuration. */
export const reportMessageCheckpoints = endpoint({
  method: 'POST',
  path: '/_bridge/checkpoints',
  auth: 'appservice',
  body: Type.Object({ checkpoints: Type.Array(Type.Unknown()) }),
  operation: graphql(`mutation ReportMessageCheckpoints($checkpoints: JSON!) { reportMessageCheckpoints(checkpoints: $checkpoints) }`),
  variables: ({ body }) => ({ checkpoints: body.checkpoints }),
  response: () => ({}),
})
