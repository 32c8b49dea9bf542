/** A user's push rules: account data of type m.push_rules; the server's defaults where none are kept. */
import { invalidParam, MatrixError, notFound } from '../errors.ts'
import { defaultPushRules, withDefaultPushRules } from '../rules/default-push-rules.ts'
import { compilePushRules, type PushEvaluator } from '../rules/push-evaluate.ts'
import { findPushRule, isPushRuleKind, type PushRule, type PushRuleKind, type PushRuleset } from '../rules/push-rules.ts'
import type { UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { putAccountData } from './account-data.ts'
import type { Actor } from './actor.ts'
import { requireUser } from './users.ts'

export const pushRulesType = 'm.push_rules'

/** The rules as they stand. */
export function pushRulesOf(decision: Decision, user: Pick<UserRow, 'key' | 'userId'>): PushRuleset {
  const row = decision.get('accountData', { user: user.key, room: 0, type: pushRulesType })
  return parsePushRules(row?.content ?? null, user.userId)
}

export function parsePushRules(content: string | null, userId: string): PushRuleset {
  return content === null ? defaultPushRules(userId) : withDefaultPushRules((JSON.parse(content) as { global: PushRuleset }).global, userId)
}

/** The rules of who is asking. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules */
export async function readPushRules(instance: Instance, actor: Actor): Promise<PushRuleset> {
  const row = await instance.storage.first('accountData', { user: requireUser(actor), room: 0, type: pushRulesType })
  return parsePushRules(row?.content ?? null, actor.userId)
}

/** Errors: M_INVALID_PARAM for an unknown kind, M_NOT_FOUND. */
export async function readPushRule(instance: Instance, actor: Actor, args: { kind: string; ruleId: string }): Promise<PushRule> {
  const kind = pushRuleKind(args.kind)
  const rule = findPushRule(await readPushRules(instance, actor), kind, args.ruleId)
  if (!rule) throw notFound('The push rule was not found.')
  return rule
}

/** Errors: M_INVALID_PARAM. */
export function pushRuleKind(kind: string): PushRuleKind {
  if (!isPushRuleKind(kind)) throw invalidParam(`${kind} is not a kind of push rule`)
  return kind
}

/** The rules compiled, once per change. */
export function pushEvaluatorOf(decision: Decision, user: Pick<UserRow, 'key' | 'userId'>): PushEvaluator {
  const row = decision.get('accountData', { user: user.key, room: 0, type: pushRulesType })
  const known = compiled.get(row ?? decision.instance)
  if (known && known.userId === user.userId) return known.evaluate
  const evaluate = compilePushRules(parsePushRules(row?.content ?? null, user.userId))
  compiled.set(row ?? decision.instance, { userId: user.userId, evaluate })
  return evaluate
}

/** By the row that holds the rules: rows are never changed in place. Users without a row share the instance's place. */
const compiled = new WeakMap<object, { userId: string; evaluate: PushEvaluator }>()

/** Changes a ruleset; `change` gives the new one or a refusal. */
export function changePushRules(
  decision: Decision,
  user: UserRow,
  change: (rules: PushRuleset) => PushRuleset | { errcode: string; error: string },
): void {
  const changed = change(pushRulesOf(decision, user))
  if ('errcode' in changed) {
    if (changed.errcode === 'M_NOT_FOUND') throw notFound(changed.error as string)
    throw new MatrixError(changed.errcode as MatrixError['errcode'], changed.error as string)
  }
  putAccountData(decision, user.key, 0, pushRulesType, JSON.stringify({ global: changed }))
}
