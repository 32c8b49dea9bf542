/** What is somebody's own, or passes: unread counts, receipts, typing, account data; and what `unsigned` says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setPushRuleEnabled } from '../../src/rooms/push-rule-change.ts'
import { sendReceipt } from '../../src/rooms/receipts.ts'
import { removeTag, setRoomAccountData, setTag } from '../../src/rooms/room-account-data.ts'
import { setTyping } from '../../src/rooms/typing.ts'
import { setAccountData } from '../../src/users/account-data.ts'
import { onBothEngines } from '../storage/engines.ts'
import { bodies, news, nothingNew, type RoomBlock, SyncRig } from './rig.ts'

await onBothEngines('private data in sync', (place) => {
  const threads = { room: { timeline: { unread_thread_notifications: true } } }

  function receipts(block: RoomBlock | undefined): unknown[] {
    return (block?.ephemeral?.events ?? []).filter(({ type }) => type === 'm.receipt').map(({ content }) => content)
  }

  test('counts come with the event that they count; own events never count', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    let since = await rig.now(rig.alice)
    const next = async () => {
      const answer = await rig.sync(rig.alice, { since })
      since = answer.next_batch
      return answer.rooms?.join?.[roomId]?.unread_notifications
    }
    await rig.say(rig.bob, roomId, 'one')
    assert.deepEqual(await next(), { notification_count: 1, highlight_count: 0 })
    await rig.say(rig.bob, roomId, 'two', { 'm.mentions': { user_ids: [rig.alice.userId] } })
    assert.deepEqual(await next(), { notification_count: 2, highlight_count: 1 })
    // Clients take sending for reading.
    await rig.say(rig.alice, roomId, 'mine')
    assert.deepEqual(await next(), { notification_count: 0, highlight_count: 0 })
    await rig.say(rig.alice, roomId, 'mine')
    assert.deepEqual(await next(), { notification_count: 0, highlight_count: 0 })
  })

  test('what was redacted is nothing to read any more', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const ids = [
      await rig.say(rig.bob, roomId, 'one', { 'm.mentions': { user_ids: [rig.alice.userId] } }),
      await rig.say(rig.bob, roomId, 'two'),
    ]
    const counts = async (filter = {}) => (await rig.sync(rig.alice, filter)).rooms?.join?.[roomId]?.unread_notifications
    assert.deepEqual(await counts(), { notification_count: 2, highlight_count: 1 })
    const since = await rig.now(rig.alice)
    await rig.redact(rig.bob, roomId, ids[0]!)
    assert.deepEqual(await counts({ since }), { notification_count: 1, highlight_count: 0 })
    await rig.restart()
    await rig.redact(rig.bob, roomId, ids[1]!)
    assert.deepEqual(await counts({ since }), { notification_count: 0, highlight_count: 0 })
    await rig.say(rig.bob, roomId, 'three')
    assert.deepEqual(await counts(), { notification_count: 1, highlight_count: 0 })
  })

  test('reading brings the room with its new counts though nothing was said, after a restart as well', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const eventId = await rig.say(rig.bob, roomId, 'x')
    const since = await rig.now(rig.alice)
    await sendReceipt(rig.instance, rig.alice, { roomId, type: 'm.read.private', eventId })
    for (const filter of [{}, { room: { ephemeral: { types: [] } } }]) {
      for (let twice = 0; twice < 2; twice++) {
        const block = (await rig.sync(rig.alice, { since, filter })).rooms?.join?.[roomId]
        assert.deepEqual(block?.unread_notifications, { notification_count: 0, highlight_count: 0 })
        assert.deepEqual(block?.timeline.events, [])
        await rig.restart()
      }
    }
  })

  test('a threaded receipt clears its thread, an unthreaded one everything', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const root = await rig.say(rig.alice, roomId, 'root')
    const inThread = await rig.say(rig.bob, roomId, 'x', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
    const inRoom = await rig.say(rig.bob, roomId, 'y')
    const counts = async () => {
      const block = (await rig.sync(rig.alice, { filter: threads })).rooms?.join?.[roomId]
      return [block?.unread_notifications?.notification_count, block?.unread_thread_notifications]
    }
    assert.deepEqual(await counts(), [1, { [root]: { notification_count: 1, highlight_count: 0 } }])
    await sendReceipt(rig.instance, rig.alice, { roomId, type: 'm.read', eventId: inThread, threadId: root })
    assert.deepEqual(await counts(), [1, {}])
    await rig.say(rig.bob, roomId, 'z', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
    await sendReceipt(rig.instance, rig.alice, { roomId, type: 'm.read', eventId: inRoom })
    assert.deepEqual(await counts(), [0, { [root]: { notification_count: 1, highlight_count: 0 } }])
  })

  test('receipts: all at first, then what moved; one per thread', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const root = await rig.say(rig.alice, roomId, 'root')
    const inThread = await rig.say(rig.alice, roomId, 'x', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
    const first = await rig.sync(rig.alice)
    assert.deepEqual(receipts(first.rooms?.join?.[roomId]), [])
    await sendReceipt(rig.instance, rig.bob, { roomId, type: 'm.read', eventId: root, threadId: 'main' })
    await sendReceipt(rig.instance, rig.bob, { roomId, type: 'm.read', eventId: inThread, threadId: root })
    const both = {
      [root]: { 'm.read': { [rig.bob.userId]: { ts: rig.clock.now, thread_id: 'main' } } },
      [inThread]: { 'm.read': { [rig.bob.userId]: { ts: rig.clock.now, thread_id: root } } },
    }
    const second = await rig.sync(rig.alice, { since: first.next_batch })
    assert.deepEqual(receipts(second.rooms?.join?.[roomId]), [both])
    assert.deepEqual(second.rooms?.join?.[roomId]?.timeline, { events: [], limited: false, prev_batch: second.next_batch })
    const later = await rig.say(rig.alice, roomId, 'later')
    await sendReceipt(rig.instance, rig.bob, { roomId, type: 'm.read', eventId: later, threadId: 'main' })
    const third = await rig.sync(rig.alice, { since: second.next_batch })
    const moved = { [later]: { 'm.read': { [rig.bob.userId]: { ts: rig.clock.now, thread_id: 'main' } } } }
    assert.deepEqual(receipts(third.rooms?.join?.[roomId]), [moved])
    assert.deepEqual(receipts((await rig.sync(rig.alice)).rooms?.join?.[roomId]), [{ [inThread]: both[inThread], ...moved }])
  })

  test('a private receipt is its owner’s alone, and wakes nobody else', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const eventId = await rig.say(rig.alice, roomId, 'x')
    const since = await rig.now(rig.alice)
    await sendReceipt(rig.instance, rig.bob, { roomId, type: 'm.read.private', eventId })
    assert.deepEqual(news(await rig.sync(rig.alice, { since })), [])
    assert.deepEqual(receipts((await rig.sync(rig.alice)).rooms?.join?.[roomId]), [])
    const own = { [eventId]: { 'm.read.private': { [rig.bob.userId]: { ts: rig.clock.now } } } }
    assert.deepEqual(receipts((await rig.sync(rig.bob, { since })).rooms?.join?.[roomId]), [own])
  })

  test('receipts and typing of ignored users are not shown', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const eventId = await rig.say(rig.alice, roomId, 'x')
    const content = { ignored_users: { [rig.bob.userId]: {} } }
    await setAccountData(rig.instance, rig.alice, { userId: rig.alice.userId, type: 'm.ignored_user_list', content })
    const since = await rig.now(rig.alice)
    await sendReceipt(rig.instance, rig.bob, { roomId, type: 'm.read', eventId })
    await setTyping(rig.instance, rig.bob, { roomId, userId: rig.bob.userId, typing: true })
    assert.ok(!JSON.stringify(await rig.sync(rig.alice, { since })).includes(rig.bob.userId))
  })

  test('what is said while a sync is being answered counts in the next one', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const since = await rig.now(rig.alice)
    await rig.say(rig.bob, roomId, 'one')
    const { storage } = rig.instance
    const count = storage.unreadCounts
    const mocked = t.mock.method(storage, 'unreadCounts', async (...args: Parameters<typeof count>) => {
      mocked.mock.restore()
      await rig.say(rig.bob, roomId, 'two')
      return count(...args)
    })
    const first = await rig.sync(rig.alice, { since })
    const next = await rig.sync(rig.alice, { since: first.next_batch })
    const shown = [first, next].map((answer) => {
      const block = answer.rooms?.join?.[roomId]
      return [bodies(block?.timeline.events), block?.unread_notifications?.notification_count]
    })
    assert.deepEqual(shown, [
      [['one'], 1],
      [['two'], 2],
    ])
  })

  test('typing ends by itself, and that is told', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    await setTyping(rig.instance, rig.bob, { roomId, userId: rig.bob.userId, typing: true, timeoutMs: 5_000 })
    const since = await rig.now(rig.alice)
    const waiting = rig.sync(rig.alice, { since, timeoutMs: 30_000 })
    await new Promise((resolve) => setTimeout(resolve, 20))
    rig.clock.move(5_001)
    const block = (await waiting).rooms?.join?.[roomId]
    assert.deepEqual(block?.ephemeral?.events, [{ type: 'm.typing', content: { user_ids: [] } }])
  })

  test('typing that a restart cut off is told to have ended, once, in the rooms where it was likely seen', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const rooms: string[] = []
    for (let i = 0; i < 52; i++) rooms.push(await rig.room(rig.alice, {}, i === 51 ? [rig.bob] : []))
    await setTyping(rig.instance, rig.bob, { roomId: rooms[51]!, userId: rig.bob.userId, typing: true })
    const since = await rig.now(rig.alice)
    await rig.restart()
    const { next_batch: next, rooms: told } = await rig.sync(rig.alice, { since })
    assert.deepEqual(told?.join?.[rooms[51]!]?.ephemeral?.events, [{ type: 'm.typing', content: { user_ids: [] } }])
    assert.equal(Object.keys(told?.join ?? {}).length, 50)
    assert.deepEqual(await rig.sync(rig.alice, { since: next }), nothingNew(next))
  })

  test('account data: all at first with push rules, then what changed; tags also when emptied', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const { userId } = rig.alice
    await setAccountData(rig.instance, rig.alice, { userId, type: 'm.direct', content: {} })
    await setRoomAccountData(rig.instance, rig.alice, { userId, roomId, type: 'org.example', content: { a: null } })
    const initial = await rig.sync(rig.alice)
    assert.deepEqual(initial.account_data?.events.map(({ type }) => type).toSorted(), ['m.direct', 'm.push_rules'])
    const rules = initial.account_data?.events.find(({ type }) => type === 'm.push_rules')?.content['global'] as Record<string, unknown>
    assert.deepEqual(Object.keys(rules).toSorted(), ['content', 'override', 'room', 'sender', 'underride'])
    assert.deepEqual(initial.rooms?.join?.[roomId]?.account_data?.events, [{ type: 'org.example', content: { a: null } }])
    await setTag(rig.instance, rig.alice, { userId, roomId, tag: 'm.favourite', content: { order: 1 } })
    await removeTag(rig.instance, rig.alice, { userId, roomId, tag: 'm.favourite' })
    await setPushRuleEnabled(rig.instance, rig.alice, { kind: 'override', ruleId: '.m.rule.master', enabled: true } as never)
    const next = await rig.sync(rig.alice, { since: initial.next_batch })
    assert.deepEqual(next.rooms?.join?.[roomId]?.account_data?.events, [{ type: 'm.tag', content: { tags: {} } }])
    assert.deepEqual(
      next.account_data?.events.map(({ type }) => type),
      ['m.push_rules'],
    )
    const whole = await rig.sync(rig.alice, { since: next.next_batch, fullState: true })
    assert.deepEqual(whole.account_data?.events.map(({ type }) => type).toSorted(), ['m.direct', 'm.push_rules'])
  })

  test('m.fully_read is room account data, echoed', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const eventId = await rig.say(rig.alice, roomId, 'x')
    const since = await rig.now(rig.alice)
    await sendReceipt(rig.instance, rig.alice, { roomId, type: 'm.fully_read', eventId })
    const block = (await rig.sync(rig.alice, { since })).rooms?.join?.[roomId]
    assert.deepEqual(block?.account_data?.events, [{ type: 'm.fully_read', content: { event_id: eventId } }])
  })

  test('unsigned: age, the own transaction id on the own device, membership, what state replaced', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'one' }, [rig.bob])
    const since = await rig.now(rig.alice)
    await rig.say(rig.alice, roomId, 'x')
    await rig.set(rig.alice, roomId, 'm.room.name', { name: 'two' })
    rig.clock.move(1_000)
    const of = async (actor: typeof rig.alice) =>
      (await rig.sync(actor, { since })).rooms?.join?.[roomId]?.timeline.events.map((event) => event.unsigned)
    const [said, named] = (await of(rig.alice)) ?? []
    assert.equal(said?.['age'], 1_000)
    assert.equal(said?.['membership'], 'join')
    assert.equal(typeof said?.['transaction_id'], 'string')
    assert.deepEqual(named?.['prev_content'], { name: 'one' })
    for (const other of [rig.bob, { ...rig.alice, device: 'OTHER' }]) {
      for (const unsigned of (await of(other)) ?? []) assert.equal(unsigned?.['transaction_id'], undefined)
    }
    assert.ok(!JSON.stringify(await rig.sync(rig.alice, { since })).includes('"room_id"'))
  })

  test('edits and threads are bundled where a timeline begins anew, and only there', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const original = await rig.say(rig.alice, roomId, 'first')
    const since = await rig.now(rig.alice)
    const edit = await rig.say(rig.alice, roomId, '* second', {
      'm.relates_to': { rel_type: 'm.replace', event_id: original },
      'm.new_content': { msgtype: 'm.text', body: 'second' },
    })
    const find = (block: RoomBlock | undefined, id: string) => block?.timeline.events.find((event) => event.event_id === id)
    const initial = find((await rig.sync(rig.alice)).rooms?.join?.[roomId], original)
    const relations = initial?.unsigned?.['m.relations'] as { 'm.replace': { event_id: string } } | undefined
    assert.equal(relations?.['m.replace'].event_id, edit)
    assert.equal(initial?.content['body'], 'first')
    const live = (await rig.sync(rig.alice, { since })).rooms?.join?.[roomId]
    assert.equal(find(live, edit)?.unsigned?.['m.relations'], undefined)
  })
})
