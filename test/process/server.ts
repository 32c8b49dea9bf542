/** The real process, as `npm start` runs it, without a terminal. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const root = join(import.meta.dirname, '..', '..')

export class Run {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  private readonly ended: Promise<unknown>

  constructor(environment: Readonly<Record<string, string>>, words: readonly string[] = []) {
    this.child = spawn(process.execPath, [join(root, 'src', 'launch.mjs'), ...words], {
      env: { PATH: process.env['PATH'], RATE_LIMITS: 'off', USER_DOMAIN: 'example.com', LOG_LEVEL: 'debug', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.ended = once(this.child, 'close')
  }

  /** Resolves when it listens. */
  async listening(): Promise<this> {
    while (!this.stdout.includes('Hungryserv is listening')) {
      if (this.child.exitCode !== null) throw new Error(`it ended with ${this.child.exitCode}: ${this.stderr}`)
      await sleep(10)
    }
    return this
  }

  async exit(): Promise<number | null> {
    await this.ended
    return this.child.exitCode
  }

  stop(): Promise<number | null> {
    this.child.kill('SIGTERM')
    return this.exit()
  }
}
