/** Logging in and registering. https://spec.matrix.org/v1.19/client-server-api/#client-authentication */
import { jwtVerify } from 'jose'
import { forbidden, MatrixError, notFound } from '../errors.ts'
import { hashSecret, localpartOf, newSecret } from '../ids.ts'
import type { Ports } from '../ports.ts'
import { isLocalpart, isUserId } from '../rules/event-limits.ts'
import type { DeviceRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import { type Instance, isLocal } from '../stream/instance.ts'
import type { Actor } from './actor.ts'
import { checkPassword, hashPassword, verifyPassword } from './passwords.ts'
import { registrations } from './registrations.ts'
import { beginSession, devicesOf, type NewSession, removeDevices, removeSecret, type Session } from './sessions.ts'
import { standingOfRow, userLocked } from './standing.ts'
import { ensureUser, findUser, makeUser, requireActive } from './users.ts'

export const jwtType = 'org.matrix.login.jwt'

/** A localpart or a full user id, as clients type it. */
export function fullUserId(instance: Instance, user: string): string {
  if (user.startsWith('@') && user.includes(':')) return user
  return `@${user.replace(/^@/, '').toLowerCase()}:${instance.userDomain}`
}

/** Errors: M_FORBIDDEN for a wrong name or password alike, M_USER_DEACTIVATED, M_USER_LOCKED. */
export async function loginWithPassword(instance: Instance, args: { user: string; password: string } & NewSession): Promise<Session> {
  const userId = fullUserId(instance, args.user)
  const known = await instance.storage.first('user', { userId })
  // Checked before the decision: hashing takes long. What was checked is compared again inside.
  if (!(await verifyPassword(known?.passwordHash ?? null, args.password)) || !known) throw forbidden('Invalid username or password')
  return command(instance, (decision) => {
    const user = findUser(decision, userId)
    if (!user || user.passwordHash !== known.passwordHash) throw forbidden('Invalid username or password')
    requireWelcome(user)
    return beginSession(decision, user, args)
  })
}

/** Single use, within two minutes. Errors: M_FORBIDDEN, M_USER_LOCKED. */
export function loginWithToken(instance: Instance, args: { token: string } & NewSession): Promise<Session> {
  const hash = hashSecret(args.token)
  return command(instance, (decision) => {
    const secret = decision.get('secret', { hash })
    if (secret?.kind !== 'login' || secret.instance !== instance.key || (secret.expiresAt ?? 0) < decision.now) {
      throw forbidden('Invalid login token')
    }
    removeSecret(decision, hash)
    const user = decision.get('user', { key: secret.user })
    if (!user) throw forbidden('Invalid login token')
    requireWelcome(user)
    return beginSession(decision, user, args)
  })
}

/** `org.matrix.login.jwt`: HS256 with the configured secret; `sub` names the user, who is made when missing. Errors: M_FORBIDDEN, M_USER_LOCKED. */
export async function loginWithJwt(instance: Instance, args: { token: string } & NewSession): Promise<Session> {
  const userId = await userOfJwt(instance, args.token)
  return command(instance, (decision) => {
    const user = findUser(decision, userId) ?? makeUser(decision, { userId, kind: 'person' })
    if (user.kind !== 'person') throw forbidden('Invalid JWT: not a person')
    requireWelcome(user)
    return beginSession(decision, user, args)
  })
}

/** Whom a JWT names. Errors: M_FORBIDDEN for one that is not good, M_UNKNOWN (400) where JWTs do not log in. */
export async function userOfJwt(instance: Instance, token: string): Promise<string> {
  const { jwtSecret } = instance.config
  if (jwtSecret === null) throw new MatrixError('M_UNKNOWN', `Unknown login type ${jwtType}`, {}, 400)
  let subject: unknown
  try {
    const { payload } = await jwtVerify(token, new TextEncoder().encode(jwtSecret), {
      algorithms: ['HS256', 'HS384', 'HS512'],
      currentDate: new Date(instance.ports.now()),
    })
    subject = payload.sub
  } catch {
    throw forbidden('JWT validation failed')
  }
  if (typeof subject !== 'string' || !isLocalpart(subject)) throw forbidden('Invalid JWT: sub must be a localpart')
  return fullUserId(instance, subject)
}

/** `m.login.application_service`: a user of the appservice's namespace, or its bot. Errors: M_EXCLUSIVE, M_FORBIDDEN, M_USER_DEACTIVATED. */
export function loginAsAppservice(instance: Instance, actor: Actor, args: { user: string } & NewSession): Promise<Session> {
  return command(instance, (decision) => {
    const userId = bridgeUserId(instance, args.user)
    const registration = registrations(decision).find((each) => each.key === actor.appservice)
    if (!registration) throw new MatrixError('M_MISSING_TOKEN', 'An as_token is needed')
    const user = findUser(decision, userId)
    const bot = user?.key === registration.bot
    if (!bot && (!registration.namespaces.users.matches(userId) || user?.kind === 'person')) {
      throw new MatrixError('M_EXCLUSIVE', `${userId} is not in the appservice's namespaces`)
    }
    // Of a ghost that was left behind when its bridge was deleted nothing is used before it is adopted.
    if (user) requireActive(user)
    return beginSession(decision, user ?? ensureUser(decision, userId, actor.appservice), args)
  })
}

function bridgeUserId(instance: Instance, user: string): string {
  return user.startsWith('@') && user.includes(':') ? user : `@${user.replace(/^@/, '')}:${instance.bridgeDomain}`
}

export interface Register extends NewSession {
  readonly username?: string | null
  readonly inhibitLogin?: boolean
}

/** `m.login.application_service` registration of a ghost. Errors: M_USER_IN_USE (which bridges take for success), M_EXCLUSIVE. */
export function registerAsAppservice(
  instance: Instance,
  actor: Actor,
  args: Register,
): Promise<{ userId: string; session: Session | null }> {
  return command(instance, (decision) => {
    const registration = registrations(decision).find((each) => each.key === actor.appservice)
    if (!registration) throw new MatrixError('M_MISSING_TOKEN', 'An as_token is needed')
    const userId = bridgeUserId(instance, args.username ?? '')
    if (!isUserId(userId)) throw new MatrixError('M_INVALID_USERNAME', `${userId} is not a user ID`)
    const known = findUser(decision, userId)
    if (!registration.namespaces.users.matches(userId) && known?.key !== registration.bot) {
      throw new MatrixError('M_EXCLUSIVE', `${userId} is not in the appservice's namespaces`)
    }
    if (known) throw new MatrixError('M_USER_IN_USE', 'User ID already taken.')
    const user = ensureUser(decision, userId, actor.appservice)
    return { userId, session: args.inhibitLogin ? null : beginSession(decision, user, args) }
  })
}

/** Makes a person with a password. Errors: M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE, M_WEAK_PASSWORD. */
export async function registerPerson(
  instance: Instance,
  args: Register & { password?: string | null; admin?: boolean; registrationToken?: string | null },
): Promise<{ userId: string; session: Session | null }> {
  const passwordHash = args.password ? await hashPassword(args.password) : null
  // Chosen before the decision, which may start over and must find what it asked for.
  const username = args.username ?? `user-${instance.ports.random(6).toString('hex')}`
  return command(instance, (decision) => {
    const userId = checkNewUsername(decision, username)
    if (args.registrationToken) useRegistrationToken(decision, args.registrationToken)
    const user = makeUser(decision, { userId, kind: 'person', passwordHash, admin: args.admin === true })
    return { userId, session: args.inhibitLogin ? null : beginSession(decision, user, args) }
  })
}

export interface SetPassword {
  /** localpart or full id of a person */
  readonly userId: string
  /** drawn at random when left out */
  readonly password?: string | null | undefined
  readonly keepSessions?: boolean | null | undefined
}

/**
 * Gives a person a new password, which is returned, and ends the person's sessions, except the one that asks. The asking instance's
 * administrator may do so for all, its owner for all but administrators; `actor` null: the server itself. Errors: M_FORBIDDEN, M_NOT_FOUND,
 * M_USER_DEACTIVATED, M_WEAK_PASSWORD, M_INVALID_PARAM.
 */
export async function setPassword(instance: Instance, actor: Actor | null, args: SetPassword): Promise<string> {
  const password = args.password ?? newPassword(instance.ports)
  checkPassword(password)
  const userId = fullUserId(instance, args.userId)
  const passwordHash = await hashPassword(password)
  await command(instance, (decision) => {
    const user = findUser(decision, userId)
    if (user?.kind !== 'person') throw notFound(`There is no person ${userId}`)
    if (actor && !actor.admin && user.admin === 1) throw forbidden("Only the administrator may change an administrator's password")
    requireActive(user)
    decision.put('user', { ...user, passwordHash })
    if (args.keepSessions) return
    const isAsking = ({ deviceId }: DeviceRow) => user.key === actor?.user && deviceId === actor.device
    removeDevices(
      decision,
      devicesOf(decision, user.key).filter((device) => !isAsking(device)),
    )
  })
  return password
}

/** Drawn at random. */
export function newPassword(ports: Ports): string {
  return newSecret(ports).slice(0, 20)
}

/** The full id that a new person may take. Errors: M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE. */
export function checkNewUsername(decision: Decision, username: string): string {
  const { instance } = decision
  const userId = username.startsWith('@') ? username : `@${username}:${instance.userDomain}`
  if (!isUserId(userId) || !isLocal(instance, userId) || !isLocalpart(localpartOf(userId))) {
    throw new MatrixError('M_INVALID_USERNAME', 'User ID can only contain characters a-z, 0-9, or =_-./+')
  }
  if (registrations(decision).some((registration) => registration.namespaces.users.exclusive(userId))) {
    throw new MatrixError('M_EXCLUSIVE', 'This user ID is reserved by an application service.')
  }
  if (findUser(decision, userId)) throw new MatrixError('M_USER_IN_USE', 'User ID already taken.')
  return userId
}

/** Errors: M_FORBIDDEN for a token that is unknown, expired or used up. */
export function useRegistrationToken(decision: Decision, token: string): void {
  const row = decision.get('registrationToken', { token })
  if (!row || (row.expiresAt ?? Infinity) < decision.now || row.used >= (row.usesAllowed ?? Infinity)) {
    throw forbidden('Invalid registration token')
  }
  decision.put('registrationToken', { ...row, used: row.used + 1 })
}

/** Errors: M_USER_DEACTIVATED, M_USER_LOCKED. */
function requireWelcome(user: UserRow): void {
  requireActive(user)
  if (standingOfRow(user).locked) throw userLocked()
}
