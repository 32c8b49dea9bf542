/** https://spec.matrix.org/v1.19/client-server-api/#relationships-api and #threading */
import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

const path = '/_matrix/client/v1/rooms/{roomId}/relations/{eventId}'
const older = '/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}'

const Limit = Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 }))
const query = Type.Object({
  from: Type.Optional(Type.String()),
  to: Type.Optional(Type.String()),
  limit: Limit,
  dir: Type.Optional(Type.Union([Type.Literal('b'), Type.Literal('f')])),
  recurse: Type.Optional(Type.Boolean()),
})

const operation = graphql(`
  query EventRelations(
    $roomId: ID!, $eventId: ID!, $relType: String, $eventType: String, $dir: Direction, $from: String, $to: String, $limit: Int, $recurse: Boolean
  ) {
    eventRelations(
      roomId: $roomId, eventId: $eventId, relType: $relType, eventType: $eventType, dir: $dir, from: $from, to: $to, limit: $limit, recurse: $recurse
    )
  }
`)

interface Query {
  readonly from?: string
  readonly to?: string
  readonly limit?: number
  readonly dir?: 'b' | 'f'
  readonly recurse?: boolean
}

function page({ dir, ...rest }: Query) {
  return { ...rest, dir: dir === undefined ? null : dir === 'b' ? ('BACKWARDS' as const) : ('FORWARDS' as const) }
}

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid */
export const getRelatingEvents = endpoint({
  method: 'GET',
  path,
  aliases: [older],
  auth: 'accessToken',
  puppet: true,
  query,
  operation,
  variables: ({ params, query }) => ({ ...page(query), roomId: params.roomId, eventId: params.eventId }),
  response: ({ eventRelations }) => eventRelations,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltype */
export const getRelatingEventsWithRelType = endpoint({
  method: 'GET',
  path: `${path}/{relType}`,
  aliases: [`${older}/{relType}`],
  auth: 'accessToken',
  puppet: true,
  query,
  operation,
  variables: ({ params, query }) => ({ ...page(query), roomId: params.roomId, eventId: params.eventId, relType: params.relType }),
  response: ({ eventRelations }) => eventRelations,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype */
export const getRelatingEventsWithRelTypeAndEventType = endpoint({
  method: 'GET',
  path: `${path}/{relType}/{eventType}`,
  aliases: [`${older}/{relType}/{eventType}`],
  auth: 'accessToken',
  puppet: true,
  query,
  operation,
  variables: ({ params, query }) => ({
    ...page(query),
    roomId: params.roomId,
    eventId: params.eventId,
    relType: params.relType,
    eventType: params.eventType,
  }),
  response: ({ eventRelations }) => eventRelations,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads */
export const getThreadRoots = endpoint({
  method: 'GET',
  path: '/_matrix/client/v1/rooms/{roomId}/threads',
  auth: 'accessToken',
  puppet: true,
  query: Type.Object({
    from: Type.Optional(Type.String()),
    limit: Limit,
    include: Type.Optional(Type.Union([Type.Literal('all'), Type.Literal('participated')])),
  }),
  operation: graphql(`
    query RoomThreads($roomId: ID!, $participated: Boolean, $from: String, $limit: Int) {
      roomThreads(roomId: $roomId, participated: $participated, from: $from, limit: $limit)
    }
  `),
  variables: ({ params, query: { include, ...rest } }) => ({ ...rest, roomId: params.roomId, participated: include === 'participated' }),
  response: ({ roomThreads }) => roomThreads,
})
