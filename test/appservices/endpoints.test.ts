import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ExampleBridge } from '../rig/example-bridge.ts'
import { startServer } from '../rig/server.ts'

const path = '/_matrix/asmux/mxauth/appservice/owner/sh-echo'

test('bbctl makes a bridge, gets the same again on the next run, and deletes it', async () => {
  await using server = await startServer()
  assert.equal((await server.request('PUT', path, { push: false })).status, 401)
  assert.deepEqual((await server.owner.get(path)).body.errcode, 'M_NOT_FOUND')
  const made = await server.owner.put(path, { push: false, self_hosted: true })
  assert.equal(made.status, 200)
  const { id, url, as_token, hs_token, sender_localpart, rate_limited, namespaces } = made.body
  assert.deepEqual([id, url, sender_localpart, rate_limited], ['sh-echo', 'websocket', 'sh-echobot', false])
  assert.ok(as_token.length >= 32 && hs_token.length >= 32)
  assert.equal(namespaces.users[0].regex, '^@sh-echo_.+:example\\.com$')
  assert.deepEqual((await server.owner.put(path, { push: false, self_hosted: true })).body, made.body)
  assert.deepEqual((await server.owner.get(path)).body, made.body)
  const moved = await server.owner.put(path, { push: true, address: 'http://127.0.0.1:29999', self_hosted: true })
  assert.deepEqual(moved.body, { ...made.body, url: 'http://127.0.0.1:29999' })
  // Nobody else's, and not with the bridge's own token.
  assert.equal((await server.owner.put('/_matrix/asmux/mxauth/appservice/somebody/sh-echo', { push: false })).status, 403)
  assert.equal((await server.client(as_token).put(path, { push: false })).status, 403)
  const person = await server.register('guest')
  assert.equal((await person.get(path)).status, 403)
  assert.equal((await person.put(path, { push: false })).status, 403)
  assert.equal((await server.owner.request('DELETE', path)).status, 200)
  assert.equal((await server.owner.request('DELETE', path)).status, 404)
  assert.equal((await server.client(as_token).get('/account/whoami')).status, 401)
})

test('a bridge runs over real HTTP: ping, state, checkpoints, and GraphQL shows it', async () => {
  await using server = await startServer()
  const registration = (await server.owner.put(path, { push: true, address: 'http://127.0.0.1:1' })).body
  await using bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'example.com' })
  const unreachable = await bridge.request('POST', '/_matrix/client/v1/appservice/sh-echo/ping', { transaction_id: 'x' })
  assert.deepEqual([unreachable.status, unreachable.body.errcode], [502, 'M_CONNECTION_FAILED'])
  await server.owner.put(path, { push: true, address: bridge.url })
  const { duration_ms } = await bridge.ask('POST', '/_matrix/client/v1/appservice/sh-echo/ping', { transaction_id: 'x' }, bridge.botId)
  assert.ok(Number.isInteger(duration_ms))
  bridge.behaviour = 418
  const failed = await bridge.request('POST', '/_matrix/client/v1/appservice/sh-echo/ping', { transaction_id: 'x' })
  assert.deepEqual([failed.status, failed.body.errcode, failed.body.status], [502, 'M_BAD_STATUS', 418])
  bridge.behaviour = 'ok'
  assert.equal((await bridge.request('POST', '/_matrix/client/v1/appservice/other/ping', {})).status, 403)
  assert.equal((await server.owner.post('/_matrix/client/v1/appservice/sh-echo/ping')).status, 403)

  assert.deepEqual(await bridge.ask('POST', '/_bridge/state', { state_event: 'CONNECTED', remote_id: '1', timestamp: 1, ttl: 60 }), {})
  const roomId = await bridge.createPortal('checked', ['bob'], [server.owner.userId])
  const eventId = await server.owner.send(roomId, 'hello')
  const checkpoint = {
    event_id: eventId,
    room_id: roomId,
    step: 'REMOTE',
    status: 'SUCCESS',
    timestamp: 1,
    event_type: 'm.room.message',
    reported_by: 'BRIDGE',
  }
  assert.deepEqual(await bridge.ask('POST', '/_bridge/checkpoints', { checkpoints: [checkpoint] }), {})
  assert.equal((await server.owner.post('/_bridge/state', { state_event: 'CONNECTED' })).status, 403)
  assert.equal((await bridge.request('POST', '/_bridge/state', {})).body.errcode, 'M_BAD_JSON')
  assert.equal((await bridge.request('POST', '/_bridge/checkpoints', {})).status, 400)

  const query = `query($event: String!) {
    bridges { id bot url status queueLength oldestUndelivered lastError failures states { remoteId stateEvent state } }
    messageCheckpoints(eventId: $event) { step status }
  }`
  const ask = async () => (await server.owner.graphql(query, { event: eventId })).data
  let data = await ask()
  for (let tries = 0; data.bridges[0].queueLength > 0 && tries < 500; tries++) {
    await sleep(10)
    data = await ask()
  }
  assert.deepEqual(data.bridges, [
    {
      id: 'sh-echo',
      bot: bridge.botId,
      url: bridge.url,
      status: 'ACTIVE',
      queueLength: 0,
      oldestUndelivered: null,
      lastError: null,
      failures: 0,
      states: [{ remoteId: '1', stateEvent: 'CONNECTED', state: { state_event: 'CONNECTED', remote_id: '1', timestamp: 1, ttl: 60 } }],
    },
  ])
  assert.deepEqual(
    data.messageCheckpoints.map(({ step, status }: Record<string, string>) => `${step} ${status}`),
    ['HOMESERVER SUCCESS', 'REMOTE SUCCESS'],
  )
  const person = await server.register('guest')
  for (const client of [person, server.client(registration.as_token)]) {
    const answer = await client.graphql('{ bridges { id } }')
    assert.equal(answer.errors[0].extensions.errcode, 'M_FORBIDDEN')
  }
})

test('GraphQL registers, pauses, moves and deletes a bridge', async () => {
  await using server = await startServer()
  const run = async (mutation: string, variables = {}) => {
    const { data, errors } = await server.administrator.graphql(mutation, variables)
    assert.equal(errors, undefined, JSON.stringify(errors))
    return data
  }
  const made = await run(
    'mutation($id: String!, $registration: JsonObject) { registerBridge(id: $id, registration: $registration) { id status registration registrationYaml configYaml } }',
    { id: 'signal', registration: { url: 'http://127.0.0.1:29328', hs_token: 'an-hs-token-of-some-length' } },
  )
  assert.equal(made.registerBridge.registration.hs_token, 'an-hs-token-of-some-length')
  assert.match(made.registerBridge.registrationYaml, /hs_token: an-hs-token-of-some-length/)
  assert.match(made.registerBridge.configYaml, /software: hungry/)
  assert.equal((await run('mutation { pauseBridge(id: "signal") { status } }')).pauseBridge.status, 'PAUSED')
  assert.equal((await run('mutation { resumeBridge(id: "signal") { status } }')).resumeBridge.status, 'ACTIVE')
  assert.equal((await run('mutation { setBridgeAddress(id: "signal", url: null) { url } }')).setBridgeAddress.url, null)
  const rotated = (await run('mutation { rotateBridgeTokens(id: "signal") { registration } }')).rotateBridgeTokens.registration
  assert.notEqual(rotated.as_token, made.registerBridge.registration.as_token)
  const again = await run(
    'mutation($registration: JsonObject) { registerBridge(id: "signal", registration: $registration) { registration } }',
    {
      registration: rotated,
    },
  )
  assert.deepEqual(again.registerBridge.registration, rotated)
  const configured = (await run('mutation { configureBridge(type: "whatsapp") { id url configYaml } }')).configureBridge
  assert.deepEqual([configured.id, configured.url], ['whatsapp', 'websocket'])
  assert.match(configured.configYaml, /username_template: whatsapp_/)
  assert.equal((await run('mutation { deleteBridge(id: "whatsapp") { kind } }')).deleteBridge.kind, 'DELETE_BRIDGE')
  assert.equal((await run('mutation { deleteBridge(id: "signal") { kind } }')).deleteBridge.kind, 'DELETE_BRIDGE')
  assert.deepEqual((await run('{ bridges { id } }')).bridges, [])
})
