/** https://spec.matrix.org/v1.19/client-server-api/#client-config and #room-tagging */
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'

const global = '/_matrix/client/v3/user/{userId}/account_data/{type}'
const ofRoom = '/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}'
const tags = '/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags'

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype */
export const setAccountData = endpoint({
  method: 'PUT',
  path: global,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: AnyObject,
  operation: graphql(`
    mutation SetAccountData($userId: ID, $type: String!, $content: JsonObject!) {
      setAccountData(userId: $userId, type: $type, content: $content)
    }
  `),
  variables: ({ params, body }) => ({ userId: params.userId, type: params.type, content: body }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype */
export const getAccountData = endpoint({
  method: 'GET',
  path: global,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  operation: graphql(`query AccountData($userId: ID, $type: String!) { accountData(userId: $userId, type: $type) }`),
  variables: ({ params }) => ({ userId: params.userId, type: params.type }),
  response: ({ accountData }) => accountData,
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype */
export const setAccountDataPerRoom = endpoint({
  method: 'PUT',
  path: ofRoom,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: AnyObject,
  operation: graphql(`
    mutation SetAccountDataPerRoom($userId: ID, $roomId: ID, $type: String!, $content: JsonObject!) {
      setAccountData(userId: $userId, roomId: $roomId, type: $type, content: $content)
    }
  `),
  variables: ({ params, body }) => ({ userId: params.userId, roomId: params.roomId, type: params.type, content: body }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype */
export const getAccountDataPerRoom = endpoint({
  method: 'GET',
  path: ofRoom,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  operation: graphql(`
    query AccountDataPerRoom($userId: ID, $roomId: ID, $type: String!) { accountData(userId: $userId, roomId: $roomId, type: $type) }
  `),
  variables: ({ params }) => ({ userId: params.userId, roomId: params.roomId, type: params.type }),
  response: ({ accountData }) => accountData,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags */
export const getRoomTags = endpoint({
  method: 'GET',
  path: tags,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  operation: graphql(`query Tags($userId: ID, $roomId: ID!) { tags(userId: $userId, roomId: $roomId) }`),
  variables: ({ params }) => ({ userId: params.userId, roomId: params.roomId }),
  response: (data) => ({ tags: data.tags }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag */
export const setRoomTag = endpoint({
  method: 'PUT',
  path: `${tags}/{tag}`,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: AnyObject,
  operation: graphql(`
    mutation SetTag($userId: ID, $roomId: ID!, $tag: String!, $content: JsonObject!) {
      setTag(userId: $userId, roomId: $roomId, tag: $tag, content: $content)
    }
  `),
  variables: ({ params, body }) => ({ userId: params.userId, roomId: params.roomId, tag: params.tag, content: body }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag */
export const deleteRoomTag = endpoint({
  method: 'DELETE',
  path: `${tags}/{tag}`,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  operation: graphql(`
    mutation RemoveTag($userId: ID, $roomId: ID!, $tag: String!) { removeTag(userId: $userId, roomId: $roomId, tag: $tag) }
  `),
  variables: ({ params }) => ({ userId: params.userId, roomId: params.roomId, tag: params.tag }),
  response: () => ({}),
})
