/** https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption: the keys of devices. */
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject, EventContent, Milliseconds } from '../shape.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload */
export const uploadKeys = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/keys/upload',
  auth: 'accessToken',
  body: Type.Object({
    device_keys: Type.Optional(EventContent),
    one_time_keys: Type.Optional(EventContent),
    fallback_keys: Type.Optional(EventContent),
  }),
  operation: graphql(`
    mutation UploadKeys($deviceKeys: EventContent, $oneTimeKeys: EventContent, $fallbackKeys: EventContent) {
      uploadKeys(deviceKeys: $deviceKeys, oneTimeKeys: $oneTimeKeys, fallbackKeys: $fallbackKeys) { oneTimeKeys }
    }
  `),
  variables: ({ body }) => ({ deviceKeys: body.device_keys, oneTimeKeys: body.one_time_keys, fallbackKeys: body.fallback_keys }),
  response: ({ uploadKeys }) => ({ one_time_key_counts: uploadKeys.oneTimeKeys }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery; `timeout` is for other servers, which are not asked. */
export const queryKeys = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/keys/query',
  auth: 'accessToken',
  body: Type.Object({ device_keys: AnyObject, timeout: Type.Optional(Milliseconds) }),
  operation: graphql(`query QueryKeys($deviceKeys: JsonObject!) { queryKeys(deviceKeys: $deviceKeys) }`),
  variables: ({ body }) => ({ deviceKeys: body.device_keys }),
  response: ({ queryKeys }) => queryKeys,
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim */
export const claimKeys = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/keys/claim',
  auth: 'accessToken',
  body: Type.Object({ one_time_keys: AnyObject, timeout: Type.Optional(Milliseconds) }),
  operation: graphql(`mutation ClaimKeys($oneTimeKeys: JsonObject!) { claimKeys(oneTimeKeys: $oneTimeKeys) }`),
  variables: ({ body }) => ({ oneTimeKeys: body.one_time_keys }),
  response: ({ claimKeys }) => claimKeys,
})
