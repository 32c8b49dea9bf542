import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { bridgeSockets } from '../../src/appservices/sockets.ts'
import { type Portal, Portals, registrationPath } from './portals.ts'
import type { SocketBridge } from './socket-bridge.ts'

let portals: Portals
before(async () => {
  portals = await Portals.open()
})
after(() => portals[Symbol.asyncDispose]())

describe('what bridges say over the websocket', () => {
  test('a ping is answered with the time of the server, and without an id not at all', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    const { id, command, status, data } = await bridge.ask('ping', { timestamp: 1 })
    assert.deepEqual([id, command, status], [1, 'response', 'ok'])
    assert.ok(Number.isInteger(data.timestamp) && Math.abs(data.timestamp - portals.clock.now()) < 60_000)
    bridge.send({ command: 'ping', data: { timestamp: 1 } })
    bridge.send({ id: 0, command: 'ping', data: { timestamp: 1 } })
    await bridge.ask('ping', {})
    assert.equal(bridge.frames.filter((frame) => frame.command === 'response').length, 2)
  })

  test('bridge_status, in both spellings, and message_checkpoint are kept as if they had come by POST', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    bridge.send({ command: 'bridge_status', data: { state_event: 'CONNECTED', remote_id: 'a', timestamp: 1 } })
    bridge.send({ command: 'bridge_status', data: { stateEvent: 'BAD_CREDENTIALS', remote_id: 'b' } })
    const eventId = await portals.server.owner.send(portal.roomId, 'hello')
    const checkpoint = { event_id: eventId, room_id: portal.roomId, step: 'REMOTE', status: 'SUCCESS', timestamp: 1 }
    const answer = await bridge.ask('message_checkpoint', { checkpoints: [checkpoint] })
    assert.deepEqual([answer.command, answer.data], ['response', {}])
    const query =
      'query($id: String!) { messageCheckpoints(eventId: $id) { step status bridgeId } bridges { id states { remoteId stateEvent } } }'
    const { data } = await portals.server.owner.graphql(query, { id: eventId })
    assert.deepEqual(data.messageCheckpoints, [
      { step: 'HOMESERVER', status: 'SUCCESS', bridgeId: null },
      { step: 'REMOTE', status: 'SUCCESS', bridgeId: portal.id },
    ])
    assert.deepEqual(data.bridges.find((each: { id: string }) => each.id === portal.id).states, [
      { remoteId: 'a', stateEvent: 'CONNECTED' },
      { remoteId: 'b', stateEvent: 'BAD_CREDENTIALS' },
    ])
  })

  test('a report that says nothing is refused with its error, and what follows is taken', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    for (const [command, data, code] of [
      ['bridge_status', {}, 'M_BAD_JSON'],
      ['bridge_status', 'text', 'M_BAD_JSON'],
      ['bridge_status', null, 'M_BAD_JSON'],
      ['message_checkpoint', {}, 'M_MISSING_PARAM'],
      ['message_checkpoint', { checkpoints: {} }, 'M_BAD_JSON'],
      ['message_checkpoint', { checkpoints: [1] }, 'M_BAD_JSON'],
    ] as const) {
      const answer = await bridge.ask(command, data)
      assert.deepEqual([answer.command, answer.status, answer.data.code], ['error', 'error', code], `${command} ${JSON.stringify(data)}`)
      assert.equal(typeof answer.data.message, 'string')
    }
    assert.equal((await bridge.ask('bridge_status', { state_event: 'CONNECTED' })).command, 'response')
  })

  test('what a bridge says before it closes its connection is kept', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    const steps = ['BRIDGE', 'DECRYPTED', 'REMOTE', 'COMMAND']
    const eventId = await portals.server.owner.send(portal.roomId, 'the last')
    const checkpoint = { event_id: eventId, room_id: portal.roomId, status: 'SUCCESS', timestamp: 1 }
    for (const step of steps) bridge.send({ command: 'message_checkpoint', data: { checkpoints: [{ ...checkpoint, step }] } })
    bridge.send({ command: 'bridge_status', data: { state_event: 'STOPPED' } })
    bridge.socket!.close(1001)
    await bridge.closed
    const query = 'query($eventId: String!) { messageCheckpoints(eventId: $eventId) { step } bridges { id states { stateEvent } } }'
    const shown = async () => (await portals.server.owner.graphql(query, { eventId })).data
    const stateOf = (data: { bridges: { id: string; states: object[] }[] }) => data.bridges.find(({ id }) => id === portal.id)!.states
    for (let i = 0; i < 200 && stateOf(await shown()).length === 0; i++) await sleep(10)
    const data = await shown()
    assert.deepEqual(stateOf(data), [{ stateEvent: 'STOPPED' }])
    assert.deepEqual(
      data.messageCheckpoints.map(({ step }: { step: string }) => step),
      ['HOMESERVER', ...steps],
    )
  })

  test('an unknown command is answered with UnknownCommand when it has an id, and ignored without', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    bridge.send({ command: 'start_sync', data: {} })
    for (const command of ['start_sync', 'toString', '__proto__', '']) {
      const answer = await bridge.ask(command, {})
      assert.deepEqual([answer.command, answer.data.code], ['error', 'UnknownCommand'])
    }
    assert.equal(bridge.frames.filter((frame) => frame.command === 'error').length, 4)
  })
})

describe('what is asked of bridges over the websocket', () => {
  const ask = ({ key }: Portal, timeoutMs = 10_000, signal?: AbortSignal) =>
    bridgeSockets(portals.instance).request(key, 'echo', { text: 'hello' }, { timeoutMs, ...(signal && { signal }) })

  test('a request has an id and a status, and its answer is the data of the response', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    const answered = ask(portal)
    const asked = await heard(bridge)
    assert.deepEqual(asked, { id: asked.id, command: 'echo', status: 'ok', data: { text: 'hello' } })
    bridge.send({ id: asked.id, command: 'response', data: { text: 'back' } })
    assert.deepEqual(await answered, { text: 'back' })
  })

  test('an error of the bridge is a 400 with its code, an answer that is no object too', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    const refused = assert.rejects(ask(portal), { status: 400, message: 'no', fields: { code: 'ORG.NO' } })
    bridge.send({ id: (await heard(bridge)).id, command: 'error', data: { code: 'ORG.NO', message: 'no', more: 1 } })
    await refused
    const wrong = assert.rejects(ask(portal), { status: 400, fields: { code: 'M_BAD_JSON' } })
    bridge.send({ id: (await heard(bridge, 2)).id, command: 'response', data: [1] })
    await wrong
  })

  test('without a websocket it is 502, also when it closes meanwhile, and without an answer 504', async () => {
    const portal = await portals.register()
    const notConnected = { errcode: 'FI.MAU.WS_NOT_CONNECTED', status: 502 }
    await assert.rejects(ask(portal), notConnected)
    await using bridge = await portal.connect()
    const late = assert.rejects(ask(portal), { errcode: 'M_CONNECTION_TIMEOUT', status: 504 })
    await heard(bridge)
    await portals.clock.move(10_100)
    await late
    const closed = assert.rejects(ask(portal), notConnected)
    await heard(bridge, 2)
    await bridge.crash()
    await closed
  })

  test('an answer that comes when nobody waits any more is dropped, however large, and what was never asked closes the connection', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    const text = 'x'.repeat(1_100_000)
    const asked = () => bridge.frames.filter((frame) => frame.command === 'echo' || frame.command === 'http_proxy')
    const answerLate = async (count: number) => {
      bridge.send({ id: asked()[count - 1].id, command: 'response', data: { status: 200, body: { text } } })
      assert.equal((await bridge.ask('ping', {})).command, 'response')
    }
    const gone = new AbortController()
    const proxied = `/_matrix/client/unstable/com.beeper.bridge/${portal.id}/_matrix/provision/v3/contacts`
    const headers = { authorization: `Bearer ${portals.server.owner.token}` }
    const hungUp = assert.rejects(fetch(portals.server.url + proxied, { headers, signal: gone.signal }), { name: 'AbortError' })
    await bridge.until('it is asked', () => asked().length === 1)
    gone.abort()
    await hungUp
    const { server } = portals
    // The server hears of it when it looks at the connection.
    await sleep(200)
    await answerLate(1)
    const executed = server.owner.post(`${registrationPath(portal.id)}/exec/echo`, {})
    await bridge.until('it is asked', () => asked().length === 2)
    await portals.clock.move(10_100)
    assert.deepEqual([(await executed).status, (await executed).body.errcode], [504, 'M_CONNECTION_TIMEOUT'])
    await answerLate(2)
    const waited = server.owner.get(proxied)
    await bridge.until('it is asked', () => asked().length === 3)
    await portals.clock.move(180_100)
    assert.deepEqual([(await waited).status, (await waited).body.errcode], [504, 'M_CONNECTION_TIMEOUT'])
    await answerLate(3)
    // Answered now, it is not awaited a second time.
    bridge.send({ id: asked()[2].id, command: 'response', data: { text } })
    assert.equal((await bridge.closed).code, 1009)
  })

  test('at most a hundred wait for one bridge, and one that is given up makes room', async () => {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    const stop = new AbortController()
    const waiting = Array.from({ length: 100 }, () => ask(portal, 10_000, stop.signal).catch(() => 'given up'))
    await assert.rejects(ask(portal), { errcode: 'M_LIMIT_EXCEEDED', status: 429 })
    stop.abort()
    assert.deepEqual(new Set(await Promise.all(waiting)), new Set(['given up']))
    const answered = ask(portal)
    bridge.send({ id: (await heard(bridge, 101)).id, command: 'response' })
    assert.deepEqual(await answered, {})
  })

  async function heard(bridge: SocketBridge, nth = 1) {
    const asked = () => bridge.frames.filter((frame) => frame.command === 'echo')
    await bridge.until('it is asked', () => asked().length >= nth)
    return asked()[nth - 1]
  }
})
