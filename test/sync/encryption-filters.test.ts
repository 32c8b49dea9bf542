/** Syncs for keys alone, as bots do, and filters of messages to devices. */
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { claimKeys } from '../../src/devices/claim-keys.ts'
import { uploadKeys } from '../../src/devices/device-keys.ts'
import { sendToDevice } from '../../src/devices/to-device.ts'
import { deleteRoom } from '../../src/rooms/delete.ts'
import { inviteUser, leaveRoom } from '../../src/rooms/membership.ts'
import { setAccountData } from '../../src/users/account-data.ts'
import type { Actor } from '../../src/users/actor.ts'
import { changeKeys, withDevice, withKeys } from '../devices/list-rig.ts'
import { makeKeys } from '../devices/rig.ts'
import { onBothEngines } from '../storage/engines.ts'
import { type Answer, news, nothingNew, SyncRig } from './rig.ts'

/** Long enough for everything that is going to happen without the clock moving. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 30))

let txn = 0

async function send(rig: SyncRig, to: Actor, type: string): Promise<void> {
  await sendToDevice(rig.instance, rig.bob, { eventType: type, txnId: `t${txn++}`, messages: { [to.userId]: { [to.device!]: {} } } })
}

function types(answer: Answer): string[] {
  return (answer.to_device?.events ?? []).map(({ type }) => type)
}

const nothing = { not_types: ['*'] }
/** As mautrix bots that sync for their keys send it. */
const keysOnly = {
  presence: nothing,
  account_data: nothing,
  room: { include_leave: false, ephemeral: nothing, account_data: nothing, state: nothing, timeline: nothing },
}

await onBothEngines('syncs for keys alone', (place) => {
  test('they are told of messages, device lists and key counts, and of no room and no account data', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    const { bot: user, ghost } = await rig.bridge()
    const bot = await withKeys(rig, user)
    const roomId = await rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
    const other = await rig.room(bot)
    const initial = await rig.sync(bot, { filter: keysOnly })
    assert.deepEqual(initial.rooms, { join: {}, invite: {}, knock: {}, leave: {} })
    assert.deepEqual(initial.account_data?.events, [])
    let since = initial.next_batch
    const next = async () => {
      const answer = await rig.sync(bot, { since, filter: keysOnly })
      since = answer.next_batch
      return answer
    }
    await rig.say(alice, roomId, 'x')
    await inviteUser(rig.instance, bot, { roomId, userId: ghost('one').userId })
    await setAccountData(rig.instance, bot, { userId: bot.userId, type: 'org.example', content: {} })
    assert.deepEqual(await next(), nothingNew(since))
    await send(rig, bot, 'm.room.encrypted')
    await changeKeys(rig, alice)
    const both = await next()
    assert.deepEqual(news(both), ['device_lists', 'to_device'])
    await rig.room(await rig.person('carol'), { preset: 'public_chat' })
    await leaveRoom(rig.instance, alice, { roomId })
    assert.deepEqual((await next()).device_lists, { changed: [], left: [alice.userId] })
    await deleteRoom(rig.instance, bot, other)
    const whole = await rig.sync(bot, { since, filter: keysOnly, fullState: true })
    assert.deepEqual(whole.rooms, { join: {}, invite: {}, knock: {}, leave: {} })
    await rig.restart()
    const looked = mock.method(rig.instance.storage, 'roomsByActivity')
    assert.deepEqual(await next(), nothingNew(since))
    assert.equal(looked.mock.callCount(), 0)
  })

  test('what happens in rooms neither answers nor costs a read, a message does answer', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { bot: user } = await rig.bridge()
    const bot = await withKeys(rig, user)
    const roomId = await rig.room(bot, { invite: [rig.alice.userId], autoJoinInvites: true })
    const { next_batch: since } = await rig.sync(bot, { filter: keysOnly })
    rig.clock.move(1_000)
    const waiting = rig.sync(bot, { since, filter: keysOnly, timeoutMs: 30_000 })
    await settle()
    const { storage } = rig.instance
    let reads = 0
    for (const name of ['membersAt', 'lastEvents', 'currentState', 'memberCounts', 'roomsByActivity', 'membersWithKeys'] as const) {
      const original = storage[name].bind(storage) as (...args: unknown[]) => unknown
      const counted = (...args: unknown[]) => {
        reads++
        return original(...args)
      }
      Object.assign(storage, { [name]: counted })
    }
    for (let i = 0; i < 5; i++) await rig.say(rig.alice, roomId, `${i}`)
    await settle()
    assert.equal(reads, 0)
    await send(rig, bot, 'm.room.encrypted')
    assert.deepEqual(types(await waiting), ['m.room.encrypted'])
    assert.equal(reads, 0)
  })

  test('a claim answers them', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { bot: user } = await rig.bridge()
    const bot = await withKeys(rig, user)
    await uploadKeys(rig.instance, bot, { oneTimeKeys: makeKeys(bot.userId, bot.device!, ['a', 'b']) })
    const { next_batch: since } = await rig.sync(bot, { filter: keysOnly })
    rig.clock.move(1_000)
    const waiting = rig.sync(bot, { since, filter: keysOnly, timeoutMs: 30_000 })
    await settle()
    await claimKeys(rig.instance, { [bot.userId]: { [bot.device!]: 'signed_curve25519' } })
    assert.deepEqual((await waiting).device_one_time_keys_count, { signed_curve25519: 1 })
  })
})

await onBothEngines('com.beeper.to_device', (place) => {
  const onlyKeys = { 'com.beeper.to_device': { types: ['m.room_key', 'm.forwarded*'] } }
  const none = { 'com.beeper.to_device': nothing }

  test('brings only what it wants, and loses nothing: the rest stays for who asks without it', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    const start = await rig.now(alice)
    const waiting = () => rig.instance.storage.count('toDevice', { user: alice.user! })
    for (const type of ['m.room_key', 'm.key.verification.start', 'm.forwarded_room_key', 'm.dummy']) await send(rig, alice, type)
    const some = await rig.sync(alice, { since: start, filter: onlyKeys })
    assert.deepEqual(types(some), ['m.room_key', 'm.forwarded_room_key'])
    assert.deepEqual(types(await rig.sync(alice, { since: some.next_batch, filter: onlyKeys })), [])
    await settle()
    assert.equal(await waiting(), 4)
    assert.deepEqual(types(await rig.sync(alice, { filter: none })), [])
    assert.deepEqual(types(await rig.sync(alice, { since: start })), [
      'm.room_key',
      'm.key.verification.start',
      'm.forwarded_room_key',
      'm.dummy',
    ])
    assert.deepEqual(types(await rig.sync(alice, { since: some.next_batch })), [], 'it has arrived')
    for (let tries = 0; tries < 200 && (await waiting()) > 0; tries++) await settle()
    assert.deepEqual(types(await rig.sync(alice)), [])
  })

  test('many unwanted messages do not stand in the way of a wanted one, and none of them answers', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    const roomId = await rig.room(alice)
    const since = await rig.now(alice)
    for (let i = 0; i < 210; i++) await send(rig, alice, 'm.dummy')
    const waiting = rig.sync(alice, { since, filter: onlyKeys, timeoutMs: 30_000 })
    await settle()
    rig.clock.move(1_000)
    await send(rig, alice, 'm.room_key')
    assert.deepEqual(types(await waiting), ['m.room_key'])
    await rig.say(alice, roomId, 'x')
    const answer = await rig.sync(alice, { since, filter: onlyKeys })
    assert.deepEqual(types(answer), ['m.room_key'])
    assert.ok(answer.rooms?.join?.[roomId])
  })

  test('its limit is that of an answer, which ends there', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withDevice(rig, rig.alice)
    const since = await rig.now(alice)
    for (const type of ['a', 'b', 'c']) await send(rig, alice, type)
    const filter = { 'com.beeper.to_device': { limit: 2 } }
    const first = await rig.sync(alice, { since, filter })
    assert.deepEqual(types(first), ['a', 'b'])
    assert.deepEqual(types(await rig.sync(alice, { since: first.next_batch, filter })), ['c'])
  })
})
