import { isArray, isObject, type Json, type JsonObject, type Refusal, refuse } from './values.ts'

/** The kinds of push rule in the order of their evaluation. https://spec.matrix.org/v1.19/client-server-api/#push-rules */
export const pushRuleKinds = ['override', 'content', 'room', 'sender', 'underride'] as const

export type PushRuleKind = (typeof pushRuleKinds)[number]

export type PushAction = string | JsonObject

/** A rule as clients read it. */
export interface PushRule {
  readonly rule_id: string
  readonly default: boolean
  readonly enabled: boolean
  readonly actions: readonly PushAction[]
  /** override and underride. */
  readonly conditions?: readonly JsonObject[]
  /** content. */
  readonly pattern?: string
}

/** What stands under `global` in m.push_rules; within a kind the first rule is the most important. */
export type PushRuleset = Readonly<Record<PushRuleKind, readonly PushRule[]>>

/** Longest pattern of a rule, in UTF-16 code units: it bounds what a match costs. */
export const maxPatternLength = 255

export function isPushRuleKind(kind: string): kind is PushRuleKind {
  return (pushRuleKinds as readonly string[]).includes(kind)
}

export function findPushRule(ruleset: PushRuleset, kind: PushRuleKind, ruleId: string): PushRule | null {
  return ruleset[kind].find((rule) => rule.rule_id === ruleId) ?? null
}

/** Where a rule goes: next to another rule of the user, `before` it when both are named, else to the top of its kind. */
export interface PushRulePlace {
  readonly before?: string | undefined
  readonly after?: string | undefined
}

/** Adds or changes a rule. https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid */
export function putPushRule(
  ruleset: PushRuleset,
  kind: PushRuleKind,
  ruleId: string,
  body: JsonObject,
  place: PushRulePlace = {},
): PushRuleset | Refusal {
  const invalid = checkRuleId(ruleId) ?? checkRuleBody(kind, body) ?? checkPlace(ruleset, kind, place)
  if (invalid) return invalid

  const old = findPushRule(ruleset, kind, ruleId)
  const rule: PushRule = {
    rule_id: ruleId,
    default: false,
    enabled: old?.enabled ?? true,
    actions: body.actions as readonly PushAction[],
    ...((kind === 'override' || kind === 'underride') && { conditions: (body.conditions ?? []) as readonly JsonObject[] }),
    ...(kind === 'content' && { pattern: body.pattern as string }),
  }
  const neighbour = place.before ?? place.after
  if (neighbour === ruleId || (old && neighbour === undefined)) return replace(ruleset, kind, rule)

  const others = ruleset[kind].filter((other) => other.rule_id !== ruleId)
  const index =
    neighbour === undefined
      ? others.findIndex((other) => other.rule_id !== '.m.rule.master')
      : others.findIndex((other) => other.rule_id === neighbour) + (place.before === undefined ? 1 : 0)
  return { ...ruleset, [kind]: others.toSpliced(index === -1 ? others.length : index, 0, rule) }
}

/** Removes a rule of the user; those of the server stay and can only be disabled. */
export function deletePushRule(ruleset: PushRuleset, kind: PushRuleKind, ruleId: string): PushRuleset | Refusal {
  const rule = findPushRule(ruleset, kind, ruleId)
  if (!rule) return ruleNotFound()
  if (rule.default) return refuse('M_INVALID_PARAM', 'Server-default rules cannot be deleted')
  return { ...ruleset, [kind]: ruleset[kind].filter((other) => other !== rule) }
}

export function setPushRuleEnabled(ruleset: PushRuleset, kind: PushRuleKind, ruleId: string, enabled: boolean): PushRuleset | Refusal {
  const rule = findPushRule(ruleset, kind, ruleId)
  return rule ? replace(ruleset, kind, { ...rule, enabled }) : ruleNotFound()
}

export function setPushRuleActions(ruleset: PushRuleset, kind: PushRuleKind, ruleId: string, actions: Json): PushRuleset | Refusal {
  const rule = findPushRule(ruleset, kind, ruleId)
  if (!rule) return ruleNotFound()
  return checkActions(actions) ?? replace(ruleset, kind, { ...rule, actions: actions as readonly PushAction[] })
}

function replace(ruleset: PushRuleset, kind: PushRuleKind, rule: PushRule): PushRuleset {
  return { ...ruleset, [kind]: ruleset[kind].map((other) => (other.rule_id === rule.rule_id ? rule : other)) }
}

function checkRuleId(ruleId: string): Refusal | null {
  // "If the string starts with a dot, the request MUST be rejected as this is reserved for server-default rules.
  // Slashes and backslashes are also not allowed."
  if (ruleId === '') return refuse('M_INVALID_PARAM', 'rule_id must not be empty')
  if (ruleId.startsWith('.')) return refuse('M_INVALID_PARAM', "cannot add new rule_ids that start with '.'")
  if (/[/\\]/.test(ruleId)) return refuse('M_INVALID_PARAM', 'rule_id may not contain slashes')
  return null
}

function checkRuleBody(kind: PushRuleKind, body: JsonObject): Refusal | null {
  if (kind === 'content') {
    if (body.pattern === undefined) return refuse('M_MISSING_PARAM', "Content rule missing 'pattern'")
    const invalid = checkPattern(body.pattern)
    if (invalid) return invalid
  }
  if (kind === 'override' || kind === 'underride') {
    const conditions = body.conditions ?? []
    if (!isArray(conditions)) return refuse('M_BAD_JSON', "'conditions' must be an array")
    for (const condition of conditions) {
      if (!isObject(condition) || typeof condition.kind !== 'string') return refuse('M_BAD_JSON', "Condition without 'kind'")
      const invalid = condition.kind === 'event_match' && condition.pattern !== undefined ? checkPattern(condition.pattern) : null
      if (invalid) return invalid
    }
  }
  if (body.actions === undefined) return refuse('M_MISSING_PARAM', 'No actions found')
  return checkActions(body.actions)
}

function checkPattern(pattern: Json): Refusal | null {
  if (typeof pattern !== 'string') return refuse('M_BAD_JSON', "'pattern' must be a string")
  return pattern.length > maxPatternLength ? refuse('M_INVALID_PARAM', "'pattern' is too long") : null
}

function checkActions(actions: Json): Refusal | null {
  if (!isArray(actions)) return refuse('M_BAD_JSON', "'actions' must be an array")
  for (const action of actions) {
    // `dont_notify` and `coalesce` are historical and mean nothing.
    const known = isObject(action)
      ? typeof action.set_tweak === 'string'
      : action === 'notify' || action === 'dont_notify' || action === 'coalesce'
    if (!known) return refuse('M_INVALID_PARAM', `Unrecognised action ${JSON.stringify(action)}`)
  }
  return null
}

function checkPlace(ruleset: PushRuleset, kind: PushRuleKind, place: PushRulePlace): Refusal | null {
  for (const ruleId of [place.before, place.after]) {
    if (ruleId === undefined) continue
    // "It is not possible to add a rule relative to a predefined server rule."
    if (ruleId.startsWith('.')) return refuse('M_INVALID_PARAM', 'before/after must not be a server-default rule')
    if (!findPushRule(ruleset, kind, ruleId)) return refuse('M_NOT_FOUND', `before/after rule not found: ${ruleId}`)
  }
  return null
}

function ruleNotFound(): Refusal {
  return refuse('M_NOT_FOUND', 'The push rule was not found.')
}
