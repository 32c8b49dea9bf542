/** Members that are loaded lazily, counts and heroes. https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inviteUser, leaveRoom } from '../../src/rooms/membership.ts'
import type { Actor } from '../../src/users/actor.ts'
import { onBothEngines } from '../storage/engines.ts'
import { type RoomBlock, SyncRig } from './rig.ts'

await onBothEngines('members in sync', (place) => {
  const lazy = (limit = 10, more: object = {}) => ({ room: { state: { lazy_load_members: true, ...more }, timeline: { limit } } })

  /** A room with its name, the bridge's ghosts and alice. */
  async function portal(
    rig: SyncRig,
    count: number,
    name: string | null = 'A room',
  ): Promise<{ roomId: string; ghosts: Actor[]; bot: Actor }> {
    const bridge = await rig.bridge()
    const ghosts = Array.from({ length: count }, (_, i) => bridge.ghost(`g${i}`))
    const invite = [rig.alice, ...ghosts].map(({ userId }) => userId)
    const roomId = await rig.room(bridge.bot, { name, invite, autoJoinInvites: true })
    return { roomId, ghosts, bot: bridge.bot }
  }

  function members(block: RoomBlock | undefined): string[] {
    const events = [...(block?.state?.events ?? []), ...(block?.timeline.events ?? [])]
    return [...new Set(events.filter(({ type }) => type === 'm.room.member').map((event) => event.state_key!))].toSorted()
  }

  test('initially: the senders of the timeline, the heroes and oneself', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { roomId, ghosts } = await portal(rig, 12)
    await rig.say(ghosts[7]!, roomId, 'x')
    const block = (await rig.sync(rig.alice, { filter: lazy(1) })).rooms?.join?.[roomId]
    assert.deepEqual(members(block), [ghosts[7]!.userId, rig.alice.userId].toSorted())
    const all = (await rig.sync(rig.alice, { filter: { room: { timeline: { limit: 1 } } } })).rooms?.join?.[roomId]
    assert.equal(members(all).length, 14)
  })

  test('the heroes of a room without a name come with their memberships', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { roomId, ghosts, bot } = await portal(rig, 12, null)
    await rig.say(rig.alice, roomId, 'x')
    const block = (await rig.sync(rig.alice, { filter: lazy(1) })).rooms?.join?.[roomId]
    const heroes = block?.summary?.['m.heroes']
    assert.deepEqual(heroes, [bot.userId, ...ghosts.slice(0, 4).map(({ userId }) => userId)])
    assert.deepEqual(members(block), [...heroes!, rig.alice.userId].toSorted())
  })

  test('incrementally: the senders, also those whose membership is old', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { roomId, ghosts } = await portal(rig, 3)
    const { next_batch: since } = await rig.sync(rig.alice, { filter: lazy(1) })
    await rig.say(ghosts[2]!, roomId, 'x')
    const block = (await rig.sync(rig.alice, { since, filter: lazy() })).rooms?.join?.[roomId]
    assert.deepEqual(members(block), [ghosts[2]!.userId])
    const redundant = (await rig.sync(rig.alice, { since, filter: lazy(10, { include_redundant_members: true }) })).rooms?.join?.[roomId]
    assert.deepEqual(members(redundant), [ghosts[2]!.userId])
  })

  test('a gap brings every membership that changed in it', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { roomId, ghosts } = await portal(rig, 6)
    const { next_batch: since } = await rig.sync(rig.alice, { filter: lazy(1) })
    await leaveRoom(rig.instance, ghosts[1]!, { roomId })
    await rig.set(ghosts[2]!, roomId, 'm.room.member', { membership: 'join', displayname: 'New name' }, ghosts[2]!.userId)
    await rig.sayMany(ghosts[3]!, roomId, 5)
    const block = (await rig.sync(rig.alice, { since, filter: lazy(2) })).rooms?.join?.[roomId]
    assert.deepEqual(
      members(block),
      [1, 2, 3].map((i) => ghosts[i]!.userId),
    )
    const after = (await rig.sync(rig.alice, { since, filter: lazy(2), stateAfter: 'state_after' })).rooms?.join?.[roomId]
    const changed = after?.state_after?.events.filter(({ type }) => type === 'm.room.member').map((event) => event.state_key)
    assert.deepEqual(
      changed?.toSorted(),
      [1, 2, 3].map((i) => ghosts[i]!.userId),
    )
  })

  test('/messages brings the members that its page needs', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { roomId, ghosts } = await portal(rig, 4)
    await rig.say(ghosts[3]!, roomId, 'x')
    const page = await rig.messages(rig.alice, { roomId, dir: 'b', limit: 1, filter: '{"lazy_load_members":true}' })
    assert.deepEqual(
      page.state?.map((event) => event.state_key),
      [ghosts[3]!.userId],
    )
  })

  test('counts come when they change, and only then', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { roomId, ghosts } = await portal(rig, 2)
    const initial = await rig.sync(rig.alice)
    assert.deepEqual(initial.rooms?.join?.[roomId]?.summary, { 'm.joined_member_count': 4, 'm.invited_member_count': 0 })
    await rig.say(ghosts[0]!, roomId, 'x')
    const quiet = await rig.sync(rig.alice, { since: initial.next_batch })
    assert.equal(quiet.rooms?.join?.[roomId]?.summary, undefined)
    await leaveRoom(rig.instance, ghosts[0]!, { roomId })
    await inviteUser(rig.instance, rig.alice, { roomId, userId: rig.bob.userId }).catch(() => undefined)
    const after = await rig.sync(rig.alice, { since: quiet.next_batch })
    assert.equal(after.rooms?.join?.[roomId]?.summary?.['m.joined_member_count'], 3)
  })

  test('heroes come again when the room loses its name, and of those who left when nobody else is there', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'A room' }, [rig.bob])
    const first = await rig.sync(rig.alice)
    assert.equal(first.rooms?.join?.[roomId]?.summary?.['m.heroes'], undefined)
    await rig.set(rig.alice, roomId, 'm.room.name', { name: '' })
    const second = await rig.sync(rig.alice, { since: first.next_batch })
    assert.deepEqual(second.rooms?.join?.[roomId]?.summary?.['m.heroes'], [rig.bob.userId])
    await leaveRoom(rig.instance, rig.bob, { roomId })
    const third = await rig.sync(rig.alice, { since: second.next_batch })
    assert.deepEqual(third.rooms?.join?.[roomId]?.summary, {
      'm.joined_member_count': 1,
      'm.invited_member_count': 0,
      'm.heroes': [rig.bob.userId],
    })
  })
})
