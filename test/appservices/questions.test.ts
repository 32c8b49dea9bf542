/** How long the answers of bridges count, and what bounds the questions. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wereMade } from '../../src/appservices/queries.ts'
import { setBridgePaused } from '../../src/appservices/registrations.ts'
import { Clock } from './clock.ts'
import { Homeserver } from './homeserver.ts'

const namespaces = { users: [{ regex: '^@gate_.+:bridges\\.example\\.com$', exclusive: true }] }
const ghost = (name: string) => `@gate_${name}:bridges.example.com`

/** Asks as the owner for ghosts by name. */
function asking({ instance, owner: actor }: Homeserver, signal = new AbortController().signal) {
  return (...names: string[]) => wereMade({ instance, actor, signal }, { userIds: names.map(ghost) })
}

test('a no and a silence count for ten seconds, unless the registration changes', async () => {
  const clock = new Clock()
  await using homeserver = await Homeserver.open({ ports: clock.ports, timeouts: { questionTimeoutMs: 100 } })
  const { instance, administrator } = homeserver
  const onQuestion = async (question: string) => (question.includes('silent') ? null : ([404, { errcode: 'ORG.EXAMPLE' }] as const))
  const bridge = await homeserver.bridge('gate', { namespaces }, { onQuestion })
  const ask = asking(homeserver)
  for (const name of ['refused', 'silent']) {
    bridge.questions.length = 0
    assert.equal(await ask(name), false)
    await clock.move(9_000)
    assert.equal(await ask(name), false)
    assert.equal(bridge.questions.length, 1)
    await clock.move(2_000)
    assert.equal(await ask(name), false)
    assert.equal(bridge.questions.length, 2)
    await setBridgePaused(instance, administrator, 'gate', true)
    await setBridgePaused(instance, administrator, 'gate', false)
    assert.equal(await ask(name), false)
    assert.deepEqual(bridge.questions, Array(3).fill(`users/${ghost(name)}`))
  }
})

test('two hundred may wait for bridges at a time, more are told no; those behind them are asked when they are through', async () => {
  await using homeserver = await Homeserver.open()
  const answered = Promise.withResolvers<void>()
  const bridge = await homeserver.bridge(
    'gate',
    { namespaces },
    {
      onQuestion: async () => {
        await answered.promise
        return [200, {}]
      },
    },
  )
  const ask = asking(homeserver)
  const waiting = Array.from({ length: 200 }, () => ask('popular'))
  while (bridge.questions.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(await ask('late'), false)
  answered.resolve()
  assert.deepEqual(new Set(await Promise.all(waiting)), new Set([true]))
  assert.equal(await ask('late'), true)
  assert.deepEqual(
    bridge.questions,
    ['popular', 'late'].map((name) => `users/${ghost(name)}`),
  )
})

test('of many who do not exist a bridge is asked for one after the other, until it says no, nobody wants them any more, or they are too many', async () => {
  await using homeserver = await Homeserver.open()
  const left = new AbortController()
  const bridge = await homeserver.bridge(
    'gate',
    { namespaces },
    {
      onQuestion: async (question) => {
        if (question.includes('leaves')) left.abort()
        return question.includes('nobody') ? [404, { errcode: 'ORG.EXAMPLE' }] : [200, {}]
      },
    },
  )
  const ask = asking(homeserver, left.signal)
  assert.equal(await ask(...Array.from({ length: 51 }, (_, i) => `many${i}`)), false)
  assert.deepEqual(bridge.questions, [])
  assert.equal(await ask('one', 'one', 'two'), true)
  assert.equal(await ask('three', 'nobody', 'four'), false)
  assert.equal(await ask('leaves', 'five'), false)
  assert.deepEqual(
    bridge.questions,
    ['one', 'two', 'three', 'nobody', 'leaves'].map((name) => `users/${ghost(name)}`),
  )
})

test('questions under way end when the homeserver stops', async () => {
  const homeserver = await Homeserver.open()
  const bridge = await homeserver.bridge('gate', { namespaces }, { onQuestion: async () => null })
  const waiting = asking(homeserver)('silent')
  while (bridge.questions.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  homeserver.instance.leave()
  assert.equal(await waiting, false)
  await homeserver[Symbol.asyncDispose]()
})
