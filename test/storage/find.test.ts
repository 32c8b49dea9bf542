import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { afterPrefix } from '../../src/storage/query.ts'
import type { Condition, Value } from '../../src/storage/storage.ts'
import type { Rows } from '../../src/storage/tables.ts'
import { change, nothing, onBothEngines, room, user } from './engines.ts'

type User = Rows['user']

/** Texts on which collations and UTF-16 disagree with code points. */
const text = fc.constantFrom(
  'a',
  'A',
  'ab',
  'a_b',
  'a%',
  'B',
  'b',
  'é',
  'z',
  '\ud7ff',
  '\ue000',
  '\uffff',
  '😀',
  '😀a',
  '"q"\\',
  "it's",
  '{x,y}',
  'NULL',
  '',
)
const number = fc.constantFrom(-5, -1, 0, 1, 2, 3, 2 ** 31, 2 ** 53 - 1)
const row: fc.Arbitrary<Pick<User, 'status' | 'displayName' | 'appservice' | 'position'>> = fc.record({
  status: text,
  displayName: fc.option(text),
  appservice: fc.option(number),
  position: number,
})
const onText: fc.Arbitrary<Condition> = fc.oneof(
  text,
  fc.constant(null),
  fc.record({ in: fc.array(fc.option(text), { maxLength: 3 }) }),
  fc.record({ not: fc.option(text) }),
  fc.record({ startsWith: text }),
  fc.record({ gt: text }),
)
const onNumber: fc.Arbitrary<Condition> = fc.oneof(
  number,
  fc.constant(null),
  fc.record({ in: fc.array(fc.option(number), { maxLength: 3 }) }),
  fc.record({ not: fc.option(number) }),
  fc.oneof(
    fc.record({ gt: number }),
    fc.record({ gte: number, lt: number }),
    fc.record({ lte: number }),
    fc.record({ gt: number, lte: number }),
  ),
)
const find = fc.record({
  where: fc.record({ status: onText, displayName: onText, appservice: onNumber, position: onNumber }, { requiredKeys: [] }),
  order: fc.constantFrom([], ['status'], ['-status'], ['-position', 'status'], ['position']),
  limit: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
  offset: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
})

function compare(a: Value, b: Value): number {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  return Number(a) - Number(b)
}

function fulfils(value: Value, condition: Condition): boolean {
  if (condition === null || typeof condition !== 'object') return value === condition
  if ('in' in condition) return condition.in.includes(value)
  if ('not' in condition) return value !== condition.not
  if (value === null) return false
  if ('startsWith' in condition) return String(value).startsWith(condition.startsWith)
  const { gt, gte, lt, lte } = condition
  const at = Number(value)
  return (
    (gt === undefined || compare(value, gt) > 0) &&
    (gte === undefined || at >= gte) &&
    (lt === undefined || at < lt) &&
    (lte === undefined || at <= lte)
  )
}

test('the text behind a prefix skips surrogates and carries', () => {
  assert.equal(afterPrefix('ab'), 'ac')
  assert.equal(afterPrefix('a\ud7ff'), 'a\ue000')
  assert.equal(afterPrefix('a\u{10ffff}'), 'b')
  assert.equal(afterPrefix('\u{10ffff}'), null)
})

await onBothEngines('finding', (place) => {
  test('find answers what a filter over all rows would, in the same order', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    let instance = 0
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 12 }), fc.array(find, { minLength: 1, maxLength: 12 }), async (rows, finds) => {
        instance += 1
        await shard.open(instance)
        const users = rows.map((some, i) => user(instance, i + 1, some))
        const filling = change(instance, (c) => {
          for (const one of users) c.put('user', one)
        })
        await shard.enqueue(filling, nothing)
        const storage = shard.storage(instance)
        for (const { where, order, limit, offset } of finds) {
          // The key last, so that there is one right order.
          const orderBy = [...order, 'key'] as ('status' | 'key')[]
          const right = users
            .filter((one) =>
              Object.entries(where).every(([column, condition]) => fulfils(one[column as keyof User], condition as Condition)),
            )
            .sort((a, b) => {
              for (const by of orderBy) {
                const descending = by.startsWith('-')
                const column = (descending ? by.slice(1) : by) as keyof User
                const difference = compare(a[column], b[column])
                if (difference !== 0) return descending ? -difference : difference
              }
              return 0
            })
          const from = offset ?? 0
          const expected = right.slice(from, limit === undefined ? undefined : from + limit)
          const options = { where, orderBy, ...(limit !== undefined && { limit }), ...(offset !== undefined && { offset }) }
          assert.deepEqual(plain(await storage.find('user', options)), plain(expected))
          assert.equal(await storage.count('user', where), right.length)
        }
        await shard.release(instance)
      }),
      { numRuns: 60, endOnFailure: true },
    )
  })

  test('first finds by primary key and by unique index, or nothing', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    await shard.open(1)
    const filling = change(1, (c) => {
      c.put('room', room(1, 5))
    })
    await shard.enqueue(filling, nothing)
    const storage = shard.storage(1)
    assert.deepEqual({ ...(await storage.first('room', { key: 5 })) }, room(1, 5))
    assert.equal((await storage.first('room', { roomId: '!5' }))?.key, 5)
    assert.equal(await storage.first('room', { key: 6 }), null)
  })

  test('the empty list is answered without a query, an undefined or foreign condition is refused', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    const storage = shard.storage(1)
    assert.deepEqual(await storage.find('room', { where: { key: { in: [] } } }), [])
    assert.equal(await storage.count('room', { key: { in: [] } }), 0)
    await assert.rejects(storage.find('room', { where: { key: undefined as never } }), TypeError)
    await assert.rejects(storage.find('room', { where: { key: {} } }), TypeError)
    await assert.rejects(storage.find('room', { where: { '1 = 1 OR "key"': 1 } as never }), TypeError)
    await assert.rejects(storage.find('room', { where: { instance: 2 } as never }), TypeError)
    await assert.rejects(storage.find('room', { where: {}, orderBy: ['key" --'] as never }), TypeError)
    await assert.rejects(storage.find('room', { where: { key: 0.5 } }), RangeError)
  })

  test('an instance never sees the rows of another one', async (t) => {
    const here = await place(t)
    const shard = await here.open()
    for (const instance of [1, 2]) {
      await shard.open(instance)
      const filling = change(instance, (c) => {
        c.put('room', room(instance, 5, { createdAt: instance }))
        c.put('secret', { hash: `hash${instance}`, kind: 'access', instance, user: 1, device: null, appservice: null, expiresAt: null })
        c.put('instance', {
          key: instance,
          name: `n${instance}`,
          owner: '@a:b',
          userDomain: 'b',
          bridgeDomain: 'b',
          status: 'active',
          createdAt: 1,
        })
      })
      await shard.enqueue(filling, nothing)
    }
    for (const instance of [1, 2]) {
      const storage = shard.storage(instance)
      assert.deepEqual(
        (await storage.find('room', { where: {} })).map((one) => one.createdAt),
        [instance],
      )
      assert.deepEqual(
        (await storage.find('secret', { where: {} })).map((one) => one.hash),
        [`hash${instance}`],
      )
      assert.equal(await storage.first('secret', { hash: `hash${3 - instance}` }), null)
      assert.deepEqual(
        (await storage.find('instance', { where: {} })).map((one) => one.name),
        [`n${instance}`],
      )
    }
    await assert.rejects(
      shard.enqueue(
        change(1, (c) => c.put('room', room(2, 6))),
        nothing,
      ),
      TypeError,
    )
    assert.equal((await shard.lookup('secret', { where: { hash: 'hash2' } }))[0]?.instance, 2)
  })
})

/** Rows without the prototypes that drivers give them. */
function plain(rows: readonly User[]): User[] {
  return rows.map((one) => ({ ...one }))
}
