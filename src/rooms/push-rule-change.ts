/** Changing push rules. A bridge may change those of its own rooms for the owner, so it stands with the rooms. */
import { forbidden } from '../errors.ts'
import {
  type PushRuleKind,
  type PushRulePlace,
  type PushRuleset,
  setPushRuleActions as withActions,
  setPushRuleEnabled as withEnabled,
  deletePushRule as withoutRule,
  putPushRule as withRule,
} from '../rules/push-rules.ts'
import type { Json, JsonObject, Refusal } from '../rules/values.ts'
import { command } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { changePushRules, pushRuleKind } from '../users/push-rules.ts'
import { actingUser } from '../users/users.ts'
import { checkPuppet } from './puppets.ts'
import { coreOf, roomOf } from './room-core.ts'

interface NamedRule {
  readonly kind: string
  readonly ruleId: string
}

/**
 * Adds or replaces a rule. https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
 * Errors: M_INVALID_PARAM, M_MISSING_PARAM, M_BAD_JSON; M_NOT_FOUND when `before` or `after` names no rule.
 */
export function setPushRule(
  instance: Instance,
  actor: Actor,
  args: NamedRule & { rule: JsonObject; place?: PushRulePlace },
): Promise<boolean> {
  return change(instance, actor, args, (rules, kind) => withRule(rules, kind, args.ruleId, args.rule, args.place))
}

/** Errors: M_NOT_FOUND; M_INVALID_PARAM for a rule of the server, which can only be disabled. */
export function deletePushRule(instance: Instance, actor: Actor, args: NamedRule): Promise<boolean> {
  return change(instance, actor, args, (rules, kind) => withoutRule(rules, kind, args.ruleId))
}

/** Errors: M_NOT_FOUND. */
export function setPushRuleEnabled(instance: Instance, actor: Actor, args: NamedRule & { enabled: boolean }): Promise<boolean> {
  return change(instance, actor, args, (rules, kind) => withEnabled(rules, kind, args.ruleId, args.enabled))
}

/** Errors: M_NOT_FOUND, M_INVALID_PARAM for an action that does not exist. */
export function setPushRuleActions(instance: Instance, actor: Actor, args: NamedRule & { actions: Json }): Promise<boolean> {
  return change(instance, actor, args, (rules, kind) => withActions(rules, kind, args.ruleId, args.actions))
}

async function change(
  instance: Instance,
  actor: Actor,
  args: NamedRule,
  by: (rules: PushRuleset, kind: PushRuleKind) => PushRuleset | Refusal,
): Promise<boolean> {
  const kind = pushRuleKind(args.kind)
  if (actor.puppet && kind !== 'room') throw forbidden('An appservice may change only the push rules of its rooms')
  await command(instance, (decision) => {
    // The id of a room's rule is the room's.
    if (actor.puppet) checkPuppet(actor, coreOf(decision, roomOf(decision, args.ruleId, actor.userId)))
    changePushRules(decision, actingUser(decision, actor), (rules) => by(rules, kind))
  })
  return true
}
