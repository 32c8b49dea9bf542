/** https://spec.matrix.org/v1.19/client-server-api/#filtering */
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter */
export const defineFilter = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/user/{userId}/filter',
  auth: 'accessToken',
  rateLimited: true,
  body: AnyObject,
  operation: graphql(
    `mutation CreateFilter($userId: ID, $filter: JsonObject!) { createFilter(userId: $userId, filter: $filter) { filterId } }`,
  ),
  variables: ({ params, body }) => ({ userId: params.userId, filter: body }),
  response: ({ createFilter }) => ({ filter_id: createFilter.filterId }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid */
export const getFilter = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/user/{userId}/filter/{filterId}',
  auth: 'accessToken',
  rateLimited: true,
  operation: graphql(`query Filter($userId: ID, $filterId: ID!) { filter(userId: $userId, filterId: $filterId) }`),
  variables: ({ params }) => ({ userId: params.userId, filterId: params.filterId }),
  response: ({ filter }) => filter,
})
