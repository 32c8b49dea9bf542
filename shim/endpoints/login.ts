/** https://spec.matrix.org/v1.19/client-server-api/#login */

import { forbidden } from '../../src/errors.ts'
import { endpoint, graphql } from '../endpoint.ts'
import { ownerOf, sessionAnswer } from '../session-answer.ts'
import { AnyObject } from '../shape.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login */
export const getLoginFlows = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/login',
  auth: 'none',
  puppet: true,
  operation: graphql(`query LoginFlows { loginFlows { type getLoginToken } }`),
  variables: () => ({}),
  response: ({ loginFlows }) => ({
    flows: loginFlows.map(({ type, getLoginToken }) => (getLoginToken ? { type, get_login_token: true } : { type })),
  }),
})

const Identifier = Type.Object({ type: Type.String(), user: Type.Optional(Type.String()) })

interface Named {
  readonly identifier?: { readonly type: string; readonly user?: string }
  readonly user?: string
}

/** Of the identifiers only names are known here; the older `user` stands beside. */
function userOf({ identifier, user }: Named): string | null {
  if (!identifier) return user ?? null
  if (identifier.type !== 'm.id.user') throw forbidden('Only user IDs are known here')
  return identifier.user ?? user ?? null
}

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login */
export const login = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/login',
  auth: 'accessTokenOptional',
  rateLimited: 'login',
  body: Type.Object({
    type: Type.String(),
    identifier: Type.Optional(Identifier),
    user: Type.Optional(Type.String()),
    password: Type.Optional(Type.String()),
    token: Type.Optional(Type.String()),
    device_id: Type.Optional(Type.String()),
    initial_device_display_name: Type.Optional(Type.String()),
    refresh_token: Type.Optional(Type.Boolean()),
  }),
  owner: ({ body }) => ownerOf(userOf(body)),
  operation: graphql(`
    mutation Login($input: LoginInput!) {
      login(input: $input) { userId deviceId accessToken refreshToken expiresInMs homeserverUrl }
    }
  `),
  variables: ({ body }) => ({
    input: {
      type: body.type,
      user: userOf(body),
      password: body.password ?? null,
      token: body.token ?? null,
      deviceId: body.device_id ?? null,
      initialDeviceDisplayName: body.initial_device_display_name ?? null,
      refreshToken: body.refresh_token ?? null,
    },
  }),
  response: ({ login: { userId, homeserverUrl, ...session } }) => ({
    user_id: userId,
    ...sessionAnswer(session),
    well_known: homeserverUrl === null ? undefined : { 'm.homeserver': { base_url: homeserverUrl } },
  }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token */
export const generateLoginToken = endpoint({
  method: 'POST',
  path: '/_matrix/client/v1/login/get_token',
  auth: 'accessToken',
  rateLimited: 'login',
  body: Type.Object({ auth: Type.Optional(AnyObject) }),
  operation: graphql(`
    mutation GenerateLoginToken($auth: JsonObject) { generateLoginToken(auth: $auth) { loginToken expiresInMs } }
  `),
  variables: ({ body }) => ({ auth: body.auth ?? null }),
  response: ({ generateLoginToken: { loginToken, expiresInMs } }) => ({ login_token: loginToken, expires_in_ms: expiresInMs }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh */
export const refresh = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/refresh',
  auth: 'none',
  rateLimited: true,
  body: Type.Object({ refresh_token: Type.String() }),
  operation: graphql(`
    mutation RefreshSession($refreshToken: String!) {
      refreshSession(refreshToken: $refreshToken) { accessToken refreshToken expiresInMs }
    }
  `),
  variables: ({ body }) => ({ refreshToken: body.refresh_token }),
  response: ({ refreshSession: { accessToken, refreshToken, expiresInMs } }) => ({
    access_token: accessToken,
    refresh_token: refreshToken ?? undefined,
    expires_in_ms: expiresInMs ?? undefined,
  }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout */
export const logout = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/logout',
  locked: true,
  auth: 'accessToken',
  operation: graphql(`mutation Logout { logout }`),
  variables: () => ({}),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall */
export const logout_all = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/logout/all',
  locked: true,
  auth: 'accessToken',
  operation: graphql(`mutation LogoutAll { logoutAll }`),
  variables: () => ({}),
  response: () => ({}),
})
