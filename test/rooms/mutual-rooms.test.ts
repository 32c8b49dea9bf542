/** Rooms in common with somebody, on both faces. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { registerBridge, type TestBridge } from '../users/bridge.ts'

const stable = '/_matrix/client/v1/mutual_rooms'
const unstable = '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms'
const document = `query($userId: ID!, $first: Int, $after: String, $last: Int) {
  mutualRooms(userId: $userId, first: $first, after: $after, last: $last) {
    count edges { cursor node { roomId title membership } } pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}`

await onBothServers('rooms in common', (start) => {
  let server: TestServer
  let alice: Client
  let bob: Client
  let bridge: TestBridge
  before(async () => {
    server = await start()
    alice = await server.register('alice')
    bob = await server.register('bob')
    bridge = await registerBridge(server, 'mutual')
  })
  after(() => server[Symbol.asyncDispose]())

  const ask = (client: Client, users: string | readonly string[], more: Record<string, string> = {}, path = stable): Promise<Reply> => {
    const query = new URLSearchParams([...[users].flat().map((user) => ['user_id', user]), ...Object.entries(more)])
    return client.get(`${path}?${query}`)
  }
  function refused(reply: Reply, status: number, errcode: string): void {
    assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(reply.body))
  }
  const room = (roomId: string, action: string) => `/rooms/${encodeURIComponent(roomId)}/${action}`
  async function shared(first: Client, second: Client, more: object = {}): Promise<string> {
    const roomId = await first.createRoom({ invite: [second.userId], ...more })
    assert.equal((await second.post(room(roomId, 'join'))).status, 200)
    return roomId
  }
  /** Made by the bot, with everybody joined at once. */
  async function portal(invite: readonly string[]): Promise<string> {
    return server.client(bridge.as_token).createRoom({ invite, 'com.beeper.auto_join_invites': true })
  }

  test('rooms in common are those that both are joined to now, under both paths and by GraphQL', async () => {
    const tea = await shared(alice, bob, { name: 'Tea' })
    const left = await shared(alice, bob)
    const cake = await shared(bob, alice, { name: 'Cake' })
    const thrown = await shared(alice, bob)
    await alice.createRoom()
    await alice.createRoom({ invite: [bob.userId] })
    assert.equal((await bob.post(room(left, 'leave'))).status, 200)
    assert.equal((await alice.post(room(thrown, 'ban'), { user_id: bob.userId })).status, 200)

    for (const [client, other] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      for (const path of [stable, unstable]) {
        const { status, body } = await ask(client, other.userId, {}, path)
        assert.deepEqual([status, body], [200, { joined: [tea, cake], count: 2 }])
      }
      const { data } = await client.graphql(document, { userId: other.userId })
      assert.deepEqual(
        data.mutualRooms.edges.map((edge: { node: object }) => edge.node),
        [
          { roomId: tea, title: 'Tea', membership: 'JOIN' },
          { roomId: cake, title: 'Cake', membership: 'JOIN' },
        ],
      )
      assert.equal(data.mutualRooms.count, 2)
      assert.deepEqual(data.mutualRooms.pageInfo, {
        hasNextPage: false,
        hasPreviousPage: false,
        endCursor: data.mutualRooms.edges[1].cursor,
      })
    }
    await alice.post(room(cake, 'leave'))
    assert.deepEqual((await ask(bob, alice.userId)).body, { joined: [tea], count: 1 })
  })

  test('a room that is deleted is in common with nobody', async () => {
    const ghost = bridge.ghost(1)
    const [kept, gone] = [await portal([ghost]), await portal([ghost])]
    const bot = server.client(bridge.as_token)
    assert.deepEqual((await ask(bot, ghost)).body, { joined: [kept, gone], count: 2 })
    const yeet = `/_matrix/client/unstable/com.beeper.yeet/rooms/${encodeURIComponent(gone)}/delete`
    assert.equal((await bot.post(yeet)).status, 200)
    assert.deepEqual((await ask(bot, ghost)).body, { joined: [kept], count: 1 })
  })

  test('more than a hundred rooms come in pages, each once, also after a restart', async () => {
    const ghost = bridge.ghost(2)
    const rooms: string[] = []
    for (let i = 0; i < 103; i++) rooms.push(await portal([ghost]))
    const bot = server.client(bridge.as_token)
    const { body: first } = await ask(bot, ghost)
    assert.deepEqual([first.joined, first.count], [rooms.slice(0, 100), 103])
    // https://spec.matrix.org/v1.19/appendices/#opaque-identifiers
    assert.match(first.next_batch, /^[0-9A-Za-z._~-]{1,255}$/)
    await server.restart()
    // What somebody leaves between two pages makes nothing come twice or be missed.
    assert.equal((await bot.post(room(rooms[3]!, 'kick'), { user_id: ghost })).status, 200)
    assert.deepEqual((await ask(bot, ghost, { from: first.next_batch })).body, { joined: rooms.slice(100), count: 102 })
    const old = await ask(bot, ghost, { batch_token: first.next_batch_token }, unstable)
    assert.deepEqual(old.body.joined, rooms.slice(100))

    const read: string[] = []
    for (let after: string | null = null; ; ) {
      const { data } = await bot.graphql(document, { userId: ghost, first: 40, after })
      read.push(...data.mutualRooms.edges.map((edge: { node: { roomId: string } }) => edge.node.roomId))
      assert.equal(data.mutualRooms.pageInfo.hasPreviousPage, after !== null)
      if (!data.mutualRooms.pageInfo.hasNextPage) break
      after = data.mutualRooms.pageInfo.endCursor
    }
    assert.deepEqual(
      read,
      rooms.filter((_, i) => i !== 3),
    )
  })

  test('nobody learns who exists: there are no rooms in common with who does not', async () => {
    const nobody = ['@nobody:example.com', '@alice:elsewhere.org', '@Some One:example.com', bridge.ghost(77)]
    for (const userId of [...nobody, server.owner.userId]) {
      const { status, body } = await ask(bob, userId)
      assert.deepEqual([status, body], [200, { joined: [], count: 0 }], userId)
      assert.equal((await bob.graphql(document, { userId })).data.mutualRooms.count, 0)
    }
  })

  test('one’s own id, what is no user id and what is no token are refused, and so is who has no token', async () => {
    for (const userId of [bob.userId, 'alice', '@alice', '', '@a\0:example.com', '@alice:exa mple.com']) {
      refused(await ask(bob, userId), 400, 'M_INVALID_PARAM')
      refused(await ask(bob, userId, {}, unstable), 400, 'M_INVALID_PARAM')
      assert.equal((await bob.graphql(document, { userId })).errors[0].extensions.errcode, 'M_INVALID_PARAM')
    }
    refused(await bob.get(stable), 400, 'M_MISSING_PARAM')
    refused(await ask(bob, [alice.userId, '@carol:example.com']), 400, 'M_INVALID_PARAM')
    for (const from of ['x', 's1', 'r0', 'r-1', `r${'9'.repeat(40)}`]) {
      refused(await ask(bob, alice.userId, { from }), 400, 'M_INVALID_PARAM')
    }
    for (const page of [{ first: 0 }, { first: 101 }, { last: 1 }, { after: 'm1' }]) {
      const { errors } = await bob.graphql(document, { userId: alice.userId, ...page })
      assert.equal(errors[0].extensions.errcode, 'M_INVALID_PARAM', JSON.stringify(page))
    }
    refused(await server.request('GET', `${stable}?user_id=${encodeURIComponent(alice.userId)}`), 401, 'M_MISSING_TOKEN')
    refused(await ask(server.client('wrong'), alice.userId), 401, 'M_UNKNOWN_TOKEN')
    const headers = { 'content-type': 'application/json' }
    const { errors } = (await server.request('POST', '/graphql', { query: document, variables: { userId: alice.userId } }, { headers }))
      .body
    assert.equal(errors[0].extensions.errcode, 'M_MISSING_TOKEN')
  })

  test('an appservice asks as its bot, or as the user whose id stands before the other', async () => {
    const [one, two] = [bridge.ghost(3), bridge.ghost(4)]
    const both = await portal([one, two, server.owner.userId])
    const alone = await portal([one])
    const bot = server.client(bridge.as_token)
    assert.deepEqual((await ask(bot, one)).body.joined, [both, alone])
    assert.deepEqual((await ask(bot, [one, two])).body.joined, [both])
    assert.deepEqual((await ask(bot, [one, bridge.botId])).body.joined, [both, alone])
    assert.deepEqual((await ask(bot, [two, server.owner.userId])).body.joined, [both])
    refused(await ask(bot, bridge.botId), 400, 'M_INVALID_PARAM')
    refused(await ask(bot, [one, one]), 400, 'M_INVALID_PARAM')
    refused(await ask(bot, [one, two, bridge.botId]), 400, 'M_INVALID_PARAM')
    refused(await ask(bot, ['@stranger:example.com', two]), 403, 'M_FORBIDDEN')
    refused(await ask(bot, [bob.userId, alice.userId]), 403, 'M_FORBIDDEN')
    // A ghost that was not made yet, and the owner: of the owner's rooms an appservice learns nothing here.
    refused(await ask(bot, [bridge.ghost(99), two]), 403, 'M_FORBIDDEN')
    refused(await ask(bot, [server.owner.userId, two]), 403, 'M_FORBIDDEN')
    const puppet = bridge.as(server.owner.userId)
    const headers = { 'content-type': 'application/json' }
    const { body } = await puppet.request('POST', '/graphql', { query: document, variables: { userId: two } }, { headers })
    assert.equal(body.errors[0].extensions.errcode, 'M_FORBIDDEN')
    const ghost = bridge.as(two)
    const asked = await ghost.request('POST', '/graphql', { query: document, variables: { userId: one } }, { headers })
    assert.equal(asked.body.data.mutualRooms.edges[0].node.roomId, both)
  })
})
