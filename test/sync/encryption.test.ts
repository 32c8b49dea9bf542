/** What sync tells a device besides rooms: its messages, each until it has arrived, and its key counts in every answer. */
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { claimKeys } from '../../src/devices/claim-keys.ts'
import { uploadKeys } from '../../src/devices/device-keys.ts'
import { sendToDevice } from '../../src/devices/to-device.ts'
import { unavailable } from '../../src/errors.ts'
import { sendReceipt } from '../../src/rooms/receipts.ts'
import { setRoomAccountData } from '../../src/rooms/room-account-data.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { formatToken } from '../../src/stream/token.ts'
import { acknowledgeMessages } from '../../src/sync/watch-devices.ts'
import type { Actor } from '../../src/users/actor.ts'
import { logout } from '../../src/users/sessions.ts'
import { withDevice, withKeys } from '../devices/list-rig.ts'
import { makeKeys } from '../devices/rig.ts'
import { onBothEngines } from '../storage/engines.ts'
import { type Answer, bodies, news, SyncRig } from './rig.ts'

/** Long enough for everything that is going to happen without the clock moving. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 30))

let txn = 0

async function send(rig: SyncRig, to: Actor, content: JsonObject, device = to.device!): Promise<void> {
  const args = { eventType: 'org.example', txnId: `t${txn++}`, messages: { [to.userId]: { [device]: content } } }
  await sendToDevice(rig.instance, rig.bob, args)
}

async function sendMany(rig: SyncRig, to: Actor, first: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await send(rig, to, { n: first + i })
}

/** The numbers of the messages in an answer. */
function numbers(answer: Answer): unknown[] {
  return (answer.to_device?.events ?? []).map(({ content }) => content['n'])
}

function upTo(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i)
}

function stored(rig: SyncRig, { user, device }: Actor): Promise<number> {
  return rig.instance.storage.count('toDevice', { user: user!, deviceId: device! })
}

/** Waits until no more than so many are left. */
async function left(rig: SyncRig, actor: Actor, count: number): Promise<void> {
  for (let tries = 0; tries < 200 && (await stored(rig, actor)) > count; tries++) await settle()
  assert.equal(await stored(rig, actor), count)
}

const oneTime = ({ userId, device }: Actor, ...names: string[]) => ({ oneTimeKeys: makeKeys(userId, device!, names) })
const fallback = ({ userId, device }: Actor, name: string) => ({ fallbackKeys: makeKeys(userId, device!, [name], { fallback: true }) })

function claim(rig: SyncRig, { userId, device }: Actor): Promise<unknown> {
  return Promise.resolve(claimKeys(rig.instance, { [userId]: { [device!]: 'signed_curve25519' } }))
}

await onBothEngines('messages to devices in sync', (place) => {
  test('a message stands before the rooms as it was sent, with type, sender and content', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    const roomId = await rig.room(alice)
    const since = await rig.now(alice)
    await send(rig, alice, { n: 1, '"odd" key': [null, { deep: 'ü\u2028' }] })
    await rig.say(alice, roomId, 'x')
    const text = await rig.syncText(alice, { since })
    const answer = JSON.parse(text) as Answer
    const content = { n: 1, '"odd" key': [null, { deep: 'ü\u2028' }] }
    assert.deepEqual(answer.to_device, { events: [{ type: 'org.example', sender: rig.bob.userId, content }] })
    assert.ok(text.indexOf('"to_device"') < text.indexOf('"rooms"'))
  })

  test('the same since brings the same messages again, the next one removes them', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    const since = await rig.now(alice)
    await sendMany(rig, alice, 1, 3)
    const first = await rig.sync(alice, { since })
    assert.deepEqual(numbers(first), [1, 2, 3])
    assert.deepEqual(await rig.sync(alice, { since }), first)
    assert.equal(await stored(rig, alice), 3)
    const whole = { fullState: true, filter: { 'com.beeper.to_device': {} } }
    assert.deepEqual(numbers(await rig.sync(alice, { since, ...whole })), [1, 2, 3])
    assert.deepEqual(numbers(await rig.sync(alice, { since: first.next_batch, ...whole })), [])
    await send(rig, alice, { n: 4 })
    assert.deepEqual(numbers(await rig.sync(alice, { since: first.next_batch })), [4])
    await left(rig, alice, 1)
    assert.deepEqual(numbers(await rig.sync(alice, { since: first.next_batch })), [4])
    assert.deepEqual(numbers(await rig.sync(alice)), [4], 'an initial sync has what is left')
  })

  test('messages that could not be removed: sync answers all the same, who says it in GraphQL is told', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    const since = await rig.now(alice)
    await send(rig, alice, { n: 1 })
    const { next_batch } = await rig.sync(alice, { since })
    const failing = mock.method(rig.instance.shard, 'enqueue', () => Promise.reject(unavailable('The disk is full')))
    assert.deepEqual(numbers(await rig.sync(alice, { since: next_batch })), [])
    const upTo = rig.instance.bus.published
    await assert.rejects(() => acknowledgeMessages(rig.instance, alice, { upTo }), { status: 503 })
    failing.mock.restore()
    assert.equal(await stored(rig, alice), 1)
    assert.equal(await acknowledgeMessages(rig.instance, alice, { upTo }), true)
    assert.equal(await stored(rig, alice), 0)
  })

  test('a crash between answer and acknowledgement redelivers', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    const since = await rig.now(alice)
    await sendMany(rig, alice, 1, 2)
    const lost = await rig.sync(alice, { since })
    await rig.restart()
    assert.deepEqual(numbers(await rig.sync(alice, { since })), [1, 2])
    await rig.restart()
    assert.deepEqual(numbers(await rig.sync(alice, { since: lost.next_batch })), [])
    await left(rig, alice, 0)
  })

  test('where nothing waits, acknowledging writes nothing, whatever the device began with', async (t) => {
    for (const began of ['no token', 'a token', 'a token, and a message that it got']) {
      await using rig = await SyncRig.start(await place(t))
      const alice = await withDevice(rig, rig.alice)
      const roomId = await rig.room(alice)
      let since = began === 'no token' ? await rig.now(alice) : formatToken(rig.instance.bus.published)
      if (began.includes('message')) await send(rig, alice, { n: 1 })
      const answer = await rig.sync(alice, { since })
      assert.deepEqual(numbers(answer), began.includes('message') ? [1] : [])
      since = (await rig.sync(alice, { since: answer.next_batch })).next_batch
      await left(rig, alice, 0)
      const written = () => rig.instance.shard.stats().changeSets
      const before = written()
      for (let i = 1; i <= 3; i++) {
        await rig.say(alice, roomId, 'x')
        since = (await rig.sync(alice, { since })).next_batch
        await settle()
        assert.equal(written(), before + i, began)
      }
    }
  })

  for (const from of ['a token', 'the beginning'] as const) {
    test(`250 queued messages arrive as 100, 100 and 50, from ${from} on, and no event overtakes them`, async (t) => {
      await using rig = await SyncRig.start(await place(t))
      const alice = await withDevice(rig, rig.alice)
      const roomId = await rig.room(alice, { name: 'first' })
      const start = from === 'a token' ? await rig.now(alice) : null
      await sendMany(rig, alice, 1, 60)
      await rig.say(alice, roomId, 'after 60')
      await sendMany(rig, alice, 61, 90)
      await rig.say(alice, roomId, 'after 150')
      await rig.set(alice, roomId, 'm.room.name', { name: 'second' })
      const later = await rig.room(alice, { name: 'later' })
      await sendMany(rig, alice, 151, 100)
      const answers: Answer[] = []
      for (let since = start; answers.length < 4; since = answers.at(-1)!.next_batch) answers.push(await rig.sync(alice, { since }))
      assert.deepEqual(answers.map(numbers), [upTo(1, 100), upTo(101, 200), upTo(201, 250), []])
      const said = answers.map((answer) => bodies(answer.rooms?.join?.[roomId]?.timeline.events))
      assert.deepEqual(said, [['after 60'], ['after 150'], [], []])
      assert.deepEqual(
        answers.map((answer) => Object.keys(answer.rooms?.join ?? {})),
        [[roomId], [roomId, later], [], []],
      )
      const names = answers[0]!.rooms!.join![roomId]!.state!.events.filter(({ type }) => type === 'm.room.name')
      if (start === null) assert.deepEqual(names.length, 0, 'the name stands in the timeline')
      const first = answers[0]!.rooms!.join![roomId]!.timeline.events.filter(({ type }) => type === 'm.room.name')
      assert.deepEqual(
        first.map(({ content }) => content['name']),
        start === null ? ['first'] : [],
      )
      await left(rig, alice, 0)
    })
  }

  for (const restarts of [false, true]) {
    test(`an answer that ends at its hundredth message shows no room for what is behind it${restarts ? ', after a restart' : ''}`, async (t) => {
      await using rig = await SyncRig.start(await place(t))
      const alice = await withDevice(rig, rig.alice)
      const [before, both, after] = [await rig.room(alice), await rig.room(alice), await rig.room(alice, {}, [rig.bob])]
      const since = await rig.now(alice)
      for (const roomId of [before, both]) await rig.say(alice, roomId, 'before')
      await sendMany(rig, alice, 1, 101)
      const eventId = await rig.say(rig.bob, after, 'after')
      await rig.say(alice, both, 'after')
      await sendReceipt(rig.instance, alice, { roomId: after, type: 'm.read', eventId })
      await setRoomAccountData(rig.instance, alice, { userId: alice.userId, roomId: after, type: 'org.example', content: {} })
      if (restarts) await rig.restart()
      const first = await rig.sync(alice, { since })
      const second = await rig.sync(alice, { since: first.next_batch })
      const said = ({ rooms }: Answer) =>
        Object.entries(rooms?.join ?? {}).map(([roomId, { timeline }]) => [roomId, bodies(timeline.events)])
      const told = (roomIds: string[], body: string) => roomIds.toSorted().map((roomId) => [roomId, [body]])
      assert.deepEqual(said(first).toSorted(), told([before, both], 'before'))
      const withEvents = said(second).filter(([, events]) => events!.length > 0)
      assert.deepEqual(withEvents.toSorted(), told([both, after], 'after'))
    })
  }

  test('a token that is none of ours brings all that waits, and removes nothing', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    await rig.now(alice)
    await sendMany(rig, alice, 1, 2)
    for (const since of ['nonsense', 's999999999999']) assert.deepEqual(numbers(await rig.sync(alice, { since })), [1, 2])
    await settle()
    assert.equal(await stored(rig, alice), 2)
    // Nor does it share the answer of one under way that has them all.
    const filter = { 'com.beeper.to_device': {} }
    const tokens = [formatToken(rig.instance.bus.published), 'nonsense']
    assert.deepEqual((await Promise.all(tokens.map((since) => rig.sync(alice, { since, filter })))).map(numbers), [[], [1, 2]])
  })

  test('each device has its own messages, and wakes for nothing else', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [one, two] = [await withDevice(rig, rig.alice, 'ONE'), await withDevice(rig, rig.alice, 'TWO')]
    const since = await rig.now(one)
    rig.clock.move(1_000)
    let answered = false
    const waiting = rig.sync(one, { since, timeoutMs: 30_000 }).finally(() => (answered = true))
    await settle()
    await send(rig, two, { n: 1 })
    await settle()
    // What a sync of another device reads when it is woken.
    const { storage } = rig.instance
    const names = ['find', 'first', 'membersAt', 'membersWithKeys'] as const
    let reads = 0
    for (const name of names) {
      const original = storage[name].bind(storage) as (...args: unknown[]) => unknown
      Object.assign(storage, {
        [name]: (...args: unknown[]) => {
          if (args[0] !== 'transaction') reads++
          return original(...args)
        },
      })
    }
    await sendMany(rig, two, 2, 50)
    await settle()
    assert.equal(answered, false)
    assert.equal(reads, 0)
    await send(rig, one, { n: 52 })
    assert.deepEqual(numbers(await waiting), [52])
    assert.deepEqual(numbers(await rig.sync(two, { since })), upTo(1, 51))
  })

  test('a deleted device takes its messages along: another of its name gets none of them', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    await rig.now(alice)
    await send(rig, alice, { n: 1 })
    await logout(rig.instance, alice)
    const again = await withDevice(rig, rig.alice)
    assert.deepEqual(numbers(await rig.sync(again)), [])
  })

  test('the device is noted as one that syncs by itself, at its first sync', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    const syncedAt = async () => (await rig.instance.storage.first('device', { user: alice.user!, deviceId: alice.device! }))?.syncedAt
    assert.equal(await syncedAt(), null)
    await rig.sync(alice)
    const first = rig.clock.now
    rig.clock.move(1_000)
    await rig.sync(alice)
    assert.equal(await syncedAt(), first)
    await rig.restart()
    await rig.sync(alice)
    assert.equal(await syncedAt(), first)
    await logout(rig.instance, alice)
    await withDevice(rig, rig.alice)
    assert.equal(await syncedAt(), null)
    await rig.sync(alice)
    assert.equal(await syncedAt(), rig.clock.now)
  })
})

await onBothEngines('key counts in sync', (place) => {
  const counts = ({ device_one_time_keys_count: left, device_unused_fallback_key_types: unused }: Answer) => ({ left, unused })

  test('they stand in every answer, also in the empty one at the deadline, a 0 too', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    const none = { left: { signed_curve25519: 0 }, unused: [] }
    const initial = await rig.sync(alice)
    assert.deepEqual(counts(initial), none)
    const since = initial.next_batch
    assert.deepEqual(counts(await rig.sync(alice, { since })), none)
    assert.deepEqual(counts(await rig.sync(alice, { since, fullState: true })), none)
    const waiting = rig.sync(alice, { since, timeoutMs: 5_000 })
    await settle()
    rig.clock.move(5_001)
    assert.deepEqual(counts(await waiting), none)
    await rig.room(alice)
    assert.deepEqual(counts(await rig.sync(alice, { since })), none)
  })

  test('uploads, claims and the use of the fallback key are counted exactly, through a restart', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    await uploadKeys(rig.instance, alice, { ...oneTime(alice, 'a', 'b'), ...fallback(alice, 'c') })
    const initial = await rig.sync(alice)
    assert.deepEqual(counts(initial), { left: { signed_curve25519: 2 }, unused: ['signed_curve25519'] })
    await claim(rig, alice)
    const one = await rig.sync(alice, { since: initial.next_batch })
    assert.deepEqual(counts(one), { left: { signed_curve25519: 1 }, unused: ['signed_curve25519'] })
    await claim(rig, alice)
    await claim(rig, alice)
    await rig.restart()
    const used = await rig.sync(alice, { since: one.next_batch })
    assert.deepEqual(counts(used), { left: { signed_curve25519: 0 }, unused: [] })
    await claim(rig, alice)
    await uploadKeys(rig.instance, alice, fallback(alice, 'd'))
    assert.deepEqual(counts(await rig.sync(alice)), { left: { signed_curve25519: 0 }, unused: ['signed_curve25519'] })
  })

  test('a claim, a use of the fallback key and an upload wake that device, and no other of the user', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [one, two] = [await withKeys(rig, rig.alice, 'ONE'), await withKeys(rig, rig.alice, 'TWO')]
    await uploadKeys(rig.instance, one, { ...oneTime(one, 'a'), ...fallback(one, 'b') })
    await uploadKeys(rig.instance, two, oneTime(two, 'd'))
    let since = await rig.now(one)
    let answered = false
    const other = rig.sync(two, { since, timeoutMs: 30_000 }).finally(() => (answered = true))
    const changes = [() => claim(rig, one), () => claim(rig, one), () => uploadKeys(rig.instance, one, oneTime(one, 'c'))]
    const seen: unknown[] = []
    for (const change of changes) {
      rig.clock.move(1_000)
      const waiting = rig.sync(one, { since, timeoutMs: 30_000 })
      await settle()
      await change()
      const answer = await waiting
      seen.push(counts(answer))
      assert.deepEqual(news(answer), [])
      since = answer.next_batch
    }
    assert.deepEqual(seen, [
      { left: { signed_curve25519: 0 }, unused: ['signed_curve25519'] },
      { left: { signed_curve25519: 0 }, unused: [] },
      { left: { signed_curve25519: 1 }, unused: [] },
    ])
    assert.equal(answered, false)
    rig.clock.move(30_000)
    assert.deepEqual(counts(await other), { left: { signed_curve25519: 1 }, unused: [] })
  })

  test('a claim while nobody waits is news to the next poll, once', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    await uploadKeys(rig.instance, alice, oneTime(alice, 'a', 'b', 'c'))
    const since = await rig.now(alice)
    await claim(rig, alice)
    const answer = await rig.sync(alice, { since, timeoutMs: 30_000 })
    assert.deepEqual(counts(answer).left, { signed_curve25519: 2 })
    rig.clock.move(1_000)
    const waiting = rig.sync(alice, { since: answer.next_batch, timeoutMs: 30_000 })
    let answered = false
    void waiting.finally(() => (answered = true))
    await settle()
    assert.equal(answered, false)
    rig.clock.move(30_001)
    await waiting
  })

  test('a user without a device is told nothing of devices and keys', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    const { bot } = await rig.bridge()
    await rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
    const initial = await rig.sync(bot)
    assert.deepEqual(Object.keys(initial).toSorted(), ['account_data', 'next_batch', 'rooms'])
    await withKeys(rig, alice)
    assert.deepEqual(await rig.sync(bot, { since: initial.next_batch }), { next_batch: (await rig.sync(bot)).next_batch })
  })
})
