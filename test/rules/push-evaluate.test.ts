import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { defaultPushRules } from '../../src/rules/default-push-rules.ts'
import { parsePowerLevels } from '../../src/rules/power-levels.ts'
import { parsePath } from '../../src/rules/push-conditions.ts'
import { compilePushRules, type PushOutcome, silence } from '../../src/rules/push-evaluate.ts'
import { type PushRule, type PushRuleset, pushRuleKinds, putPushRule } from '../../src/rules/push-rules.ts'
import { type PushEvent, pushSubject, type Related } from '../../src/rules/push-subject.ts'
import { roomVersions } from '../../src/rules/room-version.ts'
import { isRefusal, type Json, type JsonObject } from '../../src/rules/values.ts'

const alice = '@alice:example.com'
const defaults = defaultPushRules(alice)
const none: PushRuleset = { override: [], content: [], room: [], sender: [], underride: [] }

interface Occasion {
  readonly memberCount?: number
  readonly displayName?: string
  readonly powerLevels?: JsonObject
  readonly related?: Related
  readonly muted?: boolean
}

function event(type: string, content: JsonObject, more: JsonObject = {}): PushEvent {
  return { type, sender: '@bob:example.com', room_id: '!room:example.com', event_id: '$e', content, ...more }
}

function text(body: string, content: JsonObject = {}): PushEvent {
  return event('m.room.message', { msgtype: 'm.text', body, ...content })
}

function evaluate(
  ruleset: PushRuleset,
  subject: PushEvent,
  { memberCount = 3, displayName, powerLevels = {}, related, muted = false }: Occasion = {},
): PushOutcome {
  const room = { memberCount, powerLevels: parsePowerLevels(powerLevels, roomVersions[11]), related: related ?? null }
  return compilePushRules(ruleset)(pushSubject(subject, room), { userId: alice, displayName, muted })
}

/** Whether one condition holds. */
function holds(condition: JsonObject, subject: PushEvent, occasion?: Occasion): boolean {
  const rule = { rule_id: 'r', default: false, enabled: true, conditions: [condition], actions: ['notify'] }
  return evaluate({ ...none, underride: [rule] }, subject, occasion).notify
}

function withRule(ruleset: PushRuleset, ...rule: [kind: (typeof pushRuleKinds)[number], ruleId: string, body: JsonObject]): PushRuleset {
  const result = putPushRule(ruleset, ...rule)
  assert.ok(!isRefusal(result))
  return result
}

suite('what the default rules make of an event', () => {
  const sound = 'default'
  const plain = { notify: true, highlight: false, tweaks: {} }
  test('a message notifies, in a room of two with a sound', () => {
    assert.deepEqual(evaluate(defaults, text('hi')), plain)
    assert.deepEqual(evaluate(defaults, text('hi'), { memberCount: 2 }), { ...plain, sound, tweaks: { sound } })
  })
  test('an encrypted event notifies the same way', () => {
    assert.deepEqual(evaluate(defaults, event('m.room.encrypted', {})), plain)
    assert.equal(evaluate(defaults, event('m.room.encrypted', {}), { memberCount: 2 }).sound, sound)
  })
  test('own events, notices, edits, reactions, member events and unknown types are silent', () => {
    assert.equal(evaluate(defaults, { ...text('hi'), sender: alice }), silence)
    assert.equal(evaluate(defaults, text('hi', { msgtype: 'm.notice' })), silence)
    assert.equal(evaluate(defaults, text('* hi', { 'm.relates_to': { rel_type: 'm.replace', event_id: '$x' } })), silence)
    assert.equal(evaluate(defaults, event('m.reaction', {})), silence)
    assert.equal(evaluate(defaults, event('m.room.member', { membership: 'invite' }, { state_key: '@carol:example.com' })), silence)
    assert.equal(evaluate(defaults, event('com.beeper.message_send_status', {})), silence)
  })
  test('an invite that the bridge accepts by itself is silent', () => {
    const content = { membership: 'invite', 'fi.mau.will_auto_accept': true }
    assert.equal(evaluate(defaults, event('m.room.member', content, { state_key: alice })), silence)
  })
  test('message status and power levels stay silent for who wants to hear of everything', () => {
    const everything = withRule(defaults, 'underride', 'all', { conditions: [], actions: ['notify'] })
    assert.equal(evaluate(everything, event('x', {})).notify, true)
    assert.equal(evaluate(everything, event('com.beeper.message_send_status', {})), silence)
    assert.equal(evaluate(everything, event('m.room.power_levels', {}, { state_key: '' })), silence)
  })
  test('a reaction to an own message notifies in a small room when the rule says so', () => {
    const override = defaults.override.map((rule) => (rule.rule_id === '.com.beeper.reaction' ? { ...rule, actions: ['notify'] } : rule))
    const reaction = (sender: string, memberCount: number) =>
      evaluate({ ...defaults, override }, event('m.reaction', {}), { memberCount, related: { relType: 'm.annotation', sender } }).notify
    assert.equal(reaction(alice, 19), true)
    assert.equal(reaction(alice, 20), false)
    assert.equal(reaction('@bob:example.com', 2), false)
  })
  test('in a muted room only mentions and keywords notify, whatever the sender’s rule says', () => {
    const ruleset = withRule(withRule(defaults, 'content', 'k', { pattern: 'cake', actions: ['notify'] }), 'sender', '@bob:example.com', {
      actions: ['notify'],
    })
    const heard = (subject: PushEvent) => evaluate(ruleset, subject, { muted: true }).notify
    assert.equal(heard(text('hi')), false)
    assert.equal(heard(text('cake')), true)
    assert.equal(heard(text('hi', { 'm.mentions': { user_ids: [alice] } })), true)
  })
  test('an invite for the user notifies with a sound', () => {
    const invite = event('m.room.member', { membership: 'invite' }, { state_key: alice })
    assert.deepEqual(evaluate(defaults, invite), { ...plain, sound, tweaks: { sound } })
  })
  test('a mention highlights, but not in an edit: bridges edit what they brought long ago', () => {
    const mention = { 'm.mentions': { user_ids: ['@x:y', alice] } }
    const highlighted = { notify: true, highlight: true, sound, tweaks: { sound, highlight: true } }
    assert.deepEqual(evaluate(defaults, text('hi', mention)), highlighted)
    assert.equal(evaluate(defaults, text('hi', { ...mention, 'm.relates_to': { rel_type: 'm.replace' } })), silence)
    assert.deepEqual(evaluate(defaults, text('hi', { 'm.mentions': { user_ids: alice } })), plain)
  })
  test('a mention of the room highlights if the sender may notify everybody', () => {
    const mention = text('hi', { 'm.mentions': { room: true } })
    assert.deepEqual(evaluate(defaults, mention), plain)
    assert.deepEqual(evaluate(defaults, mention, { powerLevels: { users: { '@bob:example.com': 50 } } }), {
      notify: true,
      highlight: true,
      tweaks: { highlight: true },
    })
    assert.equal(evaluate(defaults, mention, { powerLevels: { notifications: { room: 0 } } }).highlight, true)
  })
  test('the display name highlights, unless the event says whom it mentions', () => {
    assert.equal(evaluate(defaults, text('hello ALICE!'), { displayName: 'Alice' }).highlight, true)
    assert.equal(evaluate(defaults, text('hello alices'), { displayName: 'Alice' }).highlight, false)
    assert.equal(evaluate(defaults, text('hello'), { displayName: '' }).highlight, false)
    assert.equal(evaluate(defaults, text('what'), { displayName: '*' }).highlight, false)
    assert.equal(evaluate(defaults, text('hello Alice', { 'm.mentions': {} }), { displayName: 'Alice' }).highlight, false)
  })
  test('a tombstone highlights when it is state', () => {
    assert.equal(evaluate(defaults, event('m.room.tombstone', {}, { state_key: '' })).highlight, true)
    assert.equal(evaluate(defaults, event('m.room.tombstone', {})), silence)
  })
  test('a call rings', () => assert.equal(evaluate(defaults, event('m.call.invite', {})).sound, 'ring'))
  test('a poll notifies, an answer to it does not', () => {
    assert.equal(evaluate(defaults, event('org.matrix.msc3381.poll.start', {})).notify, true)
    assert.equal(evaluate(defaults, event('org.matrix.msc3381.poll.response', {})), silence)
  })
  test('the master rule silences everything when enabled', () => {
    const override = defaults.override.map((rule) => (rule.rule_id === '.m.rule.master' ? { ...rule, enabled: true } : rule))
    assert.equal(evaluate({ ...defaults, override }, text('hi', { 'm.mentions': { user_ids: [alice] } })), silence)
  })
})

suite('rules of the user', () => {
  test('the kinds go in the order override, content, room, sender, underride', () => {
    let ruleset = defaults
    const heard = () => evaluate(ruleset, text('a cake')).sound
    const actions = (value: string) => ({ actions: ['notify', { set_tweak: 'sound', value }] })
    ruleset = withRule(ruleset, 'underride', 'u', { ...actions('underride'), conditions: [] })
    assert.equal(heard(), 'underride')
    ruleset = withRule(ruleset, 'sender', '@bob:example.com', actions('sender'))
    assert.equal(heard(), 'sender')
    ruleset = withRule(ruleset, 'room', '!room:example.com', actions('room'))
    assert.equal(heard(), 'room')
    ruleset = withRule(ruleset, 'content', 'c', { ...actions('content'), pattern: 'cake' })
    assert.equal(heard(), 'content')
    ruleset = withRule(ruleset, 'override', 'o', { ...actions('override'), conditions: [] })
    assert.equal(heard(), 'override')
  })
  test('room and sender rules are about exactly that room and sender', () => {
    const ruleset = withRule(withRule(defaults, 'room', '!ROOM:example.com', { actions: [] }), 'sender', '@BOB:example.com', {
      actions: [],
    })
    assert.equal(evaluate(ruleset, text('hi')).notify, true)
  })
  test('among thousands of muted rooms each is found, and those above it go first', () => {
    const conditions = (roomId: string) => [{ kind: 'event_match', key: 'room_id', pattern: roomId }]
    const mutes: PushRule[] = Array.from({ length: 3000 }, (_, index) => {
      const roomId = `!${index}:example.com`
      return { rule_id: roomId, default: false, enabled: true, conditions: conditions(roomId), actions: [] }
    })
    const loud: PushRule = {
      rule_id: 'loud',
      default: false,
      enabled: true,
      conditions: conditions('!7:example.com'),
      actions: ['notify', { set_tweak: 'highlight' }],
    }
    const ruleset = { ...defaults, override: [...mutes.slice(0, 5), loud, ...mutes.slice(5), ...defaults.override] }
    const evaluator = compilePushRules(ruleset)
    const room = { memberCount: 3, powerLevels: parsePowerLevels({}, roomVersions[11]) }
    const outcome = (roomId: string) => evaluator(pushSubject({ ...text('hi'), room_id: roomId }, room), { userId: alice })
    assert.equal(outcome('!4:example.com').notify, false)
    assert.equal(outcome('!7:example.com').highlight, true)
    assert.equal(outcome('!2999:example.com').notify, false)
    assert.equal(outcome('!3000:example.com').notify, true)
  })
  test('a disabled rule never matches', () => {
    const rule = { rule_id: 'r', default: false, enabled: false, conditions: [], actions: ['notify'] }
    assert.equal(evaluate({ ...none, override: [rule] }, text('hi')), silence)
  })
  test('the historical actions mean nothing', () => {
    assert.equal(evaluate(withRule(defaults, 'override', 'r', { conditions: [], actions: ['dont_notify'] }), text('hi')), silence)
    assert.equal(
      evaluate(withRule(defaults, 'override', 'r', { conditions: [], actions: ['notify', 'coalesce'] }), text('hi')).notify,
      true,
    )
  })
  test('a highlight of false does not highlight', () => {
    const actions = ['notify', { set_tweak: 'highlight', value: false }]
    assert.equal(evaluate(withRule(defaults, 'override', 'r', { conditions: [], actions }), text('hi')).highlight, false)
  })
})

suite('conditions', () => {
  const match = (key: string, pattern: string): JsonObject => ({ kind: 'event_match', key, pattern })
  test('event_match: the whole value, case ignored, and strings only', () => {
    const topic = event('m.room.topic', { topic: 'Lunch plans', n: 1, s: 'Straße' })
    assert.equal(holds(match('content.topic', 'lunc?*'), topic), true)
    assert.equal(holds(match('content.topic', 'LUNCH PLANS'), topic), true)
    assert.equal(holds(match('content.topic', 'lunch'), topic), false)
    assert.equal(holds(match('content.s', 'STRAßE'), topic), true)
    for (const key of ['content.n', 'content.x', 'content', 'content.topic.x', 'x', '', 'content.constructor', '__proto__'])
      assert.equal(holds(match(key, '*'), topic), false)
  })
  test('event_match: in content.body a part at word boundaries', () => {
    assert.equal(holds(match('content.body', 'CAKE'), text('a Cake.')), true)
    assert.equal(holds(match('content.body', 'cake'), text('cakes')), false)
    assert.equal(holds(match('content.body', '*'), event('m.x', { body: 1 })), false)
  })
  test('event_property_is: exactly the value', () => {
    const is = (value: Json): JsonObject => ({ kind: 'event_property_is', key: 'content.m\\.federate', value })
    assert.equal(holds(is(true), event('m.x', { 'm.federate': true })), true)
    for (const value of ['true', 1, null, false]) assert.equal(holds(is(true), event('m.x', { 'm.federate': value })), false)
    assert.equal(holds(is(null), event('m.x', { 'm.federate': null })), true)
    assert.equal(holds(is(null), event('m.x', {})), false)
    assert.equal(holds(is([]), event('m.x', { 'm.federate': [] })), false)
  })
  test('event_property_contains: an array that has exactly the value', () => {
    const contains = (value: Json): JsonObject => ({ kind: 'event_property_contains', key: 'content.list', value })
    assert.equal(holds(contains('a'), event('m.x', { list: ['b', 'a'] })), true)
    assert.equal(holds(contains('a'), event('m.x', { list: ['ab', ['a'], { a: 'a' }] })), false)
    assert.equal(holds(contains('a'), event('m.x', { list: 'a' })), false)
    assert.equal(holds(contains(null), event('m.x', { list: [null] })), true)
  })
  test('room_member_count: with each comparison', () => {
    const cases = { '2': '=', '==2': '=', '<2': '<', '>2': '>', '<=2': '<=', '>=2': '>=' }
    for (const [is, holdsFor] of Object.entries(cases)) {
      for (const memberCount of [1, 2, 3]) {
        const expected =
          (memberCount === 2 && holdsFor.includes('=')) ||
          (memberCount < 2 && holdsFor.includes('<')) ||
          (memberCount > 2 && holdsFor.includes('>'))
        assert.equal(holds({ kind: 'room_member_count', is }, text('x'), { memberCount }), expected, `${memberCount} ${is}`)
      }
    }
    for (const is of ['', 'x', '=2', '2.0', '-1', ' 2', 2])
      assert.equal(holds({ kind: 'room_member_count', is }, text('x'), { memberCount: 2 }), false)
  })
  test('an unknown condition never holds', () => assert.equal(holds({ kind: 'org.example.x' }, text('x')), false))
  test('paths: a dot in a name is escaped, so is a backslash, other escapes stay', () => {
    assert.deepEqual(parsePath('content.m\\.relates_to.rel_type'), ['content', 'm.relates_to', 'rel_type'])
    assert.deepEqual(parsePath('content.m\\\\foo'), ['content', 'm\\foo'])
    assert.deepEqual(parsePath('a\\x.b'), ['a\\x', 'b'])
    assert.deepEqual(parsePath('a\\'), ['a\\'])
    assert.deepEqual(parsePath(''), [''])
  })
  test('no rule and no event makes evaluation throw', () => {
    const json = fc.jsonValue() as fc.Arbitrary<Json>
    const kind = fc.constantFrom(
      'event_match',
      'event_property_is',
      'event_property_contains',
      'room_member_count',
      'sender_notification_permission',
      'contains_display_name',
      'x',
    )
    const condition = fc.oneof(
      json,
      fc.record(
        { kind, key: fc.oneof(json, fc.constantFrom('content.a', 'type', 'content.body')), pattern: json, value: json, is: json },
        { requiredKeys: ['kind'] },
      ),
    )
    const rule = fc.record({
      rule_id: fc.string(),
      default: fc.boolean(),
      enabled: fc.boolean(),
      actions: fc.array(json),
      conditions: fc.array(condition, { maxLength: 3 }),
      pattern: fc.string(),
    })
    const content = fc.dictionary(fc.constantFrom('a', 'body', 'm.mentions', '__proto__'), json)
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 4 }), content, (rules, own) => {
        const written = rules as unknown as readonly PushRule[]
        const ruleset = Object.fromEntries(pushRuleKinds.map((each) => [each, written])) as unknown as PushRuleset
        assert.equal(typeof evaluate(ruleset, event('m.x', own), { displayName: 'a' }).notify, 'boolean')
      }),
    )
  })
})
