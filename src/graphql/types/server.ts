/** What the server can do, and who is asking. */
import { requireUser } from '../../users/users.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { configuredFeatures, supportedVersions } from '../versions.ts'

interface Versions {
  readonly versions: readonly string[]
  readonly unstableFeatures: object
}

const ServerVersions = builder.objectRef<Versions>('ServerVersions').implement({
  description: 'What the Matrix face of this server supports.',
  fields: (t) => ({
    versions: t.stringList({ description: 'Versions of the Matrix specification.', resolve: (parent) => [...parent.versions] }),
    unstableFeatures: t.field({
      type: 'JsonObject',
      description: 'Names of unstable features → whether they are on.',
      resolve: (parent) => parent.unstableFeatures,
    }),
  }),
})

interface Identified {
  readonly userId: string
  readonly deviceId: string | null
}

const WhoAmI = builder.objectRef<Identified>('WhoAmI').implement({
  description: 'The user and device that the token stands for.',
  fields: (t) => ({
    userId: t.exposeID('userId'),
    deviceId: t.exposeID('deviceId', { nullable: true, description: 'Null for an appservice that names no device.' }),
  }),
})

builder.queryFields((t) => ({
  versions: t.field({
    type: ServerVersions,
    description: 'What the Matrix face of this server supports. Needs no token. No errors.',
    extensions: { puppet: true },
    resolve: (_, __, { host }) => ({ versions: supportedVersions, unstableFeatures: configuredFeatures(host.config) }),
  }),
  whoami: t.field({
    type: WhoAmI,
    description: 'Who is asking. Errors: M_MISSING_TOKEN, M_FORBIDDEN for a masqueraded user who does not exist.',
    extensions: { puppet: true },
    resolve: (_, __, context) => {
      const actor = requireActor(context)
      requireUser(actor)
      return { userId: actor.userId, deviceId: actor.device }
    },
  }),
}))
