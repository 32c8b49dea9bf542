/** https://spec.matrix.org/v1.19/client-server-api/#account-management */
import { endpoint, graphql } from '../endpoint.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami */
export const getTokenOwner = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/account/whoami',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  operation: graphql(`query WhoAmI { whoami { userId deviceId } }`),
  variables: () => ({}),
  response: ({ whoami }) => ({ user_id: whoami.userId, device_id: whoami.deviceId ?? undefined, is_guest: false }),
})
