/** https://spec.matrix.org/v1.19/client-server-api/#push-rules-api */

import { invalidParam } from '../../src/errors.ts'
import { endpoint, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'
import { Type } from '../type.ts'

const rulePath = '/_matrix/client/v3/pushrules/global/{kind}/{ruleId}'

type Kind = 'OVERRIDE' | 'CONTENT' | 'ROOM' | 'SENDER' | 'UNDERRIDE'
const kinds: readonly Kind[] = ['OVERRIDE', 'CONTENT', 'ROOM', 'SENDER', 'UNDERRIDE']

function named({ kind, ruleId }: { readonly kind: string; readonly ruleId: string }): { kind: Kind; ruleId: string } {
  const known = kinds.find((each) => each.toLowerCase() === kind)
  if (!known) throw invalidParam(`${kind} is not a kind of push rule`)
  return { kind: known, ruleId }
}

interface Rule {
  readonly ruleId: string
  readonly default: boolean
  readonly enabled: boolean
  readonly actions: readonly unknown[]
  readonly conditions: readonly object[] | null
  readonly pattern: string | null
}

function ruleAnswer(rule: Rule): object {
  return {
    rule_id: rule.ruleId,
    default: rule.default,
    enabled: rule.enabled,
    actions: rule.actions,
    conditions: rule.conditions ?? undefined,
    pattern: rule.pattern ?? undefined,
  }
}

function rulesAnswer(rules: Readonly<Record<Lowercase<Kind>, readonly Rule[]>>): object {
  return {
    override: rules.override.map(ruleAnswer),
    content: rules.content.map(ruleAnswer),
    room: rules.room.map(ruleAnswer),
    sender: rules.sender.map(ruleAnswer),
    underride: rules.underride.map(ruleAnswer),
  }
}

const pushRules = graphql(`
  query PushRules {
    pushRules {
      override { ruleId default enabled actions conditions pattern }
      content { ruleId default enabled actions conditions pattern }
      room { ruleId default enabled actions conditions pattern }
      sender { ruleId default enabled actions conditions pattern }
      underride { ruleId default enabled actions conditions pattern }
    }
  }
`)

/** Element shows no room before this answers. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules */
export const getPushRules = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/pushrules/',
  aliases: ['/_matrix/client/v3/pushrules'],
  auth: 'accessToken',
  operation: pushRules,
  variables: () => ({}),
  response: (data) => ({ global: rulesAnswer(data.pushRules) }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal */
export const getPushRulesGlobal = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/pushrules/global/',
  aliases: ['/_matrix/client/v3/pushrules/global'],
  auth: 'accessToken',
  operation: pushRules,
  variables: () => ({}),
  response: (data) => rulesAnswer(data.pushRules),
})

const pushRule = graphql(`
  query PushRule($kind: PushRuleKind!, $ruleId: ID!) {
    pushRule(kind: $kind, ruleId: $ruleId) { ruleId default enabled actions conditions pattern }
  }
`)

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid */
export const getPushRule = endpoint({
  method: 'GET',
  path: rulePath,
  auth: 'accessToken',
  operation: pushRule,
  variables: ({ params }) => named(params),
  response: (data) => ruleAnswer(data.pushRule),
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid */
export const setPushRule = endpoint({
  method: 'PUT',
  path: rulePath,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  query: Type.Object({ before: Type.Optional(Type.String()), after: Type.Optional(Type.String()) }),
  body: AnyObject,
  operation: graphql(`
    mutation SetPushRule($kind: PushRuleKind!, $ruleId: ID!, $rule: JsonObject!, $before: ID, $after: ID) {
      setPushRule(kind: $kind, ruleId: $ruleId, rule: $rule, before: $before, after: $after)
    }
  `),
  variables: ({ params, query, body }) => ({ ...named(params), rule: body, before: query.before ?? null, after: query.after ?? null }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid */
export const deletePushRule = endpoint({
  method: 'DELETE',
  path: rulePath,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  operation: graphql(`mutation DeletePushRule($kind: PushRuleKind!, $ruleId: ID!) { deletePushRule(kind: $kind, ruleId: $ruleId) }`),
  variables: ({ params }) => named(params),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidenabled */
export const isPushRuleEnabled = endpoint({
  method: 'GET',
  path: `${rulePath}/enabled`,
  auth: 'accessToken',
  operation: pushRule,
  variables: ({ params }) => named(params),
  response: (data) => ({ enabled: data.pushRule.enabled }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled */
export const setPushRuleEnabled = endpoint({
  method: 'PUT',
  path: `${rulePath}/enabled`,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Type.Object({ enabled: Type.Boolean() }),
  operation: graphql(`
    mutation SetPushRuleEnabled($kind: PushRuleKind!, $ruleId: ID!, $enabled: Boolean!) {
      setPushRuleEnabled(kind: $kind, ruleId: $ruleId, enabled: $enabled)
    }
  `),
  variables: ({ params, body }) => ({ ...named(params), enabled: body.enabled }),
  response: () => ({}),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidactions */
export const getPushRuleActions = endpoint({
  method: 'GET',
  path: `${rulePath}/actions`,
  auth: 'accessToken',
  operation: pushRule,
  variables: ({ params }) => named(params),
  response: (data) => ({ actions: data.pushRule.actions }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions */
export const setPushRuleActions = endpoint({
  method: 'PUT',
  path: `${rulePath}/actions`,
  auth: 'accessToken',
  puppet: true,
  rateLimited: true,
  body: Type.Object({ actions: Type.Array(Type.Unknown()) }),
  operation: graphql(`
    mutation SetPushRuleActions($kind: PushRuleKind!, $ruleId: ID!, $actions: [JSON!]!) {
      setPushRuleActions(kind: $kind, ruleId: $ruleId, actions: $actions)
    }
  `),
  variables: ({ params, body }) => ({ ...named(params), actions: body.actions }),
  response: () => ({}),
})
