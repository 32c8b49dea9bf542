/** Logging in, registering, sessions. */
import { deactivateAccount } from '../../devices/deactivation.ts'
import { domainOf, localpartOf } from '../../ids.ts'
import type { RegistrationTokenRow } from '../../storage/tables.ts'
import { fullUserId } from '../../users/accounts.ts'
import type { Actor } from '../../users/actor.ts'
import { changePassword, type LoginFlow as Flow, generateLoginToken, login, loginFlows } from '../../users/logins.ts'
import { checkUsernameAvailable, type Registered, register } from '../../users/registration-flows.ts'
import { checkRegistrationToken, createRegistrationToken, readRegistrationTokens } from '../../users/registration-tokens.ts'
import { instanceOfSecret, logout, logoutAll, refreshSession, type Session } from '../../users/sessions.ts'
import { builder } from '../builder.ts'
import { type Context, requireActive, requireActor } from '../context.ts'
import { loadUser, User } from './users.ts'

const SessionType = builder.objectRef<Session>('Session').implement({
  description: 'A login: a device and the tokens that it holds.',
  fields: (t) => ({
    userId: t.exposeID('userId'),
    deviceId: t.exposeID('deviceId'),
    accessToken: t.exposeString('accessToken'),
    refreshToken: t.exposeString('refreshToken', { nullable: true, description: 'Only where it was asked for.' }),
    expiresInMs: t.exposeInt('expiresInMs', { nullable: true, description: 'Until the access token ends; null: it does not.' }),
    homeserverUrl: t.string({
      nullable: true,
      description: 'The address that clients are told to use, without a slash at the end.',
      resolve: (_, __, context) => context.instance.config.publicUrl,
    }),
  }),
})

const RegisteredType = builder.objectRef<Registered>('Registered').implement({
  description: 'A new account.',
  fields: (t) => ({
    userId: t.exposeID('userId'),
    session: t.field({
      type: SessionType,
      nullable: true,
      description: 'Null where no login was wanted.',
      resolve: (registered) => registered.session,
    }),
  }),
})

const RegistrationToken = builder.objectRef<RegistrationTokenRow>('RegistrationToken').implement({
  description: 'Lets people register where registration is by token.',
  fields: (t) => ({
    token: t.exposeString('token'),
    usesAllowed: t.exposeInt('usesAllowed', { nullable: true, description: 'Null: any number of times.' }),
    used: t.exposeInt('used', { description: 'How many times it was used.' }),
    expiresAt: t.expose('expiresAt', { type: 'Timestamp', nullable: true, description: 'Null: never.' }),
  }),
})

const LoginFlow = builder.objectRef<Flow>('LoginFlow').implement({
  description: 'A way to log in.',
  fields: (t) => ({
    type: t.exposeString('type', { description: 'For example `m.login.password`.' }),
    getLoginToken: t.exposeBoolean('getLoginToken', { description: 'Whether a session can make tokens for it.' }),
  }),
})

const LoginToken = builder.objectRef<{ readonly loginToken: string; readonly expiresInMs: number }>('LoginToken').implement({
  description: 'Logs in another device, once.',
  fields: (t) => ({ loginToken: t.exposeString('loginToken'), expiresInMs: t.exposeInt('expiresInMs') }),
})

/** Other domains add what the viewer sees of theirs. */
export const Viewer = builder.objectRef<Actor>('Viewer').implement({
  description: 'Who is asking.',
  fields: (t) => ({
    userId: t.exposeID('userId'),
    deviceId: t.exposeID('device', { nullable: true, description: 'Null for an appservice that names no device.' }),
    admin: t.exposeBoolean('admin', { description: 'Whether the administrator of the host is asking.' }),
    user: t.field({
      type: User,
      nullable: true,
      description: 'Null for a ghost that is not made yet.',
      resolve: (actor, _, context) => loadUser(context, actor.userId),
    }),
  }),
})

/** What `auth` may hold. */
export const proof = 'the stage `m.login.password`; `org.matrix.login.jwt` of who has no password'

const LoginInput = builder.inputType('LoginInput', {
  fields: (t) => ({
    type: t.string({
      required: true,
      description: '`m.login.password`, `m.login.token`, `m.login.application_service` or `org.matrix.login.jwt`',
    }),
    user: t.string({ description: 'localpart or full user id' }),
    password: t.string(),
    token: t.string({ description: 'login token or JWT' }),
    deviceId: t.string({ description: 'of a device that logs in again: its old tokens end' }),
    initialDeviceDisplayName: t.string(),
    refreshToken: t.boolean({ description: 'the access token ends after an hour and a refresh token comes with it' }),
  }),
})

const RegisterInput = builder.inputType('RegisterInput', {
  fields: (t) => ({
    type: t.string({ description: '`m.login.application_service` for ghosts, with an as_token' }),
    kind: t.string({ description: '`user` or `guest`, which is refused' }),
    username: t.string({ description: 'localpart; made up when left out' }),
    password: t.string({ description: 'at least 8 characters' }),
    deviceId: t.string(),
    initialDeviceDisplayName: t.string(),
    inhibitLogin: t.boolean(),
    refreshToken: t.boolean(),
    auth: t.field({ type: 'JsonObject', description: "a stage of the flow that the first refusal's `flows` and `session` name" }),
  }),
})

builder.queryFields((t) => ({
  viewer: t.field({
    type: Viewer,
    description: 'Who is asking. Anybody with a token. Errors: M_MISSING_TOKEN.',
    extensions: { puppet: true },
    resolve: (_, __, context) => requireActor(context),
  }),
  loginFlows: t.field({
    type: [LoginFlow],
    description: 'The ways to log in that work here. Needs no token. No errors.',
    extensions: { puppet: true },
    resolve: (_, __, context) => loginFlows(context.instance),
  }),
  usernameAvailable: t.boolean({
    description:
      'True, or the reason as an error. Needs no token. Errors: M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE, M_FORBIDDEN where registration is off.',
    args: { username: t.arg.string({ required: true, description: 'localpart' }) },
    extensions: { puppet: false },
    resolve: async (_, { username }, context) => checkUsernameAvailable(await homeOfOwner(context, username), username),
  }),
  registrationTokenValid: t.boolean({
    description:
      'Whether somebody may register with it now. Needs no token. Errors: M_FORBIDDEN where registration is not by token, M_LIMIT_EXCEEDED.',
    args: { token: t.arg.string({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { token }, context) => checkRegistrationToken(context.instance, token, context.ip),
  }),
  registrationTokens: t.field({
    type: [RegistrationToken],
    description: 'All of them. Administrators only. Errors: M_FORBIDDEN.',
    extensions: { puppet: false },
    resolve: (_, __, context) => readRegistrationTokens(context.instance, requireActor(context)),
  }),
}))

builder.mutationFields((t) => ({
  login: t.field({
    type: SessionType,
    description:
      'Begins a session. Needs no token, except `m.login.application_service`. Errors: M_FORBIDDEN for wrong credentials, M_USER_DEACTIVATED, M_USER_LOCKED, M_LIMIT_EXCEEDED, M_MISSING_PARAM, M_EXCLUSIVE, M_INVALID_PARAM for the id of a dehydrated device and for what is no id of a device.',
    args: { input: t.arg({ type: LoginInput, required: true }) },
    extensions: { puppet: false },
    resolve: async (_, { input }, context) => {
      const instance =
        input.type === 'm.login.token' && input.token ? await homeOf(context, input.token) : await homeOfOwner(context, input.user)
      return login(instance, context.actor, { ...input, ...deviceOf(input), ip: context.ip })
    },
  }),
  refreshSession: t.field({
    type: SessionType,
    description:
      'New tokens for a refresh token. The pair before ends when the new one is used. Needs no access token. Errors: M_UNKNOWN_TOKEN, M_USER_LOCKED.',
    args: { refreshToken: t.arg.string({ required: true }) },
    extensions: { puppet: false },
    resolve: async (_, { refreshToken }, context) => refreshSession(await homeOf(context, refreshToken), refreshToken),
  }),
  logout: t.boolean({
    description:
      'Ends the session that asks and what runs for it, subscriptions with M_UNKNOWN_TOKEN; also for who is locked. Not for an appservice as the owner. Errors: M_FORBIDDEN without a device.',
    extensions: { puppet: false, locked: true },
    resolve: (_, __, context) => logout(context.instance, requireActor(context)),
  }),
  logoutAll: t.boolean({
    description:
      'Ends all own sessions and what runs for them; also for who is locked. Not for an appservice as the owner. Errors: M_FORBIDDEN for a user who is not made yet.',
    extensions: { puppet: false, locked: true },
    resolve: (_, __, context) => logoutAll(context.instance, requireActor(context)),
  }),
  register: t.field({
    type: RegisteredType,
    description:
      'Makes an account. People: where the configuration allows it, in two steps; the first refusal carries `flows` and `session`. Ghosts: by their appservice. Not for an appservice as the owner. Errors: M_FORBIDDEN, M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE, M_WEAK_PASSWORD, M_GUEST_ACCESS_FORBIDDEN, M_LIMIT_EXCEEDED.',
    args: { input: t.arg({ type: RegisterInput, required: true }) },
    extensions: { puppet: false },
    resolve: async (_, { input }, context) =>
      register(await homeOfOwner(context, input.username), context.actor, { ...input, ...deviceOf(input), ip: context.ip }),
  }),
  generateLoginToken: t.field({
    type: LoginToken,
    description:
      'A token that logs another device in. Asks for the password: the first refusal carries `flows` and `session`. Not for appservices. Errors: M_FORBIDDEN for a wrong password, M_LIMIT_EXCEEDED.',
    args: { auth: t.arg({ type: 'JsonObject', description: proof }) },
    extensions: { puppet: false },
    resolve: (_, { auth }, context) => generateLoginToken(context.instance, requireActor(context), { auth: auth ?? null, ip: context.ip }),
  }),
  changePassword: t.boolean({
    description:
      'A new password of one’s own. Asks for the old one: the first refusal carries `flows` and `session`. Not for appservices. Errors: M_FORBIDDEN for a wrong password, M_WEAK_PASSWORD, M_INVALID_PARAM, M_MISSING_PARAM, M_LIMIT_EXCEEDED.',
    args: {
      newPassword: t.arg.string({ description: 'at least 8 characters; what the first request said, when left out' }),
      logoutDevices: t.arg.boolean({ description: 'whether all other sessions end; usually they do' }),
      auth: t.arg({ type: 'JsonObject', description: proof }),
    },
    extensions: { puppet: false },
    resolve: (_, args, context) => changePassword(context.instance, requireActor(context), { ...args, ip: context.ip }),
  }),
  deactivateAccount: t.boolean({
    description:
      'Ends the own account for good: password, sessions, keys and profile at once; a job leaves all rooms and forgets settings and backups. Messages stay, and nobody gets the name again. Asks for the password: the first refusal carries `flows` and `session`. Not for appservices, the owner and administrators. Errors: M_FORBIDDEN, M_LIMIT_EXCEEDED.',
    args: { auth: t.arg({ type: 'JsonObject', description: proof }) },
    extensions: { puppet: false },
    resolve: (_, { auth }, context) => deactivateAccount(context.instance, requireActor(context), { auth, ip: context.ip }),
  }),
  createRegistrationToken: t.field({
    type: RegistrationToken,
    description: 'Administrators only. Errors: M_FORBIDDEN, M_INVALID_PARAM for a token that exists.',
    args: {
      token: t.arg.string({ description: 'made up when left out; 1 to 64 of A-Z, a-z, 0-9 and ._~-' }),
      usesAllowed: t.arg.int({ description: 'any number of times when left out' }),
      expiresAt: t.arg({ type: 'Timestamp', description: 'never when left out' }),
    },
    extensions: { puppet: false },
    resolve: (_, args, context) => createRegistrationToken(context.instance, requireActor(context), args),
  }),
}))

/** These tokens come alone: which homeserver is meant stands with them, unless the request says it by its prefix or its access token. */
async function homeOf(context: Context, token: string): Promise<Context['instance']> {
  if (context.prefixed || context.actor) return context.instance
  const name = await instanceOfSecret(context.host.shards, token)
  return name === null ? context.instance : requireActive(context.host, await context.host.instance(name))
}

/** A name alone means the homeserver whose owner has it, unless the request says which; where nobody has it, the default one. */
async function homeOfOwner(context: Context, user: string | null | undefined): Promise<Context['instance']> {
  const { host, instance } = context
  if (context.prefixed || context.actor || !user) return instance
  const userId = fullUserId(instance, user)
  const found = await host.byOwner(localpartOf(userId).toLowerCase(), domainOf(userId))
  return found ? requireActive(host, found) : instance
}

function deviceOf(input: {
  readonly initialDeviceDisplayName?: string | null | undefined
  readonly refreshToken?: boolean | null | undefined
}): {
  displayName: string | null
  withRefreshToken: boolean
} {
  return { displayName: input.initialDeviceDisplayName ?? null, withRefreshToken: input.refreshToken === true }
}
