/** POST /register: people by the flow that the configuration allows, ghosts by their appservice. https://spec.matrix.org/v1.19/client-server-api/#account-registration */
import { forbidden, MatrixError } from '../errors.ts'
import type { JsonObject } from '../rules/values.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { checkNewUsername, registerAsAppservice, registerPerson } from './accounts.ts'
import type { Actor } from './actor.ts'
import { authenticateInteractively } from './interactive-auth.ts'
import { countAttempt } from './login-limits.ts'
import { checkPassword } from './passwords.ts'
import { isRegistrationTokenValid } from './registration-tokens.ts'
import type { NewSession, Session } from './sessions.ts'

export interface RegisterRequest extends NewSession {
  /** `m.login.application_service` for ghosts */
  readonly type?: string | null | undefined
  /** `guest` is refused */
  readonly kind?: string | null | undefined
  readonly username?: string | null | undefined
  readonly password?: string | null | undefined
  readonly inhibitLogin?: boolean | null | undefined
  readonly auth?: JsonObject | null | undefined
}

export interface Registered {
  readonly userId: string
  /** null where no login was wanted */
  readonly session: Session | null
}

/**
 * Errors: M_GUEST_ACCESS_FORBIDDEN, M_FORBIDDEN where registration is off, M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE,
 * M_WEAK_PASSWORD, M_LIMIT_EXCEEDED; 401 with `flows`, `params` and `session` until a flow is complete.
 */
export async function register(instance: Instance, actor: Actor | null, request: RegisterRequest): Promise<Registered> {
  if (request.kind === 'guest') throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guest access is disabled')
  if (request.kind && request.kind !== 'user') throw new MatrixError('M_INVALID_PARAM', 'kind must be user or guest')
  if (request.type === 'm.login.application_service') {
    if (!actor) throw new MatrixError('M_MISSING_TOKEN', 'An as_token is needed')
    return registerAsAppservice(instance, actor, {
      ...request,
      username: request.username ?? null,
      inhibitLogin: request.inhibitLogin === true,
    })
  }
  const { registration } = instance.config
  if (registration === 'off') throw forbidden('Registration has been disabled')
  return registerWithFlow(instance, request, registration === 'token' ? 'm.login.registration_token' : 'm.login.dummy')
}

async function registerWithFlow(
  instance: Instance,
  given: RegisterRequest,
  stage: 'm.login.registration_token' | 'm.login.dummy',
): Promise<Registered> {
  const undo = countAttempt(instance, null, given.ip ?? null)
  const { auth, ...first } = given
  // "Order of checks: valid name, in use (before UIA), exclusive namespace": a client asks with the name before it asks for a token.
  if (first.username) await checkUsername(instance, first.username)
  if (first.password) checkPassword(first.password)
  const { body, stages } = await authenticateInteractively(instance, {
    purpose: 'register',
    flows: [[stage]],
    checks: {
      'm.login.dummy': () => undefined,
      'm.login.registration_token': async ({ token }) => {
        if (typeof token !== 'string' || !(await isRegistrationTokenValid(instance, token))) throw forbidden('Invalid registration token')
        undo()
      },
    },
    auth: auth ?? null,
    body: first,
  })
  const { username, password, inhibitLogin, ...session } = { ...body, ...withoutNulls(first) }
  if (!password) throw new MatrixError('M_MISSING_PARAM', 'Missing password')
  const token = stages.get('m.login.registration_token')?.['token']
  return registerPerson(instance, {
    ...session,
    username: username ?? null,
    password,
    inhibitLogin: inhibitLogin === true,
    registrationToken: typeof token === 'string' ? token : null,
  })
}

/** Whether a new person may take this name. Errors: M_FORBIDDEN where registration is off, M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE. */
export async function checkUsernameAvailable(instance: Instance, username: string): Promise<boolean> {
  if (instance.config.registration === 'off') throw forbidden('Registration has been disabled')
  await checkUsername(instance, username)
  return true
}

async function checkUsername(instance: Instance, username: string): Promise<void> {
  await command(instance, (decision) => checkNewUsername(decision, username))
}

/** What a later request leaves out stands as in the first. */
function withoutNulls<T extends object>(given: T): Partial<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null && value !== undefined)) as Partial<T>
}
