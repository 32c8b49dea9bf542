/** PostgreSQL refuses what SQLite takes: NUL, lone surrogates, keys that are too long. A shorter run of the same cases. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { testPostgres } from '../rig/postgres.ts'
import { Fuzz, nameOf, operations, printed, sample } from './fuzz.ts'

const perOperation = Number(process.env['FUZZ_CASES'] ?? 30)
const seed = Number(process.env['FUZZ_SEED'] ?? 2)

const postgres = await testPostgres().catch((error: Error) => {
  if (process.env['CI'] === 'true') throw error
  return null
})

describe(`${perOperation} requests to each operation, PostgreSQL, seed ${seed}`, {
  skip: postgres === null && 'there is no PostgreSQL',
}, () => {
  let fuzz: Fuzz
  before(async () => {
    fuzz = await Fuzz.open(await postgres!.database('natural'))
  })
  after(() => fuzz[Symbol.asyncDispose]())

  for (const operation of operations) {
    test(nameOf(operation), async () => {
      await fuzz.renew()
      const { finds } = await fuzz.run(sample(fuzz.casesOf(operation), perOperation, seed))
      assert.ok(finds.length === 0, `${finds.length} finds\n${finds.slice(0, 3).map(printed).join('\n\n')}`)
    })
  }

  test('afterwards the server works and the other homeserver is as it was', async () => {
    assert.deepEqual(await fuzz.check(), [])
  })
})
