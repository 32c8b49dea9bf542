import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { MatrixError } from '../../src/errors.ts'
import { setInboxState } from '../../src/rooms/inbox-state.ts'
import { banUser, leaveRoom } from '../../src/rooms/membership.ts'
import { sendReceipt, setReadMarkers } from '../../src/rooms/receipts.ts'
import { setTyping, typingIn, typingSince } from '../../src/rooms/typing.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import type { ReceiptRow } from '../../src/storage/tables.ts'
import type { Entry } from '../../src/stream/bus.ts'
import { command } from '../../src/stream/command.ts'
import type { Actor } from '../../src/users/actor.ts'
import { onBothEngines } from '../storage/engines.ts'
import { openRig, type Rig } from './rig.ts'

await onBothEngines('reading and typing', (place) => {
  const errcode = (code: string) => (error: MatrixError) => error.errcode === code

  async function receipts(rig: Rig, user: Actor): Promise<ReceiptRow[]> {
    const row = await rig.instance.storage.first('user', { userId: user.userId })
    return rig.instance.storage.find('receipt', { where: { user: row!.key }, orderBy: ['type', 'thread'] })
  }

  async function accountData(rig: Rig, user: Actor, roomId: string, type: string): Promise<JsonObject | null> {
    const room = await rig.instance.storage.first('room', { roomId })
    const row = await rig.instance.storage.first('accountData', { user: user.user!, room: room!.key, type })
    return row && (JSON.parse(row.content) as JsonObject)
  }

  async function unread(rig: Rig, user: Actor): Promise<number> {
    return (await rig.instance.storage.unreadCounts(user.user!)).reduce((sum, count) => sum + count.notify, 0)
  }

  function listen(rig: Rig): Entry[] {
    const heard: Entry[] = []
    rig.instance.bus.onAny((entry) => heard.push(entry))
    return heard
  }

  describe('receipts', () => {
    test('a receipt clears what is unread up to it, keeps its extra keys, and never moves back', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const bob = await rig.person('bob')
      const roomId = await rig.room(alice, {}, [bob])
      const first = await rig.say(alice, roomId, '1')
      const second = await rig.say(alice, roomId, '2')
      await rig.say(alice, roomId, '3')
      assert.equal(await unread(rig, bob), 3)
      const extra = { 'fi.mau.double_puppet_source': 'echo', ts: 5 }
      await sendReceipt(rig.instance, bob, { roomId, type: 'm.read', eventId: second, extra })
      assert.equal(await unread(rig, bob), 1)
      const row = (await receipts(rig, bob))[0]
      assert.deepEqual([row!.eventId, row!.thread, JSON.parse(row!.extra)], [second, '', { 'fi.mau.double_puppet_source': 'echo' }])
      assert.equal(row!.ts, rig.clock.now, 'only an appservice says when something was read')
      await sendReceipt(rig.instance, bob, { roomId, type: 'm.read', eventId: first })
      assert.equal((await receipts(rig, bob))[0]!.eventId, second)
    })

    test('everybody joined hears of a public receipt, of a private one its owner alone', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const bob = await rig.person('bob')
      const roomId = await rig.room(alice, {}, [bob])
      const eventId = await rig.say(alice, roomId, '1')
      const heard = listen(rig)
      await sendReceipt(rig.instance, bob, { roomId, type: 'm.read.private', eventId })
      await sendReceipt(rig.instance, bob, { roomId, type: 'm.read', eventId })
      assert.deepEqual(
        heard.map((entry) => [entry.kinds.has('receipt'), [...entry.users].sort((a, b) => a - b)]),
        [
          [true, [bob.user]],
          [true, [alice.user!, bob.user!]],
        ],
      )
      assert.deepEqual(
        (await receipts(rig, bob)).map((row) => row.type),
        ['m.read', 'm.read.private'],
      )
    })

    test('who is not joined leaves no receipt, and an unknown event is M_NOT_FOUND', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const bob = await rig.person('bob')
      const roomId = await rig.room(alice, {}, [bob])
      const eventId = await rig.say(alice, roomId, '1')
      await leaveRoom(rig.instance, bob, { roomId })
      const { ghost } = await rig.bridge()
      for (const actor of [bob, await rig.person('carol'), ghost('1')]) {
        await assert.rejects(sendReceipt(rig.instance, actor, { roomId, type: 'm.read', eventId }), errcode('M_FORBIDDEN'))
        await assert.rejects(sendReceipt(rig.instance, actor, { roomId: '!none:x', type: 'm.read', eventId }), errcode('M_FORBIDDEN'))
      }
      assert.equal(await rig.instance.storage.first('user', { userId: ghost('1').userId }), null)
      assert.deepEqual(await receipts(rig, bob), [])
      await assert.rejects(sendReceipt(rig.instance, alice, { roomId, type: 'm.read', eventId: '$none' }), errcode('M_NOT_FOUND'))
      await assert.rejects(sendReceipt(rig.instance, alice, { roomId, type: 'm.odd', eventId }), errcode('M_INVALID_PARAM'))
    })

    test('threaded receipts keep a place of their own and clear their thread only', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const bob = await rig.person('bob')
      const roomId = await rig.room(alice, {}, [bob])
      const root = await rig.say(alice, roomId, 'root')
      const reply = await rig.say(alice, roomId, 'reply', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
      const edit = await rig.say(alice, roomId, '* reply', {
        'm.new_content': {},
        'm.relates_to': { rel_type: 'm.replace', event_id: reply },
      })
      const counts = async (): Promise<Record<string, number>> =>
        Object.fromEntries((await rig.instance.storage.unreadCounts(bob.user!)).map((row) => [row.thread, row.notify]))
      assert.deepEqual(await counts(), { '': 1, [root]: 1 })
      await sendReceipt(rig.instance, bob, { roomId, type: 'm.read', eventId: edit, threadId: root })
      assert.deepEqual(await counts(), { '': 1 })
      await sendReceipt(rig.instance, bob, { roomId, type: 'm.read', eventId: root, threadId: 'main' })
      assert.deepEqual(await counts(), {})
      await sendReceipt(rig.instance, bob, { roomId, type: 'm.read', eventId: root })
      assert.deepEqual((await receipts(rig, bob)).map((row) => row.thread).sort(), ['', root, 'main'].sort())
      for (const threadId of ['', 'x', '$other', 'main']) {
        await assert.rejects(
          sendReceipt(rig.instance, bob, { roomId, type: 'm.read', eventId: reply, threadId }),
          errcode('M_INVALID_PARAM'),
        )
      }
      await assert.rejects(
        sendReceipt(rig.instance, bob, { roomId, type: 'm.fully_read', eventId: reply, threadId: root }),
        errcode('M_INVALID_PARAM'),
      )
    })

    test('m.fully_read is room account data with its extra keys, and moves back only when allowed', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const roomId = await rig.room(alice)
      const first = await rig.say(alice, roomId, '1')
      const second = await rig.say(alice, roomId, '2')
      await setReadMarkers(rig.instance, alice, {
        roomId,
        fullyRead: { eventId: second, extra: { 'fi.mau.double_puppet_source': 'echo' } },
        read: { eventId: first },
      })
      assert.deepEqual(await accountData(rig, alice, roomId, 'm.fully_read'), { 'fi.mau.double_puppet_source': 'echo', event_id: second })
      await sendReceipt(rig.instance, alice, { roomId, type: 'm.fully_read', eventId: first })
      assert.equal((await accountData(rig, alice, roomId, 'm.fully_read'))?.['event_id'], second)
      await sendReceipt(rig.instance, alice, { roomId, type: 'm.fully_read', eventId: first, allowBackward: true })
      assert.equal((await accountData(rig, alice, roomId, 'm.fully_read'))?.['event_id'], first)
      await assert.rejects(
        setReadMarkers(rig.instance, alice, { roomId, fullyRead: { eventId: second }, read: { eventId: '$none' } }),
        errcode('M_NOT_FOUND'),
      )
      assert.equal((await accountData(rig, alice, roomId, 'm.fully_read'))?.['event_id'], first, 'all markers or none')
    })

    test('reading takes the mark of unread away', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const roomId = await rig.room(alice)
      const eventId = await rig.say(alice, roomId, '1')
      await command(rig.instance, (decision) => {
        const room = decision.find('room', { roomId })!
        decision.put('accountData', {
          instance: rig.instance.key,
          user: alice.user!,
          room: room.key,
          type: 'm.marked_unread',
          content: '{"unread":true,"x":1}',
          position: decision.takePosition(),
        })
      })
      await sendReceipt(rig.instance, alice, { roomId, type: 'm.read', eventId })
      assert.deepEqual(await accountData(rig, alice, roomId, 'm.marked_unread'), { unread: false, x: 1 })
    })

    test('a mark of unread goes when a bridge says again how far its user has read, not when it says less', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const roomId = await rig.room(alice)
      const [before, last] = [await rig.say(alice, roomId, '1'), await rig.say(alice, roomId, '2')]
      for (const marker of ['read', 'fullyRead'] as const) {
        await setReadMarkers(rig.instance, alice, { roomId, [marker]: { eventId: last } })
        await setInboxState(rig.instance, alice, { userId: alice.userId, roomId, markedUnread: true })
        await setReadMarkers(rig.instance, alice, { roomId, [marker]: { eventId: before } })
        assert.equal((await accountData(rig, alice, roomId, 'm.marked_unread'))?.['unread'], true)
        await setReadMarkers(rig.instance, alice, { roomId, [marker]: { eventId: last } })
        assert.equal((await accountData(rig, alice, roomId, 'm.marked_unread'))?.['unread'], false)
      }
    })

    test('a ghost’s receipt has the time and the marker that its bridge gave', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const { bot, ghost } = await rig.bridge()
      const owner = await rig.person('owner')
      const roomId = await rig.room(bot, { invite: [owner.userId], initialMembers: [ghost('1').userId] })
      const eventId = await rig.say(owner, roomId, '1')
      const heard = listen(rig)
      await setReadMarkers(rig.instance, ghost('1'), { roomId, read: { eventId, extra: { ts: 123, 'fi.mau.double_puppet_source': 'x' } } })
      const [row] = await receipts(rig, ghost('1'))
      assert.deepEqual([row!.ts, JSON.parse(row!.extra)], [123, { 'fi.mau.double_puppet_source': 'x' }])
      assert.deepEqual(
        heard.map((entry) => [entry.users, entry.appservices]),
        [[[owner.user], [bot.appservice]]],
      )
    })
  })

  describe('typing', () => {
    test('typing is told with a position of its own, ends by itself, and a repeat only puts off the end', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const roomId = await rig.room(alice)
      const room = (await rig.instance.storage.first('room', { roomId }))!.key
      const heard = listen(rig)
      const start = rig.instance.bus.published
      const type = (typing: boolean, timeoutMs?: number): Promise<boolean> =>
        setTyping(rig.instance, alice, { roomId, userId: alice.userId, typing, ...(timeoutMs ? { timeoutMs } : {}) })
      assert.equal(typingSince(rig.instance, room, null, start), null)
      await type(true, 10_000)
      assert.deepEqual(typingIn(rig.instance, room), [alice.userId])
      assert.deepEqual(typingSince(rig.instance, room, start, rig.instance.bus.published), [alice.userId])
      assert.equal(typingSince(rig.instance, room, start, start), null, 'what comes behind `until` is told later')
      rig.clock.move(9_000)
      await type(true, 999_999)
      assert.equal(heard.length, 1)
      rig.clock.move(119_000)
      assert.deepEqual(typingIn(rig.instance, room), [alice.userId])
      const before = rig.instance.bus.published
      rig.clock.move(2_000)
      await new Promise((resolve) => rig.instance.bus.onAny(resolve))
      assert.deepEqual(typingSince(rig.instance, room, before, rig.instance.bus.published), [])
      assert.equal(typingSince(rig.instance, room, null, rig.instance.bus.published), null)
      await type(false)
      assert.equal(heard.length, 2, 'who does not type does not stop either')
    })

    test('nobody types for somebody else or in a room they are not in', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const bob = await rig.person('bob')
      const roomId = await rig.room(alice)
      await assert.rejects(setTyping(rig.instance, alice, { roomId, userId: bob.userId, typing: true }), errcode('M_FORBIDDEN'))
      await assert.rejects(setTyping(rig.instance, bob, { roomId, userId: bob.userId, typing: true }), errcode('M_FORBIDDEN'))
    })

    test('the last word counts, even when the one before is still being written', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const alice = await rig.person('alice')
      const roomId = await rig.room(alice)
      const room = (await rig.instance.storage.first('room', { roomId }))!.key
      const type = (typing: boolean) => setTyping(rig.instance, alice, { roomId, userId: alice.userId, typing })
      await Promise.all([type(true), type(false)])
      assert.deepEqual(typingIn(rig.instance, room), [])
      await Promise.all([type(true), type(false), type(true)])
      assert.deepEqual(typingIn(rig.instance, room), [alice.userId])
    })

    test('who is banned types no more, not even while the ban is still being written', async (t) => {
      const at = await place(t)
      await using rig = await openRig(at)
      const [alice, bob] = [await rig.person('alice'), await rig.person('bob')]
      const roomId = await rig.room(alice, {}, [bob])
      const room = (await rig.instance.storage.first('room', { roomId }))!.key
      const type = () => setTyping(rig.instance, bob, { roomId, userId: bob.userId, typing: true })
      await type()
      assert.deepEqual(typingIn(rig.instance, room), [bob.userId])
      const before = rig.instance.bus.published
      const banned = banUser(rig.instance, alice, { roomId, userId: bob.userId })
      await assert.rejects(type(), errcode('M_FORBIDDEN'))
      await banned
      assert.deepEqual(typingSince(rig.instance, room, before, rig.instance.bus.published), [])
      rig.clock.move(60_000)
      assert.deepEqual(typingIn(rig.instance, room), [])
    })
  })
})
