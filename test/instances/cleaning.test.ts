/** What is thrown away in time, with a moved clock. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mostCheckpoints } from '../../src/appservices/checkpoints.ts'
import { clean, transactionLifetimeMs } from '../../src/instances/cleaning.ts'
import { ChangeSet } from '../../src/storage/change-set.ts'
import { startServer } from '../rig/server.ts'

test('a transaction id is answered alike for 24 hours and forgotten later; unused login tokens go too', async () => {
  let now = Date.now()
  await using server = await startServer({ ports: { now: () => now } })
  const instance = await server.server.host.defaultInstance()
  const roomId = await server.owner.createRoom()
  for (let i = 0; i < 1_100; i += 100) {
    await Promise.all(Array.from({ length: 100 }, () => server.owner.send(roomId, 'an old one')))
  }
  const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/again`
  const first = (await server.owner.put(path, { body: 'once' })).body.event_id
  const old = await instance.storage.count('transaction', {})
  now += transactionLifetimeMs - 60_000
  await clean(instance)
  assert.equal(await instance.storage.count('transaction', {}), old)
  assert.equal((await server.owner.put(path, { body: 'twice' })).body.event_id, first)
  await server.owner.send(roomId, 'a young one')
  now += 120_000
  await clean(instance)
  assert.equal(await instance.storage.count('transaction', {}), 1)
})

test('the newest checkpoints stay', async () => {
  await using server = await startServer()
  const instance = await server.server.host.defaultInstance()
  const change = new ChangeSet(instance.key)
  for (let i = 1; i <= mostCheckpoints + 700; i++) {
    const row = {
      instance: instance.key,
      eventId: `$${i}`,
      step: 'BRIDGE',
      appservice: 1,
      status: 'SUCCESS',
      checkpoint: '{}',
      position: i,
    }
    change.put('checkpoint', { ...row, others: null })
    change.put('bridgeCheckpoint', row)
  }
  await instance.shard.enqueue(change, () => undefined)
  await clean(instance)
  for (const table of ['checkpoint', 'bridgeCheckpoint'] as const) {
    assert.equal(await instance.storage.count(table, {}), mostCheckpoints)
    assert.equal(await instance.storage.count(table, { position: { lte: 700 } }), 0)
  }
})
