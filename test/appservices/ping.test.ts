import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pingBridge } from '../../src/appservices/ping.ts'
import { setBridgeAddress } from '../../src/appservices/registrations.ts'
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
