/** https://spec.matrix.org/v1.19/client-server-api/#device-management */
import { endpoint, graphql } from '../endpoint.ts'

interface Device {
  readonly deviceId: string
  readonly displayName: string | null
  readonly lastSeenIp: string | null
  readonly lastSeenTs: number
}

function deviceAnswer({ deviceId, displayName, lastSeenIp, lastSeenTs }: Device): object {
  return { device_id: deviceId, display_name: displayName ?? undefined, last_seen_ip: lastSeenIp ?? undefined, last_seen_ts: lastSeenTs }
}

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices */
export const getDevices = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/devices',
  auth: 'accessToken',
  rateLimited: true,
  operation: graphql(`query Devices { devices { deviceId displayName lastSeenIp lastSeenTs } }`),
  variables: () => ({}),
  response: ({ devices }) => ({ devices: devices.map(deviceAnswer) }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid */
export const getDevice = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/devices/{deviceId}',
  auth: 'accessToken',
  rateLimited: true,
  operation: graphql(`query Device($deviceId: ID!) { device(deviceId: $deviceId) { deviceId displayName lastSeenIp lastSeenTs } }`),
  variables: ({ params }) => ({ deviceId: params.deviceId }),
  response: ({ device }) => deviceAnswer(device),
})
