/** When devices were answered last: remembered while it matters. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lastAnswers, lastAnswerTo, noteAnswer } from '../../src/sync/last-answers.ts'
import { sqlitePlace } from '../storage/engines.ts'
import { SyncRig } from './rig.ts'

test('a device that was answered just now is remembered, and forgotten when others are answered later', async (t) => {
  await using rig = await SyncRig.start(await sqlitePlace(t))
  const { instance, clock } = rig
  for (let i = 0; i < 500; i++) noteAnswer(instance, `early ${i}`)
  clock.move(15)
  noteAnswer(instance, 'early 0')
  assert.equal(lastAnswers(instance).size, 500)
  clock.move(10)
  noteAnswer(instance, 'late')
  assert.deepEqual([...lastAnswers(instance).keys()], ['early 0', 'late'])
  assert.equal(lastAnswerTo(instance, 'early 0'), clock.now - 10)
  assert.equal(lastAnswerTo(instance, 'early 1'), 0)
  // Real syncs leave nothing but the last ones either.
  clock.move(1_000)
  await rig.sync(rig.alice)
  clock.move(1_000)
  await rig.sync(rig.bob)
  assert.equal(lastAnswers(instance).size, 1)
})

test('a clock that is set back keeps no more than 10 000 of them', async (t) => {
  await using rig = await SyncRig.start(await sqlitePlace(t))
  const { instance, clock } = rig
  for (let i = 0; i < 10_050; i++) noteAnswer(instance, `device ${i}`)
  clock.now -= 60_000
  for (let i = 0; i < 50; i++) noteAnswer(instance, `later ${i}`)
  assert.equal(lastAnswers(instance).size, 10_000)
  assert.equal(lastAnswerTo(instance, 'later 49'), clock.now)
})
