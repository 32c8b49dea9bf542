/** Two processes on one database make instances at the same moment. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { readConfig } from '../../src/config.ts'
import { MatrixError } from '../../src/errors.ts'
import { InstanceHost } from '../../src/instances/host.ts'
import { systemPorts } from '../../src/ports.ts'
import type { Shard } from '../../src/storage/storage.ts'
import { onBothEngines } from '../storage/engines.ts'

function hostOn(shard: Shard): InstanceHost {
  const upward = { appserviceChanged: () => undefined, appserviceAlive: () => undefined }
  const ports = systemPorts(pino({ level: 'silent' }))
  return new InstanceHost({ config: readConfig({}), ports, shards: [shard], services: { start: () => undefined, upward } })
}

function create(host: InstanceHost, name: string, owner: string) {
  return host.create({ name, owner: `@${owner}:localhost`, userDomain: 'localhost', bridgeDomain: 'localhost' })
}

await onBothEngines('creating instances at once', (place, engine) => {
  for (const [what, names, owners] of [
    ['of one name', ['same', 'same'], ['ann', 'bob']],
    ['of one owner', ['one', 'two'], ['ann', 'ann']],
  ] as const) {
    test(`${what}: one is made, the other is told M_USER_IN_USE`, { timeout: 30_000 }, async (t) => {
      const here = await place(t)
      // A SQLite file belongs to one process.
      const first = hostOn(await here.open())
      const second = engine === 'sqlite' ? first : hostOn(await here.open())
      for (let round = 0; round < 5; round++) {
        const made = await Promise.allSettled([first, second].map((host, i) => create(host, `${names[i]}${round}`, `${owners[i]}${round}`)))
        const [winner, loser] = made.toSorted((a, b) => a.status.localeCompare(b.status))
        assert.ok(winner?.status === 'fulfilled' && loser?.status === 'rejected')
        const { reason } = loser
        assert.ok(reason instanceof MatrixError && reason.errcode === 'M_USER_IN_USE' && reason.status === 400, String(reason))
        // The owner's directory leads to the one that was made.
        const owner = winner.value.ownerId
        const shard = first.shards[0]!
        assert.deepEqual(await shard.lookup('ownerId', { where: { userId: owner } }), [{ userId: owner, instance: winner.value.key }])
      }
      assert.equal((await first.list()).length, 5)
    })
  }
})
