/** https://spec.matrix.org/v1.19/client-server-api/#server-discovery */
import { notFound } from '../../src/errors.ts'
import { endpoint, graphql } from '../endpoint.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient */
export const getWellknown = endpoint({
  method: 'GET',
  path: '/.well-known/matrix/client',
  auth: 'none',
  puppet: true,
  operation: graphql(`query HomeserverUrl { homeserverUrl }`),
  variables: () => ({}),
  response: ({ homeserverUrl }) => {
    if (homeserverUrl === null) throw notFound('No public address is configured')
    return { 'm.homeserver': { base_url: homeserverUrl } }
  },
})
