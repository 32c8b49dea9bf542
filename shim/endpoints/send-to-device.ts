/** https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging */
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid */
export const sendToDevice = endpoint({
  method: 'PUT',
  path: '/_matrix/client/v3/sendToDevice/{eventType}/{txnId}',
  auth: 'accessToken',
  rateLimited: 'message',
  body: Type.Object({ messages: AnyObject }),
  operation: graphql(`
    mutation SendToDevice($eventType: String!, $txnId: String!, $messages: JsonObject!) {
      sendToDevice(eventType: $eventType, txnId: $txnId, messages: $messages)
    }
  `),
  variables: ({ params, body }) => ({ eventType: params.eventType, txnId: params.txnId, messages: body.messages }),
  response: () => ({}),
})
