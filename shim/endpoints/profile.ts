/** https://spec.matrix.org/v1.19/client-server-api/#profiles */

import { MatrixError } from '../../src/errors.ts'
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'

const whole = '/_matrix/client/v3/profile/{userId}'
const field = '/_matrix/client/v3/profile/{userId}/{keyName}'
const unstableField = '/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}'

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid */
export const getUserProfile = endpoint({
  method: 'GET',
  path: whole,
  aliases: ['/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}'],
  auth: 'accessTokenOptional',
  puppet: true,
  operation: graphql(`query Profile($userId: ID!) { profile(userId: $userId) }`),
  variables: ({ params }) => ({ userId: params.userId }),
  response: ({ profile }) => profile,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname */
export const getProfileField = endpoint({
  method: 'GET',
  path: field,
  aliases: [unstableField],
  auth: 'accessTokenOptional',
  puppet: true,
  operation: graphql(`query ProfileField($userId: ID!, $key: String!) { profileField(userId: $userId, key: $key) }`),
  variables: ({ params }) => ({ userId: params.userId, key: params.keyName }),
  response: ({ profileField }, { params }) => (profileField === null ? {} : { [params.keyName]: profileField }),
})

/** The value stands under the field's own name, which no schema knows. */
function valueIn(body: object, key: string): unknown {
  if (!Object.hasOwn(body, key)) throw new MatrixError('M_MISSING_PARAM', `Missing ${key}`)
  return (body as Readonly<Record<string, unknown>>)[key]
}

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname */
export const setProfileField = endpoint({
  method: 'PUT',
  path: field,
  aliases: [unstableField],
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: AnyObject,
  operation: graphql(`
    mutation SetProfileField($userId: ID, $key: String!, $value: JSON) { setProfileField(userId: $userId, key: $key, value: $value) }
  `),
  variables: ({ params, body }) => ({ userId: params.userId, key: params.keyName, value: valueIn(body, params.keyName) }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname */
export const deleteProfileField = endpoint({
  method: 'DELETE',
  path: field,
  aliases: [unstableField],
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  operation: graphql(`mutation DeleteProfileField($userId: ID, $key: String!) { setProfileField(userId: $userId, key: $key) }`),
  variables: ({ params }) => ({ userId: params.userId, key: params.keyName }),
  response: () => ({}),
})

/** Sets the fields that the body names and takes away those that are null; bridges give their ghosts all that they know at once. */
export const updateProfile = endpoint({
  method: 'PATCH',
  path: whole,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: AnyObject,
  operation: graphql(`mutation UpdateProfile($userId: ID, $fields: JsonObject!) { updateProfile(userId: $userId, fields: $fields) }`),
  variables: ({ params, body }) => ({ userId: params.userId, fields: body }),
  response: () => ({}),
})

/** MSC4437: the body is the whole profile. */
export const replaceProfile = endpoint({
  method: 'PUT',
  path: whole,
  aliases: ['/_matrix/client/unstable/com.beeper.msc4437/profile/{userId}'],
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: AnyObject,
  operation: graphql(`mutation ReplaceProfile($userId: ID, $fields: JsonObject!) { replaceProfile(userId: $userId, fields: $fields) }`),
  variables: ({ params, body }) => ({ userId: params.userId, fields: body }),
  response: () => ({}),
})
