import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { pino } from 'pino'
import { registerBridge, rotateBridgeTokens, setBridgeAddress, setBridgePaused } from '../../src/appservices/registrations.ts'
import { bridgeSockets } from '../../src/appservices/sockets.ts'
import { startServer } from '../rig/server.ts'
import { Portals, registrationPath } from './portals.ts'
import { SocketBridge, type SocketBridgeOptions, syncPath } from './socket-bridge.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i + 1))

let portals: Portals
before(async () => {
  portals = await Portals.open()
})
after(() => portals[Symbol.asyncDispose]())

test('a new connection is registered first, then the old one is closed with 4001, and what was under way goes on over the new one', async () => {
  const portal = await portals.register()
  await using old = await portal.connect()
  await portals.settled(portal)
  old.behaviour = 'hang'
  await portal.send('under way')
  await old.until('it came', () => old.attempts.length > 1)
  const heard: boolean[] = []
  const stop = bridgeSockets(portals.instance).onChange((key, connected) => {
    if (key === portal.key) heard.push(connected)
  })
  await using bridge = await portal.connect()
  const { code, reason } = await old.closed
  stop()
  assert.deepEqual([code, JSON.parse(reason)], [4001, { command: 'disconnect', status: 'conn_replaced' }])
  assert.ok(!heard.includes(false))
  await bridge.until('it came', () => bridge.bodies.length === 1)
  assert.equal(bridge.attempts[0]!.txnId, old.attempts.at(-1)!.txnId)
  assert.equal(bridge.attempts[0]!.text, old.attempts.at(-1)!.text)
  assert.ok(bridgeSockets(portals.instance).isConnected(portal.key))
})

test('at shutdown every bridge is told 1012, the stop does not wait for one that does not listen, and later ones are refused', async () => {
  const lines: string[] = []
  const log = pino({ level: 'warn' }, { write: (line) => void lines.push(line) })
  const ports = { log }
  await using other = await startServer({ ports })
  const { as_token: token } = (await other.owner.put(registrationPath('sh-echo'), { push: false })).body
  const { as_token: second } = (await other.owner.put(registrationPath('sh-deaf'), { push: false })).body
  await using bridge = await SocketBridge.connect({ url: other.url, token })
  await using deaf = await SocketBridge.connect({ url: other.url, token: second })
  deaf.socket!.pause()
  const opened = await other.server.host.defaultInstance()
  opened.leave()
  const { code, reason } = await bridge.closed
  assert.deepEqual([code, JSON.parse(reason)], [1012, { command: 'disconnect', status: 'server_shutting_down' }])
  await assert.rejects(bridge.connect(), ({ status, body }) => status === 503 && body.errcode === 'COM.BEEPER.SHUTTING_DOWN')
  await other.restart()
  assert.deepEqual(lines, [])
  await bridge.connect()
})

test('a suspended homeserver tells 1012 and refuses with M_USER_LOCKED until it is active again', async () => {
  const { host } = portals.server.server
  await host.create({ name: 'second', owner: '@zoe:example.com', userDomain: 'example.com', bridgeDomain: 'second.example.com' })
  const given = { id: 'echo', url: 'websocket', asToken: 'token-of-the-second-bridge' }
  await registerBridge(await host.instance('second'), portals.administrator, given)
  await using bridge = await SocketBridge.connect({ url: portals.server.url, token: given.asToken })
  await host.setStatus('second', 'suspended')
  assert.equal((await bridge.closed).code, 1012)
  await assert.rejects(bridge.connect(), ({ status, body }) => status === 401 && body.errcode === 'M_USER_LOCKED')
  await host.setStatus('second', 'active')
  await bridge.connect()
  await assert.rejects(
    SocketBridge.connect({ url: `${portals.server.url}/_hungryserv/default`, token: given.asToken }),
    ({ status, body }) => status === 401 && body.errcode === 'M_UNKNOWN_TOKEN',
  )
})

test('the websocket opens under /_hungryserv/{instance} as well', async () => {
  const portal = await portals.register()
  await using bridge = await portal.connect({ url: `${portals.server.url}/_hungryserv/default` })
  await bridge.until('it came', () => bridge.attempts.length === 1)
})

test('what is refused before the upgrade is refused as Matrix JSON', async () => {
  const portal = await portals.register()
  const { as_token: pushed } = (
    await portals.server.owner.put(registrationPath('sh-pushed'), { push: true, address: 'http://127.0.0.1:1' })
  ).body
  const refused = async (options: SocketBridgeOptions) => {
    const error = await SocketBridge.connect(options).catch((caught) => caught)
    return [error.status, error.body.errcode]
  }
  const { url } = portals.server
  assert.deepEqual(await refused({ url, token: 'wrong' }), [401, 'M_UNKNOWN_TOKEN'])
  assert.deepEqual(await refused({ url, token: '' }), [401, 'M_MISSING_TOKEN'])
  assert.deepEqual(await refused({ url, token: portals.server.owner.token }), [403, 'M_FORBIDDEN'])
  assert.deepEqual(await refused({ url, token: pushed }), [401, 'COM.BEEPER.TXN_WS_NOT_ENABLED'])
  assert.deepEqual(await refused({ url, token: portal.token, version: 'three' }), [400, 'M_INVALID_PARAM'])
  assert.equal((await portals.server.request('GET', syncPath)).status, 401)
  const plain = await portals.server.client(portal.token).get(syncPath)
  assert.deepEqual([plain.status, plain.body.errcode], [426, 'M_UNRECOGNIZED'])
  const noKey = await new Promise<string>((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write(
      `GET ${syncPath} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer ${portal.token}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`,
    )
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('close', () => resolve(text))
  })
  assert.match(noKey, /^HTTP\/1\.1 400 .*"errcode":"M_UNKNOWN"/s)
})

test('new tokens, another address and deletion close the connection, and the old token opens none', async () => {
  for (const change of ['tokens', 'address', 'delete'] as const) {
    const portal = await portals.register()
    await using bridge = await portal.connect()
    await bridge.until('it came', () => bridge.attempts.length > 0)
    if (change === 'tokens') await rotateBridgeTokens(portals.instance, portals.administrator, portal.id)
    if (change === 'address') await setBridgeAddress(portals.instance, portals.administrator, portal.id, 'http://127.0.0.1:1')
    if (change === 'delete') await portals.server.owner.request('DELETE', registrationPath(portal.id))
    const { code, reason } = await bridge.closed
    assert.deepEqual([code, JSON.parse(reason)], [1008, { command: 'disconnect', status: 'registration_changed' }])
    const errcode = change === 'address' ? 'COM.BEEPER.TXN_WS_NOT_ENABLED' : 'M_UNKNOWN_TOKEN'
    await assert.rejects(bridge.connect(), ({ status, body }) => status === 401 && body.errcode === errcode)
  }
})

test('a paused bridge may connect and report, gets nothing, and is sent all of it when it goes on', async () => {
  const portal = await portals.register()
  await setBridgePaused(portals.instance, portals.administrator, portal.id, true)
  await portal.send(...numbers(3))
  await using bridge = await portal.connect()
  await portals.clock.move(1_000)
  await bridge.ask('bridge_status', { state_event: 'CONNECTED', remote_id: 'me' })
  assert.deepEqual(bridge.attempts, [])
  await setBridgePaused(portals.instance, portals.administrator, portal.id, false)
  await bridge.until('all came', () => bridge.bodies.length === 3)
})

test('a peer that answers no ping of the websocket is found out and disconnected', async () => {
  const portal = await portals.register()
  await using dead = await portal.connect({ autoPong: false })
  await portals.settled(portal)
  await using living = await (await portals.register()).connect()
  await portals.clock.move(120_000)
  assert.equal((await dead.closed).code, 1006)
  assert.ok(!bridgeSockets(portals.instance).isConnected(portal.key))
  await living.ask('ping', {})
})
