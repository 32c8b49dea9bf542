import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Admission, mostAtWork, type Release } from '../../shim/admission.ts'
import { CommitWaits } from '../../src/stream/commit-waits.ts'

const never = () => new AbortController().signal

test('lines are served in turn, each in its order', async () => {
  const admission = new Admission()
  const order: string[] = []
  const places: Release[] = []
  const enter = (line: object, name: string) =>
    admission.enter(line, never).then((release) => {
      order.push(name)
      places.push(release)
    })
  const [flood, quiet] = [{}, {}]
  for (let i = 0; i < mostAtWork; i++) await Promise.all([enter(flood, ''), enter(quiet, '')])
  const waiting = [
    ...Array.from({ length: 3 }, (_, i) => enter(flood, `flood ${i}`)),
    ...Array.from({ length: 2 }, (_, i) => enter(quiet, `quiet ${i}`)),
  ]
  await turn()
  order.length = 0
  for (const release of places.splice(0)) release()
  await Promise.all(waiting)
  assert.deepEqual(
    order.filter((name) => name.startsWith('flood')),
    ['flood 0', 'flood 1', 'flood 2'],
  )
  assert.ok(order.indexOf('quiet 0') <= 1, order.join())
})

test('who waits for a commit leaves the place to the next, and takes no second one when it is done', async () => {
  const admission = new Admission()
  const owner = { commits: new CommitWaits() }
  const places = await Promise.all(Array.from({ length: mostAtWork }, () => admission.enter(owner, never)))
  let entered = 0
  for (let i = 0; i < 3; i++) void admission.enter(owner, never).then(() => entered++)
  await turn()
  assert.equal(entered, 0)
  const commit = Promise.withResolvers<void>()
  const waits = [owner.commits.until(commit.promise), owner.commits.until(commit.promise)]
  await turn()
  await turn()
  assert.equal(entered, 2)
  commit.resolve()
  await Promise.all(waits)
  // Two more at work than there are places: the first two that leave make no room.
  places[0]!()
  places[1]!()
  await turn()
  assert.equal(entered, 2)
  places[2]!()
  await turn()
  assert.equal(entered, 3)
})

test('a place given back twice counts once', async () => {
  const admission = new Admission()
  const line = {}
  const places = await Promise.all(Array.from({ length: mostAtWork }, () => admission.enter(line, never)))
  let entered = 0
  for (let i = 0; i < 3; i++) void admission.enter(line, never).then(() => entered++)
  places[0]!()
  places[0]!()
  await turn()
  assert.equal(entered, 1)
})

test('a line that is too long refuses, and one that was left goes on', async () => {
  const admission = new Admission()
  const line = {}
  const place = await Promise.all(Array.from({ length: mostAtWork }, () => admission.enter(line, never)))
  const leaver = new AbortController()
  const left = admission.enter(line, () => leaver.signal)
  leaver.abort()
  await assert.rejects(left, { status: 503 })
  const rest = Array.from({ length: 4_095 }, () => admission.enter(line, never).then((release) => release()))
  await assert.rejects(admission.enter(line, never), { status: 503 })
  place[0]!()
  await Promise.all(rest)
})

test('a homeserver with a full queue lets nobody in until something of it is written', async () => {
  const admission = new Admission()
  const commits = new CommitWaits()
  let full = false
  const instance = { key: 7, commits, shard: { isFull: (key: number) => key === 7 && full } }
  const working = await admission.enter(instance, never)
  full = true
  const entered: string[] = []
  const first = admission.enter(instance, never).then(() => entered.push('first'))
  const other = admission.enter({}, never).then(() => entered.push('another homeserver'))
  working()
  await other
  await turn()
  assert.deepEqual(entered, ['another homeserver'])
  const write = Promise.withResolvers<void>()
  const waiting = commits.until(write.promise)
  full = false
  write.resolve()
  await waiting
  await first
})
