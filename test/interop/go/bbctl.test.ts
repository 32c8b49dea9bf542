/** Beeper's own bridge manager, as it is: it finds this server behind a proxy that answers for its fixed addresses. */
import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createSecureContext, TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { parse, stringify } from 'yaml'
import { type ServerProcess, startProcess } from '../../bench/server-process.ts'
import { ExampleBridge } from '../../rig/example-bridge.ts'
import { ask } from './bridge-process.ts'

const here = import.meta.dirname
const domain = 'beeper.localtest.me'

/** null, or the reason why there is no bbctl. */
async function build(): Promise<string | null> {
  for (const tool of ['go', 'openssl', 'script']) {
    const missing = await promisify(execFile)('which', [tool]).then(
      () => false,
      () => true,
    )
    if (missing) return `${tool} is not installed`
  }
  const words = ['build', '-mod=readonly', '-o', 'bin/', 'github.com/beeper/bridge-manager/cmd/bbctl']
  const child = spawn('go', words, { cwd: here, stdio: ['ignore', 'inherit', 'inherit'] })
  const alive = setInterval(() => process.stdout.write('go build goes on\n'), 30_000)
  const code = await new Promise((resolve) => child.once('exit', resolve))
  clearInterval(alive)
  if (code !== 0) throw new Error(`go build ended with ${code}`)
  return null
}

/** Takes CONNECT for bbctl's two hosts and speaks TLS as them; what comes out goes to the server. */
class BeeperDoor implements AsyncDisposable {
  readonly certificate: string
  readonly hosts = new Set<string>()
  private readonly server: Server
  private readonly sockets = new Set<Socket>()

  constructor(folder: string, port: () => number) {
    this.certificate = join(folder, 'certificate.pem')
    const key = join(folder, 'key.pem')
    const names = `subjectAltName=DNS:api.${domain},DNS:matrix.${domain}`
    const subject = ['-subj', `/CN=${domain}`, '-addext', names, '-days', '2']
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject, '-keyout', key, '-out', this.certificate], {
      stdio: 'ignore',
    })
    const secureContext = createSecureContext({ key: readFileSync(key), cert: readFileSync(this.certificate) })
    this.server = createServer()
    this.server.on('connect', (request, socket: Socket) => {
      this.hosts.add(request.url ?? '')
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      const inside = new TLSSocket(socket, { isServer: true, secureContext })
      const upstream = connect(port(), '127.0.0.1')
      for (const each of [socket, inside, upstream]) each.on('error', () => this.end(inside, upstream))
      inside.pipe(upstream).pipe(inside)
      this.sockets.add(socket)
      socket.once('close', () => this.sockets.delete(socket))
    })
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private end(...sockets: Socket[]): void {
    for (const socket of sockets) socket.destroy()
  }
}

const missing = await build()
if (missing) process.stdout.write(`bbctl is skipped: ${missing}\n`)

describe('bbctl', { skip: missing ?? false, timeout: 120_000 }, () => {
  let folder: string
  let server: ServerProcess
  let door: BeeperDoor
  let environment: Record<string, string>
  let token: string

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hungryserv-bbctl-'))
    server = await startProcess({
      environment: { USER_DOMAIN: domain, BRIDGE_DOMAIN: 'beeper.local', PUBLIC_URL: `https://matrix.${domain}` },
    })
    door = new BeeperDoor(folder, () => Number(new URL(server.url).port))
    const { owner } = server
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: owner.userId }, password: owner.password }
    token = (await ask(`${server.url}/_matrix/client/v3/login`, 'POST', login)).access_token
    environment = {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      BBCTL_DATA_HOME: folder,
      HTTPS_PROXY: await door.listen(),
      SSL_CERT_FILE: door.certificate,
      // Of flags it would ask all the same.
      BEEPER_EMAIL: 'owner@example.com',
      BEEPER_USERNAME: 'owner',
      BEEPER_PASSWORD: owner.password,
    }
  })
  after(async () => {
    await door?.[Symbol.asyncDispose]()
    await server?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const words = (...rest: string[]) => ['--env', 'local', '--color', 'never', '--config', join(folder, 'bbctl.json'), ...rest]
  const program = join(here, 'bin', 'bbctl')

  /** What it prints, complaints as well. It ends with 0 also when it failed. */
  async function bbctl(...rest: string[]): Promise<string> {
    const { stdout, stderr } = await promisify(execFile)(program, words(...rest), { env: environment, cwd: folder })
    return stdout + stderr
  }

  test('logs in with a password', async () => {
    const said = await bbctl('login-password')
    assert.match(said, /Successfully logged in as @owner:beeper\.localtest\.me/)
    assert.deepEqual([...door.hosts].sort(), [`api.${domain}:443`, `matrix.${domain}:443`])
    assert.match(await bbctl('whoami'), /User ID: @owner:beeper\.localtest\.me/)
  })

  test('registers a bridge, and gets the same again', async () => {
    const read = async () =>
      parse(
        (await bbctl('register', '--output', 'registration.yaml', 'sh-echo')) && readFileSync(join(folder, 'registration.yaml'), 'utf8'),
      )
    const registration = await read()
    assert.deepEqual([registration.url, registration.sender_localpart], ['websocket', 'sh-echobot'])
    assert.equal(registration.namespaces.users[0].regex, '^@sh-echo_.+:beeper\\.local$')
    assert.deepEqual(await read(), registration)
    assert.match(await bbctl('whoami'), /sh-echo .*self-hosted.* - RUNNING/)
    assert.match(await bbctl('register', '--get', 'sh-none'), /M_NOT_FOUND|404/)
  })

  test('writes a configuration that names this homeserver, its websocket and the secret that our proxy asks with', async () => {
    await bbctl('config', '--type', 'whatsapp', '--output', 'config.yaml', 'sh-whatsapp')
    const config = parse(readFileSync(join(folder, 'config.yaml'), 'utf8'))
    assert.deepEqual([config.homeserver.address, config.homeserver.domain], [`https://matrix.${domain}/_hungryserv/owner`, 'beeper.local'])
    assert.deepEqual([config.homeserver.software, config.homeserver.websocket], ['hungry', true])
    const query = '{ loginToken bridge(id: "sh-whatsapp") { type registration states { stateEvent } } }'
    const { data } = await ask(
      `${server.url}/graphql`,
      'POST',
      { query },
      { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    )
    assert.equal(config.provisioning.shared_secret, data.loginToken)
    assert.equal(config.appservice.as_token, data.bridge.registration.as_token)
    const { allow, default: byDefault, require, appservice } = config.encryption
    assert.deepEqual([allow, byDefault, require, appservice], [true, true, true, true])
    assert.equal(data.bridge.registration['org.matrix.msc3202'], true, 'what appservice: true needs')
    assert.deepEqual([data.bridge.type, data.bridge.states], ['whatsapp', [{ stateEvent: 'STARTING' }]])
  })

  test('proxies transactions from the websocket to a bridge that listens on HTTP', async () => {
    const registration = parse(readFileSync(join(folder, 'registration.yaml'), 'utf8'))
    await using bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'beeper.local' })
    writeFileSync(join(folder, 'proxied.yaml'), stringify({ ...registration, url: bridge.url }))
    const proxy = spawn(program, words('proxy', '--registration', 'proxied.yaml'), { env: environment, cwd: folder, stdio: 'ignore' })
    const ended = new Promise((resolve) => proxy.once('exit', resolve))
    try {
      const roomId = await bridge.createPortal('chat', ['bob'], [server.owner.userId])
      for (const body of ['one', 'two'])
        await ask(
          `${server.url}/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${body}`,
          'PUT',
          { msgtype: 'm.text', body },
          { authorization: `Bearer ${token}` },
        )
      const bodies = () => bridge.events.filter(({ type }) => type === 'm.room.message').map(({ content }) => content.body)
      await bridge.until('both messages', () => bodies().length === 2, 20_000)
      assert.deepEqual(bodies(), ['one', 'two'])
    } finally {
      proxy.kill('SIGINT')
      await ended
    }
  })

  test('deletes the bridge', async () => {
    // It asks on a terminal.
    const line = [program, ...words('delete', 'sh-echo')].map((word) => `'${word}'`).join(' ')
    const terminal = spawn('script', ['-qec', line, '/dev/null'], {
      env: { ...environment, TERM: 'xterm' },
      cwd: folder,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    let said = ''
    terminal.stdout.on('data', (chunk: Buffer) => {
      const asked = said.includes('Are you sure')
      said += chunk
      // Where the cursor is: no matter.
      for (const _ of String(chunk).matchAll(/\x1b\[6n/g)) terminal.stdin.write('\x1b[1;1R')
      if (!asked && said.includes('Are you sure')) setTimeout(() => terminal.stdin.write('y\r'), 500)
    })
    await new Promise((resolve) => terminal.once('exit', resolve))
    assert.match(said, /Started deleting bridge/)
    assert.doesNotMatch(await bbctl('whoami'), /sh-echo/)
    assert.match(await bbctl('register', '--get', 'sh-echo'), /M_NOT_FOUND|404/)
  })

  test('is told that there is no login by e-mail', async () => {
    assert.match(await bbctl('login'), /There is no login by e-mail here/)
  })
})
