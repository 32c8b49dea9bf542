/** https://spec.matrix.org/v1.19/client-server-api/#receipts and #fully-read-markers */
import type { Static } from 'typebox'
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'
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

/** js-sdk writes null for a marker that stays where it is. */
const EventId = Type.Optional(Type.Union([Type.String(), Type.Null()]))
const Extra = Type.Optional(AnyObject)

const Markers = Type.Object({
  'm.fully_read': EventId,
  'm.read': EventId,
  'm.read.private': EventId,
  'com.beeper.fully_read.extra': Extra,
  'com.beeper.read.extra': Extra,
  'com.beeper.read.private.extra': Extra,
  'com.beeper.allow_backward': Type.Optional(Type.Boolean()),
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
  variables: ({ params, body }) => ({
    roomId: params.roomId,
    fullyRead: marker(body['m.fully_read'], body['com.beeper.fully_read.extra']),
    read: marker(body['m.read'], body['com.beeper.read.extra']),
    readPrivate: marker(body['m.read.private'], body['com.beeper.read.private.extra']),
    allowBackward: body['com.beeper.allow_backward'],
  }),
  response: () => ({}),
})

function marker(
  eventId: string | null | undefined,
  extra: Static<typeof AnyObject> | undefined,
): { eventId: string; extra: object } | null {
  return typeof eventId === 'string' ? { eventId, extra: extra ?? {} } : null
}
