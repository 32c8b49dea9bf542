import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MatrixError } from '../../src/errors.ts'
import { joinedMembers, joinedRooms, members } from '../../src/rooms/members.ts'
import { inviteUser, joinRoom, leaveRoom } from '../../src/rooms/membership.ts'
import { publicRooms, roomAliases } from '../../src/rooms/public-rooms.ts'
import { roomState, stateContent, stateEvent } from '../../src/rooms/state.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { onBothEngines } from '../storage/engines.ts'
import { gather, openRig } from './rig.ts'

interface Event {
  readonly type: string
  readonly state_key: string
  readonly room_id: string
  readonly content: JsonObject
}

const errcode = (code: string) => (error: MatrixError) => error.errcode === code

await onBothEngines('state and members', (place) => {
  test('a joined user reads the current state, whoever left the state at the leave', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const carol = await rig.person('carol')
    const roomId = await rig.room(alice, { name: 'old' }, [bob])
    await leaveRoom(rig.instance, bob, { roomId })
    await rig.state(alice, roomId, 'm.room.name', { name: 'new' })
    await rig.state(alice, roomId, 'm.room.topic', { topic: 'later' })
    await inviteUser(rig.instance, alice, { roomId, userId: carol.userId })
    const name = { roomId, type: 'm.room.name', stateKey: '' }

    const now = await gather<Event[]>(await roomState(rig.instance, alice, roomId))
    assert.deepEqual(now.find((event) => event.type === 'm.room.name')?.content, { name: 'new' })
    assert.ok(now.every((event) => event.room_id === roomId))
    assert.deepEqual(
      now
        .filter((event) => event.type === 'm.room.member')
        .map((event) => event.content['membership'])
        .sort(),
      ['invite', 'join', 'leave'],
    )
    assert.equal(await stateContent(rig.instance, alice, name), '{"name":"new"}')

    const then = await gather<Event[]>(await roomState(rig.instance, bob, roomId))
    assert.deepEqual(then.find((event) => event.type === 'm.room.name')?.content, { name: 'old' })
    assert.ok(!then.some((event) => event.type === 'm.room.topic' || event.state_key === carol.userId))
    assert.equal(await stateContent(rig.instance, bob, name), '{"name":"old"}')
    await assert.rejects(stateContent(rig.instance, bob, { ...name, type: 'm.room.topic' }), errcode('M_NOT_FOUND'))
    await assert.rejects(stateContent(rig.instance, carol, name), errcode('M_FORBIDDEN'))
  })

  test('one state event comes whole or as its content; a member is found by its user id', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const roomId = await rig.room(alice)
    await rig.state(alice, roomId, 'com.example.odd', { a: 1 }, 'key/with slash')
    const whole = JSON.parse(
      await stateEvent(rig.instance, alice, { roomId, type: 'com.example.odd', stateKey: 'key/with slash' }),
    ) as Event
    assert.deepEqual([whole.content, whole.state_key, whole.room_id], [{ a: 1 }, 'key/with slash', roomId])
    assert.equal(
      (JSON.parse(await stateContent(rig.instance, alice, { roomId, type: 'm.room.member', stateKey: alice.userId })) as JsonObject)[
        'membership'
      ],
      'join',
    )
    for (const stateKey of ['@nobody:example.com', 'x']) {
      await assert.rejects(stateContent(rig.instance, alice, { roomId, type: 'm.room.member', stateKey }), errcode('M_NOT_FOUND'))
    }
  })

  test('members are filtered by membership, and told as they were at a token', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const carol = await rig.person('carol')
    const roomId = await rig.room(alice, {}, [bob])
    const token = `s${rig.instance.bus.published}`
    await leaveRoom(rig.instance, bob, { roomId })
    await inviteUser(rig.instance, alice, { roomId, userId: carol.userId })
    const who = async (args: Partial<Parameters<typeof members>[2]>): Promise<string[]> => {
      const events = await gather<Event[]>(await members(rig.instance, alice, { roomId, ...args }))
      return events.map((event) => `${event.state_key.slice(1, 4)} ${String(event.content['membership'])}`).sort()
    }
    assert.deepEqual(await who({}), ['ali join', 'bob leave', 'car invite'])
    assert.deepEqual(await who({ membership: 'join' }), ['ali join'])
    assert.deepEqual(await who({ notMembership: 'leave' }), ['ali join', 'car invite'])
    assert.deepEqual(await who({ at: token }), ['ali join', 'bob join'])
    assert.deepEqual(await who({ at: token, membership: 'join' }), ['ali join', 'bob join'])
    assert.deepEqual(await who({ at: token, notMembership: 'join' }), [])
    await assert.rejects(members(rig.instance, alice, { roomId, membership: 'gone' }), errcode('M_INVALID_PARAM'))
    await assert.rejects(members(rig.instance, alice, { roomId, at: 'x' }), errcode('M_INVALID_PARAM'))
    await assert.rejects(members(rig.instance, carol, { roomId }), errcode('M_FORBIDDEN'))
  })

  test('joined_members spells display_name and is for joined users; joined_rooms names the rooms', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const { bot, ghost } = await rig.bridge()
    const people = Array.from({ length: 5 }, (_, i) => ghost(String(i)).userId)
    const roomId = await rig.room(bot, { initialMembers: people })
    await rig.state(ghost('0'), roomId, 'm.room.member', { membership: 'join', displayname: 'Zero' }, people[0])
    const joined = await gather<Record<string, JsonObject>>(await joinedMembers(rig.instance, bot, roomId))
    assert.deepEqual(Object.keys(joined).sort(), [bot.userId, ...people].sort())
    assert.deepEqual(joined[people[0]!], { display_name: 'Zero' })
    assert.deepEqual(await joinedRooms(rig.instance, bot), [roomId])
    const alice = await rig.person('alice')
    await assert.rejects(joinedMembers(rig.instance, alice, roomId), errcode('M_FORBIDDEN'))
    assert.deepEqual(await joinedRooms(rig.instance, alice), [])
    await assert.rejects(joinedRooms(rig.instance, ghost('unborn')), errcode('M_FORBIDDEN'))
  })

  test('an appservice as the owner reads only rooms that have a user of it', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const { bot, puppet } = await rig.bridge()
    const owner = await rig.person('owner')
    const own = await rig.room(owner)
    const portal = await rig.room(bot, { invite: [owner.userId] })
    const asOwner = puppet(owner)
    assert.match(await stateContent(rig.instance, asOwner, { roomId: portal, type: 'm.room.create', stateKey: '' }), /room_version/)
    for (const read of [
      () => stateContent(rig.instance, asOwner, { roomId: own, type: 'm.room.create', stateKey: '' }),
      () => members(rig.instance, asOwner, { roomId: own }),
      () => joinedMembers(rig.instance, asOwner, own),
      () => roomAliases(rig.instance, asOwner, own),
    ]) {
      await assert.rejects(read as () => Promise<unknown>, errcode('M_FORBIDDEN'))
    }
  })

  test('the directory lists public rooms by size, searches, and pages', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    await rig.room(alice, { name: 'private' })
    const small = await rig.room(alice, { visibility: 'public', name: 'Small talk', aliasName: 'small' })
    const large = await rig.room(alice, { visibility: 'public', name: 'Large', topic: 'all of us' })
    await joinRoom(rig.instance, bob, { roomIdOrAlias: large })
    const space = await rig.room(alice, { visibility: 'public', name: 'Space', creationContent: { type: 'm.space' } })
    const all = await publicRooms(rig.instance, {})
    const { key, ...first } = all.rooms[0]!
    assert.ok(key > 0)
    assert.deepEqual(first, {
      roomId: large,
      name: 'Large',
      topic: 'all of us',
      canonicalAlias: null,
      avatarUrl: null,
      joinedMemberCount: 2,
      invitedMemberCount: 0,
      joinRule: 'public',
      roomType: null,
      historyVisibility: 'shared',
      guestCanJoin: false,
      encrypted: false,
    })
    assert.deepEqual([all.total, all.nextBatch, all.prevBatch], [3, null, null])
    const found = async (args: Parameters<typeof publicRooms>[1]): Promise<string[]> =>
      (await publicRooms(rig.instance, args)).rooms.map((room) => room.roomId)
    assert.deepEqual(await found({ searchTerm: 'TALK' }), [small])
    assert.deepEqual(await found({ searchTerm: '#small' }), [small])
    assert.deepEqual(await found({ roomTypes: ['m.space'] }), [space])
    assert.deepEqual((await found({ roomTypes: [null] })).length, 2)
    const page = await publicRooms(rig.instance, { limit: 2 })
    assert.equal(page.rooms.length, 2)
    const rest = await publicRooms(rig.instance, { limit: 2, since: page.nextBatch })
    assert.deepEqual([rest.rooms.length, rest.nextBatch, rest.prevBatch], [1, null, 'p0'])
    await assert.rejects(publicRooms(rig.instance, { since: 'x' }), errcode('M_INVALID_PARAM'))
    await assert.rejects(publicRooms(rig.instance, { server: 'matrix.org' }), errcode('M_NOT_FOUND'))
    assert.deepEqual(await roomAliases(rig.instance, alice, small), ['#small:example.com'])
    await assert.rejects(roomAliases(rig.instance, bob, small), errcode('M_FORBIDDEN'))
  })
})
