/** https://spec.matrix.org/v1.19/client-server-api/#device-management */
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'
import { Type } from '../type.ts'

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

/** 201: an appservice made it. https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid */
export const updateDevice = endpoint({
  method: 'PUT',
  path: '/_matrix/client/v3/devices/{deviceId}',
  auth: 'accessToken',
  rateLimited: true,
  body: Type.Object({ display_name: Type.Optional(Type.String()) }),
  operation: graphql(`
    mutation UpdateDevice($deviceId: ID!, $displayName: String) {
      updateDevice(deviceId: $deviceId, displayName: $displayName) { created }
    }
  `),
  variables: ({ params, body }) => ({ ...params, displayName: body.display_name ?? null }),
  status: ({ updateDevice: { created } }) => (created ? 201 : 200),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid */
export const deleteDevice = endpoint({
  method: 'DELETE',
  path: '/_matrix/client/v3/devices/{deviceId}',
  auth: 'accessToken',
  rateLimited: true,
  body: Type.Object({ auth: Type.Optional(AnyObject) }),
  operation: graphql(`
    mutation DeleteDevice($deviceIds: [ID!], $auth: JsonObject) { deleteDevices(deviceIds: $deviceIds, auth: $auth) }
  `),
  variables: ({ params, body }) => ({ deviceIds: [params.deviceId], auth: body.auth ?? null }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices */
export const deleteDevices = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/delete_devices',
  auth: 'accessToken',
  rateLimited: true,
  body: Type.Object({ devices: Type.Optional(Type.Array(Type.String())), auth: Type.Optional(AnyObject) }),
  operation: graphql(`
    mutation DeleteDevices($deviceIds: [ID!], $auth: JsonObject) { deleteDevices(deviceIds: $deviceIds, auth: $auth) }
  `),
  variables: ({ body }) => ({ deviceIds: body.devices ?? null, auth: body.auth ?? null }),
  response: () => ({}),
})
