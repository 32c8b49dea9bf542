/** https://spec.matrix.org/v1.19/client-server-api/#user-directory */

import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch */
export const searchUserDirectory = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/user_directory/search',
  auth: 'accessToken',
  rateLimited: true,
  body: Type.Object({ search_term: Type.String(), limit: Type.Optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647 })) }),
  operation: graphql(`
    query SearchUsers($term: String!, $limit: Int) {
      searchUsers(term: $term, limit: $limit) { users { userId displayName avatarUrl } limited }
    }
  `),
  variables: ({ body }) => ({ term: body.search_term, limit: body.limit ?? null }),
  response: ({ searchUsers }) => ({
    limited: searchUsers.limited,
    results: searchUsers.users.map(({ userId, displayName, avatarUrl }) => ({
      user_id: userId,
      display_name: displayName ?? undefined,
      avatar_url: avatarUrl ?? undefined,
    })),
  }),
})
