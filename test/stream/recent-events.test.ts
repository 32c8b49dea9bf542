import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { EventRow } from '../../src/storage/tables.ts'
import { RecentEvents } from '../../src/stream/recent-events.ts'

function row(room: number, order: number, json = 'x'.repeat(10)): EventRow {
  return { room, order, json } as EventRow
}

test('what is remembered of a room is what the database would answer, or nothing', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ room: fc.integer({ min: 1, max: 3 }), size: fc.integer({ min: 1, max: 30_000 }), again: fc.boolean() }), {
        maxLength: 400,
      }),
      fc.array(
        fc.record({
          room: fc.integer({ min: 1, max: 3 }),
          after: fc.option(fc.integer({ min: 100, max: 520 })),
          until: fc.integer({ min: 100, max: 520 }),
          limit: fc.integer({ min: 1, max: 20 }),
        }),
        { minLength: 20, maxLength: 20 },
      ),
      (writes, reads) => {
        const recent = new RecentEvents(100)
        // Events from before this start, which only the database knows.
        const stored = [row(1, 50), row(2, 60), row(3, 70)]
        let position = 100
        for (const { room, size, again } of writes) {
          const old = stored.findIndex((event) => event.room === room && event.order > 50)
          if (again && old >= 0) {
            stored[old] = row(room, stored[old]!.order, 'redacted')
            recent.published(stored[old])
          } else {
            stored.push(row(room, ++position, 'x'.repeat(size)))
            recent.published(stored.at(-1)!)
          }
        }
        for (const { room, after, until, limit } of reads) {
          const answer = recent.last(room, { after, until, limit })
          if (answer === null) continue
          const inRange = stored.filter((event) => event.room === room && event.order > (after ?? 0) && event.order <= until)
          assert.deepEqual(answer, inRange.sort((a, b) => a.order - b.order).slice(-limit))
        }
      },
    ),
  )
})

test('the newest events are remembered until there are too many', () => {
  const recent = new RecentEvents(0)
  for (let order = 1; order <= 300; order++) recent.published(row(1, order))
  assert.equal(recent.last(1, { after: 290, until: 300, limit: 100 })?.length, 10)
  assert.deepEqual(recent.last(2, { after: 290, until: 300, limit: 100 }), [])
  assert.equal(recent.last(1, { after: 10, until: 300, limit: 300 }), null)
  assert.equal(recent.last(1, { after: null, until: 300, limit: 1 })?.[0]?.order, 300)
  assert.equal(recent.last(2, { after: null, until: 300, limit: 1 }), null)
})

test('a few large events push the others out', () => {
  const recent = new RecentEvents(0)
  for (let order = 1; order <= 4; order++) recent.published(row(order, order, 'x'.repeat(60_000)))
  assert.equal(recent.last(1, { after: 0, until: 4, limit: 1 }), null)
  assert.equal(recent.last(4, { after: 3, until: 4, limit: 1 })?.length, 1)
})
