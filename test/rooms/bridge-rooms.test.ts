// Rooms that bridges make: who is joined to them, and where their aliases lie. Bridges on a domain of their own, on both databases.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { registerBridge, type TestBridge } from '../users/bridge.ts'
import { path, refused } from './backfill.ts'

await onBothServers('rooms of bridges', (start) => {
  let server: TestServer
  let owner: Client
  let bob: Client
  let carol: Client
  let bridge: TestBridge
  let other: TestBridge
  let bot: Client

  before(async () => {
    server = await start({ config: { bridgeDomain: 'bridges.example.com' } })
    owner = server.owner
    bob = await server.register('bob')
    carol = await server.register('carol')
    bridge = await registerBridge(server, 'ours')
    other = await registerBridge(server, 'other')
    bot = server.client(bridge.as_token, bridge.botId)
  })
  after(() => server[Symbol.asyncDispose]())

  const accepted = ({ status, body }: Reply): Reply['body'] => {
    assert.equal(status, 200, JSON.stringify(body))
    return body
  }
  /** user id → membership */
  async function memberships(roomId: string, reader: { request: Client['request'] } = bot): Promise<Record<string, string>> {
    const { chunk } = accepted(await reader.request('GET', `/rooms/${path(roomId)}/members`))
    return Object.fromEntries(chunk.map((event: Reply['body']) => [event.state_key, event.content.membership]))
  }
  const ofBridge = (...ghosts: number[]) =>
    Object.fromEntries([bridge.botId, ...ghosts.map(bridge.ghost)].map((userId) => [userId, 'join']))
  const join = async (client: { request: Client['request'] }, roomId: string) =>
    accepted(await client.request('POST', `/rooms/${path(roomId)}/join`, {}))
  const leave = async (client: Client, roomId: string) => accepted(await client.post(`/rooms/${path(roomId)}/leave`))

  test('a bridge joins its ghosts, its bot and the owner to a new room, and can only invite anybody else', async () => {
    const strangers = [bob.userId, other.botId, other.ghost(1)]
    accepted(await other.as(other.ghost(1)).request('POST', '/createRoom', {}))
    const all = [bridge.ghost(1), owner.userId, ...strangers]
    const expected = { ...ofBridge(1), [owner.userId]: 'join', ...Object.fromEntries(strangers.map((userId) => [userId, 'invite'])) }
    for (const body of [
      { invite: all, 'com.beeper.auto_join_invites': true },
      { 'com.beeper.initial_members': all },
      { invite: all, 'com.beeper.initial_members': all, 'com.beeper.auto_join_invites': true },
    ]) {
      const roomId = await bot.createRoom(body)
      assert.deepEqual(await memberships(roomId), expected)
      assert.ok(!accepted(await bob.get('/joined_rooms')).joined_rooms.includes(roomId))
      assert.ok((await bob.sync()).rooms.invite[roomId])
      await join(bob, roomId)
      await join(other.as(other.botId), roomId)
      assert.deepEqual(await memberships(roomId), { ...expected, [bob.userId]: 'join', [other.botId]: 'join' })
    }
    const input = { invite: all, initialMembers: all, autoJoinInvites: true, isDirect: true }
    const { data } = await bot.graphql('mutation($input: CreateRoomInput!) { createRoom(input: $input) { roomId } }', { input })
    assert.deepEqual(await memberships(data.createRoom.roomId), expected)
    const asked = (await bob.sync()).rooms.invite[data.createRoom.roomId].invite_state.events
    const invitation = asked.find((event: Reply['body']) => event.state_key === bob.userId)
    assert.deepEqual([invitation.sender, invitation.content.is_direct], [bridge.botId, true])
  })

  test('so does a bridge that makes a room as the owner or as a ghost', async () => {
    const body = { invite: [bob.userId, bridge.botId], 'com.beeper.initial_members': [carol.userId], 'com.beeper.auto_join_invites': true }
    for (const creator of [owner.userId, bridge.ghost(1)]) {
      const made = accepted(await bridge.as(creator).request('POST', '/createRoom', body))
      const expected = { [creator]: 'join', [bridge.botId]: 'join', [bob.userId]: 'invite', [carol.userId]: 'invite' }
      assert.deepEqual(await memberships(made.room_id), expected)
    }
  })

  test('who may not be invited refuses the whole room', async () => {
    const named = (userId: string) => bot.post('/createRoom', { 'com.beeper.initial_members': [bridge.ghost(7), userId] })
    refused(await named('@nobody:example.com'), 404, 'M_NOT_FOUND')
    refused(await named(other.ghost(99)), 404, 'M_NOT_FOUND')
    refused(await named('@bob:elsewhere.org'), 403, 'M_FORBIDDEN')
    refused(await named('bob'), 400, 'M_INVALID_PARAM')
    const refusedTo = { power_level_content_override: { users: { [bridge.botId]: 100 }, invite: 101 } }
    refused(await bot.post('/createRoom', { 'com.beeper.initial_members': [bob.userId], ...refusedTo }), 403, 'M_FORBIDDEN')
    refused(await owner.get(`/profile/${path(bridge.ghost(7))}`), 404, 'M_NOT_FOUND')
    assert.ok(await bot.createRoom({ 'com.beeper.initial_members': [owner.userId, bridge.ghost(7)], ...refusedTo }))
  })

  test('rooms merged and split keep who was in them, and join nobody else', async () => {
    const base = '/_matrix/client/unstable/com.beeper.chatmerging'
    const key = 'com.example.chat'
    const [one, two] = [await bot.createRoom({ invite: [bob.userId] }), await bot.createRoom({ invite: [bob.userId, carol.userId] })]
    await join(bob, two)
    // Who has left, and who was only invited, has to be asked again.
    await join(carol, two)
    await leave(carol, two)
    const invite = [bob.userId, carol.userId, other.botId, bridge.ghost(1)]
    const create = { invite, 'com.beeper.auto_join_invites': true }
    const merged = accepted(await bot.post(`${base}/merge`, { create, key, rooms: [one, two] })).room_id
    const expected = { ...ofBridge(1), [bob.userId]: 'join', [carol.userId]: 'invite', [other.botId]: 'invite' }
    assert.deepEqual(await memberships(merged), expected)
    const initial = { 'com.beeper.initial_members': invite }
    const parts = [
      { create, values: ['a'] },
      { create: initial, values: ['b'], user_id: bridge.ghost(1) },
    ]
    const { room_ids } = accepted(await bot.post(`${base}/rooms/${path(merged)}/split`, { key, parts }))
    assert.deepEqual(await memberships(room_ids.a), expected)
    // Who is not named is not in it.
    const { [bridge.botId]: _bot, ...named } = expected
    assert.deepEqual(await memberships(room_ids.b, bridge.as(bridge.ghost(1))), named)
  })

  test('of more than 200 others named for a merged room nobody is joined, all are invited', async () => {
    const others = Array.from({ length: 201 }, (_, i) => other.ghost(i + 100))
    const theirs = { 'com.beeper.initial_members': others, invite: [bridge.botId] }
    for (const [invite, membership] of [
      [others.slice(1), 'join'],
      [others, 'invite'],
    ] as const) {
      const made = accepted(await other.as(other.botId).request('POST', '/createRoom', theirs)).room_id
      await join(bot, made)
      const create = { invite, 'com.beeper.auto_join_invites': true }
      const body = { create, key: 'com.example.chat', rooms: [made, await bot.createRoom()] }
      const merged = accepted(await bot.post('/_matrix/client/unstable/com.beeper.chatmerging/merge', body)).room_id
      const { [bridge.botId]: own, ...named } = await memberships(merged)
      assert.equal(own, 'join')
      assert.deepEqual(named, Object.fromEntries(invite.map((userId) => [userId, membership])))
    }
  })

  test('an alias lies on the domain of who makes the room with it: that of bridges or that of people', async () => {
    const namespaces = {
      users: [{ regex: '@net_.*:bridges\\.example\\.com', exclusive: true }],
      aliases: [{ regex: '#net_.*:bridges\\.example\\.com', exclusive: true }],
    }
    const { data } = await server.administrator.graphql(
      'mutation($registration: JsonObject!) { registerBridge(id: "net", registration: $registration) { registration } }',
      { registration: { namespaces } },
    )
    const net = server.client(data.registerBridge.registration.as_token)
    const byAlias = async (alias: string) => {
      const { status, body } = await owner.get(`/directory/room/${path(alias)}`)
      return status === 200 ? body.room_id : body.errcode
    }
    const ghost = `?user_id=${path('@net_1:bridges.example.com')}`
    const puppet = `?user_id=${path(owner.userId)}`
    for (const [client, as, localpart, domain, elsewhere] of [
      [net, '', 'net_bot', 'bridges.example.com', 'example.com'],
      [net, ghost, 'net_ghost', 'bridges.example.com', 'example.com'],
      [net, puppet, 'net_puppet', 'example.com', 'bridges.example.com'],
      [owner, '', 'net_person', 'example.com', 'bridges.example.com'],
    ] as const) {
      const body = { room_alias_name: localpart, preset: 'public_chat' }
      const { room_id: roomId } = accepted(await client.post(`/createRoom${as}`, body))
      assert.equal(await byAlias(`#${localpart}:${domain}`), roomId)
      assert.equal(await byAlias(`#${localpart}:${elsewhere}`), 'M_NOT_FOUND')
      accepted(await owner.post(`/join/${path(`#${localpart}:${domain}`)}`))
      const canonical = accepted(await owner.get(`/rooms/${path(roomId)}/state/m.room.canonical_alias`))
      assert.deepEqual(canonical, { alias: `#${localpart}:${domain}` })
      refused(await client.post(`/createRoom${as}`, body), 400, 'M_ROOM_IN_USE')
    }
    // Another bridge's namespace is out of reach; the same name where people are is free.
    refused(await bot.post('/createRoom', { room_alias_name: 'net_taken' }), 400, 'M_EXCLUSIVE')
    accepted(await owner.post('/createRoom', { room_alias_name: 'net_bot' }))
  })
})
