/** The server under test: started, killed and started again on the same data and the same port. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FirstAccounts } from '../../src/instances/first-start.ts'
import type { KillAt } from './fault-points.ts'

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  await once(probe, 'close')
  return port
}

export class ServerProcess implements AsyncDisposable {
  readonly url: string
  /** of its first start */
  accounts: FirstAccounts | null = null
  /** what all its processes had to say on their error output */
  complaints = ''
  private readonly environment: Readonly<Record<string, string>>
  private readonly folder: string
  private child: ChildProcess | null = null
  private ended: Promise<unknown> = Promise.resolve()

  private constructor(port: number, folder: string, environment: Readonly<Record<string, string>>) {
    this.url = `http://127.0.0.1:${port}`
    this.folder = folder
    this.environment = { DATA_DIR: folder, PORT: String(port), RATE_LIMITS: 'off', USER_DOMAIN: 'example.com', ...environment }
  }

  /** Prepares a folder and a port; nothing is started. `environment` is added to the settings. */
  static async make(environment: Readonly<Record<string, string>>): Promise<ServerProcess> {
    return new ServerProcess(await freePort(), mkdtempSync(join(tmpdir(), 'hungryserv-kill-')), environment)
  }

  /** What it stores everything in. */
  get database(): string {
    return this.environment['DATABASE_URL'] ?? `file:${join(this.folder, 'hungryserv.db')}`
  }

  get pid(): number | undefined {
    return this.child?.pid
  }

  /** Resolves when it listens. With `killAt` it ends itself at that point. */
  async start(killAt?: KillAt): Promise<void> {
    const child = this.spawn(killAt ? { KILL_AT: `${killAt.point}:${killAt.afterMs}:${killAt.what}` } : {})
    this.child = child
    this.ended = once(child, 'exit')
    let printed = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (printed += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.complaints += text))
    while (!printed.includes('\n')) {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}: ${this.complaints}`)
      await Promise.race([once(child.stdout!, 'data'), this.ended])
    }
    this.accounts ??= (JSON.parse(printed) as { accounts: FirstAccounts | null }).accounts
  }

  /** One more process on the same data: what it said when it ended. */
  async startSecond(environment: Readonly<Record<string, string>>): Promise<{ code: number | null; complaints: string }> {
    const child = this.spawn({ ...environment, PORT: '0' })
    let complaints = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaints += text))
    await once(child, 'close')
    return { code: child.exitCode, complaints }
  }

  async kill(): Promise<void> {
    this.child?.kill('SIGKILL')
    await this.ended
  }

  /** Waits for it to end itself; false when it did not within `timeoutMs`. */
  async ends(timeoutMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), timeoutMs)))
    const ended = await Promise.race([this.ended.then(() => true), late])
    clearTimeout(timer)
    return ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }

  private spawn(more: Readonly<Record<string, string>>): ChildProcess {
    // The types are stripped by Node itself; older ones must be told to.
    const flags = ['--disable-warning=ExperimentalWarning', '--experimental-strip-types']
    return spawn(process.execPath, [...flags, join(import.meta.dirname, 'server.ts')], {
      env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...this.environment, ...more },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }
}
