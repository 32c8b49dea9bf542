import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { redactEvent } from '../../src/rules/redaction.ts'
import { creatorOf, defaultRoomVersion, findRoomVersion, type RoomVersionId, roomVersions } from '../../src/rules/room-version.ts'
import type { JsonObject } from '../../src/rules/values.ts'

function redactedContent(version: RoomVersionId, type: string, content: JsonObject) {
  return redactEvent({ type, content }, roomVersions[version]).content
}

suite('redaction', () => {
  test('keeps what names the event and takes away all else', () => {
    const kept = { event_id: '$e', type: 'm.room.message', sender: '@a:b', state_key: '', origin_server_ts: 1 }
    const event = { ...kept, content: { body: 'secret' }, unsigned: { age: 1 }, 'com.beeper.hs.order': 7 }
    assert.deepEqual(redactEvent(event, roomVersions[11]), { ...kept, content: {} })
  })
  const membership = { membership: 'join', join_authorised_via_users_server: '@a:b' }
  const invite = { third_party_invite: { signed: { token: 't' }, display_name: 'n' } }
  test('m.room.member: the signed part of a third party invite survives from room version 11 on', () => {
    const content = { ...membership, ...invite, displayname: 'n' }
    for (const version of ['9', '10'] as const) assert.deepEqual(redactedContent(version, 'm.room.member', content), membership)
    assert.deepEqual(redactedContent('11', 'm.room.member', content), { ...membership, third_party_invite: { signed: { token: 't' } } })
    assert.deepEqual(redactedContent('11', 'm.room.member', { ...membership, third_party_invite: {} }), membership)
    assert.deepEqual(redactedContent('11', 'm.room.member', { ...membership, third_party_invite: 1 }), membership)
  })
  test('m.room.create: only the creator until room version 10, everything from 11 on', () => {
    const content = { creator: '@a:b', room_version: '9', x: 1 }
    for (const version of ['9', '10'] as const) assert.deepEqual(redactedContent(version, 'm.room.create', content), { creator: '@a:b' })
    assert.deepEqual(redactedContent('11', 'm.room.create', content), content)
  })
  test('m.room.power_levels: the invite level survives from room version 11 on', () => {
    const kept = { ban: 1, events: { x: 1 }, events_default: 1, kick: 1, redact: 1, state_default: 1, users: {}, users_default: 1 }
    const content = { ...kept, invite: 1, notifications: {}, x: 1 }
    for (const version of ['9', '10'] as const) assert.deepEqual(redactedContent(version, 'm.room.power_levels', content), kept)
    assert.deepEqual(redactedContent('11', 'm.room.power_levels', content), { ...kept, invite: 1 })
  })
  test('m.room.redaction: the target survives from room version 11 on', () => {
    assert.deepEqual(redactedContent('10', 'm.room.redaction', { redacts: '$e', reason: 'r' }), {})
    assert.deepEqual(redactedContent('11', 'm.room.redaction', { redacts: '$e', reason: 'r' }), { redacts: '$e' })
  })
  for (const version of ['9', '10', '11'] as const) {
    test(`m.room.join_rules and m.room.history_visibility keep their rule in room version ${version}`, () => {
      assert.deepEqual(redactedContent(version, 'm.room.join_rules', { join_rule: 'restricted', allow: [], x: 1 }), {
        join_rule: 'restricted',
        allow: [],
      })
      assert.deepEqual(redactedContent(version, 'm.room.history_visibility', { history_visibility: 'joined', x: 1 }), {
        history_visibility: 'joined',
      })
    })
  }
  test('is idempotent and never throws', () => {
    const types = fc.constantFrom(...Object.keys(roomVersions[11].keptContent), 'm.room.message', '__proto__', 'constructor')
    const json = fc.jsonValue() as fc.Arbitrary<never>
    const content = fc.oneof(
      json,
      fc.dictionary(fc.constantFrom('membership', 'third_party_invite', 'users', 'redacts', '__proto__'), json),
    )
    fc.assert(
      fc.property(types, content, fc.constantFrom(...Object.values(roomVersions)), (type, content, version) => {
        const once = redactEvent({ type, content, extra: 1 }, version)
        assert.deepEqual(redactEvent(once, version), once)
      }),
    )
  })
})

suite('room versions', () => {
  test('9, 10 and 11 are supported, 11 is the default', () => {
    assert.deepEqual(Object.keys(roomVersions), ['9', '10', '11'])
    assert.equal(defaultRoomVersion.id, '11')
    for (const id of ['9', '10', '11']) assert.equal(findRoomVersion(id)?.id, id)
  })
  test('all others are not', () => {
    for (const id of ['1', '8', '12', '', 'constructor', '__proto__', ' 11', '11.0']) assert.equal(findRoomVersion(id), null)
  })
  test('the creator is named by the content until room version 10 and by the sender from 11 on', () => {
    assert.equal(creatorOf(roomVersions[10], '@sender:b', { creator: '@creator:b' }), '@creator:b')
    assert.equal(creatorOf(roomVersions[11], '@sender:b', { creator: '@creator:b' }), '@sender:b')
  })
})
