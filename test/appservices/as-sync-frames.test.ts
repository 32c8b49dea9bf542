import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { after, before, beforeEach, describe, test } from 'node:test'
import type { WebSocket } from 'ws'
import { AsSyncSocket, mostReceivedBytes } from '../../shim/as-sync.ts'
import { closeReason, type Farewell, farewells, lastId, mostSentBytes, readFrame, transactionFrame } from '../../shim/as-sync-frames.ts'
import { ReadingPace } from '../../shim/reading-pace.ts'
import { bridgeSockets } from '../../src/appservices/sockets.ts'
import { startServer, type TestServer } from '../rig/server.ts'
import { Clock } from './clock.ts'
import { SocketBridge } from './socket-bridge.ts'

let server: TestServer
let token: string
let bridge: SocketBridge
let other: SocketBridge
const clock = new Clock()

before(async () => {
  server = await startServer({ ports: clock.ports })
  const register = async (id: string) =>
    (await server.owner.put(`/_matrix/asmux/mxauth/appservice/owner/${id}`, { push: false })).body.as_token
  token = await register('sh-bad')
  other = await SocketBridge.connect({ url: server.url, token: await register('sh-good') })
})
after(async () => {
  await bridge?.crash()
  await other.crash()
  await server[Symbol.asyncDispose]()
})
beforeEach(async () => {
  await bridge?.crash()
  bridge = await SocketBridge.connect({ url: server.url, token })
})

async function key(): Promise<number> {
  const instance = await server.server.host.defaultInstance()
  return (await instance.storage.first('appservice', { id: 'sh-bad' }))!.key
}

async function closedWith(code: number, status: string): Promise<void> {
  const closed = await bridge.closed
  assert.deepEqual([closed.code, JSON.parse(closed.reason)], [code, { command: 'disconnect', status }])
  assert.equal((await other.ask('ping', {})).command, 'response')
  await bridge.connect()
  assert.equal((await bridge.ask('ping', {})).command, 'response')
}

describe('a frame that is none closes its connection with 1007, and the bridge may come again', () => {
  for (const [what, text] of [
    ['no JSON', 'hello'],
    ['JSON cut off', '{"id":1,"command":"ping"'],
    ['an empty message', ''],
    ['a list', '[]'],
    ['null', 'null'],
    ['a number', '1'],
    ['no command', '{"id":1,"data":{}}'],
    ['a command that is no string', '{"id":1,"command":1}'],
    ['an id that is a string', '{"id":"1","command":"ping","data":{}}'],
    ['an id with a fraction', '{"id":1.5,"command":"ping","data":{}}'],
    ['an id beyond all bounds', '{"id":1e300,"command":"ping","data":{}}'],
    ['data nested too deeply', `{"id":1,"command":"ping","data":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
  ] as const) {
    test(what, async () => {
      bridge.send(text)
      await closedWith(1007, 'bad_frame')
    })
  }

  test('bytes that are no UTF-8', async () => {
    bridge.socket!.send(Buffer.from([0xff, 0xfe]), { binary: false })
    assert.equal((await bridge.closed).code, 1007)
    assert.equal((await other.ask('ping', {})).command, 'response')
  })
})

test('binary messages are ignored', async () => {
  bridge.socket!.send(Buffer.from('{"id":1,"command":"ping"}'), { binary: true })
  bridge.socket!.send(Buffer.from([0, 1, 2]), { binary: true })
  await bridge.ask('ping', {})
  assert.equal(bridge.frames.filter((frame) => frame.command === 'response').length, 1)
})

test('answers out of turn are ignored: to nothing, to what was answered, to a transaction of before', async () => {
  for (const id of [0, 1, 2, 77, -1, lastId, null]) {
    bridge.send({ id, command: 'response', data: { txn_id: 'unknown' } })
    bridge.send({ id, command: 'error', data: 'whatever' })
  }
  bridge.send({ command: 'response' })
  assert.equal((await bridge.ask('ping', {})).command, 'response')
})

test('a message of more than 1 MiB that answers nothing closes the connection with 1009', async () => {
  bridge.send({ id: 1, command: 'bridge_status', data: { state_event: 'x'.repeat(1_100_000) } })
  await closedWith(1009, 'frame_too_large')
})

test('the answer to a request may have 16 MiB, no message may have more', async () => {
  const instance = await server.server.host.defaultInstance()
  const ask = async () => bridgeSockets(instance).request(await key(), 'list', {}, { timeoutMs: 60_000 })
  const asked = ask()
  await bridge.until('it is asked', () => bridge.frames.some((frame) => frame.command === 'list'))
  const { id } = bridge.frames.find((frame) => frame.command === 'list')
  bridge.send({ id, command: 'response', data: { text: 'x'.repeat(mostReceivedBytes - 1_000) } })
  assert.equal(((await asked)['text'] as string).length, mostReceivedBytes - 1_000)
  const refused = assert.rejects(ask(), { errcode: 'FI.MAU.WS_NOT_CONNECTED' })
  await bridge.until('it is asked', () => bridge.frames.filter((frame) => frame.command === 'list').length === 2)
  bridge.send({ id: id + 1, command: 'response', data: { text: 'x'.repeat(mostReceivedBytes) } })
  await refused
  assert.equal((await bridge.closed).code, 1009)
})

test('a large message that only pretends to be an answer closes the connection', async () => {
  const instance = await server.server.host.defaultInstance()
  const asked = assert.rejects(bridgeSockets(instance).request(await key(), 'list', {}, { timeoutMs: 60_000 }), { status: 502 })
  await bridge.until('it is asked', () => bridge.frames.some((frame) => frame.command === 'list'))
  bridge.send({ id: 4_711, command: 'response', data: { text: 'x'.repeat(1_100_000) } })
  await asked
  await closedWith(1009, 'frame_too_large')
})

test('a request larger than bridges read is refused, and the connection lives', async () => {
  const instance = await server.server.host.defaultInstance()
  const data = { text: 'x'.repeat(mostSentBytes) }
  await assert.rejects(bridgeSockets(instance).request(await key(), 'list', data, { timeoutMs: 60_000 }), { errcode: 'M_TOO_LARGE' })
  assert.equal((await bridge.ask('ping', {})).command, 'response')
})

test('a flood of frames is answered in order and to its end, and others are served meanwhile', async () => {
  const flood = 3_000
  for (let id = 1_001; id <= 1_000 + flood; id++) bridge.send({ id, command: 'ping' })
  const answers = () => bridge.frames.filter((frame) => frame.command === 'response')
  await bridge.until('some are answered', () => answers().length > 0)
  assert.equal((await other.ask('ping', {})).command, 'response')
  assert.equal((await server.owner.get('/account/whoami')).status, 200)
  for (let seconds = 0; answers().length < flood; seconds++) {
    assert.ok(seconds < 300)
    await clock.move(1_000)
  }
  assert.deepEqual(
    answers().map(({ id }) => id),
    Array.from({ length: flood }, (_, i) => 1_001 + i),
  )
})

test('a flood of reports is taken one after the other, in order, and the last state counts', async () => {
  const states = 300
  for (let n = 1; n <= states; n++) bridge.send({ id: n, command: 'bridge_status', data: { state_event: `STATE_${n}` } })
  const answers = () => bridge.frames.filter((frame) => frame.command === 'response')
  await bridge.until('all are answered', () => answers().length === states)
  assert.deepEqual(
    answers().map(({ id }) => id),
    Array.from({ length: states }, (_, i) => i + 1),
  )
  const { data } = await server.owner.graphql('{ bridge(id: "sh-bad") { states { stateEvent } } }')
  assert.ok(data.bridge.states.some(({ stateEvent }: { stateEvent: string }) => stateEvent === `STATE_${states}`))
})

test('a bridge that reads nothing of what it asks for is not read either, until it does', () => {
  const calls: string[] = []
  const sent: (() => void)[] = []
  const socket = Object.assign(new EventEmitter(), {
    ...{ readyState: 1, OPEN: 1, bufferedAmount: 0 },
    pause: () => calls.push('pause'),
    resume: () => calls.push('resume'),
    send: (text: string, done: () => void) => {
      socket.bufferedAmount += text.length
      sent.push(() => {
        socket.bufferedAmount -= text.length
        done()
      })
    },
  })
  const ports = { ...clock.ports, timer: () => () => undefined }
  new AsSyncSocket(socket as never, { version: 3, commands: {}, ports: ports as never })
  const ask = () => socket.emit('message', Buffer.from('{"id":1,"command":"ping"}'), false)
  for (let n = 0; n < 900; n++) ask()
  assert.deepEqual(calls, [])
  socket.bufferedAmount += 4_194_304
  ask()
  assert.deepEqual(calls, ['pause'])
  socket.bufferedAmount -= 4_194_304
  for (const done of sent) done()
  assert.deepEqual(calls, ['pause', 'resume'])
})

test('of the requests that nobody waits for any more the oldest are forgotten: a thousand are known', () => {
  const closed: number[] = []
  const socket = Object.assign(new EventEmitter(), {
    ...{ readyState: 1, OPEN: 1, bufferedAmount: 0 },
    send: (_text: string, done: () => void) => done(),
    ...{ pause: () => undefined, resume: () => undefined, close: (code: number) => closed.push(code) },
  })
  const ports = { ...clock.ports, timer: () => () => undefined }
  const connection = new AsSyncSocket(socket as never, { version: 3, commands: {}, ports: ports as never })
  const gone = new AbortController()
  for (let id = 1; id <= 1_001; id++) void connection.request('list', {}, gone.signal)
  gone.abort()
  const answer = (id: number) =>
    socket.emit('message', Buffer.from(JSON.stringify({ id, command: 'error', data: 'x'.repeat(1_100_000) })), false)
  answer(2)
  answer(1_001)
  assert.deepEqual(closed, [])
  answer(1)
  assert.deepEqual(closed, [1009])
})

describe('the reading of a socket', () => {
  function scene() {
    const calls: string[] = []
    const due: (() => void)[] = []
    const socket = { pause: () => calls.push('pause'), resume: () => calls.push('resume') } as unknown as WebSocket
    const timer = (_ms: number, run: () => void) => {
      due.push(run)
      return () => due.splice(0)
    }
    const ports = { ...clock.ports, timer }
    return { calls, due, pace: new ReadingPace(socket, ports as never) }
  }

  test('rests after a thousand messages until the second is over', () => {
    const { calls, due, pace } = scene()
    for (let n = 0; n < 999; n++) pace.count()
    assert.deepEqual(calls, [])
    pace.count()
    pace.count()
    assert.deepEqual(calls, ['pause'])
    due.shift()!()
    assert.deepEqual(calls, ['pause', 'resume'])
  })

  test('goes on when no reason is left, and at the end in any case', () => {
    const { calls, pace } = scene()
    pace.rest('commands')
    pace.rest('unread')
    pace.go('commands')
    pace.go('commands')
    assert.deepEqual(calls, ['pause'])
    pace.go('unread')
    pace.rest('unread')
    pace.end()
    pace.rest('unread')
    assert.deepEqual(calls, ['pause', 'resume', 'pause', 'resume'])
  })
})

describe('the grammar', () => {
  test('a transaction has its keys in the frame itself', () => {
    const frame = transactionFrame(7, 'a"b', '{"events":[{"x":1}],"ephemeral":[]}')
    assert.deepEqual(JSON.parse(frame), { id: 7, command: 'transaction', status: 'ok', txn_id: 'a"b', events: [{ x: 1 }], ephemeral: [] })
  })

  test('an id of 0, null or none wants no answer', () => {
    for (const text of ['{"command":"x"}', '{"id":0,"command":"x"}', '{"id":null,"command":"x"}']) {
      assert.deepEqual(readFrame(Buffer.from(text)), { id: null, command: 'x', data: undefined })
    }
  })

  test('every close has a reason that is JSON and fits into a close frame', () => {
    for (const why of Object.keys(farewells) as Farewell[]) {
      assert.equal(JSON.parse(closeReason(why)).command, 'disconnect')
      assert.ok(Buffer.byteLength(closeReason(why)) <= 123)
    }
  })
})
