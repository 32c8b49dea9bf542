/** Real bridges on mautrix-go's bridgev2: built here, configured by our own command line, each a process in a folder of its own. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
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

/** Settings of the section `encryption`, for who sends and reads what is said without a client that encrypts. */
export const unencrypted = { allow: false, default: false, require: false }

export interface BridgeOptions {
  /** `echobridge` or `whatsapp`, for `bridge config` */
  readonly type: string
  readonly program: string
  /** what our command line cannot know, such as the section `network`: laid over what it writes */
  readonly settings?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** `software: hungry` over a websocket, else `standard` over HTTP */
  readonly websocket?: {
    /** in place of the homeserver's own address */
    readonly homeserver?: string
    /** with which the owner asks our provisioning proxy */
    readonly ownerToken: string
  }
}

export class BridgeProcess {
  readonly type: string
  /** the configuration as it runs */
  readonly config: Json
  readonly folder: string
  private readonly program: string
  /** its provisioning API, and with what the owner asks there */
  private readonly provisioning: { readonly address: string; readonly token: string }
  private child: ChildProcess | undefined

  /** Asks our command line for the configuration, lays `settings` over it, and starts. */
  static async start(server: ServerProcess, options: BridgeOptions): Promise<BridgeProcess> {
    const url = `http://127.0.0.1:${await freePort()}`
    const delivery = options.websocket ? [] : ['--url', url, '--standard']
    const yaml = await runCommandLine(server, ['bridge', 'config', options.type, ...delivery])
    const config = parse(yaml.replaceAll(server.url, options.websocket?.homeserver ?? server.url)) as Json
    for (const [section, settings] of Object.entries(options.settings ?? {})) config[section] = { ...config[section], ...settings }
    const bridge = new BridgeProcess(server, options, config)
    mkdirSync(bridge.folder, { recursive: true })
    writeFileSync(join(bridge.folder, 'config.yaml'), stringify(config))
    await bridge.run()
    return bridge
  }

  private constructor(server: ServerProcess, options: BridgeOptions, config: Json) {
    this.type = options.type
    this.program = options.program
    this.config = config
    this.folder = join(server.dataDir, 'bridges', options.type)
    this.provisioning = options.websocket
      ? { address: `${server.url}/_matrix/client/unstable/com.beeper.bridge/${options.type}`, token: options.websocket.ownerToken }
      : { address: config.appservice.address, token: config.provisioning.shared_secret }
  }

  get bot(): string {
    return `@${this.config.appservice.bot.username}:${this.config.homeserver.domain}`
  }

  ghost(name: string | number): string {
    return `@${this.config.appservice.username_template.replace('{{.}}', name)}:${this.config.homeserver.domain}`
  }

  /** Until it says that it has started. */
  async run(): Promise<void> {
    const before = statSync(this.logFile, { throwIfNoEntry: false })?.size ?? 0
    const child = this.launch()
    const deadline = performance.now() + 30_000
    while (!readFileSync(this.logFile).subarray(before).includes('"Bridge started"')) {
      if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${this.type} did not start:\n${this.complaints()}`)
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }

  /** Does not wait for anything. */
  launch(): ChildProcess {
    const log = openSync(this.logFile, 'a')
    const child = spawn(join(here, 'bin', this.program), ['-n', '-c', 'config.yaml'], { cwd: this.folder, stdio: ['ignore', log, log] })
    closeSync(log)
    this.child = child
    return child
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await gone
  }

  /**
   * Its log's last warnings and errors. A full event channel only means that it takes more slowly than it is given, and a state that it tells
   * before its websocket is open is told again after it.
   */
  complaints(): string {
    return readFileSync(this.logFile, 'utf8')
      .split('\n')
      .filter((line) => /"level":"(error|fatal|panic|warn)"|^[^{]/.test(line))
      .filter((line) => !line.includes('"Event channel is full"') && !line.includes('"error":"websocket not connected"'))
      .slice(-20)
      .join('\n')
  }

  /** Its provisioning API, as the owner; over a websocket through the homeserver, with the owner's token. */
  async provision(method: string, path: string, body?: unknown): Promise<Json> {
    const { address, token } = this.provisioning
    return ask(`${address}/_matrix/provision/v3/${path}?user_id=${encodeURIComponent(this.owner)}`, method, body, {
      authorization: `Bearer ${token}`,
    })
  }

  /** TCP ports that it listens at (Linux). */
  listeningPorts(): number[] {
    const sockets = readdirSync(`/proc/${this.child!.pid}/fd`).map((fd) => linkOf(`/proc/${this.child!.pid}/fd/${fd}`))
    const lines = ['tcp', 'tcp6'].flatMap((file) => readFileSync(`/proc/net/${file}`, 'utf8').split('\n').slice(1))
    // local address:port, peer, state (0A: listening), …, inode
    const fields = lines.map((line) => line.trim().split(/\s+/))
    const listening = fields.filter((field) => field[3] === '0A' && sockets.includes(`socket:[${field[9]}]`))
    return listening.map((field) => Number.parseInt(field[1]!.split(':')[1]!, 16))
  }

  /** Rows of bridge.db that hold this event. */
  rowsOf(eventId: string): number {
    return this.withDatabase((database) => {
      const { rows } = database.prepare('select count(*) as rows from message where mxid = ?').get(eventId) as { rows: number }
      return rows
    })
  }

  /** How often each event stands in bridge.db. */
  allRows(): Map<string, number> {
    const rows = this.withDatabase((database) => database.prepare('select mxid, count(*) as rows from message group by mxid').all())
    return new Map((rows as { mxid: string; rows: number }[]).map(({ mxid, rows: count }) => [mxid, count]))
  }

  /** Room keys of its own that it has deleted. */
  forgottenSessions(): number {
    return this.withDatabase((database) => {
      const text = "select count(*) as sessions from crypto_megolm_inbound_session where withheld_code = 'com.beeper.redacted'"
      const { sessions } = database.prepare(text).get() as { sessions: number }
      return sessions
    })
  }

  /** Chats whose history is not all there. */
  unfinishedBackfills(): number {
    return this.withDatabase((database) => {
      const { tasks } = database.prepare('select count(*) as tasks from backfill_task where not is_done').get() as { tasks: number }
      return tasks
    })
  }

  /** bridgev2 begins with the history of a room a minute after making it, and goes on an hour after being killed: neither is waited for. */
  hurryBackfills(): void {
    this.withDatabase((database) => database.prepare('update backfill_task set next_dispatch_min_ts = 1 where not is_done').run())
  }

  private get logFile(): string {
    return join(this.folder, 'log.jsonl')
  }

  private withDatabase<T>(use: (database: Database.Database) => T): T {
    const database = new Database(join(this.folder, 'bridge.db'), { fileMustExist: true, timeout: 10_000 })
    try {
      return use(database)
    } finally {
      database.close()
    }
  }

  private get owner(): string {
    return Object.keys(this.config.bridge.permissions)[0]!
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return '' // closed meanwhile
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
