/** What Beeper's clients use beside the specification: the inbox, events that are never stored, the clock. */
import { endpoint, graphql } from '../endpoint.ts'
import { Markers, markersIn } from '../read-markers.ts'
import { EventContent } from '../shape.ts'
import { Type } from '../type.ts'

/** `com.beeper.inbox_state`: reading, being done with and marking as unread in one step. */
export const setInboxState = endpoint({
  method: 'PUT',
  path: '/_matrix/client/unstable/com.beeper.inbox/user/{userId}/rooms/{roomId}/inbox_state',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Type.Object({
    marked_unread: Type.Optional(Type.Boolean()),
    done: Type.Optional(Type.Object({ at_delta: Type.Optional(Type.Integer()), at_order: Type.Optional(Type.Integer()) })),
    read_markers: Type.Optional(Markers),
  }),
  operation: graphql(`
    mutation SetInboxState($userId: ID, $roomId: ID!, $markedUnread: Boolean, $done: DoneInput, $readMarkers: ReadMarkersInput) {
      setInboxState(userId: $userId, roomId: $roomId, markedUnread: $markedUnread, done: $done, readMarkers: $readMarkers)
    }
  `),
  variables: ({ params, body }) => ({
    userId: params.userId,
    roomId: params.roomId,
    markedUnread: body.marked_unread,
    done: body.done && { atDelta: body.done.at_delta, atOrder: body.done.at_order },
    readMarkers: body.read_markers && markersIn(body.read_markers),
  }),
  response: () => ({}),
})

/** Done with many rooms at once. */
export const archiveRooms = endpoint({
  method: 'POST',
  path: '/_matrix/client/unstable/com.beeper.inbox/batch_archive',
  auth: 'accessToken',
  rateLimited: true,
  body: Type.Object({ room_ids: Type.Array(Type.String()) }),
  operation: graphql(`mutation ArchiveRooms($roomIds: [ID!]!) { archiveRooms(roomIds: $roomIds) }`),
  variables: ({ body }) => ({ roomIds: body.room_ids }),
  response: () => ({}),
})

/** `com.beeper.ephemeral`. */
export const sendEphemeralEvent = endpoint({
  method: 'PUT',
  path: '/_matrix/client/unstable/com.beeper.ephemeral/rooms/{roomId}/ephemeral/{eventType}/{txnId}',
  auth: 'accessToken',
  puppet: true,
  rateLimited: 'message',
  body: EventContent,
  operation: graphql(`
    mutation SendEphemeralEvent($roomId: ID!, $type: String!, $txnId: String!, $content: EventContent!) {
      sendEphemeralEvent(roomId: $roomId, type: $type, txnId: $txnId, content: $content)
    }
  `),
  variables: ({ params, body }) => ({ roomId: params.roomId, type: params.eventType, txnId: params.txnId, content: body }),
  response: () => ({}),
})

/** The server's clock, by which clients judge `at_ts` and `muted_until`. */
export const getTime = endpoint({
  method: 'GET',
  path: '/_matrix/client/unstable/com.beeper.timesync',
  auth: 'accessToken',
  puppet: true,
  operation: graphql(`query Time { time }`),
  variables: () => ({}),
  response: ({ time }) => ({ time_ms: time }),
})
