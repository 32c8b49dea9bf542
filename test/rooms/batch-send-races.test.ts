// Batches that meet: decided in turn, whatever each had read before.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MatrixError } from '../../src/errors.ts'
import { type BatchSend, batchSend } from '../../src/rooms/batch-send.ts'
import { redact } from '../../src/rooms/redact.ts'
import { sendMessage } from '../../src/rooms/send.ts'
import { onBothEngines } from '../storage/engines.ts'
import { read } from './reading.ts'
import { openRig, type Rig } from './rig.ts'

const ghost = '@_ghost_1:beeper.local'
const events = (name: string, from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({
    type: 'm.room.message',
    sender: ghost,
    ts: 1_600_000_000_000 + from + i,
    eventId: `$${name}${from + i}`,
    content: { body: `${name}${from + i}` },
  }))

async function portal(rig: Rig) {
  const { bot, ghost: as } = await rig.bridge()
  const owner = await rig.person('owner')
  const roomId = await rig.room(bot, { initialMembers: [owner.userId, ghost] })
  const send = (more: Omit<BatchSend, 'roomId'>) => batchSend(rig.instance, bot, { roomId, ...more })
  const ids = async () => {
    const answer = await read(rig.instance, owner, roomId, { limit: 1_000 })
    return answer.chunk.filter((event) => event.state_key === undefined).map((event) => event.event_id)
  }
  return { bot, ghost: as('1'), owner, roomId, send, ids }
}

await onBothEngines('batches that meet', (place) => {
  test('of overlapping batches each is taken whole or refused whole, and what was taken stands there once and in order', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, ids } = await portal(rig)
    for (let round = 0; round < 10; round++) {
      const name = `r${round}-`
      const starts = [0, 5, 10]
      const outcomes = await Promise.allSettled(
        starts.map((start) => send({ events: events(name, start, start + 20), forward: round % 2 === 0 })),
      )
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') assert.equal((outcome.reason as MatrixError).errcode, 'M_INVALID_PARAM')
      }
      const taken = starts.filter((_, i) => outcomes[i]!.status === 'fulfilled')
      assert.notEqual(taken.length, 0)
      assert.deepEqual(
        (await ids()).filter((id) => id.startsWith(`$${name}`)).toReversed(),
        events(name, Math.min(...taken), Math.max(...taken) + 20).map(({ eventId }) => eventId),
      )
    }
  })

  test('of batches at once that continue one another all are taken, and every event is there once', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, ids } = await portal(rig)
    for (let round = 0; round < 10; round++) {
      const name = `c${round}-`
      const forward = round % 2 === 0
      const answers = await Promise.all(
        [25, 10, 30, 20].map((n) => send({ events: forward ? events(name, 0, n) : events(name, 30 - n, 30), forward })),
      )
      assert.deepEqual(
        answers.map(({ eventIds }) => eventIds.length),
        [25, 10, 30, 20],
      )
      const all = events(name, 0, 30).map(({ eventId }) => eventId)
      assert.deepEqual((await ids()).filter((id) => id.startsWith(`$${name}`)).toReversed(), all)
    }
  })

  test('the same batch sent at once is there once, for all who sent it', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, ids } = await portal(rig)
    const same = events('same', 0, 450)
    const answers = await Promise.all([1, 2, 3, 4].map(() => send({ events: same })))
    for (const { eventIds } of answers) assert.equal(eventIds.length, 450)
    assert.deepEqual(await ids(), same.map(({ eventId }) => eventId).toReversed())
  })

  test('a single event with an id of a batch: whoever comes second is refused', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, ids, ghost: sender, roomId } = await portal(rig)
    for (let round = 0; round < 20; round++) {
      const name = `s${round}-`
      const single = () =>
        sendMessage(rig.instance, sender, {
          roomId,
          type: 'm.room.message',
          txnId: name,
          content: { body: 'single' },
          eventId: `$${name}3`,
        })
      const batch = () => send({ events: events(name, 0, 5) })
      const outcomes = await Promise.allSettled(round % 2 === 0 ? [batch(), single()] : [single(), batch()])
      assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') assert.equal((outcome.reason as MatrixError).errcode, 'M_INVALID_PARAM')
      }
      assert.equal((await ids()).filter((id) => id === `$${name}3`).length, 1)
    }
  })

  test('of batches for the live end of an empty room one gets it, also when a message comes first', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, ids, owner, roomId } = await portal(rig)
    const both = { forwardIfNoMessages: true }
    const said = rig.say(owner, roomId, 'first')
    await Promise.all([send({ ...both, events: events('a', 0, 3) }), send({ ...both, events: events('b', 0, 3) })])
    const first = await said
    assert.equal((await ids())[0], first, 'it came before both batches or behind them')
  })

  test('a redaction and a batch that brings its target at the same time: the target is emptied, or was not there yet', async (t) => {
    await using rig = await openRig(await place(t))
    const { send, ghost: sender, owner, roomId } = await portal(rig)
    for (let round = 0; round < 10; round++) {
      const eventId = `$t${round}-0`
      const sending = send({ events: events(`t${round}-`, 0, 1) })
      const redacting = redact(rig.instance, sender, { roomId, eventId, txnId: `${round}`, content: {} }).then(
        () => true,
        (error: MatrixError) => {
          assert.equal(error.errcode, 'M_NOT_FOUND')
          return false
        },
      )
      await sending
      const emptied = await redacting
      // Not there is not remembered.
      if (!emptied) await redact(rig.instance, sender, { roomId, eventId, txnId: `again${round}`, content: {} })
      const found = (await read(rig.instance, owner, roomId, { limit: 1_000 })).chunk.find((event) => event.event_id === eventId)
      assert.deepEqual(found?.content, {})
    }
  })

  test('a reaction that a batch brings and that is redacted at once relates to nothing any more', async (t) => {
    await using rig = await openRig(await place(t))
    const { bot, roomId, send } = await portal(rig)
    for (let round = 0; round < 20; round++) {
      const eventId = `$reaction${round}`
      const empty = (attempt: number) => redact(rig.instance, bot, { roomId, eventId, txnId: `${round} ${attempt}`, content: {} })
      // Whoever asked for it before makes the memory hold it as soon as it comes.
      await assert.rejects(empty(0), { errcode: 'M_NOT_FOUND' })
      const content = { 'm.relates_to': { rel_type: 'm.annotation', event_id: '$root', key: `${round}` } }
      const sent = send({ events: [{ type: 'm.reaction', sender: ghost, ts: 1, eventId, content }] })
      for (let attempt = 1; ; attempt++) {
        const refused = await empty(attempt).then(
          () => null,
          (error: MatrixError) => error,
        )
        if (!refused) break
        assert.equal(refused.errcode, 'M_NOT_FOUND')
      }
      await sent
    }
    assert.equal(await rig.instance.storage.count('relation', {}), 0)
  })
})
