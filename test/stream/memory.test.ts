import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Memory } from '../../src/stream/memory.ts'

test('however large the texts of its rows are, alone or in lists, no more than 32 MB of them are kept', () => {
  const text = 'x'.repeat(1_000_000)
  for (const value of [{ json: text }, { content: text }, { authData: text }, { deviceData: text }, [{ json: text }, { authData: '' }]]) {
    const memory = new Memory(() => 1)
    for (let i = 0; i < 100; i++) {
      memory.set(`${i}`, value, 1)
      memory.evict()
      // What was used since the last time gets a second chance.
      memory.evict()
    }
    assert.ok(memory.size >= 25 && memory.size <= 33, `${memory.size} of ${Object.keys(value)}`)
  }
})
