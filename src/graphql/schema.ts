/** All types together. A new file of types is imported here. */
import { GraphQLSchema } from 'graphql'
import { builder } from './builder.ts'
import { guard } from './guard.ts'
import './types/appservices.ts'
import './types/account-data.ts'
import './types/accounts.ts'
import './types/capabilities.ts'
import './types/inbox.ts'
import './types/instances.ts'
import './types/media.ts'
import './types/push-rules.ts'
import './types/directory.ts'
import './types/events.ts'
import './types/reading.ts'
import './types/room-changes.ts'
import './types/room-events.ts'
import './types/rooms.ts'
import './types/server.ts'
import './types/sync.ts'
import './types/users.ts'

export const schema = guard(withoutEmptyRoots(builder.toSchema()))

/** GraphQL knows no type without fields: a root that has none yet is left out. */
function withoutEmptyRoots(whole: GraphQLSchema): GraphQLSchema {
  const empty = [whole.getMutationType(), whole.getSubscriptionType()].filter((type) => type && Object.keys(type.getFields()).length === 0)
  if (empty.length === 0) return whole
  const config = whole.toConfig()
  return new GraphQLSchema({
    ...config,
    mutation: empty.includes(config.mutation) ? null : config.mutation,
    subscription: empty.includes(config.subscription) ? null : config.subscription,
    types: config.types.filter((type) => !empty.some((root) => root === type)),
  })
}
