import { compileCondition, neverMatches, type PushCondition } from './push-conditions.ts'
import { type PushRule, type PushRuleKind, type PushRuleset, pushRuleKinds } from './push-rules.ts'
import { ignoreCase, type PushSubject, type PushUser, type TableKey } from './push-subject.ts'
import { isObject, type Json, type JsonObject } from './values.ts'

/** What an event is to a user. */
export interface PushOutcome {
  readonly notify: boolean
  readonly highlight: boolean
  readonly sound?: string
  /** All tweaks of the matching rule, for push gateways. */
  readonly tweaks: JsonObject
}

/** A user's ruleset, compiled: make it once per change of the rules, run it for each event. */
export type PushEvaluator = (subject: PushSubject, user: PushUser) => PushOutcome

/** The outcome when no rule matches, or one that does not notify. */
export const silence: PushOutcome = Object.freeze({ notify: false, highlight: false, tweaks: Object.freeze({}) })

/** https://spec.matrix.org/v1.19/client-server-api/#push-rules */
export function compilePushRules(ruleset: PushRuleset): PushEvaluator {
  const steps = pushRuleKinds.flatMap((kind) => {
    const enabled = ruleset[kind].filter((rule) => rule.enabled)
    const rows = tabulate(enabled.map((rule) => compileRule(kind, rule)).filter((rule) => rule !== null))
    return kind === 'room' ? [unlessMuted, ...rows] : rows
  })
  return (subject, user) => {
    // "Homeservers MUST NOT notify the Push Gateway for events that the user has sent themselves."
    if (subject.event.sender === user.userId) return silence
    // "Only actions for highest priority rule will be sent to the Push Gateway."
    for (const step of steps) {
      const outcome = step(subject, user)
      if (outcome !== null) return outcome
    }
    return silence
  }
}

interface CompiledRule {
  readonly matches: (subject: PushSubject, user: PushUser) => boolean
  readonly needs: PushCondition['needs'] | undefined
  readonly outcome: PushOutcome
}

type Step = (subject: PushSubject, user: PushUser) => PushOutcome | null

const unlessMuted: Step = (_, user) => (user.muted ? silence : null)

/** Rules in a row that need a value of the same property become one look into a table: there may be thousands of muted rooms. */
function tabulate(rules: readonly CompiledRule[]): readonly Step[] {
  const steps: Step[] = []
  for (let start = 0; start < rules.length; ) {
    const key = rules[start]?.needs?.key
    let end = start + 1
    while (key !== undefined && rules[end]?.needs?.key === key) end++
    const row = rules.slice(start, end)
    steps.push(key !== undefined && row.length > 1 ? lookUp(key, row) : firstMatch(row))
    start = end
  }
  return steps
}

function firstMatch(rules: readonly CompiledRule[]): Step {
  return (subject, user) => {
    for (const rule of rules) if (rule.matches(subject, user)) return rule.outcome
    return null
  }
}

function lookUp(key: TableKey, rules: readonly CompiledRule[]): Step {
  const rows = Map.groupBy(rules, (rule) => rule.needs?.value ?? '')
  const steps = new Map(Array.from(rows, ([value, row]) => [value, firstMatch(row)]))
  return (subject, user) => steps.get(subject.withoutCase[key])?.(subject, user) ?? null
}

// They "should only be considered if the event does not contain an m.mentions property".
const legacyMentionRules = new Set(['.m.rule.contains_display_name', '.m.rule.contains_user_name', '.m.rule.roomnotif'])

/** Null for a rule that can never match. */
function compileRule(kind: PushRuleKind, rule: PushRule): CompiledRule | null {
  const outcome = outcomeOf(rule.actions)
  // "The rule_id of a room rule is always the ID of the room that it affects", that of a sender rule the user's ID.
  if (kind === 'room' || kind === 'sender') {
    const key = kind === 'room' ? 'room_id' : 'sender'
    return { matches: ({ event }) => event[key] === rule.rule_id, needs: { key, value: ignoreCase(rule.rule_id) }, outcome }
  }
  const written = kind === 'content' ? [{ kind: 'event_match', key: 'content.body', pattern: rule.pattern ?? null }] : rule.conditions
  const conditions = (written ?? []).map(compileCondition)
  // "Unrecognised conditions MUST NOT match any events, effectively making the push rule disabled."
  if (conditions.includes(neverMatches)) return null
  const isLegacy = legacyMentionRules.has(rule.rule_id)
  // "All conditions must hold true for an event in order for the rule to match. A rule with no conditions always matches."
  const matches = (subject: PushSubject, user: PushUser): boolean => {
    if (isLegacy && subject.hasMentions) return false
    for (const condition of conditions) if (!condition.matches(subject, user)) return false
    return true
  }
  return { matches, needs: conditions.find((condition) => condition.needs)?.needs, outcome }
}

function outcomeOf(actions: PushRule['actions']): PushOutcome {
  if (!actions.includes('notify')) return silence
  // "If a highlight tweak is given with no value, its value is defined to be true."
  const tweaks: JsonObject = Object.fromEntries(
    actions.flatMap((action): readonly [string, Json][] =>
      isObject(action) && typeof action.set_tweak === 'string' ? [[action.set_tweak, action.value ?? true]] : [],
    ),
  )
  const { highlight, sound } = tweaks
  return Object.freeze({ notify: true, highlight: highlight === true, tweaks, ...(typeof sound === 'string' && { sound }) })
}
