// Messages to and from the devices of a bridge's users.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Entry } from '../../src/stream/bus.ts'
import { noRoom } from '../../src/users/interest.ts'
import { Client, startServer, type TestServer } from '../rig/server.ts'
import { registerBridge, type TestBridge } from '../users/bridge.ts'
import { contentsOf, inboxOf, sendTo } from './to-device-rig.ts'

async function loginAs(server: TestServer, bridge: TestBridge, userId: string): Promise<Client> {
  const body = { type: 'm.login.application_service', identifier: { type: 'm.id.user', user: userId } }
  const reply = await server.client(bridge.as_token).post('/login', body)
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return new Client(() => server.url, reply.body.access_token, userId, reply.body.device_id)
}

describe('a bridge', () => {
  test('sends to devices as its own users, with and without a device, and never as the owner', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const bridge = await registerBridge(server, 'one')
    const bob = await server.register('bob')
    const as = (userId: string, more = '') => ({
      put: (path: string, body: unknown) => bridge.as(userId).request('PUT', `${path}${more && `?${more}`}`, body),
    })
    const to = (n: number) => ({ [bob.userId]: { '*': { n } } })
    assert.equal((await sendTo(as(bridge.botId), to(1), { txnId: 'a' })).status, 200)
    assert.equal((await sendTo(as(bridge.ghost(1)), to(2), { txnId: 'a' })).status, 200)
    assert.equal((await sendTo(as(bridge.botId), to(3), { txnId: 'a' })).status, 200)
    const { deviceId } = await loginAs(server, bridge, bridge.botId)
    assert.equal((await sendTo(as(bridge.botId, `device_id=${deviceId}`), to(4), { txnId: 'a' })).status, 200)
    assert.deepEqual(
      (await inboxOf(instance, bob)).map(({ sender, content }) => [sender, content.n]),
      [
        [bridge.botId, 1],
        [bridge.ghost(1), 2],
        [bridge.botId, 4],
      ],
    )
    const asOwner = await sendTo(as(server.owner.userId), to(5))
    assert.deepEqual([asOwner.status, asOwner.body.errcode], [403, 'M_FORBIDDEN'])
    const mutation = 'mutation($m: JsonObject!) { sendToDevice(eventType: "m.x", txnId: "1", messages: $m) }'
    const path = `/graphql?user_id=${encodeURIComponent(server.owner.userId)}`
    const headers = { 'content-type': 'application/json' }
    const byGraphql = await server.client(bridge.as_token).request('POST', path, { query: mutation, variables: { m: to(6) } }, { headers })
    assert.equal(byGraphql.body.errors[0].extensions.errcode, 'M_FORBIDDEN')
    assert.equal((await inboxOf(instance, bob)).length, 3)
  })

  test('that takes messages to devices in its transactions is woken for them; one that syncs is not', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const bob = await server.register('bob')
    for (const id of ['pushed', 'synced']) {
      const bridge = await registerBridge(server, id)
      const bot = await loginAs(server, bridge, bridge.botId)
      const ghost = await loginAs(server, bridge, bridge.ghost(1))
      const row = (await instance.storage.first('appservice', { id }))!
      const mutation = 'mutation($id: String!, $r: JsonObject) { registerBridge(id: $id, registration: $r) { id } }'
      const { errors } = await server.owner.graphql(mutation, { id, r: { 'org.matrix.msc3202': id === 'pushed' } })
      assert.equal(errors, undefined)
      const entries: Entry[] = []
      instance.bus.onAppservice(row.key, (entry) => entries.push(entry))
      await sendTo(bob, { [bridge.botId]: { '*': { n: 1 } }, [bridge.ghost(1)]: { [ghost.deviceId]: { n: 2 } }, [bob.userId]: { '*': {} } })
      const rows = await instance.storage.find('toDevice', { where: { appservice: row.key }, orderBy: ['position'] })
      const interest = await instance.storage.find('interest', { where: { appservice: row.key, room: noRoom }, orderBy: ['position'] })
      if (id === 'pushed') {
        assert.deepEqual(
          rows.map(({ deviceId, content }) => [deviceId, content]),
          [
            [bot.deviceId, '{"n":1}'],
            [ghost.deviceId, '{"n":2}'],
          ],
        )
        assert.deepEqual(
          interest.map(({ position }) => position),
          rows.map(({ position }) => position),
        )
        assert.notEqual(rows[0]!.position, rows[1]!.position, 'a transaction may end between the two')
        assert.equal(entries.filter(({ kinds }) => kinds.has('toDevice')).length, 1)
      } else {
        assert.deepEqual([rows, interest, entries], [[], [], []])
      }
      assert.deepEqual(await contentsOf(instance, bot), [{ n: 1 }])
      assert.deepEqual(await contentsOf(instance, ghost), [{ n: 2 }])
    }
  })

  test('com.beeper.stream: a viewer subscribes at all devices of the bot, and its updates come to the device that did', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const bridge = await registerBridge(server, 'ai')
    const bot = await loginAs(server, bridge, bridge.botId)
    const { owner } = server
    const owned = (await owner.get('/account/whoami')).body.device_id
    const subscribe = { room_id: '!r', event_id: '$e', device_id: owned, expiry_ms: 300_000 }
    await sendTo(owner, { [bridge.botId]: { '*': subscribe } }, { type: 'com.beeper.stream.subscribe' })
    const [subscribed] = await inboxOf(instance, bot)
    assert.deepEqual(
      { ...subscribed, position: 0 },
      {
        type: 'com.beeper.stream.subscribe',
        sender: owner.userId,
        content: subscribe,
        position: 0,
      },
    )
    const update = { room_id: '!r', event_id: '$e', updates: [{ 'com.beeper.llm': { body: 'He' } }] }
    const { next_batch: since } = await owner.sync()
    const waiting = owner.sync(`since=${since}&timeout=20000`)
    await sendTo(bot, { [owner.userId]: { [subscribed!.content.device_id]: update } }, { type: 'com.beeper.stream.update' })
    assert.deepEqual((await waiting).to_device.events, [{ type: 'com.beeper.stream.update', sender: bridge.botId, content: update }])
  })
})
