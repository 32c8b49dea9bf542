import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { usualBodyBytes } from '../../shim/endpoint.ts'
import { readJson } from '../../shim/wire.ts'
import { flow, JsonText, writeJson } from '../../src/graphql/execute.ts'

const read = (text: string, strict: boolean) => readJson(Buffer.from(text), strict)

test('whatever JSON.parse takes is read the same, and strictly only without fractions', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.integer({ min: 0, max: 2 }), (value, space) => {
      const text = JSON.stringify(value, null, space)
      const parsed = JSON.parse(text)
      assert.deepEqual(read(text, false), parsed)
      const whole = numbersOf(parsed).every(Number.isSafeInteger)
      if (whole) assert.deepEqual(read(text, true), parsed)
      else assert.throws(() => read(text, true), { errcode: 'M_BAD_JSON' })
    }),
  )
})

test('so many values that the process would stand still for them are refused; a usual body never has as many', () => {
  for (const value of ['[]', '0', '""', '{}', '{"":0}']) {
    const list = (count: number) => `[${Array(count).fill(value).join()}]`
    for (const strict of [true, false]) {
      assert.throws(() => read(list(600_002), strict), { errcode: 'M_BAD_JSON' })
      assert.equal((read(list(299_999), strict) as unknown[]).length, 299_999)
    }
  }
  const full = `[${'0,'.repeat(524_286)}0]`
  assert.ok(full.length > usualBodyBytes - 10 && full.length <= usualBodyBytes)
  assert.equal((read(full, true) as unknown[]).length, 524_287)
})

test('a key given twice is found wherever it stands', () => {
  const key = fc.string()
  fc.assert(
    fc.property(fc.jsonValue(), key, key, (value, outer, twice) => {
      const name = JSON.stringify(twice)
      const whole = JSON.stringify(value, (_, each) => (typeof each === 'number' ? 1 : each))
      assert.throws(() => read(`{${JSON.stringify(outer)}:[{"x":${whole},${name}:1,${name}:2}]}`, true), { errcode: 'M_BAD_JSON' })
    }),
  )
})

test('nonsense is M_NOT_JSON, never something else', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', '1', '-', 'e', '.', 'a', ' ') }), (text) => {
      let parsed = true
      try {
        JSON.parse(text)
      } catch {
        parsed = false
      }
      for (const strict of [true, false]) {
        try {
          read(text, strict)
          assert.ok(parsed)
        } catch (error) {
          assert.match(String((error as { errcode?: string }).errcode), parsed ? /M_BAD_JSON/ : /M_NOT_JSON|M_BAD_JSON/)
        }
      }
    }),
    { numRuns: 2_000 },
  )
})

test('what is written reads back, stored text included', async () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (value, stored) => {
      const text = writeJson({ value, list: [new JsonText(JSON.stringify(stored)), value], absent: undefined })
      assert.deepEqual(JSON.parse(text as string), JSON.parse(JSON.stringify({ value, list: [stored, value] })))
    }),
  )
  const pieces = writeJson({
    a: new JsonText(
      (async function* () {
        yield '[1,'
        yield '2]'
      })(),
    ),
    b: 1,
  })
  let text = ''
  for await (const chunk of flow(pieces as Exclude<typeof pieces, string>)) text += chunk
  assert.equal(text, '{"a":[1,2],"b":1}')
})

function numbersOf(value: unknown): number[] {
  if (typeof value === 'number') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(numbersOf) : []
}
