import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { defaultPushRules, withDefaultPushRules } from '../../src/rules/default-push-rules.ts'
import {
  deletePushRule,
  findPushRule,
  isPushRuleKind,
  maxPatternLength,
  type PushRuleKind,
  type PushRulePlace,
  type PushRuleset,
  putPushRule,
  setPushRuleActions,
  setPushRuleEnabled,
} from '../../src/rules/push-rules.ts'
import { isRefusal, type Json, type JsonObject, type Refusal } from '../../src/rules/values.ts'

const alice = '@alice:example.com'
const defaults = defaultPushRules(alice)

function accepted(result: PushRuleset | Refusal): PushRuleset {
  assert.ok(!isRefusal(result), JSON.stringify(result))
  return result
}

function errcode(result: PushRuleset | Refusal): string | undefined {
  return isRefusal(result) ? result.errcode : undefined
}

function put(
  ruleset: PushRuleset,
  ruleId: string,
  place?: PushRulePlace,
  body: JsonObject = { pattern: 'x', actions: ['notify'] },
): PushRuleset {
  return accepted(putPushRule(ruleset, 'content', ruleId, body, place))
}

function ids(ruleset: PushRuleset, kind: PushRuleKind = 'content'): string[] {
  return ruleset[kind].map((rule) => rule.rule_id)
}

suite('default push rules', () => {
  test('are those of the specification, in its order, with two kinds of additions', () => {
    assert.deepEqual(
      ids(defaults, 'override').filter((id) => id.startsWith('.m.rule.')),
      [
        'master',
        'suppress_notices',
        'invite_for_me',
        'member_event',
        'is_user_mention',
        'contains_display_name',
        'is_room_mention',
        'tombstone',
        'reaction',
        'room.server_acl',
        'suppress_edits',
      ].map((id) => `.m.rule.${id}`),
    )
    assert.deepEqual(
      ids(defaults, 'underride').filter((id) => id.startsWith('.m.rule.')),
      ['call', 'encrypted_room_one_to_one', 'room_one_to_one', 'message', 'encrypted'].map((id) => `.m.rule.${id}`),
    )
  })
  test('all are enabled but the master rule', () => {
    const disabled = Object.values(defaults).flatMap((rules) => rules.filter((rule) => !rule.enabled))
    assert.deepEqual(
      disabled.map((rule) => rule.rule_id),
      ['.m.rule.master'],
    )
  })
  test('name the user', () => {
    assert.equal(findPushRule(defaults, 'override', '.m.rule.is_user_mention')?.conditions?.[0]?.value, alice)
    assert.equal(findPushRule(defaults, 'override', '.m.rule.invite_for_me')?.conditions?.[2]?.pattern, alice)
  })
})

suite('changing push rules', () => {
  test('a new rule goes to the top of its kind, below the master rule, and is enabled', () => {
    assert.deepEqual(ids(put(put(defaults, 'one'), 'two')), ['two', 'one'])
    const ruleset = accepted(putPushRule(defaults, 'override', 'mine', { conditions: [], actions: [] }))
    assert.deepEqual(ids(ruleset, 'override').slice(0, 3), ['.m.rule.master', 'mine', '.com.beeper.suppress_auto_invite'])
    assert.deepEqual(findPushRule(ruleset, 'override', 'mine'), {
      rule_id: 'mine',
      default: false,
      enabled: true,
      conditions: [],
      actions: [],
    })
  })
  test('before and after place a rule next to another of the user', () => {
    const two = put(put(defaults, 'b'), 'a')
    assert.deepEqual(ids(put(two, 'x', { before: 'b' })), ['a', 'x', 'b'])
    assert.deepEqual(ids(put(two, 'x', { after: 'b' })), ['a', 'b', 'x'])
    assert.deepEqual(ids(put(two, 'x', { before: 'a', after: 'b' })), ['x', 'a', 'b'])
  })
  test('a rule that exists is changed in place, or moved when before or after ask for it', () => {
    const three = put(put(put(defaults, 'c'), 'b'), 'a')
    const changed = put(three, 'c', undefined, { pattern: 'y', actions: [] })
    assert.deepEqual(ids(changed), ['a', 'b', 'c'])
    assert.equal(findPushRule(changed, 'content', 'c')?.pattern, 'y')
    assert.deepEqual(ids(put(three, 'c', { before: 'a' })), ['c', 'a', 'b'])
    assert.deepEqual(ids(put(three, 'a', { after: 'c' })), ['b', 'c', 'a'])
    assert.deepEqual(ids(put(three, 'a', { after: 'a' })), ['a', 'b', 'c'])
  })
  test('a disabled rule that is changed stays disabled', () => {
    const disabled = accepted(setPushRuleEnabled(put(defaults, 'a'), 'content', 'a', false))
    assert.equal(findPushRule(put(disabled, 'a'), 'content', 'a')?.enabled, false)
  })
  test('an unknown neighbour is not found, a server-default one is refused', () => {
    const body = { pattern: 'x', actions: [] }
    assert.equal(errcode(putPushRule(defaults, 'content', 'a', body, { before: 'x' })), 'M_NOT_FOUND')
    assert.equal(errcode(putPushRule(defaults, 'override', 'a', { actions: [] }, { after: '.m.rule.master' })), 'M_INVALID_PARAM')
  })
  for (const ruleId of ['', '.mine', 'a/b', 'a\\b']) {
    test(`the rule id "${ruleId}" is refused`, () =>
      assert.equal(errcode(putPushRule(defaults, 'content', ruleId, { pattern: 'x', actions: [] })), 'M_INVALID_PARAM'))
  }
  test('a body of the wrong shape is refused', () => {
    const wrong: readonly [PushRuleKind, JsonObject, string][] = [
      ['content', { actions: [] }, 'M_MISSING_PARAM'],
      ['content', { pattern: 1, actions: [] }, 'M_BAD_JSON'],
      ['content', { pattern: 'x'.repeat(maxPatternLength + 1), actions: [] }, 'M_INVALID_PARAM'],
      ['content', { pattern: 'x' }, 'M_MISSING_PARAM'],
      ['override', { conditions: {}, actions: [] }, 'M_BAD_JSON'],
      ['override', { conditions: [{}], actions: [] }, 'M_BAD_JSON'],
      ['underride', { conditions: [1], actions: [] }, 'M_BAD_JSON'],
      ['override', { conditions: [{ kind: 'event_match', pattern: 1 }], actions: [] }, 'M_BAD_JSON'],
      ['room', { actions: 'notify' }, 'M_BAD_JSON'],
      ['room', { actions: ['stunt'] }, 'M_INVALID_PARAM'],
      ['sender', { actions: [{ value: 1 }] }, 'M_INVALID_PARAM'],
      ['sender', { actions: [null] }, 'M_INVALID_PARAM'],
    ]
    for (const [kind, body, expected] of wrong)
      assert.equal(errcode(putPushRule(defaults, kind, 'x', body)), expected, JSON.stringify(body))
  })
  test('the historical actions are taken', () => {
    const ruleset = accepted(putPushRule(defaults, 'room', '!r:x', { actions: ['dont_notify', 'coalesce'] }))
    assert.deepEqual(ids(ruleset, 'room'), ['!r:x'])
  })
  test('actions of a server-default rule can be changed, to actions only', () => {
    const ruleset = accepted(setPushRuleActions(defaults, 'underride', '.m.rule.message', []))
    assert.deepEqual(findPushRule(ruleset, 'underride', '.m.rule.message')?.actions, [])
    assert.equal(errcode(setPushRuleActions(defaults, 'underride', '.m.rule.message', 1 as Json)), 'M_BAD_JSON')
  })
  test('a rule of the user can be deleted, a server-default rule only disabled', () => {
    assert.deepEqual(ids(accepted(deletePushRule(put(defaults, 'a'), 'content', 'a'))), [])
    assert.equal(errcode(deletePushRule(defaults, 'underride', '.m.rule.message')), 'M_INVALID_PARAM')
    const ruleset = accepted(setPushRuleEnabled(defaults, 'underride', '.m.rule.message', false))
    assert.equal(findPushRule(ruleset, 'underride', '.m.rule.message')?.enabled, false)
  })
  test('an unknown rule is not found', () => {
    assert.equal(errcode(deletePushRule(defaults, 'content', 'x')), 'M_NOT_FOUND')
    assert.equal(errcode(setPushRuleEnabled(defaults, 'content', 'x', true)), 'M_NOT_FOUND')
    assert.equal(errcode(setPushRuleActions(defaults, 'content', 'x', [])), 'M_NOT_FOUND')
  })
  test('nothing is changed in place', () => {
    const copy = structuredClone(defaults)
    put(defaults, 'a')
    setPushRuleEnabled(defaults, 'override', '.m.rule.master', true)
    assert.deepEqual(defaults, copy)
  })
  test('kinds are known by name', () => {
    assert.equal(isPushRuleKind('override'), true)
    assert.equal(isPushRuleKind('constructor'), false)
  })
})

test('a stored ruleset gets new default rules, loses vanished ones, and keeps what the user did', () => {
  const changed = accepted(setPushRuleEnabled(put(defaults, 'mine'), 'underride', '.m.rule.message', false))
  const vanished = { rule_id: '.m.rule.roomnotif', default: true, enabled: true, actions: [], conditions: [] }
  const stored = { ...changed, override: [vanished, ...changed.override.filter((rule) => rule.rule_id !== '.m.rule.reaction')] }
  assert.deepEqual(withDefaultPushRules(stored, alice), changed)
})
