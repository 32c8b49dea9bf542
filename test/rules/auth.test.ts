import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { authorize, canonicalAliases, checkCanonicalAlias, checkRedaction } from '../../src/rules/auth.ts'
import { roomVersions } from '../../src/rules/room-version.ts'
import type { NewEvent, RoomView } from '../../src/rules/room-view.ts'
import { creator, member, message, moderator, other, room, state, user } from './room.ts'

function allows(event: NewEvent, view: RoomView): void {
  assert.equal(authorize(event, view), null)
}

function refuses(event: NewEvent, view: RoomView, error: RegExp, errcode = 'M_FORBIDDEN'): void {
  const refusal = authorize(event, view)
  assert.equal(refusal?.errcode, errcode)
  assert.match(refusal?.error ?? '', error)
}

suite('rule 1: m.room.create', () => {
  const empty = room({ creator: null, members: {}, powerLevels: null })
  test('the first event of a room may create it', () => allows(state(creator, 'm.room.create', { room_version: '11' }), empty))
  test('a room cannot be created twice, not even by its creator', () => refuses(state(creator, 'm.room.create'), room(), /created already/))
  test('a room cannot be created in another version than its own', () =>
    refuses(state(creator, 'm.room.create', { room_version: '12' }), empty, /unsupported version 12/, 'M_UNSUPPORTED_ROOM_VERSION'))
  for (const version of ['9', '10'] as const) {
    const view = { ...empty, version: roomVersions[version] }
    test(`room version ${version} wants the creator in the content`, () => {
      allows(state(creator, 'm.room.create', { creator }), view)
      refuses(state(creator, 'm.room.create'), view, /creator/)
    })
  }
  test('nothing else comes first', () => {
    refuses(message(creator), empty, /No create event/)
    refuses(member(creator, creator, 'join'), empty, /No create event/)
  })
})

suite('rule 5: the sender must be joined', () => {
  test('a joined user can send a message', () => allows(message(user), room()))
  for (const membership of ['invite', 'leave', 'ban', 'knock'] as const) {
    test(`a user with membership ${membership} cannot send a message, whatever the level`, () =>
      refuses(message(creator), room({ members: { [creator]: membership } }), /not in room/))
  }
  test('a user who was never there cannot send a message', () => refuses(message(other), room(), /not in room/))
})

suite('rule 6: m.room.third_party_invite needs the invite level, not the level of state', () => {
  const invitation = (sender: string) => state(sender, 'm.room.third_party_invite', {}, 'token')
  test('a user at the invite level can send it', () => allows(invitation(user), room()))
  test('a user below the invite level cannot', () =>
    refuses(invitation(user), room({ powerLevels: { invite: 1 } }), /permission to invite/))
})

suite('rule 7: the required power level', () => {
  test('a moderator can send state', () => allows(state(moderator, 'm.room.topic'), room()))
  test('a user cannot send state', () => refuses(state(user, 'm.room.topic'), room(), /user_level \(0\) < send_level \(50\)/))
  test('a level for the type goes before the default, up and down', () => {
    const view = room({ powerLevels: { events: { 'm.room.topic': 0, 'm.room.message': 10 } } })
    allows(state(user, 'm.room.topic'), view)
    refuses(message(user), view, /send_level \(10\)/)
  })
  test('events_default holds for messages, state_default for state', () => {
    const view = room({ powerLevels: { events_default: 20, state_default: 10, users: { [user]: 10 } } })
    allows(state(user, 'm.room.topic'), view)
    refuses(message(user), view, /send_level \(20\)/)
  })
  test('without m.room.power_levels only the creator can send state', () => {
    allows(state(creator, 'm.room.topic'), room({ powerLevels: null }))
    refuses(state(user, 'm.room.topic'), room({ powerLevels: null }), /send_level \(50\)/)
  })
  test('with m.room.power_levels the creator is a user like any other', () =>
    refuses(state(creator, 'm.room.topic'), room({ powerLevels: { users: {} } }), /user_level \(0\)/))
})

suite("rule 8: a state key that starts with @ is the sender's", () => {
  test('a user can send state under the own user id', () => allows(state(moderator, 'org.example.status', {}, moderator), room()))
  test('nobody can send state under the user id of another, not even the creator', () =>
    refuses(state(creator, 'org.example.status', {}, user), room(), /others state/))
  test('nor under a user id with something behind it', () =>
    refuses(state(moderator, 'org.example.status', {}, `${moderator}_1`), room(), /others state/))
  test('a state key that only contains an @ is free', () => allows(state(moderator, 'org.example.status', {}, 'a@b'), room()))
})

suite('redaction', () => {
  const target = { type: 'm.room.message', sender: other }
  test('a user can redact the own event', () => assert.equal(checkRedaction(other, target, room()), null))
  test('a moderator can redact the event of another', () => assert.equal(checkRedaction(moderator, target, room()), null))
  test('a user cannot redact the event of another, though the domain is the same', () =>
    assert.equal(checkRedaction(user, target, room())?.errcode, 'M_FORBIDDEN'))
  test('the redact level counts', () =>
    assert.equal(
      checkRedaction(moderator, target, room({ powerLevels: { redact: 51, users: { [moderator]: 50 } } }))?.errcode,
      'M_FORBIDDEN',
    ))
  test('an unknown event is not found', () => assert.equal(checkRedaction(creator, null, room())?.errcode, 'M_NOT_FOUND'))
  for (const type of ['m.room.create', 'm.room.server_acl']) {
    test(`nobody can redact ${type}`, () =>
      assert.equal(checkRedaction(creator, { type, sender: creator }, room())?.errcode, 'M_FORBIDDEN'))
  }
  test('a level for m.room.redaction itself is a matter of the ordinary rules', () =>
    refuses(
      { type: 'm.room.redaction', sender: user, content: {} },
      room({ powerLevels: { events: { 'm.room.redaction': 1 } } }),
      /send_level/,
    ))
})

suite('m.room.canonical_alias', () => {
  test('well-formed aliases pass and are listed', () => {
    const content = { alias: '#a:example.com', alt_aliases: ['#b:example.com'] }
    assert.equal(checkCanonicalAlias(content), null)
    assert.deepEqual(canonicalAliases(content), ['#a:example.com', '#b:example.com'])
  })
  test('no alias is fine', () => {
    for (const content of [{}, { alias: '' }, { alias: null }, { alt_aliases: [] }]) {
      assert.equal(checkCanonicalAlias(content), null)
      assert.deepEqual(canonicalAliases(content), [])
    }
  })
  for (const content of [
    { alias: 'a' },
    { alias: 1 },
    { alt_aliases: '#a:b' },
    { alt_aliases: ['a'] },
    { alt_aliases: [1] },
    { alt_aliases: [''] },
  ]) {
    test(`${JSON.stringify(content)} is malformed`, () => assert.equal(checkCanonicalAlias(content)?.errcode, 'M_INVALID_PARAM'))
  }
})

test('no event makes authorize throw, and every refusal says why', () => {
  const users = fc.constantFrom(creator, moderator, user, other, 'x')
  const types = fc.constantFrom('m.room.create', 'm.room.member', 'm.room.power_levels', 'm.room.third_party_invite', 'm.room.message', '')
  const json = fc.jsonValue() as fc.Arbitrary<never>
  const content = fc.oneof(
    fc.dictionary(
      fc.constantFrom('membership', 'users', 'events', 'ban', 'notifications', 'join_rule', 'third_party_invite', '__proto__'),
      json,
    ),
    fc.record({ membership: fc.constantFrom('join', 'leave', 'ban', 'knock', 'invite', 'x') }),
  )
  fc.assert(
    fc.property(
      types,
      users,
      fc.option(users, { nil: undefined }),
      content,
      content,
      content,
      (type, sender, stateKey, own, levels, joinRules) => {
        const refusal = authorize({ type, sender, stateKey, content: own }, room({ powerLevels: levels, joinRules }))
        assert.ok(refusal === null || (refusal.errcode.startsWith('M_') && refusal.error.length > 0))
      },
    ),
    { numRuns: 2000 },
  )
})
