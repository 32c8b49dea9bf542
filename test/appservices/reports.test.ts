import assert from 'node:assert/strict'
import { test } from 'node:test'
import { messageCheckpoints } from '../../src/appservices/checkpoints.ts'
import { deleteBridge } from '../../src/appservices/deletion.ts'
import { reportBridgeState, reportCheckpoints } from '../../src/appservices/reports.ts'
import { bridgeStates } from '../../src/appservices/status.ts'
import { Homeserver } from './homeserver.ts'

test('the newest state of the bridge and of each login is kept as it was sent', async () => {
  await using homeserver = await Homeserver.open()
  const { instance } = homeserver
  const bridge = await homeserver.bridge('whatsapp')
  const bot = await homeserver.actor(bridge)
  await reportBridgeState(instance, bot, { state_event: 'STARTING', timestamp: 1 })
  await reportBridgeState(instance, bot, { state_event: 'CONNECTING', remote_id: '123' })
  await reportBridgeState(instance, bot, { state_event: 'CONNECTED', remote_id: '123', remote_name: '+123', info: { a: 1 } })
  const states = await bridgeStates(instance, bot.appservice!)
  assert.deepEqual(
    states.map(({ remoteId, state }) => [remoteId, JSON.parse(state).state_event]),
    [
      ['', 'STARTING'],
      ['123', 'CONNECTED'],
    ],
  )
  assert.deepEqual(JSON.parse(states[1]!.state), { state_event: 'CONNECTED', remote_id: '123', remote_name: '+123', info: { a: 1 } })
  await reportBridgeState(instance, bot, { bridgeState: { stateEvent: 'RUNNING' }, remoteState: { '123': { stateEvent: 'LOGGED_OUT' } } })
  assert.deepEqual(
    (await bridgeStates(instance, bot.appservice!)).map(({ state }) => JSON.parse(state).stateEvent),
    ['RUNNING', 'LOGGED_OUT'],
  )
  await assert.rejects(reportBridgeState(instance, bot, {}), { errcode: 'M_BAD_JSON' })
  await assert.rejects(reportBridgeState(instance, homeserver.owner, { state_event: 'CONNECTED' }), { errcode: 'M_FORBIDDEN' })
  await assert.rejects(reportBridgeState(instance, bot, { state_event: 'CONNECTED', remote_id: 'a\0' }), { errcode: 'M_INVALID_PARAM' })
  await assert.rejects(reportBridgeState(instance, bot, { state_event: 'CONNECTED', message: 'x'.repeat(70_000) }), {
    errcode: 'M_TOO_LARGE',
  })
})

test('how far a message got is kept by step', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const bridge = await homeserver.bridge('whatsapp')
  const bot = await homeserver.actor(bridge)
  const roomId = await homeserver.portal(bridge, 'bob')
  const eventId = await homeserver.send(owner, roomId, 'hello')
  const checkpoint = { event_id: eventId, room_id: roomId, step: 'BRIDGE', status: 'SUCCESS', timestamp: 1, reported_by: 'BRIDGE' }
  await reportCheckpoints(instance, bot, [checkpoint, { ...checkpoint, step: 'REMOTE', status: 'WILL_RETRY' }])
  await reportCheckpoints(instance, bot, [{ ...checkpoint, step: 'REMOTE', status: 'SUCCESS' }])
  const steps = await messageCheckpoints(instance, owner, eventId)
  assert.deepEqual(
    steps.map(({ step, status }) => [step, status]),
    [
      ['HOMESERVER', 'SUCCESS'],
      ['BRIDGE', 'SUCCESS'],
      ['REMOTE', 'SUCCESS'],
    ],
  )
  await assert.rejects(messageCheckpoints(instance, bot, eventId), { errcode: 'M_FORBIDDEN' })
  for (const bad of [{}, [1], [{ ...checkpoint, step: 1 }]])
    await assert.rejects(reportCheckpoints(instance, bot, bad), { errcode: 'M_BAD_JSON' })
})

test('a report that comes in when its bridge was just deleted leaves nothing behind', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, administrator } = homeserver
  const bot = await homeserver.actor(await homeserver.bridge('whatsapp'))
  await deleteBridge(instance, administrator, 'whatsapp')
  const checkpoint = { event_id: '$late', room_id: '!r', step: 'BRIDGE', status: 'SUCCESS', timestamp: 1 }
  await assert.rejects(reportCheckpoints(instance, bot, [checkpoint]), { errcode: 'M_FORBIDDEN' })
  await assert.rejects(reportBridgeState(instance, bot, { state_event: 'CONNECTED' }), { errcode: 'M_FORBIDDEN' })
  assert.equal(await instance.storage.count('bridgeCheckpoint', {}), 0)
  assert.equal(await instance.storage.count('bridgeState', {}), 0)
})
