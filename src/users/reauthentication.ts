/**
 * Asking once more who somebody is, before what a stolen token must not do.
 * https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
 */
import { forbidden } from '../errors.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import type { UserRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { fullUserId, jwtType, userOfJwt } from './accounts.ts'
import type { Actor } from './actor.ts'
import { authenticateInteractively } from './interactive-auth.ts'
import { countAttempt } from './login-limits.ts'
import { verifyPassword } from './passwords.ts'
import { requireUser } from './users.ts'

export interface Reauthentication<Body> {
  /** what is about to be done, such as its path; what is proven for one purpose is worth nothing for another */
  readonly purpose: string
  readonly auth?: JsonObject | null | undefined
  /** address of the peer, for the limit on guesses */
  readonly ip?: string | null | undefined
  /** kept from the first request: clients may send `auth` alone later */
  readonly body: Body
}

/**
 * Asks for the own password; who has none gives a JWT, where those log in. Resolves with the body of the request that began it. The users of
 * appservices are not asked: they have no password, and every session of theirs was begun with the as_token. Errors: 401 with `flows`,
 * `params` and `session`, and with M_FORBIDDEN after a wrong answer; M_FORBIDDEN for a puppet and for a person who has nothing to prove it
 * with; M_LIMIT_EXCEEDED after many guesses; M_UNKNOWN (400) for a session that is none of this.
 */
export async function reauthenticate<Body>(instance: Instance, actor: Actor, request: Reauthentication<Body>): Promise<Body> {
  if (actor.puppet) throw forbidden('An appservice may not do this for the owner')
  const user = await personOf(instance, actor)
  if (!user) return request.body
  const stage = user.passwordHash !== null ? 'm.login.password' : jwtType
  if (stage === jwtType && instance.config.jwtSecret === null) throw forbidden('This account has no password: have one set first')
  const guarded = (check: (auth: JsonObject) => Promise<boolean>) => async (auth: JsonObject) => {
    const undo = countAttempt(instance, actor.userId, request.ip ?? null)
    if (!(await check(auth))) throw forbidden(stage === jwtType ? 'This JWT is not yours' : 'Invalid password')
    undo()
  }
  const { body } = await authenticateInteractively(instance, {
    purpose: `${request.purpose} ${actor.userId}`,
    flows: [[stage]],
    checks: {
      'm.login.password': guarded((auth) => isOwnPassword(instance, actor, auth)),
      [jwtType]: guarded(async ({ token }) => typeof token === 'string' && (await userOfJwt(instance, token)) === actor.userId),
    },
    auth: request.auth ?? null,
    body: request.body,
  })
  return body
}

/** Errors: M_FORBIDDEN for appservices and for the sessions of their users. */
export async function requirePerson(instance: Instance, actor: Actor): Promise<void> {
  if (!(await personOf(instance, actor))) throw forbidden('The users of appservices have no password')
}

/** Null for an appservice, and for the session of one of its users. */
async function personOf(instance: Instance, actor: Actor): Promise<UserRow | null> {
  const user = actor.appservice === null ? await instance.storage.first('user', { key: requireUser(actor) }) : null
  return user?.kind === 'person' ? user : null
}

/** The identifier must be the token's own user. The password is read again: it may have been changed since. */
async function isOwnPassword(instance: Instance, actor: Actor, auth: JsonObject): Promise<boolean> {
  const identifier = auth['identifier']
  const named = isObject(identifier) ? identifier['user'] : auth['user']
  const password = auth['password']
  if (typeof named !== 'string' || fullUserId(instance, named) !== actor.userId || typeof password !== 'string') return false
  const row = await instance.storage.first('user', { key: requireUser(actor) })
  return verifyPassword(row?.passwordHash ?? null, password)
}
