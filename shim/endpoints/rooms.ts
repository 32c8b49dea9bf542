/** https://spec.matrix.org/v1.19/client-server-api/#creation and #listing-rooms */

import { CreateRoomBody, createRoomInput } from '../create-room-body.ts'
import { endpoint, graphql } from '../endpoint.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom */
export const createRoom = endpoint({
  method: 'POST',
  path: '/_matrix/client/v3/createRoom',
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  // A bridge names all members of a large room here, some of them twice.
  bodyLimitBytes: 4_194_304,
  body: CreateRoomBody,
  operation: graphql(`mutation CreateRoom($input: CreateRoomInput!) { createRoom(input: $input) { roomId } }`),
  variables: ({ body }) => ({ input: createRoomInput(body) }),
  response: (data) => ({ room_id: data.createRoom.roomId }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms */
export const getJoinedRooms = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/joined_rooms',
  auth: 'accessToken',
  puppet: true,
  operation: graphql(`query JoinedRooms { joinedRooms }`),
  variables: () => ({}),
  response: ({ joinedRooms }) => ({ joined_rooms: joinedRooms }),
})
