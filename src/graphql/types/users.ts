/** Users and what they show of themselves. */
import { orMade, wereMade } from '../../appservices/queries.ts'
import { changeProfile, setProfileField } from '../../rooms/profile-change.ts'
import type { UserRow } from '../../storage/tables.ts'
import { profileOf, readProfile, readProfileField, readUsers } from '../../users/profiles.ts'
import { type Found, searchUsers } from '../../users/user-directory.ts'
import { readUsersByKey } from '../../users/user-ids.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { loader } from '../loader.ts'

const UserKind = builder.enumType('UserKind', {
  description: 'Who stands behind a user.',
  values: {
    PERSON: { value: 'person', description: 'Logs in.' },
    GHOST: { value: 'ghost', description: 'Made by a bridge for somebody on its network.' },
    BOT: { value: 'bot', description: "A bridge's own user." },
  } as const,
})

export const User = builder.objectRef<UserRow>('User').implement({
  description: 'A user of this homeserver.',
  fields: (t) => ({
    userId: t.exposeID('userId', { description: 'For example `@alice:example.com`.' }),
    kind: t.field({ type: UserKind, resolve: (user) => user.kind as 'person' | 'ghost' | 'bot' }),
    displayName: t.exposeString('displayName', { nullable: true }),
    avatarUrl: t.exposeString('avatarUrl', { nullable: true, description: 'An mxc:// URI.' }),
    profile: t.field({
      type: 'JsonObject',
      description: 'All fields of the profile by their Matrix names: `displayname`, `avatar_url` and whatever else was set.',
      resolve: profileOf,
    }),
    createdAt: t.field({ type: 'Timestamp', resolve: (user) => user.createdAt }),
  }),
})

/** The same by key, for what is stored with keys. */
export const loadUserByKey = loader((context, keys: readonly number[]) => readUsersByKey(context.instance, keys))

/** The row of a user, all that one request asks for read at once; null for nobody. */
export const loadUser = loader((context, userIds: readonly string[]) => readUsers(context.instance, context.actor, userIds))

const FoundUsers = builder.objectRef<Found>('FoundUsers').implement({
  description: 'What a search for users found.',
  fields: (t) => ({
    users: t.field({ type: [User], resolve: (found) => [...found.users] }),
    limited: t.exposeBoolean('limited', { description: 'There are more.' }),
  }),
})

const reading =
  'Needs a token unless profiles are public by configuration. With one, a bridge is asked for somebody of its namespace who does not exist yet.'

builder.queryFields((t) => ({
  user: t.field({
    type: User,
    nullable: true,
    description: `Null for nobody and for users of other servers. ${reading} Errors: M_MISSING_TOKEN.`,
    args: { userId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: async (_, { userId }, context) => {
      const user = await loadUser(context, userId)
      if (user || !(await wereMade(context, { userIds: [userId] }))) return user
      return (await readUsers(context.instance, context.actor, [userId]))[0] ?? null
    },
  }),
  profile: t.field({
    type: 'JsonObject',
    description: `The profile of a user; \`{}\` for one who set nothing. ${reading} Errors: M_MISSING_TOKEN, M_NOT_FOUND.`,
    args: { userId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, { userId }, context) => orMade(context, { userIds: [userId] }, () => readProfile(context.instance, context.actor, userId)),
  }),
  profileField: t.field({
    type: 'JSON',
    nullable: true,
    description: `One field of a profile. ${reading} Errors: M_MISSING_TOKEN, M_NOT_FOUND where it is not set; \`displayname\` and \`avatar_url\` are null then.`,
    args: { userId: t.arg.id({ required: true }), key: t.arg.string({ required: true, description: 'for example `displayname`' }) },
    extensions: { puppet: true },
    resolve: (_, args, context) =>
      orMade(context, { userIds: [args.userId] }, () => readProfileField(context.instance, context.actor, args)),
  }),
  searchUsers: t.field({
    type: FoundUsers,
    description:
      'Users whose id or display name holds the term. The owner finds everybody, others those who share a room with them. Not for an appservice as the owner. Errors: M_FORBIDDEN for a user who is not made yet.',
    args: { term: t.arg.string({ required: true }), limit: t.arg.int({ description: '10 when left out, at most 50' }) },
    extensions: { puppet: false },
    resolve: (_, args, context) => searchUsers(context.instance, requireActor(context), args),
  }),
}))

builder.mutationFields((t) => ({
  setDisplayName: t.boolean({
    description:
      'The own display name, at most 256 characters; null takes it away. Joined rooms show it a moment later. Errors: M_INVALID_PARAM.',
    args: { displayName: t.arg.string() },
    extensions: { puppet: true, suspended: false },
    resolve: (_, { displayName }, context) => setOwn(context, 'displayname', displayName ?? null),
  }),
  setAvatarUrl: t.boolean({
    description:
      'The own avatar, an mxc:// URI of at most 1 000 characters; null takes it away. Joined rooms show it a moment later. Errors: M_INVALID_PARAM.',
    args: { avatarUrl: t.arg.string() },
    extensions: { puppet: true, suspended: false },
    resolve: (_, { avatarUrl }, context) => setOwn(context, 'avatar_url', avatarUrl ?? null),
  }),
  setProfileField: t.boolean({
    description:
      'Any field of the own profile; null takes it away. Errors: M_FORBIDDEN for another user, M_BAD_JSON, M_INVALID_PARAM, M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE (64 KiB in all).',
    args: {
      userId: t.arg.id({ description: 'who is asking, when left out' }),
      key: t.arg.string({ required: true }),
      value: t.arg({ type: 'JSON' }),
    },
    extensions: { puppet: true, suspended: false },
    resolve: (_, { userId, key, value }, context) => setOwn(context, key, value ?? null, userId),
  }),
}))

const fieldsText = 'fields by name; null takes one away'
const changeErrors =
  'Rooms show a new name or avatar a moment later. Errors: M_FORBIDDEN for another user, M_BAD_JSON, M_INVALID_PARAM, M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE (64 KiB in all).'

builder.mutationFields((t) => ({
  updateProfile: t.boolean({
    description: `Sets fields of the own profile, and leaves the others as they are. ${changeErrors}`,
    args: {
      userId: t.arg.id({ description: 'who is asking, when left out' }),
      fields: t.arg({ type: 'JsonObject', required: true, description: fieldsText }),
    },
    extensions: { puppet: true, suspended: false },
    resolve: (_, { userId, fields }, context) =>
      changeProfile(context.instance, requireActor(context), { userId: userId ?? requireActor(context).userId, fields }),
  }),
  replaceProfile: t.boolean({
    description: `Replaces the own profile whole (MSC4437): fields that are not named are taken away. ${changeErrors}`,
    args: {
      userId: t.arg.id({ description: 'who is asking, when left out' }),
      fields: t.arg({ type: 'JsonObject', required: true, description: fieldsText }),
    },
    extensions: { puppet: true, suspended: false },
    resolve: (_, { userId, fields }, context) =>
      changeProfile(context.instance, requireActor(context), { userId: userId ?? requireActor(context).userId, fields, whole: true }),
  }),
}))

function setOwn(
  context: Parameters<typeof requireActor>[0],
  key: string,
  value: Parameters<typeof setProfileField>[2]['value'],
  userId?: string | null,
): Promise<boolean> {
  const actor = requireActor(context)
  return setProfileField(context.instance, actor, { userId: userId ?? actor.userId, key, value })
}
