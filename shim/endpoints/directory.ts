/** https://spec.matrix.org/v1.19/client-server-api/#room-aliases and #published-room-directory */

import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

const alias = '/_matrix/client/v3/directory/room/{roomAlias}'
const listing = '/_matrix/client/v3/directory/list/room/{roomId}'
const publicRooms = '/_matrix/client/v3/publicRooms'

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias */
export const setRoomAlias = endpoint({
  method: 'PUT',
  path: alias,
  auth: 'accessToken',
  rateLimited: true,
  body: Type.Object({ room_id: Type.String() }),
  operation: graphql(`mutation CreateAlias($alias: String!, $roomId: ID!) { createAlias(alias: $alias, roomId: $roomId) }`),
  variables: ({ params, body }) => ({ alias: params.roomAlias, roomId: body.room_id }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias; a token says whose homeserver is meant. */
export const getRoomIdByAlias = endpoint({
  method: 'GET',
  path: alias,
  auth: 'accessTokenOptional',
  puppet: true,
  operation: graphql(`query RoomOfAlias($alias: String!) { roomOfAlias(alias: $alias) { roomId servers } }`),
  variables: ({ params }) => ({ alias: params.roomAlias }),
  response: ({ roomOfAlias }) => ({ room_id: roomOfAlias.roomId, servers: roomOfAlias.servers }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias */
export const deleteRoomAlias = endpoint({
  method: 'DELETE',
  path: alias,
  auth: 'accessToken',
  rateLimited: true,
  operation: graphql(`mutation DeleteAlias($alias: String!) { deleteAlias(alias: $alias) }`),
  variables: ({ params }) => ({ alias: params.roomAlias }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases */
export const getLocalAliases = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/rooms/{roomId}/aliases',
  aliases: ['/_matrix/client/unstable/org.matrix.msc2432/rooms/{roomId}/aliases'],
  auth: 'accessToken',
  puppet: true,
  operation: graphql(`query RoomAliases($roomId: ID!) { roomAliases(roomId: $roomId) }`),
  variables: ({ params }) => ({ roomId: params.roomId }),
  response: ({ roomAliases }) => ({ aliases: roomAliases }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid */
export const getRoomVisibilityOnDirectory = endpoint({
  method: 'GET',
  path: listing,
  auth: 'accessTokenOptional',
  puppet: true,
  operation: graphql(`query RoomListed($roomId: ID!) { roomListed(roomId: $roomId) }`),
  variables: ({ params }) => ({ roomId: params.roomId }),
  response: ({ roomListed }) => ({ visibility: roomListed ? 'public' : 'private' }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid */
export const setRoomVisibilityOnDirectory = endpoint({
  method: 'PUT',
  path: listing,
  auth: 'accessToken',
  rateLimited: true,
  body: Type.Object({ visibility: Type.Optional(Type.Union([Type.Literal('public'), Type.Literal('private')])) }),
  operation: graphql(`mutation SetRoomListed($roomId: ID!, $listed: Boolean!) { setRoomListed(roomId: $roomId, listed: $listed) }`),
  // "visibility: defaults to public."
  variables: ({ params, body }) => ({ roomId: params.roomId, listed: body.visibility !== 'private' }),
  response: () => ({}),
})

interface FoundRoom {
  readonly roomId: string
  readonly name: string | null
  readonly topic: string | null
  readonly canonicalAlias: string | null
  readonly avatarUrl: string | null
  readonly joinedMemberCount: number
  readonly joinRule: string
  readonly roomType: string | null
  readonly worldReadable: boolean
  readonly guestCanJoin: boolean
}

function publicRoomsAnswer(page: {
  rooms: readonly FoundRoom[]
  nextBatch: string | null
  prevBatch: string | null
  total: number
}): object {
  return {
    chunk: page.rooms.map((room) => ({
      room_id: room.roomId,
      name: room.name ?? undefined,
      topic: room.topic ?? undefined,
      canonical_alias: room.canonicalAlias ?? undefined,
      avatar_url: room.avatarUrl ?? undefined,
      num_joined_members: room.joinedMemberCount,
      join_rule: room.joinRule,
      room_type: room.roomType ?? undefined,
      world_readable: room.worldReadable,
      guest_can_join: room.guestCanJoin,
    })),
    next_batch: page.nextBatch ?? undefined,
    prev_batch: page.prevBatch ?? undefined,
    total_room_count_estimate: page.total,
  }
}

const Limit = Type.Optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647 }))

const listed = graphql(`
  query PublicRooms($limit: Int, $since: String, $server: String, $searchTerm: String, $roomTypes: JSON) {
    publicRooms(limit: $limit, since: $since, server: $server, searchTerm: $searchTerm, roomTypes: $roomTypes) {
      rooms { roomId name topic canonicalAlias avatarUrl joinedMemberCount joinRule roomType worldReadable guestCanJoin }
      nextBatch
      prevBatch
      total
    }
  }
`)

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms */
export const getPublicRooms = endpoint({
  method: 'GET',
  path: publicRooms,
  auth: 'accessTokenOptional',
  puppet: true,
  query: Type.Object({ limit: Limit, since: Type.Optional(Type.String()), server: Type.Optional(Type.String()) }),
  operation: listed,
  variables: ({ query }) => ({ limit: query.limit, since: query.since, server: query.server }),
  response: (data) => publicRoomsAnswer(data.publicRooms),
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms */
export const queryPublicRooms = endpoint({
  method: 'POST',
  path: publicRooms,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  query: Type.Object({ server: Type.Optional(Type.String()) }),
  body: Type.Object({
    limit: Limit,
    since: Type.Optional(Type.String()),
    filter: Type.Optional(
      Type.Object({
        generic_search_term: Type.Optional(Type.String()),
        room_types: Type.Optional(Type.Array(Type.Union([Type.String(), Type.Null()]))),
      }),
    ),
  }),
  operation: listed,
  variables: ({ query, body }) => ({
    limit: body.limit,
    since: body.since,
    server: query.server,
    searchTerm: body.filter?.generic_search_term,
    roomTypes: body.filter?.room_types,
  }),
  response: (data) => publicRoomsAnswer(data.publicRooms),
})
