/** A small bridge of ours on somebody else's library: a process in a folder of its own, registered by our own command line. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import type { ServerProcess } from '../../bench/server-process.ts'
import { ask, freePort } from '../go/bridge-process.ts'

const root = join(import.meta.dirname, '..', '..', '..')

// biome-ignore lint/suspicious/noExplicitAny: a test reads what it knows to be there
export type Json = any

export interface PeerOptions {
  readonly id: string
  /** of users and rooms */
  readonly domain: string
  /** the program and its arguments; the configuration's name is added */
  readonly command: readonly [string, ...string[]]
  /** a path that it answers when it is ready */
  readonly readyPath: string
}

export class PeerProcess {
  readonly bot: string
  private readonly options: PeerOptions
  private readonly url: string
  private readonly folder: string
  private child: ChildProcess | undefined

  static async start(server: ServerProcess, options: PeerOptions): Promise<PeerProcess> {
    const url = `http://127.0.0.1:${await freePort()}`
    const launch = [join(root, 'src', 'launch.mjs'), join(root, 'src', 'main.ts'), 'bridge', 'register', options.id, '--url', url]
    const { stdout } = await promisify(execFile)(process.execPath, launch, { env: { ...process.env, DATA_DIR: server.dataDir } })
    const registration = parse(stdout) as Json
    const folder = join(server.dataDir, 'bridges', options.id)
    mkdirSync(folder, { recursive: true })
    const config = { homeserver: server.url, domain: options.domain, owner: server.owner.userId, registration }
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
    const peer = new PeerProcess(options, url, folder, `@${registration.sender_localpart}:${options.domain}`)
    await peer.run()
    return peer
  }

  private constructor(options: PeerOptions, url: string, folder: string, bot: string) {
    this.options = options
    this.url = url
    this.folder = folder
    this.bot = bot
  }

  ghost(name: string): string {
    return `@${this.options.id}_${name}:${this.options.domain}`
  }

  /** Until it says that it is ready. */
  async run(): Promise<void> {
    const log = openSync(join(this.folder, 'log.txt'), 'a')
    const [program, ...words] = this.options.command
    const child = spawn(program, [...words, 'config.json'], { cwd: this.folder, stdio: ['ignore', log, log] })
    closeSync(log)
    this.child = child
    const deadline = performance.now() + 30_000
    while (!(await fetch(this.url + this.options.readyPath).catch(() => null))?.ok) {
      if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${this.options.id} did not start:\n${this.log()}`)
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

  /** Its control port. */
  control(path: string, body: Json): Promise<Json> {
    return ask(`${this.url}/control${path}`, 'POST', body, { 'content-type': 'application/json' })
  }

  /** What it wrote down, of one kind. */
  noted(kind: string): Json[] {
    const file = join(this.folder, 'journal.jsonl')
    // A line may be half written.
    const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []
    return lines.map((line) => JSON.parse(line)).filter((line) => kind in line)
  }

  /** The messages of a person that it took, in that order. */
  heard(roomId: string, sender: string): string[] {
    const events = this.noted('event').map(({ event }) => event)
    return events
      .filter((event) => event.type === 'm.room.message' && event.room_id === roomId && event.sender === sender)
      .map((event) => event.content.body)
  }

  /** What it printed. */
  log(): string {
    return readFileSync(join(this.folder, 'log.txt'), 'utf8')
  }
}
