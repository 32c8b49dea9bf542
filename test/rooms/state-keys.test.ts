/** State that rules a room has an empty state key; the same types under another one are only stored. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import { path, refused } from './backfill.ts'

await onBothServers('state under another state key', (start) => {
  test('rules nothing, neither at once nor after a restart', async () => {
    await using server = await start()
    const { owner } = server
    const bob = await server.register('bob')
    const carol = await server.register('carol')
    const roomId = await owner.createRoom({ invite: [carol.userId], preset: 'private_chat' })
    const room = `/rooms/${path(roomId)}`
    assert.equal((await carol.post(`${room}/join`)).status, 200)
    const others: [string, object][] = [
      ['m.room.join_rules', { join_rule: 'public' }],
      ['m.room.power_levels', { users: { [owner.userId]: 100, [carol.userId]: 100 } }],
    ]
    for (const [type, content] of others) assert.equal((await owner.put(`${room}/state/${type}/x`, content)).status, 200)
    for (const restarted of [false, true]) {
      if (restarted) await server.restart()
      refused(await bob.post(`/join/${path(roomId)}`), 403, 'M_FORBIDDEN')
      refused(await carol.put(`${room}/state/m.room.topic`, { topic: 'mine' }), 403, 'M_FORBIDDEN')
      assert.equal((await owner.put(`${room}/state/m.room.topic`, { topic: `${restarted}` })).status, 200)
      for (const [type, content] of others) assert.deepEqual((await carol.get(`${room}/state/${type}/x`)).body, content)
    }
  })

  test('is not shown to who is invited', async () => {
    await using server = await start()
    const { owner } = server
    const bob = await server.register('bob')
    const roomId = await owner.createRoom({ name: 'its name' })
    assert.equal((await owner.put(`/rooms/${path(roomId)}/state/m.room.name/x`, { name: 'another' })).status, 200)
    assert.equal((await owner.post(`/rooms/${path(roomId)}/invite`, { user_id: bob.userId })).status, 200)
    const { events } = (await bob.sync()).rooms.invite[roomId].invite_state
    const names = events.filter(({ type }: { type: string }) => type === 'm.room.name')
    assert.deepEqual(
      names.map(({ content }: { content: unknown }) => content),
      [{ name: 'its name' }],
    )
  })
})
