/** Claiming keys: each one-time key goes to one who asks, and to nobody else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readKeyCounts } from '../../src/devices/key-counts.ts'
import { command } from '../../src/stream/command.ts'
import { makeUser } from '../../src/users/users.ts'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { makeKeys, type Signed } from './rig.ts'
import { keyOf, personWithDevices } from './to-device-rig.ts'

const algorithm = 'signed_curve25519'

function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

async function upload(client: Client, body: object): Promise<Signed> {
  return accepted(await client.post('/keys/upload', body)).one_time_key_counts
}

async function claim(client: Client, one_time_keys: object): Promise<Signed> {
  return accepted(await client.post('/keys/claim', { one_time_keys, timeout: 10_000 }))
}

/** Id of the key that was handed out; null when there was none. */
async function claimOne(client: Client, of: Client, wanted = algorithm): Promise<string | null> {
  const { one_time_keys } = await claim(client, { [of.userId]: { [of.deviceId]: wanted } })
  const key = one_time_keys[of.userId]?.[of.deviceId]
  return key ? Object.keys(key).join() : null
}

function numbered(from: number, to: number, name = algorithm): Record<string, Signed> {
  return Object.fromEntries(Array.from({ length: to - from }, (_, index) => [`${name}:${from + index}`, { key: `key ${from + index}` }]))
}

await onBothServers('keys/claim', (start) => {
  test('claim order is that of the uploads; exhaustion leads to the fallback key, which stays', async () => {
    await using server = await start()
    const { owner, administrator } = server
    // Neither by name nor by number.
    const names = ['zz', 'AA', '10', '9', 'mm']
    await upload(owner, { one_time_keys: makeKeys(owner.userId, owner.deviceId, names.slice(0, 3)) })
    await upload(owner, { one_time_keys: makeKeys(owner.userId, owner.deviceId, names.slice(3)) })
    const fallback_keys = makeKeys(owner.userId, owner.deviceId, ['fallback'], { fallback: true })
    await upload(owner, { fallback_keys })
    for (const name of names) assert.equal(await claimOne(administrator, owner), `${algorithm}:${name}`)
    for (let n = 0; n < 3; n++) {
      const { one_time_keys } = await claim(administrator, { [owner.userId]: { [owner.deviceId]: algorithm } })
      assert.deepEqual(one_time_keys, { [owner.userId]: { [owner.deviceId]: fallback_keys } })
    }
    // New ones come before it again.
    await upload(owner, { one_time_keys: makeKeys(owner.userId, owner.deviceId, ['new']) })
    assert.equal(await claimOne(administrator, owner), `${algorithm}:new`)
    assert.equal(await claimOne(administrator, owner), `${algorithm}:fallback`)
  })

  test('double claim race returns distinct keys: 200 at once get 200 keys, and who comes later the fallback key', async () => {
    await using server = await start()
    const { owner, administrator } = server
    await upload(owner, { one_time_keys: numbered(0, 200), fallback_keys: { [`${algorithm}:last`]: 'last' } })
    const bob = await server.register('bob')
    const claims = Array.from({ length: 220 }, (_, index) => claimOne([owner, administrator, bob][index % 3]!, owner))
    const keys = await Promise.all(claims)
    const distinct = new Set(keys)
    assert.equal(distinct.size, 201)
    assert.equal(keys.filter((key) => key === `${algorithm}:last`).length, 20)
    assert.deepEqual(distinct, new Set([...Object.keys(numbered(0, 200)), `${algorithm}:last`]))
    assert.deepEqual(await upload(owner, {}), { [algorithm]: 0 })
  })

  test('uploads and claims at once lose no key and give none twice', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const uploads = Array.from({ length: 10 }, (_, n) => owner.post('/keys/upload', { one_time_keys: numbered(n * 10, n * 10 + 10) }))
    const claims = Array.from({ length: 60 }, () => claimOne(administrator, owner))
    const [replies, keys] = await Promise.all([Promise.all(uploads), Promise.all(claims)])
    for (const { status } of replies) assert.equal(status, 200)
    const got = keys.filter((key) => key !== null)
    for (let key = await claimOne(owner, owner); key !== null; key = await claimOne(owner, owner)) got.push(key)
    assert.deepEqual(got.toSorted(), Object.keys(numbered(0, 100)).sort())
  })

  test('a claim that was answered is never handed out again, also after a restart', async () => {
    await using server = await start()
    const { owner, administrator } = server
    await upload(owner, { one_time_keys: numbered(0, 4), fallback_keys: { [`${algorithm}:last`]: 'last' } })
    const got: (string | null)[] = []
    for (let n = 0; n < 6; n++) {
      got.push(await claimOne(administrator, owner))
      await server.restart()
    }
    assert.deepEqual(got, [...Object.keys(numbered(0, 4)), `${algorithm}:last`, `${algorithm}:last`])
    assert.deepEqual(await upload(owner, { one_time_keys: numbered(0, 4) }), { [algorithm]: 0 })
  })

  test('of the keys that were handed out the last 200 are known', async () => {
    await using server = await start()
    const { owner } = server
    const instance = await server.server.host.defaultInstance()
    for (const from of [0, 200]) {
      await upload(owner, { one_time_keys: numbered(from, from + 200) })
      for (let n = 0; n < 200; n++) await claimOne(owner, owner)
    }
    const rows = await instance.storage.find('oneTimeKey', { where: { deviceId: owner.deviceId }, orderBy: ['order'] })
    assert.deepEqual(
      rows.map(({ keyId }) => keyId),
      Object.keys(numbered(200, 400)),
    )
    assert.deepEqual(await upload(owner, { one_time_keys: numbered(200, 400) }), { [algorithm]: 0 })
  })

  test('count zero after the last claim, and the device that has to bring new keys hears of every claim', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const instance = await server.server.host.defaultInstance()
    const user = await keyOf(instance, owner.userId)
    const counts = async () => JSON.parse((await readKeyCounts(instance, user, owner.deviceId)).counts) as unknown
    assert.deepEqual(await counts(), { [algorithm]: 0 })
    await upload(owner, { one_time_keys: { ...numbered(0, 2), 'curve25519:x': 'x' } })
    for (const [wanted, left] of [
      ['signed_curve25519', { [algorithm]: 1, curve25519: 1 }],
      ['signed_curve25519', { [algorithm]: 0, curve25519: 1 }],
      ['curve25519', { [algorithm]: 0, curve25519: 0 }],
    ] as const) {
      const before = instance.bus.published
      assert.notEqual(await claimOne(administrator, owner, wanted), null)
      assert.deepEqual(await counts(), left)
      assert.deepEqual(await upload(owner, {}), left)
      assert.ok(instance.bus.since(before)!.some(({ kinds, users }) => kinds.has('keyCount') && users.includes(user)))
    }
    // In vain: nothing has changed.
    const before = instance.bus.published
    assert.equal(await claimOne(administrator, owner), null)
    assert.equal(instance.bus.published, before)
    await server.restart()
    const again = await server.server.host.defaultInstance()
    assert.deepEqual(JSON.parse((await readKeyCounts(again, user, owner.deviceId)).counts), { [algorithm]: 0, curve25519: 0 })
  })

  test('what there is nothing of is left out: users, devices, algorithms; other servers are failures', async () => {
    await using server = await start()
    const [one, two] = (await personWithDevices(server, 'bob', 2)) as [Client, Client]
    await upload(one, { one_time_keys: makeKeys(one.userId, one.deviceId, ['AAAAAQ']) })
    const wanted = {
      [one.userId]: {
        [one.deviceId]: 'curve25519',
        [two.deviceId]: algorithm,
        UNKNOWN: algorithm,
        'a\0b': algorithm,
      },
      '@nobody:example.com': { [one.deviceId]: algorithm },
      [server.administrator.userId]: { [one.deviceId]: algorithm },
      '@c:matrix.org': { X: algorithm },
      '@d:matrix.org': {},
    }
    const { one_time_keys, failures } = await claim(server.owner, wanted)
    assert.deepEqual(one_time_keys, {})
    assert.deepEqual(Object.keys(failures), ['matrix.org'])
    assert.equal(await claimOne(server.owner, one), `${algorithm}:AAAAAQ`)
  })

  test('two users with devices of the same name have their own keys', async () => {
    await using server = await start()
    const bridge = await registerBridge(server, 'same')
    const ghosts = [bridge.ghost(1), bridge.ghost(2), bridge.ghost(3)]
    for (const userId of ghosts) {
      const as = bridge.as(userId)
      for (const deviceId of ['ONE', 'TWO']) {
        await as.request('PUT', `/devices/${deviceId}`, {})
        const one_time_keys = { [`${algorithm}:x`]: `${userId} ${deviceId}` }
        accepted(await as.request('POST', `/keys/upload?device_id=${deviceId}`, { one_time_keys }))
      }
    }
    await server.restart()
    const [a, b] = ghosts as [string, string, string]
    const { one_time_keys } = await claim(server.owner, { [a]: { ONE: algorithm }, [b]: { TWO: algorithm } })
    assert.deepEqual(one_time_keys, { [a]: { ONE: { [`${algorithm}:x`]: `${a} ONE` } }, [b]: { TWO: { [`${algorithm}:x`]: `${b} TWO` } } })
    // And who was read beside them still has theirs.
    for (const [userId, deviceId] of ghosts.flatMap((id) => [
      [id, 'ONE'],
      [id, 'TWO'],
    ]) as [string, string][]) {
      const { one_time_keys: keys } = await claim(server.owner, { [userId]: { [deviceId]: algorithm } })
      const gone = (userId === a && deviceId === 'ONE') || (userId === b && deviceId === 'TWO')
      assert.deepEqual(keys, gone ? {} : { [userId]: { [deviceId]: { [`${algorithm}:x`]: `${userId} ${deviceId}` } } })
    }
  })

  test('500 devices are claimed from in one request, with few reads', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const userIds = Array.from({ length: 250 }, (_, index) => `@user${index}:example.com`)
    await command(instance, (decision) => {
      for (const userId of userIds) {
        const { key: user } = makeUser(decision, { userId, kind: 'ghost' })
        for (const deviceId of ['ONE', 'TWO']) {
          for (const order of [1, 2]) {
            const key = {
              instance: instance.key,
              user,
              deviceId,
              keyId: `${algorithm}:${order}`,
              algorithm,
              order,
              json: '"x"',
              claimedAt: null,
            }
            decision.write('oneTimeKey', key)
          }
        }
      }
    })
    let reads = 0
    const { storage } = instance
    Object.assign(instance, {
      storage: new Proxy(storage, {
        get(target, name) {
          reads++
          return Reflect.get(target, name)
        },
      }),
    })
    const wanted = Object.fromEntries(userIds.map((userId) => [userId, { TWO: algorithm, ONE: algorithm }]))
    for (const order of [1, 2]) {
      const key = { [`${algorithm}:${order}`]: 'x' }
      const { one_time_keys } = await claim(server.owner, wanted)
      assert.deepEqual(one_time_keys, Object.fromEntries(userIds.map((userId) => [userId, { TWO: key, ONE: key }])))
    }
    assert.deepEqual((await claim(server.owner, wanted)).one_time_keys, {})
    assert.ok(reads < 150, `${reads} reads`)
  })

  test('bad claims are refused, and take no key', async () => {
    await using server = await start()
    const { owner } = server
    await upload(owner, { one_time_keys: makeKeys(owner.userId, owner.deviceId, ['AAAAAQ']) })
    const own = { [owner.userId]: { [owner.deviceId]: algorithm } }
    const many = Object.fromEntries(Array.from({ length: 10_001 }, (_, index) => [`D${index}`, algorithm]))
    const wrong: [object, number, string][] = [
      [{}, 400, 'M_MISSING_PARAM'],
      [{ one_time_keys: [] }, 400, 'M_BAD_JSON'],
      [{ one_time_keys: { ...own, '@a:example.com': [] } }, 400, 'M_BAD_JSON'],
      [{ one_time_keys: { ...own, '@a:example.com': 'X' } }, 400, 'M_BAD_JSON'],
      [{ one_time_keys: { ...own, '@a:example.com': { X: [algorithm] } } }, 400, 'M_BAD_JSON'],
      [{ one_time_keys: { ...own, '@a:example.com': { X: null } } }, 400, 'M_BAD_JSON'],
      [{ one_time_keys: { ...own, nobody: { X: algorithm } } }, 400, 'M_INVALID_PARAM'],
      [{ one_time_keys: { ...own, '@a\0:example.com': { X: algorithm } } }, 400, 'M_INVALID_PARAM'],
      [{ one_time_keys: { ...own, '@a:example.com': many } }, 413, 'M_TOO_LARGE'],
    ]
    for (const [body, status, errcode] of wrong) {
      const reply = await owner.post('/keys/claim', body)
      assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(body).slice(0, 200))
    }
    assert.equal((await server.request('POST', '/keys/claim', { one_time_keys: own })).status, 401)
    assert.equal(await claimOne(owner, owner), `${algorithm}:AAAAAQ`)
  })
})

await onBothServers('claims and a failing disk', (start) => {
  test('a claim that could not be stored hands out nothing, and its key goes to the next one', async () => {
    let failing = false
    await using server = await start({ faults: { failCommit: () => (failing ? new Error('disk full') : null) } })
    const { owner, administrator } = server
    await upload(owner, { one_time_keys: numbered(0, 3) })
    assert.equal(await claimOne(administrator, owner), `${algorithm}:0`)
    failing = true
    const reply = await administrator.post('/keys/claim', { one_time_keys: { [owner.userId]: { [owner.deviceId]: algorithm } } })
    failing = false
    assert.ok(reply.status >= 500, `${reply.status}`)
    assert.equal(JSON.stringify(reply.body).includes(algorithm), false)
    assert.deepEqual(await upload(owner, {}), { [algorithm]: 2 })
    assert.equal(await claimOne(administrator, owner), `${algorithm}:1`)
  })
})
