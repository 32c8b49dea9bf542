/** matrix-js-sdk with rust crypto against a real server: devices that come, miss something, sleep and go. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { UserId } from '@matrix-org/matrix-sdk-crypto-wasm'
import { HttpApiEvent, MatrixError } from 'matrix-js-sdk'
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js'
import { startServer, type TestServer } from '../../rig/server.ts'
import { until } from '../go/sdk-client.ts'
import { type Account, compareEmoji, EncryptedClient } from './encrypted-client.ts'
import { RequestCounter } from './request-counter.ts'

let server: TestServer
let aliceAccount: Account
const bobAccount: Account = { userId: '@bob:example.com', password: 'a password for bob' }
const clients: EncryptedClient[] = []
let alice: EncryptedClient
let bob: EncryptedClient
let roomId: string

before(async () => {
  server = await startServer()
  const { userId, password } = server.server.firstAccounts!.owner
  aliceAccount = { userId, password }
  await server.register('bob', bobAccount.password)
  alice = await login(aliceAccount)
  bob = await login(bobAccount)
  await alice.setUp()
  await bob.setUp()
  roomId = await alice.encryptedRoom([bob])
})

after(async () => {
  for (const each of clients) each.stop()
  await server?.[Symbol.asyncDispose]()
})

async function login(account: Account, options?: Parameters<typeof EncryptedClient.login>[2]): Promise<EncryptedClient> {
  const client = await EncryptedClient.login(server.url, account, options)
  clients.push(client)
  return client
}

/** The devices for which a client has sent room keys, since the nth of such requests. */
function keysSentTo(client: EncryptedClient, userId: string, from = 0): string[] {
  const sent = client.counter.bodies('/sendToDevice/m.room.encrypted').slice(from)
  return sent.flatMap(({ messages }) => Object.keys(messages[userId] ?? {}))
}

describe('matrix-js-sdk with encryption and devices that come and go', () => {
  test('other cross-signing keys need the password, and are seen by those who share a room', async () => {
    const before = (await bob.crypto.getUserCrossSigningKeys(alice.userId))!.master_key!.keys
    await alice.crypto.bootstrapCrossSigning({ setupNewCrossSigning: true, authUploadDeviceSigningKeys: alice.authenticate })
    assert.equal(alice.passwordsAsked, 1)
    const changed = async () => {
      const { master_key: now } = (await bob.crypto.getUserCrossSigningKeys(alice.userId)) ?? {}
      return now !== undefined && Object.keys(now.keys)[0] !== Object.keys(before)[0]
    }
    await until('the new keys', changed)
    await until('the signature by them', () => bob.seesSigned(alice.userId, alice.deviceId))
  })

  test('a key that a device has missed is asked of another device of the same person, and given once that trusts it', async () => {
    const dave = await server.register('dave', 'a password for dave')
    const account = { userId: dave.userId, password: 'a password for dave' }
    const first = await login(account)
    // No backup, from which it could come as well.
    await first.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: first.authenticate })
    const room = await bob.encryptedRoom([first])
    await bob.say(room, 'before the other device')
    await first.reads(room, 'before the other device')
    const other = await login(account)
    // Element has these requests switched off because the backup does the same; other clients send them.
    other.olmMachine.roomKeyRequestsEnabled = true
    await until('the message', () => other.unreadable(room).length === 1)
    const asked = first.asked()
    const request = await other.crypto.requestOwnUserVerification()
    await compareEmoji(request, await asked)
    await until('the trust', () => other.trusts(account.userId, first.deviceId))
    await other.tryAgain(room)
    await other.reads(room, 'before the other device')
    assert.equal(other.counter.bodies('/sendToDevice/m.room_key_request')[0].messages[account.userId]['*'].action, 'request')
  })

  test('messages sent while a device is asleep reach the device that wakes it up', async () => {
    const carol = await server.register('carol', 'a password for carol')
    const account = { userId: carol.userId, password: 'a password for carol' }
    const first = await login(account)
    await first.setUp()
    assert.ok(await first.crypto.isDehydrationSupported())
    const room = await bob.encryptedRoom([first])
    await first.crypto.startDehydration()
    await until('the sleeping device', async () => (await bob.devicesOf(account.userId)).length === 2)
    await first.client.logout(true)
    await until('the logout', async () => !(await bob.devicesOf(account.userId)).includes(first.deviceId))
    await bob.say(room, 'while you slept')
    const awake = await login(account, { recoveryKey: first.recoveryKey! })
    assert.deepEqual(awake.read(room), [])
    await awake.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: () => assert.fail('there are keys already') })
    const received = new Promise<[number, number]>((resolve) =>
      awake.client.on(CryptoEvent.RehydrationProgress, (...counts) => resolve(counts)),
    )
    await awake.crypto.startDehydration()
    assert.ok((await received)[0] >= 1)
    await awake.reads(room, 'while you slept')
    assert.equal(awake.counter.bodies('GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/').length <= 4, true)
  })

  test('users who do not exist, have no keys or live elsewhere are asked for once, not again and again', async () => {
    const nobody = '@nobody:example.com'
    const elsewhere = '@somebody:elsewhere.example'
    const { userId: keyless } = await server.register('eve')
    assert.equal(await alice.crypto.userHasCrossSigningKeys(nobody, true), false)
    // As if they were in an encrypted room.
    await alice.olmMachine.updateTrackedUsers([nobody, elsewhere, keyless].map((userId) => new UserId(userId)))
    const { room_id: id } = await alice.client.createRoom({
      invite: [keyless],
      initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
    })
    await until('the room', () => alice.client.getRoom(id))
    await until('its encryption', () => alice.crypto.isEncryptionEnabledInRoom(id))
    // Each sync sets the client to work again.
    for (const text of ['is anybody here?', 'one', 'two', 'three']) {
      await alice.say(id, text)
      await alice.reads(id, text)
    }
    const queries = alice.counter.bodies('/keys/query').map(({ device_keys: users }) => Object.keys(users))
    const counts = [nobody, keyless, elsewhere].map((userId) => queries.filter((users) => users.includes(userId)).length)
    for (const count of counts) assert.ok(count >= 1 && count <= 4, `asked ${counts.join(', ')} times`)
  })

  test('a device that was away is reached by its fallback key when its others are used up, through a restart of the server', async () => {
    const away = await login(bobAccount)
    const uploads = (of: string) => away.counter.bodies('/keys/upload').filter((body) => Object.keys(body[of] ?? {}).length > 0)
    await until('its fallback key', () => uploads('fallback_keys').length > 0)
    await until('the device', async () => (await alice.devicesOf(bob.userId)).includes(away.deviceId))
    away.disconnect()
    const stranger = await server.register('frank')
    const claim = { one_time_keys: { [away.userId]: { [away.deviceId]: 'signed_curve25519' } } }
    const keys: Record<string, { fallback?: boolean }>[] = []
    while (!keys.some((each) => Object.values(each)[0]!.fallback) && keys.length < 100) {
      keys.push((await stranger.post('/keys/claim', claim)).body.one_time_keys[away.userId][away.deviceId])
    }
    assert.equal(new Set(keys.map((each) => JSON.stringify(each))).size, keys.length)
    await alice.say(roomId, 'while you were away')
    await server.restart()
    const before = uploads('one_time_keys').length
    away.reconnect()
    await away.reads(roomId, 'while you were away')
    await until('new one-time keys', () => uploads('one_time_keys').length > before)
    for (const each of [alice, bob]) each.reconnect()
    await alice.say(roomId, 'good to have you back')
    for (const each of [bob, away]) await each.reads(roomId, 'good to have you back')
    await away.client.logout(true)
  })

  test('a device that is removed is signed out at once, and nothing is encrypted for it any more', async () => {
    const gone: EncryptedClient[] = []
    for (let i = 0; i < 2; i++) {
      const other = await login(aliceAccount, { recoveryKey: alice.recoveryKey! })
      await other.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: () => assert.fail('there are keys already') })
      await until('the signature of its owner', () => bob.seesSigned(other.userId, other.deviceId))
      gone.push(other)
    }
    await bob.say(roomId, 'to three devices')
    for (const each of [alice, ...gone]) await each.reads(roomId, 'to three devices')
    const signedOut = gone.map(({ client }) => new Promise<MatrixError>((resolve) => client.once(HttpApiEvent.SessionLoggedOut, resolve)))
    const removed = gone.map(({ deviceId }) => deviceId)
    const asked = alice.passwordsAsked
    await alice.withPassword((auth) => alice.client.deleteMultipleDevices(removed, auth ?? undefined))
    assert.equal(alice.passwordsAsked, asked + 1)
    for (const error of await Promise.all(signedOut)) {
      assert.ok(error instanceof MatrixError)
      assert.deepEqual([error.httpStatus, error.errcode], [401, 'M_UNKNOWN_TOKEN'])
    }
    for (const each of [alice, bob]) {
      await until('one device', async () => (await each.devicesOf(alice.userId)).join() === alice.deviceId)
    }
    const sentBefore = bob.counter.bodies('/sendToDevice/m.room.encrypted').length
    await bob.say(roomId, 'to the one that is left')
    await alice.reads(roomId, 'to the one that is left')
    assert.deepEqual(keysSentTo(bob, alice.userId, sentBefore), [alice.deviceId])
    const { devices } = await alice.client.getDevices()
    assert.ok(removed.every((id) => !devices.some((device) => device.device_id === id)))
  })

  test('a device that signs out is forgotten by those who share a room', async () => {
    const other = await login(bobAccount)
    await until('the device', async () => (await alice.devicesOf(bob.userId)).includes(other.deviceId))
    await other.client.logout(true)
    for (const each of [alice, bob]) {
      await until('its end', async () => (await each.devicesOf(bob.userId)).join() === bob.deviceId)
    }
    await alice.say(roomId, 'still there?')
    await bob.reads(roomId, 'still there?')
    assert.ok(!keysSentTo(alice, bob.userId).includes(other.deviceId))
  })

  test('who starts anew loses every backup and gets a new one, with the password', async () => {
    const fiona = await server.register('fiona', 'a password for fiona')
    const anew = await login({ userId: fiona.userId, password: 'a password for fiona' })
    await anew.setUp()
    await anew.crypto.resetKeyBackup()
    assert.equal(await anew.crypto.getActiveSessionBackupVersion(), '2')
    const key = await anew.crypto.getCrossSigningKeyId()
    await anew.crypto.resetEncryption(anew.authenticate)
    assert.equal(anew.passwordsAsked, 1)
    assert.equal(anew.counter.bodies('DELETE /_matrix/client/v3/room_keys/version/').length, 2)
    assert.equal(await anew.crypto.getActiveSessionBackupVersion(), '3')
    assert.notEqual(await anew.crypto.getCrossSigningKeyId(), key)
    assert.equal((await fiona.get('/room_keys/version/1')).status, 404)
  })

  test('no request was repeated in a hot loop', () => {
    for (const each of clients) assert.deepEqual(each.counter.loops(), [], `${each.userId} ${each.deviceId}`)
  })

  test('a client in a hot loop is found', async () => {
    const nobody = '@nobody:example.com'
    // An answer without the user that was asked for: what the client must never be given.
    const without = (counted: typeof fetch): typeof fetch => {
      return async (input, init) => {
        const answer = await counted(input, init)
        if (!String(input).includes('/keys/query')) return answer
        const body = (await answer.json()) as { device_keys: Record<string, object> }
        delete body.device_keys[nobody]
        return Response.json(body)
      }
    }
    const looping = await login(bobAccount, { fetch: without })
    assert.deepEqual(looping.counter.loops(), [])
    await looping.olmMachine.updateTrackedUsers([new UserId(nobody)])
    await looping.say(roomId, 'to work')
    await until('the loop', () => looping.counter.loops().some((each) => each.includes('/keys/query')))
    looping.stop()
  })

  test('a sync that is answered at once with nothing, again and again, is found', async () => {
    const hasty = createServer((_, reply) => reply.end('{"next_batch":"s1"}')).listen(0, '127.0.0.1')
    await once(hasty, 'listening')
    const counter = new RequestCounter()
    const { port } = hasty.address() as AddressInfo
    for (let i = 0; i < 10; i++) await counter.fetch(`http://127.0.0.1:${port}/_matrix/client/v3/sync?since=s${i}&timeout=30000`)
    assert.match(counter.loops().join(), /syncs that brought nothing/)
    hasty.close()
  })
})
