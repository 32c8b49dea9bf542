/** https://spec.matrix.org/v1.19/client-server-api/#typing-notifications */

import { endpoint, graphql } from '../endpoint.ts'
import { Milliseconds } from '../shape.ts'
import { Type } from '../type.ts'

/** What a 32-bit number holds; the domain's own limit is far below. */
const longest = 2_147_483_647

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid */
export const setTyping = endpoint({
  method: 'PUT',
  path: '/_matrix/client/v3/rooms/{roomId}/typing/{userId}',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Type.Object({ typing: Type.Boolean(), timeout: Type.Optional(Milliseconds) }),
  operation: graphql(`
    mutation SetTyping($roomId: ID!, $userId: ID!, $typing: Boolean!, $timeoutMs: Int) {
      setTyping(roomId: $roomId, userId: $userId, typing: $typing, timeoutMs: $timeoutMs)
    }
  `),
  variables: ({ params, body }) => ({
    roomId: params.roomId,
    userId: params.userId,
    typing: body.typing,
    timeoutMs: body.timeout && Math.min(body.timeout, longest),
  }),
  response: () => ({}),
})
