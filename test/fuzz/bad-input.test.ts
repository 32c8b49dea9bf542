/** Whatever comes in: an error of the specification or an answer, nothing half done, and nobody else's homeserver touched. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Fuzz, nameOf, operations, printed, sample } from './fuzz.ts'

const perOperation = Number(process.env['FUZZ_CASES'] ?? 200)
const seed = Number(process.env['FUZZ_SEED'] ?? 1)

let fuzz: Fuzz
before(async () => {
  fuzz = await Fuzz.open()
})
after(() => fuzz[Symbol.asyncDispose]())

describe(`${perOperation} requests to each operation, seed ${seed}`, () => {
  for (const [index, operation] of operations.entries()) {
    test(nameOf(operation), async () => {
      await fuzz.renew()
      const { finds, refused } = await fuzz.run(sample(fuzz.casesOf(operation), perOperation, seed))
      assert.ok(finds.length === 0, `${finds.length} finds\n${finds.slice(0, 3).map(printed).join('\n\n')}`)
      // Asked once more, so a part of them is enough here; npm run fuzz asks all.
      const guilty = await fuzz.refusedWrite(refused.filter((_, n) => n % 5 === 0))
      assert.ok(guilty.length === 0, `refused, and wrote all the same: ${JSON.stringify(guilty.slice(0, 3), null, 1)}`)
      if (index === 20) fuzz.measureStart()
    })
  }
})

test('afterwards the server works, the other homeserver is as it was, and the memory is free again', async () => {
  assert.deepEqual(await fuzz.check(), [])
  const grown = fuzz.grownBytes() / 1_048_576
  assert.ok(grown < 100, `${grown.toFixed(1)} MiB of heap were kept`)
})
