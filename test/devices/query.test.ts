/** Asking for the keys of users and of their devices. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { claimKeys } from '../../src/devices/claim-keys.ts'
import { queryKeys } from '../../src/devices/key-query.ts'
import type { OpenInstance } from '../../src/instances/open-instance.ts'
import { command } from '../../src/stream/command.ts'
import { makeUser, putUser } from '../../src/users/users.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { type Client, type Reply, startServer, testPassword } from '../rig/server.ts'
import { makeDeviceKeys, makeIdentity, makeKeys, type Signed, signingKey } from './rig.ts'
import { personWithDevices } from './to-device-rig.ts'

function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

async function query(client: Client, device_keys: object): Promise<Signed> {
  return accepted(await client.post('/keys/query', { device_keys, timeout: 10_000 }))
}

async function uploadDevice(client: Client): Promise<Signed> {
  const device_keys = makeDeviceKeys(client.userId, client.deviceId)
  accepted(await client.post('/keys/upload', { device_keys }))
  return device_keys
}

await onBothServers('keys/query', (start) => {
  test('every user of this server stands in the answer, with no device or unknown too; a device without keys does not', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const [one, two, three] = (await personWithDevices(server, 'bob', 3)) as [Client, Client, Client]
    const keys = [await uploadDevice(one), await uploadDevice(two)]
    // It has keys to be claimed, but none of its own.
    accepted(await three.post('/keys/upload', { one_time_keys: makeKeys(three.userId, three.deviceId, ['AAAAAQ']) }))
    const answer = await query(owner, {
      [one.userId]: [],
      '@nobody:example.com': [],
      [administrator.userId]: [],
      [owner.userId]: [owner.deviceId],
    })
    assert.deepEqual(answer, {
      device_keys: {
        [one.userId]: { [one.deviceId]: { ...keys[0], unsigned: {} }, [two.deviceId]: { ...keys[1], unsigned: {} } },
        '@nobody:example.com': {},
        [administrator.userId]: {},
        [owner.userId]: {},
      },
      master_keys: {},
      self_signing_keys: {},
      user_signing_keys: {},
      failures: {},
    })
    assert.deepEqual((await query(owner, {})).device_keys, {})
  })

  test('of the devices that are named only those with keys are there', async () => {
    await using server = await start()
    const [one, two] = (await personWithDevices(server, 'bob', 2)) as [Client, Client]
    for (const client of [one, two]) await uploadDevice(client)
    const wanted = [two.deviceId, 'UNKNOWN', 'a\0b', '__proto__', two.deviceId]
    const { device_keys } = await query(server.owner, { [one.userId]: wanted })
    assert.deepEqual(Object.keys(device_keys[one.userId]), [two.deviceId])
  })

  test('users of other servers are failures of their server, once for all of them', async () => {
    await using server = await start()
    const { owner } = server
    const others = { '@a:matrix.org': [], '@b:matrix.org': [], '@c:other.example:8448': ['X'] }
    const { device_keys, failures } = await query(owner, { ...others, [owner.userId]: [] })
    assert.deepEqual(device_keys, { [owner.userId]: {} })
    assert.deepEqual(Object.keys(failures), ['matrix.org', 'other.example:8448'])
    assert.equal(failures['matrix.org'].errcode, 'M_FORBIDDEN')
  })

  test('the name of a device stands beside its keys, and nothing else that is unsigned', async () => {
    await using server = await start()
    const client = await server.register('bob', testPassword)
    const device_keys = { ...makeDeviceKeys(client.userId, client.deviceId), unsigned: { device_display_name: 'false', more: 1 } }
    accepted(await client.post('/keys/upload', { device_keys }))
    const unsigned = async () => (await query(server.owner, { [client.userId]: [] })).device_keys[client.userId][client.deviceId].unsigned
    assert.deepEqual(await unsigned(), {})
    accepted(await client.put(`/devices/${client.deviceId}`, { display_name: 'Bob’s "phone"' }))
    assert.deepEqual(await unsigned(), { device_display_name: 'Bob’s "phone"' })
  })

  test('cross-signing keys are there for everybody, the user-signing key for its user, and signatures for whom they concern', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const bob = await server.register('bob', testPassword)
    const [ownerDevice, bobDevice] = [signingKey(), signingKey()]
    const keys = {
      [owner.userId]: makeDeviceKeys(owner.userId, owner.deviceId, ownerDevice),
      [bob.userId]: makeDeviceKeys(bob.userId, bob.deviceId, bobDevice),
    }
    const identities = { [owner.userId]: makeIdentity(owner.userId), [bob.userId]: makeIdentity(bob.userId) }
    for (const client of [owner, bob]) {
      accepted(await client.post('/keys/upload', { device_keys: keys[client.userId] }))
      accepted(await client.post('/keys/device_signing/upload', identities[client.userId]!.body))
    }
    const [mine, theirs] = [identities[owner.userId]!, identities[bob.userId]!]
    const sign = async (client: Client, userId: string, target: string, object: object) => {
      const { failures } = accepted(await client.post('/keys/signatures/upload', { [userId]: { [target]: object } }))
      assert.deepEqual(failures, {})
    }
    // Each signs their own device, and their master key with it; the owner trusts Bob.
    for (const [client, identity, device] of [
      [owner, mine, ownerDevice],
      [bob, theirs, bobDevice],
    ] as const) {
      const { userId, deviceId } = client
      await sign(client, userId, deviceId, identity.selfSigning.sign(keys[userId], userId))
      await sign(client, userId, identity.master.publicKey, device.sign(identity.body.master_key, userId, deviceId))
    }
    await sign(owner, bob.userId, theirs.master.publicKey, mine.userSigning.sign(theirs.body.master_key, owner.userId))

    const wanted = { [owner.userId]: [], [bob.userId]: [] }
    const signedBy = (object: Signed) =>
      Object.entries(object.signatures).flatMap(([userId, own]) => Object.keys(own as object).map((keyId) => `${userId} ${keyId}`))
    for (const viewer of [owner, bob, administrator]) {
      const answer = await query(viewer, wanted)
      for (const [client, identity] of [
        [owner, mine],
        [bob, theirs],
      ] as const) {
        const { userId, deviceId } = client
        const device = answer.device_keys[userId][deviceId]
        const own = (name: string) => `${userId} ed25519:${name}`
        assert.deepEqual(signedBy(device).sort(), [own(deviceId), own(identity.selfSigning.publicKey)].sort())
        assert.deepEqual(device.signatures[userId], {
          ...keys[userId].signatures[userId],
          ...identity.selfSigning.sign(keys[userId], userId).signatures[userId],
        })
        const trust = viewer === owner && client === bob ? [`${owner.userId} ed25519:${mine.userSigning.publicKey}`] : []
        assert.deepEqual(signedBy(answer.master_keys[userId]).sort(), [own(deviceId), ...trust].sort())
        const { signatures: _, ...master } = answer.master_keys[userId]
        assert.deepEqual(master, identity.body.master_key)
        assert.deepEqual(answer.self_signing_keys[userId], identity.body.self_signing_key)
      }
      const userSigning = viewer === administrator ? {} : { [viewer.userId]: identities[viewer.userId]!.body.user_signing_key }
      assert.deepEqual(answer.user_signing_keys, userSigning)
    }
  })

  test('users who are deactivated have no devices: nothing is told of them, nothing handed out; those who are locked keep theirs', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const bob = await server.register('bob', testPassword)
    await uploadDevice(bob)
    accepted(await bob.post('/keys/device_signing/upload', makeIdentity(bob.userId).body))
    accepted(await bob.post('/keys/upload', { one_time_keys: makeKeys(bob.userId, bob.deviceId, ['AAAAAQ']) }))
    const ask = async () => {
      const { device_keys, master_keys } = await query(server.owner, { [bob.userId]: [] })
      const claims = { one_time_keys: { [bob.userId]: { [bob.deviceId]: 'signed_curve25519' } } }
      const { one_time_keys } = accepted(await server.owner.post('/keys/claim', claims))
      return [Object.keys(device_keys[bob.userId]).length, Object.keys(master_keys).length, Object.keys(one_time_keys).length]
    }
    await setStatus(instance, bob.userId, 'deactivated')
    assert.deepEqual(await ask(), [0, 0, 0])
    await setStatus(instance, bob.userId, 'locked')
    assert.deepEqual(await ask(), [1, 1, 1])
  })

  test('what is no list, no user id or too much is refused', async () => {
    await using server = await start()
    const { owner } = server
    const wrong: [object, number, string][] = [
      [{}, 400, 'M_MISSING_PARAM'],
      [{ device_keys: [] }, 400, 'M_BAD_JSON'],
      [{ device_keys: { [owner.userId]: {} } }, 400, 'M_BAD_JSON'],
      [{ device_keys: { [owner.userId]: { device_id: 'X' } } }, 400, 'M_BAD_JSON'],
      [{ device_keys: { [owner.userId]: 'X' } }, 400, 'M_BAD_JSON'],
      [{ device_keys: { [owner.userId]: null } }, 400, 'M_BAD_JSON'],
      [{ device_keys: { [owner.userId]: [1] } }, 400, 'M_BAD_JSON'],
      [{ device_keys: {}, timeout: 'x' }, 400, 'M_BAD_JSON'],
      [{ device_keys: { nobody: [] } }, 400, 'M_INVALID_PARAM'],
      [{ device_keys: { '@a\0:example.com': [] } }, 400, 'M_INVALID_PARAM'],
      [{ device_keys: { [`@${'a'.repeat(250)}:example.com`]: [] } }, 400, 'M_INVALID_PARAM'],
      [{ device_keys: Object.fromEntries(users(10_001).map((userId) => [userId, []])) }, 413, 'M_TOO_LARGE'],
    ]
    for (const [body, status, errcode] of wrong) {
      const reply = await owner.post('/keys/query', body)
      assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(body).slice(0, 200))
    }
    assert.equal((await server.request('POST', '/keys/query', { device_keys: {} })).status, 401)
    assert.equal(
      Object.keys((await query(owner, Object.fromEntries(users(10_000).map((userId) => [userId, []])))).device_keys).length,
      10_000,
    )
  })
})

test('1 100 users, all with devices and some with many, are answered whole and in their order, by few reads', async () => {
  await using server = await startServer()
  const instance = await server.server.host.defaultInstance()
  const userIds = users(1_100)
  const devices = (index: number) => (index % 50 === 0 ? 7 : 1)
  await command(instance, (decision) => {
    for (const [index, userId] of userIds.entries()) {
      const { key: user } = makeUser(decision, { userId, kind: 'ghost' })
      for (let n = 0; n < devices(index); n++) {
        const json = JSON.stringify({ user_id: userId, device_id: `D${n}` })
        decision.write('deviceKeys', { instance: instance.key, user, deviceId: `D${n}`, json, position: decision.takePosition() })
      }
    }
  })
  const reads = countReads(instance)
  // Asked for the other way round than they were made.
  const asked = userIds.toReversed()
  const { device_keys } = await query(server.owner, Object.fromEntries(asked.map((userId) => [userId, []])))
  assert.deepEqual(Object.keys(device_keys), asked)
  for (const [index, userId] of userIds.entries()) {
    const wanted = Array.from({ length: devices(index) }, (_, n) => [`D${n}`, { user_id: userId, device_id: `D${n}`, unsigned: {} }])
    assert.deepEqual(device_keys[userId], Object.fromEntries(wanted))
  }
  assert.ok(reads() < 30, `${reads()} reads`)
})

test('who asks for many users, or claims from many devices, gives others their turn in between', async () => {
  await using server = await startServer()
  const instance = await server.server.host.defaultInstance()
  const { actor } = await server.server.host.authenticate(server.owner.token, null)
  const turnsOf = async (work: () => Promise<unknown>) => {
    let turns = 0
    let isDone = false
    const turn = () => {
      turns++
      if (!isDone) setImmediate(turn)
    }
    setImmediate(turn)
    await work()
    isDone = true
    return turns
  }
  const asked = Object.fromEntries(users(2_001).map((userId) => [userId, []]))
  const queried = await turnsOf(async () => {
    for await (const _ of await queryKeys(instance, actor, asked));
  })
  assert.ok(queried >= 4, `${queried} turns`)
  const wanted = Object.fromEntries(users(81).map((userId) => [userId, { DEVICE: 'signed_curve25519' }]))
  const claimed = await turnsOf(() => claimKeys(instance, wanted))
  assert.ok(claimed >= 4, `${claimed} turns`)
})

function users(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `@user${index}:example.com`)
}

async function setStatus(instance: OpenInstance, userId: string, status: string): Promise<void> {
  await command(instance, (decision) => putUser(decision, { ...decision.find('user', { userId })!, status }))
}

/** How often the instance's database was asked since. */
function countReads(instance: OpenInstance): () => number {
  let reads = 0
  const { storage } = instance
  const counted = new Proxy(storage, {
    get(target, name) {
      reads++
      return Reflect.get(target, name)
    },
  })
  Object.assign(instance, { storage: counted })
  return () => reads
}
