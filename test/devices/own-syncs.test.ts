/** Which devices sync by themselves: those of bridges keep their messages until their sync has them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { command } from '../../src/stream/command.ts'
import { beginSession, noteOwnSync, removeDevice } from '../../src/users/sessions.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { keyOf } from './to-device-rig.ts'

await onBothServers('a device that syncs', (start) => {
  test('is noted as one that does, also when one of its name went while it began to', async () => {
    let failing = false
    await using server = await start({ faults: { failCommit: () => (failing ? new Error('disk full') : null) } })
    const instance = await server.server.host.defaultInstance()
    const ann = await server.register('ann')
    const user = await keyOf(instance, ann.userId)
    const actor = { user, userId: ann.userId, device: 'SAME', appservice: null, puppet: false, admin: false, tokenHash: '' }
    const begin = () => command(instance, (decision) => beginSession(decision, decision.get('user', { key: user })!, { deviceId: 'SAME' }))
    const end = () => command(instance, (decision) => removeDevice(decision, decision.get('device', { user, deviceId: 'SAME' })!))
    const isNoted = async () => (await instance.storage.first('device', { user, deviceId: 'SAME' }))!.syncedAt !== null

    // Asked for by a device that is gone.
    await noteOwnSync(instance, actor)
    await begin()
    assert.equal(await isNoted(), false)
    await noteOwnSync(instance, actor)
    assert.equal(await isNoted(), true)
    // Both in one batch.
    for (let n = 0; n < 5; n++) {
      await Promise.all([noteOwnSync(instance, actor), end()])
      await begin()
      await noteOwnSync(instance, actor)
      assert.equal(await isNoted(), true)
    }
    // What could not be stored is tried again.
    await end()
    await begin()
    failing = true
    await assert.rejects(noteOwnSync(instance, actor))
    failing = false
    assert.equal(await isNoted(), false)
    await noteOwnSync(instance, actor)
    assert.equal(await isNoted(), true)
  })
})
