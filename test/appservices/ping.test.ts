import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { deliveryState } from '../../src/appservices/delivery.ts'
import { pingBridge } from '../../src/appservices/ping.ts'
import { registerBridge, setBridgeAddress } from '../../src/appservices/registrations.ts'
import { createRoom } from '../../src/rooms/create.ts'
import { Homeserver } from './homeserver.ts'

test('a ping reaches the bridge and measures', async () => {
  await using homeserver = await Homeserver.open()
  const bridge = await homeserver.bridge('whatsapp')
  const { durationMs } = await pingBridge(homeserver.instance, await homeserver.actor(bridge), {
    id: 'whatsapp',
    transactionId: 'mautrix-go_1',
  })
  assert.ok(durationMs >= 0 && durationMs < 1_000)
  assert.deepEqual(bridge.pings, ['{"transaction_id":"mautrix-go_1"}'])
  await pingBridge(homeserver.instance, homeserver.owner, { id: 'whatsapp' })
  assert.deepEqual(bridge.pings[1], '{}')
})

test('what is wrong is told as the specification says', async () => {
  await using homeserver = await Homeserver.open({ timeouts: { pingTimeoutMs: 200 } })
  const { instance, administrator } = homeserver
  const bridge = await homeserver.bridge('whatsapp')
  const other = await homeserver.bridge('signal')
  const ping = async () => pingBridge(instance, await homeserver.actor(bridge), { id: 'whatsapp', transactionId: 'x' })
  await assert.rejects(pingBridge(instance, await homeserver.actor(other), { id: 'whatsapp' }), { errcode: 'M_FORBIDDEN', status: 403 })
  await assert.rejects(pingBridge(instance, await homeserver.actor(other), { id: 'nobody' }), { errcode: 'M_FORBIDDEN' })
  await assert.rejects(pingBridge(instance, await homeserver.actor(bridge, instance.ownerId), { id: 'whatsapp' }), {
    errcode: 'M_FORBIDDEN',
  })
  bridge.behaviour = 418
  await assert.rejects(ping(), (error: { errcode: string; status: number; fields: { status: number; body: string } }) => {
    assert.deepEqual([error.errcode, error.status, error.fields.status], ['M_BAD_STATUS', 502, 418])
    assert.equal(error.fields.body.length, 1_024)
    return true
  })
  bridge.behaviour = 'hang'
  await assert.rejects(ping(), { errcode: 'M_CONNECTION_TIMEOUT', status: 504 })
  await bridge.crash()
  await assert.rejects(ping(), { errcode: 'M_CONNECTION_FAILED', status: 502 })
  for (const url of [null, 'websocket']) {
    await setBridgeAddress(instance, administrator, 'whatsapp', url)
    await assert.rejects(ping(), { errcode: 'M_URL_NOT_SET', status: 400 })
  }
})

test('a bridge that answers with the address it was asked at does not bring its hs_token into what is shown', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, administrator } = homeserver
  const listener = createServer((request, response) => response.writeHead(404).end(`Route ${request.method}:${request.url} not found`))
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`
  const { hsToken, key } = await registerBridge(instance, administrator, { id: 'tells', url, hsToken: 'a+secret/of=more&than16' })
  await assert.rejects(pingBridge(instance, administrator, { id: 'tells' }), (error: { message: string; fields: { body: string } }) => {
    assert.match(error.fields.body, /Route POST:.*not found/)
    assert.ok(!shows(error.fields.body, hsToken))
    return true
  })
  const row = (await instance.storage.first('appservice', { key }))!
  await createRoom(instance, { ...administrator, user: row.bot, appservice: key }, {})
  for (let i = 0; deliveryState(instance, key).lastError === null; i++) {
    assert.ok(i < 500)
    await sleep(10)
  }
  assert.match(deliveryState(instance, key).lastError!, /Route PUT:.*not found/)
  assert.ok(!shows(deliveryState(instance, key).lastError!, hsToken))
  listener.closeAllConnections()
  await new Promise((resolve) => listener.close(resolve))
})

function shows(text: string, token: string): boolean {
  return text.includes(token) || text.includes(encodeURIComponent(token))
}
