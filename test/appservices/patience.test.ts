import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import { longestWaitMs, Patience, settleMs } from '../../src/appservices/patience.ts'

/** A clock that stands until it is moved; `random` gives the same byte again and again. */
function clock(byte: number) {
  let now = 1_000_000
  const timers = new Set<{ at: number; run: () => void }>()
  return {
    timers,
    move(ms: number) {
      now += ms
      for (const timer of [...timers]) {
        if (timer.at > now) continue
        timers.delete(timer)
        timer.run()
      }
    },
    ports: {
      now: () => now,
      random: (bytes: number) => Buffer.alloc(bytes, byte),
      timer(delayMs: number, run: () => void) {
        const timer = { at: now + delayMs, run }
        timers.add(timer)
        return () => void timers.delete(timer)
      },
      log: pino({ level: 'silent' }),
    },
    delays: () => [...timers].map(({ at }) => at - now),
  }
}

test('waits double up to 30 s, less up to half by chance', async () => {
  for (const [byte, factor] of [
    [0, 1],
    [255, 0.5],
  ] as const) {
    const { ports, move, delays } = clock(byte)
    const patience = new Patience(ports)
    const waits: number[] = []
    for (let i = 0; i < 9; i++) {
      const wait = patience.afterFailure('status')
      waits.push(Math.round(delays()[0]!))
      move(longestWaitMs)
      await wait
    }
    assert.deepEqual(
      waits,
      [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000].map((ms) => ms * factor),
    )
    patience.success()
    void patience.afterFailure('status')
    assert.equal(Math.round(delays()[0]!), 500 * factor)
  }
})

test('a sign of life ends the wait after a failure to connect when the bridge has settled, at most once a second and never in vain', async () => {
  const { ports, move, timers } = clock(0)
  const patience = new Patience(ports)
  const ended: string[] = []
  const fail = (name: string, why: 'connection' | 'status' | 'timeout' = 'connection') =>
    patience.afterFailure(why).then(() => ended.push(name))
  for (let i = 0; i < 6; i++) {
    void patience.afterFailure('status')
    move(longestWaitMs)
    await turn()
  }
  void fail('first')
  patience.signOfLife()
  move(settleMs - 1)
  patience.signOfLife()
  await turn()
  assert.deepEqual(ended, [])
  move(1)
  await turn()
  assert.deepEqual(ended, ['first'])
  void fail('second')
  for (let i = 0; i < 10; i++) patience.signOfLife()
  await turn()
  assert.deepEqual(ended, ['first'])
  move(1_000)
  await turn()
  assert.deepEqual(ended, ['first', 'second'])
  assert.equal(timers.size, 0)
  patience.success()
  // The timer would fire within the time that a bridge needs from its first request to its logins.
  void fail('due soon')
  move(400)
  patience.signOfLife()
  move(100)
  await turn()
  assert.equal(ended.length, 2)
  move(1_000)
  await turn()
  assert.equal(ended.pop(), 'due soon')
  // It answers, so it lives: what failed is not for want of that.
  void fail('third', 'status')
  patience.signOfLife()
  move(settleMs)
  await turn()
  assert.deepEqual(ended, ['first', 'second'])
})

test('what is heard between looking and waiting is not missed', async () => {
  const patience = new Patience(clock(0).ports)
  patience.begin()
  patience.wake()
  await patience.untilWoken()
  patience.begin()
  let woken = false
  const wait = patience.untilWoken().then(() => (woken = true))
  await turn()
  assert.equal(woken, false)
  patience.wake()
  await wait
})

test('new events do not shorten the wait after a failure, a changed registration does', async () => {
  const patience = new Patience(clock(0).ports)
  let over = false
  const wait = patience.afterFailure('status').then(() => (over = true))
  patience.wake()
  await turn()
  assert.equal(over, false)
  patience.end()
  await wait
})
