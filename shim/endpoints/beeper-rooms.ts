/** What bridges do with whole rooms at Beeper's homeserver. */
import { endpoint, graphql } from '../endpoint.ts'

/** "Yeet": the room is gone for everybody at once. A second time is 404 M_NOT_FOUND, which bridges take for success. */
export const yeetRoom = endpoint({
  method: 'POST',
  path: '/_matrix/client/unstable/com.beeper.yeet/rooms/{roomId}/delete',
  auth: 'appservice',
  operation: graphql(`mutation YeetRoom($roomId: ID!) { deleteRoom(roomId: $roomId) }`),
  variables: ({ params }) => ({ roomId: params.roomId }),
  response: () => ({}),
})
