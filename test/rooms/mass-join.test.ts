/** Rooms with very many members from the start, on both databases. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRoom } from '../../src/rooms/create.ts'
import { joinedRooms } from '../../src/rooms/members.ts'
import { startServer } from '../rig/server.ts'
import { onBothEngines } from '../storage/engines.ts'
import { openRig } from './rig.ts'

await onBothEngines('very many members', (place) => {
  test('ten thousand ghosts join a new room in one call', async (t) => {
    await using rig = await openRig(await place(t))
    const { instance } = rig
    const owner = await rig.person('owner')
    const { bot, ghost } = await rig.bridge()
    const ghosts = Array.from({ length: 10_000 }, (_, i) => ghost(String(i)).userId)
    for (const args of [{ initialMembers: [owner.userId, ...ghosts] }, { invite: [...ghosts, owner.userId], autoJoinInvites: true }]) {
      // The second time they are there already.
      const { roomId } = await createRoom(instance, bot, args)
      const { key } = (await instance.storage.first('room', { roomId }))!
      assert.equal((await instance.storage.memberCounts([key])).get(key)!['join'], 10_002)
      assert.deepEqual([...(await instance.storage.appserviceCounts(key))], [[bot.appservice, 10_001]])
      assert.equal(await instance.storage.count('event', { room: key, type: 'm.room.member' }), 10_002)
      await rig.say(owner, roomId, 'hello all')
    }
    assert.equal(await instance.storage.count('user', { kind: 'ghost' }), 10_000)
    assert.equal((await joinedRooms(instance, owner)).length, 2)
  })
})

test('a call with one member too many outside the namespace makes no room and no ghost', async () => {
  await using server = await startServer()
  const instance = await server.server.host.defaultInstance()
  const register =
    'mutation { registerBridge(id: "br", registration: { namespaces: { users: [{ regex: "@br_.*", exclusive: true }] } }) { registration } }'
  const { data } = await server.administrator.graphql(register)
  const bot = server.client(data.registerBridge.registration.as_token)
  const ghosts = Array.from({ length: 1_000 }, (_, i) => `@br_${i}:example.com`)
  const refused = await bot.post('/createRoom', { 'com.beeper.initial_members': [...ghosts, '@stranger:example.com'] })
  assert.deepEqual([refused.status, refused.body.errcode], [404, 'M_NOT_FOUND'])
  assert.deepEqual([await instance.storage.count('room', {}), await instance.storage.count('user', { kind: 'ghost' })], [0, 0])
  const made = await bot.createRoom({
    invite: ghosts,
    'com.beeper.auto_join_invites': true,
    'com.beeper.initial_members': ghosts.slice(500),
  })
  const { body } = await bot.get(`/rooms/${encodeURIComponent(made)}/joined_members`)
  assert.equal(Object.keys(body.joined).length, 1_001)
})
