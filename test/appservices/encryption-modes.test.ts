/** Which bridges are served by transactions, and that those that sync lose nothing. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, startServer, type TestServer } from '../rig/server.ts'
import { botDevice, EncryptedBridge, giveKeys, sendTo } from './encryption-rig.ts'
import { registrationPath } from './portals.ts'

const flag = 'org.matrix.msc3202'
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n)

async function register(server: TestServer, id: string, registration: object | null): Promise<Record<string, unknown>> {
  const mutation = 'mutation($id: String!, $r: JsonObject) { registerBridge(id: $id, registration: $r) { registration } }'
  const { data, errors } = await server.owner.graphql(mutation, { id, r: registration })
  assert.equal(errors, undefined)
  return data.registerBridge.registration
}

describe('the registration', () => {
  test('that we make says that devices are served by transactions; one that a bridge wrote says what it wants itself', async () => {
    await using server = await startServer()
    assert.equal((await register(server, 'ours', null))[flag], true)
    assert.equal((await register(server, 'named', { sender_localpart: 'named' }))[flag], true)
    assert.equal((await register(server, 'refuses', { [flag]: false }))[flag], false)
    const written = { as_token: 'a-token-of-the-bridge', hs_token: 'another-of-the-bridge', 'io.element.msc4190': true }
    const kept = await register(server, 'theirs', { ...written, namespaces: {}, sender_localpart: 'theirs' })
    assert.deepEqual([kept[flag], kept['io.element.msc4190'], kept['as_token']], [undefined, true, written.as_token])
  })

  test('gets it when bbctl or our command line writes a configuration that needs it', async () => {
    await using server = await startServer()
    for (const id of ['sh-old', 'old']) await register(server, id, { [flag]: false })
    const { body } = await server.owner.put(registrationPath('sh-old'), { push: false })
    assert.deepEqual([body[flag], body.receive_ephemeral, body['de.sorunome.msc2409.push_ephemeral']], [true, true, true])
    const { data } = await server.owner.graphql('mutation { configureBridge(type: "whatsapp", id: "old") { registration } }')
    assert.equal(data.configureBridge.registration[flag], true)
  })
})

describe('a bridge that is served by transactions from now on', () => {
  test('is told with the first event what its devices have left, for nothing said so meanwhile', async () => {
    await using server = await startServer()
    await using bridge = await EncryptedBridge.start(server, 'echo', { oneTimeKeys: 3 })
    const roomId = await bridge.portal(server.owner.userId)
    await register(server, 'echo', { [flag]: false })
    await server.owner.post('/keys/claim', { one_time_keys: { [bridge.botId]: { [botDevice]: 'signed_curve25519' } } })
    await server.owner.send(roomId, 'while it is not')
    await bridge.settled()
    await register(server, 'echo', { [flag]: true })
    const before = bridge.transactions.length
    for (const text of ['now it is', 'and is no more']) {
      await server.owner.send(roomId, text)
      await bridge.settled()
    }
    const told = bridge.transactions.slice(before).map(({ device_one_time_keys_count: counts }) => counts)
    assert.deepEqual(told, [{ [bridge.botId]: { [botDevice]: { signed_curve25519: 2 } } }, undefined])
  })

  test('is told so, too, when it has an address again after it had none', async () => {
    await using server = await startServer()
    await using bridge = await EncryptedBridge.start(server, 'echo', { oneTimeKeys: 3 })
    const roomId = await bridge.portal(server.owner.userId)
    await bridge.settled()
    const before = bridge.transactions.length
    const { url } = await bridge.row()
    await server.owner.graphql('mutation { registerBridge(id: "echo", url: "") { id } }')
    assert.equal((await bridge.row()).url, null)
    await server.owner.post('/keys/claim', { one_time_keys: { [bridge.botId]: { [botDevice]: 'signed_curve25519' } } })
    await server.owner.send(roomId, 'to nowhere')
    await server.owner.put(registrationPath('echo'), { push: true, address: url })
    await bridge.settled()
    const told = bridge.transactions.slice(before).map(({ device_one_time_keys_count: counts }) => counts)
    assert.deepEqual(told, [{ [bridge.botId]: { [botDevice]: { signed_curve25519: 2 } } }])
  })

  test('gets what waits for its devices, once', async () => {
    await using server = await startServer()
    await using bridge = await EncryptedBridge.start(server, 'echo', { oneTimeKeys: 3 })
    const roomId = await bridge.portal(server.owner.userId)
    await bridge.settled()
    await bridge.pause(true)
    // Passed by: it was for a transaction that did not hold it.
    await sendTo(server.owner, bridge, { n: 0 })
    await register(server, 'echo', { [flag]: false })
    await bridge.pause(false)
    await server.owner.send(roomId, 'something to deliver')
    await bridge.settled()
    for (const n of numbers(250)) await sendTo(server.owner, bridge, { n: n + 1 })
    await bridge.settled()
    assert.equal(bridge.messages.length, 0)
    for (const _ of [1, 2]) await register(server, 'echo', { [flag]: true })
    await sendTo(server.owner, bridge, { n: 251 })
    await bridge.settled()
    assert.deepEqual(
      bridge.messages.map(({ content }) => content.n),
      numbers(252),
    )
    assert.equal(await (await bridge.instance()).storage.count('toDevice', {}), 0)
  })

  test('is not given what its sync has and what it has acknowledged', async () => {
    await using server = await startServer()
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const bot = await login(server, bridge)
    const { since } = await sync(bot)
    await sendTo(server.owner, bridge, { n: 0 })
    await bridge.settled()
    assert.deepEqual(bridge.messages.length, 1)
    await register(server, 'echo', { [flag]: true, receive_ephemeral: true })
    await bridge.settled()
    assert.deepEqual(bridge.messages.length, 1)
    assert.deepEqual((await sync(bot, since)).contents, [{ n: 0 }])
  })
})

/** Once, at once. */
async function sync(client: Client, since?: string) {
  const filter = { presence: { not_types: ['*'] }, account_data: { not_types: ['*'] }, room: { timeline: { not_types: ['*'] } } }
  const query = `filter=${encodeURIComponent(JSON.stringify(filter))}${since === undefined ? '' : `&since=${since}`}`
  const { status, body } = await client.get(`/sync?${query}`)
  assert.equal(status, 200, JSON.stringify(body))
  return { since: body.next_batch as string, contents: (body.to_device?.events ?? []).map((event: { content: object }) => event.content) }
}

/** Logs in as bridges do that sync: on the device they have. */
async function login(server: TestServer, bridge: EncryptedBridge): Promise<Client> {
  const identifier = { type: 'm.id.user', user: bridge.botId }
  const body = { type: 'm.login.application_service', identifier, device_id: botDevice }
  const reply = await server.request('POST', '/login', body, { token: (await bridge.row()).asToken })
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return server.client(reply.body.access_token, bridge.botId)
}

describe('a bridge that syncs', () => {
  test('gets all its messages by sync and none in transactions, also those from before its first sync', async () => {
    await using server = await startServer()
    await using bridge = await EncryptedBridge.start(server, 'echo')
    await register(server, 'echo', { [flag]: false })
    const roomId = await bridge.portal(server.owner.userId)
    await bridge.settled()
    const before = bridge.transactions.length
    await giveKeys(server.owner)
    await sendTo(server.owner, bridge, { n: 0 })
    await server.owner.send(roomId, 'something to deliver')
    await bridge.settled()
    const bot = await login(server, bridge)
    const first = await sync(bot)
    assert.deepEqual(first.contents, [{ n: 0 }])
    await sendTo(server.owner, bridge, { n: 1 })
    await server.owner.send(roomId, 'something more')
    await bridge.settled()
    assert.deepEqual((await sync(bot, first.since)).contents, [{ n: 1 }])
    const parts = bridge.transactions.slice(before).flatMap((transaction) => Object.keys(transaction))
    assert.deepEqual(
      [...new Set(parts)].filter((part) => /device/.test(part)),
      [],
    )
  })

  test('although its registration is for transactions keeps its messages until its sync has them', async () => {
    await using server = await startServer()
    await using bridge = await EncryptedBridge.start(server, 'echo')
    const bot = await login(server, bridge)
    const first = await sync(bot)
    for (const n of [0, 1]) await sendTo(server.owner, bridge, { n })
    await bridge.peer.until('both came in transactions', () => bridge.messages.length === 2)
    await bridge.settled()
    const second = await sync(bot, first.since)
    assert.deepEqual(second.contents, [{ n: 0 }, { n: 1 }])
    assert.deepEqual((await sync(bot, second.since)).contents, [])
    // Removed behind the answer.
    const { storage } = await bridge.instance()
    while ((await storage.count('toDevice', {})) > 0) await sleep(5)
  })

  test('from one day to the next finds what waits when it was served by transactions before', async () => {
    await using server = await startServer()
    await using bridge = await EncryptedBridge.start(server, 'echo')
    await bridge.settled()
    await bridge.pause(true)
    await sendTo(server.owner, bridge, { n: 0 })
    await register(server, 'echo', { [flag]: false })
    await bridge.pause(false)
    await bridge.settled()
    assert.deepEqual(bridge.messages, [])
    assert.deepEqual((await sync(await login(server, bridge))).contents, [{ n: 0 }])
  })
})
