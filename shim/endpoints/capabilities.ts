/** https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation */
import { endpoint, graphql } from '../endpoint.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities */
export const getCapabilities = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/capabilities',
  auth: 'accessToken',
  rateLimited: true,
  operation: graphql(`query Capabilities { capabilities }`),
  variables: () => ({}),
  response: ({ capabilities }) => ({ capabilities }),
})
