// Messages to devices: who gets them, once, and what is refused.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Storage } from '../../src/storage/storage.ts'
import type { Entry } from '../../src/stream/bus.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { type Reply, startServer } from '../rig/server.ts'
import { contentsOf, inboxOf, keyOf, makePeople, personWithDevices, sendTo } from './to-device-rig.ts'

function refused(reply: Reply, status: number, errcode: string): void {
  assert.deepEqual([reply.status, reply.body.errcode], [status, errcode])
}

await onBothServers('messages to devices', (start) => {
  test('wildcard device: `*` reaches all devices of a user, and a device that is named gets its own message instead', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const [one, two, three] = await personWithDevices(server, 'bob', 3)
    const { userId } = one!
    assert.deepEqual((await sendTo(alice, { [userId]: { '*': { for: 'all' } } })).body, {})
    await sendTo(alice, { [userId]: { [two!.deviceId]: { for: 'two' }, '*': { for: 'the others' } } })
    assert.deepEqual(await contentsOf(instance, one!), [{ for: 'all' }, { for: 'the others' }])
    assert.deepEqual(await contentsOf(instance, two!), [{ for: 'all' }, { for: 'two' }])
    assert.deepEqual(await contentsOf(instance, three!), [{ for: 'all' }, { for: 'the others' }])
    assert.deepEqual(await contentsOf(instance, alice), [])
  })

  test('messages come to each device in the order in which they were sent, with type, sender and content as they were', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const [one, two] = await personWithDevices(server, 'bob', 2)
    const { userId } = one!
    const content = { b: 1, a: [1.5, null, { '': '\u0000\ud83d\ude00' }], ['__proto__']: { x: 1 } }
    await sendTo(alice, { [userId]: { [one!.deviceId]: content } }, { type: 'com.example.strange type' })
    for (let i = 0; i < 20; i++) await sendTo(alice, { [userId]: { [i % 3 === 0 ? one!.deviceId : '*']: { i } } })
    const [first, ...others] = await inboxOf(instance, one!)
    assert.deepEqual(
      { ...first, position: 0, content: JSON.stringify(first!.content) },
      { type: 'com.example.strange type', sender: alice.userId, content: JSON.stringify(content), position: 0 },
    )
    assert.deepEqual(
      others.map((each) => each.content),
      Array.from({ length: 20 }, (_, i) => ({ i })),
    )
    const ofTwo = await inboxOf(instance, two!)
    assert.deepEqual(
      ofTwo.map((each) => each.content.i),
      Array.from({ length: 20 }, (_, i) => i).filter((i) => i % 3 !== 0),
    )
    for (const list of [others, ofTwo]) for (let i = 1; i < list.length; i++) assert.ok(list[i]!.position > list[i - 1]!.position)
  })

  test('the same transaction id again does nothing: within a device and a type, also after a restart and with another body', async () => {
    await using server = await start()
    const alice = await personWithDevices(server, 'alice', 2)
    const bob = await server.register('bob')
    const send = (device: number, type: string, n: number) =>
      sendTo(alice[device]!, { [bob.userId]: { '*': { n } } }, { type, txnId: 'same' })
    for (const n of [1, 2]) assert.deepEqual((await send(0, 'm.room.encrypted', n)).body, {})
    await server.restart()
    const instance = await server.server.host.defaultInstance()
    await Promise.all([3, 4, 5].map((n) => send(0, 'm.room.encrypted', n)))
    await send(0, 'm.key.verification.request', 6)
    await send(1, 'm.room.encrypted', 7)
    assert.deepEqual(await contentsOf(instance, bob), [{ n: 1 }, { n: 6 }, { n: 7 }])
  })

  test('unknown devices, unknown users, users without devices and users of other servers are left out', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const bob = await server.register('bob')
    const reply = await sendTo(alice, {
      [bob.userId]: { NONE: { to: 'nobody' }, [bob.deviceId]: { to: 'bob' }, '': {}, 'a\u0000b': {} },
      '@nobody:example.com': { '*': {} },
      '@carol:elsewhere.example': { '*': {}, DEVICE: {} },
      [alice.userId]: {},
    })
    assert.deepEqual([reply.status, reply.body], [200, {}])
    assert.deepEqual(await contentsOf(instance, bob), [{ to: 'bob' }])
    assert.equal(await instance.storage.count('toDevice', {}), 1)
  })

  test('a sync that waits is answered with the message, and that of another device of the user waits on', async () => {
    await using server = await start()
    const alice = await server.register('alice')
    const [one, two] = await personWithDevices(server, 'bob', 2)
    const since = [(await one!.sync()).next_batch, (await two!.sync()).next_batch]
    const waiting = one!.sync(`since=${since[0]}&timeout=20000`)
    const others = two!.sync(`since=${since[1]}&timeout=500`)
    await sendTo(alice, { [one!.userId]: { [one!.deviceId]: { n: 1 } } }, { type: 'm.room_key' })
    const expected = { events: [{ type: 'm.room_key', sender: alice.userId, content: { n: 1 } }] }
    assert.deepEqual((await waiting).to_device, expected)
    assert.equal((await others).to_device, undefined)
    assert.deepEqual((await one!.sync(`since=${since[0]}`)).to_device, expected)
    assert.equal((await one!.sync(`since=${(await waiting).next_batch}`)).to_device, undefined)
  })

  test('what waits for a device goes with it', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const [one, two] = await personWithDevices(server, 'bob', 2)
    await sendTo(alice, { [one!.userId]: { '*': { n: 1 } } })
    await two!.post('/logout')
    await sendTo(alice, { [one!.userId]: { '*': { n: 2 }, [two!.deviceId]: { n: 3 } } })
    assert.deepEqual(await contentsOf(instance, one!), [{ n: 1 }, { n: 2 }])
    assert.equal(await instance.storage.count('toDevice', {}), 2)
  })

  test('500 devices of 500 users: one commit, and a handful of reads for all', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const userIds = Array.from({ length: 500 }, (_, i) => `@many${i}:example.com`)
    await makePeople(instance, userIds, ['ONE'])
    const reads = countReads(instance)
    const entries: Entry[] = []
    instance.bus.onAny((entry) => entries.push(entry))
    const messages = Object.fromEntries(userIds.map((userId) => [userId, { ONE: { userId, body: 'x'.repeat(1_000) } }]))
    assert.equal((await sendTo(alice, messages)).status, 200)
    assert.deepEqual(
      entries.filter(({ kinds }) => kinds.has('toDevice')).map(({ users }) => users.length),
      [500],
    )
    assert.ok(reads() < 30, `${reads()} reads`)
    const rows = await instance.storage.find('toDevice', { where: {} })
    assert.equal(rows.length, 500)
    assert.equal(new Set(rows.map(({ position }) => position)).size, 1)
    assert.deepEqual(new Set(rows.map(({ content }) => JSON.parse(content).userId)), new Set(userIds))
  })
})

/** How many reads an instance has done since. */
function countReads(instance: { readonly storage: Storage }): () => number {
  let count = 0
  for (const name of ['find', 'first', 'keys', 'count'] as const) {
    const read = instance.storage[name] as (...args: unknown[]) => unknown
    Object.assign(instance.storage, {
      [name]: (...args: unknown[]) => {
        count++
        return read.apply(instance.storage, args)
      },
    })
  }
  return () => count
}

describe('sending to devices', () => {
  test('wrong shapes are refused with what is wrong, and nothing is sent', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const bob = await server.register('bob')
    const { userId } = bob
    refused(await alice.put('/sendToDevice/m.x/a', {}), 400, 'M_MISSING_PARAM')
    refused(await alice.put('/sendToDevice/m.x/b', { messages: [] }), 400, 'M_BAD_JSON')
    refused(await alice.put('/sendToDevice/m.x/c', []), 400, 'M_BAD_JSON')
    refused(await alice.request('PUT', '/sendToDevice/m.x/d', undefined, { raw: '{' }), 400, 'M_NOT_JSON')
    refused(await sendTo(alice, { [userId]: { '*': {} }, [alice.userId]: [] }), 400, 'M_BAD_JSON')
    refused(await sendTo(alice, { [userId]: { '*': {}, A: 'text' } }), 400, 'M_BAD_JSON')
    for (const wrong of ['bob', '@bob', '', '@a\u0000:example.com', '@a\ud800:example.com', `@${'b'.repeat(300)}:example.com`])
      refused(await sendTo(alice, { [userId]: { '*': {} }, [wrong]: { '*': {} } }), 400, 'M_INVALID_PARAM')
    refused(await sendTo(alice, { [userId]: { '*': { x: 'x'.repeat(65_530) } } }), 413, 'M_TOO_LARGE')
    refused(await sendTo(alice, { [userId]: { '*': {} } }, { type: 'x'.repeat(256) }), 413, 'M_TOO_LARGE')
    refused(await sendTo(alice, { [userId]: { '*': {} } }, { txnId: 'x'.repeat(1_025) }), 400, 'M_INVALID_PARAM')
    const large = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`D${i}`, { x: 'x'.repeat(64_000) }]))
    refused(await sendTo(alice, { [userId]: large }), 413, 'M_TOO_LARGE')
    const many = Object.fromEntries(Array.from({ length: 5_001 }, (_, i) => [`@u${i}:example.com`, { '*': {} }]))
    refused(await sendTo(alice, many), 413, 'M_TOO_LARGE')
    refused(await server.request('PUT', '/sendToDevice/m.x/e', { messages: {} }), 401, 'M_MISSING_TOKEN')
    assert.equal(await instance.storage.count('toDevice', {}), 0)
    assert.equal((await sendTo(alice, { [userId]: { '*': { x: 'x'.repeat(65_528) } } })).status, 200)
    assert.equal(await instance.storage.count('toDevice', {}), 1)
  })

  test('what a call becomes by `*` is limited in messages and in bytes', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const userIds = Array.from({ length: 51 }, (_, i) => `@many${i}:example.com`)
    await makePeople(
      instance,
      userIds,
      Array.from({ length: 100 }, (_, device) => `D${device}`),
    )
    const to = (n: number, content: object) => Object.fromEntries(userIds.slice(0, n).map((userId) => [userId, { '*': content }]))
    refused(await sendTo(alice, to(51, {})), 413, 'M_TOO_LARGE')
    refused(await sendTo(alice, to(2, { x: 'x'.repeat(60_000) })), 413, 'M_TOO_LARGE')
    assert.equal(await instance.storage.count('toDevice', {}), 0)
    assert.equal((await sendTo(alice, to(50, {}))).status, 200)
    assert.equal(await instance.storage.count('toDevice', {}), 5_000)
  })

  test('only those are woken whom it is for', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const bob = await server.register('bob')
    await server.register('carol')
    const entries: Entry[] = []
    instance.bus.onAny((entry) => entries.push(entry))
    await sendTo(alice, { [bob.userId]: { '*': {} } })
    await sendTo(alice, { '@nobody:example.com': { '*': {} } })
    const about = entries.filter(({ kinds }) => kinds.has('toDevice'))
    assert.deepEqual(
      about.map(({ users, appservices }) => [users, appservices]),
      [[[await keyOf(instance, bob.userId)], []]],
    )
  })

  test('GraphQL clients send as others do', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const bob = await server.register('bob')
    const mutation = 'mutation($m: JsonObject!) { sendToDevice(eventType: "m.x", txnId: "1", messages: $m) }'
    const send = (messages: object) => alice.graphql(mutation, { m: messages })
    for (const n of [1, 2]) assert.deepEqual((await send({ [bob.userId]: { '*': { n } } })).data, { sendToDevice: true })
    assert.deepEqual(await contentsOf(instance, bob), [{ n: 1 }])
    assert.equal((await send({ [bob.userId]: { '*': 1 } })).errors[0].extensions.errcode, 'M_BAD_JSON')
    assert.equal((await send({ bob: { '*': {} } })).errors[0].extensions.errcode, 'M_INVALID_PARAM')
  })

  test('somebody who is ignored still reaches devices: what was encrypted could otherwise never be read', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const bob = await server.register('bob')
    await bob.put(`/user/${bob.userId}/account_data/m.ignored_user_list`, { ignored_users: { [alice.userId]: {} } })
    await sendTo(alice, { [bob.userId]: { '*': { key: 1 } } })
    assert.deepEqual(await contentsOf(instance, bob), [{ key: 1 }])
  })
})
