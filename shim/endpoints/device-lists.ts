/** https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user */
import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges */
export const getKeysChanges = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/keys/changes',
  auth: 'accessToken',
  query: Type.Object({ from: Type.String(), to: Type.String() }),
  operation: graphql(`
    query DeviceLists($from: String!, $to: String!) {
      deviceLists(from: $from, to: $to) { changed left }
    }
  `),
  variables: ({ query }) => query,
  response: ({ deviceLists }) => deviceLists,
})
