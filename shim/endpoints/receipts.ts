/** https://spec.matrix.org/v1.19/client-server-api/#receipts and #fully-read-markers */
import { endpoint, graphql } from '../endpoint.ts'
import { Markers, markersIn } from '../read-markers.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid; further keys stand in the receipt. */
export const postReceipt = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Type.Object({ thread_id: Type.Optional(Type.String()), 'com.beeper.allow_backward': Type.Optional(Type.Boolean()) }),
  operation: graphql(`
    mutation SendReceipt($roomId: ID!, $type: String!, $eventId: ID!, $threadId: ID, $extra: JsonObject!, $allowBackward: Boolean) {
      sendReceipt(roomId: $roomId, type: $type, eventId: $eventId, threadId: $threadId, extra: $extra, allowBackward: $allowBackward)
    }
  `),
  variables: ({ params, body: { thread_id, 'com.beeper.allow_backward': allowBackward, ...extra } }) => ({
    roomId: params.roomId,
    type: params.receiptType,
    eventId: params.eventId,
    threadId: thread_id,
    extra,
    allowBackward,
  }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers */
export const setReadMarker = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/rooms/{roomId}/read_markers',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Markers,
  operation: graphql(`
    mutation SetReadMarkers($roomId: ID!, $fullyRead: ReceiptInput, $read: ReceiptInput, $readPrivate: ReceiptInput, $allowBackward: Boolean) {
      setReadMarkers(roomId: $roomId, fullyRead: $fullyRead, read: $read, readPrivate: $readPrivate, allowBackward: $allowBackward)
    }
  `),
  variables: ({ params, body }) => ({ roomId: params.roomId, ...markersIn(body) }),
  response: () => ({}),
})
