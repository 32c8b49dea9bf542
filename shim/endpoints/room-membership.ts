/** https://spec.matrix.org/v1.19/client-server-api/#room-membership */

import { MatrixError } from '../../src/errors.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

const Reason = Type.Object({ reason: Type.Optional(Type.String()) })
const Target = Type.Object({ user_id: Type.String(), reason: Type.Optional(Type.String()) })
/** Also the old shape of an invitation by e-mail. */
const Invitation = Type.Object({
  user_id: Type.Optional(Type.String()),
  reason: Type.Optional(Type.String()),
  medium: Type.Optional(Type.String()),
})

const joining = graphql(`
  mutation JoinRoom($room: String!, $reason: String, $extra: EventContent) {
    joinRoom(roomIdOrAlias: $room, reason: $reason, extra: $extra) { roomId }
  }
`)

/** Further keys of the body stand in the member event, but for what asks the server to do something. */
function extraIn(body: object): JsonObject {
  const { reason: _reason, third_party_signed: _signed, membership: _membership, ...extra } = body as JsonObject
  return extra
}

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin */
export const joinRoomById = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/rooms/{roomId}/join',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Reason,
  strict: true,
  operation: joining,
  variables: ({ params, body }) => ({ room: params.roomId, reason: body.reason, extra: extraIn(body) }),
  response: (data) => ({ room_id: data.joinRoom.roomId }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias */
export const joinRoom = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/join/{roomIdOrAlias}',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Reason,
  strict: true,
  operation: joining,
  variables: ({ params, body }) => ({ room: params.roomIdOrAlias, reason: body.reason, extra: extraIn(body) }),
  response: (data) => ({ room_id: data.joinRoom.roomId }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias */
export const knockRoom = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/knock/{roomIdOrAlias}',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Reason,
  operation: graphql(`mutation KnockRoom($room: String!, $reason: String) { knockRoom(roomIdOrAlias: $room, reason: $reason) }`),
  variables: ({ params, body }) => ({ room: params.roomIdOrAlias, reason: body.reason }),
  response: (data) => ({ room_id: data.knockRoom }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite and, refused, the one by e-mail on the same path */
export const inviteUser = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/rooms/{roomId}/invite',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Invitation,
  operation: graphql(`
    mutation InviteUser($roomId: ID!, $userId: ID!, $reason: String) { inviteUser(roomId: $roomId, userId: $userId, reason: $reason) }
  `),
  variables: ({ params, body }) => {
    if (body.medium !== undefined) throw new MatrixError('M_THREEPID_DENIED', 'Third-party identifiers are not known here')
    if (body.user_id === undefined) throw new MatrixError('M_MISSING_PARAM', 'Missing user_id')
    return { roomId: params.roomId, userId: body.user_id, reason: body.reason }
  },
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick */
export const kick = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/rooms/{roomId}/kick',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Target,
  operation: graphql(`
    mutation KickUser($roomId: ID!, $userId: ID!, $reason: String) { kickUser(roomId: $roomId, userId: $userId, reason: $reason) }
  `),
  variables: ({ params, body }) => ({ roomId: params.roomId, userId: body.user_id, reason: body.reason }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban */
export const ban = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/rooms/{roomId}/ban',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Target,
  operation: graphql(`
    mutation BanUser($roomId: ID!, $userId: ID!, $reason: String) { banUser(roomId: $roomId, userId: $userId, reason: $reason) }
  `),
  variables: ({ params, body }) => ({ roomId: params.roomId, userId: body.user_id, reason: body.reason }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban */
export const unban = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/rooms/{roomId}/unban',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Target,
  operation: graphql(`
    mutation UnbanUser($roomId: ID!, $userId: ID!, $reason: String) { unbanUser(roomId: $roomId, userId: $userId, reason: $reason) }
  `),
  variables: ({ params, body }) => ({ roomId: params.roomId, userId: body.user_id, reason: body.reason }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave */
export const leaveRoom = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/rooms/{roomId}/leave',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Reason,
  operation: graphql(`mutation LeaveRoom($roomId: ID!, $reason: String) { leaveRoom(roomId: $roomId, reason: $reason) }`),
  variables: ({ params, body }) => ({ roomId: params.roomId, reason: body.reason }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget */
export const forgetRoom = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/rooms/{roomId}/forget',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  operation: graphql(`mutation ForgetRoom($roomId: ID!) { forgetRoom(roomId: $roomId) }`),
  variables: ({ params }) => ({ roomId: params.roomId }),
  response: () => ({}),
})
