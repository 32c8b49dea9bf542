/** bbctl, its API server's addresses, and other programs of the operator's. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ExampleBridge } from '../rig/example-bridge.ts'
import { type Reply, startServer, type TestServer, testPassword } from '../rig/server.ts'
import { SocketBridge } from './socket-bridge.ts'

const own = (id: string) => `/_matrix/asmux/mxauth/appservice/owner/${id}`
const managed = (id: string, owner = 'owner') => `/_matrix/asmux/appservice/${owner}/${id}`
const secret = 'a-secret-of-the-operator'

/** Paths of the API server stand for themselves. */
async function api(server: TestServer, method: string, path: string, token: string | null, body?: unknown): Promise<Reply> {
  const response = await fetch(server.url + path, {
    method,
    headers: token === null ? {} : { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, headers: response.headers, body: await response.json() }
}

describe('the API server of bbctl', () => {
  test('whoami names the person, the bridges with their states, and a login token that stays the same', async () => {
    await using server = await startServer({ config: { publicUrl: 'https://matrix.example.com' } })
    const { owner } = server
    await owner.put('/profile/@owner:example.com/displayname', { displayname: 'Olivia' })
    const registration = (await owner.put(own('sh-echo'), { push: false, self_hosted: true })).body
    await api(server, 'POST', '/bridgebox/owner/bridge/sh-echo/bridge_state', registration.as_token, {
      stateEvent: 'STARTING',
      reason: 'SELF_HOST_REGISTERED',
      info: null,
      isSelfHosted: true,
      bridgeType: 'bridgev2',
    })
    const bot = server.client(registration.as_token)
    const login = { state_event: 'CONNECTED', remote_id: 'alice', remote_name: 'Alice', timestamp: 1, ttl: 60, info: { a: 1 } }
    await bot.post('/_bridge/state', login)
    await bot.post('/_bridge/state', { state_event: 'CONNECTED', remote_id: 'odd', timestamp: 'late', ttl: '1', remote_name: 7 })
    const { status, body } = await api(server, 'GET', '/whoami', owner.token)
    assert.equal(status, 200)
    const { user, userInfo } = body
    const { bridgeState, remoteState } = user.bridges['sh-echo']
    assert.deepEqual(Object.keys(user.bridges), ['sh-echo'])
    assert.deepEqual(
      [
        bridgeState.username,
        bridgeState.bridge,
        bridgeState.stateEvent,
        bridgeState.isSelfHosted,
        bridgeState.bridgeType,
        bridgeState.reason,
      ],
      ['owner', 'sh-echo', 'STARTING', true, 'bridgev2', 'SELF_HOST_REGISTERED'],
    )
    assert.equal(new Date(bridgeState.createdAt).toISOString(), bridgeState.createdAt)
    assert.deepEqual(remoteState.alice, login)
    // A field of another type than bbctl knows would end it.
    assert.deepEqual(
      [remoteState.odd.state_event, typeof remoteState.odd.timestamp, typeof remoteState.odd.ttl, remoteState.odd.remote_name],
      ['CONNECTED', 'number', 'number', undefined],
    )
    assert.equal(user.hungryserv.bridgeState.stateEvent, 'RUNNING')
    assert.ok(user.asmuxData.login_token.length >= 32)
    assert.deepEqual(
      [userInfo.username, userInfo.fullName, userInfo.isAdmin, userInfo.useHungryserv, userInfo.hungryUrl],
      ['owner', 'Olivia', false, true, 'https://matrix.example.com/_hungryserv/owner'],
    )
    assert.ok(Date.parse(userInfo.createdAt) > 1_600_000_000_000)
    assert.equal((await api(server, 'GET', '/whoami', owner.token)).body.user.asmuxData.login_token, user.asmuxData.login_token)
    assert.equal((await api(server, 'GET', '/whoami', null)).status, 401)
    assert.equal((await api(server, 'GET', '/whoami', registration.as_token)).status, 403)
    assert.equal((await api(server, 'GET', '/whoami', (await server.register('guest')).token)).status, 403)
  })

  test('a bridge reports its state for itself only', async () => {
    await using server = await startServer()
    const { as_token: token } = (await server.owner.put(own('sh-echo'), { push: false })).body
    await server.owner.put(own('sh-other'), { push: false })
    const post = (path: string, given: string | null, body: unknown = { stateEvent: 'RUNNING' }) =>
      api(server, 'POST', `/bridgebox/${path}/bridge_state`, given, body)
    assert.deepEqual(await post('owner/bridge/sh-echo', token).then(({ status, body }) => [status, body]), [200, {}])
    assert.equal((await post('owner/bridge/sh-other', token)).status, 403)
    assert.equal((await post('somebody/bridge/sh-echo', token)).status, 403)
    assert.equal((await post('owner/bridge/sh-echo', server.owner.token)).status, 403)
    assert.equal((await post('owner/bridge/sh-echo', null)).status, 401)
    assert.equal((await post('owner/bridge/sh-echo', token, { reason: 'none' })).status, 400)
  })

  test('delete ends the bridge', async () => {
    await using server = await startServer()
    const { as_token: token } = (await server.owner.put(own('sh-echo'), { push: false })).body
    assert.equal((await api(server, 'DELETE', '/bridge/sh-echo', token)).status, 403)
    assert.equal((await api(server, 'DELETE', '/bridge/sh-echo', server.owner.token)).status, 200)
    assert.equal((await api(server, 'DELETE', '/bridge/sh-echo', server.owner.token)).status, 404)
    assert.equal((await server.client(token).get('/account/whoami')).status, 401)
    assert.deepEqual((await api(server, 'GET', '/whoami', server.owner.token)).body.user.bridges, {})
  })

  test('the login by e-mail says that there is none; the one by password gives a token that bbctl takes', async () => {
    await using server = await startServer()
    for (const path of ['/user/login', '/user/login/email', '/user/login/response']) {
      const { status, body } = await api(server, 'POST', path, 'BEEPER-PRIVATE-API-PLEASE-DONT-USE', {})
      assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN'])
      assert.match(body.error, /login-password/)
    }
    await server.register('lena', testPassword)
    const { body } = await server.request('POST', '/login', {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'lena' },
      password: testPassword,
    })
    assert.match(body.access_token, /^syt_/)
  })

  test('a homeserver is found by its name and by the localpart of its owner, and no token leads to another one', async () => {
    await using server = await startServer()
    await server.administrator.graphql('mutation { createInstance(name: "second", owner: "olaf") { ownerId } }')
    const { owner } = server
    for (const prefix of ['owner', 'default']) {
      const { status, body } = await owner.put(`/_hungryserv/${prefix}${own('sh-echo')}`, { push: false })
      assert.deepEqual([status, body.id], [200, 'sh-echo'])
      assert.equal((await server.client(body.as_token).get(`/_hungryserv/${prefix}/_matrix/client/v3/account/whoami`)).status, 200)
    }
    for (const prefix of ['second', 'olaf', 'nobody', 'own', 'owner:example.com'])
      assert.equal((await owner.get(`/_hungryserv/${prefix}${own('sh-echo')}`)).status, 401, prefix)
    for (const [prefix, status] of [
      ['olaf', 200],
      ['second', 200],
      ['nobody', 404],
    ] as const)
      assert.equal((await server.request('GET', `/_hungryserv/${prefix}/_matrix/client/versions`)).status, status, prefix)
  })
})

describe('the management secret', () => {
  test('registers, reads and deletes bridges; without it, and with another one, the answer is 403', async () => {
    await using server = await startServer({ config: { managementSecret: secret } })
    const ask = (method: string, path: string, token: string | null = secret, body?: unknown) =>
      server.request(method, path, body ?? {}, token === null ? {} : { token })
    for (const [token, errcode] of [
      [null, 'M_MISSING_TOKEN'],
      ['another-secret-of-somebody', 'M_UNKNOWN_TOKEN'],
      [server.owner.token, 'M_UNKNOWN_TOKEN'],
      [server.administrator.token, 'M_UNKNOWN_TOKEN'],
    ] as const) {
      for (const method of ['GET', 'PUT', 'DELETE']) {
        const { status, body } = await ask(method, managed('sh-echo'), token)
        assert.deepEqual([status, body.errcode], [403, errcode])
      }
    }
    assert.equal((await server.request('GET', own('sh-echo'))).status, 401)
    assert.equal((await ask('GET', managed('sh-echo'))).status, 404)
    const made = await ask('PUT', managed('sh-echo'), secret, { push: true, address: 'http://10.9.8.7:1' })
    assert.equal(made.status, 200)
    assert.equal(made.body.url, 'http://10.9.8.7:1')
    assert.equal(made.body.namespaces.users[0].regex, '^@sh-echo_.+:example\\.com$')
    assert.deepEqual((await ask('GET', managed('sh-echo'))).body, made.body)
    assert.deepEqual((await server.owner.get(own('sh-echo'))).body, made.body)
    assert.equal((await ask('PUT', managed('sh-echo', 'somebody'))).status, 403)
    assert.equal((await ask('DELETE', `/_hungryserv/owner${managed('sh-echo')}`)).status, 200)
    assert.equal((await ask('DELETE', managed('sh-echo'))).status, 404)
    // It opens nothing else.
    assert.equal((await server.request('GET', '/account/whoami', undefined, { token: secret })).status, 401)
  })

  test('is off unless it is set: every secret is wrong', async () => {
    await using server = await startServer()
    for (const token of [secret, 'null', 'undefined', ''])
      assert.equal((await server.request('PUT', managed('sh-echo'), {}, { token })).status, 403)
  })
})

describe('exec', () => {
  const exec = (id: string, command: string) => `${own(id)}/exec/${command}`

  test('a command reaches the bridge over its websocket, and its data is the answer', async () => {
    await using server = await startServer()
    const { as_token: token } = (await server.owner.put(own('sh-im'), { push: false })).body
    assert.deepEqual(await server.owner.post(exec('sh-im', 'start_dm'), {}).then(({ status, body }) => [status, body.errcode]), [
      502,
      'FI.MAU.WS_NOT_CONNECTED',
    ])
    await using bridge = await SocketBridge.connect({ url: server.url, token })
    const commands: unknown[] = []
    bridge.socket!.on('message', (message) => {
      const { id, command, data, status } = JSON.parse(String(message))
      if (command === 'start_dm') {
        commands.push([data, typeof status])
        bridge.send({ id, command: 'response', data: { room_id: '!a' } })
      }
      if (command === 'fails') bridge.send({ id, command: 'error', data: { code: 'NO_SUCH_CHAT', message: 'not found' } })
    })
    const reply = await server.owner.post(exec('sh-im', 'start_dm'), { identifier: '+1' })
    assert.deepEqual([reply.status, reply.body], [200, { room_id: '!a' }])
    assert.deepEqual(commands, [[{ identifier: '+1' }, 'string']])
    const failed = await server.owner.post(exec('sh-im', 'fails'), {})
    assert.equal(failed.status, 400)
    assert.deepEqual([failed.body.code, failed.body.message], ['NO_SUCH_CHAT', 'not found'])
    const query = 'mutation { execBridge(id: "sh-im", command: "start_dm", data: { identifier: "+2" }) }'
    assert.deepEqual((await server.owner.graphql(query)).data.execBridge, { room_id: '!a' })
  })

  test('frames of the protocol are no commands, and only the owner and administrators give any', async () => {
    await using server = await startServer()
    const { as_token: token } = (await server.owner.put(own('sh-im'), { push: false })).body
    await using bridge = await SocketBridge.connect({ url: server.url, token })
    for (const command of ['transaction', 'response', 'error', 'connect', 'http_proxy', 'a%2Fb', 'x'.repeat(101)])
      assert.equal((await server.owner.post(exec('sh-im', command), {})).status, 400, command)
    assert.equal((await server.request('POST', exec('sh-im', 'ping'), {})).status, 401)
    assert.equal((await server.client(token).post(exec('sh-im', 'ping'))).status, 403)
    assert.equal((await (await server.register('guest')).post(exec('sh-im', 'ping'))).status, 403)
    assert.equal((await server.owner.post(exec('sh-none', 'ping'))).status, 404)
    assert.equal((await server.owner.post(`/_matrix/asmux/mxauth/appservice/somebody/sh-im/exec/ping`)).status, 403)
    assert.ok(bridge.frames.every((frame) => frame.command === 'connect'))
  })
})

test('copies of a bridge live side by side: each has its own users, is told its own, and reports for itself', async () => {
  await using server = await startServer()
  const start = async (id: string) => {
    const registration = (await server.owner.put(own(id), { push: true, address: 'http://127.0.0.1:1' })).body
    const bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'example.com' })
    await server.owner.put(own(id), { push: true, address: bridge.url })
    return bridge
  }
  await using first = await start('sh-echo')
  await using second = await start('sh-echo2')
  const rooms = await Promise.all([first, second].map((bridge) => bridge.createPortal('chat', ['bob'], [server.owner.userId])))
  for (const [i, room] of rooms.entries()) await server.owner.send(room, `to ${i}`)
  const texts = (bridge: ExampleBridge) => bridge.events.filter(({ type }) => type === 'm.room.message').map(({ content }) => content.body)
  await first.until('its message', () => texts(first).length === 1)
  await second.until('its message', () => texts(second).length === 1)
  assert.deepEqual([texts(first), texts(second)], [['to 0'], ['to 1']])
  // The name of one begins with the name of the other; neither may act for the other's ghosts.
  for (const [bridge, ghost] of [
    [first, second.ghostId('bob')],
    [second, first.ghostId('bob')],
  ] as const)
    assert.equal((await bridge.request('GET', '/account/whoami', undefined, ghost)).status, 403)
  await first.ask('POST', '/_bridge/state', { state_event: 'CONNECTED', remote_id: 'alice' })
  const { bridges } = (await server.owner.graphql('{ bridges { id states { remoteId } } }')).data
  assert.deepEqual(bridges, [
    { id: 'sh-echo', states: [{ remoteId: 'alice' }] },
    { id: 'sh-echo2', states: [] },
  ])
  // In one room both are told.
  await first.ask('POST', `/rooms/${encodeURIComponent(rooms[0]!)}/invite`, { user_id: second.botId })
  await second.ask('POST', `/rooms/${encodeURIComponent(rooms[0]!)}/join`, {})
  await server.owner.send(rooms[0]!, 'to both')
  await Promise.all([first, second].map((bridge) => bridge.until('what is said to both', () => texts(bridge).includes('to both'))))
})

test('delivery changes between HTTP and the websocket while messages flow: none is lost, none comes out of order', async () => {
  await using server = await startServer()
  const registration = (await server.owner.put(own('sh-echo'), { push: true, address: 'http://127.0.0.1:1' })).body
  await using pushed = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'example.com' })
  await server.owner.put(own('sh-echo'), { push: true, address: pushed.url })
  const roomId = await pushed.createPortal('chat', ['bob'], [server.owner.userId])
  const connected = await SocketBridge.connect({ url: server.url, token: registration.as_token }).catch(() => null)
  assert.equal(connected, null, 'a bridge that is pushed to opens no websocket')
  let said = 0
  const say = async (count: number) => {
    for (let i = 0; i < count; i++) await server.owner.send(roomId, String(said++))
  }
  /** what came over either way, in the order in which it came */
  const all: string[] = []
  const seen = new Set<string>()
  const take = (events: readonly { event_id: string; type: string; content: { body: string } }[]) => {
    for (const event of events) {
      if (event.type !== 'm.room.message' || seen.has(event.event_id)) continue
      seen.add(event.event_id)
      all.push(event.content.body)
    }
  }
  const until = (count: number) =>
    pushed.until(`${count} messages`, () => {
      take(pushed.events)
      return all.length >= count
    })
  await say(5)
  await until(5)
  const saying = say(40)
  await server.owner.put(own('sh-echo'), { push: false })
  await using socket = await SocketBridge.connect({ url: server.url, token: registration.as_token })
  await saying
  await socket.until('what was said meanwhile', () => {
    take(pushed.events)
    take(socket.events)
    return all.length >= 45
  })
  const { closed } = socket
  const sayingMore = say(40)
  await server.owner.put(own('sh-echo'), { push: true, address: pushed.url })
  await sayingMore
  await closed
  await pushed.until('the rest', () => pushed.events.length + socket.events.length >= 85, 20_000)
  await socket.until('all', () => {
    take(socket.events)
    take(pushed.events)
    return all.length >= 85
  })
  assert.deepEqual(
    all,
    Array.from({ length: 85 }, (_, i) => String(i)),
  )
})

test('rotated tokens end at once, with the websocket that the old one opened; the new ones go on where it was', async () => {
  await using server = await startServer()
  const { as_token: old } = (await server.owner.put(own('sh-echo'), { push: false })).body
  await using bridge = await SocketBridge.connect({ url: server.url, token: old })
  const roomId = await server.client(old).createRoom({ 'com.beeper.initial_members': [server.owner.userId] })
  await server.owner.send(roomId, 'before')
  await bridge.until('it is there', () => bridge.bodies.includes('before'))
  const { closed } = bridge
  const { data } = await server.owner.graphql('mutation { rotateBridgeTokens(id: "sh-echo") { registration } }')
  await closed
  assert.equal((await server.client(old).get('/account/whoami')).status, 401)
  await assert.rejects(SocketBridge.connect({ url: server.url, token: old }), { status: 401 })
  await server.owner.send(roomId, 'between')
  await using again = await SocketBridge.connect({ url: server.url, token: data.rotateBridgeTokens.registration.as_token })
  await again.until('what was said meanwhile', () => again.bodies.includes('between'))
  assert.deepEqual(again.bodies, ['between'])
})
