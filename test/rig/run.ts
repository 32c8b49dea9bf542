/**
 * The runner behind `npm test` and `npm run test:peers`: a process per test file, two at a time, times by part, and at the end the sum
 * of all tests alone on a line. Other arguments choose files by a piece of their name: `npm test -- rooms/ sync`. With `--full`, tests that
 * have a long form run in it.
 */
import { spawn } from 'node:child_process'
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import type { TestResult } from './reporter.ts'

interface FileResult {
  file: string
  tests: TestResult[]
  output: string
  seconds: number
}

const root = join(import.meta.dirname, '..', '..')
const workers = 2
/** Of one test, unless it names its own `timeout`; such a long one prints how far it is. */
const testMs = 60_000
/** Nothing printed and no test ended: something was left open. */
const quietMs = 2 * 60_000
/** Need Go, Python or Chromium, which npm's registry does not bring, or follow clients with encryption through all that they do. */
const peerFolders = ['test/interop/go/', 'test/interop/python/', 'test/interop/chromium/', 'test/interop/js-sdk/encryption']
/** Long ones start first, so that no worker is left alone with one at the end. */
const longFolders = ['test/kill/', 'test/interop/']

const given = process.argv.slice(2)
const peers = given.includes('peers')
const full = given.includes('--full')
const pieces = given.filter((word) => word !== 'peers' && word !== '--full')
if (full) process.env['FULL'] = 'true'
/** Of a file. */
const limitMs = (full ? 60 : 6) * 60_000
const failOnSkip = peers && process.env['CI'] === 'true'
const scratch = mkdtempSync(join(tmpdir(), 'hungryserv-run-'))
const running = new Set<number>()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
process.on('exit', () => {
  for (const pid of running) killGroup(pid)
  rmSync(scratch, { recursive: true, force: true })
})

const files = chooseFiles()
const record = join(root, 'dist', 'requests.jsonl')
if (!peers && pieces.length === 0) {
  // test/rig/record.ts notes every request of a whole run here; scripts/endpoints-doc.ts holds docs/endpoints.md against it.
  mkdirSync(join(root, 'dist'), { recursive: true })
  rmSync(record, { force: true })
  process.env['REQUEST_RECORD'] = record
}

const started = performance.now()
const results: FileResult[] = []
const queue = [...files]
await Promise.all(
  Array.from({ length: workers }, async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const result = await runFile(file)
      results.push(result)
      printFile(result)
    }
  }),
)
printParts()
const failed = count(results, 'failed') + (files.length === 0 && pieces.length > 0 ? 1 : 0)
if (files.length === 0) process.stdout.write(`No test file matches${pieces.map((piece) => ` "${piece}"`).join('')}.\n`)
process.stdout.write(`${count(results, 'passed')} passed, ${failed} failed, ${count(results, 'skipped')} skipped\n`)
process.exitCode = failed > 0 ? 1 : 0

function chooseFiles(): string[] {
  const isPeer = (file: string) => peerFolders.some((folder) => file.startsWith(folder))
  const isLong = (file: string) => Number(longFolders.some((folder) => file.startsWith(folder)))
  return globSync('test/**/*.test.ts', { cwd: root })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => isPeer(file) === peers && (pieces.length === 0 || pieces.some((piece) => file.includes(piece))))
    .sort((a, b) => isLong(b) - isLong(a) || a.localeCompare(b))
}

function runFile(file: string): Promise<FileResult> {
  const report = join(scratch, file.replaceAll('/', '-'))
  const reporter = ['--test-reporter', join(import.meta.dirname, 'reporter.ts'), '--test-reporter-destination', report]
  const recorder = process.env['REQUEST_RECORD'] ? ['--import', pathToFileURL(join(import.meta.dirname, 'record.ts')).href] : []
  // matrix-js-sdk leaves timers behind when its client has stopped.
  const forced = file.startsWith('test/interop/') ? ['--test-force-exit'] : []
  const begun = performance.now()
  let output = ''
  // A group of its own: whatever a test leaves running ends with it.
  const child = spawn(
    process.execPath,
    [...process.execArgv, `--test-timeout=${testMs}`, ...forced, ...reporter, ...recorder, join(root, file)],
    {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  const pid = child.pid ?? 0
  running.add(pid)
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-20_000)))
  let stopped = ''
  let heard = ''
  let heardAt = begun
  const watch = setInterval(() => {
    const now = performance.now()
    const state = `${statSync(report, { throwIfNoEntry: false })?.size} ${output.length} ${output.slice(-100)}`
    if (state !== heard) heardAt = now
    heard = state
    if (now - begun > limitMs) stopped = `did not end within ${limitMs / 60_000} minutes`
    else if (now - heardAt > quietMs) stopped = `was silent for ${quietMs / 60_000} minutes: a test hangs or left something open`
    if (stopped) killGroup(pid)
  }, 1_000)
  return new Promise((resolve) => {
    child.on('error', (error) => (output += error.message))
    child.on('exit', (code, signal) => {
      clearInterval(watch)
      killGroup(pid)
      running.delete(pid)
      // Its output ends with 'close', which a process that left the group can hold up.
      const closed = Promise.race([new Promise((close) => child.once('close', close)), sleep(1_000)])
      void closed.then(() => finish(code, signal))
    })
    const finish = (code: number | null, signal: string | null) => {
      const tests = readReport(report)
      const fail = (reason: string) => tests.push({ name: '(the file)', result: 'failed', reason })
      if (stopped) fail(stopped)
      else if (code !== 0 && !tests.some((test) => test.result === 'failed')) fail(`ended with ${signal ?? `code ${code}`}`)
      else if (tests.length === 0) fail('has no tests')
      if (failOnSkip) for (const test of tests) if (test.result === 'skipped') test.result = 'failed'
      resolve({ file, tests, output, seconds: (performance.now() - begun) / 1000 })
    }
  })
}

function readReport(path: string): TestResult[] {
  try {
    const lines = readFileSync(path, 'utf8').split('\n')
    return lines.filter((line) => line.endsWith('}')).map((line) => JSON.parse(line) as TestResult)
  } catch {
    return [] // the file crashed before it reported anything
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // already gone
  }
}

function count(of: FileResult[], result: TestResult['result']): number {
  return of.reduce((sum, { tests }) => sum + tests.filter((test) => test.result === result).length, 0)
}

function summary(of: FileResult[]): string {
  const counts = (['passed', 'failed', 'skipped'] as const).map((result) => [count(of, result), result] as const)
  return counts.flatMap(([n, result]) => (n > 0 ? [`${n} ${result}`] : [])).join(', ')
}

function printFile(result: FileResult): void {
  const lines = [`${result.seconds.toFixed(1).padStart(7)} s  ${result.file}: ${summary([result])}`]
  for (const test of result.tests) {
    if (test.result === 'skipped') lines.push(`           skipped: ${test.name}${test.reason ? `: ${test.reason}` : ''}`)
    if (test.result === 'failed') lines.push(`    FAILED ${test.name}`, indent(test.reason ?? ''))
  }
  if (count([result], 'failed') > 0 && result.output.trim()) lines.push(indent(`its output:\n${result.output.trim()}`))
  process.stdout.write(`${lines.join('\n')}\n`)
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '           ')
}

function printParts(): void {
  const parts = Map.groupBy(results, ({ file }) =>
    file
      .split('/')
      .slice(0, file.startsWith('test/interop/') ? 3 : 2)
      .join('/'),
  )
  process.stdout.write('\nTime by part\n')
  for (const [part, of] of [...parts].sort(([a], [b]) => a.localeCompare(b))) {
    const seconds = of.reduce((sum, result) => sum + result.seconds, 0)
    process.stdout.write(`${seconds.toFixed(1).padStart(7)} s  ${part}: ${summary(of)}\n`)
  }
  process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  in all\n`)
}
