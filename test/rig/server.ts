/** A real server on a temporary folder and a free port, for tests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { type Config, readConfig } from '../../src/config.ts'
import { type Ports, systemPorts } from '../../src/ports.ts'
import { openServer, type Server, type ServerOptions } from '../../src/server.ts'

export interface TestServer extends AsyncDisposable {
  readonly server: Server
  readonly url: string
  readonly dataDir: string
  /** of the default instance's owner and of its administrator */
  readonly owner: Client
  readonly administrator: Client
  /** closes and opens again on the same data and address */
  restart(): Promise<void>
  /** a request without a token */
  request(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<Reply>
  /** a client with this token */
  client(token: string, userId?: string): Client
  /** a new person, logged in */
  register(localpart: string, password?: string): Promise<Client>
}

export interface RequestOptions {
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
  /** the body as it is, instead of JSON */
  readonly raw?: string | Uint8Array
  readonly signal?: AbortSignal
}

export interface Reply {
  readonly status: number
  readonly headers: Headers
  // The body as whatever the test expects it to be.
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it sent
  readonly body: any
}

export interface TestServerOptions {
  readonly config?: Partial<Config>
  readonly ports?: Partial<Ports>
  /** postgresql://… instead of SQLite */
  readonly databaseUrl?: string
  readonly faults?: ServerOptions['faults']
}

export const testPassword = 'correct horse battery staple'

/** With its own password known; rate limits are off unless the test asks for them. */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const dataDir = await mkdtemp(join(tmpdir(), 'hungryserv-test-'))
  const log = pino({ level: process.env['TEST_LOG'] ?? 'silent' })
  const ports: Ports = { ...systemPorts(log), ...options.ports }
  const environment = {
    DATA_DIR: dataDir,
    PORT: '0',
    RATE_LIMITS: 'off',
    USER_DOMAIN: 'example.com',
    ...(options.databaseUrl ? { DATABASE_URL: options.databaseUrl } : {}),
  }
  let config: Config = { ...readConfig(environment), ...options.config }
  let server = await openServer({ config, ports, ...(options.faults ? { faults: options.faults } : {}) })
  config = { ...config, port: Number(new URL(server.url).port) }
  const accounts = server.firstAccounts!
  const test: TestServer = {
    get server() {
      return server
    },
    get url() {
      return server.url
    },
    dataDir,
    owner: undefined as never,
    administrator: undefined as never,
    async restart() {
      await server[Symbol.asyncDispose]()
      server = await openServer({ config, ports, ...(options.faults ? { faults: options.faults } : {}) })
    },
    request: (method, path, body, requestOptions) => request(server.url, method, path, body, requestOptions),
    client: (token, userId = '') => new Client(() => server.url, token, userId),
    async register(localpart, password) {
      const { registerPerson } = await import('../../src/users/accounts.ts')
      const made = await registerPerson(await server.host.defaultInstance(), { username: localpart, password: password ?? null })
      return new Client(() => server.url, made.session!.accessToken, made.userId, made.session!.deviceId)
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
  const login = async (userId: string, password: string): Promise<Client> => {
    const { loginWithPassword } = await import('../../src/users/accounts.ts')
    const session = await loginWithPassword(await server.host.defaultInstance(), { user: userId, password })
    return new Client(() => server.url, session.accessToken, userId, session.deviceId)
  }
  return Object.assign(test, {
    owner: await login(accounts.owner.userId, accounts.owner.password),
    administrator: await login(accounts.administrator.userId, accounts.administrator.password),
  }) as TestServer
}

/** Requests with one token; paths may leave out /_matrix/client/v3. */
export class Client {
  readonly token: string
  readonly userId: string
  readonly deviceId: string
  private readonly address: () => string
  private txn = 0

  constructor(address: () => string, token: string, userId: string, deviceId = '') {
    this.address = address
    this.token = token
    this.userId = userId
    this.deviceId = deviceId
  }

  request(method: string, path: string, body?: unknown, options: RequestOptions = {}): Promise<Reply> {
    return request(this.address(), method, path, body, { token: this.token, ...options })
  }

  get(path: string): Promise<Reply> {
    return this.request('GET', path)
  }

  post(path: string, body: unknown = {}): Promise<Reply> {
    return this.request('POST', path, body)
  }

  put(path: string, body: unknown = {}): Promise<Reply> {
    return this.request('PUT', path, body)
  }

  /** The new room's id. */
  async createRoom(body: unknown = {}): Promise<string> {
    const reply = await this.post('/createRoom', body)
    if (reply.status !== 200) throw new Error(`createRoom: ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body.room_id
  }

  /** The new event's id. */
  async send(roomId: string, text: string): Promise<string> {
    const reply = await this.put(`/rooms/${encodeURIComponent(roomId)}/send/m.room.message/t${this.txn++}`, {
      msgtype: 'm.text',
      body: text,
    })
    if (reply.status !== 200) throw new Error(`send: ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body.event_id
  }

  /** One /sync; `query` without the question mark. */
  async sync(query = ''): Promise<Reply['body']> {
    const reply = await this.get(`/sync?${query}`)
    if (reply.status !== 200) throw new Error(`sync: ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body
  }

  async graphql(query: string, variables: Record<string, unknown> = {}): Promise<Reply['body']> {
    return (await this.request('POST', '/graphql', { query, variables }, { headers: { 'content-type': 'application/json' } })).body
  }
}

/** The others may leave out /_matrix/client/v3. Bridge managers have addresses of their own. */
const standsForItself = /^\/(_|graphql|\.|whoami(\?|$)|bridge\/|bridgebox\/|user\/login(\/|$))/

async function request(address: string, method: string, path: string, body?: unknown, options: RequestOptions = {}): Promise<Reply> {
  const url = address + (standsForItself.test(path) ? path : `/_matrix/client/v3${path}`)
  const response = await fetch(url, {
    method,
    headers: { ...(options.token ? { authorization: `Bearer ${options.token}` } : {}), ...options.headers },
    ...(options.raw !== undefined
      ? { body: options.raw as string }
      : body === undefined || method === 'GET'
        ? {}
        : { body: JSON.stringify(body) }),
    ...(options.signal ? { signal: options.signal } : {}),
  })
  const text = await response.text()
  let parsed: unknown = text
  try {
    parsed = JSON.parse(text)
  } catch {
    // Not JSON: the test looks at the text.
  }
  return { status: response.status, headers: response.headers, body: parsed }
}
