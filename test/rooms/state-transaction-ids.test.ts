// `fi.mau.transaction_id` of state: told beside the event, as that of a message is. On both databases.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import { ExampleBridge } from '../rig/example-bridge.ts'
import { type Client, type Reply, type TestServer, testPassword } from '../rig/server.ts'
import { path, refused } from './backfill.ts'

await onBothServers('state with a transaction id', (start) => {
  let server: TestServer
  let alice: Client
  let otherDevice: Client
  let bridge: ExampleBridge
  let roomId: string

  before(async () => {
    server = await start()
    const { owner } = server
    const address = '/_matrix/asmux/mxauth/appservice/owner/stated'
    const registration = (await owner.put(address, { push: true, address: 'http://127.0.0.1:1' })).body
    bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'example.com' })
    await owner.put(address, { push: true, address: bridge.url })
    alice = await server.register('alice', testPassword)
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: alice.userId }, password: testPassword }
    otherDevice = server.client((await server.request('POST', '/login', login)).body.access_token, alice.userId)
    roomId = await bridge.createPortal('Portal', ['1'], [owner.userId])
    const level = { users: { [bridge.botId]: 100 }, users_default: 50, state_default: 50, invite: 0 }
    await bridge.ask('PUT', `/rooms/${path(roomId)}/state/m.room.power_levels`, level)
    await bridge.ask('POST', `/rooms/${path(roomId)}/invite`, { user_id: alice.userId })
    assert.equal((await alice.post(`/rooms/${path(roomId)}/join`)).status, 200)
  })
  after(async () => {
    await bridge[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })

  const stateOf = (type: string, txnId: string, key = '') =>
    `/rooms/${path(roomId)}/state/${type}/${path(key)}?fi.mau.transaction_id=${path(txnId)}`
  const txnIdOf = (event: Reply['body']) => event.unsigned.transaction_id
  async function inTransaction(eventId: string): Promise<Reply['body']> {
    const find = () => bridge.events.find(({ event_id }) => event_id === eventId)
    await bridge.until(`${eventId} comes`, () => find() !== undefined)
    return find()
  }

  test('the device that sent it is told, also after a restart; other devices and people are not', async () => {
    const since = (await alice.sync()).next_batch
    const txnId = 'from "the" client'
    const { event_id: topic } = (await alice.put(stateOf('m.room.topic', txnId), { topic: 'new' })).body
    const { event_id: plain } = (await alice.put(`/rooms/${path(roomId)}/state/com.example`, { n: 1 })).body
    const name = { membership: 'join', displayname: 'Alice' }
    const { event_id: member } = (await alice.put(stateOf('m.room.member', 'member', alice.userId), name)).body
    const told = async (client: Client) => {
      const { events } = (await client.sync(`since=${since}`)).rooms.join[roomId].timeline
      const read = await client.get(`/rooms/${path(roomId)}/event/${path(topic)}`)
      return [
        ...[topic, plain, member].map((id) => txnIdOf(events.find((event: Reply['body']) => event.event_id === id))),
        txnIdOf(read.body),
      ]
    }
    for (const restarted of [false, true]) {
      if (restarted) await server.restart()
      assert.deepEqual(await told(alice), [txnId, undefined, 'member', txnId])
      assert.deepEqual(await told(otherDevice), [undefined, undefined, undefined, undefined])
      assert.deepEqual(await told(server.owner), [undefined, undefined, undefined, undefined])
    }
    const query = `{ event(roomId: ${JSON.stringify(roomId)}, eventId: ${JSON.stringify(topic)}) { txnId } }`
    assert.equal((await alice.graphql(query)).data.event.txnId, txnId)
    assert.equal((await otherDevice.graphql(query)).data.event.txnId, null)
    // Bridges put it into their status events.
    assert.deepEqual(
      [txnIdOf(await inTransaction(topic)), txnIdOf(await inTransaction(plain)), txnIdOf(await inTransaction(member))],
      [txnId, undefined, 'member'],
    )
  })

  test('a bridge is told of its own, with the events of its transactions too', async () => {
    const { event_id: eventId } = await bridge.ask('PUT', stateOf('com.example.own', 'mautrix-go_1_1'), { n: 1 }, bridge.ghostId('1'))
    const read = (as: string) => bridge.ask('GET', `/rooms/${path(roomId)}/event/${path(eventId)}`, undefined, as)
    assert.equal(txnIdOf(await read(bridge.ghostId('1'))), 'mautrix-go_1_1')
    assert.equal(txnIdOf(await read(bridge.botId)), undefined)
    assert.equal(txnIdOf(await inTransaction(eventId)), 'mautrix-go_1_1')
    // The same once more is the event that stands.
    const again = await bridge.ask('PUT', stateOf('com.example.own', 'mautrix-go_1_1'), { n: 2 }, bridge.ghostId('1'))
    assert.equal(again.event_id, eventId)
  })

  test('one that is too long is refused, and nothing is written', async () => {
    refused(await alice.put(stateOf('com.example.long', 'x'.repeat(1_025)), { n: 1 }), 400, 'M_INVALID_PARAM')
    refused(await alice.get(`/rooms/${path(roomId)}/state/com.example.long`), 404, 'M_NOT_FOUND')
  })
})
