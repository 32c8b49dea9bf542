import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { compileRoomEventFilter, compileSyncFilter, type RoomEventFilter, type SyncFilter } from '../../src/rules/filter.ts'
import { isRefusal } from '../../src/rules/values.ts'

function sync(json: unknown): SyncFilter {
  const filter = compileSyncFilter(json)
  assert.ok(!isRefusal(filter), JSON.stringify(filter))
  return filter
}

function room(json: unknown): RoomEventFilter {
  const filter = compileRoomEventFilter(json)
  assert.ok(!isRefusal(filter), JSON.stringify(filter))
  return filter
}

const message = { type: 'm.room.message', sender: '@a:b' }

suite('event filters', () => {
  test('an empty filter lets everything through', () => {
    const filter = room({})
    assert.equal(filter.matches(message), true)
    assert.equal(filter.allowsRoom('!r:x'), true)
    assert.equal(filter.nothing, false)
    assert.equal(filter.limit, undefined)
    assert.deepEqual([filter.lazyLoadMembers, filter.includeRedundantMembers, filter.unreadThreadNotifications], [false, false, false])
  })
  test('types may have wildcards anywhere, and ? is none', () => {
    const filter = room({ types: ['m.room.*', '*.x', 'a?'] })
    for (const type of ['m.room.', 'm.room.message', 'org.x', 'a?']) assert.equal(filter.matches({ ...message, type }), true, type)
    for (const type of ['m.roomx', 'org.y', 'ab', 'M.ROOM.z']) assert.equal(filter.matches({ ...message, type }), false, type)
  })
  test('exclusion wins', () => {
    assert.equal(room({ types: ['m.room.message'], not_types: ['m.room.*'] }).matches(message), false)
    assert.equal(room({ senders: ['@a:b'], not_senders: ['@a:b'] }).matches(message), false)
    assert.equal(room({ rooms: ['!r:x'], not_rooms: ['!r:x'] }).allowsRoom('!r:x'), false)
  })
  test('an empty list of types, senders or rooms lets nothing through, an empty exclusion changes nothing', () => {
    for (const filter of [{ types: [] }, { senders: [] }]) {
      assert.equal(room(filter).matches(message), false)
      assert.equal(room(filter).nothing, true)
    }
    assert.equal(room({ rooms: [] }).allowsRoom('!r:x'), false)
    assert.equal(room({ rooms: [] }).nothing, true)
    assert.equal(room({ not_types: [], not_senders: [], not_rooms: [] }).matches(message), true)
  })
  test('not_types * lets nothing through, as bridges ask for it', () => {
    const filter = sync({ presence: { not_types: ['*'] }, room: { timeline: { not_types: ['*'] } } })
    assert.equal(filter.presence.nothing, true)
    assert.equal(filter.room.timeline.nothing, true)
    assert.equal(filter.room.timeline.matches(message), false)
    assert.equal(filter.room.state.nothing, false)
  })
  test('senders and rooms are taken literally', () => {
    const filter = room({ senders: ['@a:b', '@*'], rooms: ['!r:x'] })
    assert.equal(filter.matches(message), true)
    assert.equal(filter.matches({ ...message, sender: '@c:b' }), false)
    assert.deepEqual(['!r:x', '!s:x'].map(filter.allowsRoom), [true, false])
  })
  test('what has no sender passes unless senders are asked for', () => {
    assert.equal(room({ not_senders: ['@a:b'] }).matches({ type: 'm.tag' }), true)
    assert.equal(room({ senders: ['@a:b'] }).matches({ type: 'm.tag' }), false)
  })
  test('contains_url asks for a url in the content, or for none', () => {
    const withUrl = { ...message, content: { url: 'mxc://a/b' } }
    assert.deepEqual([message, withUrl].map(room({ contains_url: true }).matches), [false, true])
    assert.deepEqual([message, withUrl].map(room({ contains_url: false }).matches), [true, false])
    assert.deepEqual([message, withUrl].map(room({}).matches), [true, true])
    assert.deepEqual([room({ contains_url: false }).readsContent, room({}).readsContent], [true, false])
  })
  test('limit, lazy loading, threads and relations are read', () => {
    const filter = room({
      limit: 0,
      lazy_load_members: true,
      include_redundant_members: true,
      unread_thread_notifications: true,
      related_by_rel_types: ['m.thread'],
      related_by_senders: [],
    })
    assert.equal(filter.limit, 0)
    assert.deepEqual([filter.lazyLoadMembers, filter.includeRedundantMembers, filter.unreadThreadNotifications], [true, true, true])
    assert.deepEqual(filter.relatedByRelTypes, ['m.thread'])
    assert.deepEqual(filter.relatedBySenders, [])
    assert.equal(room({ 'org.matrix.msc3773.unread_thread_notifications': true }).unreadThreadNotifications, true)
  })
})

suite('sync filters', () => {
  test('an empty filter has the defaults', () => {
    const filter = sync({})
    assert.equal(filter.eventFormat, 'client')
    assert.equal(filter.eventFields, undefined)
    assert.equal(filter.room.includeLeave, false)
    assert.equal(filter.room.allowsRoom('!r:x'), true)
  })
  test('each section has its own filter', () => {
    const filter = sync({
      event_format: 'federation',
      event_fields: ['type'],
      account_data: { types: ['m.direct'] },
      room: {
        rooms: ['!r:x'],
        include_leave: true,
        timeline: { limit: 5 },
        state: { lazy_load_members: true },
        ephemeral: { types: [] },
        account_data: { not_types: ['m.tag'] },
      },
    })
    assert.equal(filter.eventFormat, 'federation')
    assert.deepEqual(filter.eventFields, ['type'])
    assert.equal(filter.accountData.matches({ type: 'm.push_rules' }), false)
    assert.equal(filter.room.includeLeave, true)
    assert.equal(filter.room.allowsRoom('!s:x'), false)
    assert.equal(filter.room.timeline.limit, 5)
    assert.equal(filter.room.state.lazyLoadMembers, true)
    assert.equal(filter.room.timeline.lazyLoadMembers, false)
    assert.equal(filter.room.ephemeral.nothing, true)
    assert.equal(filter.room.accountData.matches({ type: 'm.tag' }), false)
  })
  test('no room is wanted when every section of rooms wants nothing, or no room is named', () => {
    const nothing = { not_types: ['*'] }
    const sections = { timeline: nothing, state: { types: [] }, ephemeral: nothing, account_data: nothing }
    assert.equal(sync({ room: sections }).room.nothing, true)
    assert.equal(sync({ room: { rooms: [] } }).room.nothing, true)
    for (const section of Object.keys(sections)) assert.equal(sync({ room: { ...sections, [section]: {} } }).room.nothing, false, section)
    assert.equal(sync({ room: { ...sections, timeline: { limit: 0 } } }).room.nothing, false)
  })
  test('com.beeper.to_device is a filter of its own; without it all messages are wanted', () => {
    assert.equal(sync({}).toDevice, undefined)
    const { toDevice } = sync({ 'com.beeper.to_device': { types: ['m.room_key*'], not_senders: ['@a:b'] } })
    assert.equal(toDevice?.matches({ type: 'm.room_key.withheld', sender: '@c:d' }), true)
    assert.equal(toDevice?.matches({ type: 'm.room_key', sender: '@a:b' }), false)
    assert.equal(toDevice?.matches({ type: 'm.dummy', sender: '@c:d' }), false)
    assert.equal(sync({ 'com.beeper.to_device': { not_types: ['*'] } }).toDevice?.nothing, true)
  })
  test('unknown keys are ignored', () => assert.equal(sync({ x: 1, room: { y: 2, timeline: { z: 3 } } }).room.timeline.nothing, false))
  const wrong = [
    null,
    [],
    'x',
    1,
    { room: [] },
    { room: 1 },
    { room: { timeline: null } },
    { room: { rooms: '!r:x' } },
    { presence: { types: [1] } },
    { presence: { types: null } },
    { room: { include_leave: 1 } },
    { room: { timeline: { limit: '5' } } },
    { room: { timeline: { limit: -1 } } },
    { room: { timeline: { limit: 1.5 } } },
    { room: { state: { lazy_load_members: 'true' } } },
    { event_format: 'x' },
    { event_fields: {} },
    { room: { timeline: { contains_url: 1 } } },
    { 'com.beeper.to_device': null },
    { 'com.beeper.to_device': { types: 'm.room_key' } },
  ]
  for (const json of wrong) {
    test(`${JSON.stringify(json)} is M_BAD_JSON`, () => {
      const filter = compileSyncFilter(json)
      assert.equal(isRefusal(filter) && filter.errcode, 'M_BAD_JSON')
    })
  }
  test('a refusal names the key', () => {
    const filter = compileSyncFilter({ room: { timeline: { limit: 'x' } } })
    assert.match(isRefusal(filter) ? filter.error : '', /room\.timeline\.limit/)
  })
  test('no filter makes compiling throw', () => {
    const keys = fc.constantFrom('room', 'timeline', 'state', 'types', 'limit', 'senders', 'rooms', '__proto__', 'event_format')
    fc.assert(
      fc.property(fc.object({ key: keys, maxDepth: 3, withNullPrototype: true }), (json) => {
        const filter = compileSyncFilter(json)
        if (!isRefusal(filter)) filter.room.timeline.matches(message)
      }),
      { numRuns: 1000 },
    )
  })
})
