/** https://spec.matrix.org/v1.19/client-server-api/#cross-signing */
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'
import { Type } from '../type.ts'

/** Some clients write null for what they leave out. */
const Key = Type.Optional(Type.Union([AnyObject, Type.Null()]))

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload */
export const uploadCrossSigningKeys = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/keys/device_signing/upload',
  aliases: ['/_matrix/client/unstable/keys/device_signing/upload'],
  auth: 'accessToken',
  rateLimited: true,
  // What is signed has no fractions.
  strict: true,
  body: Type.Object({ master_key: Key, self_signing_key: Key, user_signing_key: Key, auth: Type.Optional(AnyObject) }),
  operation: graphql(`
    mutation UploadCrossSigningKeys(
      $masterKey: JsonObject
      $selfSigningKey: JsonObject
      $userSigningKey: JsonObject
      $auth: JsonObject
    ) {
      uploadCrossSigningKeys(masterKey: $masterKey, selfSigningKey: $selfSigningKey, userSigningKey: $userSigningKey, auth: $auth)
    }
  `),
  variables: ({ body }) => ({
    masterKey: body.master_key ?? null,
    selfSigningKey: body.self_signing_key ?? null,
    userSigningKey: body.user_signing_key ?? null,
    auth: body.auth ?? null,
  }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload */
export const uploadCrossSigningSignatures = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/keys/signatures/upload',
  aliases: ['/_matrix/client/unstable/keys/signatures/upload'],
  auth: 'accessToken',
  rateLimited: true,
  strict: true,
  body: AnyObject,
  operation: graphql(`mutation UploadSignatures($signatures: JsonObject!) { uploadSignatures(signatures: $signatures) }`),
  variables: ({ body }) => ({ signatures: body }),
  response: ({ uploadSignatures: failures }) => ({ failures }),
})
