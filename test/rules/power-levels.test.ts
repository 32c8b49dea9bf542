import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { authorize } from '../../src/rules/auth.ts'
import { checkPowerLevelOverride, initialPowerLevels } from '../../src/rules/initial-power-levels.ts'
import {
  checkPowerLevels,
  namedLevel,
  notificationLevel,
  parsePowerLevels,
  powerLevelsWithoutEvent,
  requiredLevel,
  userLevel,
} from '../../src/rules/power-levels.ts'
import { roomVersions } from '../../src/rules/room-version.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { creator, moderator, other, room, state, user } from './room.ts'

const { 9: v9, 10: v10, 11: v11 } = roomVersions
const before = { users: { [creator]: 100, [moderator]: 50, [user]: 50 }, events: { 'm.room.name': 50, 'm.room.tombstone': 100 } }

/** May the moderator (50) change `before` to `after`? */
function refusal(after: JsonObject, from: JsonObject = before, sender = moderator) {
  return authorize(state(sender, 'm.room.power_levels', after), room({ powerLevels: from }))
}

suite('reading power levels', () => {
  test('without an event the creator has 100, others 0, and the usual levels are required', () => {
    const levels = powerLevelsWithoutEvent(creator)
    assert.equal(userLevel(levels, creator), 100)
    assert.equal(userLevel(levels, user), 0)
    assert.equal(requiredLevel(levels, 'm.room.topic', true), 50)
    assert.equal(requiredLevel(levels, 'm.room.message', false), 0)
    for (const name of ['ban', 'kick', 'redact'] as const) assert.equal(namedLevel(levels, name), 50)
    assert.equal(namedLevel(levels, 'invite'), 0)
    assert.equal(notificationLevel(levels, 'room'), 50)
  })
  test('what is written goes before the defaults', () => {
    const content = { users: { [user]: 9001 }, users_default: -1, ban: 7, events: { 'm.x': 3 }, notifications: { room: 20 } }
    const levels = parsePowerLevels(content, v11)
    assert.equal(userLevel(levels, user), 9001)
    assert.equal(userLevel(levels, other), -1)
    assert.equal(namedLevel(levels, 'ban'), 7)
    assert.equal(requiredLevel(levels, 'm.x', true), 3)
    assert.equal(notificationLevel(levels, 'room'), 20)
  })
  test('names that every object inherits are no levels', () => {
    const levels = parsePowerLevels(JSON.parse('{"events":{"__proto__":7},"users":{}}'), v11)
    assert.equal(requiredLevel(levels, '__proto__', false), 7)
    assert.equal(requiredLevel(levels, 'constructor', false), 0)
    assert.equal(userLevel(levels, 'toString'), 0)
  })
  test('only room version 9 reads strings as integers', () => {
    for (const [written, level] of [
      ['100', 100],
      [' +0010 ', 10],
      ['-5', -5],
    ] as const) {
      assert.equal(userLevel(parsePowerLevels({ users: { [user]: written } }, v9), user), level)
      assert.equal(userLevel(parsePowerLevels({ users: { [user]: written } }, v10), user), 0)
    }
    for (const written of ['', '1.5', '1e3', '0x10', 'ten', '99999999999999999999']) {
      assert.equal(userLevel(parsePowerLevels({ users: { [user]: written } }, v9), user), 0)
    }
  })
})

suite('rule 9: changing m.room.power_levels', () => {
  for (const version of [v10, v11]) {
    test(`9.1 to 9.3: room version ${version.id} takes integers only`, () => {
      const levels = powerLevelsWithoutEvent(creator)
      assert.equal(
        checkPowerLevels({ ban: 50, events: { x: -1 }, users: { [user]: 9001 }, notifications: { room: 0 } }, levels, creator, version),
        null,
      )
      const wrong = [
        { ban: '50' },
        { kick: 1.5 },
        { invite: null },
        { events: { x: '1' } },
        { events: [] },
        { notifications: 1 },
        { users: { [user]: '1' } },
      ]
      for (const content of wrong) assert.equal(checkPowerLevels(content as JsonObject, levels, creator, version)?.errcode, 'M_BAD_JSON')
    })
  }
  test('room version 9 takes integers in strings, and nothing else', () => {
    const levels = powerLevelsWithoutEvent(creator)
    assert.equal(checkPowerLevels({ ban: '50', users: { [user]: ' 1 ' }, events: { x: '-1' } }, levels, creator, v9), null)
    assert.equal(checkPowerLevels({ ban: 'x' }, levels, creator, v9)?.errcode, 'M_BAD_JSON')
    assert.equal(checkPowerLevels({ users: [] }, levels, creator, v9)?.errcode, 'M_BAD_JSON')
  })
  test('9.3: the keys of users are user ids', () => {
    assert.equal(refusal({ users: { x: 1 } }, before, creator)?.errcode, 'M_BAD_JSON')
    assert.equal(refusal({ ...before, users: { ...before.users, '@new:example.com': 1 } }), null)
  })
  test('9.4: the first event may say anything', () =>
    assert.equal(
      authorize(state(creator, 'm.room.power_levels', { users: { [creator]: 9001 }, ban: 9001 }), room({ powerLevels: null })),
      null,
    ))
  const low = { ...before, events: { ...before.events, 'm.room.power_levels': 50 } }
  test('9.5: a level can be changed, added and removed up to the own one', () => {
    assert.equal(refusal({ ...low, ban: 40 }, low), null)
    assert.equal(refusal({ ...low, ban: 50 }, { ...low, ban: 10 }), null)
    assert.equal(refusal(low, { ...low, kick: 50 }), null)
  })
  test('9.5: a level above the own one can be neither set, changed nor removed', () => {
    assert.match(refusal({ ...low, ban: 51 }, low)?.error ?? '', /greater than your own/)
    assert.match(refusal({ ...low, ban: 10 }, { ...low, ban: 51 })?.error ?? '', /greater than your own/)
    assert.match(refusal(low, { ...low, ban: 51 })?.error ?? '', /greater than your own/)
  })
  for (const key of ['events', 'notifications']) {
    test(`9.6, 9.7: an entry of ${key} can be changed up to the own level and no further`, () => {
      const from = { ...low, [key]: { 'm.room.power_levels': 50, low: 10, high: 100 } }
      const to = (entries: JsonObject) => refusal({ ...from, [key]: { 'm.room.power_levels': 50, high: 100, ...entries } }, from)
      assert.equal(to({ low: 50, added: 50 }), null)
      assert.equal(to({}), null)
      assert.match(to({ low: 51 })?.error ?? '', /greater than your own/)
      assert.match(to({ low: 10, added: 51 })?.error ?? '', /greater than your own/)
      assert.match(to({ low: 10, high: 50 })?.error ?? '', /greater than your own/)
    })
  }
  const users = (entries: JsonObject): JsonObject => ({ ...low, users: { ...low.users, ...entries } })
  test('9.8: the level of a lower user can be changed or removed', () => {
    assert.equal(refusal(users({ [other]: 49 }), users({ [other]: 10 })), null)
    assert.equal(refusal(users({}), users({ [other]: 10 })), null)
  })
  test('9.8: the level of an equal or a superior can be neither changed nor removed', () => {
    assert.match(refusal(users({ [user]: 0 }), low)?.error ?? '', /equal to your own/)
    assert.match(refusal({ ...low, users: { [creator]: 100, [moderator]: 50 } }, low)?.error ?? '', /equal to your own/)
    assert.match(refusal(users({ [creator]: 0 }), low)?.error ?? '', /greater than your own/)
  })
  test('9.9: a user can be raised to the own level and no further', () => {
    assert.equal(refusal(users({ [other]: 50 }), low), null)
    assert.match(refusal(users({ [other]: 51 }), low)?.error ?? '', /greater than your own/)
  })
  test('the own level can be lowered and not raised', () => {
    assert.equal(refusal(users({ [moderator]: 0 }), low), null)
    assert.match(refusal(users({ [moderator]: 51 }), low)?.error ?? '', /greater than your own/)
  })
  test('what does not change is not looked at, even above the own level', () => assert.equal(refusal(low, low), null))

  test('whatever is allowed leaves nobody above the sender who was not there before', () => {
    const levels = fc.integer({ min: -10, max: 110 })
    const anyUser = fc.constantFrom(creator, moderator, user, other)
    const content = fc.record(
      {
        users: fc.dictionary(anyUser, levels),
        users_default: levels,
        ban: levels,
        events: fc.dictionary(fc.constantFrom('a', 'b'), levels),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(content, content, anyUser, (from, to, sender) => {
        const old = parsePowerLevels(from as JsonObject, v11)
        if (checkPowerLevels(to as JsonObject, old, sender, v11) !== null) return
        const next = parsePowerLevels(to as JsonObject, v11)
        const own = userLevel(old, sender)
        for (const [userId, level] of next.users) assert.ok(level <= own || old.users.get(userId) === level)
        for (const [userId, level] of old.users) assert.ok(userId === sender || level < own || next.users.get(userId) === level)
      }),
    )
  })
})

suite('the power levels of a new room', () => {
  const make = (preset: 'private_chat' | 'trusted_private_chat' | 'public_chat', override?: JsonObject) =>
    initialPowerLevels({ preset, creator, invitees: [user, other], override })
  test('a private chat lets everybody invite, a public one moderators', () => {
    assert.equal(make('private_chat').invite, 0)
    assert.equal(make('public_chat').invite, 50)
    assert.equal((make('public_chat').events as JsonObject)['m.call.invite'], 50)
    assert.deepEqual(make('private_chat').users, { [creator]: 100 })
  })
  test("a trusted private chat gives the invited the creator's level", () =>
    assert.deepEqual(make('trusted_private_chat').users, { [creator]: 100, [user]: 100, [other]: 100 }))
  test('an override replaces keys of the top level wholesale', () => {
    const content = make('private_chat', { users: { [creator]: 9001 }, events: { 'm.room.tombstone': 100 }, 'org.example.x': 1 })
    assert.deepEqual(content.users, { [creator]: 9001 })
    assert.deepEqual(content.events, { 'm.room.tombstone': 100 })
    assert.equal(content.state_default, 50)
    assert.equal(content['org.example.x'], 1)
  })
  test('an override that leaves out the creator is refused', () => {
    assert.equal(checkPowerLevelOverride({ users: { [user]: 100 } }, creator)?.errcode, 'M_INVALID_PARAM')
    assert.equal(checkPowerLevelOverride({ users: { [creator]: 9001 } }, creator), null)
    assert.equal(checkPowerLevelOverride({ ban: 1 }, creator), null)
  })
  test('the result passes the rules in every room version', () => {
    for (const version of [v9, v10, v11])
      assert.equal(checkPowerLevels(make('public_chat'), powerLevelsWithoutEvent(creator), creator, version), null)
  })
})
