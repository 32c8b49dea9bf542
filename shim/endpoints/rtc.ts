/** https://github.com/matrix-org/matrix-spec-proposals/pull/4143 */
import { endpoint, graphql } from '../endpoint.ts'
import { unrecognized } from '../errors.ts'

/**
 * Where nothing is configured it says that there is no such endpoint: clients then look for calls in a `.well-known` that the operator may serve
 * elsewhere. An empty list would tell them to look no further.
 */
export const getRtcTransports = endpoint({
  method: 'GET',
  path: '/_matrix/client/v1/rtc/transports',
  aliases: ['/_matrix/client/unstable/org.matrix.msc4143/rtc/transports'],
  auth: 'accessToken',
  puppet: true,
  operation: graphql(`query RtcTransports { rtcTransports }`),
  variables: () => ({}),
  response: ({ rtcTransports }) => {
    if (rtcTransports.length === 0) throw unrecognized()
    return { rtc_transports: rtcTransports }
  },
})
