import { type PushAction, type PushRule, type PushRuleKind, type PushRuleset, pushRuleKinds } from './push-rules.ts'
import type { JsonObject } from './values.ts'

const highlight = { set_tweak: 'highlight' }
const sound = { set_tweak: 'sound', value: 'default' }
const ring = { set_tweak: 'sound', value: 'ring' }

const oneToOne = { kind: 'room_member_count', is: '2' }

function eventMatch(key: string, pattern: string): JsonObject {
  return { kind: 'event_match', key, pattern }
}

function defaultRule(ruleId: string, conditions: readonly JsonObject[], actions: readonly PushAction[] = []): PushRule {
  return { rule_id: ruleId, default: true, enabled: true, conditions, actions }
}

/** Few enough that a reaction is meant for somebody. */
const smallRoom = { kind: 'room_member_count', is: '<20' }

/**
 * What Beeper adds: bridges accept invitations by themselves, edit what they have brought, and say of each message how it went. That
 * somebody reacted to one's own message is silent too, and a client that wants to hear of it gives the rule other actions.
 */
function beeperRules(userId: string): PushRule[] {
  return [
    defaultRule('.com.beeper.suppress_auto_invite', [
      eventMatch('type', 'm.room.member'),
      eventMatch('content.membership', 'invite'),
      eventMatch('state_key', userId),
      { kind: 'event_property_is', key: 'content.fi\\.mau\\.will_auto_accept', value: true },
    ]),
    defaultRule('.com.beeper.suppress_edits', [{ kind: 'event_property_is', key: 'content.m\\.relates_to.rel_type', value: 'm.replace' }]),
    defaultRule('.com.beeper.suppress_send_message_status', [eventMatch('type', 'com.beeper.message_send_status')]),
    defaultRule('.com.beeper.suppress_power_levels', [eventMatch('type', 'm.room.power_levels')]),
    defaultRule('.com.beeper.reaction', [
      eventMatch('type', 'm.reaction'),
      smallRoom,
      // MSC3664: about the event that this one relates to.
      { kind: 'im.nheko.msc3664.related_event_match', rel_type: 'm.annotation', key: 'sender', pattern: userId },
    ]),
  ]
}

/** The server-default rules of a user. https://spec.matrix.org/v1.19/client-server-api/#predefined-rules */
export function defaultPushRules(userId: string): PushRuleset {
  return {
    override: [
      { ...defaultRule('.m.rule.master', []), enabled: false },
      ...beeperRules(userId),
      defaultRule('.m.rule.suppress_notices', [eventMatch('content.msgtype', 'm.notice')]),
      defaultRule(
        '.m.rule.invite_for_me',
        [eventMatch('type', 'm.room.member'), eventMatch('content.membership', 'invite'), eventMatch('state_key', userId)],
        ['notify', sound],
      ),
      defaultRule('.m.rule.member_event', [eventMatch('type', 'm.room.member')]),
      defaultRule(
        '.m.rule.is_user_mention',
        [{ kind: 'event_property_contains', key: 'content.m\\.mentions.user_ids', value: userId }],
        ['notify', sound, highlight],
      ),
      // Gone since v1.17: for clients that send no m.mentions.
      defaultRule('.m.rule.contains_display_name', [{ kind: 'contains_display_name' }], ['notify', sound, highlight]),
      defaultRule(
        '.m.rule.is_room_mention',
        [
          { kind: 'event_property_is', key: 'content.m\\.mentions.room', value: true },
          { kind: 'sender_notification_permission', key: 'room' },
        ],
        ['notify', highlight],
      ),
      defaultRule('.m.rule.tombstone', [eventMatch('type', 'm.room.tombstone'), eventMatch('state_key', '')], ['notify', highlight]),
      defaultRule('.m.rule.reaction', [eventMatch('type', 'm.reaction')]),
      defaultRule('.m.rule.room.server_acl', [eventMatch('type', 'm.room.server_acl'), eventMatch('state_key', '')]),
      defaultRule('.m.rule.suppress_edits', [{ kind: 'event_property_is', key: 'content.m\\.relates_to.rel_type', value: 'm.replace' }]),
      // MSC3930, with the poll rules below: Element's polls.
      defaultRule('.org.matrix.msc3930.rule.poll_response', [eventMatch('type', 'org.matrix.msc3381.poll.response')]),
    ],
    content: [],
    room: [],
    sender: [],
    underride: [
      defaultRule('.m.rule.call', [eventMatch('type', 'm.call.invite')], ['notify', ring]),
      defaultRule('.m.rule.encrypted_room_one_to_one', [oneToOne, eventMatch('type', 'm.room.encrypted')], ['notify', sound]),
      defaultRule('.m.rule.room_one_to_one', [oneToOne, eventMatch('type', 'm.room.message')], ['notify', sound]),
      defaultRule('.m.rule.message', [eventMatch('type', 'm.room.message')], ['notify']),
      defaultRule('.m.rule.encrypted', [eventMatch('type', 'm.room.encrypted')], ['notify']),
      ...['start', 'end'].flatMap((step) => {
        const poll = eventMatch('type', `org.matrix.msc3381.poll.${step}`)
        return [
          defaultRule(`.org.matrix.msc3930.rule.poll_${step}_one_to_one`, [oneToOne, poll], ['notify', sound]),
          defaultRule(`.org.matrix.msc3930.rule.poll_${step}`, [poll], ['notify']),
        ]
      }),
    ],
  }
}

/**
 * A stored ruleset under today's defaults: the user's rules and what the user changed of default rules stay, new default
 * rules come in, vanished ones go.
 */
export function withDefaultPushRules(stored: PushRuleset, userId: string): PushRuleset {
  const defaults = defaultPushRules(userId)
  const merge = (kind: PushRuleKind): readonly PushRule[] => {
    const own = stored[kind].filter((rule) => !rule.default)
    const current = defaults[kind].map((rule) => {
      const changed = stored[kind].find((other) => other.rule_id === rule.rule_id)
      return changed ? { ...rule, enabled: changed.enabled, actions: changed.actions } : rule
    })
    // "server-default rules … operate at a lower priority than user-defined rules, except for .m.rule.master".
    const master = current.filter((rule) => rule.rule_id === '.m.rule.master')
    return [...master, ...own, ...current.filter((rule) => rule.rule_id !== '.m.rule.master')]
  }
  return Object.fromEntries(pushRuleKinds.map((kind) => [kind, merge(kind)])) as Record<PushRuleKind, readonly PushRule[]>
}
