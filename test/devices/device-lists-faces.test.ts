/** GET /keys/changes, and what a client that knows only GraphQL is told: its messages, device lists and key counts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GraphqlClient, GraphqlError, until } from '../interop/graphql/client.ts'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { makeDeviceKeys, makeKeys } from './rig.ts'
import { contentsOf, keyOf, personWithDevices, sendTo } from './to-device-rig.ts'

function refused({ status, body }: Reply, ...wanted: [number, string]): void {
  assert.deepEqual([status, body.errcode], wanted, JSON.stringify(body))
}

async function changeKeys(client: Client): Promise<void> {
  const { status } = await client.post('/keys/upload', { device_keys: makeDeviceKeys(client.userId, client.deviceId) })
  assert.equal(status, 200)
}

async function personWithKeys(server: TestServer, localpart: string): Promise<Client> {
  const [client] = await personWithDevices(server, localpart, 1)
  await changeKeys(client!)
  return client!
}

function graphql(server: TestServer, { userId, deviceId, token }: Client): GraphqlClient {
  return new GraphqlClient(() => server.url, { userId, deviceId, accessToken: token })
}

/** They share a room from now on. */
async function meet(host: Client, guest: Client): Promise<string> {
  const roomId = await host.createRoom({ invite: [guest.userId] })
  await guest.post(`/join/${roomId}`)
  return roomId
}

const messagesLive = `subscription ($after: Position) {
  toDeviceMessages(after: $after) { position messages { position type sender content } }
}`
const listsLive = 'subscription ($after: Position) { deviceListChanges(after: $after) { position changed left } }'
const countsLive = 'subscription { keyCounts { oneTimeKeys unusedFallbackKeyTypes } }'
const acknowledge = 'mutation ($upTo: Position!) { acknowledgeToDeviceMessages(upTo: $upTo) }'

await onBothServers('GET /keys/changes', (start) => {
  test('says what syncs between the two tokens said, and after them', async () => {
    await using server = await start()
    const [alice, bob, carol] = [
      await personWithKeys(server, 'alice'),
      await personWithKeys(server, 'bob'),
      await personWithKeys(server, 'carol'),
    ]
    const roomId = await meet(alice, bob)
    const between = async (from: string, to: string) => (await alice.get(`/keys/changes?from=${from}&to=${to}`)).body
    const nothing = { changed: [], left: [] }
    const tokens = [(await alice.sync()).next_batch]
    assert.deepEqual(await between(tokens[0], tokens[0]), nothing)
    await changeKeys(bob)
    await changeKeys(carol)
    tokens.push((await alice.sync()).next_batch)
    await bob.post(`/rooms/${roomId}/leave`)
    tokens.push((await alice.sync()).next_batch)
    await server.restart()
    assert.deepEqual(await between(tokens[0], tokens[2]), { changed: [], left: [bob.userId] })
    assert.deepEqual(await between(tokens[1], tokens[2]), { changed: [], left: [bob.userId] })
    assert.deepEqual(await between(tokens[2], tokens[0]), nothing, 'the wrong way round')
    const again = await meet(alice, bob)
    const last = (await alice.sync()).next_batch
    assert.deepEqual(await between(tokens[2], last), { changed: [bob.userId], left: [] })
    assert.deepEqual(await between('s0', 's9007199254740991'), { changed: [alice.userId, bob.userId], left: [] })
    assert.ok(again)
  })

  test('refuses what is no token, to be asked without one of its own, and puppets', async () => {
    await using server = await start()
    const { next_batch: token } = await server.owner.sync()
    refused(await server.owner.get(`/keys/changes?from=nonsense&to=${token}`), 400, 'M_INVALID_PARAM')
    refused(await server.owner.get(`/keys/changes?from=${token}`), 400, 'M_MISSING_PARAM')
    refused(await server.request('GET', `/keys/changes?from=${token}&to=${token}`), 401, 'M_MISSING_TOKEN')
    const bridge = await registerBridge(server, 'lists')
    refused(await bridge.as(server.owner.userId).request('GET', `/keys/changes?from=${token}&to=${token}`), 403, 'M_FORBIDDEN')
    const bot = await bridge.as(bridge.botId).request('GET', `/keys/changes?from=${token}&to=${token}`)
    assert.deepEqual(bot.body, { changed: [], left: [] })
  })
})

await onBothServers('a client of GraphQL alone', (start) => {
  test('gets each message exactly once, through cuts and a restart: they stay until they are acknowledged', async () => {
    await using server = await start()
    const [bob, alice] = [await personWithKeys(server, 'bob'), await personWithKeys(server, 'alice')]
    const client = graphql(server, alice)
    const send = async (n: number) => sendTo(bob, { [alice.userId]: { [alice.deviceId]: { n } } })
    await send(0)
    const seen: number[] = []
    const live = client.follow(messagesLive, {}, ({ toDeviceMessages: { position, messages } }) => {
      for (const { type, sender, content } of messages) {
        assert.deepEqual([type, sender], ['m.room.encrypted', bob.userId])
        seen.push(content.n)
      }
      return { position, value: position }
    })
    await until('what waited', () => seen.length === 1)
    for (let n = 1; n < 20; n++) {
      await send(n)
      if (n % 7 === 0) live.cut()
      if (n === 10) await server.restart()
    }
    await until('all of them', () => seen.length >= 20)
    await live.stop()
    assert.deepEqual(
      seen,
      Array.from({ length: 20 }, (_, n) => n),
    )
    const instance = await server.server.host.defaultInstance()
    assert.equal((await contentsOf(instance, alice)).length, 20)
    const half = live.values.find((_, i) => i >= live.values.length / 2)!
    assert.deepEqual(await client.ask(acknowledge, { upTo: half }), { acknowledgeToDeviceMessages: true })
    const rest = (await contentsOf(instance, alice)) as { n: number }[]
    assert.ok(rest.length > 0 && rest.length < 20)
    for (const after of [null, 9_000_000_000_000]) {
      const anew = client.subscription(messagesLive, { after })
      const { messages } = (await anew.next()).toDeviceMessages
      const contents = messages.map(({ content }: { content: unknown }) => content)
      assert.deepEqual(contents, rest, 'without a position of ours: all that is not acknowledged')
      anew.cut()
    }
    const device = await instance.storage.first('device', { user: await keyOf(instance, alice.userId), deviceId: alice.deviceId })
    assert.notEqual(device?.syncedAt, null, 'it takes its messages itself')
  })

  test('gets 250 waiting messages in slices of 100, 100 and 50', async () => {
    await using server = await start()
    const alice = await personWithKeys(server, 'alice')
    for (let n = 0; n < 250; n++) await sendTo(alice, { [alice.userId]: { '*': { n } } })
    const live = graphql(server, alice).subscription(messagesLive)
    const sizes: number[] = []
    for (let i = 0; i < 3; i++) sizes.push((await live.next()).toDeviceMessages.messages.length)
    assert.deepEqual(sizes, [100, 100, 50])
    live.cut()
  })

  test('is told of device lists from a position on, also after a restart, and not of strangers', async () => {
    await using server = await start()
    const [alice, bob, carol] = [
      await personWithKeys(server, 'alice'),
      await personWithKeys(server, 'bob'),
      await personWithKeys(server, 'carol'),
    ]
    const client = graphql(server, alice)
    const live = client.follow(listsLive, { after: await client.position() }, ({ deviceListChanges: { position, changed, left } }) => ({
      position,
      value: { changed, left },
    }))
    await changeKeys(carol)
    const roomId = await meet(alice, bob)
    await until('bob', () => live.values.length >= 1)
    await live.stop()
    assert.ok(live.values.every(({ changed, left }) => changed.join() === bob.userId && left.length === 0))
    await changeKeys(bob)
    await changeKeys(alice)
    await bob.post(`/rooms/${roomId}/leave`)
    await server.restart()
    const later = client.subscription(listsLive, { after: live.position })
    const { changed, left } = (await later.next()).deviceListChanges
    assert.deepEqual({ changed, left }, { changed: [alice.userId], left: [bob.userId] })
    later.cut()
    const { deviceLists } = await client.ask(
      'query ($from: String!, $to: String!) { deviceLists(from: $from, to: $to) { changed left } }',
      {
        from: `s${live.position}`,
        to: `s${await client.position()}`,
      },
    )
    assert.deepEqual(deviceLists, { changed: [alice.userId], left: [bob.userId] })
  })

  test('is told its key counts, as they are and whenever they change, and those of no other device', async () => {
    await using server = await start()
    const [alice, other] = (await personWithDevices(server, 'alice', 2)) as [Client, Client]
    await changeKeys(alice)
    const client = graphql(server, alice)
    const upload = (device: Client, ...names: string[]) =>
      device.post('/keys/upload', { one_time_keys: makeKeys(device.userId, device.deviceId, names) })
    const live = client.subscription(countsLive)
    const next = async () => (await live.next()).keyCounts
    assert.deepEqual(await next(), { oneTimeKeys: { signed_curve25519: 0 }, unusedFallbackKeyTypes: [] })
    await upload(other, 'a', 'b', 'c')
    await upload(alice, 'a', 'b')
    assert.deepEqual((await next()).oneTimeKeys, { signed_curve25519: 2 })
    await other.post('/keys/claim', { one_time_keys: { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } } })
    assert.deepEqual((await next()).oneTimeKeys, { signed_curve25519: 1 })
    live.cut()
    const { keyCounts } = await client.ask('{ keyCounts { oneTimeKeys unusedFallbackKeyTypes } }')
    assert.deepEqual(keyCounts, { oneTimeKeys: { signed_curve25519: 1 }, unusedFallbackKeyTypes: [] })
  })

  test('without a device, or ahead of the stream, it is refused', async () => {
    await using server = await start()
    const bridge = await registerBridge(server, 'lists')
    await bridge.as(bridge.botId).request('GET', '/account/whoami')
    const bot = new GraphqlClient(() => server.url, { userId: bridge.botId, deviceId: '', accessToken: bridge.as_token })
    const errcode = (code: string) => (error: unknown) => error instanceof GraphqlError && error.errcode === code
    for (const query of [messagesLive, listsLive, countsLive]) {
      await assert.rejects(async () => bot.subscription(query).next(), errcode('M_MISSING_PARAM'))
    }
    await assert.rejects(() => bot.ask('{ keyCounts { oneTimeKeys } }'), errcode('M_MISSING_PARAM'))
    await assert.rejects(() => bot.ask(acknowledge, { upTo: 1 }), errcode('M_MISSING_PARAM'))
    const alice = graphql(server, await personWithKeys(server, 'alice'))
    await assert.rejects(() => alice.ask(acknowledge, { upTo: 9_000_000_000_000 }), errcode('M_INVALID_PARAM'))
  })
})
