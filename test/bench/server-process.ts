/** A server in a process of its own, as `npm start` runs it, on a temporary folder. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface ServerProcess {
  readonly url: string
  readonly dataDir: string
  readonly process: ChildProcess
  readonly owner: { readonly userId: string; readonly password: string }
  readonly administrator: { readonly userId: string; readonly password: string }
  /** from spawn to the first answer, ms */
  readonly startMs: number
  /** what it has printed: its log */
  printed(): string
  /** resident memory, MB */
  memoryMb(): number
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface ServerProcessOptions {
  readonly dataDir?: string
  readonly environment?: Readonly<Record<string, string>>
  /** known from the first start */
  readonly accounts?: Pick<ServerProcess, 'owner' | 'administrator'>
}

export async function startProcess(options: ServerProcessOptions = {}): Promise<ServerProcess> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'hungryserv-bench-'))
  const port = options.environment?.['PORT'] ?? String(await freePort())
  const started = performance.now()
  const child = spawn(process.execPath, ['src/launch.mjs'], {
    env: {
      ...process.env,
      DATA_DIR: dataDir,
      PORT: port,
      RATE_LIMITS: 'off',
      LOG_LEVEL: 'warn',
      USER_DOMAIN: 'example.com',
      ...options.environment,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let printed = ''
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  const url = `http://127.0.0.1:${port}`
  const startMs = await firstAnswer(url, child, started)
  // Written before it listens.
  const file = join(dataDir, 'first-passwords.txt')
  const passwords = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const account = (word: string): { userId: string; password: string } => {
    const [, userId = '', password = ''] = new RegExp(`${word}\\s+(@\\S+)\\s+(\\S+)`).exec(passwords) ?? []
    return { userId, password }
  }
  return {
    url,
    dataDir,
    process: child,
    owner: options.accounts?.owner ?? account('you'),
    administrator: options.accounts?.administrator ?? account('administrator'),
    startMs,
    printed: () => printed,
    memoryMb: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill(signal)
      await gone
      if (!options.dataDir) rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** One that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function firstAnswer(url: string, child: ChildProcess, started: number): Promise<number> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`)
    try {
      const reply = await fetch(`${url}/_matrix/client/versions`)
      await reply.text()
      return performance.now() - started
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}
