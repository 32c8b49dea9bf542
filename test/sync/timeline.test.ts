/** Timelines, state, gaps and tokens: §"Syncing" of the specification, rule by rule. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { joinRoom, leaveRoom } from '../../src/rooms/membership.ts'
import { command } from '../../src/stream/command.ts'
import { onBothEngines } from '../storage/engines.ts'
import { bodies, ClientRoom, ids, names, news, SyncRig } from './rig.ts'

const limit = (count: number, more: object = {}) => ({ room: { timeline: { limit: count, ...more } } })

await onBothEngines('timelines of sync', (place) => {
  test('an initial sync shows the last events, and the state before them', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'old' })
    await rig.set(rig.alice, roomId, 'm.room.name', { name: 'new' })
    const sent = await rig.sayMany(rig.alice, roomId, 3)
    const topic = await rig.set(rig.alice, roomId, 'm.room.topic', { topic: 'about' })
    const block = (await rig.sync(rig.alice, { filter: limit(3) })).rooms?.join?.[roomId]
    assert.deepEqual(ids(block?.timeline.events), [...sent.slice(1), topic])
    assert.equal(block?.timeline.limited, true)
    assert.equal(block?.state?.events.find(({ type }) => type === 'm.room.name')?.content['name'], 'new')
    assert.ok(!names(block?.state?.events).includes('m.room.topic'))
    const small = (await rig.sync(rig.alice, { filter: limit(50) })).rooms?.join?.[roomId]
    assert.equal(small?.timeline.limited, false)
    assert.deepEqual(small?.state?.events, [])
  })

  test('without a gap the timeline has all of it and the state nothing', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    const sent = [await rig.set(rig.alice, roomId, 'm.room.name', { name: 'a' }), await rig.say(rig.alice, roomId, 'b')]
    const block = (await rig.sync(rig.alice, { since })).rooms?.join?.[roomId]
    assert.deepEqual(ids(block?.timeline.events), sent)
    assert.deepEqual(block?.state, { events: [] })
  })

  test('with a gap the state has the latest of each key that changed in it', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'before', topic: 'before' })
    const since = await rig.now(rig.alice)
    await rig.set(rig.alice, roomId, 'm.room.name', { name: 'one' })
    const inGap = await rig.set(rig.alice, roomId, 'm.room.name', { name: 'two' })
    const other = await rig.set(rig.alice, roomId, 'org.example', { a: 1 }, 'key')
    const sent = await rig.sayMany(rig.alice, roomId, 2)
    const shown = await rig.set(rig.alice, roomId, 'm.room.name', { name: 'three' })
    const block = (await rig.sync(rig.alice, { since, filter: limit(3) })).rooms?.join?.[roomId]
    assert.deepEqual(ids(block?.timeline.events), [...sent, shown])
    assert.deepEqual(ids(block?.state?.events), [inGap, other])
  })

  for (const stateAfter of ['state_after', 'org.matrix.msc4222.state_after'] as const) {
    test(`${stateAfter}: the state at the end of the timeline, and no state`, async (t) => {
      await using rig = await SyncRig.start(await place(t))
      const roomId = await rig.room(rig.alice, { name: 'first' })
      const initial = await rig.sync(rig.alice, { stateAfter, filter: limit(2) })
      const whole = initial.rooms?.join?.[roomId]
      assert.equal(whole?.state, undefined)
      for (const type of ['m.room.create', 'm.room.name', 'm.room.topic'].slice(0, 2))
        assert.ok(names(whole?.[stateAfter]?.events).includes(type))
      await rig.say(rig.alice, roomId, 'x')
      const quiet = (await rig.sync(rig.alice, { since: initial.next_batch, stateAfter })).rooms?.join?.[roomId]
      assert.deepEqual([quiet?.[stateAfter], quiet?.state], [{ events: [] }, undefined])
      await rig.set(rig.alice, roomId, 'm.room.name', { name: 'second' })
      const latest = await rig.set(rig.alice, roomId, 'm.room.name', { name: 'third' })
      for (const count of [1, 50]) {
        const block = (await rig.sync(rig.alice, { since: initial.next_batch, stateAfter, filter: limit(count) })).rooms?.join?.[roomId]
        assert.deepEqual(ids(block?.[stateAfter]?.events), [latest])
        assert.equal(block?.state, undefined)
      }
    })
  }

  test('every kind of token goes everywhere: since as from and at, prev_batch as since', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    const sent = await rig.sayMany(rig.alice, roomId, 4)
    assert.deepEqual(ids((await rig.messages(rig.alice, { roomId, dir: 'f', from: since })).chunk), sent)
    const block = (await rig.sync(rig.alice, { since, filter: limit(2) })).rooms?.join?.[roomId]
    const again = (await rig.sync(rig.alice, { since: block!.timeline.prev_batch })).rooms?.join?.[roomId]
    assert.deepEqual(ids(again?.timeline.events), sent.slice(2))
  })

  test('rejoining inside one window: only join, with full state and a timeline that replaces the old', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { preset: 'public_chat' }, [rig.bob])
    const first = await rig.sync(rig.bob)
    const room = new ClientRoom()
    room.apply(first.rooms!.join![roomId]!)
    await leaveRoom(rig.instance, rig.bob, { roomId })
    await rig.say(rig.alice, roomId, 'while away')
    await joinRoom(rig.instance, rig.bob, { roomIdOrAlias: roomId })
    const second = await rig.sync(rig.bob, { since: first.next_batch })
    assert.equal(second.rooms?.leave, undefined)
    const block = second.rooms!.join![roomId]!
    assert.equal(block.timeline.limited, true)
    room.apply(block)
    assert.equal(new Set(ids(room.events)).size, room.events.length)
    assert.ok(room.state.has('m.room.create '))
    assert.ok(bodies(room.events).includes('while away'))
  })

  test('a redaction in the gap: the event is served redacted afterwards', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    const secret = await rig.say(rig.alice, roomId, 'secret')
    const redaction = await rig.redact(rig.alice, roomId, secret)
    const events = (await rig.sync(rig.alice, { since })).rooms?.join?.[roomId]?.timeline.events
    assert.deepEqual(events?.[0]?.content, {})
    const because = events?.[0]?.unsigned?.['redacted_because'] as { event_id: string } | undefined
    assert.equal(because?.event_id, redaction)
    // Named at the top level and in the content, for clients of either age.
    assert.equal(events?.[1]?.redacts, secret)
    assert.equal(events?.[1]?.content['redacts'], secret)
  })

  test('history that is not visible is left out, and does not make the timeline limited', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const hidden = { type: 'm.room.history_visibility', stateKey: '', content: { history_visibility: 'joined' } }
    const roomId = await rig.room(rig.alice, { preset: 'public_chat', initialState: [hidden] })
    await rig.sayMany(rig.alice, roomId, 30)
    await joinRoom(rig.instance, rig.bob, { roomIdOrAlias: roomId })
    await rig.say(rig.alice, roomId, 'seen')
    const block = (await rig.sync(rig.bob)).rooms?.join?.[roomId]
    assert.deepEqual(bodies(block?.timeline.events), ['seen'])
    assert.equal(block?.timeline.limited, false)
  })

  test('prepended history belongs to the timeline of an initial sync, and to no other', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    await command(rig.instance, (decision) => {
      const room = decision.find('room', { roomId })!
      for (const order of [-2, -1]) {
        const json = JSON.stringify({
          type: 'm.room.message',
          sender: rig.alice.userId,
          content: { msgtype: 'm.text', body: `old ${order}` },
          origin_server_ts: 1,
          event_id: `$old${order}`,
        })
        const row = {
          eventId: `$old${order}`,
          type: 'm.room.message',
          stateKey: null,
          sender: rig.alice.user!,
          ts: 1,
          replaces: null,
          redactedBy: null,
          changedKeys: null,
          device: null,
          txnId: null,
          json,
        }
        decision.put('event', { instance: rig.instance.key, room: room.key, order, ...row })
      }
      decision.put('room', { ...room, lowest: -2 })
      decision.announce('history', { rooms: [room.key], users: [rig.alice.user!] })
    })
    const block = (await rig.sync(rig.alice, { filter: limit(50) })).rooms?.join?.[roomId]
    assert.deepEqual(bodies(block?.timeline.events), ['old -2', 'old -1'])
    assert.equal(block?.timeline.prev_batch, 's-3')
    assert.deepEqual(block?.state?.events, [])
    assert.deepEqual(news(await rig.sync(rig.alice, { since })), [])
  })

  test('full_state brings all state of all rooms, also quiet ones, and waits for nothing', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'A room' }, [rig.bob])
    const since = await rig.now(rig.alice)
    const answer = await rig.sync(rig.alice, { since, fullState: true, timeoutMs: 30_000 })
    const block = answer.rooms?.join?.[roomId]
    assert.deepEqual(block?.timeline, { events: [], limited: false, prev_batch: since })
    for (const name of ['m.room.create', 'm.room.name', `m.room.member ${rig.bob.userId}`])
      assert.ok(names(block?.state?.events).includes(name))
    const later = await rig.say(rig.alice, roomId, 'later')
    const next = (await rig.sync(rig.alice, { since, fullState: true })).rooms?.join?.[roomId]
    assert.deepEqual(ids(next?.timeline.events), [later])
  })

  test('a large event passes whole', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    const body = 'ü'.repeat(32_000)
    await rig.say(rig.alice, roomId, body)
    assert.deepEqual(bodies((await rig.sync(rig.alice, { since })).rooms?.join?.[roomId]?.timeline.events), [body])
  })

  test('tokens survive a restart: from each one the client goes on without gap or repeat', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const busy = await rig.room(rig.alice, {}, [rig.bob])
    const quiet = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    const before = await rig.sayMany(rig.bob, busy, 2)
    await rig.set(rig.bob, busy, 'm.room.member', { membership: 'join', displayname: 'Bobby' }, rig.bob.userId)
    await rig.restart()
    const first = await rig.sync(rig.alice, { since })
    assert.deepEqual(ids(first.rooms?.join?.[busy]?.timeline.events).slice(0, 2), before)
    assert.equal(first.rooms?.join?.[busy]?.timeline.limited, false)
    assert.equal(first.rooms?.join?.[busy]?.summary?.['m.joined_member_count'], 2)
    assert.deepEqual(first.rooms?.join?.[quiet]?.timeline.events, [])
    assert.deepEqual(names(first.rooms?.join?.[quiet]?.ephemeral?.events), ['m.typing'])
    const after = await rig.sayMany(rig.bob, busy, 2)
    assert.deepEqual(ids((await rig.sync(rig.alice, { since: first.next_batch })).rooms?.join?.[busy]?.timeline.events), after)
  })
})
