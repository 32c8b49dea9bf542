/** https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room, #sending-events-to-a-room and #redactions */

import { endpoint, graphql } from '../endpoint.ts'
import { enumName } from '../enum-name.ts'
import { EventContent } from '../shape.ts'
import { Type } from '../type.ts'

const send = '/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}'
const state = '/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}'

const Limit = Type.Optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647 }))
const Membership = Type.Optional(
  Type.Union([Type.Literal('join'), Type.Literal('invite'), Type.Literal('knock'), Type.Literal('leave'), Type.Literal('ban')]),
)

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid */
export const sendMessage = endpoint({
  method: 'PUT',
  path: send,
  auth: 'accessToken',
  puppet: true,
  rateLimited: 'message',
  query: Type.Object({ 'fi.mau.event_id': Type.Optional(Type.String()) }),
  body: EventContent,
  operation: graphql(`
    mutation SendMessage($roomId: ID!, $type: String!, $txnId: String!, $content: EventContent!, $eventId: ID) {
      sendMessage(roomId: $roomId, type: $type, txnId: $txnId, content: $content, eventId: $eventId) { eventId }
    }
  `),
  variables: ({ params, query, body }) => ({
    roomId: params.roomId,
    type: params.eventType,
    txnId: params.txnId,
    content: body,
    eventId: query['fi.mau.event_id'],
  }),
  response: (data) => ({ event_id: data.sendMessage.eventId }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey */
export const setRoomStateWithKey = endpoint({
  method: 'PUT',
  path: state,
  auth: 'accessToken',
  puppet: true,
  rateLimited: 'message',
  query: Type.Object({ 'fi.mau.event_id': Type.Optional(Type.String()), 'fi.mau.transaction_id': Type.Optional(Type.String()) }),
  body: EventContent,
  operation: graphql(`
    mutation SendState($roomId: ID!, $type: String!, $stateKey: String!, $content: EventContent!, $txnId: String, $eventId: ID) {
      sendState(roomId: $roomId, type: $type, stateKey: $stateKey, content: $content, txnId: $txnId, eventId: $eventId) { eventId }
    }
  `),
  variables: ({ params, query, body }) => ({
    roomId: params.roomId,
    type: params.eventType,
    stateKey: params.stateKey ?? '',
    content: body,
    txnId: query['fi.mau.transaction_id'],
    eventId: query['fi.mau.event_id'],
  }),
  response: (data) => ({ event_id: data.sendState.eventId }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid; further keys stand in the content. */
export const redactEvent = endpoint({
  method: 'PUT',
  path: '/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}',
  auth: 'accessToken',
  puppet: true,
  rateLimited: 'message',
  body: EventContent,
  operation: graphql(`
    mutation Redact($roomId: ID!, $eventId: ID!, $txnId: String!, $content: EventContent!) {
      redact(roomId: $roomId, eventId: $eventId, txnId: $txnId, content: $content) { eventId }
    }
  `),
  variables: ({ params, body }) => ({ roomId: params.roomId, eventId: params.eventId, txnId: params.txnId, content: body }),
  response: (data) => ({ event_id: data.redact.eventId }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid; MSC2815: what it said before it was redacted. */
export const getOneRoomEvent = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/rooms/{roomId}/event/{eventId}',
  auth: 'accessToken',
  puppet: true,
  query: Type.Object({ 'fi.mau.msc2815.include_unredacted_content': Type.Optional(Type.Boolean()) }),
  operation: graphql(`
    query OneEvent($roomId: ID!, $eventId: ID!, $includeUnredacted: Boolean) {
      event(roomId: $roomId, eventId: $eventId, includeUnredacted: $includeUnredacted) { raw }
    }
  `),
  variables: ({ params, query }) => ({
    roomId: params.roomId,
    eventId: params.eventId,
    includeUnredacted: query['fi.mau.msc2815.include_unredacted_content'],
  }),
  response: ({ event }) => event.raw,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey */
export const getRoomStateWithKey = endpoint({
  method: 'GET',
  path: state,
  auth: 'accessToken',
  puppet: true,
  query: Type.Object({ format: Type.Optional(Type.Union([Type.Literal('content'), Type.Literal('event')])) }),
  operation: graphql(`
    query StateEvent($roomId: ID!, $type: String!, $stateKey: String!, $whole: Boolean!) {
      roomStateEvent(roomId: $roomId, type: $type, stateKey: $stateKey, whole: $whole)
    }
  `),
  variables: ({ params, query }) => ({
    roomId: params.roomId,
    type: params.eventType,
    stateKey: params.stateKey ?? '',
    whole: query.format === 'event',
  }),
  response: ({ roomStateEvent }) => roomStateEvent,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate */
export const getRoomState = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/rooms/{roomId}/state',
  auth: 'accessToken',
  puppet: true,
  operation: graphql(`query RoomState($roomId: ID!) { roomState(roomId: $roomId) }`),
  variables: ({ params }) => ({ roomId: params.roomId }),
  response: ({ roomState }) => roomState,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers */
export const getMembersByRoom = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/rooms/{roomId}/members',
  auth: 'accessToken',
  puppet: true,
  query: Type.Object({ at: Type.Optional(Type.String()), membership: Membership, not_membership: Membership }),
  operation: graphql(`
    query RoomMembers($roomId: ID!, $at: String, $membership: Membership, $notMembership: Membership) {
      roomMembers(roomId: $roomId, at: $at, membership: $membership, notMembership: $notMembership)
    }
  `),
  variables: ({ params, query }) => ({
    roomId: params.roomId,
    at: query.at,
    membership: query.membership && enumName(query.membership),
    notMembership: query.not_membership && enumName(query.not_membership),
  }),
  response: ({ roomMembers }) => ({ chunk: roomMembers }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members */
export const getJoinedMembersByRoom = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/rooms/{roomId}/joined_members',
  auth: 'accessToken',
  puppet: true,
  operation: graphql(`query JoinedMembers($roomId: ID!) { joinedMembers(roomId: $roomId) }`),
  variables: ({ params }) => ({ roomId: params.roomId }),
  response: ({ joinedMembers }) => ({ joined: joinedMembers }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages */
export const getRoomEvents = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/rooms/{roomId}/messages',
  auth: 'accessToken',
  puppet: true,
  query: Type.Object({
    dir: Type.Union([Type.Literal('b'), Type.Literal('f')]),
    from: Type.Optional(Type.String()),
    to: Type.Optional(Type.String()),
    limit: Limit,
    filter: Type.Optional(Type.String()),
  }),
  operation: graphql(`
    query Messages($roomId: ID!, $dir: Direction!, $from: String, $to: String, $limit: Int, $filter: String) {
      roomMessages(roomId: $roomId, dir: $dir, from: $from, to: $to, limit: $limit, filter: $filter)
    }
  `),
  variables: ({ params, query: { dir, from, to, limit, filter } }) => ({
    roomId: params.roomId,
    dir: dir === 'b' ? ('BACKWARDS' as const) : ('FORWARDS' as const),
    from,
    to,
    limit,
    filter,
  }),
  response: ({ roomMessages }) => roomMessages,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid */
export const getEventContext = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/rooms/{roomId}/context/{eventId}',
  auth: 'accessToken',
  puppet: true,
  query: Type.Object({ limit: Limit, filter: Type.Optional(Type.String()) }),
  operation: graphql(`
    query EventContext($roomId: ID!, $eventId: ID!, $limit: Int, $filter: String) {
      roomContext(roomId: $roomId, eventId: $eventId, limit: $limit, filter: $filter)
    }
  `),
  variables: ({ params, query }) => ({ roomId: params.roomId, eventId: params.eventId, limit: query.limit, filter: query.filter }),
  response: ({ roomContext }) => roomContext,
})
