/** A client that knows only GraphQL takes part in end-to-end encryption, with matrix-js-sdk on the other side. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startServer, type TestServer } from '../../rig/server.ts'
import { type Account, EncryptedClient } from '../js-sdk/encrypted-client.ts'
import { GraphqlClient, until } from './client.ts'
import { OlmClient } from './olm-client.ts'
import { joinRoom } from './scene.ts'

let server: TestServer
const bobAccount: Account = { userId: '@bob:example.com', password: 'a password for bob' }
const others: EncryptedClient[] = []
let alice: OlmClient
let bob: EncryptedClient
/** of both, encrypted */
let roomId: string

before(async () => {
  server = await startServer()
  await server.register('bob', bobAccount.password)
  bob = await login()
  alice = await OlmClient.open(await GraphqlClient.login(() => server.url, 'owner', server.server.firstAccounts!.owner.password))
  const { room_id: made } = await bob.client.createRoom({
    invite: [alice.graphql.userId],
    initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
  })
  roomId = made
  await alice.graphql.ask(joinRoom, { room: roomId })
  await until('the member', () => bob.client.getRoom(roomId)?.getJoinedMemberCount() === 2)
})

after(async () => {
  await alice?.stop()
  for (const each of others) each.stop()
  await server?.[Symbol.asyncDispose]()
})

async function login(): Promise<EncryptedClient> {
  const client = await EncryptedClient.login(server.url, bobAccount)
  others.push(client)
  return client
}

describe('encryption over GraphQL alone', () => {
  test('messages are read by a client of the Matrix face, and its messages are read', async () => {
    await bob.say(roomId, 'hello alice')
    await until('her reading', async () => (await alice.read(roomId)).includes('hello alice'))
    const eventId = await alice.say(roomId, [alice.graphql.userId, bob.userId], 'hello bob')
    await bob.reads(roomId, 'hello bob')
    const query = 'query ($roomId: ID!, $eventId: ID!) { event(roomId: $roomId, eventId: $eventId) { type content common { __typename } } }'
    const { event } = await bobByGraphql().ask(query, { roomId, eventId })
    assert.deepEqual([event.type, event.content.body, event.common], ['m.room.encrypted', undefined, null])
  })

  test('cross-signing keys and the signature on the own device are seen by others', async () => {
    assert.equal(await bob.seesSigned(alice.graphql.userId, alice.graphql.deviceId), false)
    await alice.signItself()
    await until('the signature', () => bob.seesSigned(alice.graphql.userId, alice.graphql.deviceId))
  })

  test('one-time keys are filled up as they are used', async () => {
    const uploaded = async () => (await alice.graphql.ask('{ keyCounts { oneTimeKeys } }')).keyCounts.oneTimeKeys.signed_curve25519
    // More, when a count that was on its way came behind an upload.
    await until('all of them', async () => (await uploaded()) >= 50)
    const claim = 'mutation ($oneTimeKeys: JsonObject!) { claimKeys(oneTimeKeys: $oneTimeKeys) }'
    const { userId, deviceId } = alice.graphql
    const taken = new Set<string>()
    for (let i = 0; i < 30; i++) {
      const { claimKeys } = await bobByGraphql().ask(claim, { oneTimeKeys: { [userId]: { [deviceId]: 'signed_curve25519' } } })
      taken.add(JSON.stringify(claimKeys.one_time_keys[userId][deviceId]))
    }
    assert.equal(taken.size, 30)
    await until('new ones', async () => (await uploaded()) >= 50)
  })

  test('a device that logs in is told, and reads what is said from then on', async () => {
    const second = await login()
    await until('the device', async () => (await alice.devicesOf(bob.userId)).includes(second.deviceId))
    await alice.say(roomId, [alice.graphql.userId, bob.userId], 'to both of yours')
    for (const each of [bob, second]) await each.reads(roomId, 'to both of yours')
    await second.client.logout(true)
    await until('its end', async () => !(await alice.devicesOf(bob.userId)).includes(second.deviceId))
  })

  test('room keys that come while every connection is cut arrive, each once', async () => {
    for (const text of ['first', 'second', 'third']) {
      alice.cut()
      await bob.crypto.forceDiscardSession(roomId)
      await bob.say(roomId, text)
      alice.cut()
    }
    await until('all of them', async () => (await alice.read(roomId)).filter((text) => text !== null).length === 6)
    assert.deepEqual((await alice.read(roomId)).slice(-3), ['first', 'second', 'third'])
    assert.deepEqual(
      alice.handled,
      [...new Set(alice.handled)].sort((a, b) => a - b),
    )
  })

  test('nobody asked for anything in a hot loop', () => {
    for (const each of others) assert.deepEqual(each.counter.loops(), [])
  })
})

/** Another pair of eyes of the same session. */
function bobByGraphql(): GraphqlClient {
  return new GraphqlClient(() => server.url, { userId: bob.userId, deviceId: bob.deviceId, accessToken: bob.client.getAccessToken()! })
}
