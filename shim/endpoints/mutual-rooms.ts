/** https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms */
import { invalidParam } from '../../src/errors.ts'
import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

/**
 * `user_id` is whom the rooms are shared with. An appservice that asks as another than its bot gives it twice, first who asks.
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms
 */
export const getMutualRooms = endpoint({
  method: 'GET',
  path: '/_matrix/client/v1/mutual_rooms',
  aliases: ['/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms'],
  auth: 'accessToken',
  rateLimited: true,
  namesUser: true,
  query: Type.Object({
    user_id: Type.Array(Type.String()),
    from: Type.Optional(Type.String()),
    // What the proposal called it before, and matrix-js-sdk does still.
    batch_token: Type.Optional(Type.String()),
  }),
  operation: graphql(`
    query MutualRooms($userId: ID!, $after: String) {
      mutualRooms(userId: $userId, after: $after) { count edges { node { roomId } } pageInfo { hasNextPage endCursor } }
    }
  `),
  variables: ({ query, context }) => {
    const mayAssert = (context.actor?.appservice ?? null) !== null
    if (query.user_id.length > (mayAssert ? 2 : 1)) throw invalidParam('user_id takes one user')
    return { userId: query.user_id.at(-1) ?? '', after: query.from ?? query.batch_token }
  },
  response: ({ mutualRooms: { count, edges, pageInfo } }) => {
    const next = pageInfo.hasNextPage ? pageInfo.endCursor : undefined
    return { joined: edges.map(({ node }) => node.roomId), count, next_batch: next, next_batch_token: next }
  },
})
