import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import {
  checkEventLimits,
  checkIdentifier,
  isEventId,
  isLocalpart,
  isRoomAlias,
  isRoomId,
  isServerName,
  isUserId,
  maxEventBytes,
  type SizedEvent,
} from '../../src/rules/event-limits.ts'

const event: SizedEvent = { roomId: '!r:example.com', eventId: '$e', sender: '@a:example.com', type: 'm.room.message', json: '{}' }

suite('size limits', () => {
  test('an event of 65 536 bytes passes with its room id, one more byte does not', () => {
    const room = event.roomId.length + '"room_id":"",'.length
    assert.equal(checkEventLimits({ ...event, json: 'x'.repeat(maxEventBytes - room) }), null)
    assert.equal(checkEventLimits({ ...event, json: 'x'.repeat(maxEventBytes - room + 1) })?.errcode, 'M_TOO_LARGE')
  })
  test('bytes count, not characters', () => assert.equal(checkEventLimits({ ...event, json: 'é'.repeat(33_000) })?.errcode, 'M_TOO_LARGE'))
  for (const [field, name] of [
    ['roomId', 'room_id'],
    ['eventId', 'event_id'],
    ['sender', 'sender'],
    ['type', 'type'],
    ['stateKey', 'state_key'],
  ] as const) {
    test(`${name} has 255 bytes at most`, () => {
      assert.equal(checkEventLimits({ ...event, [field]: 'x'.repeat(255) }), null)
      for (const value of ['x'.repeat(256), 'é'.repeat(128), '👍'.repeat(64)]) {
        assert.deepEqual(checkEventLimits({ ...event, [field]: value }), { errcode: 'M_TOO_LARGE', error: `'${name}' too large` })
      }
    })
    test(`${name} has no NUL and no lone surrogate`, () => {
      for (const value of ['a\0', '\ud800', 'a\udc00b'])
        assert.equal(checkEventLimits({ ...event, [field]: value })?.errcode, 'M_INVALID_PARAM')
    })
  }
  test('an empty state key is fine', () => assert.equal(checkEventLimits({ ...event, stateKey: '' }), null))
  test('the limit agrees with the length in UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 80, maxLength: 260 }), (value) => {
        assert.equal(checkIdentifier('x', value)?.errcode === 'M_TOO_LARGE', Buffer.byteLength(value) > 255)
      }),
    )
  })
})

suite('grammar', () => {
  const accepted: readonly [(id: string) => boolean, readonly string[], readonly string[]][] = [
    [
      isUserId,
      ['@a:b', '@alice:example.com', '@A=_/+.-x:1.2.3.4:8448', '@ü x:[::1]:80'],
      ['', '@', '@a', 'a:b', '@:b', '@a:', '@a:b c', '#a:b', '@a:b:c', '@a:b:123456', '@a\0:b', `@${'a'.repeat(255)}:b`],
    ],
    [isRoomAlias, ['#a:b', '#große runde:example.com'], ['#a', '@a:b', '#:b', '#a:', '#a:b/c']],
    [isRoomId, ['!a:b', '!a', '!abc:example.com:8448'], ['!', 'a', '#a:b', '!a\0', `!${'a'.repeat(255)}`]],
    [isEventId, ['$a', '$hash:remote.host'], ['$', 'a', '$a\ud800']],
    [
      isServerName,
      ['a', 'example.com', 'example.com:8448', '1.2.3.4', '[::1]', '[1234::abcd]:1'],
      ['', 'a:', 'a:x', 'a b', 'a/b', '[::1', '::1', 'é', 'a:123456'],
    ],
    [isLocalpart, ['a', 'a.b_c=d-e/f+0'], ['', 'A', 'a b', 'a:b', 'é', '@a']],
  ]
  for (const [isValid, valid, invalid] of accepted) {
    test(isValid.name, () => {
      for (const id of valid) assert.equal(isValid(id), true, id)
      for (const id of invalid) assert.equal(isValid(id), false, id)
    })
  }
})
