/** What bridges know of their networks. https://spec.matrix.org/v1.19/client-server-api/#third-party-networks */

import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

const thirdParty = '/_matrix/client/v3/thirdparty'

/** Whatever the bridge has named, once or several times. */
const Fields = Type.Record(Type.String(), Type.Array(Type.String()))

interface FoundUser {
  readonly userId: string
  readonly protocol: string
  readonly fields: unknown
}

interface FoundLocation {
  readonly alias: string
  readonly protocol: string
  readonly fields: unknown
}

function usersAnswer(users: readonly FoundUser[]): object {
  return users.map(({ userId, protocol, fields }) => ({ userid: userId, protocol, fields }))
}

function locationsAnswer(locations: readonly FoundLocation[]): object {
  return locations.map(({ alias, protocol, fields }) => ({ alias, protocol, fields }))
}

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols */
export const getProtocols = endpoint({
  method: 'GET',
  path: `${thirdParty}/protocols`,
  auth: 'accessToken',
  operation: graphql(`query ThirdPartyProtocols { thirdPartyProtocols { protocol metadata } }`),
  variables: () => ({}),
  response: ({ thirdPartyProtocols }) => Object.fromEntries(thirdPartyProtocols.map(({ protocol, metadata }) => [protocol, metadata])),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocolprotocol */
export const getProtocolMetadata = endpoint({
  method: 'GET',
  path: `${thirdParty}/protocol/{protocol}`,
  auth: 'accessToken',
  operation: graphql(`query ThirdPartyProtocol($protocol: String!) { thirdPartyProtocol(protocol: $protocol) { metadata } }`),
  variables: ({ params }) => ({ protocol: params.protocol }),
  response: ({ thirdPartyProtocol }) => thirdPartyProtocol.metadata,
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyuserprotocol */
export const queryUserByProtocol = endpoint({
  method: 'GET',
  path: `${thirdParty}/user/{protocol}`,
  auth: 'accessToken',
  query: Fields,
  operation: graphql(`
    query ThirdPartyUsers($protocol: String!, $fields: JsonObject) {
      thirdPartyUsers(protocol: $protocol, fields: $fields) { userId protocol fields }
    }
  `),
  variables: ({ params, query }) => ({ protocol: params.protocol, fields: query }),
  response: ({ thirdPartyUsers }) => usersAnswer(thirdPartyUsers),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyuser */
export const queryUserByID = endpoint({
  method: 'GET',
  path: `${thirdParty}/user`,
  auth: 'accessToken',
  query: Type.Object({ userid: Type.String() }),
  operation: graphql(`
    query ThirdPartyUsersById($userId: ID!) { thirdPartyUsersById(userId: $userId) { userId protocol fields } }
  `),
  variables: ({ query }) => ({ userId: query.userid }),
  response: ({ thirdPartyUsersById }) => usersAnswer(thirdPartyUsersById),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartylocationprotocol */
export const queryLocationByProtocol = endpoint({
  method: 'GET',
  path: `${thirdParty}/location/{protocol}`,
  auth: 'accessToken',
  query: Fields,
  operation: graphql(`
    query ThirdPartyLocations($protocol: String!, $fields: JsonObject) {
      thirdPartyLocations(protocol: $protocol, fields: $fields) { alias protocol fields }
    }
  `),
  variables: ({ params, query }) => ({ protocol: params.protocol, fields: query }),
  response: ({ thirdPartyLocations }) => locationsAnswer(thirdPartyLocations),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartylocation */
export const queryLocationByAlias = endpoint({
  method: 'GET',
  path: `${thirdParty}/location`,
  auth: 'accessToken',
  query: Type.Object({ alias: Type.String() }),
  operation: graphql(`
    query ThirdPartyLocationsByAlias($alias: String!) { thirdPartyLocationsByAlias(alias: $alias) { alias protocol fields } }
  `),
  variables: ({ query }) => ({ alias: query.alias }),
  response: ({ thirdPartyLocationsByAlias }) => locationsAnswer(thirdPartyLocationsByAlias),
})
