/** Account data, global (room 0) and per room. https://spec.matrix.org/v1.19/client-server-api/#client-config */
import { forbidden, MatrixError, notFound } from '../errors.ts'
import { defaultPushRules, withDefaultPushRules } from '../rules/default-push-rules.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import type { PushRuleset } from '../rules/push-rules.ts'
import type { JsonObject } from '../rules/values.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from './actor.ts'
import { actingUser, requireSelf, requireUser } from './users.ts'

/** Puts it and tells every sync of the user, the writer's own included: clients wait for the echo. `content` is a JSON object. */
export function putAccountData(decision: Decision, user: number, room: number, type: string, content: string): void {
  const position = decision.takePosition()
  decision.put('accountData', { instance: decision.instance.key, user, room, type, content, position })
  decision.announce('accountData', { users: [user], rooms: room ? [room] : [] })
}

/** Errors: M_BAD_JSON (405) for what the server itself keeps, M_TOO_LARGE and M_INVALID_PARAM for an impossible type. */
export function checkAccountDataType(type: string): void {
  // "405: This type of account_data is controlled by the server; it cannot be modified by clients."
  if (type === 'm.fully_read' || type === 'm.push_rules') {
    throw new MatrixError('M_BAD_JSON', `Cannot set ${type} through this API`, {}, 405)
  }
  const refusal = type === '' ? { errcode: 'M_INVALID_PARAM', error: 'type must not be empty' } : checkIdentifier('type', type)
  if (refusal) throw new MatrixError(refusal.errcode as 'M_INVALID_PARAM', refusal.error)
}

/** A bridge keeps the owner's list of direct chats, and nothing else that holds for all rooms. */
function checkPuppetType(actor: Actor, type: string): void {
  if (actor.puppet && type !== 'm.direct') throw forbidden('An appservice may not use this account data of the owner')
}

/** Sets global account data. Errors: M_FORBIDDEN for another user's, M_BAD_JSON (405) for m.fully_read and m.push_rules. */
export async function setAccountData(
  instance: Instance,
  actor: Actor,
  args: { userId: string; type: string; content: JsonObject },
): Promise<boolean> {
  requireSelf(actor, args.userId)
  checkPuppetType(actor, args.type)
  checkAccountDataType(args.type)
  const content = JSON.stringify(args.content)
  await command(instance, (decision) => putAccountData(decision, actingUser(decision, actor).key, 0, args.type, content))
  return true
}

/** The content as JSON text. Errors: M_FORBIDDEN for another user's, M_NOT_FOUND. */
export async function readAccountData(instance: Instance, actor: Actor, args: { userId: string; type: string }): Promise<string> {
  requireSelf(actor, args.userId)
  checkPuppetType(actor, args.type)
  const row = await instance.storage.first('accountData', { user: requireUser(actor), room: 0, type: args.type })
  if (args.type === 'm.push_rules') {
    const stored = row && (JSON.parse(row.content) as { global: PushRuleset }).global
    return JSON.stringify({ global: stored ? withDefaultPushRules(stored, actor.userId) : defaultPushRules(actor.userId) })
  }
  if (!row) throw notFound('Account data not found')
  return row.content
}

export interface AccountData {
  readonly type: string
  /** JSON object */
  readonly content: string
}

/** All global account data of who is asking, the server's own types aside. */
export async function readAllAccountData(instance: Instance, actor: Actor): Promise<AccountData[]> {
  const rows = await instance.storage.find('accountData', { where: { user: requireUser(actor), room: 0 }, orderBy: ['type'] })
  return rows.filter((row) => row.type !== 'm.push_rules')
}
