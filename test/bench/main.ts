/**
 * `npm run bench`: the rows of the targets (ARCHITECTURE.md) that exist. Load comes from this process, the server runs in another one with FULL
 * durability. Five interleaved rounds; median and spread. Beside each row the bare floor of the same run: the ratio is what counts.
 */
import { spawn } from 'node:child_process'
import { bridgeRows } from './bridge-rows.ts'
import { closeKeyed, encryptionRows } from './encryption-rows.ts'
import { driverFloor } from './floors.ts'
import { Load, median } from './load.ts'
import { closeGrown, type Measured, type Row, rows, type World } from './rows.ts'
import { startProcess } from './server-process.ts'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5)
const only = process.argv.slice(2)

const server = await startProcess()
const floorPort = 19_000 + Math.floor(Math.random() * 900)
const floorProcess = spawn(process.execPath, ['test/bench/floors.ts', String(floorPort)], { stdio: 'inherit' })
const load = new Load(server.url)
const floorLoad = new Load(`http://127.0.0.1:${floorPort}`)
try {
  const login = await load.request('POST', '/_matrix/client/v3/login', '', {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: server.owner.userId },
    password: server.owner.password,
  })
  const world: World = { server, load, floorLoad, driverFloor, token: login['access_token'] as string, ownerId: server.owner.userId }
  const chosen = [...rows, ...bridgeRows, ...encryptionRows].filter(
    (row) => only.length === 0 || only.some((word) => row.name.includes(word)),
  )
  const results = new Map<Row, Measured[]>()
  for (let round = 0; round < rounds; round++) {
    for (const row of chosen) {
      if (row.once && round > 0) continue
      const measured = await row.measure(world, round)
      results.set(row, [...(results.get(row) ?? []), measured])
      process.stderr.write(`round ${round + 1} ${row.name}: ${format(measured.value)} ${row.unit}\n`)
    }
  }
  print(results)
} finally {
  await closeGrown()
  await closeKeyed()
  await load.close()
  await floorLoad.close()
  floorProcess.kill()
  await server.stop()
}

function print(results: ReadonlyMap<Row, readonly Measured[]>): void {
  const lines = [['measure', 'median', 'min–max', 'unit', 'target', 'floor', 'of floor']]
  for (const [row, measured] of results) {
    const values = measured.map((each) => each.value)
    const floors = measured.flatMap((each) => each.floor ?? [])
    const ratios = measured.flatMap((each) => (each.floor === undefined ? [] : [each.value / each.floor]))
    lines.push([
      row.name,
      format(median(values)),
      `${format(Math.min(...values))}–${format(Math.max(...values))}`,
      row.unit,
      verdict(row, median(values)),
      floors.length > 0 ? format(median(floors)) : '',
      ratios.length > 0 ? format(median(ratios)) : '',
    ])
  }
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  for (const line of lines) process.stdout.write(`${line.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')}\n`)
}

function verdict({ target, higherIsBetter }: Row, value: number): string {
  if (target === null) return ''
  return `${higherIsBetter ? '≥' : '≤'} ${target} ${(higherIsBetter ? value >= target : value <= target) ? 'reached' : 'MISSED'}`
}

function format(value: number): string {
  return value >= 100 ? Math.round(value).toString() : value.toPrecision(3)
}
