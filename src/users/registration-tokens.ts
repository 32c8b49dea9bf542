/** Tokens by which people may register where registration is by token. https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration */
import { forbidden, MatrixError } from '../errors.ts'
import type { RegistrationTokenRow } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from './actor.ts'
import { countAttempt } from './login-limits.ts'

export interface NewRegistrationToken {
  /** made up when absent */
  readonly token?: string | null | undefined
  /** null: any number of times */
  readonly usesAllowed?: number | null | undefined
  /** milliseconds since the epoch; null: never */
  readonly expiresAt?: number | null | undefined
}

/** By an administrator. Errors: M_FORBIDDEN, M_INVALID_PARAM for a token that exists or looks wrong. */
export async function createRegistrationToken(instance: Instance, actor: Actor, args: NewRegistrationToken): Promise<RegistrationTokenRow> {
  if (!actor.admin) throw forbidden('Only an administrator may do this')
  const token = args.token ?? instance.ports.random(16).toString('base64url')
  // "The token … a string of 1 to 64 characters of A-Z, a-z, 0-9, and ._~-."
  if (!/^[A-Za-z0-9._~-]{1,64}$/.test(token))
    throw new MatrixError('M_INVALID_PARAM', 'A registration token takes 1 to 64 of A-Z, a-z, 0-9 and ._~-')
  if ((args.usesAllowed ?? 1) < 1) throw new MatrixError('M_INVALID_PARAM', 'usesAllowed must be 1 or more')
  return command(instance, (decision) => {
    if (decision.get('registrationToken', { token })) throw new MatrixError('M_INVALID_PARAM', `Token ${token} exists already`)
    const row = { instance: instance.key, token, usesAllowed: args.usesAllowed ?? null, used: 0, expiresAt: args.expiresAt ?? null }
    decision.put('registrationToken', row)
    return row
  })
}

export async function readRegistrationTokens(instance: Instance, actor: Actor): Promise<RegistrationTokenRow[]> {
  if (!actor.admin) throw forbidden('Only an administrator may do this')
  return instance.storage.find('registrationToken', { where: {}, orderBy: ['token'] })
}

/** As it stands now: somebody else may use it up before this one does. */
export async function isRegistrationTokenValid(instance: Instance, token: string): Promise<boolean> {
  const row = await instance.storage.first('registrationToken', { token })
  return row !== null && (row.expiresAt ?? Infinity) >= instance.ports.now() && row.used < (row.usesAllowed ?? Infinity)
}

/** Without a login; wrong ones count as attempts to log in. Errors: M_FORBIDDEN where registration is not by token, M_LIMIT_EXCEEDED. */
export async function checkRegistrationToken(instance: Instance, token: string, ip: string | null): Promise<boolean> {
  if (instance.config.registration !== 'token') throw forbidden('Registration is not by token here')
  const undo = countAttempt(instance, null, ip)
  const valid = await isRegistrationTokenValid(instance, token)
  if (valid) undo()
  return valid
}
