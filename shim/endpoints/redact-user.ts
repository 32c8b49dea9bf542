/** Redacting all that somebody said in a room. https://github.com/matrix-org/matrix-spec-proposals/pull/4194 */

import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

/** Not in the specification yet, so under its unstable path alone. Nothing soft-fails where nobody federates. */
export const redactUser = endpoint({
  method: 'POST',
  path: '/_matrix/client/unstable/org.matrix.msc4194/rooms/{roomId}/redact/user/{userId}',
  auth: 'accessToken',
  puppet: true,
  rateLimited: 'message',
  query: Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647 })) }),
  body: Type.Object({ reason: Type.Optional(Type.String()) }),
  operation: graphql(`
    mutation RedactUser($roomId: ID!, $userId: ID!, $reason: String, $limit: Int) {
      redactUser(roomId: $roomId, userId: $userId, reason: $reason, limit: $limit) { total more }
    }
  `),
  variables: ({ params, query, body }) => ({ ...params, reason: body.reason, limit: query.limit }),
  response: ({ redactUser: { total, more } }) => ({ is_more_events: more, redacted_events: { total, soft_failed: 0 } }),
})
