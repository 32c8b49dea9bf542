/** docs/compatibility.md promises: each of its rows names a test, and that test exists. */
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

const sources = globSync('test/**/*.{test.ts,ts,py,go}')
  .map((file) => readFileSync(file, 'utf8'))
  .join('\n')
  .replaceAll("\\'", "'")

interface Row {
  readonly what: string
  readonly state: string
  readonly shown: string
}

/** Rows of the tables with the columns what, state and test. */
function rows(): Row[] {
  const found: Row[] = []
  let inTable = false
  for (const line of readFileSync('docs/compatibility.md', 'utf8').split('\n')) {
    const cells = line.startsWith('|')
      ? line
          .slice(1, -1)
          .split(/(?<!\\)\|/)
          .map((cell) => cell.trim().replaceAll('\\|', '|'))
      : []
    if (cells.length < 3) inTable = false
    else if (cells.at(-1) === 'Test') inTable = true
    else if (inTable && !/^-+$/.test(cells[0]!)) found.push({ what: cells[0]!, state: cells.at(-2)!, shown: cells.at(-1)! })
  }
  return found
}

test('every row of docs/compatibility.md names a test that exists', () => {
  const all = rows()
  assert.ok(all.length > 140, `${all.length} rows`)
  const missing = all.filter(({ shown }) => {
    const path = /^`(test\/[^`]+)`$/.exec(shown)?.[1]
    return path ? !existsSync(path) : !sources.includes(shown)
  })
  assert.deepEqual(missing, [])
})
