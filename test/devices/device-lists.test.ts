/** Of whose devices somebody is told: of room-mates with keys, of all of them and of nobody else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { noteDeviceListChange } from '../../src/devices/device-lists.ts'
import { putToDevice } from '../../src/devices/to-device.ts'
import { deleteRoom } from '../../src/rooms/delete.ts'
import { banUser, forgetRoom, inviteUser, joinRoom, kickUser, leaveRoom } from '../../src/rooms/membership.ts'
import { mergeRooms } from '../../src/rooms/merge.ts'
import { command, type Decision } from '../../src/stream/command.ts'
import { readListsBetween } from '../../src/sync/device-part.ts'
import type { Actor } from '../../src/users/actor.ts'
import { logout } from '../../src/users/sessions.ts'
import { userOf } from '../../src/users/users.ts'
import { membership, onBothEngines } from '../storage/engines.ts'
import { SyncRig } from '../sync/rig.ts'
import { changeKeys, Listener, withDevice, withKeys } from './list-rig.ts'

/** Messages to the device. */
function sendMany(decision: Decision, { user, userId, device }: Actor, count: number): void {
  const message = { to: userOf(decision, user!), deviceIds: [device!], type: 'm.dummy', sender: userId, content: '{}' }
  for (let i = 0; i < count; i++) putToDevice(decision, message)
}

await onBothEngines('device lists', (place) => {
  const only = (...changed: Actor[]) => ({ changed: changed.map(({ userId }) => userId).toSorted(), left: [] })
  const gone = (...left: Actor[]) => ({ changed: [], left: left.map(({ userId }) => userId).toSorted() })

  test('changed keys are told to room-mates and to oneself, not to strangers', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob, carol] = [
      await withKeys(rig, rig.alice),
      await withKeys(rig, rig.bob),
      await withKeys(rig, await rig.person('carol')),
    ]
    await rig.room(alice, {}, [bob])
    await rig.room(carol)
    const listeners = [await Listener.start(rig, alice), await Listener.start(rig, bob), await Listener.start(rig, carol)] as const
    await changeKeys(rig, alice)
    assert.deepEqual(await listeners[0].heard(), only(alice))
    assert.deepEqual(await listeners[1].heard(), only(alice))
    assert.equal(await listeners[2].heard(), null)
    for (const listener of listeners) assert.equal(await listener.heard(), null, 'once')
  })

  test('a deleted device is told to room-mates, not to strangers, even if it was the last', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob, carol] = [
      await withKeys(rig, rig.alice),
      await withKeys(rig, rig.bob),
      await withKeys(rig, await rig.person('carol')),
    ]
    await rig.room(alice, {}, [bob])
    const [hearsBob, hearsCarol] = [await Listener.start(rig, bob), await Listener.start(rig, carol)]
    await logout(rig.instance, alice)
    assert.deepEqual(await hearsBob.heard(), only(alice))
    assert.equal(await hearsCarol.heard(), null)
  })

  test('who begins to share a room is told of those who are there, and they of who comes', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob, carol] = [
      await withKeys(rig, rig.alice),
      await withKeys(rig, rig.bob),
      await withKeys(rig, await rig.person('carol')),
    ]
    const roomId = await rig.room(alice, {}, [carol])
    const listeners = [await Listener.start(rig, alice), await Listener.start(rig, bob), await Listener.start(rig, carol)] as const
    await inviteUser(rig.instance, alice, { roomId, userId: bob.userId })
    assert.deepEqual(await listeners[0].heard(), only(bob), 'clients encrypt for the invited')
    assert.equal(await listeners[1].heard(), null)
    await joinRoom(rig.instance, bob, { roomIdOrAlias: roomId })
    assert.deepEqual(await listeners[0].heard(), only(bob))
    assert.deepEqual(await listeners[1].heard(), only(alice, carol))
    assert.deepEqual(await listeners[2].heard(), only(bob))
  })

  test('a new room with everybody in it from the start is such a beginning', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    const { bot: user } = await rig.bridge()
    const bot = await withKeys(rig, user)
    const [hearsAlice, hearsBot] = [await Listener.start(rig, alice), await Listener.start(rig, bot)]
    await rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
    assert.deepEqual(await hearsAlice.heard(), only(bot))
    assert.deepEqual(await hearsBot.heard(), only(alice))
  })

  test('when the last shared room ends both are told; not while there is another', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob] = [await withKeys(rig, rig.alice), await withKeys(rig, rig.bob)]
    const rooms = [await rig.room(alice, {}, [bob]), await rig.room(alice, {}, [bob]), await rig.room(alice, {}, [bob])] as const
    const [hearsAlice, hearsBob] = [await Listener.start(rig, alice), await Listener.start(rig, bob)]
    await leaveRoom(rig.instance, bob, { roomId: rooms[0] })
    await leaveRoom(rig.instance, alice, { roomId: rooms[1] })
    for (const listener of [hearsAlice, hearsBob]) assert.equal(await listener.heard(), null)
    await banUser(rig.instance, alice, { roomId: rooms[2], userId: bob.userId })
    assert.deepEqual(await hearsAlice.heard(), gone(bob))
    assert.deepEqual(await hearsBob.heard(), gone(alice))
    for (const listener of [hearsAlice, hearsBob]) assert.equal(await listener.heard(), null)
    await changeKeys(rig, bob)
    assert.equal(await hearsAlice.heard(), null, 'a stranger now')
  })

  test('who leaves and comes back between two syncs has changed, and has not left', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob] = [await withKeys(rig, rig.alice), await withKeys(rig, rig.bob)]
    const roomId = await rig.room(alice, { preset: 'public_chat' }, [bob])
    const listeners = [await Listener.start(rig, alice), await Listener.start(rig, bob)] as const
    await leaveRoom(rig.instance, bob, { roomId })
    await changeKeys(rig, bob)
    await joinRoom(rig.instance, bob, { roomIdOrAlias: roomId })
    assert.deepEqual(await listeners[0].heard(), only(bob))
    assert.deepEqual(await listeners[1].heard(), only(alice, bob))
  })

  test('who comes behind the end of an answer is told of in the next one, and not at all when gone by then', async (t) => {
    for (const stays of [true, false]) {
      await using rig = await SyncRig.start(await place(t))
      const [alice, bob] = [await withKeys(rig, rig.alice), await withKeys(rig, rig.bob)]
      const roomId = await rig.room(alice, { preset: 'public_chat' })
      const listener = await Listener.start(rig, alice)
      await changeKeys(rig, bob)
      // More than one answer holds: it ends before bob comes.
      await command(rig.instance, (decision) => sendMany(decision, alice, 101))
      await joinRoom(rig.instance, bob, { roomIdOrAlias: roomId })
      assert.equal(await listener.heard(), null)
      if (!stays) await leaveRoom(rig.instance, bob, { roomId })
      assert.deepEqual(await listener.heard(), stays ? only(bob) : null)
    }
  })

  test('an answer that ends in the middle of what was written together tells what stands before its end', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob] = [await withKeys(rig, rig.alice), await withKeys(rig, rig.bob)]
    await rig.room(alice, {}, [bob])
    const listener = await Listener.start(rig, alice)
    await command(rig.instance, (decision) => {
      noteDeviceListChange(decision, bob.user!)
      sendMany(decision, alice, 101)
      noteDeviceListChange(decision, alice.user!)
    })
    assert.deepEqual(await listener.heard(), only(bob))
    assert.deepEqual(await listener.heard(), only(alice))
    assert.equal(await listener.heard(), null)
  })

  test('bot and owner who leave a portal within one sync have parted, whoever was first', async (t) => {
    for (const botFirst of [true, false]) {
      await using rig = await SyncRig.start(await place(t))
      const alice = await withKeys(rig, rig.alice)
      const { bot: user } = await rig.bridge()
      const bot = await withKeys(rig, user)
      const roomId = await rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
      const [hearsAlice, hearsBot] = [await Listener.start(rig, alice), await Listener.start(rig, bot)]
      const leave = async (actor: Actor) => void (await leaveRoom(rig.instance, actor, { roomId }))
      for (const actor of botFirst ? [bot, alice] : [alice, bot]) await leave(actor)
      await forgetRoom(rig.instance, alice, roomId)
      assert.deepEqual(await hearsAlice.heard(), gone(bot))
      assert.deepEqual(await hearsBot.heard(), gone(alice))
    }
  })

  test('a declined invitation, a ban of a stranger and a kick of somebody invited: nobody is told of strangers', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob, carol] = [
      await withKeys(rig, rig.alice),
      await withKeys(rig, rig.bob),
      await withKeys(rig, await rig.person('carol')),
    ]
    const roomId = await rig.room(alice)
    const [hearsAlice, hearsBob] = [await Listener.start(rig, alice), await Listener.start(rig, bob)]
    await banUser(rig.instance, alice, { roomId, userId: carol.userId })
    assert.equal(await hearsAlice.heard(), null)
    await inviteUser(rig.instance, alice, { roomId, userId: bob.userId })
    assert.deepEqual(await hearsAlice.heard(), only(bob))
    await leaveRoom(rig.instance, bob, { roomId })
    assert.deepEqual(await hearsAlice.heard(), gone(bob))
    assert.equal(await hearsBob.heard(), null, 'she was never in a room with him')
    await inviteUser(rig.instance, alice, { roomId, userId: bob.userId })
    await kickUser(rig.instance, alice, { roomId, userId: bob.userId })
    assert.equal(await hearsAlice.heard(), null)
    // Who comes when one has gone is a stranger.
    await leaveRoom(rig.instance, alice, { roomId })
    assert.equal(await hearsAlice.heard(), null)
  })

  test('a yeeted room is left by all at once, also by a bot that never syncs, and after its rows are reclaimed', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    const bob = await withKeys(rig, rig.bob)
    const { bot: user } = await rig.bridge()
    const bot = await withKeys(rig, user)
    const roomId = await rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
    await rig.room(alice, {}, [bob])
    const [hearsAlice, hearsBob] = [await Listener.start(rig, alice), await Listener.start(rig, bob)]
    await deleteRoom(rig.instance, bot, roomId)
    const memberships = () => rig.instance.storage.count('membership', { user: alice.user! })
    for (let tries = 0; tries < 500 && (await memberships()) > 1; tries++) await sleep(10)
    assert.equal(await memberships(), 1)
    assert.deepEqual(await hearsAlice.heard(), gone(bot))
    assert.equal(await hearsBob.heard(), null)
    const hearsBot = await Listener.start(rig, bot)
    await changeKeys(rig, alice)
    assert.equal(await hearsBot.heard(), null)
  })

  test('who left and forgot a room that was then yeeted has parted from those in it all the same', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    const { bot: user } = await rig.bridge()
    const bot = await withKeys(rig, user)
    const roomId = await rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
    const [hearsAlice, hearsBot] = [await Listener.start(rig, alice), await Listener.start(rig, bot)]
    await leaveRoom(rig.instance, alice, { roomId })
    await forgetRoom(rig.instance, alice, roomId)
    await deleteRoom(rig.instance, bot, roomId)
    assert.deepEqual(await hearsAlice.heard(), gone(bot))
    assert.deepEqual(await hearsBot.heard(), gone(alice))
  })

  test('a yeeted room is no end where another one is shared, nor is a merge into one', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    const { bot: user } = await rig.bridge()
    const bot = await withKeys(rig, user)
    const portal = () => rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
    const rooms = [await portal(), await portal(), await portal()] as const
    const listener = await Listener.start(rig, alice)
    await deleteRoom(rig.instance, bot, rooms[0])
    assert.equal(await listener.heard(), null)
    await mergeRooms(rig.instance, bot, {
      rooms: [rooms[1], rooms[2]],
      key: 'chat',
      create: { invite: [alice.userId], autoJoinInvites: true },
      userId: bot.userId,
    })
    assert.deepEqual(await listener.heard(), only(bot))
  })

  test('ghosts without keys are never told of, however many come and go', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    const { bot: user, ghost } = await rig.bridge()
    const bot = await withKeys(rig, user)
    const ghosts = Array.from({ length: 20 }, (_, i) => ghost(`g${i}`).userId)
    const roomId = await rig.room(bot, { invite: [alice.userId, ...ghosts], autoJoinInvites: true })
    const listener = await Listener.start(rig, alice)
    await kickUser(rig.instance, bot, { roomId, userId: ghosts[0]! })
    await inviteUser(rig.instance, bot, { roomId, userId: ghosts[0]! })
    await rig.room(bot, { invite: [alice.userId, ...ghosts], autoJoinInvites: true })
    assert.deepEqual(await listener.heard(), only(bot))
    // A device without keys is none to encrypt for.
    await withDevice(rig, { ...ghost('g1'), user: (await rig.instance.storage.first('user', { userId: ghosts[1]! }))!.key }, 'G1')
    assert.equal(await listener.heard(), null)
  })

  test('however many users have keys, a few rooms are looked at together, small ones by their members, and nobody is missed', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob, carol] = [
      await withKeys(rig, rig.alice),
      await withKeys(rig, rig.bob),
      await withKeys(rig, await rig.person('carol')),
    ]
    const since = rig.instance.bus.published
    for (let i = 0; i < 40; i++) await rig.room(alice, {}, i === 39 ? [bob] : [])
    const large = await rig.room(alice, {}, [carol])
    const { key: room } = (await rig.instance.storage.first('room', { roomId: large }))!
    const { storage } = rig.instance
    const original = storage.membersWithKeys.bind(storage)
    const looks: [number, string][] = []
    Object.assign(storage, {
      membersWithKeys: (some: number[], by: 'users' | 'members') => {
        looks.push([some.length, by])
        return original(some, by)
      },
    })
    const look = async () => {
      looks.length = 0
      const lists = await readListsBetween(rig.instance, alice.user!, since, rig.instance.bus.published)
      assert.deepEqual({ ...lists, changed: lists.changed.toSorted() }, only(bob, carol))
      return looks.map(([rooms, by]) => `${rooms} ${by}`)
    }
    assert.deepEqual(await look(), ['41 users'], 'three have keys')
    // Strangers with keys, and as many members without in one of the rooms.
    await command(rig.instance, (decision) => {
      for (let i = 0; i < 2_500; i++) {
        const [user, member] = [decision.takePosition(), decision.takePosition()]
        decision.write('deviceListChange', { instance: rig.instance.key, user, position: 1 })
        decision.write('membership', { ...membership(rig.instance.key, room, member), order: 1, since: 1 })
        decision.write('membership', { ...membership(rig.instance.key, room, user), order: 1, since: 1, membership: 'leave' })
      }
    })
    assert.deepEqual(await look(), ['16 members', '16 members', '8 members', '1 users'])
  })

  test('where thousands have keys, a yeet looks up only who syncs', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    const { bot: user } = await rig.bridge()
    const bot = await withKeys(rig, user)
    await command(rig.instance, (decision) => {
      for (let i = 0; i < 2_000; i++) {
        const position = decision.takePosition()
        decision.write('deviceListChange', { instance: rig.instance.key, user: position, position })
      }
    })
    await rig.restart()
    const roomId = await rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
    const since = await rig.now(alice)
    const held = rig.instance.memory.size
    await deleteRoom(rig.instance, bot, roomId)
    assert.ok(rig.instance.memory.size < held + 200, `${rig.instance.memory.size - held} more`)
    assert.deepEqual(Object.keys((await rig.sync(alice, { since })).rooms?.leave ?? {}), [roomId])
  })

  test('who has no keys is told all the same, and a user without a device nothing', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob] = [await withKeys(rig, rig.alice), await withDevice(rig, rig.bob)]
    await rig.room(alice, {}, [bob])
    const { bot } = await rig.bridge()
    await rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
    const [hearsBob, hearsBot] = [await Listener.start(rig, bob), await Listener.start(rig, bot)]
    await changeKeys(rig, alice)
    assert.deepEqual(await hearsBob.heard(), only(alice))
    assert.equal(await hearsBot.heard(), null)
  })

  test('after a restart the same is told as before: changes, beginnings, ends and yeeted rooms', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const people = await Promise.all(['c', 'd', 'e', 'f', 'g'].map(async (name) => withKeys(rig, await rig.person(name))))
    const [c, d, e, f, g] = people as [Actor, Actor, Actor, Actor, Actor]
    const alice = await withKeys(rig, rig.alice)
    const [withC, withD, withE] = [await rig.room(alice, {}, [c]), await rig.room(alice, {}, [d]), await rig.room(alice, {}, [e])]
    await rig.room(f, {}, [g])
    const listener = await Listener.start(rig, alice)
    const other = await Listener.start(rig, alice)
    await changeKeys(rig, c)
    await leaveRoom(rig.instance, d, { roomId: withD })
    await deleteRoom(rig.instance, { ...alice, admin: true }, withE)
    await rig.room(alice, {}, [f])
    await changeKeys(rig, g)
    const expected = { changed: [c.userId, f.userId], left: [d.userId, e.userId] }
    assert.deepEqual(await other.heard(), expected)
    await rig.restart()
    assert.deepEqual(await listener.heard(), expected)
    assert.equal(await listener.heard(), null)
    await leaveRoom(rig.instance, c, { roomId: withC })
    assert.deepEqual(await listener.heard(), gone(c))
  })

  test('a sync without since says nothing of device lists', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const [alice, bob] = [await withKeys(rig, rig.alice), await withKeys(rig, rig.bob)]
    await rig.room(alice, {}, [bob])
    assert.equal((await rig.sync(alice)).device_lists, undefined)
    assert.equal((await rig.sync(alice, { fullState: true })).device_lists, undefined)
    const since = await rig.now(alice)
    await changeKeys(rig, bob)
    const { device_lists: lists } = await rig.sync(alice, { since, fullState: true })
    assert.deepEqual(lists, { changed: [bob.userId], left: [] })
  })
})
