/** Instances: for the administrator; an owner sees the own one. */
import { MatrixError } from '../../errors.ts'
import {
  createInstance,
  deleteInstance,
  resumeInstance,
  setPasswordIn,
  suspendInstance,
  visibleInstances,
} from '../../instances/administration.ts'
import { InstanceHost } from '../../instances/host.ts'
import type { InstanceRow } from '../../storage/tables.ts'
import { builder } from '../builder.ts'
import { type Context, requireActor } from '../context.ts'

const HomeserverInstance = builder.objectRef<InstanceRow>('Instance').implement({
  description: "One person's homeserver. For the administrator and its owner.",
  fields: (t) => ({
    name: t.exposeString('name', { nullable: true, description: 'As in `/_hungryserv/{name}/…`.' }),
    ownerId: t.exposeID('owner'),
    userDomain: t.exposeString('userDomain', { description: 'Domain of people.' }),
    bridgeDomain: t.exposeString('bridgeDomain', { description: 'Domain of bots, ghosts and rooms.' }),
    status: t.exposeString('status', { description: '`active` or `suspended`.' }),
    createdAt: t.expose('createdAt', { type: 'Timestamp' }),
    position: t.field({
      type: 'Position',
      nullable: true,
      description: 'Newest readable position; null unless it is open in this process.',
      resolve: (row, _, context) => [...hostOf(context).openInstances()].find((open) => open.key === row.key)?.bus.published ?? null,
    }),
    users: t.field({
      type: 'Int',
      description: 'Local users: people, bots and ghosts.',
      resolve: (row, _, context) => countOf(context, row, 'user'),
    }),
    rooms: t.field({ type: 'Int', resolve: (row, _, context) => countOf(context, row, 'room') }),
    events: t.field({ type: 'Int', resolve: (row, _, context) => countOf(context, row, 'event') }),
  }),
})

const CreatedInstance = builder.objectRef<{ ownerId: string; password: string; instance: { name: string } }>('CreatedInstance').implement({
  description: 'A new instance and the password of its owner, which is shown only now.',
  fields: (t) => ({
    name: t.string({ resolve: (created) => created.instance.name }),
    ownerId: t.exposeID('ownerId'),
    password: t.exposeString('password'),
  }),
})

builder.queryField('instances', (t) =>
  t.field({
    type: [HomeserverInstance],
    description: 'All of the host for the administrator, the own one for an owner. Errors: M_FORBIDDEN for anybody else.',
    extensions: { puppet: false },
    resolve: (_, __, context) => visibleInstances(hostOf(context), context.instance, requireActor(context)),
  }),
)

builder.mutationFields((t) => ({
  createInstance: t.field({
    type: CreatedInstance,
    description:
      'For the administrator. Errors: M_USER_IN_USE when the name or the owner is taken, M_INVALID_PARAM, M_INVALID_USERNAME, M_FORBIDDEN.',
    args: {
      name: t.arg.string({ required: true, description: 'a-z, 0-9 and ._-' }),
      owner: t.arg.string({ required: true, description: 'localpart or user id' }),
      userDomain: t.arg.string(),
      bridgeDomain: t.arg.string(),
    },
    extensions: { puppet: false },
    resolve: (_, { name, owner, userDomain, bridgeDomain }, context) =>
      createInstance(hostOf(context), context.instance, requireActor(context), {
        name,
        owner,
        userDomain: userDomain ?? null,
        bridgeDomain: bridgeDomain ?? null,
      }),
  }),
  setPassword: t.string({
    description:
      "Gives a person a new password, which is returned, and ends the person's sessions except the one that asks. For the administrator, and for an owner in the own instance, except an administrator's. Not for appservices. Errors: M_NOT_FOUND, M_FORBIDDEN, M_USER_DEACTIVATED, M_WEAK_PASSWORD, M_INVALID_PARAM.",
    args: {
      userId: t.arg.id({ required: true, description: 'localpart or user id' }),
      password: t.arg.string({ description: 'drawn at random when left out' }),
      keepSessions: t.arg.boolean({ description: 'their tokens stay valid' }),
      instance: t.arg.string({ description: 'its name; the one that is asked when left out' }),
    },
    extensions: { puppet: false },
    resolve: (_, args, context) => setPasswordIn(hostOf(context), context.instance, requireActor(context), args),
  }),
  suspendInstance: t.boolean({
    description:
      'Its tokens answer 401 M_USER_LOCKED until it is resumed, and deliveries rest. For the administrator. Errors: M_NOT_FOUND, M_FORBIDDEN.',
    args: { name: t.arg.string({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { name }, context) => suspendInstance(hostOf(context), context.instance, requireActor(context), name),
  }),
  resumeInstance: t.boolean({
    description: 'For the administrator. Errors: M_NOT_FOUND, M_FORBIDDEN.',
    args: { name: t.arg.string({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { name }, context) => resumeInstance(hostOf(context), context.instance, requireActor(context), name),
  }),
  deleteInstance: t.boolean({
    description:
      'Gone at once with everything in it; its space comes back in slices. For the administrator. Errors: M_NOT_FOUND, M_FORBIDDEN.',
    args: { name: t.arg.string({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { name }, context) => deleteInstance(hostOf(context), context.instance, requireActor(context), name),
  }),
}))

export function hostOf(context: Context): InstanceHost {
  if (!(context.host instanceof InstanceHost)) throw new MatrixError('M_UNRECOGNIZED', 'This host has no instances to administer')
  return context.host
}

function countOf(context: Context, row: InstanceRow, table: 'user' | 'room' | 'event'): Promise<number> {
  // The default shard is the only one that instances are made in.
  return context.host.shards[0]!.storage(row.key).count(table, {})
}
