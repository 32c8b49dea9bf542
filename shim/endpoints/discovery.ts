/** https://spec.matrix.org/v1.19/client-server-api/#server-discovery */
import { notFound } from '../../src/errors.ts'
import { endpoint, graphql } from '../endpoint.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient */
export const getWellknown = endpoint({
  method: 'GET',
  path: '/.well-known/matrix/client',
  auth: 'none',
  puppet: true,
  operation: graphql(`query HomeserverUrl { homeserverUrl rtcTransports }`),
  variables: () => ({}),
  response: ({ homeserverUrl, rtcTransports }) => {
    if (homeserverUrl === null) throw notFound('No public address is configured')
    return {
      'm.homeserver': { base_url: homeserverUrl },
      // Where clients looked before MSC4143 had an endpoint; those that run as a widget still do.
      'org.matrix.msc4143.rtc_foci': rtcTransports.length > 0 ? rtcTransports : undefined,
    }
  },
})
