/** Fallback keys: handed out when no one-time key is left, as often as needed, until the device brings a new one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readKeyCounts } from '../../src/devices/key-counts.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
import { makeKeys, type Signed } from './rig.ts'
import { keyOf } from './to-device-rig.ts'

const algorithm = 'signed_curve25519'

function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

async function claim(client: Client, of: Client, wanted = algorithm): Promise<Signed> {
  const body = { one_time_keys: { [of.userId]: { [of.deviceId]: wanted } } }
  return accepted(await client.post('/keys/claim', body)).one_time_keys[of.userId]?.[of.deviceId]
}

async function unusedTypes(server: TestServer, client: Client): Promise<string[]> {
  const instance = await server.server.host.defaultInstance()
  return JSON.parse((await readKeyCounts(instance, await keyOf(instance, client.userId), client.deviceId)).unusedFallback)
}

await onBothServers('fallback keys', (start) => {
  test('used flag: a fallback key is unused until it is handed out, and a new one is unused again', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const make = (name: string) => makeKeys(owner.userId, owner.deviceId, [name], { fallback: true })
    assert.deepEqual(await unusedTypes(server, owner), [])
    const first = make('AAAAAQ')
    accepted(await owner.post('/keys/upload', { fallback_keys: first, one_time_keys: makeKeys(owner.userId, owner.deviceId, ['one']) }))
    assert.deepEqual(await unusedTypes(server, owner), [algorithm])
    assert.deepEqual(Object.keys(await claim(administrator, owner)), [`${algorithm}:one`])
    assert.deepEqual(await unusedTypes(server, owner), [algorithm])
    const instance = await server.server.host.defaultInstance()
    const before = instance.bus.published
    assert.deepEqual(await claim(administrator, owner), first)
    assert.deepEqual(await unusedTypes(server, owner), [])
    const user = await keyOf(instance, owner.userId)
    assert.ok(instance.bus.since(before)!.some(({ kinds, users }) => kinds.has('keyCount') && users.includes(user)))
    // Handed out again nothing changes that anybody would have to hear of.
    const used = instance.bus.published
    assert.deepEqual(await claim(administrator, owner), first)
    assert.equal(instance.bus.published, used)
    await server.restart()
    assert.deepEqual(await unusedTypes(server, owner), [])

    const second = make('AAAAAg')
    accepted(await owner.post('/keys/upload', { fallback_keys: second }))
    assert.deepEqual(await unusedTypes(server, owner), [algorithm])
    assert.deepEqual(await claim(administrator, owner), second)
    assert.deepEqual(await unusedTypes(server, owner), [])
  })

  test('the same fallback key again stays used; another one under the same id does not', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const make = () => makeKeys(owner.userId, owner.deviceId, ['AAAAAQ'], { fallback: true })
    const [first, second] = [make(), make()]
    accepted(await owner.post('/keys/upload', { fallback_keys: first }))
    await claim(administrator, owner)
    accepted(await owner.post('/keys/upload', { fallback_keys: first }))
    assert.deepEqual(await unusedTypes(server, owner), [])
    accepted(await owner.post('/keys/upload', { fallback_keys: second }))
    assert.deepEqual(await unusedTypes(server, owner), [algorithm])
    assert.deepEqual(await claim(administrator, owner), second)
  })

  test('used flag and count zero in sync: a claim wakes the device, and every answer says what is left', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const left = ({ device_one_time_keys_count, device_unused_fallback_key_types }: Signed) => [
      device_one_time_keys_count,
      device_unused_fallback_key_types,
    ]
    const first = await owner.sync()
    assert.deepEqual(left(first), [{ [algorithm]: 0 }, []])
    const fallback_keys = makeKeys(owner.userId, owner.deviceId, ['AAAAAQ'], { fallback: true })
    const one_time_keys = makeKeys(owner.userId, owner.deviceId, ['one'])
    let since = first.next_batch
    for (const [act, wanted] of [
      [async () => accepted(await owner.post('/keys/upload', { fallback_keys, one_time_keys })), [{ [algorithm]: 1 }, [algorithm]]],
      [() => claim(administrator, owner), [{ [algorithm]: 0 }, [algorithm]]],
      [() => claim(administrator, owner), [{ [algorithm]: 0 }, []]],
    ] as const) {
      const waiting = owner.sync(`since=${since}&timeout=30000`)
      await act()
      const answer = await waiting
      assert.deepEqual(left(answer), wanted)
      since = answer.next_batch
      assert.deepEqual(left(await owner.sync(`since=${since}`)), wanted)
    }
  })

  test('each algorithm has its own', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const fallback_keys = { 'curve25519:plain': 'plain', ...makeKeys(owner.userId, owner.deviceId, ['AAAAAQ'], { fallback: true }) }
    accepted(await owner.post('/keys/upload', { fallback_keys }))
    assert.deepEqual((await unusedTypes(server, owner)).toSorted(), ['curve25519', algorithm])
    assert.deepEqual(await claim(administrator, owner, 'curve25519'), { 'curve25519:plain': 'plain' })
    assert.deepEqual(await unusedTypes(server, owner), [algorithm])
    assert.equal(await claim(administrator, owner, 'other'), undefined)
  })
})

await onBothServers('key counts of bridges', (start) => {
  test('the log of a bridge that wants it names every change of its users’ counts, that of others none', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    for (const [id, wants] of [
      ['wants', true],
      ['syncs', false],
    ] as const) {
      const register =
        'mutation($id: String!, $url: String!, $registration: JsonObject) { registerBridge(id: $id, url: $url, registration: $registration) { registration } }'
      const registration = { 'org.matrix.msc3202': wants }
      const { errors } = await server.administrator.graphql(register, { id, url: 'http://127.0.0.1:1', registration })
      assert.equal(errors, undefined)
      const row = (await instance.storage.first('appservice', { id }))!
      const ghost = `@${id}_1:${instance.bridgeDomain}`
      const bridge = server.client(row.asToken)
      const as = (path: string) => `${path}${path.includes('?') ? '&' : '?'}user_id=${encodeURIComponent(ghost)}`
      accepted(await bridge.post(as('/register'), { type: 'm.login.application_service', username: `${id}_1`, inhibit_login: true }))
      assert.equal((await bridge.put(as('/devices/BRIDGE'), {})).status, 201)
      accepted(await bridge.post(as('/keys/upload?device_id=BRIDGE'), { one_time_keys: makeKeys(ghost, 'BRIDGE', ['AAAAAQ']) }))
      const user = await keyOf(instance, ghost)
      for (const counts of [{ [algorithm]: 1 }, { [algorithm]: 0 }]) {
        const key = (await instance.storage.first('keyCount', { user, deviceId: 'BRIDGE' }))!
        assert.deepEqual([JSON.parse(key.counts), key.appservice], [counts, row.key])
        const waits = await instance.storage.find('interest', { where: { appservice: row.key, position: key.position } })
        assert.deepEqual(
          waits.map(({ room }) => room),
          wants ? [0] : [],
        )
        const claims = { one_time_keys: { [ghost]: { BRIDGE: algorithm } } }
        accepted(await server.owner.post('/keys/claim', claims))
      }
    }
  })
})

test('counts are read once and then known; what is committed meanwhile is not overwritten by what was read before', async () => {
  await using server = await startServer()
  const { owner } = server
  const instance = await server.server.host.defaultInstance()
  const user = await keyOf(instance, owner.userId)
  let reads = 0
  const wait = Promise.withResolvers<void>()
  const { storage } = instance
  Object.assign(instance, {
    storage: {
      ...storage,
      first: async (...args: Parameters<typeof storage.first>) => {
        const row = await storage.first(...args)
        if (args[0] !== 'keyCount') return row
        reads++
        await wait.promise
        return row
      },
    },
  })
  const before = readKeyCounts(instance, user, owner.deviceId)
  accepted(await owner.post('/keys/upload', { one_time_keys: makeKeys(owner.userId, owner.deviceId, ['AAAAAQ']) }))
  wait.resolve()
  assert.deepEqual(await before, { counts: '{"signed_curve25519":0}', unusedFallback: '[]' })
  for (let n = 0; n < 3; n++) {
    assert.deepEqual(await readKeyCounts(instance, user, owner.deviceId), { counts: '{"signed_curve25519":1}', unusedFallback: '[]' })
  }
  assert.equal(reads, 1)
})
