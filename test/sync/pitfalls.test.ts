/** The pitfalls that Matrix clients trip over, each by its name; those of end-to-end encryption come with it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inviteUser, joinRoom, kickUser, leaveRoom } from '../../src/rooms/membership.ts'
import { setRoomAccountData } from '../../src/rooms/room-account-data.ts'
import { setTyping } from '../../src/rooms/typing.ts'
import { setAccountData } from '../../src/users/account-data.ts'
import { onBothEngines } from '../storage/engines.ts'
import { bodies, type Event, ids, lazy, names, news, SyncRig } from './rig.ts'

await onBothEngines('pitfalls of sync', (place) => {
  test('1: next_batch covers everything sent and skips nothing that is committed later', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    let since = await rig.now(rig.alice)
    const seen: string[] = []
    const writing = Promise.all(Array.from({ length: 40 }, (_, i) => rig.say(i % 2 ? rig.alice : rig.bob, roomId, `${i}`)))
    let done = false
    void writing.then(() => (done = true))
    for (let last = false; !last; ) {
      last = done
      const answer = await rig.sync(rig.alice, { since, filter: { room: { timeline: { limit: 100 } } } })
      seen.push(...ids(answer.rooms?.join?.[roomId]?.timeline.events))
      since = answer.next_batch
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.deepEqual(seen.toSorted(), (await writing).toSorted())
  })

  test('2: a since token is never answered as if there were none, nor names a room without its state', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'The name' })
    const since = await rig.now(rig.alice)
    await rig.restart()
    const { timeline, state, ephemeral } = (await rig.sync(rig.alice, { since })).rooms!.join![roomId]!
    assert.deepEqual([timeline.events, timeline.limited, state?.events], [[], false, []])
    assert.deepEqual(names(ephemeral?.events), ['m.typing'])
    await rig.say(rig.alice, roomId, 'hello')
    const block = (await rig.sync(rig.alice, { since })).rooms?.join?.[roomId]
    assert.deepEqual(bodies(block?.timeline.events), ['hello'])
    assert.equal(block?.timeline.limited, false)
    // A token from before the room is: everything of it.
    const all = (await rig.sync(rig.alice, { since: 's0' })).rooms?.join?.[roomId]
    assert.ok([...names(all?.state?.events), ...names(all?.timeline.events)].includes('m.room.name'))
  })

  test('3: state and timeline never overlap', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'one', topic: 'about' }, [rig.bob])
    for (const limit of [1, 3, 5, 8, 50]) {
      for (const since of [undefined, 's0', 's8']) {
        for (const filter of [{ room: { timeline: { limit } } }, { room: { timeline: { limit }, state: { lazy_load_members: true } } }]) {
          const block = (await rig.sync(rig.alice, { ...(since ? { since } : {}), filter })).rooms?.join?.[roomId]
          const shown = new Set(ids(block?.timeline.events))
          assert.deepEqual(
            ids(block?.state?.events).filter((id) => shown.has(id)),
            [],
          )
        }
      }
    }
  })

  test('4: prev_batch stands exactly before the first event', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const sent = await rig.sayMany(rig.alice, roomId, 12)
    const block = (await rig.sync(rig.alice, { filter: { room: { timeline: { limit: 5 } } } })).rooms?.join?.[roomId]
    assert.deepEqual(ids(block?.timeline.events), sent.slice(-5))
    const before = await rig.messages(rig.alice, { roomId, dir: 'b', from: block!.timeline.prev_batch, limit: 3 })
    assert.deepEqual(ids(before.chunk), sent.slice(4, 7).toReversed())
    const after = await rig.messages(rig.alice, { roomId, dir: 'f', from: block!.timeline.prev_batch, limit: 2 })
    assert.deepEqual(ids(after.chunk), sent.slice(7, 9))
  })

  test('5: limited says that events were dropped', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    const sent = await rig.sayMany(rig.alice, roomId, 6)
    const of = async (limit: number) =>
      (await rig.sync(rig.alice, { since, filter: { room: { timeline: { limit } } } })).rooms?.join?.[roomId]
    const fits = await of(6)
    assert.equal(fits?.timeline.limited, false)
    assert.deepEqual(ids(fits?.timeline.events), sent)
    assert.equal(fits?.timeline.prev_batch, since)
    const cut = await of(5)
    assert.equal(cut?.timeline.limited, true)
    assert.deepEqual(ids(cut?.timeline.events), sent.slice(1))
  })

  test('6: accepting an invitation brings the room with its full state', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'A room' })
    await rig.sayMany(rig.alice, roomId, 20)
    await inviteUser(rig.instance, rig.alice, { roomId, userId: rig.bob.userId })
    const since = await rig.now(rig.bob)
    await joinRoom(rig.instance, rig.bob, { roomIdOrAlias: roomId })
    const answer = await rig.sync(rig.bob, { since })
    const block = answer.rooms?.join?.[roomId]
    assert.equal(answer.rooms?.invite, undefined)
    assert.equal(block?.timeline.limited, true)
    const state = new Set([...names(block?.state?.events), ...names(block?.timeline.events)])
    for (const wanted of [
      'm.room.create',
      'm.room.name',
      'm.room.power_levels',
      'm.room.join_rules',
      `m.room.member ${rig.alice.userId}`,
    ]) {
      assert.ok(state.has(wanted), wanted)
    }
    assert.ok(names(block?.timeline.events).includes(`m.room.member ${rig.bob.userId}`))
  })

  test('7: account data comes back to the one who wrote it', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    await setAccountData(rig.instance, rig.alice, { userId: rig.alice.userId, type: 'org.example', content: { a: 1 } })
    await setRoomAccountData(rig.instance, rig.alice, { userId: rig.alice.userId, roomId, type: 'org.example.room', content: { b: 2 } })
    const answer = await rig.sync(rig.alice, { since })
    assert.deepEqual(answer.account_data?.events, [{ type: 'org.example', content: { a: 1 } }])
    assert.deepEqual(answer.rooms?.join?.[roomId]?.account_data?.events, [{ type: 'org.example.room', content: { b: 2 } }])
    assert.deepEqual(answer.rooms?.join?.[roomId]?.timeline, { events: [], limited: false, prev_batch: answer.next_batch })
  })

  test('8: unread_thread_notifications is the whole map in every block', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const filter = { room: { timeline: { unread_thread_notifications: true } } }
    const root = await rig.say(rig.alice, roomId, 'root')
    await rig.say(rig.bob, roomId, 'in the thread', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
    const since = await rig.now(rig.alice)
    await rig.say(rig.bob, roomId, 'in the room')
    const block = (await rig.sync(rig.alice, { since, filter })).rooms?.join?.[roomId]
    assert.deepEqual(block?.unread_thread_notifications, { [root]: { notification_count: 1, highlight_count: 0 } })
    assert.deepEqual(block?.unread_notifications, { notification_count: 1, highlight_count: 0 })
    // Without the filter one count for all, and no map.
    const plain = (await rig.sync(rig.alice, { since })).rooms?.join?.[roomId]
    assert.equal(plain?.unread_notifications?.notification_count, 2)
    assert.equal(plain?.unread_thread_notifications, undefined)
  })

  test('9: a room without a name has heroes and counts', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const block = (await rig.sync(rig.alice)).rooms?.join?.[roomId]
    assert.deepEqual(block?.summary, { 'm.joined_member_count': 2, 'm.invited_member_count': 0, 'm.heroes': [rig.bob.userId] })
  })

  test('10: an invitation has the create event and the own member event', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'A room' })
    const since = await rig.now(rig.bob)
    await inviteUser(rig.instance, rig.alice, { roomId, userId: rig.bob.userId })
    for (const answer of [await rig.sync(rig.bob, { since }), await rig.sync(rig.bob)]) {
      const events = answer.rooms?.invite?.[roomId]?.invite_state.events ?? []
      assert.ok(names(events).includes('m.room.create'))
      assert.ok(names(events).includes('m.room.name'))
      const own = events.find((event) => event.state_key === rig.bob.userId)
      assert.equal(own?.content['membership'], 'invite')
      assert.equal(own?.sender, rig.alice.userId)
      for (const event of events) assert.deepEqual(Object.keys(event).toSorted(), ['content', 'sender', 'state_key', 'type'])
    }
  })

  test('12: leaving, and being kicked, is told', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const left = await rig.room(rig.alice, {}, [rig.bob])
    const kicked = await rig.room(rig.alice, {}, [rig.bob])
    const since = await rig.now(rig.bob)
    await leaveRoom(rig.instance, rig.bob, { roomId: left })
    await kickUser(rig.instance, rig.alice, { roomId: kicked, userId: rig.bob.userId, reason: 'because' })
    const answer = await rig.sync(rig.bob, { since })
    assert.equal(answer.rooms?.join, undefined)
    assert.deepEqual(Object.keys(answer.rooms?.leave ?? {}).toSorted(), [left, kicked].toSorted())
    assert.equal(answer.rooms?.leave?.[kicked]?.timeline.events.at(-1)?.content['reason'], 'because')
  })

  test('13: typing is cleared: the empty list comes once', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const typingOf = (block: { ephemeral?: { events: readonly Event[] } } | undefined) =>
      block?.ephemeral?.events.filter(({ type }) => type === 'm.typing').map(({ content }) => content['user_ids'])
    let since = await rig.now(rig.alice)
    const next = async () => {
      const answer = await rig.sync(rig.alice, { since })
      since = answer.next_batch
      return typingOf(answer.rooms?.join?.[roomId])
    }
    await setTyping(rig.instance, rig.bob, { roomId, userId: rig.bob.userId, typing: true })
    assert.deepEqual(await next(), [[rig.bob.userId]])
    assert.deepEqual(typingOf((await rig.sync(rig.alice)).rooms?.join?.[roomId]), [[rig.bob.userId]])
    await setTyping(rig.instance, rig.bob, { roomId, userId: rig.bob.userId, typing: false })
    assert.deepEqual(await next(), [[]])
    await rig.say(rig.bob, roomId, 'done')
    assert.equal(await next(), undefined)
    assert.equal(typingOf((await rig.sync(rig.alice)).rooms?.join?.[roomId]), undefined)
  })

  test('15 and 16: numbers pass as they were sent, and nothing is null that should be absent', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'A room' }, [rig.bob])
    const open = await rig.room(rig.alice, {}, [rig.bob])
    await rig.say(rig.alice, roomId, 'numbers', { largest: Number.MAX_SAFE_INTEGER, smallest: Number.MIN_SAFE_INTEGER })
    await rig.redact(rig.alice, open, await rig.say(rig.alice, open, 'gone'))
    await inviteUser(rig.instance, rig.alice, { roomId: await rig.room(rig.alice), userId: rig.bob.userId })
    await leaveRoom(rig.instance, rig.bob, { roomId: open })
    for (const request of [
      {},
      { since: 's0' },
      { filter: lazy },
      { fullState: true, since: 's0' },
      { stateAfter: 'state_after' as const },
    ]) {
      const text = await rig.syncText(rig.bob, request)
      assert.ok(!/[:[,]null[,}\]]/.test(text), text)
      assert.ok(text.includes(`"largest":${Number.MAX_SAFE_INTEGER},"smallest":${Number.MIN_SAFE_INTEGER}`))
    }
  })

  test('17: sections hold maps and lists only, also where they are empty; nothing of encryption is there yet', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const answer = await rig.sync(rig.alice)
    assert.deepEqual(answer.rooms, { join: {}, invite: {}, knock: {}, leave: {} })
    assert.deepEqual(news(answer), ['account_data', 'rooms'])
    assert.deepEqual(news(await rig.sync(rig.alice, { since: answer.next_batch })), [])
  })
})
