/** https://spec.matrix.org/v1.19/client-server-api/#api-versions */
import { endpoint, graphql } from '../endpoint.ts'

/**
 * Clients also use it to see whether the server is alive, so it is never limited, and a token is not looked at: one that has ended would tell them
 * less than the versions do.
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions
 */
export const getVersions = endpoint({
  method: 'GET',
  path: '/_matrix/client/versions',
  auth: 'none',
  puppet: true,
  operation: graphql(`query Versions { versions { versions unstableFeatures } }`),
  variables: () => ({}),
  response: ({ versions }) => ({ versions: versions.versions, unstable_features: versions.unstableFeatures }),
})
