/** MSC3814: https://github.com/matrix-org/matrix-spec-proposals/pull/3814 */
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'
import { Type } from '../type.ts'

const path = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device'
const common = { auth: 'accessToken', rateLimited: true } as const

/** The keys go with it, as `/keys/upload` takes them. */
export const putDehydratedDevice = endpoint({
  ...common,
  method: 'PUT',
  path,
  strict: true,
  body: Type.Object({
    device_id: Type.String(),
    device_data: AnyObject,
    initial_device_display_name: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    device_keys: AnyObject,
    one_time_keys: Type.Optional(AnyObject),
    fallback_keys: Type.Optional(AnyObject),
  }),
  operation: graphql(`
    mutation PutDehydratedDevice(
      $deviceId: ID!, $deviceData: JsonObject!, $displayName: String, $deviceKeys: JsonObject!, $oneTimeKeys: JsonObject, $fallbackKeys: JsonObject
    ) {
      putDehydratedDevice(
        deviceId: $deviceId, deviceData: $deviceData, displayName: $displayName, deviceKeys: $deviceKeys
        oneTimeKeys: $oneTimeKeys, fallbackKeys: $fallbackKeys
      ) { deviceId }
    }
  `),
  variables: ({ body }) => ({
    deviceId: body.device_id,
    deviceData: body.device_data,
    displayName: body.initial_device_display_name,
    deviceKeys: body.device_keys,
    oneTimeKeys: body.one_time_keys,
    fallbackKeys: body.fallback_keys,
  }),
  response: ({ putDehydratedDevice }) => ({ device_id: putDehydratedDevice.deviceId }),
})

export const getDehydratedDevice = endpoint({
  ...common,
  method: 'GET',
  path,
  operation: graphql(`query DehydratedDevice { dehydratedDevice { deviceId deviceData } }`),
  variables: () => ({}),
  response: ({ dehydratedDevice: { deviceId, deviceData } }) => ({ device_id: deviceId, device_data: deviceData }),
})

export const deleteDehydratedDevice = endpoint({
  ...common,
  method: 'DELETE',
  path,
  operation: graphql(`mutation DeleteDehydratedDevice { deleteDehydratedDevice }`),
  variables: () => ({}),
  response: ({ deleteDehydratedDevice }) => ({ device_id: deleteDehydratedDevice }),
})

/** As matrix-js-sdk 43 and Synapse have it: without `next_batch` when that was all. */
export const getDehydratedDeviceEvents = endpoint({
  ...common,
  method: 'GET',
  path: `${path}/{deviceId}/events`,
  query: Type.Object({ from: Type.Optional(Type.String()) }),
  operation: graphql(`
    query DehydratedDeviceEvents($deviceId: ID!, $from: String) {
      dehydratedMessages(deviceId: $deviceId, from: $from) { messages nextBatch hasMore }
    }
  `),
  variables: ({ params, query }) => ({ deviceId: params.deviceId, from: query.from }),
  response: ({ dehydratedMessages: { messages, nextBatch, hasMore } }) => ({
    events: messages,
    next_batch: hasMore ? nextBatch : undefined,
  }),
})

/** As matrix-rust-sdk and older clients have it: they ask until no events come. */
export const postDehydratedDeviceEvents = endpoint({
  ...common,
  method: 'POST',
  path: `${path}/{deviceId}/events`,
  body: Type.Object({ next_batch: Type.Optional(Type.Union([Type.String(), Type.Null()])) }),
  operation: graphql(`
    query DehydratedDeviceEventsOfOld($deviceId: ID!, $from: String) {
      dehydratedMessages(deviceId: $deviceId, from: $from) { messages nextBatch }
    }
  `),
  variables: ({ params, body }) => ({ deviceId: params.deviceId, from: body.next_batch }),
  response: ({ dehydratedMessages: { messages, nextBatch } }) => ({ events: messages, next_batch: nextBatch }),
})
