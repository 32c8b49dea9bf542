// MSC3814: a device that gathers room keys while nobody is logged in.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { putDehydratedDevice } from '../../src/devices/dehydrated-devices.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { type Client, startServer, testPassword } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { accepted, refused } from './backup-rig.ts'
import { makeDeviceKeys, signingKey } from './rig.ts'
import { keyOf, personWithDevices, sendTo } from './to-device-rig.ts'

const path = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device'

/** What matrix-js-sdk sends: the id is a Curve25519 key, and the keys say what kind of device it is. */
function dehydrated(userId: string, { deviceId = signingKey().publicKey, oneTimeKeys = 2 } = {}) {
  const identity = signingKey()
  const device_keys = identity.sign({ ...makeDeviceKeys(userId, deviceId, identity), dehydrated: true }, userId, deviceId)
  const signed = (more: object) => identity.sign({ key: signingKey().publicKey, ...more }, userId, deviceId)
  return {
    device_id: deviceId,
    initial_device_display_name: 'Dehydrated device',
    device_data: { algorithm: 'org.matrix.msc3814.v2', device_pickle: 'encrypted', nonce: 'x' },
    device_keys,
    one_time_keys: Object.fromEntries(Array.from({ length: oneTimeKeys }, (_, i) => [`signed_curve25519:AAAAA${i}`, signed({})])),
    fallback_keys: { 'signed_curve25519:AAAAAf': signed({ fallback: true }) },
  }
}

const put = (client: Client, body: object) => client.request('PUT', path, body)
const events = (client: Client, deviceId: string, from?: string) =>
  client.get(`${path}/${encodeURIComponent(deviceId)}/events${from === undefined ? '' : `?from=${from}`}`)
const eventsOfOld = (client: Client, deviceId: string, next_batch?: string | null) =>
  client.post(`${path}/${encodeURIComponent(deviceId)}/events`, next_batch === undefined ? {} : { next_batch })
const keysOf = async (client: Client, userId: string) =>
  accepted(await client.post('/keys/query', { device_keys: { [userId]: [] } })).device_keys[userId]
const claim = async (client: Client, userId: string, deviceId: string) => {
  const body = { one_time_keys: { [userId]: { [deviceId]: 'signed_curve25519' } } }
  return accepted(await client.post('/keys/claim', body)).one_time_keys[userId]?.[deviceId]
}
const idsOf = async (client: Client) =>
  accepted(await client.get('/devices')).devices.map(({ device_id }: { device_id: string }) => device_id)

await onBothServers('dehydrated devices', (start) => {
  test('one is made with its keys, is found by others as any device, and gives its data back as it came', async () => {
    await using server = await start()
    const [alice, bob] = [await server.register('alice'), await server.register('bob')]
    for (const method of ['GET', 'DELETE']) refused(await alice.request(method, path, {}), 404, 'M_NOT_FOUND')
    const device = dehydrated(alice.userId)
    assert.deepEqual(accepted(await put(alice, device)), { device_id: device.device_id })
    assert.deepEqual(accepted(await alice.get(path)), { device_id: device.device_id, device_data: device.device_data })
    const { unsigned, ...keys } = (await keysOf(bob, alice.userId))[device.device_id]
    assert.equal(JSON.stringify(keys), JSON.stringify(device.device_keys))
    assert.equal(keys.dehydrated, true)
    assert.deepEqual(unsigned, { device_display_name: 'Dehydrated device' })
    for (const keyId of Object.keys(device.one_time_keys)) {
      assert.deepEqual(await claim(bob, alice.userId, device.device_id), {
        [keyId]: (device.one_time_keys as Record<string, unknown>)[keyId],
      })
    }
    for (let i = 0; i < 2; i++) assert.deepEqual(await claim(bob, alice.userId, device.device_id), device.fallback_keys)
    refused(await bob.get(path), 404, 'M_NOT_FOUND')
    // As at Synapse it is one of the devices.
    assert.deepEqual((await idsOf(alice)).sort(), [alice.deviceId, device.device_id].sort())
    await server.restart()
    assert.deepEqual(accepted(await alice.get(path)).device_id, device.device_id)
  })

  test('a new one takes the place of the old one, whose keys and messages go; the same one again changes nothing', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const [alice, bob] = [await server.register('alice'), await server.register('bob')]
    const [old, next] = [dehydrated(alice.userId), dehydrated(alice.userId)]
    accepted(await put(alice, old))
    await sendTo(bob, { [alice.userId]: { '*': { n: 1 } } })
    const claimed = await claim(bob, alice.userId, old.device_id)
    assert.deepEqual(accepted(await put(alice, old)), { device_id: old.device_id })
    assert.notDeepEqual(await claim(bob, alice.userId, old.device_id), claimed, 'no key is handed out twice')
    assert.equal(accepted(await events(alice, old.device_id)).events.length, 1)
    accepted(await put(alice, next))
    assert.deepEqual(accepted(await alice.get(path)).device_id, next.device_id)
    assert.deepEqual((await idsOf(alice)).sort(), [alice.deviceId, next.device_id].sort())
    assert.deepEqual(Object.keys(await keysOf(bob, alice.userId)), [next.device_id])
    assert.equal(await claim(bob, alice.userId, old.device_id), undefined)
    refused(await events(alice, old.device_id), 403, 'M_FORBIDDEN')
    assert.deepEqual(accepted(await events(alice, next.device_id)), { events: [] })
    const user = await keyOf(instance, alice.userId)
    assert.equal(await instance.storage.count('toDevice', { user, deviceId: old.device_id }), 0)
  })

  test('its messages come 100 at a time, in order, and again and again, until it is deleted', async () => {
    await using server = await start()
    const [alice, bob] = [await server.register('alice'), await server.register('bob')]
    const { device_id, ...device } = dehydrated(alice.userId)
    accepted(await put(alice, { device_id, ...device }))
    for (let n = 0; n < 250; n++) await sendTo(bob, { [alice.userId]: { [device_id]: { n } } }, { type: 'm.room.encrypted' })
    const message = (n: number) => ({ type: 'm.room.encrypted', sender: bob.userId, content: { n } })
    const all = Array.from({ length: 250 }, (_, n) => message(n))
    for (let turn = 0; turn < 2; turn++) {
      // As matrix-js-sdk 43 asks: until there is no next_batch.
      const sizes: number[] = []
      const found: unknown[] = []
      for (let from: string | undefined; ; ) {
        const page = accepted(await events(alice, device_id, from))
        sizes.push(page.events.length)
        found.push(...page.events)
        from = page.next_batch
        if (from === undefined) break
      }
      assert.deepEqual([sizes, found], [[100, 100, 50], all])
    }
    // As before: until no events come.
    const sizes: number[] = []
    for (let from: string | undefined; sizes.at(-1) !== 0; ) {
      const page = accepted(await eventsOfOld(alice, device_id, from))
      assert.deepEqual(page.events, all.slice(100 * sizes.length, 100 * sizes.length + 100))
      sizes.push(page.events.length)
      from = page.next_batch
      assert.equal(typeof from, 'string')
    }
    assert.deepEqual(sizes, [100, 100, 50, 0])
    assert.equal(accepted(await eventsOfOld(alice, device_id, null)).events.length, 100)
    // Exactly a page is all.
    assert.deepEqual(accepted(await alice.request('DELETE', path, {})), { device_id })
    accepted(await put(alice, { device_id, ...device }))
    for (let n = 0; n < 100; n++) await sendTo(bob, { [alice.userId]: { [device_id]: { n } } }, { type: 'm.room.encrypted' })
    assert.deepEqual(accepted(await events(alice, device_id)), { events: all.slice(0, 100) })
  })

  test('however it is deleted, nothing of it is left: by its own endpoint, among the devices, with all sessions', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const bob = await server.register('bob')
    const [one, two] = await personWithDevices(server, 'alice', 2)
    const { userId } = one!
    const user = await keyOf(instance, userId)
    const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password: 'correct horse battery staple' }
    const ways: ((deviceId: string) => Promise<unknown>)[] = [
      async () => accepted(await one!.request('DELETE', path, {})),
      async (deviceId) => {
        const address = `/devices/${encodeURIComponent(deviceId)}`
        const { session } = (await one!.request('DELETE', address, {})).body
        accepted(await one!.request('DELETE', address, { auth: { ...auth, session } }))
      },
      async () => accepted(await two!.post('/logout/all')),
    ]
    for (const remove of ways) {
      const device = dehydrated(userId)
      accepted(await put(one!, device))
      await sendTo(bob, { [userId]: { [device.device_id]: { n: 1 } } })
      await remove(device.device_id)
      assert.equal((await keysOf(bob, userId))[device.device_id], undefined)
      assert.equal(await claim(bob, userId, device.device_id), undefined)
      for (const table of ['dehydratedDevice', 'deviceKeys', 'oneTimeKey', 'fallbackKey', 'toDevice'] as const) {
        assert.equal(await instance.storage.count(table, { user }), 0, table)
      }
      assert.equal(await instance.storage.first('device', { user, deviceId: device.device_id }), null)
    }
  })

  test('somebody who logs out keeps it, and the next device reads what came meanwhile', async () => {
    await using server = await start()
    const [first, second] = await personWithDevices(server, 'alice', 2)
    const bob = await server.register('bob')
    const device = dehydrated(first!.userId)
    accepted(await put(first!, device))
    accepted(await first!.post('/logout'))
    await sendTo(bob, { [first!.userId]: { '*': { n: 1 } } })
    assert.deepEqual(accepted(await events(second!, device.device_id)).events[0].content, { n: 1 })
  })
  test('nobody logs in as one, and it goes on as before', async () => {
    await using server = await start()
    const [alice, bob] = [await server.register('alice', testPassword), await server.register('bob')]
    const device = dehydrated(alice.userId)
    accepted(await put(alice, device))
    const identifier = { type: 'm.id.user', user: alice.userId }
    const login = (device_id: string) =>
      server.request('POST', '/login', { type: 'm.login.password', identifier, password: testPassword, device_id })
    refused(await login(device.device_id), 400, 'M_INVALID_PARAM')
    const input = { type: 'm.login.password', user: alice.userId, password: testPassword, deviceId: device.device_id }
    const { errors } = await alice.graphql('mutation($input: LoginInput!) { login(input: $input) { deviceId } }', { input })
    assert.equal(errors[0].extensions.errcode, 'M_INVALID_PARAM')
    await sendTo(bob, { [alice.userId]: { [device.device_id]: { n: 1 } } })
    assert.equal(accepted(await events(alice, device.device_id)).events.length, 1)
    assert.equal(accepted(await login('OTHER')).device_id, 'OTHER')
    // What was one once is a name like others.
    accepted(await alice.request('DELETE', path, {}))
    assert.equal(accepted(await login(device.device_id)).device_id, device.device_id)
  })

  test('a request that was on its way when its user was deactivated makes none, so nothing is kept for it', async () => {
    await using server = await start()
    const [alice, bob] = [await server.register('alice', testPassword), await server.register('bob')]
    accepted(await put(alice, dehydrated(alice.userId)))
    const { instance, actor } = await server.server.host.authenticate(alice.token, null)
    const identifier = { type: 'm.id.user', user: alice.userId }
    const { body } = await alice.post('/account/deactivate', {})
    const auth = { type: 'm.login.password', identifier, password: testPassword, session: body.session }
    accepted(await alice.post('/account/deactivate', { auth }))
    const { device_id: deviceId, device_data: deviceData, device_keys: deviceKeys } = dehydrated(alice.userId)
    await assert.rejects(putDehydratedDevice(instance, actor, { deviceId, deviceData, deviceKeys }), { errcode: 'M_USER_DEACTIVATED' })
    await sendTo(bob, { [alice.userId]: { '*': { n: 1 }, [deviceId]: { n: 2 } } })
    for (const table of ['device', 'dehydratedDevice', 'deviceKeys', 'toDevice'] as const)
      assert.equal(await instance.storage.count(table, { user: actor.user! }), 0, table)
  })
})

describe('dehydrated devices', () => {
  test('the session limit never takes it', async () => {
    await using server = await startServer()
    const [first] = await personWithDevices(server, 'alice', 1)
    const device = dehydrated(first!.userId)
    accepted(await put(first!, device))
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password: 'correct horse battery staple' }
    let last = first!
    for (let i = 0; i < 101; i++) last = server.client(accepted(await server.request('POST', '/login', login)).access_token)
    const ids = await idsOf(last)
    assert.deepEqual([ids.length, ids.includes(device.device_id), ids.includes(first!.deviceId)], [100, true, false])
    assert.equal(accepted(await last.get(path)).device_id, device.device_id)
  })

  test('what is wrong with it is refused, and nothing is made', async () => {
    await using server = await startServer()
    const alice = await server.register('alice')
    const good = dehydrated(alice.userId)
    const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([each]) => each !== name))
    for (const name of ['device_id', 'device_data', 'device_keys']) refused(await put(alice, without(name)), 400, 'M_MISSING_PARAM')
    const wrong: [object, number, string][] = [
      [{ device_data: {} }, 400, 'M_MISSING_PARAM'],
      [{ device_data: { algorithm: 1 } }, 400, 'M_BAD_JSON'],
      [{ device_data: 'text' }, 400, 'M_BAD_JSON'],
      [{ device_data: { algorithm: 'x', y: 0.5 } }, 400, 'M_BAD_JSON'],
      [{ device_data: { algorithm: 'x', y: 'x'.repeat(65_536) } }, 413, 'M_TOO_LARGE'],
      [{ device_id: 'another' }, 400, 'M_INVALID_PARAM'],
      [{ device_id: '' }, 400, 'M_INVALID_PARAM'],
      [{ device_id: 7 }, 400, 'M_BAD_JSON'],
      [{ device_keys: dehydrated('@bob:example.com', { deviceId: good.device_id }).device_keys }, 400, 'M_INVALID_PARAM'],
      [{ device_keys: {} }, 400, 'M_MISSING_PARAM'],
      [{ device_keys: null }, 400, 'M_BAD_JSON'],
      [{ one_time_keys: { nonsense: {} } }, 400, 'M_INVALID_PARAM'],
      [{ one_time_keys: [] }, 400, 'M_BAD_JSON'],
      [{ initial_device_display_name: 'x'.repeat(256) }, 400, 'M_INVALID_PARAM'],
    ]
    for (const [more, status, errcode] of wrong) refused(await put(alice, { ...good, ...more }), status, errcode)
    // A device that somebody is logged in with stays theirs.
    refused(await put(alice, dehydrated(alice.userId, { deviceId: alice.deviceId })), 400, 'M_INVALID_PARAM')
    refused(await alice.get(path), 404, 'M_NOT_FOUND')
    assert.deepEqual(await idsOf(alice), [alice.deviceId])
    // The old one stays where the new one is refused.
    accepted(await put(alice, good))
    const { one_time_keys: _, ...next } = dehydrated(alice.userId)
    refused(await put(alice, { ...next, one_time_keys: { nonsense: {} } }), 400, 'M_INVALID_PARAM')
    assert.equal(accepted(await alice.get(path)).device_id, good.device_id)
    assert.deepEqual(Object.keys(await keysOf(alice, alice.userId)), [good.device_id])
  })

  test('only its own user reads its messages, and of no other device', async () => {
    await using server = await startServer()
    const [alice, bob] = [await server.register('alice'), await server.register('bob')]
    refused(await events(alice, alice.deviceId), 403, 'M_FORBIDDEN')
    const { device_id } = accepted(await put(alice, dehydrated(alice.userId)))
    for (const deviceId of [alice.deviceId, 'unknown', bob.deviceId]) {
      refused(await events(alice, deviceId), 403, 'M_FORBIDDEN')
      refused(await eventsOfOld(alice, deviceId), 403, 'M_FORBIDDEN')
    }
    refused(await events(bob, device_id), 403, 'M_FORBIDDEN')
    for (const token of ['x', 'd', 'd-1', 's5', 'd1.5', `d${'9'.repeat(30)}`]) {
      refused(await events(alice, device_id, token), 400, 'M_INVALID_PARAM')
      refused(await eventsOfOld(alice, device_id, token), 400, 'M_INVALID_PARAM')
    }
    refused(await server.request('GET', path), 401, 'M_MISSING_TOKEN')
  })

  test('an as_token neither makes nor reads one of the owner’s, on both faces; its own users may have one', async () => {
    await using server = await startServer()
    const { owner } = server
    const device = dehydrated(owner.userId)
    accepted(await put(owner, device))
    const bridge = await registerBridge(server, 'one')
    const asOwner = bridge.as(owner.userId)
    const asks: [string, string, object?][] = [
      ['GET', path],
      ['PUT', path, dehydrated(owner.userId)],
      ['DELETE', path, {}],
      ['GET', `${path}/${encodeURIComponent(device.device_id)}/events`],
      ['POST', `${path}/${encodeURIComponent(device.device_id)}/events`, {}],
    ]
    for (const [method, address, body] of asks) refused(await asOwner.request(method, address, body), 403, 'M_FORBIDDEN')
    const headers = { 'content-type': 'application/json' }
    const query = `{ dehydratedDevice { deviceId } dehydratedMessages(deviceId: ${JSON.stringify(device.device_id)}) { nextBatch } }`
    const graphql = `/graphql?user_id=${encodeURIComponent(owner.userId)}`
    const { body } = await server.client(bridge.as_token).request('POST', graphql, { query }, { headers })
    assert.equal(body.errors[0].extensions.errcode, 'M_FORBIDDEN')
    assert.equal(accepted(await owner.get(path)).device_id, device.device_id)
    const own = dehydrated(bridge.botId)
    assert.deepEqual(accepted(await bridge.as(bridge.botId).request('PUT', path, own)), { device_id: own.device_id })
  })

  test('by GraphQL: it is made, read and deleted', async () => {
    await using server = await startServer()
    const [alice, bob] = [await server.register('alice'), await server.register('bob')]
    const { device_id, device_data, device_keys, one_time_keys, fallback_keys } = dehydrated(alice.userId)
    const make = `mutation($id: ID!, $data: JsonObject!, $keys: JsonObject!, $one: JsonObject, $fallback: JsonObject) {
      putDehydratedDevice(deviceId: $id, deviceData: $data, deviceKeys: $keys, oneTimeKeys: $one, fallbackKeys: $fallback) { deviceId deviceData } }`
    const variables = { id: device_id, data: device_data, keys: device_keys, one: one_time_keys, fallback: fallback_keys }
    const made = await alice.graphql(make, variables)
    assert.deepEqual(made, { data: { putDehydratedDevice: { deviceId: device_id, deviceData: device_data } } })
    await sendTo(bob, { [alice.userId]: { [device_id]: { n: 1 } } })
    const read = 'query($id: ID!) { dehydratedDevice { deviceId } dehydratedMessages(deviceId: $id) { messages hasMore nextBatch } }'
    const { data } = await alice.graphql(read, { id: device_id })
    assert.deepEqual(data.dehydratedMessages.messages, [{ type: 'm.room.encrypted', sender: bob.userId, content: { n: 1 } }])
    assert.deepEqual([data.dehydratedDevice.deviceId, data.dehydratedMessages.hasMore], [device_id, false])
    assert.deepEqual(await alice.graphql('mutation { deleteDehydratedDevice }'), { data: { deleteDehydratedDevice: device_id } })
    const { errors } = await alice.graphql('mutation { deleteDehydratedDevice }')
    assert.equal(errors[0].extensions.errcode, 'M_NOT_FOUND')
  })
})
