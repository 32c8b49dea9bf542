/** Push rules: which events count as unread and ring. */
import { deletePushRule, setPushRule, setPushRuleActions, setPushRuleEnabled } from '../../rooms/push-rule-change.ts'
import { type PushRule, type PushRuleset, pushRuleKinds } from '../../rules/push-rules.ts'
import { readPushRule, readPushRules } from '../../users/push-rules.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { Viewer } from './accounts.ts'

const PushRuleKind = builder.enumType('PushRuleKind', {
  description: 'The kinds in the order of their evaluation; the first rule that matches decides.',
  values: {
    OVERRIDE: { value: 'override', description: 'Matches its conditions.' },
    CONTENT: { value: 'content', description: 'Matches words in the body of a message.' },
    ROOM: { value: 'room', description: 'Matches a room; the id of the rule is that of the room.' },
    SENDER: { value: 'sender', description: 'Matches a sender; the id of the rule is that of the user.' },
    UNDERRIDE: { value: 'underride', description: 'Matches its conditions, after all others.' },
  } as const,
})

const PushRuleType = builder.objectRef<PushRule>('PushRule').implement({
  description: 'A rule. https://spec.matrix.org/v1.19/client-server-api/#push-rules',
  fields: (t) => ({
    ruleId: t.id({ resolve: (rule) => rule.rule_id }),
    default: t.exposeBoolean('default', { description: "The server's own: it can be disabled, not deleted." }),
    enabled: t.exposeBoolean('enabled'),
    actions: t.field({
      type: ['JSON'],
      description: '`notify` and tweaks, such as `{"set_tweak": "highlight"}`.',
      resolve: (rule) => [...rule.actions],
    }),
    conditions: t.field({
      type: ['JsonObject'],
      nullable: true,
      description: 'OVERRIDE and UNDERRIDE.',
      resolve: (rule) => (rule.conditions ? [...rule.conditions] : null),
    }),
    pattern: t.string({ nullable: true, description: 'CONTENT.', resolve: (rule) => rule.pattern ?? null }),
  }),
})

const PushRulesetType = builder.objectRef<PushRuleset>('PushRuleset').implement({
  description: 'All rules of a user, the most important of each kind first.',
  fields: (t) =>
    Object.fromEntries(pushRuleKinds.map((kind) => [kind, t.field({ type: [PushRuleType], resolve: (rules) => [...rules[kind]] })])),
})

builder.objectField(Viewer, 'pushRules', (t) =>
  t.field({
    type: PushRulesetType,
    description: 'Not for an appservice as the owner.',
    extensions: { puppet: false },
    resolve: (actor, _, context) => readPushRules(context.instance, actor),
  }),
)

const named = 'An appservice as the owner may change rules of the kind ROOM for rooms with its users.'

builder.queryFields((t) => ({
  pushRules: t.field({
    type: PushRulesetType,
    description: 'The own rules. Not for an appservice as the owner. Errors: M_FORBIDDEN for a user who is not made yet.',
    extensions: { puppet: false },
    resolve: (_, __, context) => readPushRules(context.instance, requireActor(context)),
  }),
  pushRule: t.field({
    type: PushRuleType,
    description: 'One of the own rules. Not for an appservice as the owner. Errors: M_NOT_FOUND.',
    args: { kind: t.arg({ type: PushRuleKind, required: true }), ruleId: t.arg.id({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, args, context) => readPushRule(context.instance, requireActor(context), args),
  }),
}))

builder.mutationFields((t) => ({
  setPushRule: t.boolean({
    description: `Adds or replaces a rule. ${named} Errors: M_INVALID_PARAM, M_MISSING_PARAM, M_BAD_JSON, M_NOT_FOUND for an unknown neighbour.`,
    args: {
      kind: t.arg({ type: PushRuleKind, required: true }),
      ruleId: t.arg.id({ required: true }),
      rule: t.arg({ type: 'JsonObject', required: true, description: '`actions`, and by kind `conditions` or `pattern`' }),
      before: t.arg.id({ description: 'the rule that it goes before; to the top of its kind when no neighbour is named' }),
      after: t.arg.id({ description: 'the rule that it goes after' }),
    },
    extensions: { puppet: true },
    resolve: (_, { before, after, ...args }, context) =>
      setPushRule(context.instance, requireActor(context), { ...args, place: { before: before ?? undefined, after: after ?? undefined } }),
  }),
  deletePushRule: t.boolean({
    description: `Deletes an own rule. ${named} Errors: M_NOT_FOUND, M_INVALID_PARAM for a rule of the server.`,
    args: { kind: t.arg({ type: PushRuleKind, required: true }), ruleId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, args, context) => deletePushRule(context.instance, requireActor(context), args),
  }),
  setPushRuleEnabled: t.boolean({
    description: `${named} Errors: M_NOT_FOUND.`,
    args: {
      kind: t.arg({ type: PushRuleKind, required: true }),
      ruleId: t.arg.id({ required: true }),
      enabled: t.arg.boolean({ required: true }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => setPushRuleEnabled(context.instance, requireActor(context), args),
  }),
  setPushRuleActions: t.boolean({
    description: `${named} Errors: M_NOT_FOUND, M_INVALID_PARAM for an action that does not exist.`,
    args: {
      kind: t.arg({ type: PushRuleKind, required: true }),
      ruleId: t.arg.id({ required: true }),
      actions: t.arg({ type: ['JSON'], required: true }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => setPushRuleActions(context.instance, requireActor(context), args),
  }),
}))
