// Rooms as clients of GraphQL see them, against a real server.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, TestServer } from '../rig/server.ts'

await onBothServers('rooms by GraphQL', (start) => {
  let server: TestServer
  let alice: Client
  let bob: Client

  before(async () => {
    server = await start()
    alice = await server.register('alice')
    bob = await server.register('bob')
  })
  after(() => server[Symbol.asyncDispose]())

  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it asked for
  async function ask(client: Client, query: string, variables: Record<string, unknown> = {}): Promise<any> {
    const { data, errors } = await client.graphql(query, variables)
    assert.equal(errors, undefined, JSON.stringify(errors))
    return data
  }

  async function errcode(client: Client, query: string, variables: Record<string, unknown> = {}): Promise<string> {
    return (await client.graphql(query, variables)).errors[0].extensions.errcode
  }

  let txn = 0
  async function say(client: Client, roomId: string, content: Record<string, unknown>, type = 'm.room.message'): Promise<string> {
    const document = `mutation($roomId: ID!, $type: String!, $content: EventContent!, $txnId: String!) {
    sendMessage(roomId: $roomId, type: $type, content: $content, txnId: $txnId) { eventId }
  }`
    return (await ask(client, document, { roomId, type, content, txnId: `t${txn++}` })).sendMessage.eventId
  }

  async function shared(): Promise<string> {
    const create = `mutation($bob: ID!) { createRoom(input: { name: "Tea", topic: "and cake", invite: [$bob] }) { roomId room { name membership } } }`
    const { createRoom } = await ask(alice, create, { bob: bob.userId })
    assert.deepEqual(createRoom.room, { name: 'Tea', membership: 'JOIN' })
    const invited = await ask(bob, `query($id: ID!) { room(roomId: $id) { title topic membership } }`, { id: createRoom.roomId })
    assert.deepEqual(invited.room, { title: 'Tea', topic: 'and cake', membership: 'INVITE' })
    await ask(bob, `mutation($id: String!) { joinRoom(roomIdOrAlias: $id) { room { membership } } }`, { id: createRoom.roomId })
    return createRoom.roomId
  }

  test('a room shows itself, its members, what is unread and who has read', async () => {
    const roomId = await shared()
    const eventId = await say(alice, roomId, { msgtype: 'm.text', body: 'hello' })
    const document = `query($id: ID!) {
    room(roomId: $id) {
      roomId title name topic avatarUrl canonicalAlias roomType joinRule historyVisibility encrypted version
      joinedMemberCount invitedMemberCount membership isDirect tags typing
      unread { notificationCount highlightCount marked threads { threadId } }
      members(first: 1) { edges { cursor node { userId membership displayName user { kind } } } pageInfo { hasNextPage endCursor } }
      receipts { userId eventId private }
      accountData { type }
      state(type: "m.room.name") { content sender { userId } }
      none: state(type: "m.room.none") { eventId }
    }
    joinedRooms
  }`
    const { room, joinedRooms } = await ask(bob, document, { id: roomId })
    assert.ok(joinedRooms.includes(roomId))
    assert.equal(room.joinedMemberCount, 2)
    assert.equal(room.historyVisibility, 'shared')
    assert.deepEqual(room.unread, { notificationCount: 1, highlightCount: 0, marked: false, threads: [] })
    assert.deepEqual(room.state, { content: { name: 'Tea' }, sender: { userId: alice.userId } })
    assert.equal(room.none, null)
    const [first] = room.members.edges
    assert.deepEqual(first.node, { userId: alice.userId, membership: 'JOIN', displayName: null, user: { kind: 'PERSON' } })
    assert.equal(room.members.pageInfo.hasNextPage, true)
    const next = `query($id: ID!, $after: String) { room(roomId: $id) { members(first: 1, after: $after) { edges { node { userId } } pageInfo { hasNextPage } } } }`
    const page = (await ask(bob, next, { id: roomId, after: first.cursor })).room.members
    assert.deepEqual([page.edges[0].node.userId, page.pageInfo.hasNextPage], [bob.userId, false])

    await ask(bob, `mutation($id: ID!, $e: ID!) { sendReceipt(roomId: $id, eventId: $e) setTyping(roomId: $id, typing: true) }`, {
      id: roomId,
      e: eventId,
    })
    const after = (await ask(alice, document, { id: roomId })).room
    assert.deepEqual(after.receipts, [{ userId: bob.userId, eventId, private: false }])
    assert.deepEqual(after.typing, [bob.userId])
    assert.equal((await ask(bob, document, { id: roomId })).room.unread.notificationCount, 0)
  })

  test('a timeline pages both ways without gap or repeat', async () => {
    const roomId = await shared()
    for (let i = 0; i < 7; i++) await say(alice, roomId, { msgtype: 'm.text', body: `m${i}` })
    const document = `query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {
    room(roomId: $id) { timeline(first: $first, after: $after, last: $last, before: $before) {
      edges { cursor node { eventId position common { ... on TextMessage { body } } } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    } }
  }`
    const page = async (args: Record<string, unknown>) => (await ask(bob, document, { id: roomId, ...args })).room.timeline
    const bodies = (timeline: { edges: { node: { common: { body?: string } | null } }[] }) =>
      timeline.edges.map(({ node }) => node.common?.body)
    const newest = await page({ last: 3 })
    assert.deepEqual(bodies(newest), ['m4', 'm5', 'm6'])
    assert.deepEqual([newest.pageInfo.hasPreviousPage, newest.pageInfo.hasNextPage], [true, false])
    const older = await page({ last: 2, before: newest.pageInfo.startCursor })
    assert.deepEqual(bodies(older), ['m2', 'm3'])
    assert.equal(older.pageInfo.hasNextPage, true)
    const newer = await page({ first: 2, after: older.pageInfo.endCursor })
    assert.deepEqual(bodies(newer), ['m4', 'm5'])
    assert.deepEqual([newer.pageInfo.hasPreviousPage, newer.pageInfo.hasNextPage], [true, true])
    assert.deepEqual(bodies(await page({ first: 9, after: newer.pageInfo.endCursor })), ['m6'])
    const all: string[] = []
    let before: string | null = null
    for (;;) {
      const { edges, pageInfo }: { edges: { node: { eventId: string } }[]; pageInfo: { startCursor: string; hasPreviousPage: boolean } } =
        await page({ last: 4, before })
      all.unshift(...edges.map(({ node }) => node.eventId))
      if (!pageInfo.hasPreviousPage) break
      before = pageInfo.startCursor
    }
    assert.equal(new Set(all).size, all.length)
    assert.equal(all.length, (await page({ first: 1_000 })).edges.length)
    assert.equal(await errcode(bob, document, { id: roomId, first: 1, last: 1 }), 'M_INVALID_PARAM')
    assert.equal(await errcode(bob, document, { id: roomId, before: 'x' }), 'M_INVALID_PARAM')
  })

  test('the common kinds of events come in fields, all of them as JSON', async () => {
    const roomId = await shared()
    const text = await say(alice, roomId, {
      msgtype: 'm.notice',
      body: 'beep',
      format: 'org.matrix.custom.html',
      formatted_body: '<b>beep</b>',
    })
    const image = await say(alice, roomId, {
      msgtype: 'm.image',
      body: 'cat.png',
      url: 'mxc://x/y',
      info: { mimetype: 'image/png', size: 5_000_000_000, w: 2, h: 3 },
    })
    const reaction = await say(bob, roomId, { 'm.relates_to': { rel_type: 'm.annotation', event_id: text, key: '👍' } }, 'm.reaction')
    const edit = await say(alice, roomId, {
      msgtype: 'm.text',
      body: '* boop',
      'm.new_content': { msgtype: 'm.text', body: 'boop' },
      'm.relates_to': { rel_type: 'm.replace', event_id: text },
    })
    const odd = await say(alice, roomId, { a: 1 }, 'com.example')
    const { redact } = await ask(
      alice,
      `mutation($id: ID!, $e: ID!) { redact(roomId: $id, eventId: $e, txnId: "r", content: { reason: "no" }) { eventId event { common { ... on Redaction { target reason } } } } }`,
      { id: roomId, e: image },
    )
    assert.deepEqual(redact.event.common, { target: image, reason: 'no' })
    const document = `query($id: ID!, $e: ID!) { event(roomId: $id, eventId: $e) {
    type redacted originServerTs txnId sender { userId } content raw
    common {
      __typename
      ... on TextMessage { body formattedBody notice emote }
      ... on FileMessage { kind url mimeType sizeBytes width height }
      ... on Reaction { target key }
      ... on Edit { target newContent }
      ... on MembershipChange { userId membership }
    }
  } }`
    const one = async (e: string) => (await ask(alice, document, { id: roomId, e })).event
    const first = await one(text)
    assert.deepEqual(first.common, { __typename: 'TextMessage', body: 'beep', formattedBody: '<b>beep</b>', notice: true, emote: false })
    assert.equal(first.raw.unsigned['m.relations']['m.replace'].event_id, edit)
    assert.equal(first.raw.event_id, text)
    assert.match(first.txnId, /^t\d+$/)
    const emptied = await one(image)
    assert.deepEqual([emptied.redacted, emptied.common, emptied.content], [true, null, {}])
    assert.deepEqual((await one(reaction)).common, { __typename: 'Reaction', target: text, key: '👍' })
    assert.deepEqual((await one(edit)).common, { __typename: 'Edit', target: text, newContent: { msgtype: 'm.text', body: 'boop' } })
    const other = await one(odd)
    assert.deepEqual([other.common, other.content], [null, { a: 1 }])
    const image2 = await say(alice, roomId, {
      msgtype: 'm.image',
      body: 'cat.png',
      url: 'mxc://x/y',
      info: { mimetype: 'image/png', size: 5_000_000_000, w: 2, h: 3 },
    })
    assert.deepEqual((await one(image2)).common, {
      __typename: 'FileMessage',
      kind: 'IMAGE',
      url: 'mxc://x/y',
      mimeType: 'image/png',
      sizeBytes: 5_000_000_000,
      width: 2,
      height: 3,
    })
  })

  test('who is not in a room is refused as on the other face, and who left sees the room as it was', async () => {
    const roomId = await shared()
    const document = `query($id: ID!) { room(roomId: $id) { name membership joinedMemberCount timeline(last: 1) { edges { node { type } } } } }`
    assert.equal(await errcode(server.owner, document, { id: roomId }), 'M_FORBIDDEN')
    assert.equal(await errcode(server.owner, document, { id: '!none' }), 'M_FORBIDDEN')
    await ask(bob, `mutation($id: ID!) { leaveRoom(roomId: $id) }`, { id: roomId })
    await ask(alice, `mutation($id: ID!) { sendState(roomId: $id, type: "m.room.name", content: { name: "Coffee" }) { eventId } }`, {
      id: roomId,
    })
    const { room } = await ask(bob, document, { id: roomId })
    assert.deepEqual(room, {
      name: 'Tea',
      membership: 'LEAVE',
      joinedMemberCount: null,
      timeline: { edges: [{ node: { type: 'm.room.member' } }] },
    })
    assert.equal(
      await errcode(bob, `query($id: ID!) { room(roomId: $id) { members { edges { cursor } } } }`, { id: roomId }),
      'M_FORBIDDEN',
    )
    assert.equal(await errcode(bob, `mutation($id: ID!) { setTyping(roomId: $id, typing: true) }`, { id: roomId }), 'M_FORBIDDEN')
    await ask(bob, `mutation($id: ID!) { forgetRoom(roomId: $id) }`, { id: roomId })
    assert.equal(await errcode(bob, document, { id: roomId }), 'M_FORBIDDEN')
  })

  test('a nameless room is called after the others in it', async () => {
    const { createRoom } = await ask(
      alice,
      `mutation($bob: ID!) { createRoom(input: { isDirect: true, invite: [$bob] }) { room { title roomId } } }`,
      { bob: bob.userId },
    )
    assert.equal(createRoom.room.title, bob.userId)
    const alone = await ask(alice, `mutation { createRoom(input: {}) { room { title } } }`)
    assert.equal(alone.createRoom.room.title, 'Empty room')
  })

  test('aliases and the directory', async () => {
    const { createRoom } = await ask(
      alice,
      `mutation { createRoom(input: { preset: PUBLIC_CHAT, listed: true, name: "Market", aliasName: "market" }) { roomId } }`,
    )
    const document = `query($id: ID!) { publicRooms(searchTerm: "mark") { rooms { roomId name joinedMemberCount } total nextBatch } roomOfAlias(alias: "#market:example.com") { roomId } roomAliases(roomId: $id) roomListed(roomId: $id) }`
    const found = await ask(alice, document, { id: createRoom.roomId })
    assert.deepEqual(found.publicRooms, {
      rooms: [{ roomId: createRoom.roomId, name: 'Market', joinedMemberCount: 1 }],
      total: 1,
      nextBatch: null,
    })
    assert.deepEqual([found.roomOfAlias.roomId, found.roomAliases, found.roomListed], [createRoom.roomId, ['#market:example.com'], true])
    await ask(alice, `mutation($id: ID!) { setRoomListed(roomId: $id, listed: false) deleteAlias(alias: "#market:example.com") }`, {
      id: createRoom.roomId,
    })
    assert.equal(await errcode(alice, document, { id: createRoom.roomId }), 'M_NOT_FOUND')
  })
})
