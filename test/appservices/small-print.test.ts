// What bridges count on beside the specification: each small, each relied upon by one of them.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type ExampleBridge as Bridge, ExampleBridge } from '../rig/example-bridge.ts'
import { type Reply, startServer, type TestServer } from '../rig/server.ts'
import { Homeserver } from './homeserver.ts'

let server: TestServer
let bridge: Bridge
const path = encodeURIComponent

before(async () => {
  server = await startServer()
  const address = '/_matrix/asmux/mxauth/appservice/owner/small'
  const registration = (await server.owner.put(address, { push: true, address: 'http://127.0.0.1:1' })).body
  bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'example.com' })
  await server.owner.put(address, { push: true, address: bridge.url })
})
after(async () => {
  await bridge[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const portal = async (more: object = {}): Promise<string> =>
  (await bridge.ask('POST', '/_matrix/client/v3/createRoom', { invite: [server.owner.userId], ...more }, bridge.botId)).room_id
const room = (roomId: string) => `/_matrix/client/v3/rooms/${path(roomId)}`
const event = async (roomId: string, eventId: string) => (await server.owner.get(`/rooms/${path(roomId)}/event/${path(eventId)}`)).body

function refused(reply: Reply, status: number, errcode: string): void {
  assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(reply.body))
}

describe('createRoom', () => {
  test('takes its time from fi.mau.origin_server_ts and ignores the names of Beeper’s own bridges', async () => {
    const more = { 'fi.mau.origin_server_ts': 1_500_000_000_000, 'com.beeper.bridge_name': 'x', 'com.beeper.bridge_account_id': 'y' }
    const roomId = await portal(more)
    const state = await bridge.ask('GET', `${room(roomId)}/state`, undefined, bridge.botId)
    const create = state.find(({ type }: { type: string }) => type === 'm.room.create')
    assert.equal(create.origin_server_ts, 1_500_000_000_000)
    assert.equal(JSON.stringify(state).includes('bridge_name'), false)
    refused(await server.owner.post('/createRoom', { 'fi.mau.origin_server_ts': -1 }), 400, 'M_INVALID_PARAM')
  })
})

describe('state with fi.mau.transaction_id', () => {
  test('is written once, whatever the repetition says, and again under another id', async () => {
    const roomId = await portal()
    const put = (txnId: string, content: object) =>
      bridge.ask('PUT', `${room(roomId)}/state/com.example/key?fi.mau.transaction_id=${txnId}`, content, bridge.botId)
    const { event_id: first } = await put('t1', { n: 1 })
    assert.equal((await put('t1', { n: 2 })).event_id, first)
    assert.notEqual((await put('t2', { n: 2 })).event_id, first)
    assert.deepEqual((await server.owner.get(`/rooms/${path(roomId)}/state/com.example/key`)).body, { n: 2 })
  })
})

describe('further keys of a body', () => {
  test('of a join stand in the member event, by either path; what decides does not', async () => {
    const body = { reason: 'hi', 'com.example.key': { a: 1 }, membership: 'ban', third_party_signed: {} }
    for (const join of [(roomId: string) => `/rooms/${path(roomId)}/join`, (roomId: string) => `/join/${path(roomId)}`]) {
      const user = await server.register(`joiner${Math.trunc(performance.now() * 1000)}`)
      const roomId = await server.owner.createRoom({ preset: 'public_chat' })
      assert.equal((await user.post(join(roomId), body)).status, 200)
      const { body: content } = await server.owner.get(`/rooms/${path(roomId)}/state/m.room.member/${path(user.userId)}`)
      assert.deepEqual(content, { membership: 'join', reason: 'hi', 'com.example.key': { a: 1 } })
      refused(await user.post(join(roomId), { 'com.example.key': 0.5 }), 400, 'M_BAD_JSON')
    }
  })

  test('of a redaction stand in its content, whether redacted or sent', async () => {
    const roomId = await server.owner.createRoom()
    const [first, second] = [await server.owner.send(roomId, '1'), await server.owner.send(roomId, '2')]
    const redacted = await server.owner.put(`/rooms/${path(roomId)}/redact/${path(first)}/x`, { reason: 'r', 'com.example.key': 1 })
    const sent = await server.owner.put(`/rooms/${path(roomId)}/send/m.room.redaction/y`, { redacts: second, 'com.example.key': 2 })
    assert.deepEqual((await event(roomId, redacted.body.event_id)).content, { reason: 'r', 'com.example.key': 1, redacts: first })
    const redaction = await event(roomId, sent.body.event_id)
    assert.deepEqual([redaction.content, redaction.redacts], [{ 'com.example.key': 2, redacts: second }, second])
    for (const eventId of [first, second]) assert.deepEqual((await event(roomId, eventId)).content, {})
    refused(await server.owner.put(`/rooms/${path(roomId)}/send/m.room.redaction/z`, {}), 400, 'M_MISSING_PARAM')
  })

  test('of a receipt come to the others and to the bridge', async () => {
    const roomId = await portal()
    const eventId = await server.owner.send(roomId, 'hi')
    const before = bridge.ephemeral.length
    await bridge.ask('POST', `${room(roomId)}/receipt/m.read/${path(eventId)}`, { 'com.example.key': 1 }, bridge.botId)
    await bridge.until('the receipt comes', () => bridge.ephemeral.length > before)
    const receipt = bridge.ephemeral.at(-1).content[eventId]['m.read'][bridge.botId]
    assert.equal(receipt['com.example.key'], 1)
    const synced = (await server.owner.sync()).rooms.join[roomId].ephemeral.events
    assert.equal(
      synced.find(({ type }: { type: string }) => type === 'm.receipt').content[eventId]['m.read'][bridge.botId]['com.example.key'],
      1,
    )
  })
})

describe('a transaction', () => {
  test('carries transaction_id, prev_content and order of each event, and ephemeral under both names', async () => {
    const roomId = await portal()
    const txnId = 'from the client'
    const sent = await server.owner.put(`/rooms/${path(roomId)}/send/m.room.message/${path(txnId)}`, { msgtype: 'm.text', body: 'x' })
    for (const n of [1, 2]) await bridge.ask('PUT', `${room(roomId)}/state/com.example`, { n }, bridge.botId)
    await server.owner.post(`/rooms/${path(roomId)}/receipt/m.read/${path(sent.body.event_id)}`)
    await bridge.until('all of it comes', () => bridge.ephemeral.some(({ room_id }) => room_id === roomId))
    const message = bridge.events.find(({ event_id }) => event_id === sent.body.event_id)
    assert.equal(message.unsigned.transaction_id, txnId)
    assert.match(message.unsigned['com.beeper.hs.order_string'], /^G[0-9A-V]{15}$/)
    const second = bridge.events.findLast(({ type, room_id }) => type === 'com.example' && room_id === roomId)
    assert.deepEqual([second.content, second.unsigned.prev_content], [{ n: 2 }, { n: 1 }])
    const { text } = bridge.attempts.findLast((attempt) => attempt.text.includes('"ephemeral"'))!
    const body = JSON.parse(text)
    assert.ok(body.ephemeral.length > 0)
    assert.deepEqual(body['de.sorunome.msc2409.ephemeral'], body.ephemeral)
  })

  test('holds what the bridge’s own users did, unless its registration says hungryserv.own_events: false', async () => {
    await using home = await Homeserver.open()
    const hears = await home.bridge('hears')
    const spared = await home.bridge('spared', { others: { 'hungryserv.own_events': false } })
    for (const [each, own] of [
      [hears, 1],
      [spared, 0],
    ] as const) {
      const roomId = await home.portal(each, 'g')
      const ofGhost = await home.send(await home.actor(each, each.ghostId('g')), roomId, 'from a ghost')
      const ofOwner = await home.send(home.owner, roomId, 'from the owner')
      await each.until('the owner is heard', () => each.events.some(({ event_id }) => event_id === ofOwner))
      assert.equal(each.events.filter(({ event_id }) => event_id === ofGhost).length, own)
    }
  })
})

test('each flag of versions names something that works here', async () => {
  const { unstable_features: flags } = (await server.request('GET', '/_matrix/client/versions')).body
  const names = [
    'arbitrary_profile_meta',
    'account_data_mute',
    'inbox_state',
    'msc4169',
    'msc4437',
    'msc4437.stable',
    'msc4446',
    'ephemeral',
  ]
  for (const name of names) assert.equal(flags[`com.beeper.${name}`], true, name)
})
