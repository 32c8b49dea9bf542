// Bridges hear of room keys that reached the backup.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Storage } from '../../src/storage/storage.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { ExampleBridge } from '../rig/example-bridge.ts'
import { Client, startServer, type TestServer } from '../rig/server.ts'
import { registerBridge, type TestBridge } from '../users/bridge.ts'
import { accepted, Backups, key, manyKeys } from './backup-rig.ts'
import { makeDeviceKeys } from './rig.ts'
import { inboxOf } from './to-device-rig.ts'

const ackType = 'com.beeper.room_key.ack'

async function deviceOf(server: TestServer, asToken: string, userId: string, withKeys = true): Promise<Client> {
  const body = { type: 'm.login.application_service', identifier: { type: 'm.id.user', user: userId } }
  const { access_token, device_id } = accepted(await server.client(asToken).post('/login', body))
  const device = new Client(() => server.url, access_token, userId, device_id)
  if (withKeys) accepted(await device.post('/keys/upload', { device_keys: makeDeviceKeys(userId, device_id) }))
  return device
}

async function portalOf(server: TestServer, bridge: TestBridge): Promise<string> {
  const body = { invite: [server.owner.userId, bridge.ghost(1)], 'com.beeper.auto_join_invites': true }
  return accepted(await bridge.as(bridge.botId).request('POST', '/createRoom', body)).room_id
}

async function acksOf(server: TestServer, device: Client): Promise<[string, number][]> {
  const inbox = await inboxOf(await server.server.host.defaultInstance(), device)
  for (const { type, sender } of inbox) assert.deepEqual([type, sender], [ackType, server.owner.userId])
  return inbox.map(({ content: { room_id, session_id, first_message_index, ...rest } }) => {
    assert.deepEqual(rest, {})
    return [`${room_id} ${session_id}`, first_message_index]
  })
}

await onBothServers('com.beeper.room_key.ack', (start) => {
  test('comes to all devices of the bot in the room, once for each key that is stored, and again for a better one', async () => {
    await using server = await start()
    const bridge = await registerBridge(server, 'one')
    const room = await portalOf(server, bridge)
    const devices = [await deviceOf(server, bridge.as_token, bridge.botId), await deviceOf(server, bridge.as_token, bridge.botId)]
    const bare = await deviceOf(server, bridge.as_token, bridge.botId, false)
    const backups = new Backups(server.owner)
    const version = await backups.make()
    await backups.put(version, { rooms: { [room]: { sessions: { a: key(), b: key({ first_message_index: 5 }) } } } })
    await backups.put(version, { sessions: { a: key(), b: key({ first_message_index: 6 }), c: key({ first_message_index: 9 }) } }, room)
    await backups.put(version, key({ first_message_index: 4 }), room, 'b')
    const expected = [
      [`${room} a`, 0],
      [`${room} b`, 5],
      [`${room} c`, 9],
      [`${room} b`, 4],
    ]
    for (const device of devices) assert.deepEqual(await acksOf(server, device), expected)
    assert.deepEqual(await acksOf(server, bare), [])
    // What is refused is not acknowledged.
    assert.equal((await backups.try('PUT', '7', [room], { sessions: { d: key() } })).status, 404)
    assert.equal((await acksOf(server, devices[0]!)).length, 4)
  })

  test('comes to nobody else: no bot outside the room, no ghost, nobody for a room that is not there, a key of a bridge’s own or a person outside the room', async () => {
    await using server = await start()
    const [one, two] = [await registerBridge(server, 'one'), await registerBridge(server, 'two')]
    const bots = [await deviceOf(server, one.as_token, one.botId), await deviceOf(server, two.as_token, two.botId)]
    const ghost = await deviceOf(server, one.as_token, one.ghost(1))
    const [ofOne, ofTwo, left] = [await portalOf(server, one), await portalOf(server, two), await portalOf(server, one)]
    accepted(await bots[0]!.post(`/rooms/${encodeURIComponent(left)}/leave`))
    const own = await server.owner.createRoom()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    const sessions = { a: key() }
    const rooms = Object.fromEntries([ofOne, ofTwo, left, own, '!nowhere:example.com', 'odd'].map((id) => [id, { sessions }]))
    assert.equal((await backups.put(version, { rooms })).count, 6)
    assert.deepEqual(await acksOf(server, bots[0]!), [[`${ofOne} a`, 0]])
    assert.deepEqual(await acksOf(server, bots[1]!), [[`${ofTwo} a`, 0]])
    assert.deepEqual(await acksOf(server, ghost), [])
    // Who is not in the room makes no bridge forget its keys, whatever they call theirs.
    const strangers = new Backups(await server.register('stranger'))
    assert.equal((await strangers.put(await strangers.make(), { sessions: { a: key(), b: key() } }, ofOne)).count, 2)
    assert.equal((await acksOf(server, bots[0]!)).length, 1)
    const ofBot = new Backups(bots[0]!)
    assert.equal((await ofBot.put(await ofBot.make(), { sessions: { b: key() } }, ofOne)).count, 1)
    assert.equal((await acksOf(server, bots[0]!)).length, 1)
  })

  test('of the keys of many rooms costs a few reads, however many bots there are, and at most 5 000 messages', async () => {
    await using server = await start()
    const bridges = [await registerBridge(server, 'one'), await registerBridge(server, 'two')]
    const bots = await Promise.all(bridges.map((bridge) => deviceOf(server, bridge.as_token, bridge.botId)))
    const rooms: string[] = []
    for (let i = 0; i < 40; i++) rooms.push(await portalOf(server, bridges[i % 2]!))
    const backups = new Backups(server.owner)
    const version = await backups.make()
    await server.restart()
    const { storage } = await server.server.host.defaultInstance()
    let reads = 0
    for (const name of ['find', 'first', 'keys', 'membersAt'] as const) {
      const read = storage[name] as (...args: unknown[]) => unknown
      const counted = (...args: unknown[]) => {
        reads++
        return read.apply(storage, args)
      }
      Object.assign(storage, { [name]: counted } as unknown as Partial<Storage>)
    }
    await backups.put(version, { rooms: Object.fromEntries(rooms.map((id) => [id, { sessions: { a: key() } }])) })
    assert.ok(reads < 40, `${reads} reads`)
    for (const bot of bots) assert.equal((await acksOf(server, bot)).length, 20)

    const more = Array.from({ length: 6 }, () => deviceOf(server, bridges[0]!.as_token, bridges[0]!.botId))
    const devices = [...(await Promise.all(more)), bots[0]!]
    const { sessions } = manyKeys(1, 1_000).rooms['!r0:a']!
    await backups.put(version, { sessions }, rooms[0]!)
    const acks = await Promise.all(devices.map((device) => acksOf(server, device)))
    assert.equal(acks.flat().length - 20, 7 * Math.floor(5_000 / 7))
  })

  test('thousands of old keys at once are stored all, and cost few reads and at most 1 000 messages', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const bridge = await registerBridge(server, 'one')
    const room = await portalOf(server, bridge)
    const bot = await deviceOf(server, bridge.as_token, bridge.botId)
    const backups = new Backups(server.owner)
    const version = await backups.make()
    const { rooms } = manyKeys(40, 50)
    let reads = 0
    for (const name of ['find', 'first', 'keys'] as const) {
      const read = instance.storage[name] as (...args: unknown[]) => unknown
      const counted = (...args: unknown[]) => {
        reads++
        return read.apply(instance.storage, args)
      }
      Object.assign(instance.storage, { [name]: counted } as unknown as Partial<Storage>)
    }
    const { sessions } = manyKeys(1, 1_500).rooms['!r0:a']!
    assert.equal((await backups.put(version, { rooms: { ...rooms, [room]: { sessions } } })).count, 3_500)
    assert.ok(reads < 40, `${reads} reads`)
    await backups.put(version, { sessions: Object.fromEntries(Object.entries(sessions).map(([id, one]) => [`more ${id}`, one])) }, room)
    assert.equal((await acksOf(server, bot)).length, 1_000)
  })
})

test('the bridge has the ack in a transaction', async () => {
  await using server = await startServer()
  const register = 'mutation($id: String!, $r: JsonObject) { registerBridge(id: $id, registration: $r) { registration } }'
  const options = { 'org.matrix.msc3202': true, 'de.sorunome.msc2409.push_ephemeral': true }
  const { data } = await server.owner.graphql(register, { id: 'one', r: options })
  const { registration } = data.registerBridge
  await using bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'example.com' })
  await server.owner.graphql(register, { id: 'one', r: { ...options, url: bridge.url } })
  const device = await deviceOf(server, registration.as_token, bridge.botId)
  const members = { 'com.beeper.initial_members': [server.owner.userId] }
  const room = accepted(await bridge.request('POST', '/createRoom', members, bridge.botId)).room_id
  const backups = new Backups(server.owner)
  await backups.put(await backups.make(), key(), room, 'session')
  const content = { room_id: room, session_id: 'session', first_message_index: 0 }
  const ack = { type: ackType, sender: server.owner.userId, content, to_user_id: bridge.botId, to_device_id: device.deviceId }
  const received = () => bridge.attempts.flatMap(({ text }) => JSON.parse(text)['de.sorunome.msc2409.to_device'] ?? [])
  await bridge.until('the ack', () => received().length > 0)
  assert.deepEqual(received(), [ack])
})
