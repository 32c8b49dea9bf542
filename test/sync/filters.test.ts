/** Filters in sync. https://spec.matrix.org/v1.19/client-server-api/#filtering */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sendReceipt } from '../../src/rooms/receipts.ts'
import { setTag } from '../../src/rooms/room-account-data.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { setAccountData } from '../../src/users/account-data.ts'
import { createFilter } from '../../src/users/filters.ts'
import { onBothEngines } from '../storage/engines.ts'
import { bodies, ids, names, news, SyncRig } from './rig.ts'

await onBothEngines('filters of sync', (place) => {
  const timeline = (filter: JsonObject): JsonObject => ({ room: { timeline: filter } })

  test('a filter by id is the filter that was uploaded; the same filter has the same id', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    await rig.sayMany(rig.alice, roomId, 3)
    const args = { userId: rig.alice.userId, filter: timeline({ limit: 2 }) }
    const { filterId } = await createFilter(rig.instance, rig.alice, args)
    assert.equal((await createFilter(rig.instance, rig.alice, args)).filterId, filterId)
    for (let twice = 0; twice < 2; twice++) {
      assert.deepEqual(bodies((await rig.sync(rig.alice, { filter: filterId })).rooms?.join?.[roomId]?.timeline.events), ['m1', 'm2'])
    }
  })

  test('an unknown id is M_INVALID_PARAM, wrong types M_BAD_JSON, unknown keys are nothing', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    await assert.rejects(rig.sync(rig.alice, { filter: 'nobody' }), { errcode: 'M_INVALID_PARAM', status: 400 })
    await assert.rejects(rig.sync(rig.alice, { filter: '{"room":' }), { errcode: 'M_BAD_JSON' })
    await assert.rejects(rig.sync(rig.alice, { filter: { room: [] } }), { errcode: 'M_BAD_JSON' })
    await assert.rejects(rig.sync(rig.alice, { filter: timeline({ limit: '5' }) }), { errcode: 'M_BAD_JSON' })
    await rig.sync(rig.alice, { filter: { whatever: 1, room: { more: [] } } })
  })

  test('the timeline has 10 events unless the filter says, and 100 at the most', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    await rig.sayMany(rig.alice, roomId, 105)
    const count = async (filter?: object) =>
      (await rig.sync(rig.alice, filter ? { filter } : {})).rooms?.join?.[roomId]?.timeline.events.length
    assert.equal(await count(), 10)
    assert.equal(await count(timeline({ limit: 3 })), 3)
    assert.equal(await count(timeline({ limit: 1_000 })), 100)
  })

  test('limit 0: no events, a prev_batch that works, and the state of now', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'A room' })
    const since = await rig.now(rig.alice)
    const sent = await rig.say(rig.alice, roomId, 'x')
    await rig.set(rig.alice, roomId, 'm.room.topic', { topic: 'new' })
    for (const request of [{}, { since }]) {
      const block = (await rig.sync(rig.alice, { ...request, filter: timeline({ limit: 0 }) })).rooms?.join?.[roomId]
      assert.deepEqual(block?.timeline.events, [])
      assert.equal(block?.timeline.limited, true)
      assert.ok(names(block?.state?.events).includes('m.room.topic'))
      const page = await rig.messages(rig.alice, { roomId, dir: 'b', from: block!.timeline.prev_batch, limit: 2 })
      assert.equal(ids(page.chunk)[1], sent)
    }
  })

  test('types and not_types with wildcards; exclusion wins', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    await rig.say(rig.alice, roomId, 'x')
    await rig.set(rig.alice, roomId, 'org.example.one', {})
    const typesOf = async (filter: JsonObject) =>
      names((await rig.sync(rig.alice, { filter: timeline(filter) })).rooms?.join?.[roomId]?.timeline.events)
    assert.deepEqual(await typesOf({ types: ['org.example.*', 'm.room.mess*'] }), ['m.room.message', 'org.example.one'])
    assert.deepEqual(await typesOf({ types: ['org.*', 'm.room.message'], not_types: ['org.example.*'] }), ['m.room.message'])
  })

  for (const [name, nothing] of [
    ['an empty list of types', { types: [] }],
    ["not_types ['*']", { not_types: ['*'] }],
  ] as const) {
    test(`${name} means nothing, section by section`, async (t) => {
      await using rig = await SyncRig.start(await place(t))
      const roomId = await rig.room(rig.alice, {}, [rig.bob])
      const all = {
        presence: nothing,
        account_data: nothing,
        room: { timeline: nothing, state: nothing, ephemeral: nothing, account_data: nothing },
      }
      const initial = await rig.sync(rig.alice, { filter: all })
      assert.deepEqual(initial.account_data?.events, [])
      assert.deepEqual(initial.rooms, { join: {}, invite: {}, knock: {}, leave: {} })
      const eventId = await rig.say(rig.bob, roomId, 'x')
      await sendReceipt(rig.instance, rig.bob, { roomId, type: 'm.read', eventId })
      await setTag(rig.instance, rig.alice, { userId: rig.alice.userId, roomId, tag: 'm.favourite', content: {} })
      await setAccountData(rig.instance, rig.alice, { userId: rig.alice.userId, type: 'org.example', content: {} })
      const next = await rig.sync(rig.alice, {
        since: initial.next_batch,
        filter: { ...all, room: { ...all.room, timeline: { ...nothing, limit: 1 } } },
      })
      assert.deepEqual(next.account_data, undefined)
      assert.equal(next.rooms?.join?.[roomId]?.timeline.limited ?? false, false)
    })
  }

  test('what is filtered out moves next_batch, omits the room, and does not wake again', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const filter = timeline({ types: ['org.example'] })
    const since = await rig.now(rig.alice)
    const last = await rig.say(rig.bob, roomId, 'x')
    const answer = await rig.sync(rig.alice, { since, filter })
    assert.deepEqual(news(answer), [])
    const page = await rig.messages(rig.alice, { roomId, dir: 'b', from: answer.next_batch, limit: 1 })
    assert.deepEqual(ids(page.chunk), [last])
  })

  test('a state event that the filter keeps out of the timeline comes as state', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    const name = await rig.set(rig.alice, roomId, 'm.room.name', { name: 'A room' })
    const said = await rig.say(rig.alice, roomId, 'x')
    const block = (await rig.sync(rig.alice, { since, filter: timeline({ types: ['m.room.message'] }) })).rooms?.join?.[roomId]
    assert.deepEqual([ids(block?.state?.events), ids(block?.timeline.events), block?.timeline.limited], [[name], [said], false])
  })

  test('where the filter drops events more are read until the limit is filled', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const wanted = await rig.say(rig.alice, roomId, 'wanted')
    const also = await rig.say(rig.alice, roomId, 'wanted too')
    for (let i = 0; i < 60; i++) await rig.set(rig.alice, roomId, 'org.example', { i })
    const of = async (limit: number) =>
      (await rig.sync(rig.alice, { filter: timeline({ types: ['m.room.message'], limit }) })).rooms?.join?.[roomId]?.timeline
    assert.deepEqual([ids((await of(2))?.events), (await of(2))?.limited], [[wanted, also], false])
    assert.deepEqual([ids((await of(1))?.events), (await of(1))?.limited], [[also], true])
  })

  test('senders, not_senders and contains_url', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    await rig.say(rig.alice, roomId, 'from alice')
    await rig.say(rig.bob, roomId, 'picture', { url: 'mxc://example.com/a' })
    const of = async (filter: JsonObject) =>
      bodies((await rig.sync(rig.alice, { filter: timeline(filter) })).rooms?.join?.[roomId]?.timeline.events)
    assert.deepEqual(await of({ senders: [rig.bob.userId] }), ['picture'])
    assert.deepEqual(await of({ not_senders: [rig.bob.userId] }), ['from alice'])
    assert.deepEqual(await of({ contains_url: true }), ['picture'])
    assert.deepEqual(await of({ contains_url: false }), ['from alice'])
    assert.deepEqual(await of({ senders: [rig.bob.userId], not_senders: [rig.bob.userId] }), [])
  })

  test('rooms and not_rooms, of the whole and of a section', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const one = await rig.room(rig.alice, { name: 'one' })
    const two = await rig.room(rig.alice, { name: 'two' })
    const rooms = async (room: object) => Object.keys((await rig.sync(rig.alice, { filter: { room } })).rooms?.join ?? {})
    assert.deepEqual(await rooms({ rooms: [one] }), [one])
    assert.deepEqual(await rooms({ not_rooms: [one] }), [two])
    assert.deepEqual(await rooms({ rooms: [one, two], not_rooms: [two] }), [one])
    assert.deepEqual(await rooms({ rooms: [] }), [])
    const { join } =
      (await rig.sync(rig.alice, { filter: { room: { timeline: { rooms: [one] }, state: { not_rooms: [one] } } } })).rooms ?? {}
    assert.ok(join?.[one]?.timeline.events.length)
    assert.deepEqual(join?.[two]?.timeline.events, [])
    assert.ok(join?.[two]?.state?.events.length)
    assert.deepEqual(join?.[one]?.state?.events, [])
  })

  test('event_format federation keeps what identifies the event', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const eventId = await rig.say(rig.alice, roomId, 'x')
    const events = (await rig.sync(rig.alice, { filter: { event_format: 'federation' } })).rooms?.join?.[roomId]?.timeline.events
    assert.equal(events?.at(-1)?.event_id, eventId)
    assert.ok('auth_events' in (events?.at(-1) ?? {}))
  })
})
