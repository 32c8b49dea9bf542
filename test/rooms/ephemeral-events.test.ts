// Events that are never stored: com.beeper.ephemeral.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { MatrixError } from '../../src/errors.ts'
import { ephemeralEventsIn, sendEphemeralEvent } from '../../src/rooms/ephemeral-events.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import type { Instance } from '../../src/stream/instance.ts'
import { watchEphemeralEvents } from '../../src/sync/watch.ts'
import type { Actor } from '../../src/users/actor.ts'
import { startServer } from '../rig/server.ts'
import { sqlitePlace } from '../storage/engines.ts'
import { openRig } from './rig.ts'

const errcode = (wanted: string) => (error: MatrixError) => error.errcode === wanted
let txn = 0
const send = (instance: Instance, actor: Actor, roomId: string, content: JsonObject = { body: 'x' }, more: object = {}) =>
  sendEphemeralEvent(instance, actor, { roomId, type: 'com.example', txnId: `t${txn++}`, content, ...more })
const roomKey = async (instance: Instance, roomId: string) => (await instance.storage.first('room', { roomId }))!.key
const kept = async (instance: Instance, roomId: string) =>
  ephemeralEventsIn(instance, await roomKey(instance, roomId), null, instance.bus.published).map(({ json }) => JSON.parse(json))

describe('an ephemeral event', () => {
  test('reaches the syncs of who is joined, once, and is nowhere else', async () => {
    await using server = await startServer()
    const alice = await server.register('alice')
    const bob = await server.register('bob')
    const roomId = await alice.createRoom({ invite: [bob.userId] })
    await bob.post(`/rooms/${encodeURIComponent(roomId)}/join`)
    const path = (txnId: string) =>
      `/_matrix/client/unstable/com.beeper.ephemeral/rooms/${encodeURIComponent(roomId)}/ephemeral/com.example.stream/${txnId}`
    const { next_batch: since } = await bob.sync()
    const waiting = bob.sync(`since=${since}&timeout=10000`)
    assert.deepEqual((await alice.put(path('1'), { words: ['a'] })).body, {})
    assert.deepEqual((await alice.put(path('1'), { words: ['b'] })).body, {})
    const answer = await waiting
    const { events } = answer.rooms.join[roomId].ephemeral
    assert.equal(events.length, 1)
    const { origin_server_ts, ...event } = events[0]
    assert.deepEqual(event, { type: 'com.example.stream', sender: alice.userId, room_id: roomId, content: { words: ['a'] } })
    assert.ok(Math.abs(origin_server_ts - Date.now()) < 60_000)
    assert.deepEqual(answer.rooms.join[roomId].timeline.events, [])
    assert.equal((await bob.sync(`since=${answer.next_batch}`)).rooms, undefined)
    const filter = encodeURIComponent(JSON.stringify({ room: { ephemeral: { not_types: ['com.example.*'] } } }))
    assert.equal((await bob.sync(`since=${since}&filter=${filter}`)).rooms, undefined)
    assert.equal(
      (await alice.sync(`since=${since}`)).rooms.join[roomId].ephemeral.events.length,
      1,
      'other devices of the sender hear it too',
    )
    const refused = await bob.put(path('2'), {})
    assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN'])
    const large = await alice.put(path('3'), { x: 'x'.repeat(70_000) })
    assert.deepEqual([large.status, large.body.errcode], [413, 'M_TOO_LARGE'])
    const mutation = `mutation($r: ID!) { sendEphemeralEvent(roomId: $r, type: "x", txnId: "g", content: { a: 1 }) }`
    assert.deepEqual((await alice.graphql(mutation, { r: roomId })).data, { sendEphemeralEvent: true })
  })

  test('takes the power level of `ephemeral` and `ephemeral_default`, which is usually 50', async (t) => {
    await using rig = await openRig(await sqlitePlace(t))
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const carol = await rig.person('carol')
    const roomId = await rig.room(alice, {}, [bob])
    await send(rig.instance, alice, roomId)
    await assert.rejects(send(rig.instance, bob, roomId), errcode('M_FORBIDDEN'))
    await assert.rejects(send(rig.instance, carol, roomId), errcode('M_FORBIDDEN'))
    const users = { [alice.userId]: 100 }
    await rig.state(alice, roomId, 'm.room.power_levels', { users, ephemeral: { 'com.example': 0 } })
    await send(rig.instance, bob, roomId)
    await assert.rejects(send(rig.instance, bob, roomId, {}, { type: 'other' }), errcode('M_FORBIDDEN'))
    await rig.state(alice, roomId, 'm.room.power_levels', { users, ephemeral: { 'com.example': 50 }, ephemeral_default: 0 })
    await send(rig.instance, bob, roomId, {}, { type: 'other' })
    await assert.rejects(send(rig.instance, bob, roomId), errcode('M_FORBIDDEN'))
    assert.equal((await kept(rig.instance, roomId)).length, 3)
  })

  test('is forgotten after two minutes, and the oldest go when there are too many', async (t) => {
    await using rig = await openRig(await sqlitePlace(t))
    const alice = await rig.person('alice')
    const roomId = await rig.room(alice)
    await send(rig.instance, alice, roomId, { n: 0 })
    rig.clock.move(60_000)
    await send(rig.instance, alice, roomId, { n: 1 })
    rig.clock.move(60_001)
    assert.deepEqual(
      (await kept(rig.instance, roomId)).map(({ content }) => content.n),
      [1],
    )
    rig.clock.move(60_001)
    assert.deepEqual(await kept(rig.instance, roomId), [])
    await Promise.all(Array.from({ length: 200 }, (_, n) => send(rig.instance, alice, roomId, { n, x: 'x'.repeat(60_000) })))
    const left = await kept(rig.instance, roomId)
    assert.ok(left.length > 100 && left.length < 140, `${left.length} of 200 large ones are kept`)
    assert.equal(left.at(-1).content.n, 199)
  })

  test('of a bridge has the time that the bridge gave; appservices are not told of any', async (t) => {
    await using rig = await openRig(await sqlitePlace(t))
    const { bot } = await rig.bridge()
    const owner = await rig.person('owner')
    const roomId = await rig.room(bot, { invite: [owner.userId] })
    const told: (readonly number[])[] = []
    rig.instance.bus.onAny(({ kinds, appservices }) => {
      if (kinds.has('ephemeral')) told.push(appservices)
    })
    const waiting = await rig.instance.storage.count('interest', {})
    await send(rig.instance, bot, roomId, {}, { ts: 123 })
    assert.equal((await kept(rig.instance, roomId))[0].origin_server_ts, 123)
    assert.deepEqual(told, [[]])
    assert.equal(await rig.instance.storage.count('interest', {}), waiting)
  })

  test('is heard by a subscription, each once', async (t) => {
    await using rig = await openRig(await sqlitePlace(t))
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {}, [bob])
    const end = new AbortController()
    const heard = watchEphemeralEvents(rig.instance, bob, { roomId, after: rig.instance.bus.published }, end.signal)
    const first = heard.next()
    await send(rig.instance, alice, roomId, { n: 1 })
    await send(rig.instance, alice, roomId, { n: 2 })
    // Whoever is woken again at once gathers for a moment, which passes only when the clock is moved.
    const ticking = setInterval(() => rig.clock.move(10), 5)
    const events = [await first, await heard.next()].map(({ value }) => value!)
    clearInterval(ticking)
    assert.deepEqual(
      events.map(({ json }) => JSON.parse(json).content.n),
      [1, 2],
    )
    end.abort()
    assert.equal((await heard.next()).done, true)
    const stranger = await rig.person('stranger')
    await assert.rejects(watchEphemeralEvents(rig.instance, stranger, { roomId }, end.signal).next(), errcode('M_FORBIDDEN'))
  })
})
