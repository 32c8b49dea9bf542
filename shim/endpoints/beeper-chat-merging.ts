/** Merging and splitting rooms, as a network merges and splits contacts. */
import { CreateRoomBody, createRoomInput } from '../create-room-body.ts'
import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

const base = '/_matrix/client/unstable/com.beeper.chatmerging'
const common = { auth: 'accessToken', bodyLimitBytes: 4_194_304 } as const

/** `{create, key, rooms, user_id}` → `{room_id}` */
export const mergeRooms = endpoint({
  method: 'POST',
  path: `${base}/merge`,
  ...common,
  body: Type.Object({
    create: CreateRoomBody,
    key: Type.String(),
    rooms: Type.Array(Type.String()),
    user_id: Type.Optional(Type.String()),
  }),
  operation: graphql(`
    mutation MergeRooms($create: CreateRoomInput!, $rooms: [ID!]!, $key: String!, $userId: ID) {
      mergeRooms(create: $create, rooms: $rooms, key: $key, userId: $userId) { roomId }
    }
  `),
  variables: ({ body }) => ({ create: createRoomInput(body.create), rooms: body.rooms, key: body.key, userId: body.user_id || null }),
  response: ({ mergeRooms }) => ({ room_id: mergeRooms.roomId }),
})

/** `{key, parts: [{user_id, values, create}]}` → `{room_ids: {value: room id}}` */
export const splitRoom = endpoint({
  method: 'POST',
  path: `${base}/rooms/{roomId}/split`,
  ...common,
  body: Type.Object({
    key: Type.String(),
    parts: Type.Array(Type.Object({ create: CreateRoomBody, values: Type.Array(Type.String()), user_id: Type.Optional(Type.String()) })),
  }),
  operation: graphql(`
    mutation SplitRoom($roomId: ID!, $key: String!, $parts: [SplitPartInput!]!) {
      splitRoom(roomId: $roomId, key: $key, parts: $parts) { value roomId }
    }
  `),
  variables: ({ params, body }) => ({
    roomId: params.roomId,
    key: body.key,
    parts: body.parts.map(({ create, values, user_id }) => ({ create: createRoomInput(create), values, userId: user_id || null })),
  }),
  response: ({ splitRoom }) => ({ room_ids: Object.fromEntries(splitRoom.map(({ value, roomId }) => [value, roomId])) }),
})
