/** What bridges know of their networks. */
import {
  type ThirdPartyLocation,
  type ThirdPartyProtocol,
  type ThirdPartyUser,
  thirdPartyLocations,
  thirdPartyLocationsByAlias,
  thirdPartyProtocol,
  thirdPartyProtocols,
  thirdPartyUsers,
  thirdPartyUsersById,
} from '../../appservices/third-party.ts'
import { builder } from '../builder.ts'
import { type Context, requireActor } from '../context.ts'

const asked =
  'Bridges with an address are asked whose registration has it under `protocols`; who does not answer within 5 s is passed over. Of anybody with a token; not for an appservice as the owner.'

const ThirdPartyProtocolType = builder.objectRef<ThirdPartyProtocol>('ThirdPartyProtocol').implement({
  description: 'A network that a bridge leads to.',
  fields: (t) => ({
    protocol: t.exposeString('protocol', { description: 'For example `irc`.' }),
    metadata: t.field({
      type: 'JsonObject',
      description:
        'As the Matrix specification has it: `user_fields`, `location_fields`, `field_types`, `icon`, and `instances` of all bridges, each with its `instance_id`.',
      resolve: ({ metadata }) => metadata,
    }),
  }),
})

const ThirdPartyUserType = builder.objectRef<ThirdPartyUser>('ThirdPartyUser').implement({
  description: 'Somebody on another network.',
  fields: (t) => ({
    userId: t.exposeID('userId', { description: 'The user who stands for them here.' }),
    protocol: t.exposeString('protocol'),
    fields: t.field({ type: 'JsonObject', description: 'Who they are on the network.', resolve: ({ fields }) => fields }),
  }),
})

const ThirdPartyLocationType = builder.objectRef<ThirdPartyLocation>('ThirdPartyLocation').implement({
  description: 'A place on another network, such as a channel.',
  fields: (t) => ({
    alias: t.exposeString('alias', { description: 'The alias of the room that leads there.' }),
    protocol: t.exposeString('protocol'),
    fields: t.field({ type: 'JsonObject', description: 'Where it is on the network.', resolve: ({ fields }) => fields }),
  }),
})

const fieldsText = 'what to look for, strings or lists of strings by the names that the protocol has in `user_fields` or `location_fields`'

/** Only who has a token makes a bridge do anything. */
function asker(context: Context): Context {
  requireActor(context)
  return context
}

builder.queryFields((t) => ({
  thirdPartyProtocols: t.field({
    type: [ThirdPartyProtocolType],
    description: `The networks that bridges say they lead to, as of the last minute. ${asked} Errors: M_MISSING_TOKEN, M_FORBIDDEN.`,
    extensions: { puppet: false },
    resolve: (_, __, context) => thirdPartyProtocols(asker(context)),
  }),
  thirdPartyProtocol: t.field({
    type: ThirdPartyProtocolType,
    description: `One of them. ${asked} Errors: M_MISSING_TOKEN, M_FORBIDDEN, M_NOT_FOUND when no bridge knows it or none of those answers.`,
    args: { protocol: t.arg.string({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { protocol }, context) => thirdPartyProtocol(asker(context), protocol),
  }),
  thirdPartyUsers: t.field({
    type: [ThirdPartyUserType],
    description: `Users for people on a network. ${asked} Errors: M_MISSING_TOKEN, M_FORBIDDEN, M_INVALID_PARAM for fields that are neither strings nor lists of them, or above 8 KiB.`,
    args: { protocol: t.arg.string({ required: true }), fields: t.arg({ type: 'JsonObject', description: fieldsText }) },
    extensions: { puppet: false },
    resolve: (_, { protocol, fields }, context) => thirdPartyUsers(asker(context), { protocol, fields: fields ?? {} }),
  }),
  thirdPartyUsersById: t.field({
    type: [ThirdPartyUserType],
    description: `Who a user in the namespace of a bridge is on its networks. ${asked} Errors: M_MISSING_TOKEN, M_FORBIDDEN.`,
    args: { userId: t.arg.id({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { userId }, context) => thirdPartyUsersById(asker(context), userId),
  }),
  thirdPartyLocations: t.field({
    type: [ThirdPartyLocationType],
    description: `Rooms for places on a network. ${asked} Errors: M_MISSING_TOKEN, M_FORBIDDEN, M_INVALID_PARAM for fields that are neither strings nor lists of them, or above 8 KiB.`,
    args: { protocol: t.arg.string({ required: true }), fields: t.arg({ type: 'JsonObject', description: fieldsText }) },
    extensions: { puppet: false },
    resolve: (_, { protocol, fields }, context) => thirdPartyLocations(asker(context), { protocol, fields: fields ?? {} }),
  }),
  thirdPartyLocationsByAlias: t.field({
    type: [ThirdPartyLocationType],
    description: `Where an alias in the namespace of a bridge leads to on its networks. ${asked} Errors: M_MISSING_TOKEN, M_FORBIDDEN.`,
    args: { alias: t.arg.string({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { alias }, context) => thirdPartyLocationsByAlias(asker(context), alias),
  }),
}))
