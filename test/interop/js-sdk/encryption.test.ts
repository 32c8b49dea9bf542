/** matrix-js-sdk with rust crypto against a real server: what two people and their devices do with end-to-end encryption. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { MsgType } from 'matrix-js-sdk'
import { startServer, type TestServer } from '../../rig/server.ts'
import { until } from '../go/sdk-client.ts'
import { type Account, compareEmoji, EncryptedClient } from './encrypted-client.ts'
import { decryptFile, type EncryptedFile, encryptFile } from './encrypted-file.ts'

let server: TestServer
let aliceAccount: Account
const clients: EncryptedClient[] = []
let alice: EncryptedClient
let bob: EncryptedClient
/** of both, encrypted */
let roomId: string

before(async () => {
  server = await startServer()
  const { userId, password } = server.server.firstAccounts!.owner
  aliceAccount = { userId, password }
  await server.register('bob', 'a password for bob')
  alice = await login(aliceAccount)
  bob = await login({ userId: '@bob:example.com', password: 'a password for bob' })
})

after(async () => {
  for (const each of clients) each.stop()
  await server?.[Symbol.asyncDispose]()
})

async function login(account: Account, options?: { recoveryKey?: string }): Promise<EncryptedClient> {
  const client = await EncryptedClient.login(server.url, account, options)
  clients.push(client)
  return client
}

describe('matrix-js-sdk with encryption', () => {
  test('cross-signing is set up without a password, with secret storage and a key backup behind a recovery key', async () => {
    for (const each of [alice, bob]) {
      await each.setUp()
      assert.equal(each.passwordsAsked, 0)
      assert.equal(await each.crypto.isCrossSigningReady(), true)
      assert.equal(await each.crypto.isSecretStorageReady(), true)
      assert.equal(await each.crypto.getActiveSessionBackupVersion(), '1')
      assert.equal(await each.trusts(each.userId, each.deviceId), true)
    }
  })

  test('messages of an encrypted room are read by both, and the server sees none of them', async () => {
    roomId = await alice.encryptedRoom([bob])
    const eventId = await alice.say(roomId, 'hello bob')
    await bob.reads(roomId, 'hello bob')
    await bob.say(roomId, 'hello alice')
    await alice.reads(roomId, 'hello alice')
    assert.deepEqual(bob.read(roomId), ['hello bob', 'hello alice'])
    const raw = await server
      .client(bob.client.getAccessToken()!)
      .get(`/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(eventId)}`)
    assert.equal(raw.body.type, 'm.room.encrypted')
    assert.deepEqual([raw.body.content.algorithm, raw.body.content.body], ['m.megolm.v1.aes-sha2', undefined])
  })

  test('an encrypted attachment is the same when the other has decrypted it', async () => {
    const plain = randomBytes(100_000)
    const { ciphertext, describe: file } = encryptFile(plain)
    const { content_uri: uri } = await alice.client.uploadContent(ciphertext, { type: 'application/octet-stream', includeFilename: false })
    const content = { msgtype: MsgType.File, body: 'plans.bin', file: file(uri), info: { size: plain.length } }
    await alice.client.sendMessage(roomId, content as never)
    await bob.reads(roomId, 'plans.bin')
    const received = bob.readable(roomId).at(-1)!.getContent()['file'] as EncryptedFile
    const address = bob.client.mxcUrlToHttp(received.url, undefined, undefined, undefined, false, true, true)!
    const reply = await fetch(address, { headers: { authorization: `Bearer ${bob.client.getAccessToken()}` } })
    const stored = Buffer.from(await reply.arrayBuffer())
    assert.deepEqual(stored, ciphertext)
    assert.deepEqual(decryptFile(stored, received), plain)
  })

  test('two people who compared emoji trust each other, and whatever devices the other signs', async () => {
    assert.equal(await alice.trusts(bob.userId, bob.deviceId), false)
    const asked = bob.asked()
    const request = await alice.crypto.requestVerificationDM(bob.userId, roomId)
    await compareEmoji(request, await asked)
    for (const [me, other] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      await until('the trust', async () => (await me.crypto.getUserVerificationStatus(other.userId)).isCrossSigningVerified())
      assert.equal(await me.trusts(other.userId, other.deviceId), true)
    }
  })

  test('a new device that compared emoji with an old one is trusted by all, is given the secrets and reads what was said before', async () => {
    const second = await login(aliceAccount)
    assert.equal(await second.crypto.isCrossSigningReady(), false)
    const asked = alice.asked()
    const request = await second.crypto.requestOwnUserVerification()
    await compareEmoji(request, await asked)
    await until('the secrets', async () => {
      const { privateKeysCachedLocally: cached } = await second.crypto.getCrossSigningStatus()
      return cached.masterKey && cached.selfSigningKey && cached.userSigningKey
    })
    await until('the key of the backup', () => second.crypto.getSessionBackupPrivateKey())
    assert.equal(await second.crypto.isCrossSigningReady(), true)
    assert.equal(second.recoveryKey, null)
    for (const each of [alice, bob]) await until('its trust', () => each.trusts(second.userId, second.deviceId))
    await second.reads(roomId, 'hello bob')
    await second.reads(roomId, 'hello alice')
    await second.say(roomId, 'from my other device')
    for (const each of [alice, bob]) await each.reads(roomId, 'from my other device')
  })

  test('a fresh device restores the backup with the recovery key alone and reads what was said before', async () => {
    await until('the backup of every session', async () => Number((await backupOf(alice)).count) >= 3)
    const third = await login(aliceAccount, { recoveryKey: alice.recoveryKey! })
    assert.equal(third.read(roomId).length, 0)
    await third.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: () => assert.fail('there are keys already') })
    assert.equal(await third.crypto.isCrossSigningReady(), true)
    await third.crypto.loadSessionBackupPrivateKeyFromSecretStorage()
    const restored = await third.crypto.restoreKeyBackup()
    assert.ok(restored.total >= 3 && restored.imported === restored.total, JSON.stringify(restored))
    for (const text of ['hello bob', 'hello alice', 'plans.bin', 'from my other device']) await third.reads(roomId, text)
    await until('the trust of the other person', () => bob.trusts(third.userId, third.deviceId))
    await bob.say(roomId, 'to all three')
    for (const each of clients.filter(({ userId }) => userId === alice.userId)) await each.reads(roomId, 'to all three')
  })

  test('a recovery key that is not the right one restores nothing', async () => {
    const wrong = await login(aliceAccount, { recoveryKey: bob.recoveryKey! })
    await assert.rejects(wrong.crypto.loadSessionBackupPrivateKeyFromSecretStorage())
    assert.equal(wrong.read(roomId).length, 0)
    await wrong.client.logout(true)
  })

  test('no request was repeated in a hot loop', () => {
    for (const each of clients) assert.deepEqual(each.counter.loops(), [], each.deviceId)
  })
})

async function backupOf({ client }: EncryptedClient): Promise<{ count: number }> {
  return (await server.client(client.getAccessToken()!).get('/room_keys/version')).body
}
