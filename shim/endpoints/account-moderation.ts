/** https://spec.matrix.org/v1.19/client-server-api/#server-administration: locking and suspending people (MSC4323) */
import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminlockuserid */
export const getAdminLockUser = endpoint({
  method: 'GET',
  path: '/_matrix/client/v1/admin/lock/{userId}',
  aliases: ['/_matrix/client/unstable/uk.timedout.msc4323/admin/lock/{userId}'],
  auth: 'accessToken',
  operation: graphql(`query UserLocked($userId: ID!) { accountModeration(userId: $userId) { locked } }`),
  variables: ({ params }) => params,
  response: ({ accountModeration }) => accountModeration,
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid */
export const setAdminLockUser = endpoint({
  method: 'PUT',
  path: '/_matrix/client/v1/admin/lock/{userId}',
  aliases: ['/_matrix/client/unstable/uk.timedout.msc4323/admin/lock/{userId}'],
  auth: 'accessToken',
  body: Type.Object({ locked: Type.Boolean() }),
  operation: graphql(
    `mutation SetUserLocked($userId: ID!, $locked: Boolean!) { setUserLocked(userId: $userId, locked: $locked) { locked } }`,
  ),
  variables: ({ params, body }) => ({ ...params, locked: body.locked }),
  response: ({ setUserLocked }) => setUserLocked,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminsuspenduserid */
export const getAdminSuspendUser = endpoint({
  method: 'GET',
  path: '/_matrix/client/v1/admin/suspend/{userId}',
  aliases: ['/_matrix/client/unstable/uk.timedout.msc4323/admin/suspend/{userId}'],
  auth: 'accessToken',
  operation: graphql(`query UserSuspended($userId: ID!) { accountModeration(userId: $userId) { suspended } }`),
  variables: ({ params }) => params,
  response: ({ accountModeration }) => accountModeration,
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid */
export const setAdminSuspendUser = endpoint({
  method: 'PUT',
  path: '/_matrix/client/v1/admin/suspend/{userId}',
  aliases: ['/_matrix/client/unstable/uk.timedout.msc4323/admin/suspend/{userId}'],
  auth: 'accessToken',
  body: Type.Object({ suspended: Type.Boolean() }),
  operation: graphql(`
    mutation SetUserSuspended($userId: ID!, $suspended: Boolean!) { setUserSuspended(userId: $userId, suspended: $suspended) { suspended } }
  `),
  variables: ({ params, body }) => ({ ...params, suspended: body.suspended }),
  response: ({ setUserSuspended }) => setUserSuspended,
})
