/** Rooms that one is not in: invited, knocking, left, forgotten. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { banUser, forgetRoom, inviteUser, joinRoom, kickUser, knockRoom, leaveRoom } from '../../src/rooms/membership.ts'
import { setAccountData } from '../../src/users/account-data.ts'
import { onBothEngines, sqlitePlace } from '../storage/engines.ts'
import { bodies, names, SyncRig } from './rig.ts'

const withLeft = { room: { include_leave: true } }

await onBothEngines('memberships in sync', (place) => {
  test('an invitation is told once, and in every initial sync while it stands', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice)
    const since = await rig.now(rig.bob)
    await inviteUser(rig.instance, rig.alice, { roomId, userId: rig.bob.userId })
    const told = await rig.sync(rig.bob, { since })
    assert.deepEqual(Object.keys(told.rooms ?? {}), ['invite'])
    await rig.say(rig.alice, roomId, 'not for the invited')
    await setAccountData(rig.instance, rig.bob, { userId: rig.bob.userId, type: 'a', content: {} })
    assert.equal((await rig.sync(rig.bob, { since: told.next_batch })).rooms, undefined)
    assert.ok((await rig.sync(rig.bob)).rooms?.invite?.[roomId])
    await leaveRoom(rig.instance, rig.bob, { roomId })
    const declined = await rig.sync(rig.bob, { since: told.next_batch })
    assert.deepEqual(Object.keys(declined.rooms ?? {}), ['leave'])
    await inviteUser(rig.instance, rig.alice, { roomId, userId: rig.bob.userId })
    assert.ok((await rig.sync(rig.bob, { since: declined.next_batch })).rooms?.invite?.[roomId])
  })

  test('a declined invitation tells of the decline and of nothing else in the room', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'Secret name' })
    await inviteUser(rig.instance, rig.alice, { roomId, userId: rig.bob.userId })
    const since = await rig.now(rig.bob)
    for (let i = 0; i < 15; i++) await rig.set(rig.alice, roomId, 'org.example', { secret: i })
    await leaveRoom(rig.instance, rig.bob, { roomId, reason: 'no' })
    await rig.set(rig.alice, roomId, 'm.room.topic', { topic: 'secret' })
    for (const request of [{ since }, { filter: withLeft }, { since: 's0' }]) {
      const answer = await rig.sync(rig.bob, request)
      const block = answer.rooms?.leave?.[roomId]
      assert.deepEqual(names(block?.timeline.events), [`m.room.member ${rig.bob.userId}`])
      assert.deepEqual(block?.state?.events, [])
      assert.ok(!JSON.stringify(answer).toLowerCase().includes('secret'))
    }
  })

  test('a timeline ends with the leave: what comes later is told neither as event nor as state', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'then' }, [rig.bob])
    const since = await rig.now(rig.bob)
    await rig.say(rig.alice, roomId, 'before')
    await leaveRoom(rig.instance, rig.bob, { roomId })
    await rig.say(rig.alice, roomId, 'after')
    await rig.set(rig.alice, roomId, 'm.room.name', { name: 'now' })
    for (const filter of [{}, { room: { timeline: { limit: 1 } } }]) {
      const block = (await rig.sync(rig.bob, { since, filter })).rooms?.leave?.[roomId]
      assert.equal(block?.timeline.events.at(-1)?.content['membership'], 'leave')
      assert.ok(!JSON.stringify(block).includes('"now"'))
      assert.deepEqual([block?.ephemeral, block?.unread_notifications, block?.summary], [undefined, undefined, undefined])
    }
    const initial = await rig.sync(rig.bob, { filter: { room: { include_leave: true, timeline: { limit: 1 } } } })
    const block = initial.rooms?.leave?.[roomId]
    assert.equal(block?.state?.events.find(({ type }) => type === 'm.room.name')?.content['name'], 'then')
    assert.deepEqual(bodies(block?.timeline.events), [])
    const after = await rig.sync(rig.bob, { since, stateAfter: 'state_after' })
    assert.deepEqual(names(after.rooms?.leave?.[roomId]?.state_after?.events), [`m.room.member ${rig.bob.userId}`])
    assert.equal(after.rooms?.leave?.[roomId]?.state, undefined)
  })

  test('include_leave: rooms left before, in an initial sync only when asked for', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    await leaveRoom(rig.instance, rig.bob, { roomId })
    assert.deepEqual((await rig.sync(rig.bob)).rooms?.leave, {})
    assert.deepEqual(Object.keys((await rig.sync(rig.bob, { filter: withLeft })).rooms?.leave ?? {}), [roomId])
    const since = await rig.now(rig.bob)
    assert.equal((await rig.sync(rig.bob, { since, filter: withLeft })).rooms, undefined)
  })

  test('a ban after leaving is told without what happened between', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const since = await rig.now(rig.bob)
    await leaveRoom(rig.instance, rig.bob, { roomId })
    await rig.say(rig.alice, roomId, 'between')
    await banUser(rig.instance, rig.alice, { roomId, userId: rig.bob.userId })
    const block = (await rig.sync(rig.bob, { since })).rooms?.leave?.[roomId]
    assert.deepEqual(
      block?.timeline.events.map(({ content }) => content['membership']),
      ['leave', 'ban'],
    )
    const after = (await rig.sync(rig.bob, { since, stateAfter: 'state_after' })).rooms?.leave?.[roomId]
    assert.equal(after?.state_after?.events.at(-1)?.content['membership'], 'ban')
  })

  test('who joined and left in one window gets the room as left, with its state', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, { name: 'A room', preset: 'public_chat' })
    const since = await rig.now(rig.bob)
    await joinRoom(rig.instance, rig.bob, { roomIdOrAlias: roomId })
    await rig.say(rig.alice, roomId, 'seen')
    await kickUser(rig.instance, rig.alice, { roomId, userId: rig.bob.userId })
    const { rooms } = await rig.sync(rig.bob, { since })
    assert.deepEqual(Object.keys(rooms ?? {}), ['leave'])
    assert.deepEqual(bodies(rooms?.leave?.[roomId]?.timeline.events), ['seen'])
    const all = [...names(rooms?.leave?.[roomId]?.state?.events), ...names(rooms?.leave?.[roomId]?.timeline.events)]
    assert.ok(all.includes('m.room.name'))
  })

  test('a forgotten room never appears, except as left to who missed the leaving', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const before = await rig.now(rig.bob)
    await leaveRoom(rig.instance, rig.bob, { roomId })
    const between = (await rig.sync(rig.bob, { since: before })).next_batch
    await forgetRoom(rig.instance, rig.bob, roomId)
    assert.equal((await rig.sync(rig.bob, { since: between })).rooms, undefined)
    assert.deepEqual((await rig.sync(rig.bob, { filter: withLeft })).rooms?.leave, {})
    const missed = (await rig.sync(rig.bob, { since: before })).rooms?.leave?.[roomId]
    assert.deepEqual(missed?.timeline.events, [])
    await rig.restart()
    assert.equal((await rig.sync(rig.bob, { since: between })).rooms, undefined)
    assert.ok((await rig.sync(rig.bob, { since: before })).rooms?.leave?.[roomId])
  })
})

test('a knock shows stripped state, and its withdrawal the room as left', async (t) => {
  await using rig = await SyncRig.start(await sqlitePlace(t))
  const rules = { type: 'm.room.join_rules', stateKey: '', content: { join_rule: 'knock' } }
  const roomId = await rig.room(rig.alice, { name: 'A room', initialState: [rules] })
  const since = await rig.now(rig.bob)
  await knockRoom(rig.instance, rig.bob, { roomIdOrAlias: roomId })
  const told = await rig.sync(rig.bob, { since })
  const events = told.rooms?.knock?.[roomId]?.knock_state.events
  for (const name of ['m.room.create', 'm.room.name', 'm.room.join_rules', `m.room.member ${rig.bob.userId}`])
    assert.ok(names(events).includes(name))
  await leaveRoom(rig.instance, rig.bob, { roomId })
  assert.deepEqual(Object.keys((await rig.sync(rig.bob, { since: told.next_batch })).rooms ?? {}), ['leave'])
})

test('who ignores somebody sees no invitations and no messages of theirs, from then on and anew', async (t) => {
  await using rig = await SyncRig.start(await sqlitePlace(t))
  const roomId = await rig.room(rig.alice, { preset: 'public_chat' }, [rig.bob])
  const invited = await rig.room(rig.alice)
  await rig.say(rig.alice, roomId, 'earlier')
  const since = await rig.now(rig.bob)
  const content = { ignored_users: { [rig.alice.userId]: {} } }
  await setAccountData(rig.instance, rig.bob, { userId: rig.bob.userId, type: 'm.ignored_user_list', content })
  await rig.say(rig.alice, roomId, 'later')
  const name = await rig.set(rig.alice, roomId, 'm.room.name', { name: 'A room' })
  await inviteUser(rig.instance, rig.alice, { roomId: invited, userId: rig.bob.userId })
  const answer = await rig.sync(rig.bob, { since })
  assert.equal(answer.rooms?.invite, undefined)
  assert.deepEqual(
    answer.rooms?.join?.[roomId]?.timeline.events.map((event) => event.event_id),
    [name],
  )
  const initial = await rig.sync(rig.bob)
  assert.deepEqual(initial.rooms?.invite, {})
  assert.deepEqual(bodies(initial.rooms?.join?.[roomId]?.timeline.events), [])
})

test('who wants no invitations gets none', async (t) => {
  await using rig = await SyncRig.start(await sqlitePlace(t))
  await inviteUser(rig.instance, rig.alice, { roomId: await rig.room(rig.alice), userId: rig.bob.userId })
  await setAccountData(rig.instance, rig.bob, {
    userId: rig.bob.userId,
    type: 'm.invite_permission_config',
    content: { default_action: 'block' },
  })
  assert.deepEqual((await rig.sync(rig.bob)).rooms?.invite, {})
})
