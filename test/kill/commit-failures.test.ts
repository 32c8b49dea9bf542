/** Commits that fail at random under load: what was answered is durable, what was refused is not, and memory equals a fresh load. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CommitError } from '../../src/storage/engine.ts'
import type { Batch } from '../../src/storage/fold.ts'
import type { Faults } from '../../src/storage/writer.ts'
import { onBothEngines } from '../storage/engines.ts'
import { Chance, chooseSeed } from './chance.ts'
import { checkAll, openInstances, runAll } from './instances.ts'

function touches({ claims }: Batch, instances: readonly number[]): boolean {
  return claims.some(({ instance }) => instances.includes(instance))
}

await onBothEngines('commits that fail', (place) => {
  test('a change set that cannot be written: memory equals a fresh load, others notice nothing', { timeout: 60_000 }, async (t) => {
    const chance = new Chance(chooseSeed())
    t.diagnostic(`KILL_SEED=${chance.seed}`)
    let failing = false
    const failCommit = (batch: Batch): Error | null =>
      failing && touches(batch, [1, 2]) && chance.happens(0.4) ? new Error('cannot be written') : null
    const all = await openInstances(await place(t), chance, { failCommit }, true)
    const { host, loads } = all
    const third = await host.instance('third')
    const { memory } = third
    failing = true
    await runAll(all, () => ['first', 'second'].every((name) => loads.get(name)!.transient.length > 20))
    failing = false
    assert.equal(third.memory, memory, 'the third instance was dropped')
    assert.deepEqual(loads.get('third')!.transient, [])
    t.diagnostic(`${loads.get('first')!.transient.length} failures, ${await checkAll(all)} cells`)
    for (const name of loads.keys()) await host.closeInstance(name)
  })

  test('commits with an unknown outcome: the instance is opened again, repeated requests are done once', { timeout: 60_000 }, async (t) => {
    const chance = new Chance(chooseSeed())
    t.diagnostic(`KILL_SEED=${chance.seed}`)
    let failing = false
    const unknown = (): Error | null => (failing && chance.happens(0.03) ? new CommitError('unknown', new Error('nobody knows')) : null)
    const faults: Faults = {
      failCommit: (batch) => unknown() ?? (failing && touches(batch, [1]) && chance.happens(0.05) ? new Error('cannot be written') : null),
      afterCommit() {
        const error = unknown()
        if (error) throw error
      },
    }
    const all = await openInstances(await place(t), chance, faults, false)
    const { host, loads } = all
    const before = await Promise.all([...loads.keys()].map((name) => host.instance(name)))
    failing = true
    await runAll(all, () => before.every((instance) => instance.closed.aborted) && loads.get('first')!.transient.length > 20)
    failing = false
    assert.ok(before.every((instance) => instance.closed.aborted))
    t.diagnostic(`${loads.get('first')!.transient.length} failures, ${await checkAll(all)} cells`)
    for (const name of loads.keys()) await host.closeInstance(name)
  })
})
