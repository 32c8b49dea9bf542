// Batches of which the room has a part already: only the rest is added, as if all had come at once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BatchSend, batchSend } from '../../src/rooms/batch-send.ts'
import { sendReceipt } from '../../src/rooms/receipts.ts'
import { redact } from '../../src/rooms/redact.ts'
import { sendMessage } from '../../src/rooms/send.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { onBothEngines } from '../storage/engines.ts'
import { type Event, read, readEvent } from './reading.ts'
import { openRig, type Rig } from './rig.ts'

const ghost = '@_ghost_1:beeper.local'
type BatchEvent = BatchSend['events'][number]

const message = (name: string, content: JsonObject = { body: name }): BatchEvent => {
  return { type: 'm.room.message', sender: ghost, ts: 1_600_000_000_000, eventId: `$${name}`, content }
}
const messages = (...names: string[]) => names.map((name) => message(name))
const redaction = (name: string, redacts: string): BatchEvent => ({
  ...message(name, {}),
  type: 'm.room.redaction',
  redacts: `$${redacts}`,
})
const reaction = (name: string, to: string, key = '👍'): BatchEvent => {
  const content = { 'm.relates_to': { rel_type: 'm.annotation', event_id: `$${to}`, key } }
  return { ...message(name, content), type: 'm.reaction' }
}

async function portal(rig: Rig) {
  const { bot, ghost: as } = await rig.bridge()
  const owner = await rig.person('owner')
  const roomId = await rig.room(bot, { initialMembers: [owner.userId, ghost] })
  /** `standing`: names under which the room has reactions of the batch, by those in it */
  const send = async (events: readonly BatchEvent[], more: Partial<BatchSend> = {}, standing: Record<string, string> = {}) => {
    const { eventIds } = await batchSend(rig.instance, bot, { roomId, events, ...more })
    const expected = events.map(({ eventId }) => eventId!.slice(1)).map((name) => `$${standing[name] ?? name}`)
    assert.deepEqual(eventIds, expected)
  }
  const event = async (name: string) => JSON.parse(await readEvent(rig.instance, owner, { roomId, eventId: `$${name}` })) as Event
  /** the oldest first, without sigils */
  const names = async () => {
    const { chunk } = await read(rig.instance, owner, roomId, { limit: 1_000 })
    return chunk.flatMap(({ state_key, event_id }) => (state_key === undefined ? event_id.slice(1) : [])).toReversed()
  }
  return { bot, ghost: as('1'), owner, roomId, send, event, names }
}

await onBothEngines('batches that the room has in part', (place) => {
  test('of a batch for the live end whose first events are there only the rest is appended, behind what came since', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, names, owner, roomId } = await portal(rig)
    await send(messages('a', 'b', 'c'), { forward: true })
    await send(messages('b', 'c', 'd'), { forward: true })
    assert.deepEqual(await names(), ['a', 'b', 'c', 'd'])
    const said = (await rig.say(owner, roomId, 'since')).slice(1)
    // What stands between two events of the batch does not matter.
    await send(messages('a', 'd', 'e'), { forward: true, forwardIfNoMessages: true })
    assert.deepEqual(await names(), ['a', 'b', 'c', 'd', said, 'e'])
  })

  test('of a batch of history whose last events are there only the rest is prepended, also when those came live', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, names } = await portal(rig)
    await send(messages('y', 'z'), { forwardIfNoMessages: true })
    await send(messages('w', 'x', 'y', 'z'), { forwardIfNoMessages: true })
    await send(messages('v', 'w', 'x', 'y'))
    assert.deepEqual(await names(), ['v', 'w', 'x', 'y', 'z'])
    const { lowest } = (await rig.instance.storage.first('room', {}))!
    assert.equal(lowest, -3)
  })

  test('overlap in the middle, at the other end, in another order or with other content is refused and changes nothing', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, names, roomId, owner } = await portal(rig)
    await send(messages('a', 'b', 'c'), { forward: true })
    const { chunk } = await read(rig.instance, owner, roomId, { limit: 1_000 })
    const { event_id: eventId, type, sender, content } = chunk.find((event) => event.type === 'm.room.power_levels')!
    const before = rig.instance.bus.published
    const made = { ...message('made'), eventId: null }
    const refused: [readonly BatchEvent[], boolean][] = [
      [messages('new', 'b', 'other'), true],
      [messages('new', 'b', 'other'), false],
      [messages('new', 'a', 'b'), true],
      [messages('b', 'c', 'new'), false],
      [messages('a', 'new', 'b'), true],
      [messages('a', 'new', 'b'), false],
      [messages('b', 'a', 'new'), true],
      [messages('new', 'b', 'a'), false],
      [messages('c', 'b', 'a'), true],
      [[message('a', { body: 'other' }), message('new')], true],
      [[message('new'), { ...message('c'), ts: 5 }], false],
      [[{ ...message('a'), sender: '@_ghost_2:beeper.local' }, message('new')], true],
      [[reaction('a', 'b'), message('new')], true],
      [[{ eventId, type, sender, content }, message('new')], true],
      [[message('a'), made], true],
      [[made, message('c')], false],
    ]
    for (const [events, forward] of refused) {
      const what = JSON.stringify([events.map(({ eventId }) => eventId), forward])
      await assert.rejects(send(events, { forward, markReadBy: owner.userId }), { errcode: 'M_INVALID_PARAM' }, what)
    }
    assert.deepEqual(await names(), ['a', 'b', 'c'])
    assert.equal(rig.instance.bus.published, before)
  })

  test('a redaction in the rest empties what the room has of the batch, and one that the room has empties what comes before it', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, event, names } = await portal(rig)
    await send([message('a'), reaction('liked', 'a'), message('b')], { forward: true })
    await send([message('a'), reaction('liked', 'a'), message('b'), redaction('r1', 'a'), redaction('r2', 'liked')], { forward: true })
    for (const [name, by] of [
      ['a', '$r1'],
      ['liked', '$r2'],
    ] as const) {
      const { content, unsigned } = await event(name)
      assert.deepEqual([content, (unsigned['redacted_because'] as JsonObject)['event_id']], [{}, by])
    }
    assert.deepEqual((await event('b')).content, { body: 'b' })
    assert.equal(await rig.instance.storage.count('relation', {}), 0)

    const tail = [message('y'), redaction('r3', 'x'), redaction('r4', 'y')]
    await send(tail)
    await send([redaction('r0', 'y'), message('w'), message('x'), ...tail])
    const { content, unsigned } = await event('x')
    assert.deepEqual([content, (unsigned['redacted_because'] as JsonObject)['event_id']], [{}, '$r3'])
    assert.deepEqual((await event('w')).content, { body: 'w' })
    assert.equal(((await event('y')).unsigned['redacted_because'] as JsonObject)['event_id'], '$r4', 'not by what came before it')
    assert.deepEqual(await names(), ['r0', 'w', 'x', 'y', 'r3', 'r4', 'a', 'liked', 'b', 'r1', 'r2'])
  })

  test('a redaction in the rest without the right to it refuses the whole batch', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, event, names } = await portal(rig)
    await send(messages('a', 'b'), { forward: true })
    const foreign = { ...redaction('no', 'a'), sender: '@_ghost_2:beeper.local' }
    await assert.rejects(send([...messages('a', 'b', 'c'), foreign], { forward: true }), { errcode: 'M_FORBIDDEN' })
    assert.deepEqual([await names(), (await event('a')).content], [['a', 'b'], { body: 'a' }])
  })

  test('a redaction that the room has already is not asked again for its right', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, names, bot, roomId } = await portal(rig)
    const batch = [message('a'), { ...redaction('r', 'a'), sender: bot.userId }, message('b')]
    await send(batch, { forward: true })
    await rig.state(bot, roomId, 'm.room.power_levels', { redact: 100, users: {} })
    await send([...batch, message('c')], { forward: true })
    await assert.rejects(send([message('c'), { ...redaction('r2', 'b'), sender: bot.userId }], { forward: true }), {
      errcode: 'M_FORBIDDEN',
    })
    assert.deepEqual(await names(), ['a', 'r', 'b', 'c'])
  })

  test('reactions that come again under new ids, wherever they stand, are answered with the ids that the room knows', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, names, owner } = await portal(rig)
    const first = [message('a'), reaction('a1', 'a'), message('b'), reaction('b1', 'b')]
    await send(first, { forward: true })
    const again = [message('a'), reaction('a2', 'a'), message('b'), reaction('b2', 'b')]
    await send(again, { forward: true }, { a2: 'a1', b2: 'b1' })
    await send(again, {}, { a2: 'a1', b2: 'b1' })
    assert.deepEqual(await names(), ['a', 'a1', 'b', 'b1'])
    const other = { ...reaction('b3', 'b'), sender: '@_ghost_2:beeper.local' }
    const more = [message('a'), reaction('a4', 'a'), message('b'), other, reaction('b4', 'b'), message('c')]
    await send(more, { forward: true }, { a4: 'a1', b4: 'b1' })
    assert.deepEqual(await names(), ['a', 'a1', 'b', 'b1', 'b3', 'c'])
    await send([reaction('a5', 'a')], { forward: true }, { a5: 'a1' })

    await send([message('y'), reaction('y1', 'y')])
    const moved = [message('x'), reaction('x1', 'x'), message('y'), reaction('y2', 'y')]
    await send(moved, { markReadBy: owner.userId }, { y2: 'y1' })
    assert.deepEqual(await names(), ['x', 'x1', 'y', 'y1', 'a', 'a1', 'b', 'b1', 'b3', 'c'])
    const receipts = await rig.instance.storage.find('receipt', { where: { type: 'm.read' } })
    assert.deepEqual(
      receipts.map(({ eventId }) => eventId),
      ['$y'],
    )
  })

  test('a reaction that is new among what is there comes with the rest, or alone, and is there once when all comes again', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, names, event, owner, roomId } = await portal(rig)
    const forward = { forward: true }
    await send(messages('a', 'b'), forward)
    const said = (await rig.say(owner, roomId, 'since')).slice(1)
    const alone = [message('a'), reaction('liked', 'a'), message('b')]
    for (const _ of ['once', 'again']) await send(alone, forward)
    assert.deepEqual(await names(), ['a', 'b', said, 'liked'])
    const withMore = [message('a'), reaction('liked', 'a'), reaction('other', 'a', '❤'), message('b'), message('c'), reaction('new', 'c')]
    for (const _ of ['once', 'again']) await send(withMore, forward)
    assert.deepEqual(await names(), ['a', 'b', said, 'liked', 'other', 'c', 'new'])

    await send(messages('y', 'z'))
    const older = [message('x'), message('y'), reaction('early', 'y'), message('z')]
    for (const _ of ['once', 'again']) await send(older)
    assert.deepEqual((await names()).slice(0, 5), ['x', 'early', 'y', 'z', 'a'])
    for (const [name, to] of [
      ['liked', 'a'],
      ['early', 'y'],
    ] as const) {
      assert.equal(((await event(name)).content['m.relates_to'] as JsonObject)['event_id'], `$${to}`)
    }
    assert.equal(await rig.instance.storage.count('relation', { relType: 'm.annotation' }), 4)
  })

  test('a reaction that was taken back may be given again, and one by a person counts as its own', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, names, roomId, owner, ghost: sender } = await portal(rig)
    const forward = { forward: true }
    const batch = (name: string) => [message('a'), reaction(name, 'a')]
    await send(batch('a1'), forward)
    await redact(rig.instance, sender, { roomId, eventId: '$a1', txnId: 't', content: {} })
    await send(batch('a2'), forward)
    await send(batch('a3'), forward, { a3: 'a2' })
    await send([message('a'), { ...reaction('mine', 'a'), sender: owner.userId }], forward)
    assert.deepEqual(
      (await names()).filter((name) => ['a', 'a1', 'a2', 'a3', 'mine'].includes(name)),
      ['a', 'a1', 'a2', 'mine'],
    )
  })

  test('what a redaction stood behind when it came, it empties also when that is new among what is there', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, event } = await portal(rig)
    await send([message('a'), redaction('r', 'liked'), message('b')], { forward: true })
    await send([message('a'), reaction('liked', 'a'), redaction('r', 'liked'), message('b')], { forward: true })
    const { content, unsigned } = await event('liked')
    assert.deepEqual([content, (unsigned['redacted_because'] as JsonObject)['event_id']], [{}, '$r'])
    assert.equal(await rig.instance.storage.count('relation', {}), 0)
  })

  test('what a status has changed in its message does not make another one of it', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, bot, roomId, event, names } = await portal(rig)
    await send(messages('a', 'b'), { forward: true })
    const report = (more: JsonObject) =>
      sendMessage(rig.instance, bot, {
        roomId,
        type: 'com.beeper.message_send_status',
        txnId: JSON.stringify(more),
        content: { 'm.relates_to': { rel_type: 'm.reference', event_id: '$a' }, ...more },
      })
    await report({ mutate_event_key: 'body', body: 'changed' })
    await report({ mutate_event_key: 'com.example.new', 'com.example.new': [1] })
    await send(messages('a', 'b', 'c'), { forward: true })
    assert.deepEqual((await event('a')).content, { body: 'changed', 'com.example.new': [1] })
    const refused = { errcode: 'M_INVALID_PARAM' }
    await assert.rejects(send([message('a', { body: 'a', more: 1 }), message('d')], { forward: true }), refused)
    await assert.rejects(send([message('b', { body: 'changed' }), message('d')], { forward: true }), refused)
    assert.deepEqual(
      (await names()).filter((name) => name.length === 1),
      ['a', 'b', 'c'],
    )
  })

  test('what was encrypted anew counts as there, and the first ciphertext stays', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, names, event } = await portal(rig)
    const encrypted = (name: string, ciphertext: string) => ({ ...message(name, { ciphertext }), type: 'm.room.encrypted' })
    await send([encrypted('a', 'one'), encrypted('b', 'two')], { forward: true })
    await send([encrypted('a', 'three'), encrypted('b', 'four'), encrypted('c', 'five')], { forward: true })
    assert.deepEqual(await names(), ['a', 'b', 'c'])
    assert.deepEqual((await event('a')).content, { ciphertext: 'one' })
    await assert.rejects(send([message('a', { ciphertext: 'one' }), encrypted('d', '')], { forward: true }), { errcode: 'M_INVALID_PARAM' })
  })

  test('what was emptied since counts as there, and stays empty', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, event, names, roomId, ghost: sender } = await portal(rig)
    await send([message('a'), reaction('liked', 'a'), message('b')], { forward: true })
    for (const eventId of ['$liked', '$b']) await redact(rig.instance, sender, { roomId, eventId, txnId: eventId, content: {} })
    await send([message('a'), reaction('liked', 'a'), message('b'), message('c')], { forward: true })
    await send([message('z'), message('a'), reaction('liked', 'a'), message('b')])
    assert.deepEqual([(await event('liked')).content, (await event('b')).content, (await event('c')).content], [{}, {}, { body: 'c' }])
    assert.equal(await rig.instance.storage.count('relation', {}), 0)
    const there = await names()
    assert.deepEqual([there.length, there[0], there.at(-1)], [7, 'z', 'c'])
  })

  test('the rest may relate to what the room has of the batch, whose own relations count once', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, event } = await portal(rig)
    const reply = (name: string) => message(name, { body: name, 'm.relates_to': { rel_type: 'm.thread', event_id: '$root' } })
    await send([message('root'), reply('one'), reaction('liked', 'one')], { forward: true })
    await send([message('root'), reply('one'), reaction('liked', 'one'), reply('two'), reaction('too', 'root')], { forward: true })
    const thread = ((await event('root')).unsigned['m.relations'] as JsonObject)['m.thread'] as JsonObject
    assert.deepEqual([thread['count'], (thread['latest_event'] as JsonObject)['event_id']], [2, '$two'])
    assert.equal(await rig.instance.storage.count('relation', { relType: 'm.annotation' }), 2)
  })

  test('mark_read_by marks the end of the whole batch, and only what is new notifies', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, owner, names, roomId } = await portal(rig)
    const receipts = async () => (await rig.instance.storage.find('receipt', { where: { type: 'm.read' } })).map(({ eventId }) => eventId)
    const unread = () => rig.instance.storage.count('notification', {})
    const notifying = { forward: true, sendNotification: true }
    await send(messages('a', 'b'), notifying)
    assert.equal(await unread(), 1)
    await sendReceipt(rig.instance, owner, { roomId, type: 'm.read', eventId: '$b' })
    await send([message('a'), message('b'), reaction('liked', 'b')], notifying)
    assert.equal(await unread(), 0, 'the newest message is an old one')
    await send([message('b'), reaction('liked', 'b'), message('c'), message('d')], notifying)
    assert.equal(await unread(), 1)
    await send([message('z'), message('a'), message('b'), reaction('liked', 'b')], { markReadBy: owner.userId })
    assert.deepEqual([await receipts(), await unread()], [['$liked'], 1])
    await send(messages('d', 'e'), { ...notifying, markReadBy: owner.userId })
    assert.deepEqual([await receipts(), await unread()], [['$e'], 0])
    assert.deepEqual(await names(), ['z', 'a', 'b', 'liked', 'c', 'd', 'e'])
  })

  test('mark_read_by counts also for a batch that is there completely, and takes nobody back', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, owner, names } = await portal(rig)
    const receipts = async () => (await rig.instance.storage.find('receipt', { where: { type: 'm.read' } })).map(({ eventId }) => eventId)
    const unread = () => rig.instance.storage.count('notification', {})
    await send(messages('a', 'b'), { forward: true, sendNotification: true })
    assert.equal(await unread(), 1)
    await send(messages('a', 'b'), { forward: true, markReadBy: owner.userId })
    assert.deepEqual([await receipts(), await unread()], [['$b'], 0])
    const { published } = rig.instance.bus
    await send(messages('a', 'b'), { forward: true, markReadBy: owner.userId })
    await send(messages('a'), { markReadBy: owner.userId })
    assert.deepEqual([await receipts(), rig.instance.bus.published], [['$b'], published])
    // Of a reaction that stands elsewhere under another id nothing is read.
    await send(messages('c'), { forward: true })
    await send([reaction('late', 'a')], { forward: true })
    await send([message('c'), reaction('later', 'a')], { forward: true, markReadBy: owner.userId }, { later: 'late' })
    assert.deepEqual(await receipts(), ['$c'])
    await assert.rejects(send(messages('c'), { forward: true, markReadBy: '@stranger:example.com' }), { errcode: 'M_FORBIDDEN' })
    assert.deepEqual(await names(), ['a', 'b', 'c', 'late'])
  })
})
