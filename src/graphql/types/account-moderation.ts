/** Locking and suspending people. */
import { administeredInstance } from '../../instances/administration.ts'
import { isModerator, type Moderated, moderatedOf, readModeration, setUserLocked, setUserSuspended } from '../../users/moderation.ts'
import { builder } from '../builder.ts'
import { type Context, type Instance, requireActor } from '../context.ts'
import { hostOf } from './instances.ts'
import { User } from './users.ts'

const AccountModeration = builder.objectRef<Moderated>('AccountModeration').implement({
  description: 'Whether a person may use the account.',
  fields: (t) => ({
    userId: t.exposeID('userId'),
    locked: t.exposeBoolean('locked', { description: 'All tokens answer M_USER_LOCKED, and nobody logs in.' }),
    suspended: t.exposeBoolean('suspended', {
      description:
        'Reads, leaves, and takes back own messages; to send, join, knock, invite, make or delete rooms, or change the profile is refused: M_USER_SUSPENDED.',
    }),
  }),
})

builder.objectField(User, 'moderation', (t) =>
  t.field({
    type: AccountModeration,
    nullable: true,
    description: 'Null unless an administrator asks.',
    resolve: (user, _, { actor }) => (actor && isModerator(actor) ? moderatedOf(user) : null),
  }),
)

const instanceText = 'the name of another homeserver, for the administrator of the host'
const userText = 'full id or localpart'
const errors =
  'Administrators only, not for appservices. Errors: M_FORBIDDEN, also for administrators and users of bridges; M_INVALID_PARAM for a user of another server; M_NOT_FOUND for nobody and for who was deactivated.'

builder.queryField('accountModeration', (t) =>
  t.field({
    type: AccountModeration,
    description:
      'Whether somebody is locked or suspended. Administrators only, not for appservices. Errors: M_FORBIDDEN, also for another administrator; M_INVALID_PARAM for a user of another server; M_NOT_FOUND for nobody and for who was deactivated.',
    args: { userId: t.arg.id({ required: true, description: userText }), instance: t.arg.string({ description: instanceText }) },
    extensions: { puppet: false },
    resolve: async (_, { userId, instance }, context) => readModeration(await homeserver(context, instance), requireActor(context), userId),
  }),
)

builder.mutationFields((t) => ({
  setUserLocked: t.field({
    type: AccountModeration,
    description: `Locks a person out, and in again. Polls and subscriptions end at once; tokens, devices and keys stay, and what is sent meanwhile arrives. ${errors}`,
    args: {
      userId: t.arg.id({ required: true, description: userText }),
      locked: t.arg.boolean({ required: true }),
      instance: t.arg.string({ description: instanceText }),
    },
    extensions: { puppet: false },
    resolve: async (_, { instance, ...args }, context) => setUserLocked(await homeserver(context, instance), requireActor(context), args),
  }),
  setUserSuspended: t.field({
    type: AccountModeration,
    description: `Leaves a person nothing but to read, to leave, and to take back own messages; and gives all of it back. ${errors}`,
    args: {
      userId: t.arg.id({ required: true, description: userText }),
      suspended: t.arg.boolean({ required: true }),
      instance: t.arg.string({ description: instanceText }),
    },
    extensions: { puppet: false },
    resolve: async (_, { instance, ...args }, context) =>
      setUserSuspended(await homeserver(context, instance), requireActor(context), args),
  }),
}))

function homeserver(context: Context, name: string | null | undefined): Promise<Instance> {
  return administeredInstance(hostOf(context), context.instance, requireActor(context), name)
}
