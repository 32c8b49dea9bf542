// All that somebody said in a room, redacted with a few requests: what a request reads and writes, and what others do meanwhile.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchSend } from '../../src/rooms/batch-send.ts'
import { redactUser } from '../../src/rooms/redact-user.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'
import { onBothEngines, type Place } from '../storage/engines.ts'
import { openRig, type Rig } from './rig.ts'

await onBothEngines('what redacting all of a person reads and writes', (place) => {
  test('the next request goes on where the last one stopped, after what came since', async (t) => {
    await using rig = await openRig(await place(t))
    const { instance } = rig
    const { bot, ghost } = await rig.bridge()
    const owner = await rig.person('owner')
    const spammer = ghost('1')
    const roomId = await rig.room(bot, { initialMembers: [owner.userId, spammer.userId] })
    await fill(rig, bot, roomId, spammer.userId, 3)
    await fill(rig, bot, roomId, '@_ghost_2:beeper.local', 5_000)
    const reads = countReads(instance)
    const ask = () => redactUser(instance, bot, { roomId, userId: spammer.userId, limit: 1 })

    assert.deepEqual(await ask(), { total: 1, more: true })
    assert.ok(reads() >= 5, 'gone through')
    const late = await rig.say(spammer, roomId, 'late')
    assert.deepEqual(await ask(), { total: 1, more: true })
    assert.ok(
      (await instance.storage.first('event', { room: await keyOf(instance, roomId), eventId: late }))?.redactedBy,
      'the newest first',
    )
    const before = reads()
    assert.ok(before <= 3, `${before} reads`)
    assert.deepEqual(await ask(), { total: 1, more: true })
    assert.deepEqual(await ask(), { total: 1, more: false })
    assert.ok(reads() <= 4)
    // Gone through to its end, it is gone through again: somebody may have come back to the room meanwhile.
    assert.deepEqual(await ask(), { total: 0, more: false })
    assert.ok(reads() >= 5)
  })

  test('a request that found nothing in 200 000 events says that there may be more, and the next one goes on there', async (t) => {
    await using rig = await openRig(await place(t))
    const { instance } = rig
    const { bot, ghost } = await rig.bridge()
    const spammer = ghost('1')
    const roomId = await rig.room(bot, { initialMembers: [spammer.userId] })
    const eventId = await rig.say(spammer, roomId, 'old')
    const room = await keyOf(instance, roomId)
    const row = (await instance.storage.first('event', { room, eventId }))!
    const order = -250_000
    await command(instance, (decision) => {
      decision.remove('event', row)
      decision.put('event', { ...row, order })
    })
    pretendEventsDownTo(instance, order)
    const ask = () => redactUser(instance, bot, { roomId, userId: spammer.userId })
    assert.deepEqual(await ask(), { total: 0, more: true })
    assert.deepEqual(await ask(), { total: 1, more: false })
    assert.equal((await instance.storage.first('event', { room, order }))?.redactedBy, instance.bus.published)
  })

  test('large events and long reasons make a request take fewer, but never none', async (t) => {
    await using rig = await openRig(await place(t))
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {}, [bob])
    for (let i = 0; i < 6; i++) await rig.say(bob, roomId, 'x'.repeat(60_000))
    assert.deepEqual(await redactUser(rig.instance, alice, { roomId, userId: bob.userId }), { total: 4, more: true })
    assert.deepEqual(await redactUser(rig.instance, alice, { roomId, userId: bob.userId }), { total: 2, more: false })
    for (let i = 0; i < 6; i++) await rig.say(bob, roomId, 'short')
    const reason = 'x'.repeat(60_000)
    assert.deepEqual(await redactUser(rig.instance, alice, { roomId, userId: bob.userId, reason }), { total: 4, more: true })
    assert.deepEqual(await redactUser(rig.instance, alice, { roomId, userId: bob.userId, reason }), { total: 2, more: false })
  })

  test('asked for twice at once, every event is redacted once', async (t) => {
    await using rig = await openRig(await place(t))
    const { instance } = rig
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {}, [bob])
    for (let i = 0; i < 40; i++) await rig.say(bob, roomId, `${i}`)
    const ask = (actor: Actor) => redactUser(instance, actor, { roomId, userId: bob.userId, limit: 100 })
    const answers = await Promise.all([ask(alice), ask(bob), rig.say(bob, roomId, 'meanwhile'), ask(alice)])
    const totals = answers.map((answer) => (typeof answer === 'string' ? 0 : answer.total))
    const rest = await ask(alice)
    assert.equal(
      totals.reduce((sum, total) => sum + total, rest.total),
      41,
    )
    const room = await keyOf(instance, roomId)
    const redactions = await instance.storage.find('event', { where: { room, type: 'm.room.redaction' } })
    const targets = redactions.map(({ json }) => (JSON.parse(json) as { redacts: string }).redacts)
    assert.deepEqual([targets.length, new Set(targets).size], [41, 41])
  })

  test('what cannot be written leaves nothing redacted, and is done when it is asked for again', async (t) => {
    const at = await place(t)
    let fails = false
    const failCommit = (): Error | null => (fails ? new Error('cannot be written') : null)
    const faulty: Place = { ...at, open: (options) => at.open({ ...options, faults: { failCommit } }) }
    await using rig = await openRig(faulty)
    const { instance } = rig
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {}, [bob])
    for (let i = 0; i < 5; i++) await rig.say(bob, roomId, `${i}`)
    const ask = () => redactUser(instance, alice, { roomId, userId: bob.userId, limit: 3 })
    fails = true
    await assert.rejects(ask())
    fails = false
    const room = await keyOf(instance, roomId)
    const left = () => instance.storage.count('event', { room, type: 'm.room.message', redactedBy: null })
    assert.equal(await left(), 5)
    assert.equal(await instance.storage.count('event', { room, type: 'm.room.redaction' }), 0)
    assert.deepEqual(await ask(), { total: 3, more: true })
    assert.deepEqual(await ask(), { total: 2, more: false })
    assert.equal(await left(), 0)
  })
})

async function keyOf({ storage }: Instance, roomId: string): Promise<number> {
  return (await storage.first('room', { roomId }))!.key
}

/** So many messages of somebody, at the room's live end. */
async function fill({ instance }: Rig, bot: Actor, roomId: string, sender: string, n: number): Promise<void> {
  for (let from = 0; from < n; from += 1_000) {
    const events = Array.from({ length: Math.min(1_000, n - from) }, (_, i) => ({
      type: 'm.room.message',
      sender,
      ts: 1_600_000_000_000 + i,
      eventId: `$${sender}-${from + i}`,
      content: { msgtype: 'm.text', body: `${i}` },
    }))
    await batchSend(instance, bot, { roomId, events, forward: true })
  }
}

/** As if somebody else's event stood at every place of a room down to this one. */
function pretendEventsDownTo(instance: Instance, order: number): void {
  const { keys } = instance.storage
  Object.assign(instance.storage, {
    keys: (table: 'event', find: { where: { room: number; order: { gt: number; lte: number } }; limit: number }) => {
      const { where, limit } = find
      if (table !== 'event' || where.order.lte <= order) return keys(table, find as never)
      const { room } = where
      const places = Array.from({ length: limit }, (_, i) => ({ instance: instance.key, room, order: where.order.lte - i }))
      return Promise.resolve(places.filter((place) => place.order > where.order.gt))
    },
  })
}

/** How often the keys of events were read since the last time that was asked. */
function countReads(instance: Instance): () => number {
  let reads = 0
  const { keys } = instance.storage
  Object.assign(instance.storage, {
    keys: (table: 'event', find: object) => {
      if (table === 'event') reads++
      return keys(table, find as never)
    },
  })
  return () => {
    const counted = reads
    reads = 0
    return counted
  }
}
