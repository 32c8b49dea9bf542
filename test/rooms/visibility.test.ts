import assert from 'node:assert/strict'
import { test } from 'node:test'
import { messages } from '../../src/rooms/history.ts'
import { banUser, forgetRoom, inviteUser, joinRoom, kickUser, leaveRoom } from '../../src/rooms/membership.ts'
import { onBothEngines } from '../storage/engines.ts'
import { bodies, forbidden, hidden, read, readEvent } from './reading.ts'
import { openRig } from './rig.ts'

await onBothEngines('visibility', (place) => {
  test('a user who left reads up to the leave and no further; after forgetting nothing', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {}, [bob])
    await rig.say(alice, roomId, 'before')
    await leaveRoom(rig.instance, bob, { roomId })
    const secret = await rig.say(alice, roomId, 'after')
    const page = await read(rig.instance, bob, roomId)
    assert.equal(page.chunk[0]?.content['membership'], 'leave')
    assert.deepEqual(bodies(page), ['before'])
    await assert.rejects(readEvent(rig.instance, bob, { roomId, eventId: secret }), hidden)
    await forgetRoom(rig.instance, bob, roomId)
    await assert.rejects(messages(rig.instance, bob, { roomId, dir: 'b' }), forbidden)
  })

  test('a user banned after leaving reads up to the leave', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {}, [bob])
    await rig.say(alice, roomId, 'before')
    await kickUser(rig.instance, alice, { roomId, userId: bob.userId })
    await rig.say(alice, roomId, 'between')
    await banUser(rig.instance, alice, { roomId, userId: bob.userId })
    assert.deepEqual(bodies(await read(rig.instance, bob, roomId)), ['before'])
  })

  test('with `joined` visibility nothing from before the join or between two stays is told', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice)
    await rig.say(alice, roomId, 'shared')
    await rig.state(alice, roomId, 'm.room.history_visibility', { history_visibility: 'joined' })
    const secret = await rig.say(alice, roomId, 'secret')
    await inviteUser(rig.instance, alice, { roomId, userId: bob.userId })
    await rig.say(alice, roomId, 'invited')
    await joinRoom(rig.instance, bob, { roomIdOrAlias: roomId })
    await rig.say(alice, roomId, 'first stay')
    await leaveRoom(rig.instance, bob, { roomId })
    await rig.say(alice, roomId, 'away')
    await inviteUser(rig.instance, alice, { roomId, userId: bob.userId })
    await joinRoom(rig.instance, bob, { roomIdOrAlias: roomId })
    await rig.say(alice, roomId, 'second stay')
    assert.deepEqual(bodies(await read(rig.instance, bob, roomId, { limit: 100 })), ['second stay', 'first stay', 'shared'])
    await assert.rejects(readEvent(rig.instance, bob, { roomId, eventId: secret }), hidden)
    assert.equal(bodies(await read(rig.instance, alice, roomId, { limit: 100 })).length, 6)
  })

  test('with `invited` visibility history begins at the invite', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {
      initialState: [{ type: 'm.room.history_visibility', stateKey: '', content: { history_visibility: 'invited' } }],
    })
    await rig.say(alice, roomId, 'before')
    await inviteUser(rig.instance, alice, { roomId, userId: bob.userId })
    await rig.say(alice, roomId, 'invited')
    await joinRoom(rig.instance, bob, { roomIdOrAlias: roomId })
    assert.deepEqual(bodies(await read(rig.instance, bob, roomId, { limit: 100 })), ['invited'])
  })

  test('an unknown room, a stranger and an invited user get the same refusal; a world_readable room answers all', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice)
    const eventId = await rig.say(alice, roomId, 'x')
    await assert.rejects(messages(rig.instance, bob, { roomId: '!none:x', dir: 'b' }), forbidden)
    await assert.rejects(messages(rig.instance, bob, { roomId, dir: 'b' }), forbidden)
    await assert.rejects(readEvent(rig.instance, bob, { roomId, eventId }), hidden)
    await inviteUser(rig.instance, alice, { roomId, userId: bob.userId })
    await assert.rejects(messages(rig.instance, bob, { roomId, dir: 'b' }), forbidden)
    await rig.state(alice, roomId, 'm.room.history_visibility', { history_visibility: 'world_readable' })
    await rig.say(alice, roomId, 'for all')
    assert.deepEqual(bodies(await read(rig.instance, await rig.person('carol'), roomId)), ['for all'])
  })
})
