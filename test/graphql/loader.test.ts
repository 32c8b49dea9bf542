import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Context } from '../../src/graphql/context.ts'
import { loader } from '../../src/graphql/loader.ts'

test('what one request asks for one by one is loaded at once, each key once, and forgotten with the request', async () => {
  const calls: (readonly string[])[] = []
  const load = loader(async (_: Context, keys: readonly string[]) => {
    calls.push(keys)
    return keys.map((key) => key.toUpperCase())
  })
  const [one, other] = [{}, {}] as [Context, Context]
  assert.deepEqual(await Promise.all([load(one, 'a'), load(one, 'b'), load(one, 'a'), load(other, 'a')]), ['A', 'B', 'A', 'A'])
  assert.equal(await load(one, 'a'), 'A')
  assert.equal(await load(one, 'c'), 'C')
  assert.deepEqual(calls, [['a', 'b'], ['a'], ['c']])
})

test('a failed load fails all who asked', async () => {
  const load = loader(async (_: Context, __: readonly number[]): Promise<number[]> => {
    throw new Error('no')
  })
  const context = {} as Context
  const results = await Promise.allSettled([load(context, 1), load(context, 2)])
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
})
