/** Nothing that waits for a bridge is lost when its rooms are merged or split. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { queueLength } from '../../src/appservices/queue.ts'
import { setBridgePaused } from '../../src/appservices/registrations.ts'
import { batchSend } from '../../src/rooms/batch-send.ts'
import { deleteRoom } from '../../src/rooms/delete.ts'
import { mergeRooms, splitRoom } from '../../src/rooms/merge.ts'
import { setReadMarkers } from '../../src/rooms/receipts.ts'
import { redact } from '../../src/rooms/redact.ts'
import { sendMessage, sendState } from '../../src/rooms/send.ts'
import type { Batch } from '../../src/storage/fold.ts'
import { tables } from '../../src/storage/tables.ts'
import type { Actor } from '../../src/users/actor.ts'
import { jobsDone } from '../jobs/done.ts'
import type { ExampleBridge } from '../rig/example-bridge.ts'
import { onBothEngines } from '../storage/engines.ts'
import { Homeserver, type HomeserverOptions } from './homeserver.ts'

const handle = 'fi.mau.imessage.handle'
const messages = (bridge: ExampleBridge) => bridge.events.filter((event) => event.type === 'm.room.message')
const bodies = (bridge: ExampleBridge) => messages(bridge).map((event) => event.content.body)

async function row(homeserver: Homeserver) {
  return (await homeserver.instance.storage.first('appservice', { id: 'imessage' }))!
}

async function settled(homeserver: Homeserver): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    const appservice = await row(homeserver)
    const frozen = await homeserver.instance.storage.first('frozen', { appservice: appservice.key })
    if (!frozen && (await queueLength(homeserver.instance, appservice)) === 0) return
    await sleep(10)
  }
  throw new Error('the deliveries do not settle')
}

interface Scene {
  readonly homeserver: Homeserver
  readonly bridge: ExampleBridge
  readonly bot: Actor
  readonly rooms: [string, string]
}

async function scene(homeserver: Homeserver): Promise<Scene> {
  const bridge = await homeserver.bridge('imessage')
  const rooms: [string, string] = [await homeserver.portal(bridge, 'bob'), await homeserver.portal(bridge, 'bob')]
  await settled(homeserver)
  return { homeserver, bridge, bot: await homeserver.actor(bridge), rooms }
}

const pause = ({ instance, owner }: Homeserver, is: boolean) => setBridgePaused(instance, owner, 'imessage', is)

async function merged({ homeserver, bridge, bot }: Scene, rooms: readonly string[]): Promise<string> {
  const create = { initialMembers: [homeserver.owner.userId, bridge.ghostId('bob')] }
  return (await mergeRooms(homeserver.instance, bot, { rooms, key: handle, create })).roomId
}

/** Every slice of history fails as long as it is on. */
class Hold {
  on = false
  readonly failCommit = ({ changes }: Batch): Error | null => {
    const cursor = Object.keys(tables.job.columns).indexOf('cursor')
    const isHeld = changes.some(({ table, put }) => table === 'job' && put[cursor]?.some((text) => String(text).startsWith('history')))
    return this.on && isHeld ? new Error('told to fail') : null
  }

  async felt({ instance }: Homeserver): Promise<void> {
    while ((await instance.storage.count('job', { error: { not: null } })) === 0) await sleep(5)
  }
}

/** A delivery has looked for what is on its way. */
function waitsFor({ instance: { storage } }: Homeserver): Promise<void> {
  const { find } = storage
  return new Promise((resolve) => {
    storage.find = async (table, options) => {
      const rows = await find(table, options)
      if (table === 'job' && 'endedAt' in options.where && 'kind' in options.where) {
        storage.find = find
        setTimeout(resolve, 20)
      }
      return rows
    }
  })
}

await onBothEngines('merged rooms at the bridge', (place) => {
  const open = async (t: TestContext, options?: HomeserverOptions) => Homeserver.open({ ...options, databaseUrl: (await place(t)).url })

  test('what waited in the old rooms arrives in its order, as of the new one: messages, redactions and receipts', async (t) => {
    await using homeserver = await open(t)
    const { instance, owner } = homeserver
    const here = await scene(homeserver)
    const { bridge, bot, rooms } = here
    const ghost = await homeserver.actor(bridge, bridge.ghostId('bob'))
    const read = await homeserver.send(ghost, rooms[1], 'read me')
    await settled(homeserver)
    const before = bridge.events.length
    await pause(homeserver, true)
    const ids = [await homeserver.send(owner, rooms[0], '1', 'mine'), await homeserver.send(owner, rooms[1], '2')]
    await setReadMarkers(instance, owner, { roomId: rooms[1], read: { eventId: read } })
    await sendState(instance, bot, { roomId: rooms[0], type: 'm.room.topic', stateKey: '', content: { topic: 'stays behind' } })
    // Far below what is newer by its own time, and so moved late.
    const old = await sendMessage(instance, ghost, {
      ...{ roomId: rooms[0], type: 'm.room.message', txnId: 'old', content: { body: '3' }, ts: 1_000 },
    })
    const redaction = await redact(instance, owner, { roomId: rooms[0], eventId: ids[0]!, txnId: 'r', content: {} })
    const roomId = await merged(here, rooms)
    const live = await homeserver.send(owner, roomId, '5')
    await jobsDone(instance)
    await pause(homeserver, false)
    await settled(homeserver)
    const came = bridge.events.slice(before)
    assert.ok(came.every((event) => event.room_id === roomId))
    const told = came.filter((event) => event.state_key === undefined)
    assert.deepEqual(
      told.map((event) => event.event_id),
      [...ids, old.eventId, redaction.eventId, live],
    )
    assert.deepEqual(told[0].content, {})
    assert.equal(told[0].unsigned.redacted_because.event_id, redaction.eventId)
    assert.equal(told[1].content.body, '2')
    assert.ok(!came.some((event) => event.type === 'm.room.topic'))
    const receipts = bridge.ephemeral.filter((event) => event.type === 'm.receipt')
    assert.deepEqual(
      receipts.map((event) => [event.room_id, Object.keys(event.content[Object.keys(event.content)[0]!]['m.read'])]),
      [[roomId, [owner.userId]]],
    )
    const left = await instance.storage.find('interest', { where: { appservice: (await row(homeserver)).key } })
    assert.deepEqual(left, [])
  })

  test('a transaction that was tried before comes again with its id and its events, through a restart as well', async (t) => {
    await using homeserver = await open(t)
    const here = await scene(homeserver)
    const { bridge, rooms } = here
    const before = bridge.attempts.length
    bridge.behaviour = 500
    const tried = await homeserver.send(homeserver.owner, rooms[0], '1')
    await bridge.until('it failed', () => bridge.attempts.length > before)
    await homeserver.send(homeserver.owner, rooms[1], '2')
    const roomId = await merged(here, rooms)
    await homeserver.restart()
    await jobsDone(homeserver.instance)
    bridge.behaviour = 'ok'
    await bridge.until('all arrived', () => bodies(bridge).length === 2)
    await settled(homeserver)
    assert.deepEqual(bodies(bridge), ['1', '2'])
    assert.ok(messages(bridge).every((event) => event.room_id === roomId))
    const { txnId } = bridge.attempts[before]!
    const events = bridge.attempts.filter((attempt) => attempt.txnId === txnId).map(({ text }) => JSON.parse(text).events)
    assert.ok(events.length >= 2)
    for (const each of events)
      assert.deepEqual(
        each.map((event: { event_id: string }) => event.event_id),
        [tried],
      )
    assert.equal(bridge.attempts.at(-1)!.status, 200)
  })

  for (const state of ['paused', 'failing'] as const) {
    test(`nothing overtakes what is still on its way to a bridge that is ${state}, which hears of it when it is there`, async (t) => {
      const hold = new Hold()
      await using homeserver = await open(t, { faults: hold })
      const here = await scene(homeserver)
      const { bridge, rooms } = here
      const before = bridge.attempts.length
      if (state === 'paused') await pause(homeserver, true)
      else bridge.behaviour = 500
      await homeserver.send(homeserver.owner, rooms[0], '1')
      if (state === 'failing') await bridge.until('it failed', () => bridge.attempts.length > before)
      await homeserver.send(homeserver.owner, rooms[1], '2')
      hold.on = true
      const roomId = await merged(here, rooms)
      await hold.felt(homeserver)
      await homeserver.send(homeserver.owner, roomId, '3')
      const asked = waitsFor(homeserver)
      const { storage } = homeserver.instance
      const { eventsAt } = storage
      storage.eventsAt = async (places) => {
        const events = await eventsAt(places)
        // All three for a new transaction, or the one of the standing: while it is looked up, everything moves. A slice has two.
        if (hold.on && places.length !== 2 && events.length > 0) {
          hold.on = false
          await jobsDone(homeserver.instance)
        }
        return events
      }
      if (state === 'paused') await pause(homeserver, false)
      else bridge.behaviour = 'ok'
      await asked
      hold.on = false
      await bridge.until('all arrived', () => bodies(bridge).length === 3)
      assert.deepEqual(bodies(bridge), ['1', '2', '3'])
      assert.ok(messages(bridge).every((event) => event.room_id === roomId))
    })
  }

  test('what is merged while a transaction is made comes in the next one', async (t) => {
    await using homeserver = await open(t)
    const here = await scene(homeserver)
    const { bridge, rooms } = here
    await pause(homeserver, true)
    await homeserver.send(homeserver.owner, rooms[0], '1')
    const { storage } = homeserver.instance
    const { eventsAt } = storage
    let roomId: Promise<string> | null = null
    storage.eventsAt = async (places) => {
      const events = await eventsAt(places)
      if (roomId === null && events.length > 0) {
        roomId = merged(here, rooms)
        await roomId
        await jobsDone(homeserver.instance)
      }
      return events
    }
    await pause(homeserver, false)
    await bridge.until('it arrived', () => bodies(bridge).length === 1)
    assert.equal(messages(bridge)[0].room_id, await roomId)
  })

  test('what waited in a split room arrives as of the room of its value', async (t) => {
    await using homeserver = await open(t)
    const { instance, owner } = homeserver
    const { bridge, bot, rooms } = await scene(homeserver)
    const [roomId] = rooms
    await pause(homeserver, true)
    const values = ['b', 'a', 'b', 'a']
    for (const [i, value] of values.entries()) {
      await sendMessage(instance, owner, { roomId, type: 'm.room.message', txnId: `s${i}`, content: { body: `${i}`, [handle]: value } })
    }
    const create = { initialMembers: [owner.userId, bridge.ghostId('bob')] }
    const { rooms: made } = await splitRoom(instance, bot, {
      roomId,
      key: handle,
      parts: ['a', 'b'].map((value) => ({ values: [value], create })),
    })
    await pause(homeserver, false)
    await settled(homeserver)
    const roomOf = new Map(made.map((part) => [part.value, part.roomId]))
    assert.deepEqual(
      messages(bridge).map((event) => [event.content.body, event.room_id]),
      values.map((value, i) => [`${i}`, roomOf.get(value)]),
    )
  })

  test('what waited comes as of the last room when the new one is merged again, with much history and through restarts', async (t) => {
    const hold = new Hold()
    await using homeserver = await open(t, { faults: hold })
    const here = await scene(homeserver)
    const { bridge, bot, rooms } = here
    const third = await homeserver.portal(bridge, 'bob')
    const events = Array.from({ length: 1_000 }, (_, i) => ({
      ...{ type: 'm.room.message', sender: bridge.ghostId('bob'), ts: 1_000 + i, eventId: `$h${i}:x` },
      content: { body: `h${i}` },
    }))
    for (const roomId of rooms) await batchSend(homeserver.instance, bot, { roomId, events })
    await settled(homeserver)
    await pause(homeserver, true)
    for (const [i, roomId] of [...rooms, third].entries()) await homeserver.send(homeserver.owner, roomId, `${i}`)
    hold.on = true
    const first = await merged(here, rooms)
    await homeserver.send(homeserver.owner, first, '3')
    await homeserver.restart()
    const last = await merged(here, [first, third])
    await homeserver.send(homeserver.owner, last, '4')
    hold.on = false
    await homeserver.restart()
    await pause(homeserver, false)
    await settled(homeserver)
    assert.deepEqual(bodies(bridge), ['0', '1', '2', '3', '4'])
    assert.ok(messages(bridge).every((event) => event.room_id === last))
  })

  test('a bridge whose new room was deleted while it waited gets what happens elsewhere', async (t) => {
    const hold = new Hold()
    await using homeserver = await open(t, { faults: hold })
    const here = await scene(homeserver)
    const { bridge, rooms } = here
    const other = await homeserver.portal(bridge, 'bob')
    await pause(homeserver, true)
    await homeserver.send(homeserver.owner, rooms[0], 'gone')
    hold.on = true
    const roomId = await merged(here, rooms)
    await hold.felt(homeserver)
    await homeserver.send(homeserver.owner, other, 'stays')
    await deleteRoom(homeserver.instance, homeserver.owner, roomId)
    await pause(homeserver, false)
    hold.on = false
    await bridge.until('it arrived', () => bodies(bridge).length > 0)
    await settled(homeserver)
    assert.deepEqual(bodies(bridge), ['stays'])
  })
})
