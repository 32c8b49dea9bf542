/** https://spec.matrix.org/v1.19/client-server-api/#account-registration and #account-management */

import { endpoint, graphql } from '../endpoint.ts'
import { ownerOf, sessionAnswer } from '../session-answer.ts'
import { AnyObject } from '../shape.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register */
export const register = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/register',
  auth: 'accessTokenOptional',
  rateLimited: 'login',
  query: Type.Object({ kind: Type.Optional(Type.String()) }),
  body: Type.Object({
    type: Type.Optional(Type.String()),
    username: Type.Optional(Type.String()),
    password: Type.Optional(Type.String()),
    device_id: Type.Optional(Type.String()),
    initial_device_display_name: Type.Optional(Type.String()),
    inhibit_login: Type.Optional(Type.Boolean()),
    refresh_token: Type.Optional(Type.Boolean()),
    auth: Type.Optional(AnyObject),
  }),
  owner: ({ body }) => ownerOf(body.username),
  operation: graphql(`
    mutation Register($input: RegisterInput!) {
      register(input: $input) { userId session { accessToken deviceId refreshToken expiresInMs } }
    }
  `),
  variables: ({ query, body }) => ({
    input: {
      type: body.type ?? null,
      kind: query.kind ?? null,
      username: body.username ?? null,
      password: body.password ?? null,
      deviceId: body.device_id ?? null,
      initialDeviceDisplayName: body.initial_device_display_name ?? null,
      inhibitLogin: body.inhibit_login ?? null,
      refreshToken: body.refresh_token ?? null,
      auth: body.auth ?? null,
    },
  }),
  response: ({ register: { userId, session } }) => ({ user_id: userId, ...(session ? sessionAnswer(session) : {}) }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable */
export const checkUsernameAvailability = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/register/available',
  auth: 'none',
  rateLimited: true,
  query: Type.Object({ username: Type.String() }),
  owner: ({ query }) => ownerOf(query.username),
  operation: graphql(`query UsernameAvailable($username: String!) { usernameAvailable(username: $username) }`),
  variables: ({ query }) => ({ username: query.username }),
  response: ({ usernameAvailable }) => ({ available: usernameAvailable }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity */
export const registrationTokenValidity = endpoint({
  method: 'GET',
  path: '/_matrix/client/v1/register/m.login.registration_token/validity',
  auth: 'none',
  rateLimited: 'login',
  query: Type.Object({ token: Type.String() }),
  operation: graphql(`query RegistrationTokenValid($token: String!) { registrationTokenValid(token: $token) }`),
  variables: ({ query }) => ({ token: query.token }),
  response: ({ registrationTokenValid }) => ({ valid: registrationTokenValid }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami */
export const getTokenOwner = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/account/whoami',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  operation: graphql(`query WhoAmI { whoami { userId deviceId } }`),
  variables: () => ({}),
  response: ({ whoami }) => ({ user_id: whoami.userId, device_id: whoami.deviceId ?? undefined, is_guest: false }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword */
export const changePassword = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/account/password',
  auth: 'accessToken',
  rateLimited: 'login',
  body: Type.Object({
    new_password: Type.Optional(Type.String()),
    logout_devices: Type.Optional(Type.Boolean()),
    auth: Type.Optional(AnyObject),
  }),
  operation: graphql(`
    mutation ChangePassword($newPassword: String, $logoutDevices: Boolean, $auth: JsonObject) {
      changePassword(newPassword: $newPassword, logoutDevices: $logoutDevices, auth: $auth)
    }
  `),
  variables: ({ body }) => ({
    newPassword: body.new_password ?? null,
    logoutDevices: body.logout_devices ?? null,
    auth: body.auth ?? null,
  }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate */
export const deactivateAccount = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/account/deactivate',
  auth: 'accessToken',
  rateLimited: 'login',
  body: Type.Object({ auth: Type.Optional(AnyObject), erase: Type.Optional(Type.Boolean()), id_server: Type.Optional(Type.String()) }),
  operation: graphql(`mutation DeactivateAccount($auth: JsonObject) { deactivateAccount(auth: $auth) }`),
  variables: ({ body }) => ({ auth: body.auth ?? null }),
  // No identity server knows anything of ours.
  response: () => ({ id_server_unbind_result: 'no-support' }),
})
