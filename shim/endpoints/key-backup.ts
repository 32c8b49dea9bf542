/** https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups */
import type { Static } from 'typebox'
import { invalidParam } from '../../src/errors.ts'
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'
import { Type } from '../type.ts'

const versions = '/_matrix/client/v3/room_keys/version'
const keys = '/_matrix/client/v3/room_keys/keys'

/** All that a client has, at about 1 KB each. What is signed or encrypted knows whole numbers only. */
const common = { auth: 'accessToken', rateLimited: true, strict: true } as const
const large = { ...common, bodyLimitBytes: 16_777_216 } as const

const Description = { algorithm: Type.String(), auth_data: AnyObject }
const Version = Type.Object({ version: Type.String() })
const Count = Type.Integer({ minimum: 0, maximum: 2_147_483_647 })
const Key = Type.Object({
  first_message_index: Count,
  forwarded_count: Count,
  is_verified: Type.Boolean(),
  session_data: AnyObject,
})
const Sessions = Type.Object({ sessions: Type.Record(Type.String(), Key) })
const Rooms = Type.Object({ rooms: Type.Record(Type.String(), Sessions) })

function keyInput(roomId: string, sessionId: string, key: Static<typeof Key>) {
  const { first_message_index: firstMessageIndex, forwarded_count: forwardedCount, is_verified: isVerified } = key
  return { roomId, sessionId, firstMessageIndex, forwardedCount, isVerified, sessionData: key.session_data }
}

function keyInputs(roomId: string, { sessions }: Static<typeof Sessions>): ReturnType<typeof keyInput>[] {
  return Object.entries(sessions).map(([sessionId, key]) => keyInput(roomId, sessionId, key))
}

interface Backup {
  readonly version: string
  readonly algorithm: string
  readonly authData: object
  readonly count: number
  readonly etag: string
}

function backupAnswer({ version, algorithm, authData, count, etag }: Backup) {
  return { version, algorithm, auth_data: authData, count, etag }
}

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion */
export const postRoomKeysVersion = endpoint({
  ...common,
  method: 'POST',
  path: versions,
  body: Type.Object(Description),
  operation: graphql(`
    mutation PostRoomKeysVersion($algorithm: String!, $authData: JsonObject!) {
      createKeyBackup(algorithm: $algorithm, authData: $authData) { version }
    }
  `),
  variables: ({ body }) => ({ algorithm: body.algorithm, authData: body.auth_data }),
  response: ({ createKeyBackup }) => createKeyBackup,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversion */
export const getRoomKeysVersionCurrent = endpoint({
  ...common,
  method: 'GET',
  path: versions,
  operation: graphql(`query RoomKeysVersionCurrent { keyBackup { version algorithm authData count etag } }`),
  variables: () => ({}),
  response: ({ keyBackup }) => backupAnswer(keyBackup),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversionversion */
export const getRoomKeysVersion = endpoint({
  ...common,
  method: 'GET',
  path: `${versions}/{version}`,
  operation: graphql(`query RoomKeysVersion($version: ID!) { keyBackup(version: $version) { version algorithm authData count etag } }`),
  variables: ({ params }) => ({ version: params.version }),
  response: ({ keyBackup }) => backupAnswer(keyBackup),
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keysversionversion */
export const putRoomKeysVersion = endpoint({
  ...common,
  method: 'PUT',
  path: `${versions}/{version}`,
  body: Type.Object({ ...Description, version: Type.Optional(Type.String()) }),
  operation: graphql(`
    mutation PutRoomKeysVersion($version: ID!, $algorithm: String!, $authData: JsonObject!) {
      updateKeyBackup(version: $version, algorithm: $algorithm, authData: $authData) { version }
    }
  `),
  variables: ({ params, body }) => {
    if (body.version !== undefined && body.version !== params.version) throw invalidParam(`The body is of version ${body.version}`)
    return { version: params.version, algorithm: body.algorithm, authData: body.auth_data }
  },
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keysversionversion */
export const deleteRoomKeysVersion = endpoint({
  ...common,
  method: 'DELETE',
  path: `${versions}/{version}`,
  operation: graphql(`mutation DeleteRoomKeysVersion($version: ID!) { deleteKeyBackup(version: $version) }`),
  variables: ({ params }) => ({ version: params.version }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys */
export const putRoomKeys = endpoint({
  ...large,
  method: 'PUT',
  path: keys,
  query: Version,
  body: Rooms,
  operation: graphql(`
    mutation PutRoomKeys($version: ID!, $keys: [RoomKeyInput!]!) { putRoomKeys(version: $version, keys: $keys) { etag count } }
  `),
  variables: ({ query, body }) => ({
    version: query.version,
    keys: Object.entries(body.rooms).flatMap(([roomId, room]) => keyInputs(roomId, room)),
  }),
  response: ({ putRoomKeys }) => putRoomKeys,
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomid */
export const putRoomKeysByRoomId = endpoint({
  ...large,
  method: 'PUT',
  path: `${keys}/{roomId}`,
  query: Version,
  body: Sessions,
  operation: graphql(`
    mutation PutRoomKeysByRoomId($version: ID!, $keys: [RoomKeyInput!]!) { putRoomKeys(version: $version, keys: $keys) { etag count } }
  `),
  variables: ({ params, query, body }) => ({ version: query.version, keys: keyInputs(params.roomId, body) }),
  response: ({ putRoomKeys }) => putRoomKeys,
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomidsessionid */
export const putRoomKeyBySessionId = endpoint({
  ...common,
  method: 'PUT',
  path: `${keys}/{roomId}/{sessionId}`,
  query: Version,
  body: Key,
  operation: graphql(`
    mutation PutRoomKeyBySessionId($version: ID!, $keys: [RoomKeyInput!]!) { putRoomKeys(version: $version, keys: $keys) { etag count } }
  `),
  variables: ({ params, query, body }) => ({ version: query.version, keys: [keyInput(params.roomId, params.sessionId, body)] }),
  response: ({ putRoomKeys }) => putRoomKeys,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeys */
export const getRoomKeys = endpoint({
  ...common,
  method: 'GET',
  path: keys,
  query: Version,
  operation: graphql(`query RoomKeys($version: ID!) { roomKeys(version: $version) }`),
  variables: ({ query }) => ({ version: query.version }),
  response: ({ roomKeys }) => roomKeys,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomid */
export const getRoomKeysByRoomId = endpoint({
  ...common,
  method: 'GET',
  path: `${keys}/{roomId}`,
  query: Version,
  operation: graphql(`query RoomKeysByRoomId($version: ID!, $roomId: ID!) { roomKeys(version: $version, roomId: $roomId) }`),
  variables: ({ params, query }) => ({ version: query.version, roomId: params.roomId }),
  response: ({ roomKeys }) => roomKeys,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomidsessionid */
export const getRoomKeyBySessionId = endpoint({
  ...common,
  method: 'GET',
  path: `${keys}/{roomId}/{sessionId}`,
  query: Version,
  operation: graphql(`
    query RoomKeyBySessionId($version: ID!, $roomId: ID!, $sessionId: ID!) {
      roomKey(version: $version, roomId: $roomId, sessionId: $sessionId) { firstMessageIndex forwardedCount isVerified sessionData }
    }
  `),
  variables: ({ params, query }) => ({ version: query.version, roomId: params.roomId, sessionId: params.sessionId }),
  response: ({ roomKey }) => ({
    first_message_index: roomKey.firstMessageIndex,
    forwarded_count: roomKey.forwardedCount,
    is_verified: roomKey.isVerified,
    session_data: roomKey.sessionData,
  }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeys */
export const deleteRoomKeys = endpoint({
  ...common,
  method: 'DELETE',
  path: keys,
  query: Version,
  operation: graphql(`mutation DeleteRoomKeys($version: ID!) { deleteRoomKeys(version: $version) { etag count } }`),
  variables: ({ query }) => ({ version: query.version }),
  response: ({ deleteRoomKeys }) => deleteRoomKeys,
})

/** https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeysroomid */
export const deleteRoomKeysByRoomId = endpoint({
  ...common,
  method: 'DELETE',
  path: `${keys}/{roomId}`,
  query: Version,
  operation: graphql(`
    mutation DeleteRoomKeysByRoomId($version: ID!, $roomId: ID!) { deleteRoomKeys(version: $version, roomId: $roomId) { etag count } }
  `),
  variables: ({ params, query }) => ({ version: query.version, roomId: params.roomId }),
  response: ({ deleteRoomKeys }) => deleteRoomKeys,
})

/** https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeysroomidsessionid */
export const deleteRoomKeyBySessionId = endpoint({
  ...common,
  method: 'DELETE',
  path: `${keys}/{roomId}/{sessionId}`,
  query: Version,
  operation: graphql(`
    mutation DeleteRoomKeyBySessionId($version: ID!, $roomId: ID!, $sessionId: ID!) {
      deleteRoomKeys(version: $version, roomId: $roomId, sessionId: $sessionId) { etag count }
    }
  `),
  variables: ({ params, query }) => ({ version: query.version, roomId: params.roomId, sessionId: params.sessionId }),
  response: ({ deleteRoomKeys }) => deleteRoomKeys,
})
