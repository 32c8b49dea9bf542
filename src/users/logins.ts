/** POST /login and what stands around it: one door for all login types. https://spec.matrix.org/v1.19/client-server-api/#login */
import { MatrixError } from '../errors.ts'
import type { JsonObject } from '../rules/values.ts'
import type { Instance } from '../stream/instance.ts'
import { fullUserId, jwtType, loginAsAppservice, loginWithJwt, loginWithPassword, loginWithToken, setPassword } from './accounts.ts'
import type { Actor } from './actor.ts'
import { countAttempt } from './login-limits.ts'
import { checkPassword } from './passwords.ts'
import { reauthenticate, requirePerson } from './reauthentication.ts'
import { makeLoginToken, type NewSession, type Session } from './sessions.ts'

export interface LoginRequest extends NewSession {
  /** one of loginFlows() */
  readonly type: string
  /** localpart or full user id */
  readonly user?: string | null | undefined
  readonly password?: string | null | undefined
  readonly token?: string | null | undefined
}

export interface LoginFlow {
  readonly type: string
  /** a session can make tokens for it */
  readonly getLoginToken: boolean
}

/** The login types that work here. */
export function loginFlows(instance: Instance): LoginFlow[] {
  const types = ['m.login.password', 'm.login.application_service', 'm.login.token']
  if (instance.config.jwtSecret !== null) types.push(jwtType)
  return types.map((type) => ({ type, getLoginToken: type === 'm.login.token' }))
}

/**
 * Errors: M_FORBIDDEN for wrong credentials, M_USER_DEACTIVATED, M_LIMIT_EXCEEDED after many wrong ones, M_MISSING_PARAM,
 * M_MISSING_TOKEN and M_EXCLUSIVE for appservices, M_UNKNOWN (400) for a type that is not offered, M_INVALID_PARAM for the device id.
 */
export async function login(instance: Instance, actor: Actor | null, request: LoginRequest): Promise<Session> {
  if (request.type === 'm.login.application_service') {
    if (!actor) throw new MatrixError('M_MISSING_TOKEN', 'An as_token is needed')
    return loginAsAppservice(instance, actor, { ...request, user: needed('user', request.user) })
  }
  const attempt = attemptOf(instance, request)
  const undo = countAttempt(instance, attempt.user, request.ip ?? null)
  const session = await attempt.make()
  undo()
  return session
}

/** `user`: whom it is an attempt on; null when only a secret is guessed. */
function attemptOf(instance: Instance, request: LoginRequest): { user: string | null; make(): Promise<Session> } {
  switch (request.type) {
    case 'm.login.password': {
      const user = needed('user', request.user)
      const password = needed('password', request.password)
      return { user: fullUserId(instance, user), make: () => loginWithPassword(instance, { ...request, user, password }) }
    }
    case 'm.login.token': {
      const token = needed('token', request.token)
      return { user: null, make: () => loginWithToken(instance, { ...request, token }) }
    }
    case jwtType: {
      const token = needed('token', request.token)
      return { user: null, make: () => loginWithJwt(instance, { ...request, token }) }
    }
    default:
      throw new MatrixError('M_UNKNOWN', `Unknown login type ${request.type}`, {}, 400)
  }
}

function needed(name: string, value: string | null | undefined): string {
  if (value === null || value === undefined) throw new MatrixError('M_MISSING_PARAM', `Missing ${name}`)
  return value
}

/**
 * A token that logs another device in, once, within two minutes; asks for the password again.
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
 * Errors: 401 with `flows` and `session`, M_FORBIDDEN for appservices.
 */
export async function generateLoginToken(
  instance: Instance,
  actor: Actor,
  args: { auth?: JsonObject | null; ip?: string | null },
): Promise<{ loginToken: string; expiresInMs: number }> {
  await requirePerson(instance, actor)
  await reauthenticate(instance, actor, { purpose: 'login/get_token', ...args, body: {} })
  return makeLoginToken(instance, actor)
}

/**
 * A new password of one's own; asks for the old one. Every other session ends, unless `logoutDevices` is false.
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
 * Errors: 401 with `flows` and `session`, M_FORBIDDEN for appservices, M_WEAK_PASSWORD, M_INVALID_PARAM, M_MISSING_PARAM, M_LIMIT_EXCEEDED.
 */
export async function changePassword(
  instance: Instance,
  actor: Actor,
  args: {
    newPassword?: string | null | undefined
    logoutDevices?: boolean | null | undefined
    auth?: JsonObject | null | undefined
    ip?: string | null
  },
): Promise<boolean> {
  await requirePerson(instance, actor)
  const given = args.newPassword ?? null
  if (given !== null) checkPassword(given)
  const body = await reauthenticate(instance, actor, {
    purpose: 'account/password',
    auth: args.auth,
    ip: args.ip,
    body: { password: given, keepSessions: args.logoutDevices === false },
  })
  // Some clients send the rest with the first request only.
  const password = needed('new_password', given ?? body.password)
  const keepSessions = typeof args.logoutDevices === 'boolean' ? !args.logoutDevices : body.keepSessions
  await setPassword(instance, actor, { userId: actor.userId, password, keepSessions })
  return true
}
