import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ChangeSet } from '../../src/storage/change-set.ts'
import { fold, refusal, type TableChanges } from '../../src/storage/fold.ts'
import { tables } from '../../src/storage/tables.ts'
import { change, event, notification, onBothEngines, room } from './engines.ts'

test('the last row written under a key wins, and a later removal wins over it', () => {
  const first = change(1, (c) => c.put('room', room(1, 5, { version: '9' })))
  const second = change(1, (c) => {
    c.put('room', room(1, 5, { version: '10' }))
    c.remove('room', { instance: 1, key: 5 })
    c.put('room', room(1, 5, { version: '11' }))
    c.put('room', room(1, 6))
    c.remove('room', { instance: 1, key: 6 })
  })
  const { changes, rows } = fold([first, second])
  assert.equal(rows, 2)
  assert.equal(changes.length, 1)
  const [only] = changes
  assert.equal(only?.puts, 1)
  assert.equal(only?.removals, 1)
  assert.deepEqual(only?.removed, [[1], [6]])
  assert.deepEqual(only?.put[Object.keys(tables.room.columns).indexOf('version')], ['11'])
})

test('a removal by range closes the fold only when a row in it can be meant', () => {
  const put = (user: number, order: number) => change(1, (c) => c.put('notification', notification(1, user, 7, order)))
  const clear = (user: number) => change(1, (c) => c.removeRange('notifications', { user, room: 7, upTo: 100 }))
  assert.equal(fold([put(1, 1), clear(2), put(2, 2)]).changes.length, 1)
  const closed = fold([put(1, 1), clear(1), put(1, 2)]).changes
  assert.deepEqual(
    closed.map(({ ranges, puts }) => [ranges.length, puts]),
    [
      [0, 1],
      [1, 1],
    ],
  )
})

test('another table does not wait for a removal by range', () => {
  const both = change(1, (c) => {
    c.put('notification', notification(1, 1, 7, 1))
    c.put('event', event(1, 7, 1))
    c.removeRange('notifications', { user: 1, room: 7, upTo: 1 })
    c.put('event', event(1, 7, 2))
  })
  assert.deepEqual(
    fold([both]).changes.map(({ table, puts }) => `${table} ${puts}`),
    ['notification 1', 'notification 0', 'event 2'],
  )
})

test('a row of another instance, a missing column and a number that is no integer are refused', () => {
  const refused = (fill: (c: ChangeSet) => void) => assert.ok(refusal(change(1, fill), false) instanceof TypeError)
  refused((c) => c.put('room', room(2, 5)))
  refused((c) => c.remove('room', { instance: 2, key: 5 }))
  refused((c) => c.put('room', room(1, 1.5)))
  refused((c) => c.put('room', room(1, 2 ** 53)))
  refused((c) => c.put('room', { ...room(1, 1), version: undefined as never }))
  refused((c) => c.put('instance', { key: 2, name: 'x', owner: '', userDomain: '', bridgeDomain: '', status: '', createdAt: 1 }))
  const good = change(1, (c) => c.put('room', room(1, 5)))
  assert.equal(refusal(good, false), null)
})

type Step = { kind: 'put' | 'remove' | 'range'; user: number; order: number; thread: string; highlight: number; everyThread: boolean }
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('put', 'put', 'remove', 'range'),
  user: fc.integer({ min: 1, max: 2 }),
  order: fc.integer({ min: 1, max: 4 }),
  thread: fc.constantFrom('', '$a'),
  highlight: fc.integer({ min: 0, max: 1 }),
  everyThread: fc.boolean(),
})
type Model = Map<string, ReturnType<typeof notification>>

function asChanges(steps: readonly Step[]): ChangeSet[] {
  return steps.map(({ kind, user, order, thread, highlight, everyThread }) =>
    change(1, (c) => {
      if (kind === 'put') c.put('notification', notification(1, user, 7, order, thread, highlight))
      else if (kind === 'remove') c.remove('notification', { instance: 1, user, room: 7, order })
      else c.removeRange('notifications', everyThread ? { user, room: 7, upTo: order } : { user, room: 7, upTo: order, thread })
    }),
  )
}

function play(model: Model, steps: readonly Step[]): void {
  for (const { kind, user, order, thread, highlight, everyThread } of steps) {
    if (kind === 'put') model.set(`${user} ${order}`, notification(1, user, 7, order, thread, highlight))
    else if (kind === 'remove') model.delete(`${user} ${order}`)
    else {
      for (const [key, row] of model) {
        if (row.user === user && row.order <= order && (everyThread || row.thread === thread)) model.delete(key)
      }
    }
  }
}

function apply(model: Model, { ranges, removed, removals, put, puts }: TableChanges): void {
  for (const { arguments: given } of ranges) {
    const { user, upTo, thread } = given as { user: number; upTo: number; thread?: string }
    for (const [key, row] of model)
      if (row.user === user && row.order <= upTo && (thread === undefined || row.thread === thread)) model.delete(key)
  }
  for (let i = 0; i < removals; i++) model.delete(`${removed[1]?.[i]} ${removed[3]?.[i]}`)
  for (let i = 0; i < puts; i++) {
    const [, user, , order, thread, highlight] = put.map((column) => column[i]) as [number, number, number, number, string, number]
    model.set(`${user} ${order}`, notification(1, user, 7, order, thread, highlight))
  }
}

const byKey = (model: Model) => [...model.entries()].sort(([a], [b]) => (a < b ? -1 : 1))

test('folded or one by one, the rows are the same', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), fc.array(step, { maxLength: 25 }), (before, steps) => {
      const expected: Model = new Map()
      play(expected, before)
      const folded: Model = new Map(expected)
      play(expected, steps)
      const { changes } = fold(asChanges(steps))
      for (const one of changes) {
        const keys = Array.from({ length: one.puts }, (_, i) => one.put.slice(0, 4).map((column) => column[i]))
        assert.equal(new Set(keys.map(String)).size, keys.length, 'a key twice in one upsert')
        apply(folded, one)
      }
      assert.deepEqual(byKey(folded), byKey(expected))
    }),
    { numRuns: 1_000 },
  )
})

await onBothEngines('folding', (place) => {
  test('what a database holds after a folded batch is what one by one would have left', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    await shard.open(1)
    const expected: Model = new Map()
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        play(expected, steps)
        await Promise.all(asChanges(steps).map((one) => shard.enqueue(one, () => undefined)))
        const rows = await shard.storage(1).find('notification', { where: {} })
        assert.deepEqual(byKey(new Map(rows.map((row) => [`${row.user} ${row.order}`, row]))), byKey(expected))
      }),
      { numRuns: 60, endOnFailure: true },
    )
  })
})
