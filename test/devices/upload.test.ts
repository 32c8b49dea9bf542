/** What a device uploads of its keys, and what is left of them when it goes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { uploadKeys } from '../../src/devices/device-keys.ts'
import { readKeyCounts } from '../../src/devices/key-counts.ts'
import type { OpenInstance } from '../../src/instances/open-instance.ts'
import type { TableName } from '../../src/storage/tables.ts'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { makeDeviceKeys, makeKeys, type Signed, signingKey } from './rig.ts'
import { keyOf, personWithDevices } from './to-device-rig.ts'

const json = { headers: { 'content-type': 'application/json' } }

function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

function refused({ status, body }: Reply, ...wanted: [number, string]): void {
  assert.deepEqual([status, body.errcode], wanted, JSON.stringify(body))
}

async function upload(client: Pick<Client, 'post'>, body: object): Promise<Record<string, number>> {
  const answer = accepted(await client.post('/keys/upload', body))
  assert.deepEqual(Object.keys(answer), ['one_time_key_counts'])
  return answer.one_time_key_counts
}

async function devicesOf(client: Client, userId = client.userId): Promise<Signed> {
  return accepted(await client.post('/keys/query', { device_keys: { [userId]: [] } })).device_keys[userId]
}

async function claim(client: Client, of: Client): Promise<Signed> {
  const wanted = { one_time_keys: { [of.userId]: { [of.deviceId]: 'signed_curve25519' } } }
  return accepted(await client.post('/keys/claim', wanted)).one_time_keys[of.userId]?.[of.deviceId]
}

/** Where the change of a user's devices stands that the others are told of last. */
async function changeOf(instance: OpenInstance, userId: string): Promise<number | null> {
  return (await instance.storage.first('deviceListChange', { user: await keyOf(instance, userId) }))?.position ?? null
}

/** As whoever verifies a signature writes it. */
function canonical(value: Signed): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const keys = Object.keys(value).sort()
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`
}

function reversed(value: object): object {
  return Object.fromEntries(Object.entries(value).reverse())
}

await onBothServers('uploading keys', (start) => {
  test('upload → query and claim: canonical JSON is the same, with keys that nobody knows, and unsigned aside', async () => {
    await using server = await start()
    const { owner } = server
    const plain = makeDeviceKeys(owner.userId, owner.deviceId)
    const strange = '{"__proto__":{"a":[1,"\\u0000",null,true,{}]},"2":"two","1":"one","ü\u{1f600}":-9007199254740991,"":"\\ud800"}'
    const keys = `${JSON.stringify(plain).slice(0, -1)},"org.example":${strange},"unsigned":{"device_display_name":"mine","x":1}}`
    const key = `{"key":"abc","signatures":{},"org.example":${strange}}`
    const raw = `{"device_keys":${keys},"one_time_keys":{"signed_curve25519:1":${key},"curve25519:2":"plain"}}`
    accepted(await owner.request('POST', '/keys/upload', undefined, { raw }))
    const { unsigned, ...stored } = (await devicesOf(server.administrator, owner.userId))[owner.deviceId]
    assert.equal(canonical(stored), canonical({ ...plain, 'org.example': JSON.parse(strange) }))
    assert.deepEqual(unsigned, {})
    assert.equal(canonical(await claim(server.administrator, owner)), canonical({ 'signed_curve25519:1': JSON.parse(key) }))
  })

  test('nothing is a question for the counts, in which a 0 is said', async () => {
    await using server = await start()
    const { owner } = server
    assert.deepEqual(await upload(owner, {}), { signed_curve25519: 0 })
    const keys = { ...makeKeys(owner.userId, owner.deviceId, ['AAAAAQ', 'AAAAAg']), 'curve25519:x': 'plain' }
    assert.deepEqual(await upload(owner, { one_time_keys: keys }), { signed_curve25519: 2, curve25519: 1 })
    const instance = await server.server.host.defaultInstance()
    const before = instance.bus.published
    assert.deepEqual(await upload(owner, {}), { signed_curve25519: 2, curve25519: 1 })
    assert.equal(instance.bus.published, before)
  })

  test('the same keys again, in whatever order they are written, change nothing; another key under a used id is 400, and all of its request with it', async () => {
    await using server = await start()
    const { owner } = server
    const instance = await server.server.host.defaultInstance()
    const device_keys = makeDeviceKeys(owner.userId, owner.deviceId)
    const one_time_keys = makeKeys(owner.userId, owner.deviceId, ['AAAAAQ', 'AAAAAg'])
    const counts = await upload(owner, { device_keys, one_time_keys })
    assert.deepEqual(counts, { signed_curve25519: 2 })
    const before = [instance.bus.published, await changeOf(instance, owner.userId)]
    assert.notEqual(before[1], null)
    const again = { ...device_keys, unsigned: { device_display_name: 'ignored' } }
    assert.deepEqual(await upload(owner, { device_keys: reversed(again), one_time_keys: reversed(one_time_keys) }), counts)
    assert.deepEqual([instance.bus.published, await changeOf(instance, owner.userId)], before)

    const others = makeKeys(owner.userId, owner.deviceId, ['AAAAAw', 'AAAAAg'])
    const reply = await owner.post('/keys/upload', { device_keys: { ...device_keys, more: 1 }, one_time_keys: others })
    refused(reply, 400, 'M_UNKNOWN')
    assert.match(reply.body.error, /^One time key signed_curve25519:AAAAAg already exists\. Old key: \{.*\}; new key: \{.*\}$/)
    assert.deepEqual(await upload(owner, {}), counts)
    assert.deepEqual([instance.bus.published, await changeOf(instance, owner.userId)], before)
    assert.equal('more' in (await devicesOf(owner))[owner.deviceId], false)
  })

  test('a key that was handed out does not come back by an upload that is repeated, also after a restart', async () => {
    await using server = await start()
    const { owner } = server
    const one_time_keys = makeKeys(owner.userId, owner.deviceId, ['AAAAAQ', 'AAAAAg'])
    await upload(owner, { one_time_keys })
    assert.deepEqual(await claim(server.administrator, owner), { 'signed_curve25519:AAAAAQ': one_time_keys['signed_curve25519:AAAAAQ'] })
    for (const restarts of [false, true]) {
      if (restarts) await server.restart()
      assert.deepEqual(await upload(owner, { one_time_keys }), { signed_curve25519: 1 })
      refused(await owner.post('/keys/upload', { one_time_keys: makeKeys(owner.userId, owner.deviceId, ['AAAAAQ']) }), 400, 'M_UNKNOWN')
    }
    assert.deepEqual(Object.keys(await claim(server.administrator, owner)), ['signed_curve25519:AAAAAg'])
    assert.equal(await claim(server.administrator, owner), undefined)
  })

  test('device keys that changed are told to the others and take the place of the old ones; one-time keys stay', async () => {
    await using server = await start()
    const { owner } = server
    const instance = await server.server.host.defaultInstance()
    const device = signingKey()
    const first = makeDeviceKeys(owner.userId, owner.deviceId, device)
    await upload(owner, { device_keys: first, one_time_keys: makeKeys(owner.userId, owner.deviceId, ['AAAAAQ']) })
    const told = await changeOf(instance, owner.userId)
    const { signatures: _, ...unsigned } = first
    const second = device.sign({ ...unsigned, algorithms: ['m.megolm.v1.aes-sha2'] }, owner.userId, owner.deviceId)
    // It is the same device: its one-time keys stay.
    assert.deepEqual(await upload(owner, { device_keys: second }), { signed_curve25519: 1 })
    assert.ok((await changeOf(instance, owner.userId))! > told!)
    assert.deepEqual((await devicesOf(owner))[owner.deviceId], { ...second, unsigned: {} })
  })

  test('a device that lost its store begins anew: its old one-time and fallback keys are gone, and their ids may be used again', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const name = (ids: string[], fallback = false) => makeKeys(owner.userId, owner.deviceId, ids, { fallback })
    await upload(owner, {
      device_keys: makeDeviceKeys(owner.userId, owner.deviceId),
      one_time_keys: name(['AAAAAQ', 'AAAAAg', 'AAAAAw']),
      fallback_keys: name(['AAAABA'], true),
    })
    await claim(administrator, owner)
    const one_time_keys = name(['AAAAAQ'])
    const counts = await upload(owner, { device_keys: makeDeviceKeys(owner.userId, owner.deviceId), one_time_keys })
    assert.deepEqual(counts, { signed_curve25519: 1 })
    assert.deepEqual(await claim(administrator, owner), one_time_keys)
    assert.equal(await claim(administrator, owner), undefined)
  })
})

await onBothServers('bad uploads', (start) => {
  test('keys for another user or device, malformed keys and key ids are refused, and nothing of them is stored', async () => {
    await using server = await start()
    const { owner } = server
    const good = makeDeviceKeys(owner.userId, owner.deviceId)
    const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([each]) => each !== name))
    const device = (changes: object) => ({ device_keys: { ...good, ...changes } })
    const key = (name: string, value: unknown) => ({ one_time_keys: { [name]: value } })
    const wrong: [object, number, string][] = [
      [device({ user_id: server.administrator.userId }), 400, 'M_INVALID_PARAM'],
      [device({ device_id: 'OTHER' }), 400, 'M_INVALID_PARAM'],
      [device({ user_id: 1 }), 400, 'M_BAD_JSON'],
      [device({ device_id: null }), 400, 'M_BAD_JSON'],
      [device({ algorithms: 'm.megolm.v1.aes-sha2' }), 400, 'M_BAD_JSON'],
      [device({ algorithms: [1] }), 400, 'M_BAD_JSON'],
      [device({ keys: [] }), 400, 'M_BAD_JSON'],
      [device({ keys: { 'ed25519:X': {} } }), 400, 'M_BAD_JSON'],
      [device({ signatures: [] }), 400, 'M_BAD_JSON'],
      [device({ signatures: { [owner.userId]: 'x' } }), 400, 'M_BAD_JSON'],
      [device({ signatures: { [owner.userId]: { 'ed25519:X': 1 } } }), 400, 'M_BAD_JSON'],
      [device({ more: 1.5 }), 400, 'M_BAD_JSON'],
      [device({ more: 'x'.repeat(20_000) }), 413, 'M_TOO_LARGE'],
      ...['user_id', 'device_id', 'algorithms', 'keys'].map((name): [object, number, string] => [
        { device_keys: without(name) },
        400,
        'M_MISSING_PARAM',
      ]),
      [{ device_keys: [] }, 400, 'M_BAD_JSON'],
      [{ device_keys: null }, 400, 'M_BAD_JSON'],
      [{ one_time_keys: [] }, 400, 'M_BAD_JSON'],
      [{ fallback_keys: 'x' }, 400, 'M_BAD_JSON'],
      [key('no-colon', 'x'), 400, 'M_INVALID_PARAM'],
      [key('signed_curve25519:', 'x'), 400, 'M_INVALID_PARAM'],
      [key(':AAAAAQ', 'x'), 400, 'M_INVALID_PARAM'],
      [key('__proto__:AAAAAQ', 'x'), 400, 'M_INVALID_PARAM'],
      [key('signed_curve25519:\0', 'x'), 400, 'M_INVALID_PARAM'],
      [key('signed_curve25519:\ud800', 'x'), 400, 'M_INVALID_PARAM'],
      [key(`signed_curve25519:${'x'.repeat(255)}`, 'x'), 413, 'M_TOO_LARGE'],
      [key('signed_curve25519:AAAAAQ', 1), 400, 'M_BAD_JSON'],
      [key('signed_curve25519:AAAAAQ', null), 400, 'M_BAD_JSON'],
      [key('signed_curve25519:AAAAAQ', ['x']), 400, 'M_BAD_JSON'],
      [key('signed_curve25519:AAAAAQ', {}), 400, 'M_MISSING_PARAM'],
      [key('signed_curve25519:AAAAAQ', { key: 1 }), 400, 'M_BAD_JSON'],
      [key('signed_curve25519:AAAAAQ', { key: 'x', signatures: 'x' }), 400, 'M_BAD_JSON'],
      [key('signed_curve25519:AAAAAQ', 'x'.repeat(3_100)), 413, 'M_TOO_LARGE'],
      [{ fallback_keys: { 'signed_curve25519:AAAAAQ': 1 } }, 400, 'M_BAD_JSON'],
    ]
    for (const [body, status, errcode] of wrong) {
      const reply = await owner.post('/keys/upload', body)
      assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], `${JSON.stringify(body)}: ${JSON.stringify(reply.body)}`)
      // With good ones beside it.
      const both = { device_keys: good, one_time_keys: makeKeys(owner.userId, owner.deviceId, ['AAAAAw']), ...body }
      assert.deepEqual((await owner.post('/keys/upload', both)).status, status, JSON.stringify(body))
    }
    refused(await owner.request('POST', '/keys/upload', undefined, { raw: '{"one_time_keys":{"a:b":"x","a:b":"y"}}' }), 400, 'M_BAD_JSON')
    refused(await server.request('POST', '/keys/upload', {}), 401, 'M_MISSING_TOKEN')
    assert.deepEqual(await upload(owner, {}), { signed_curve25519: 0 })
    assert.deepEqual(await devicesOf(owner), {})
  })

  test('counts beyond limits are refused whole: 200 one-time keys wait at most, those handed out aside, and 10 fallback keys', async () => {
    await using server = await start()
    const { owner } = server
    const keys = (from: number, to: number) =>
      Object.fromEntries(Array.from({ length: to - from }, (_, index) => [`signed_curve25519:${from + index}`, `key ${from + index}`]))
    refused(await owner.post('/keys/upload', { one_time_keys: keys(0, 201) }), 400, 'M_INVALID_PARAM')
    assert.deepEqual(await upload(owner, { one_time_keys: keys(0, 150) }), { signed_curve25519: 150 })
    refused(await owner.post('/keys/upload', { one_time_keys: keys(150, 201) }), 400, 'M_INVALID_PARAM')
    // What is there counts once.
    assert.deepEqual(await upload(owner, { one_time_keys: keys(0, 200) }), { signed_curve25519: 200 })
    for (let n = 0; n < 3; n++) await claim(server.administrator, owner)
    assert.deepEqual(await upload(owner, { one_time_keys: keys(0, 203) }), { signed_curve25519: 200 })
    refused(await owner.post('/keys/upload', { one_time_keys: keys(203, 204) }), 400, 'M_INVALID_PARAM')

    const fallback = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, index) => [`algorithm${index}:AAAAAQ`, 'x']))
    refused(await owner.post('/keys/upload', { fallback_keys: fallback(11) }), 400, 'M_INVALID_PARAM')
    await upload(owner, { fallback_keys: fallback(10) })
    refused(await owner.post('/keys/upload', { fallback_keys: { 'one.more:AAAAAQ': 'x' } }), 400, 'M_INVALID_PARAM')
  })

  test('a device that was deleted in the meantime leaves nothing behind', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const { owner } = server
    const { actor } = await server.server.host.authenticate(owner.token, null)
    accepted(await owner.post('/logout'))
    const keys = { deviceKeys: makeDeviceKeys(owner.userId, owner.deviceId), oneTimeKeys: { 'a:b': 'x' } }
    await assert.rejects(uploadKeys(instance, actor, keys), { errcode: 'M_UNKNOWN_TOKEN' })
    assert.deepEqual(await rowsOf(instance, actor.user!, owner.deviceId), {})
  })
})

await onBothServers('keys of a device that goes', (start) => {
  test('device removal takes its keys, counts and signatures, and nothing of another device', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const [one, two] = (await personWithDevices(server, 'bob', 2)) as [Client, Client]
    const user = await keyOf(instance, one.userId)
    const everything = ['deviceKeys', 'fallbackKey', 'keyCount', 'oneTimeKey']
    for (const client of [one, two]) {
      await upload(client, {
        device_keys: makeDeviceKeys(client.userId, client.deviceId),
        one_time_keys: makeKeys(client.userId, client.deviceId, ['AAAAAQ', 'AAAAAg']),
        fallback_keys: makeKeys(client.userId, client.deviceId, ['AAAAAw'], { fallback: true }),
      })
      assert.deepEqual(Object.keys(await rowsOf(instance, user, client.deviceId)), everything)
    }
    const told = await changeOf(instance, one.userId)
    const left = await rowsOf(instance, user, two.deviceId)
    accepted(await one.post('/logout'))
    assert.deepEqual(await rowsOf(instance, user, one.deviceId), {})
    assert.deepEqual(await rowsOf(instance, user, two.deviceId), left)
    assert.ok((await changeOf(instance, one.userId))! > told!)
    assert.deepEqual(Object.keys(await devicesOf(two)), [two.deviceId])
    assert.equal(await claim(two, one), undefined)
    assert.deepEqual(await readKeyCounts(instance, user, one.deviceId), { counts: '{"signed_curve25519":0}', unusedFallback: '[]' })
  })

  test('a device of the same name that comes later has none of its keys, in the same batch too', async () => {
    await using server = await start()
    const bridge = await registerBridge(server, 'again')
    const as = bridge.as(bridge.ghost(1))
    const path = '/keys/upload?device_id=SAME'
    const keys = (n: number) => ({ one_time_keys: { [`signed_curve25519:${n}`]: `key ${n}`, 'signed_curve25519:same': `same ${n}` } })
    for (let n = 0; n < 5; n++) {
      assert.equal((await as.request('PUT', '/devices/SAME', {})).status, 201)
      // Queued together.
      const [uploaded, removed] = await Promise.all([as.request('POST', path, keys(n)), as.request('DELETE', '/devices/SAME')])
      assert.equal(removed.status, 200)
      assert.ok(uploaded.status === 200 || uploaded.body.errcode === 'M_UNKNOWN_DEVICE', JSON.stringify(uploaded.body))
    }
    assert.equal((await as.request('PUT', '/devices/SAME', {})).status, 201)
    assert.deepEqual(accepted(await as.request('POST', path, {})), { one_time_key_counts: { signed_curve25519: 0 } })
    assert.deepEqual(accepted(await as.request('POST', path, keys(9))), { one_time_key_counts: { signed_curve25519: 2 } })
  })
})

await onBothServers('keys of bridges', (start) => {
  test('an appservice does it all for devices of its users, for none without one, and never for the owner', async () => {
    await using server = await start()
    const { owner } = server
    const bridge = await registerBridge(server, 'keys')
    const userId = bridge.ghost(1)
    const as = bridge.as(userId)
    assert.equal((await as.request('PUT', '/devices/BRIDGE', { display_name: 'a bridge' })).status, 201)
    const body = { device_keys: makeDeviceKeys(userId, 'BRIDGE'), one_time_keys: makeKeys(userId, 'BRIDGE', ['AAAAAQ']) }
    for (const name of ['device_id', 'org.matrix.msc3202.device_id']) {
      const answer = accepted(await as.request('POST', `/keys/upload?${name}=BRIDGE`, body))
      assert.deepEqual(answer, { one_time_key_counts: { signed_curve25519: 1 } })
    }
    refused(await as.request('POST', '/keys/upload', {}), 400, 'M_MISSING_PARAM')
    refused(await as.request('POST', '/keys/upload?device_id=OTHER', {}), 400, 'M_UNKNOWN_DEVICE')
    refused(
      await as.request('POST', '/keys/upload?device_id=BRIDGE', { device_keys: makeDeviceKeys(owner.userId, 'BRIDGE') }),
      400,
      'M_INVALID_PARAM',
    )
    const mine = (await as.request('POST', '/keys/query', { device_keys: { [userId]: [] } })).body.device_keys[userId]
    assert.deepEqual(mine, { BRIDGE: { ...body.device_keys, unsigned: { device_display_name: 'a bridge' } } })
    const wanted = { one_time_keys: { [userId]: { BRIDGE: 'signed_curve25519' } } }
    const claimed = accepted(await bridge.as(bridge.botId).request('POST', '/keys/claim', wanted))
    assert.deepEqual(claimed.one_time_keys[userId].BRIDGE, body.one_time_keys)

    const puppet = bridge.as(owner.userId)
    for (const [path, each] of Object.entries({ upload: {}, query: { device_keys: {} }, claim: { one_time_keys: {} } })) {
      refused(await puppet.request('POST', `/keys/${path}`, each), 403, 'M_FORBIDDEN')
    }
    const documents = [
      'mutation { uploadKeys { oneTimeKeys } }',
      'mutation { claimKeys(oneTimeKeys: {}) }',
      '{ queryKeys(deviceKeys: {}) }',
    ]
    for (const query of documents) {
      const reply = await puppet.request('POST', '/graphql', { query }, json)
      assert.equal(reply.body.errors[0].extensions.errcode, 'M_FORBIDDEN', query)
    }
  })

  test('by GraphQL as by REST', async () => {
    await using server = await start()
    const { owner } = server
    const ask = async (query: string, variables: object) => {
      const { data, errors } = await owner.graphql(query, variables as Record<string, unknown>)
      return errors ? errors[0].extensions.errcode : data
    }
    const upload =
      'mutation($d: EventContent, $o: EventContent, $f: EventContent) { uploadKeys(deviceKeys: $d, oneTimeKeys: $o, fallbackKeys: $f) { oneTimeKeys unusedFallbackKeyTypes } }'
    const d = makeDeviceKeys(owner.userId, owner.deviceId)
    const o = makeKeys(owner.userId, owner.deviceId, ['AAAAAQ'])
    const f = makeKeys(owner.userId, owner.deviceId, ['AAAAAg'], { fallback: true })
    const uploaded = { oneTimeKeys: { signed_curve25519: 1 }, unusedFallbackKeyTypes: ['signed_curve25519'] }
    assert.deepEqual(await ask(upload, { d, o, f }), { uploadKeys: uploaded })
    assert.deepEqual(await ask(upload, {}), { uploadKeys: uploaded })
    assert.equal(await ask(upload, { d: { ...d, device_id: 'OTHER' } }), 'M_INVALID_PARAM')
    assert.equal(await ask(upload, { o: { 'a:b': { key: 'x', n: 1.5 } } }), 'M_BAD_JSON')
    const wanted = { w: { [owner.userId]: [] } }
    const { queryKeys } = await ask('query($w: JsonObject!) { queryKeys(deviceKeys: $w) }', wanted)
    assert.deepEqual(queryKeys, (await owner.post('/keys/query', { device_keys: wanted.w })).body)
    assert.deepEqual(queryKeys.device_keys[owner.userId][owner.deviceId], { ...d, unsigned: {} })
    assert.equal(await ask('query($w: JsonObject!) { queryKeys(deviceKeys: $w) }', { w: { [owner.userId]: {} } }), 'M_BAD_JSON')
    const claims = 'mutation($w: JsonObject!) { claimKeys(oneTimeKeys: $w) }'
    const { claimKeys } = await ask(claims, { w: { [owner.userId]: { [owner.deviceId]: 'signed_curve25519' } } })
    assert.deepEqual(claimKeys, { one_time_keys: { [owner.userId]: { [owner.deviceId]: o } }, failures: {} })
    assert.equal(await ask(claims, { w: { [owner.userId]: [] } }), 'M_BAD_JSON')
  })
})

/** What is stored of a device's keys, by table; tables without any are left out. */
async function rowsOf(instance: OpenInstance, user: number, deviceId: string): Promise<Record<string, unknown[]>> {
  const found: Record<string, unknown[]> = {}
  for (const table of ['deviceKeys', 'fallbackKey', 'keyCount', 'oneTimeKey'] as const satisfies TableName[]) {
    const rows = await instance.storage.find(table, { where: { user, deviceId } })
    if (rows.length > 0) found[table] = rows
  }
  return found
}
