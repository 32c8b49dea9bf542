/** Real bridges on mautrix-go's bridgev2: built here, configured by our own command line, each a process in a folder of its own. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Database from 'better-sqlite3'
import { parse, stringify } from 'yaml'
import type { ServerProcess } from '../../bench/server-process.ts'

const here = import.meta.dirname
const root = join(here, '..', '..', '..')
const packages = ['./echobridge', 'go.mau.fi/mautrix-whatsapp/cmd/mautrix-whatsapp']

/** null, or the reason why there are no bridges. Minutes the first time; names what it compiles, so that nobody takes it for hung. */
export async function buildBridges(): Promise<string | null> {
  for (const [tool, ...words] of [
    ['go', 'version'],
    ['cc', '--version'],
  ] as const) {
    const missing = await promisify(execFile)(tool, words).then(
      () => false,
      () => true,
    )
    if (missing) return `${tool} is not installed`
  }
  const build = spawn('go', ['build', '-v', '-mod=readonly', '-tags', 'goolm', '-o', 'bin/', ...packages], {
    cwd: here,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const alive = setInterval(() => process.stdout.write('go build goes on\n'), 30_000)
  const code = await new Promise((resolve) => build.once('exit', resolve))
  clearInterval(alive)
  if (code !== 0) throw new Error(`go build ended with ${code}`)
  return null
}

// biome-ignore lint/suspicious/noExplicitAny: a test reads what it knows to be there
type Json = any

export interface BridgeOptions {
  /** `echobridge` or `whatsapp`, for `bridge config` */
  readonly type: string
  readonly program: string
  /** what our command line cannot know: the section `network` */
  readonly network?: Record<string, unknown>
}

export class BridgeProcess {
  readonly type: string
  /** the configuration as it runs */
  readonly config: Json
  readonly folder: string
  private readonly program: string
  private child: ChildProcess | undefined

  /** Asks our command line for the configuration, adds `network`, and starts. */
  static async start(server: ServerProcess, options: BridgeOptions): Promise<BridgeProcess> {
    const url = `http://127.0.0.1:${await freePort()}`
    const yaml = await runCommandLine(server, ['bridge', 'config', options.type, '--url', url])
    const config = parse(yaml) as Json
    if (options.network) config.network = { ...config.network, ...options.network }
    const bridge = new BridgeProcess(options, config, join(server.dataDir, 'bridges', options.type))
    mkdirSync(bridge.folder, { recursive: true })
    writeFileSync(join(bridge.folder, 'config.yaml'), stringify(config))
    await bridge.run()
    return bridge
  }

  private constructor(options: BridgeOptions, config: Json, folder: string) {
    this.type = options.type
    this.program = options.program
    this.config = config
    this.folder = folder
  }

  get bot(): string {
    return `@${this.config.appservice.bot.username}:${this.config.homeserver.domain}`
  }

  ghost(name: string | number): string {
    return `@${this.config.appservice.username_template.replace('{{.}}', name)}:${this.config.homeserver.domain}`
  }

  /** Until its HTTP server answers. */
  async run(): Promise<void> {
    const log = openSync(join(this.folder, 'log.jsonl'), 'a')
    const child = spawn(join(here, 'bin', this.program), ['-n', '-c', 'config.yaml'], { cwd: this.folder, stdio: ['ignore', log, log] })
    closeSync(log)
    this.child = child
    const deadline = performance.now() + 30_000
    while (!(await fetch(`${this.config.appservice.address}/_matrix/mau/ready`).catch(() => null))?.ok) {
      if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${this.type} did not start:\n${this.complaints()}`)
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await gone
  }

  /** Its log's last warnings and errors; a full event channel only means that it takes more slowly than it is given. */
  complaints(): string {
    return readFileSync(join(this.folder, 'log.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => /"level":"(error|fatal|panic|warn)"|^[^{]/.test(line) && !line.includes('"Event channel is full"'))
      .slice(-20)
      .join('\n')
  }

  /** Its provisioning API, as the owner. */
  async provision(method: string, path: string, body?: unknown): Promise<Json> {
    const address = `${this.config.appservice.address}/_matrix/provision/v3/${path}?user_id=${encodeURIComponent(this.owner)}`
    return ask(address, method, body, { authorization: `Bearer ${this.config.provisioning.shared_secret}` })
  }

  /** Rows of bridge.db that hold this event. */
  rowsOf(eventId: string): number {
    const database = new Database(join(this.folder, 'bridge.db'), { readonly: true, fileMustExist: true })
    try {
      return (database.prepare('select count(*) as rows from message where mxid = ?').get(eventId) as { rows: number }).rows
    } finally {
      database.close()
    }
  }

  private get owner(): string {
    return Object.keys(this.config.bridge.permissions)[0]!
  }
}

/** Throws what it answers when that is no 2xx. */
export async function ask(address: string, method: string, body?: unknown, headers: Record<string, string> = {}): Promise<Json> {
  const reply = await fetch(address, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  const text = await reply.text()
  if (!reply.ok) throw new Error(`${method} ${address}: ${reply.status} ${text}`)
  return JSON.parse(text)
}

/** What `hungryserv …` prints. */
async function runCommandLine(server: ServerProcess, words: readonly string[]): Promise<string> {
  const program = [join(root, 'src', 'launch.mjs'), join(root, 'src', 'main.ts'), ...words]
  const { stdout } = await promisify(execFile)(process.execPath, program, { env: { ...process.env, DATA_DIR: server.dataDir } })
  return stdout
}

export async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => listener.once('listening', resolve))
  const { port } = listener.address() as { port: number }
  await new Promise((resolve) => listener.close(resolve))
  return port
}
