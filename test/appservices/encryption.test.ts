/** What a transaction says so that a bridge encrypts without syncing, over HTTP and over the websocket. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { makeDeviceKeys } from '../devices/rig.ts'
import { type Client, startServer } from '../rig/server.ts'
import { botDevice, EncryptedBridge, giveKeys, sendTo, type Way } from './encryption-rig.ts'

/** name of the specification → what else it is called */
const otherNames: Readonly<Record<string, readonly string[]>> = {
  to_device: ['de.sorunome.msc2409.to_device'],
  device_lists: ['org.matrix.msc3202.device_lists'],
  device_one_time_keys_count: ['org.matrix.msc3202.device_one_time_keys_count', 'org.matrix.msc3202.device_one_time_key_counts'],
  device_unused_fallback_key_types: ['org.matrix.msc3202.device_unused_fallback_key_types'],
}

function claim(by: Client, bridge: EncryptedBridge) {
  return by.post('/keys/claim', { one_time_keys: { [bridge.botId]: { [botDevice]: 'signed_curve25519' } } })
}

/** Of the newest transaction that says anything of it. */
function last(bridge: EncryptedBridge, part: string) {
  return bridge.transactions.findLast((transaction) => transaction[part] !== undefined)?.[part]
}

function countsOf(bridge: EncryptedBridge) {
  return [
    last(bridge, 'device_one_time_keys_count')[bridge.botId][botDevice],
    last(bridge, 'device_unused_fallback_key_types')[bridge.botId][botDevice],
  ]
}

for (const way of ['HTTP', 'websocket'] satisfies Way[]) {
  describe(`a transaction over ${way}`, () => {
    test('MSC3202 transaction fields: messages to devices, device lists, key counts and unused fallback keys, each under all of its names', async () => {
      await using server = await startServer()
      await giveKeys(server.owner)
      await using bridge = await EncryptedBridge.start(server, 'echo', { way })
      await bridge.portal(server.owner.userId)
      const content = { algorithm: 'm.olm.v1', ciphertext: { ä: { type: 0, body: '\u2028"' } }, n: 9007199254740991, empty: {} }
      await claim(server.owner, bridge)
      await sendTo(server.owner, bridge, content)
      await sendTo(server.owner, bridge, { action: 'request' }, 'm.room_key_request')
      await bridge.peer.until('the messages came', () => bridge.messages.length === 2)

      const to = { sender: server.owner.userId, to_user_id: bridge.botId, to_device_id: botDevice }
      assert.deepEqual(bridge.messages, [
        { type: 'm.room.encrypted', content, ...to },
        { type: 'm.room_key_request', content: { action: 'request' }, ...to },
      ])
      const told = bridge.transactions.flatMap((transaction) => transaction.device_lists?.changed ?? [])
      assert.ok(told.includes(server.owner.userId), told.join())
      assert.deepEqual(countsOf(bridge), [{ signed_curve25519: 2 }, ['signed_curve25519']])
      for (const [name, others] of Object.entries(otherNames)) {
        const saying = bridge.transactions.filter((transaction) => transaction[name] !== undefined)
        assert.ok(saying.length > 0, name)
        for (const transaction of saying) for (const other of others) assert.deepEqual(transaction[other], transaction[name], other)
      }
      assert.deepEqual(
        bridge.transactions.flatMap((transaction) => Object.keys(transaction)).filter((key) => key.includes('msc2409.to')).length,
        bridge.transactions.filter((transaction) => transaction.to_device).length,
      )
    })

    test('tells every claim, the zero, and that the fallback key was handed out', async () => {
      await using server = await startServer()
      await using bridge = await EncryptedBridge.start(server, 'echo', { way, oneTimeKeys: 2 })
      await bridge.settled()
      assert.deepEqual(countsOf(bridge), [{ signed_curve25519: 2 }, ['signed_curve25519']])
      for (const left of [1, 0]) {
        await claim(server.owner, bridge)
        await bridge.settled()
        assert.deepEqual(countsOf(bridge), [{ signed_curve25519: left }, ['signed_curve25519']])
      }
      await claim(server.owner, bridge)
      await bridge.settled()
      assert.deepEqual(countsOf(bridge), [{ signed_curve25519: 0 }, []])
      await bridge.uploadKeys(5)
      await bridge.settled()
      assert.deepEqual(countsOf(bridge), [{ signed_curve25519: 5 }, ['signed_curve25519']])
    })

    test('without news of devices says nothing of them', async () => {
      await using server = await startServer()
      await using bridge = await EncryptedBridge.start(server, 'echo', { way })
      const roomId = await bridge.portal(server.owner.userId)
      await bridge.settled()
      const before = bridge.transactions.length
      await server.owner.send(roomId, 'plain')
      await bridge.settled()
      const [transaction, ...more] = bridge.transactions.slice(before)
      assert.equal(more.length, 0)
      const parts = Object.keys(transaction).filter((key) => /device/.test(key))
      assert.deepEqual(parts, [])
    })
  })
}

describe('the first transaction after a start of the homeserver', () => {
  test('says what all devices of the bridge have left, whatever it is about', async () => {
    await using server = await startServer()
    await using bridge = await EncryptedBridge.start(server, 'echo', { oneTimeKeys: 7 })
    const roomId = await bridge.portal(server.owner.userId)
    await bridge.settled()
    await server.restart()
    const before = bridge.transactions.length
    await server.owner.send(roomId, 'after the start')
    await bridge.settled()
    const counts = { [bridge.botId]: { [botDevice]: { signed_curve25519: 7 } } }
    assert.deepEqual(bridge.transactions[before].device_one_time_keys_count, counts)
    await server.owner.send(roomId, 'and another')
    await bridge.settled()
    assert.equal(bridge.transactions.at(-1).device_one_time_keys_count, undefined)
  })
})

describe('device_lists', () => {
  async function changes(bridge: EncryptedBridge, happen: () => Promise<unknown>) {
    await bridge.settled()
    const before = bridge.transactions.length
    await happen()
    await bridge.settled()
    const lists = bridge.transactions.slice(before).flatMap((transaction) => transaction.device_lists ?? [])
    return { changed: [...new Set(lists.flatMap(({ changed }) => changed))], left: [...new Set(lists.flatMap(({ left }) => left))] }
  }

  test('name who shares a room with a user of the bridge that has keys, and nobody else', async () => {
    await using server = await startServer()
    const [mate, stranger] = [await server.register('mate'), await server.register('stranger')]
    await using bridge = await EncryptedBridge.start(server, 'echo')
    await bridge.portal(mate.userId)
    assert.deepEqual(await changes(bridge, () => giveKeys(mate)), { changed: [mate.userId], left: [] })
    assert.deepEqual(await changes(bridge, () => giveKeys(stranger)), { changed: [], left: [] })
  })

  test('do not name who shares a room with a ghost without keys only', async () => {
    await using server = await startServer()
    const mate = await server.register('mate')
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const ghost = bridge.ghostId('1')
    const client = server.client((await bridge.row()).asToken)
    const as = `?user_id=${encodeURIComponent(ghost)}`
    const made = await client.post(`/createRoom${as}`, { 'com.beeper.initial_members': [mate.userId] })
    assert.equal(made.status, 200)
    await bridge.enter(made.body.room_id, [mate.userId])
    assert.deepEqual(await changes(bridge, () => giveKeys(mate)), { changed: [], left: [] })
  })

  test('name who shares a room with a ghost that has keys but hands out none', async () => {
    await using server = await startServer()
    const mate = await server.register('mate')
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const ghost = bridge.ghostId('1')
    const client = server.client((await bridge.row()).asToken)
    const as = `?user_id=${encodeURIComponent(ghost)}`
    await client.put(`/devices/${botDevice}${as}`, {})
    const uploaded = await client.post(`/keys/upload${as}&device_id=${botDevice}`, { device_keys: makeDeviceKeys(ghost, botDevice) })
    assert.equal(uploaded.status, 200)
    const made = await client.post(`/createRoom${as}`, { 'com.beeper.initial_members': [mate.userId] })
    assert.equal(made.status, 200)
    await bridge.enter(made.body.room_id, [mate.userId])
    assert.deepEqual(await changes(bridge, () => giveKeys(mate)), { changed: [mate.userId], left: [] })
  })

  test('name who joins, if they have keys; and all with keys when the user with keys joins', async () => {
    await using server = await startServer()
    const [first, second, without] = [await server.register('first'), await server.register('second'), await server.register('without')]
    await giveKeys(first)
    await giveKeys(second)
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const roomId = await bridge.portal(without.userId)
    const invite = (userId: string) => bridge.ask('POST', `/rooms/${roomId}/invite`, { user_id: userId })
    await invite(first.userId)
    const joined = await changes(bridge, () => first.post(`/join/${roomId}`))
    assert.deepEqual(joined, { changed: [first.userId], left: [] })
    const theirs = await second.createRoom({ invite: [bridge.botId] })
    await second.post(`/rooms/${theirs}/invite`, { user_id: without.userId })
    assert.deepEqual(await changes(bridge, () => bridge.ask('POST', `/join/${theirs}`, {})), { changed: [second.userId], left: [] })
  })

  test('name under left those with whom the last room ended', async () => {
    await using server = await startServer()
    const mate = await server.register('mate')
    await giveKeys(mate)
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const [one, two] = [await bridge.portal(mate.userId), await bridge.portal(mate.userId)]
    assert.deepEqual(await changes(bridge, () => mate.post(`/rooms/${one}/leave`)), { changed: [], left: [] })
    assert.deepEqual(await changes(bridge, () => mate.post(`/rooms/${two}/leave`)), { changed: [], left: [mate.userId] })
  })

  test('tell of a room that was deleted with the next transaction', async () => {
    await using server = await startServer()
    const mate = await server.register('mate')
    await giveKeys(mate)
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const [shared, other] = [await bridge.portal(mate.userId), await bridge.portal(server.owner.userId)]
    const told = await changes(bridge, async () => {
      await bridge.ask('POST', `/_matrix/client/unstable/com.beeper.yeet/rooms/${shared}/delete`, {})
      await server.owner.send(other, 'something to deliver')
    })
    assert.deepEqual(told, { changed: [], left: [mate.userId] })
  })

  test('are those of all users of the bridge with keys together: nobody has left with whom another one shares a room', async () => {
    await using server = await startServer()
    const mate = await server.register('mate')
    await giveKeys(mate)
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const ghost = await bridge.encryptingGhost('1')
    const [ofBot, ofGhost] = [await bridge.portal(mate.userId), await bridge.portal(mate.userId, ghost)]
    await bridge.ask('POST', `/rooms/${ofGhost}/leave`, {})
    assert.deepEqual(await changes(bridge, () => mate.post(`/rooms/${ofBot}/leave`)), { changed: [], left: [] })
    assert.deepEqual(await changes(bridge, () => mate.post(`/rooms/${ofGhost}/leave`)), { changed: [], left: [mate.userId] })
  })

  test('of a bridge with very many users with keys name too many rather than too few', async () => {
    await using server = await startServer()
    const [mate, stranger] = [await server.register('mate'), await server.register('stranger')]
    await using bridge = await EncryptedBridge.start(server, 'echo')
    for (let n = 0; n < 50; n++) await bridge.encryptingGhost(`${n}`)
    await bridge.portal(mate.userId, bridge.ghostId('49'))
    const told = await changes(bridge, async () => {
      await giveKeys(mate)
      await giveKeys(stranger)
    })
    assert.ok(told.changed.includes(mate.userId))
    assert.deepEqual(
      told.changed.filter((userId) => ![mate.userId, stranger.userId].includes(userId)),
      [],
    )
  })
})
