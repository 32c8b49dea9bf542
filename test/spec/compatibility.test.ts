/** docs/compatibility.md promises: each of its rows names a test, and that test exists. */
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { readFeatures, readRows } from './compatibility.ts'

/** Titles as they stand in the sources of the tests. */
const titles = new Set(
  globSync('test/**/*.ts')
    .flatMap((file) => [...readFileSync(file, 'utf8').matchAll(/\b(?:test|it|describe)\(\s*(['"`])((?:\\.|(?!\1).)*)\1/g)])
    .map(([, , title]) => title!.replaceAll(/\\(.)/g, '$1')),
)

test('every row of docs/compatibility.md names a test that exists', () => {
  const all = readRows()
  assert.ok(all.length > 140, `${all.length} rows`)
  const missing = all.filter(({ shown }) => {
    const path = /^`(test\/[^`]+)`$/.exec(shown)?.[1]
    return path ? !existsSync(path) : !titles.has(shown)
  })
  assert.deepEqual(missing, [])
})

test('every row of docs/compatibility.md has one of three states, and no row stands there twice', () => {
  const all = readFeatures()
  assert.deepEqual(
    all.filter(({ state }) => !/^(works|answers|planned)\b/.test(state)),
    [],
  )
  const whats = all.map(({ what }) => what)
  assert.deepEqual(
    whats.filter((what, index) => whats.indexOf(what) !== index),
    [],
  )
})
