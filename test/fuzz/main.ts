/**
 * `npm run fuzz`: many more requests than the tests send. Settings: FUZZ_REQUESTS (1 000 000), FUZZ_SEED (drawn and printed), FUZZ_MINUTES (no
 * limit), FUZZ_ONLY (a regular expression for operations), FUZZ_DATABASE (sqlite; postgresql starts one). A find is printed once, as an entry for regressions.test.ts; with one it ends with 1.
 */
import { testPostgres } from '../rig/postgres.ts'
import { type Find, Fuzz, nameOf, operations, printed, sample } from './fuzz.ts'

const requests = Number(process.env['FUZZ_REQUESTS'] ?? 1_000_000)
const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const minutes = Number(process.env['FUZZ_MINUTES'] ?? Number.POSITIVE_INFINITY)
const only = new RegExp(process.env['FUZZ_ONLY'] ?? '')
/** Of one operation at a time. */
const casesPerTurn = 50
/** A server takes so many, then comes a fresh one: what it gathered would slow down the rest. */
const requestsPerServer = 50_000
const mostGrownBytes = 150 * 1_048_576

/** A fresh one each time. */
const databaseUrl = async (): Promise<string | undefined> =>
  process.env['FUZZ_DATABASE'] === 'postgresql' ? (await testPostgres()).database('natural') : undefined

const chosen = operations.filter((operation) => only.test(nameOf(operation)))
const started = performance.now()
const seen = new Set<string>()
const print = (line: string) => process.stdout.write(`${line}\n`)

print(`seed ${seed}, ${requests} requests to ${chosen.length} operations`)
let sent = 0
for (let round = 0; sent < requests && !isLate(); ) {
  await using fuzz = await Fuzz.open(await databaseUrl())
  let measured = false
  while (fuzz.sent < requestsPerServer && sent + fuzz.sent < requests && !isLate()) {
    for (const [index, operation] of chosen.entries()) {
      if (isLate()) break
      await fuzz.renew()
      const { finds, refused } = await fuzz.run(sample(fuzz.casesOf(operation), casesPerTurn, seed + round * 1_009 + index))
      for (const find of finds) report(find)
      for (const guilty of await fuzz.refusedWrite(refused)) report({ case: guilty, what: 'refused, and wrote all the same', log: '' })
    }
    round++
    if (!measured) fuzz.measureStart()
    measured = true
  }
  for (const wrong of await fuzz.check()) tell(`at the end: ${wrong}`)
  const grown = fuzz.grownBytes()
  if (measured && grown > mostGrownBytes) tell(`${Math.round(grown / 1_048_576)} MiB of heap were kept`)
  sent += fuzz.sent
  const seconds = (performance.now() - started) / 1_000
  print(
    `${sent} requests in ${seconds.toFixed(0)} s (${Math.round(sent / seconds)}/s), ${seen.size} finds, heap +${Math.round(grown / 1_048_576)} MiB`,
  )
}
print(`seed ${seed}: ${seen.size} finds in ${sent} requests`)
process.exitCode = seen.size > 0 ? 1 : 0

function isLate(): boolean {
  return performance.now() - started > minutes * 60_000
}

/** The same mistake by the same way counts once. */
function report(find: Find): void {
  const place = /\\n {4}at [^\\]*?(src|shim)\/[^\\]*/.exec(find.log)?.[0] ?? find.case.operation
  const key = `${find.what.slice(0, 60)} ${place}`
  if (seen.has(key)) return
  seen.add(key)
  print(`\nFOUND ${printed(find)}\n`)
}

function tell(line: string): void {
  seen.add(line)
  print(`\nFOUND ${line}\n`)
}
