import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ChangeSet } from '../../src/storage/change-set.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { change, event, membership, nothing, notification, onBothEngines, type Place, room, user } from './engines.ts'

/** An instance filled by one change set, and beside it one with the same rows under its own key. */
async function filled(here: Place, fill: (c: ChangeSet, instance: number) => void): Promise<Storage> {
  const shard = await here.open()
  for (const instance of [1, 2]) {
    await shard.open(instance)
    const filling = change(instance, (c) => fill(c, instance))
    await shard.enqueue(filling, nothing)
  }
  return shard.storage(1)
}

await onBothEngines('reading', (place) => {
  test('lastEvents gives each room its newest, oldest first, history before the first live event included', async (t) => {
    const here = await place(t)
    const storage = await filled(here, (c, instance) => {
      for (const order of [-2, -1, 3, 6, 9]) c.put('event', event(instance, 1, order))
      for (const order of [4, 5]) c.put('event', event(instance, 2, order))
    })
    const orders = async (after: number | null, until: number, limit: number) => {
      const events = await storage.lastEvents([1, 2, 3, 1], { after, until, limit })
      assert.ok([...events.values()].flat().every((one) => one.instance === 1))
      return [...events].map(([inRoom, list]) => [inRoom, list.map(({ order }) => order)])
    }
    assert.deepEqual(await orders(null, 100, 4), [
      [1, [-1, 3, 6, 9]],
      [2, [4, 5]],
      [3, []],
    ])
    assert.deepEqual(await orders(null, 6, 10), [
      [1, [-2, -1, 3, 6]],
      [2, [4, 5]],
      [3, []],
    ])
    assert.deepEqual(await orders(4, 9, 10), [
      [1, [6, 9]],
      [2, [5]],
      [3, []],
    ])
    assert.deepEqual(await storage.lastEvents([], { after: null, until: 9, limit: 1 }), new Map())
  })

  test('eventsAt and membersAt leave out what is missing', async (t) => {
    const here = await place(t)
    const storage = await filled(here, (c, instance) => {
      for (const order of [-1, 3]) c.put('event', event(instance, 1, order))
      c.put('membership', membership(instance, 1, 8))
    })
    const found = await storage.eventsAt([
      { room: 1, order: 3 },
      { room: 1, order: 4 },
      { room: 2, order: 3 },
      { room: 1, order: -1 },
    ])
    assert.deepEqual(found.map((one) => `${one.instance} ${one.eventId}`).sort(), ['1 $1--1', '1 $1-3'])
    const members = await storage.membersAt([
      { room: 1, user: 8 },
      { room: 1, user: 9 },
    ])
    assert.deepEqual(
      members.map((one) => `${one.instance} ${one.user}`),
      ['1 8'],
    )
    assert.deepEqual(await storage.eventsAt([]), [])
    assert.deepEqual(await storage.membersAt([]), [])
  })

  test('relationsTo finds what relates to each event of each room, in the ways asked for; a thread is one row', async (t) => {
    const here = await place(t)
    const relation = { type: 'm.room.message', key: null }
    const storage = await filled(here, (c, instance) => {
      for (const [room, parent, order, relType, sender] of [
        [1, '$a', 5, 'm.replace', 1],
        [1, '$a', 6, 'm.annotation', 1],
        [1, '$b', 7, 'm.thread', 2],
        [1, '$b', 10, 'm.thread', 3],
        [1, '$b', 11, 'm.thread', 2],
        [1, '$b', 12, 'm.reference', 2],
        [2, '$a', 8, 'm.replace', 1],
        [2, '$c', 9, 'm.replace', 1],
      ] as const) {
        c.put('relation', { ...relation, instance, room, parent, order, relType, sender })
      }
    })
    const parents = new Map([
      [1, ['$a', '$b']],
      [2, ['$c', '$none']],
    ])
    const found = async (user: number, upTo: number) =>
      (await storage.relationsTo(parents, ['m.replace', 'm.thread'], { user, upTo }))
        .map((row) => [row.room, row.parent, row.relType, row.order, row.count, row.participated].join(' '))
        .sort()
    assert.deepEqual(await found(3, 12), ['1 $a m.replace 5 1 0', '1 $b m.thread 11 3 1', '2 $c m.replace 9 1 0'])
    assert.deepEqual(await found(4, 7), ['1 $a m.replace 5 1 0', '1 $b m.thread 7 1 0'])
    assert.deepEqual(await storage.relationsTo(new Map(), ['m.replace'], { user: 1, upTo: 12 }), [])
  })

  test('firstMembers goes by the order of the membership event', async (t) => {
    const here = await place(t)
    const storage = await filled(here, (c, instance) => {
      for (const [key, order, is] of [
        [1, 30, 'join'],
        [2, 10, 'invite'],
        [3, 20, 'join'],
        [4, 5, 'leave'],
      ] as const) {
        c.put('membership', membership(instance, 1, key, { order, membership: is }))
      }
    })
    const first = await storage.firstMembers([1, 2], ['join', 'invite'], 2)
    assert.deepEqual(
      [...first].map(([inRoom, list]) => [inRoom, list.map((one) => one.user)]),
      [
        [1, [2, 3]],
        [2, []],
      ],
    )
  })

  test('currentState joins the text of each event, by type and by age', async (t) => {
    const here = await place(t)
    const storage = await filled(here, (c, instance) => {
      for (const [inRoom, type, stateKey, order] of [
        [1, 'm.room.name', '', 1],
        [1, 'm.room.topic', '', 5],
        [2, 'm.room.name', '', 3],
        [2, 'x', '"k"', 4],
        [3, 'x', '', 6],
      ] as const) {
        c.put('state', { instance, room: inRoom, type, stateKey, order })
        c.put('event', event(instance, inRoom, order, { type, stateKey, json: `{"in":${instance},"order":${order}}` }))
      }
      // replaced: an event that is no longer current
      c.put('event', event(instance, 1, 9, { type: 'm.room.name', stateKey: '' }))
    })
    const state = async (rooms: number[], options = {}) => (await storage.currentState(rooms, options)).map((one) => one.order).sort()
    assert.deepEqual(await state([1, 2]), [1, 3, 4, 5])
    assert.deepEqual(await state([1, 2, 3], { types: ['m.room.name', 'nothing'] }), [1, 3])
    assert.deepEqual(await state([1, 2, 3], { after: 4 }), [5, 6])
    assert.deepEqual(await state([1, 2, 3], { types: ['x'], after: 4 }), [6])
    assert.deepEqual(await state([]), [])
    assert.deepEqual(await state([1], { types: [] }), [])
    assert.deepEqual(
      { ...(await storage.currentState([2], { types: ['x'] }))[0] },
      { room: 2, type: 'x', stateKey: '"k"', order: 4, json: '{"in":1,"order":4}' },
    )
  })

  test('memberCounts, and for each appservice its joined and invited users', async (t) => {
    const here = await place(t)
    const storage = await filled(here, (c, instance) => {
      const people = [
        [1, null, 'join'],
        [2, 70, 'join'],
        [3, 70, 'invite'],
        [4, 70, 'leave'],
        [5, 71, 'join'],
        [6, 72, 'ban'],
      ] as const
      for (const [key, appservice, is] of people) {
        c.put('user', user(instance, key, { appservice }))
        c.put('membership', membership(instance, 1, key, { membership: is }))
      }
      c.put('membership', membership(instance, 2, 1))
    })
    assert.deepEqual(
      await storage.memberCounts([1, 2, 3]),
      new Map([
        [1, { join: 3, invite: 1, leave: 1, ban: 1 }],
        [2, { join: 1 }],
        [3, {}],
      ]),
    )
    assert.deepEqual(await storage.memberCounts([]), new Map())
    assert.deepEqual(
      new Map([...(await storage.appserviceCounts(1))].sort()),
      new Map([
        [70, 2],
        [71, 1],
      ]),
    )
    assert.deepEqual(await storage.appserviceCounts(2), new Map())
  })

  test('unreadCounts by room and thread', async (t) => {
    const here = await place(t)
    const storage = await filled(here, (c, instance) => {
      for (const [key, inRoom, order, thread, highlight] of [
        [1, 1, 1, '', 0],
        [1, 1, 2, '', 1],
        [1, 1, 3, '$t', 0],
        [1, 2, 4, '', 1],
        [2, 1, 5, '', 1],
      ] as const) {
        c.put('notification', notification(instance, key, inRoom, order, thread, highlight))
      }
    })
    const sorted = async (rooms?: number[], upTo?: number) =>
      (await storage.unreadCounts(1, rooms, upTo)).map((one) => `${one.room} ${one.thread} ${one.notify} ${one.highlight}`).sort()
    assert.deepEqual(await sorted(), ['1  2 1', '1 $t 1 0', '2  1 1'])
    assert.deepEqual(await sorted([2, 3]), ['2  1 1'])
    assert.deepEqual(await sorted([]), [])
    assert.deepEqual(await sorted([1, 2], 2), ['1  2 1'], 'what is newer is left out')
  })

  test('roomsByActivity: joined rooms that still exist, newest first, in pages', async (t) => {
    const here = await place(t)
    const storage = await filled(here, (c, instance) => {
      for (const key of [1, 2, 3, 4, 5]) {
        // 4 was deleted and waits for its rows to be reclaimed; 5 is empty
        if (key !== 4) c.put('room', room(instance, key))
        c.put('membership', membership(instance, key, 1, { membership: key === 3 ? 'leave' : 'join' }))
        if (key !== 5) for (const order of [10, 20, 30]) c.put('event', event(instance, key, order + key))
      }
      c.put('membership', membership(instance, 3, 2))
    })
    const page = async (options: { before?: number; limit: number }) =>
      (await storage.roomsByActivity(1, options)).map((one) => `${one.room} ${one.order}`)
    assert.deepEqual(await page({ limit: 10 }), ['2 32', '1 31'])
    assert.deepEqual(await page({ limit: 1 }), ['2 32'])
    assert.deepEqual(await page({ before: 32, limit: 10 }), ['1 31'])
  })

  test('toDeviceSurplus: where the newest messages of a device end, by their number and by the bytes of their contents', async (t) => {
    const here = await place(t)
    const storage = await filled(here, (c, instance) => {
      const message = { instance, type: 'm.x', sender: '@a:test', createdAt: 1, appservice: null }
      for (let position = 1; position <= 10; position++) c.put('toDevice', { ...message, user: 1, deviceId: 'A', position, content: '"é"' })
      for (const [user, deviceId] of [
        [1, 'B'],
        [2, 'A'],
      ] as const)
        for (let position = 11; position <= 20; position++) c.put('toDevice', { ...message, user, deviceId, position, content: '{}' })
    })
    const surplus = (messages: number, bytes: number) => storage.toDeviceSurplus(1, 'A', { messages, bytes })
    assert.deepEqual([await surplus(10, 40), await surplus(3, 40), await surplus(10, 39), await surplus(10, 12)], [null, 7, 1, 7])
    assert.deepEqual([await surplus(0, 40), await surplus(10, 0)], [10, 10])
    assert.equal(await storage.toDeviceSurplus(3, 'A', { messages: 0, bytes: 0 }), null)
  })

  test('an event with 5 000 rooms beside it is found by key, not by a search', { timeout: 20_000 }, async (t) => {
    const here = await place(t)
    const shard = await here.open()
    await shard.open(1)
    const filling = change(1, (c) => {
      for (let key = 1; key <= 5_000; key++) {
        c.put('room', room(1, key))
        c.put('membership', membership(1, key, 1))
        for (const order of [key, key + 10_000]) c.put('event', event(1, key, order))
      }
    })
    await shard.enqueue(filling, nothing)
    const storage = shard.storage(1)
    await storage.roomsByActivity(1, { limit: 20 })
    const start = performance.now()
    assert.equal((await storage.roomsByActivity(1, { limit: 20 }))[0]?.order, 15_000)
    // 20 ms on two idle cores; a scan would take minutes
    assert.ok(performance.now() - start < 2_000)
  })
})
