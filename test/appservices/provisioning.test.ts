/** Clients log in to networks through us: over a websocket and over HTTP, with the bridge's secret and never with the client's token. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { describe, test } from 'node:test'
import { pino } from 'pino'
import { parse } from 'yaml'
import { provisioningPath } from '../../src/appservices/provisioning.ts'
import { startServer, type TestServer } from '../rig/server.ts'
import { SocketBridge } from './socket-bridge.ts'

const proxied = (id: string, rest: string) => `/_matrix/client/unstable/com.beeper.bridge/${id}/_matrix/provision/v3/${rest}`
const registered = (id: string) => `/_matrix/asmux/mxauth/appservice/owner/${id}`

interface Asked {
  readonly method: string
  /** as it came */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

interface Answer {
  readonly status: number
  readonly contentType: string | null
  readonly body: string | Buffer
}

interface Provisioned extends AsyncDisposable {
  readonly asked: Asked[]
  answer: Answer
}

const json = (body: unknown, status = 200): Answer => ({ status, contentType: 'application/json', body: JSON.stringify(body) })

/** A bridge with a provisioning API, as it is configured by our command line: its answer is the same to everything. */
type Start = (server: TestServer, id: string) => Promise<Provisioned & { readonly secret: string }>

const overHttp: Start = async (server, id) => {
  const bridge = { asked: [] as Asked[], answer: json({}) }
  const listener = createServer(async (request, response) => {
    bridge.asked.push(await read(request))
    const { status, contentType, body } = bridge.answer
    response.writeHead(status, contentType === null ? {} : { 'content-type': contentType, 'set-cookie': 'a=b' }).end(body)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => listener.once('listening', resolve))
  const url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`
  return Object.assign(bridge, {
    secret: await configure(server, id, url),
    async [Symbol.asyncDispose]() {
      listener.closeAllConnections()
      await new Promise((resolve) => listener.close(resolve))
    },
  })
}

const overWebsocket: Start = async (server, id) => {
  const secret = await configure(server, id, null)
  const token = (await server.owner.get(registered(id))).body.as_token
  const socket = await SocketBridge.connect({ url: server.url, token })
  const bridge = { asked: [] as Asked[], answer: json({}) }
  socket.socket!.on('message', (message) => {
    const { id: frame, command, data } = JSON.parse(String(message))
    if (command !== 'http_proxy') return
    const headers = Object.entries(data.headers as Record<string, string[]>).map(([name, values]) => {
      assert.ok(Array.isArray(values))
      return [name.toLowerCase(), values[0]!]
    })
    assert.equal(data.escaped_path, true)
    bridge.asked.push({
      method: data.method,
      path: data.path,
      query: new URLSearchParams(data.query),
      headers: Object.fromEntries(headers),
      body: data.body === null ? '' : JSON.stringify(data.body),
    })
    socket.send({ id: frame, command: 'response', data: asFrame(bridge.answer) })
  })
  return Object.assign(bridge, { secret, [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose]() })
}

/** As mautrix-go's websocket does it. */
function asFrame({ status, contentType, body }: Answer): object {
  const text = String(body)
  let value: unknown = null
  try {
    value = JSON.parse(text)
  } catch {
    value = text === '' ? null : Buffer.from(body).toString('base64').replace(/=+$/, '')
  }
  return { status, headers: contentType === null ? {} : { 'Content-Type': [contentType] }, body: value }
}

async function configure(server: TestServer, id: string, url: string | null): Promise<string> {
  const mutation = 'mutation($id: String!, $url: String) { configureBridge(type: "echo", id: $id, url: $url) { configYaml } }'
  const { data } = await server.administrator.graphql(mutation, { id, url })
  return parse(data.configureBridge.configYaml).provisioning.shared_secret
}

async function read(request: IncomingMessage): Promise<Asked> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const [path = '', search = ''] = (request.url ?? '').split('?', 2)
  return {
    method: request.method ?? '',
    path,
    query: new URLSearchParams(search),
    headers: request.headers as Record<string, string>,
    body: Buffer.concat(chunks).toString(),
  }
}

for (const [way, start] of [
  ['HTTP', overHttp],
  ['a websocket', overWebsocket],
] as const) {
  describe(`over ${way}`, () => {
    test('a request reaches the bridge with its own secret and the user, and the answer comes back', async () => {
      await using server = await startServer()
      await using bridge = await start(server, 'echo')
      bridge.answer = json({ flows: [{ id: 'qr' }] }, 201)
      const path = `${proxied('echo', 'login/start/qr')}?x=1%20&user_id=@mallory:example.com`
      const headers = { 'content-type': 'application/json' }
      const reply = await server.owner.request('POST', path, { a: [1] }, { headers })
      assert.deepEqual([reply.status, reply.body], [201, { flows: [{ id: 'qr' }] }])
      assert.equal(reply.headers.get('set-cookie'), null)
      const [asked] = bridge.asked
      assert.deepEqual([asked!.method, asked!.path, asked!.body], ['POST', '/_matrix/provision/v3/login/start/qr', '{"a":[1]}'])
      assert.deepEqual([asked!.query.getAll('user_id'), asked!.query.get('x')], [[server.owner.userId], '1 '])
      assert.equal(asked!.headers['authorization'], `Bearer ${bridge.secret}`)
      assert.equal(asked!.headers['content-type'], 'application/json')
    })

    test("the client's token, cookies and further headers stay here, wherever they stood", async () => {
      await using server = await startServer()
      await using bridge = await start(server, 'echo')
      const { token } = server.owner
      const headers = { cookie: `token=${token}`, 'x-forwarded-for': '10.0.0.1', 'x-secret': token }
      assert.equal((await server.owner.request('GET', proxied('echo', 'whoami'), undefined, { headers })).status, 200)
      assert.equal((await server.request('GET', `${proxied('echo', 'whoami')}?access_token=${token}`)).status, 200)
      assert.equal(bridge.asked.length, 2)
      assert.ok(!JSON.stringify(bridge.asked.map((each) => [each, [...each.query]])).includes(token))
      const allowed = new Set(['authorization', 'accept', 'content-type', 'user-agent', 'host', 'connection', 'content-length'])
      for (const { headers: given } of bridge.asked)
        assert.deepEqual(
          Object.keys(given).filter((name) => !allowed.has(name)),
          [],
        )
    })

    test('all methods are forwarded', async () => {
      await using server = await startServer()
      await using bridge = await start(server, 'echo')
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
        assert.equal((await server.owner.request(method, proxied('echo', 'logins'), {})).status, 200)
      assert.deepEqual(
        bridge.asked.map(({ method }) => method),
        ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
      )
    })

    test('identifiers with slashes, plus signs and percent signs arrive as they are', async () => {
      await using server = await startServer()
      await using bridge = await start(server, 'echo')
      for (const identifier of ['+49 1/2', 'https://example.com/a', '100%', 'ä@b'])
        await server.owner.get(proxied('echo', `resolve_identifier/${encodeURIComponent(identifier)}`))
      assert.deepEqual(
        bridge.asked.map(({ path }) => decodeURIComponent(path.split('/').at(-1)!)),
        ['+49 1/2', 'https://example.com/a', '100%', 'ä@b'],
      )
    })

    test('errors of the bridge are relayed with their fields; that it does not know its secret is no 401 of ours', async () => {
      await using server = await startServer()
      await using bridge = await start(server, 'echo')
      const refusal = { errcode: 'FI.MAU.BRIDGE.INVALID', error: 'No such flow', 'com.beeper.can_retry': true }
      bridge.answer = json(refusal, 404)
      const relayed = await server.owner.get(proxied('echo', 'whoami'))
      assert.deepEqual([relayed.status, relayed.body], [404, refusal])
      bridge.answer = json({ errcode: 'M_UNKNOWN_TOKEN', error: 'Invalid auth token' }, 401)
      const unknown = await server.owner.get(proxied('echo', 'whoami'))
      assert.deepEqual([unknown.status, unknown.body.errcode], [502, 'M_BAD_STATUS'])
    })

    test('what is not JSON comes back byte by byte, and no browser runs it', async () => {
      await using server = await startServer()
      await using bridge = await start(server, 'echo')
      bridge.answer = { status: 200, contentType: 'text/html', body: Buffer.from('<script>ü</script>') }
      const reply = await server.owner.get(proxied('echo', 'capabilities'))
      assert.deepEqual([reply.body, reply.headers.get('content-type')], ['<script>ü</script>', 'text/html'])
      assert.match(reply.headers.get('content-security-policy') ?? '', /sandbox/)
      assert.equal(reply.headers.get('x-content-type-options'), 'nosniff')
    })

    test('only the owner and administrators ask, and only bridges that there are', async () => {
      await using server = await startServer()
      await using bridge = await start(server, 'echo')
      const asToken = (await server.owner.get(registered('echo'))).body.as_token
      const guest = await server.register('guest')
      assert.equal((await server.request('GET', proxied('echo', 'whoami'))).status, 401)
      assert.equal((await guest.get(proxied('echo', 'whoami'))).status, 403)
      assert.equal((await server.client(asToken).get(proxied('echo', 'whoami'))).status, 403)
      const puppet = `${proxied('echo', 'whoami')}?user_id=${encodeURIComponent(server.owner.userId)}`
      assert.equal((await server.client(asToken).get(puppet)).status, 403)
      assert.equal((await server.owner.get(proxied('other', 'whoami'))).status, 404)
      assert.equal(bridge.asked.length, 0)
      assert.equal((await server.administrator.get(proxied('echo', 'whoami'))).status, 200)
    })

    test('GraphQL asks as well', async () => {
      await using server = await startServer()
      await using bridge = await start(server, 'echo')
      bridge.answer = json({ login_ids: ['alice'] })
      const mutation = `mutation { provisionBridge(id: "echo", method: POST, path: "search_users", query: "a=b", body: { query: "bob" }) { status body } }`
      const { data } = await server.owner.graphql(mutation)
      assert.deepEqual(data.provisionBridge, { status: 200, body: { login_ids: ['alice'] } })
      assert.deepEqual([bridge.asked[0]!.body, bridge.asked[0]!.query.get('a')], ['{"query":"bob"}', 'b'])
    })
  })
}

test('a path leads nowhere else, however it is written', async () => {
  for (const path of [
    '..',
    '.',
    '',
    'a//b',
    'a/',
    '%2e%2e/debug',
    '%2E%2e',
    'a/..%2f..%2fdebug',
    'a%2f%2e%2e',
    '..%5c..',
    '%252e%252e',
    'a%252fb',
    'a%00',
    '%zz',
  ])
    assert.throws(() => provisioningPath(path), { errcode: 'M_INVALID_PARAM' }, path)
  assert.equal(provisioningPath('login/start/qr'), 'v3/login/start/qr')
  assert.equal(provisioningPath('resolve_identifier/%2B49%2f1'), 'v3/resolve_identifier/%2B49%2F1')

  await using server = await startServer()
  await using bridge = await overHttp(server, 'echo')
  for (const path of ['../../../debug', 'a/%2e%2e/b', 'a//b', '%2e%2e%2f%2e%2e%2fdebug']) {
    const status = await rawGet(server, proxied('echo', path))
    assert.ok(status >= 400 && status < 500, `${path}: ${status}`)
  }
  assert.deepEqual(bridge.asked, [])
})

/** As it is written: other clients would tidy the path. */
function rawGet(server: TestServer, path: string): Promise<number> {
  const { hostname, port } = new URL(server.url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(`GET ${path} HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${server.owner.token}\r\nconnection: close\r\n\r\n`)
    })
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('end', () => resolve(Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1])))
    socket.on('error', reject)
  })
}

test('a bridge that is away, has no address, or lies outside the networks of owners is told as such', async () => {
  await using server = await startServer()
  const refused = async (id: string) => {
    const { status, body } = await server.owner.get(proxied(id, 'whoami'))
    return [status, body.errcode]
  }
  await configure(server, 'away', null)
  assert.deepEqual(await refused('away'), [502, 'FI.MAU.WS_NOT_CONNECTED'])
  await configure(server, 'gone', 'http://127.0.0.1:1')
  assert.deepEqual(await refused('gone'), [502, 'M_CONNECTION_FAILED'])
  await configure(server, 'nowhere', '')
  assert.deepEqual(await refused('nowhere'), [400, 'M_URL_NOT_SET'])
  const named = await server.owner.put(registered('named'), { push: true, address: 'http://localhost.example.invalid:80' })
  assert.equal(named.status, 200)
  assert.deepEqual(await refused('named'), [502, 'M_CONNECTION_FAILED'])
})

test("an owner's bridge is asked within the networks of owners only, by the address connected to", async () => {
  await using server = await startServer({ config: { appserviceNetworks: ['10.1.0.0/16'] } })
  let asked = 0
  const listener = createServer((_request, response) => {
    asked++
    response.end('{}')
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => listener.once('listening', resolve))
  const address = `http://localhost:${(listener.address() as AddressInfo).port}`
  await server.owner.put(registered('near'), { push: true, address })
  const reply = await server.owner.get(proxied('near', 'whoami'))
  assert.deepEqual([reply.status, reply.body.errcode, asked], [502, 'M_CONNECTION_FAILED', 0])
  // Who asks for its configuration has not named the address.
  const configuration = 'mutation { configureBridge(type: "echo", id: "near", http: true) { url } }'
  assert.equal((await server.administrator.graphql(configuration)).data.configureBridge.url, address)
  assert.equal((await server.owner.get(proxied('near', 'whoami'))).status, 502)
  await server.administrator.graphql('mutation($url: String!) { setBridgeAddress(id: "near", url: $url) { id } }', { url: address })
  assert.equal((await server.owner.get(proxied('near', 'whoami'))).status, 200)
  listener.closeAllConnections()
  await new Promise((resolve) => listener.close(resolve))
})

test('a stop does not wait for a login that waits for somebody, nor for a ping', async () => {
  const asked = Promise.withResolvers<void>()
  let waiting = 0
  const listener = createServer(() => {
    if (++waiting === 2) asked.resolve()
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => listener.once('listening', resolve))
  const lines: string[] = []
  const server = await startServer({ ports: { log: pino({ level: 'warn' }, { write: (line) => void lines.push(line) }) } })
  await configure(server, 'slow', `http://127.0.0.1:${(listener.address() as AddressInfo).port}`)
  const replies = Promise.all([
    server.owner.request('POST', proxied('slow', 'login/step/1/qr/display_and_wait')),
    server.owner.graphql('mutation { pingBridge(id: "slow") }'),
  ])
  await asked.promise
  await server[Symbol.asyncDispose]()
  const [login, ping] = await replies
  assert.deepEqual([login.status, login.body.errcode], [502, 'M_CONNECTION_FAILED'])
  assert.equal(ping.errors[0].extensions.errcode, 'M_CONNECTION_FAILED')
  assert.deepEqual(lines, [])
  listener.closeAllConnections()
  await new Promise((resolve) => listener.close(resolve))
})

test('requests and answers have their limits: 1 MiB, JSON over a websocket, 10 MiB', async () => {
  await using server = await startServer()
  await using pushed = await overHttp(server, 'pushed')
  await using connected = await overWebsocket(server, 'connected')
  for (const id of ['pushed', 'connected']) {
    const large = await server.owner.request('POST', proxied(id, 'search_users'), { query: 'x'.repeat(1_048_577) })
    assert.deepEqual([large.status, large.body.errcode], [413, 'M_TOO_LARGE'])
    const query = await server.owner.get(`${proxied(id, 'whoami')}?a=${'x'.repeat(8_200)}`)
    assert.equal(query.status, 400)
  }
  const bytes = await server.owner.request('POST', proxied('connected', 'image_pack/import'), undefined, { raw: 'no json' })
  assert.deepEqual([bytes.status, bytes.body.errcode], [400, 'M_NOT_JSON'])
  assert.deepEqual([pushed.asked, connected.asked], [[], []])
  pushed.answer = { status: 200, contentType: 'application/json', body: `"${'x'.repeat(10_485_760)}"` }
  assert.equal((await server.owner.get(proxied('pushed', 'contacts'))).status, 502)
  connected.answer = { ...json({}), status: 99 }
  assert.equal((await server.owner.get(proxied('connected', 'contacts'))).body.errcode, 'M_BAD_STATUS')
})

test('bridges that bbctl registers are asked with the login token that bbctl writes into their configuration', async () => {
  await using server = await startServer()
  const { as_token: token } = (await server.owner.put(registered('sh-echo'), { push: false })).body
  const { loginToken } = (await server.owner.graphql('{ loginToken }')).data
  await using socket = await SocketBridge.connect({ url: server.url, token })
  socket.socket!.on('message', (message) => {
    const { id, command, data } = JSON.parse(String(message))
    if (command === 'http_proxy')
      socket.send({ id, command: 'response', data: { status: 200, body: { given: data.headers.Authorization } } })
  })
  const reply = await server.owner.get(`/_hungryserv/owner${proxied('sh-echo', 'whoami')}`)
  assert.deepEqual(reply.body, { given: [`Bearer ${loginToken}`] })
  const { data } = await server.owner.graphql('{ bridge(id: "sh-echo") { configYaml } }')
  assert.equal(parse(data.bridge.configYaml).provisioning.shared_secret, loginToken)
})
