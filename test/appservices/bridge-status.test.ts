/** What is known of bridges: their states and checkpoints, however they are told, and what the homeserver says of them itself. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { GraphqlClient } from '../interop/graphql/client.ts'
import { ExampleBridge } from '../rig/example-bridge.ts'
import { startServer, type TestServer } from '../rig/server.ts'
import { Clock } from './clock.ts'
import { SocketBridge } from './socket-bridge.ts'

let count = 0
const path = (id: string) => `/_matrix/asmux/mxauth/appservice/owner/${id}`

interface Pushed {
  readonly bridge: ExampleBridge
  readonly roomId: string
}

/** A bridge that is pushed to, with a room that the owner is in. */
async function push(server: TestServer, id: string): Promise<Pushed> {
  const registration = (await server.owner.put(path(id), { push: true, address: 'http://127.0.0.1:1' })).body
  const bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'example.com' })
  await server.owner.put(path(id), { push: true, address: bridge.url })
  return { bridge, roomId: await bridge.createPortal(id, ['bob'], [server.owner.userId]) }
}

/** `login STATE` of each state of a bridge, as the bridges query has them. */
async function statesOf(server: TestServer, id: string): Promise<string[]> {
  const { data } = await server.owner.graphql('query($id: String!) { bridge(id: $id) { states { remoteId stateEvent } } }', { id })
  return data.bridge.states.map((state: Record<string, string>) => `${state['remoteId']} ${state['stateEvent']}`.trim())
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; !(await holds()); i++) {
    if (i === 500) throw new Error(`in vain: ${what}`)
    await sleep(10)
  }
}

const bodies = (bridge: ExampleBridge) =>
  bridge.events.filter((event) => event.type === 'm.room.message').map((event) => event.content.body)

/** Null when there is no such line at /metrics. */
async function metric(server: TestServer, name: string, ...labels: string[]): Promise<number | null> {
  const text = await (await fetch(`${server.url}/metrics`)).text()
  const line = text.split('\n').find((each) => each.startsWith(`${name}{`) && labels.every((label) => each.includes(label)))
  return line ? Number(line.split(' ').at(-1)) : null
}

/** A server whose clock can be moved and whose log can be read. */
async function open() {
  const clock = new Clock()
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  return {
    clock,
    server: await startServer({ ports: { ...clock.ports, log } }),
    errors: () => lines.filter((line) => line['level'] === 50),
  }
}

test('a bridge that refuses a transaction for 30 s is unreachable: an error line, a state, a metric; it goes back when it answers, others are unharmed', async () => {
  const { clock, server, errors } = await open()
  await using _ = server
  const stuck = await push(server, 'sh-stuck')
  const well = await push(server, 'sh-well')
  await using _stuck = stuck.bridge
  await using _well = well.bridge
  await stuck.bridge.ask('POST', '/_bridge/state', { state_event: 'RUNNING' })
  await stuck.bridge.ask('POST', '/_bridge/state', { state_event: 'CONNECTED', remote_id: 'alice' })
  await stuck.bridge.until('it is idle', () => stuck.bridge.events.length > 3)
  stuck.bridge.behaviour = 500
  await server.owner.send(stuck.roomId, 'one')
  await stuck.bridge.until('it refused', () => stuck.bridge.attempts.at(-1)?.status === 500)
  await clock.move(25_000)
  assert.deepEqual(await statesOf(server, 'sh-stuck'), ['RUNNING', 'alice CONNECTED'])
  await clock.move(6_000)
  await until('it is unreachable', async () => (await statesOf(server, 'sh-stuck'))[0] === 'BRIDGE_UNREACHABLE')
  assert.deepEqual(await statesOf(server, 'sh-stuck'), ['BRIDGE_UNREACHABLE', 'alice CONNECTED'])
  assert.deepEqual(
    errors().map((line) => [line['appservice'], line['msg']]),
    [['sh-stuck', 'a bridge is unreachable: what is sent to it waits']],
  )
  assert.match(String(errors()[0]!['error']), /answered 500/)
  const oldest = await metric(server, 'hungryserv_appservice_oldest_undelivered_seconds', 'appservice="sh-stuck"')
  assert.ok(oldest !== null && oldest >= 30 && oldest < 60, String(oldest))
  assert.equal(await metric(server, 'hungryserv_appservice_queued_events', 'appservice="sh-stuck"'), 1)
  assert.equal(await metric(server, 'hungryserv_bridge_states', 'appservice="sh-stuck"', 'state="BRIDGE_UNREACHABLE"'), 1)
  assert.equal(await metric(server, 'hungryserv_bridge_states', 'appservice="sh-stuck"', 'state="CONNECTED"'), 1)
  const query = '{ bridges { id queueLength oldestUndelivered lastError failures } }'
  const [shown] = (await server.owner.graphql(query)).data.bridges
  assert.equal(shown.queueLength, 1)
  assert.ok(shown.failures > 0 && /answered 500/.test(shown.lastError) && shown.oldestUndelivered > 0)

  await server.owner.send(well.roomId, 'as ever')
  await well.bridge.until('the message is there', () => bodies(well.bridge).includes('as ever'))
  assert.deepEqual(await statesOf(server, 'sh-well'), [])
  await until(
    'nothing waits',
    async () => (await metric(server, 'hungryserv_appservice_oldest_undelivered_seconds', 'appservice="sh-well"')) === 0,
  )

  await server.owner.send(stuck.roomId, 'two')
  stuck.bridge.behaviour = 'ok'
  const retry = await server.owner.graphql('mutation { retryBridge(id: "sh-stuck") { id } }')
  assert.equal(retry.data.retryBridge.id, 'sh-stuck')
  await stuck.bridge.until('both are there', () => bodies(stuck.bridge).length === 2)
  assert.deepEqual(bodies(stuck.bridge), ['one', 'two'])
  await until('it is reachable', async () => (await statesOf(server, 'sh-stuck'))[0] === 'RUNNING')
  assert.equal(errors().length, 1)
})

test('retry now ends a wait at once, and only the owner and administrators may', async () => {
  const { clock, server } = await open()
  await using _ = server
  const { bridge, roomId } = await push(server, 'sh-slow')
  await using _bridge = bridge
  await bridge.until('it is idle', () => bridge.events.length > 3)
  bridge.behaviour = 500
  await server.owner.send(roomId, 'one')
  // The waits have grown to half a minute.
  await clock.move(120_000)
  const before = bridge.attempts.length
  const refused = await server.client(bridge.options.registration.as_token).graphql('mutation { retryBridge(id: "sh-slow") { id } }')
  assert.equal(refused.errors[0].extensions.errcode, 'M_FORBIDDEN')
  await server.owner.graphql('mutation { retryBridge(id: "sh-slow") { id } }')
  await bridge.until('it is tried', () => bridge.attempts.length > before)
  const refusals = bridge.attempts.filter(({ status }) => status === 500)
  assert.ok(refusals.length >= 2)
  assert.equal(new Set(refusals.map(({ txnId }) => txnId)).size, 1)
})

test('a bridge that leaves a transaction unanswered is unreachable, also after a restart of the homeserver; the event is not lost', async () => {
  const { clock, server } = await open()
  await using _ = server
  const { bridge, roomId } = await push(server, 'sh-deaf')
  await using _bridge = bridge
  await bridge.until('it is idle', () => bridge.events.length > 3)
  bridge.behaviour = 'hang'
  await server.owner.send(roomId, 'kept')
  await bridge.until('it has it', () => bridge.attempts.at(-1)?.text.includes('kept') === true)
  await clock.move(31_000)
  await until('it is unreachable', async () => (await statesOf(server, 'sh-deaf'))[0] === 'BRIDGE_UNREACHABLE')
  await server.restart()
  assert.deepEqual(await statesOf(server, 'sh-deaf'), ['BRIDGE_UNREACHABLE'])
  await bridge.crash()
  bridge.behaviour = 'ok'
  await bridge.revive()
  await server.owner.graphql('mutation { retryBridge(id: "sh-deaf") { id } }')
  await bridge.until('the event', () => bodies(bridge).includes('kept'))
  await until('it is reachable', async () => (await statesOf(server, 'sh-deaf')).length === 0)
})

test('idle and paused bridges are not unreachable, for however long', async () => {
  const { clock, server, errors } = await open()
  await using _ = server
  const idle = await push(server, 'sh-idle')
  const paused = await push(server, 'sh-paused')
  await using _idle = idle.bridge
  await using _paused = paused.bridge
  await paused.bridge.until('it is idle', () => paused.bridge.events.length > 3)
  await server.owner.graphql('mutation { pauseBridge(id: "sh-paused") { id } }')
  await server.owner.send(paused.roomId, 'later')
  await idle.bridge.crash()
  await clock.move(3_600_000)
  assert.deepEqual([await statesOf(server, 'sh-idle'), await statesOf(server, 'sh-paused'), errors()], [[], [], []])
  await server.owner.graphql('mutation { resumeBridge(id: "sh-paused") { id } }')
  await paused.bridge.until('what was said meanwhile', () => bodies(paused.bridge).includes('later'))
  assert.deepEqual(await statesOf(server, 'sh-paused'), [])
})

test('a bridge without its websocket for 30 s is unreachable, and what it was before as soon as it connects', async () => {
  const { clock, server } = await open()
  await using _ = server
  const { as_token: token } = (await server.owner.put(path('sh-away'), { push: false })).body
  await using bridge = await SocketBridge.connect({ url: server.url, token })
  bridge.send({ command: 'bridge_status', data: { state_event: 'CONNECTED', remote_id: 'alice' } })
  await until('the state', async () => (await statesOf(server, 'sh-away')).length === 1)
  await clock.move(120_000)
  assert.deepEqual(await statesOf(server, 'sh-away'), ['alice CONNECTED'])
  await bridge.crash()
  await until('it is gone', async () => !(await server.owner.graphql('{ bridges { connected } }')).data.bridges[0].connected)
  await clock.move(20_000)
  assert.deepEqual(await statesOf(server, 'sh-away'), ['alice CONNECTED'])
  await clock.move(11_000)
  await until('it is unreachable', async () => (await statesOf(server, 'sh-away'))[0] === 'BRIDGE_UNREACHABLE')
  await bridge.connect()
  await until('it is back', async () => (await statesOf(server, 'sh-away')).join() === 'alice CONNECTED')
})

test('states by POST and over a websocket are seen alike: by GraphQL, by GET logins and by the metrics', async () => {
  const { server } = await open()
  await using _ = server
  const { bridge: posting, roomId } = await push(server, 'sh-post')
  await using _posting = posting
  const { as_token: token } = (await server.owner.put(path('sh-socket'), { push: false })).body
  await using socket = await SocketBridge.connect({ url: server.url, token })
  const state = { state_event: 'BAD_CREDENTIALS', remote_id: 'alice', error: 'x', timestamp: 1, ttl: 60 }
  const socketRoom = await server.client(token).createRoom({ 'com.beeper.initial_members': [server.owner.userId] })
  const about = async (room_id: string) => ({ event_id: await server.owner.send(room_id, 'hello'), room_id })
  const checkpoint = { ...(await about(roomId)), step: 'REMOTE', status: 'PERM_FAILURE', timestamp: 1, event_type: 'm.room.message' }
  const other = { ...checkpoint, ...(await about(socketRoom)) }
  await posting.ask('POST', '/_bridge/state', state)
  await posting.ask('POST', '/_bridge/checkpoints', { checkpoints: [checkpoint] })
  socket.send({ command: 'bridge_status', data: state })
  socket.send({ command: 'message_checkpoint', data: { checkpoints: [other] } })
  await until('the checkpoint', async () => {
    const { data } = await server.owner.graphql('query($id: String!) { messageCheckpoints(eventId: $id) { status } }', {
      id: other.event_id,
    })
    return data.messageCheckpoints.length === 2
  })
  for (const id of ['sh-post', 'sh-socket']) {
    assert.deepEqual(await statesOf(server, id), ['alice BAD_CREDENTIALS'])
    const logins = await server.owner.get(`/_matrix/client/unstable/com.beeper.bridge/${id}/logins`)
    assert.deepEqual([logins.status, logins.body], [200, { bridgeState: null, remoteState: { alice: state } }])
    assert.equal(await metric(server, 'hungryserv_bridge_states', `appservice="${id}"`, 'state="BAD_CREDENTIALS"'), 1)
  }
  assert.equal(await metric(server, 'hungryserv_message_checkpoints_total', 'step="REMOTE"', 'status="PERM_FAILURE"'), 2)
  const logins = '/_matrix/client/unstable/com.beeper.bridge/sh-post/logins'
  assert.equal((await server.client(token).get(logins)).status, 403)
  assert.equal((await (await server.register('guest')).get(logins)).status, 403)
  assert.equal((await server.owner.get(logins.replace('sh-post', 'sh-none'))).status, 404)
})

test('the homeserver tells CLIENT and HOMESERVER of what the owner sends to a bridge, and nothing of what the bridge sends as the owner', async () => {
  const { server } = await open()
  await using _ = server
  const { bridge, roomId } = await push(server, 'sh-steps')
  await using _bridge = bridge
  const send = (content: object) => server.owner.put(`/rooms/${encodeURIComponent(roomId)}/send/m.room.message/t${count++}`, content)
  const steps = async (eventId: string) =>
    (await server.owner.graphql('query($id: String!) { messageCheckpoints(eventId: $id) { step status checkpoint } }', { id: eventId }))
      .data.messageCheckpoints
  const client = {
    'com.beeper.origin_client_ts': 1_700_000_000_000,
    'com.beeper.origin_client_type': 'desktop',
    'com.beeper.origin_client_version': '4.0',
  }
  const said = (await send({ msgtype: 'm.text', body: 'hello', ...client })).body.event_id
  const [first, second, ...rest] = await steps(said)
  assert.deepEqual(rest, [])
  assert.deepEqual([first.step, first.status, second.step, second.status], ['CLIENT', 'SUCCESS', 'HOMESERVER', 'SUCCESS'])
  assert.deepEqual(first.checkpoint, {
    event_id: said,
    room_id: roomId,
    event_type: 'm.room.message',
    message_type: 'm.text',
    client_type: 'desktop',
    client_version: '4.0',
    status: 'SUCCESS',
    reported_by: 'HUNGRYSERV',
    retry_num: 0,
    step: 'CLIENT',
    timestamp: 1_700_000_000_000,
  })
  assert.ok(Math.abs(second.checkpoint.timestamp - Date.now()) < 60_000)
  const plain = (await send({ msgtype: 'm.text', body: 'hello' })).body.event_id
  assert.deepEqual(
    (await steps(plain)).map((each: { step: string }) => each.step),
    ['HOMESERVER'],
  )
  await bridge.ask('POST', '/_bridge/checkpoints', {
    checkpoints: [{ event_id: plain, room_id: roomId, step: 'BRIDGE', status: 'SUCCESS' }],
  })
  assert.deepEqual(
    (await steps(plain)).map((each: { step: string }) => each.step),
    ['HOMESERVER', 'BRIDGE'],
  )
  const as = (userId: string) =>
    bridge.ask('PUT', `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${userId}`, { msgtype: 'm.text', body: 'hi' }, userId)
  const ghost = await as(bridge.ghostId('bob'))
  const puppet = await as(server.owner.userId)
  const elsewhere = await server.owner.send(await server.owner.createRoom(), 'to myself')
  for (const eventId of [ghost.event_id, puppet.event_id, elsewhere]) assert.deepEqual(await steps(eventId), [])
})

test('a subscription hears each change of state and each checkpoint once, goes on where it was, and is for the owner', async () => {
  const { clock, server } = await open()
  await using _ = server
  const { bridge, roomId } = await push(server, 'sh-heard')
  await using _bridge = bridge
  await bridge.until('it is idle', () => bridge.events.length > 3)
  const graphql = (token: string) => new GraphqlClient(() => server.url, { userId: '', deviceId: '', accessToken: token })
  const query = `subscription($id: String, $after: Position) {
    bridgeStatus(id: $id, after: $after) { position bridges { id states { remoteId stateEvent } } checkpoints { eventId step } }
  }`
  const owner = graphql(server.owner.token)
  const after = await owner.position()
  const heard = owner.subscription(query, { after })
  await bridge.ask('POST', '/_bridge/state', { state_event: 'CONNECTED', remote_id: 'alice' })
  const first = (await heard.next()).bridgeStatus
  assert.deepEqual(first.bridges, [{ id: 'sh-heard', states: [{ remoteId: 'alice', stateEvent: 'CONNECTED' }] }])
  const eventId = await server.owner.send(roomId, 'hello')
  assert.deepEqual((await heard.next()).bridgeStatus.checkpoints, [{ eventId, step: 'HOMESERVER' }])
  bridge.behaviour = 500
  await server.owner.send(roomId, 'stuck')
  assert.equal((await heard.next()).bridgeStatus.checkpoints.length, 1)
  await bridge.until('it refused', () => bridge.attempts.at(-1)?.status === 500)
  await clock.move(31_000)
  assert.equal((await heard.next()).bridgeStatus.bridges[0].states[0].stateEvent, 'BRIDGE_UNREACHABLE')
  bridge.behaviour = 'ok'
  await server.owner.graphql('mutation { retryBridge(id: "sh-heard") { id } }')
  assert.deepEqual((await heard.next()).bridgeStatus.bridges[0].states, [{ remoteId: 'alice', stateEvent: 'CONNECTED' }])
  heard.cut()

  const again = owner.subscription(query, { id: 'sh-heard', after: first.position })
  const everything = (await again.next()).bridgeStatus
  assert.deepEqual([everything.bridges[0].id, everything.checkpoints.length], ['sh-heard', 2])
  again.cut()
  await assert.rejects(graphql(bridge.options.registration.as_token).subscription(query).next(), { errcode: 'M_FORBIDDEN' })
  await assert.rejects(owner.subscription(query, { id: 'sh-none' }).next(), { errcode: 'M_NOT_FOUND' })
})

test('what a bridge reports is bounded: logins, checkpoints, sizes', async () => {
  const { server } = await open()
  await using _ = server
  const { bridge, roomId } = await push(server, 'sh-much')
  await using _bridge = bridge
  const remoteState = (from: number, count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`login${from + i}`, { state_event: 'CONNECTED' }]))
  await bridge.ask('POST', '/_bridge/state', { remoteState: remoteState(0, 999) })
  const more = await bridge.request('POST', '/_bridge/state', { remoteState: remoteState(999, 2) })
  assert.deepEqual([more.status, more.body.errcode], [413, 'M_TOO_LARGE'])
  // Those that are known may change.
  await bridge.ask('POST', '/_bridge/state', { remoteState: remoteState(0, 999) })
  const about = { event_id: await server.owner.send(roomId, 'hello'), room_id: roomId }
  const checkpoints = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ ...about, step: `STEP_${from + i}`, status: 'SUCCESS' }))
  assert.equal((await bridge.request('POST', '/_bridge/checkpoints', { checkpoints: checkpoints(0, 1_001) })).status, 413)
  for (let i = 0; i < 12; i++) await bridge.ask('POST', '/_bridge/checkpoints', { checkpoints: checkpoints(i * 1_000, 1_000) })
  const instance = await server.server.host.defaultInstance()
  const kept = await instance.storage.count('bridgeCheckpoint', {})
  assert.ok(kept <= 11_000, String(kept))
  const query = 'query($id: String!) { messageCheckpoints(eventId: $id) { step } }'
  const shown = (await server.owner.graphql(query, { id: about.event_id })).data.messageCheckpoints
  assert.equal(shown.length, 101)
  assert.deepEqual([shown[0].step, new Set(shown.map(({ step }: { step: string }) => step)).size], ['HOMESERVER', 101])
})
