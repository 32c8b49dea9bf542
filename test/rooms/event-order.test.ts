// com.beeper.hs.order, .suborder and .order_string, by which Beeper's clients sort.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { orderString } from '../../src/rooms/event-json.ts'
import { startServer } from '../rig/server.ts'

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUV'

/** As a client reads it. */
function decode(text: string): [bigint, number] {
  let bits = 0n
  for (const digit of text) bits = bits * 32n + BigInt(digits.indexOf(digit))
  return [BigInt.asIntN(64, (bits >> 16n) ^ (1n << 63n)), Number(BigInt.asIntN(16, (bits & 0xffffn) ^ (1n << 15n)))]
}

const anyOrder = fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER })

test('an order string holds the order exactly, below zero too', () => {
  assert.equal(orderString(0), 'G000000000001000')
  assert.equal(orderString(-1), 'FVVVVVVVVVVVV000')
  fc.assert(fc.property(anyOrder, (order) => assert.deepEqual(decode(orderString(order)), [BigInt(order), 0])))
})

test('order strings sort as their orders do', () => {
  fc.assert(fc.property(anyOrder, anyOrder, (a, b) => assert.equal(orderString(a) < orderString(b), a < b)))
})

test('every event that a client reads carries its order, in sync, messages, context, state and alone', async () => {
  await using server = await startServer()
  const { owner } = server
  const roomId = await owner.createRoom()
  const room = `/rooms/${encodeURIComponent(roomId)}`
  const eventId = await owner.send(roomId, 'hi')
  const read = async (path: string) => (await owner.get(room + path)).body
  const { join } = (await owner.sync()).rooms
  const events = [
    ...join[roomId].timeline.events,
    ...(await read('/messages?dir=b')).chunk,
    (await read(`/context/${encodeURIComponent(eventId)}`)).event,
    ...(await read('/state')),
    await read(`/event/${encodeURIComponent(eventId)}`),
  ]
  assert.ok(events.length > 10)
  for (const { unsigned } of events) {
    const order = unsigned['com.beeper.hs.order']
    assert.ok(Number.isSafeInteger(order) && order > 0)
    assert.equal(unsigned['com.beeper.hs.suborder'], 0)
    assert.equal(unsigned['com.beeper.hs.order_string'], orderString(order))
  }
})
