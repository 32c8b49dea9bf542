/** A client that knows only GraphQL against a real server, and a client of the Matrix face on the other side. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Client, TestServer } from '../../rig/server.ts'
import { ask, type GraphqlClient, until } from './client.ts'
import { type Answer, createRoom, joinRoom, openScene, refused, type Scene } from './scene.ts'

let scene: Scene
let server: TestServer
let alice: GraphqlClient
let bob: GraphqlClient
let restAlice: Client
let restBob: Client

before(async () => {
  scene = await openScene()
  ;({ server, alice, bob, restAlice, restBob } = scene)
})

after(() => scene?.[Symbol.asyncDispose]())

const pageQuery = `query ($roomId: ID!, $first: Int, $after: String, $last: Int, $before: String) {
  room(roomId: $roomId) { timeline(first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { eventId position type common { ... on TextMessage { body } } } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  } }
}`

function encoded(roomId: string): string {
  return encodeURIComponent(roomId)
}

function bodies(timeline: Answer): string[] {
  return timeline.edges.flatMap(({ node }: Answer) => node.common?.body ?? [])
}

describe('a client that knows only GraphQL', () => {
  test('logs in and knows who it is, where, and with which devices', async () => {
    const { viewer, versions, loginFlows } = await alice.ask(
      '{ viewer { userId deviceId admin user { kind displayName } devices { deviceId createdAt } } versions { versions } loginFlows { type } }',
    )
    assert.equal(viewer.userId, '@owner:example.com')
    assert.equal(viewer.user.kind, 'PERSON')
    assert.ok(viewer.devices.some(({ deviceId }: Answer) => deviceId === viewer.deviceId))
    assert.ok(versions.versions.length > 0 && loginFlows.some(({ type }: Answer) => type === 'm.login.password'))
    assert.equal((await restAlice.get('/account/whoami')).body.device_id, viewer.deviceId)
    const wrong = ask(
      server.url,
      null,
      'mutation { login(input: {type: "m.login.password", user: "owner", password: "wrong"}) { userId } }',
    )
    assert.equal(await refused(wrong), 'M_FORBIDDEN')
  })

  test('a room that one creates and the other joins is in the inbox of both, and in what the Matrix face says', async () => {
    const live = bob.subscription(
      'subscription ($after: Position) { inbox(after: $after) { position left rooms { roomId membership title } } }',
      { after: await bob.position() },
    )
    const { createRoom: made } = await alice.ask(createRoom, { input: { name: 'Plans', topic: 'Of ours', invite: [bob.userId] } })
    assert.deepEqual(made.room, { title: 'Plans', membership: 'JOIN' })
    const invitation = (await live.next()).inbox.rooms.find((room: Answer) => room.roomId === made.roomId)
    assert.deepEqual(invitation, { roomId: made.roomId, membership: 'INVITE', title: 'Plans' })
    assert.ok((await bob.ask('{ invitations { roomId } }')).invitations.some(({ roomId }: Answer) => roomId === made.roomId))
    assert.equal(await refused(bob.ask(pageQuery, { roomId: made.roomId })), 'M_FORBIDDEN')

    assert.deepEqual((await bob.ask(joinRoom, { room: made.roomId })).joinRoom.room, { name: 'Plans', joinedMemberCount: 2 })
    const joined = async () => (await live.next()).inbox.rooms.find((room: Answer) => room.roomId === made.roomId)?.membership
    await until('the join', async () => (await joined()) === 'JOIN')
    const inbox =
      '{ inbox(first: 5) { edges { cursor node { roomId title topic activity newestEvent { type sender { userId } } unread { notificationCount marked } } } pageInfo { hasNextPage } } }'
    for (const client of [alice, bob]) {
      const [first] = (await client.ask(inbox)).inbox.edges
      assert.deepEqual([first.node.roomId, first.node.title, first.node.topic], [made.roomId, 'Plans', 'Of ours'])
      assert.deepEqual([first.node.newestEvent.type, first.node.newestEvent.sender.userId], ['m.room.member', bob.userId])
    }
    const sync = await restBob.sync()
    assert.ok(
      sync.rooms.join[made.roomId].state.events
        .concat(sync.rooms.join[made.roomId].timeline.events)
        .some((event: Answer) => event.type === 'm.room.topic'),
    )

    await bob.ask('mutation ($roomId: ID!) { leaveRoom(roomId: $roomId) }', { roomId: made.roomId })
    await until('the leave', async () => (await live.next()).inbox.left.includes(made.roomId))
    live.cut()
  })

  test('messages, an edit, a reaction and a redaction reach the other live, and the Matrix face', async () => {
    const roomId = await scene.sharedRoom()
    const live = bob.subscription(
      `subscription ($roomId: ID!, $after: Position) { timeline(roomId: $roomId, after: $after) {
        eventId common { __typename ... on TextMessage { body } ... on Edit { target newContent } ... on Reaction { target key } ... on Redaction { target reason } }
      } }`,
      { roomId, after: await bob.position() },
    )
    const eventId = await alice.send(roomId, 'tpyo')
    assert.deepEqual((await live.next()).timeline, { eventId, common: { __typename: 'TextMessage', body: 'tpyo' } })
    await alice.send(roomId, {
      msgtype: 'm.text',
      body: '* typo',
      'm.new_content': { msgtype: 'm.text', body: 'typo' },
      'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
    })
    assert.deepEqual((await live.next()).timeline.common, {
      __typename: 'Edit',
      target: eventId,
      newContent: { msgtype: 'm.text', body: 'typo' },
    })
    await bob.send(roomId, { 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' } }, 'm.reaction')
    assert.deepEqual((await live.next()).timeline.common, { __typename: 'Reaction', target: eventId, key: '👍' })
    const shown = (await restAlice.get(`/rooms/${encoded(roomId)}/event/${encoded(eventId)}`)).body
    assert.equal(shown.unsigned['m.relations']['m.replace'].content['m.new_content'].body, 'typo')

    await alice.ask(
      'mutation ($roomId: ID!, $eventId: ID!) { redact(roomId: $roomId, eventId: $eventId, txnId: "r", content: {reason: "gone"}) { eventId } }',
      { roomId, eventId },
    )
    assert.deepEqual((await live.next()).timeline.common, { __typename: 'Redaction', target: eventId, reason: 'gone' })
    const { event } = await bob.ask(
      'query ($roomId: ID!, $eventId: ID!) { event(roomId: $roomId, eventId: $eventId) { redacted content common { __typename } } }',
      { roomId, eventId },
    )
    assert.deepEqual(event, { redacted: true, content: {}, common: null })

    const fromRest = await restAlice.send(roomId, 'from the Matrix face')
    assert.deepEqual((await live.next()).timeline, {
      eventId: fromRest,
      common: { __typename: 'TextMessage', body: 'from the Matrix face' },
    })
    live.cut()
  })

  test('history is paginated both ways to both ends', async () => {
    const roomId = await scene.sharedRoom()
    const texts = Array.from({ length: 60 }, (_, i) => `message ${i}`)
    for (const text of texts) await alice.send(roomId, text)
    const back: string[] = []
    let types: string[] = []
    let before: string | null = null
    do {
      const { timeline } = (await bob.ask(pageQuery, { roomId, last: 25, before })).room as Answer
      back.unshift(...bodies(timeline))
      types = [...timeline.edges.map(({ node }: Answer) => node.type), ...types]
      before = timeline.pageInfo.hasPreviousPage ? timeline.pageInfo.startCursor : null
    } while (before !== null)
    assert.deepEqual(back, texts)
    assert.equal(types[0], 'm.room.create')

    const forth: string[] = []
    let cursor: string | null = null
    for (let more = true; more; ) {
      const { timeline } = (await bob.ask(pageQuery, { roomId, first: 25, after: cursor })).room as Answer
      forth.push(...bodies(timeline))
      cursor = timeline.pageInfo.endCursor
      more = timeline.pageInfo.hasNextPage
    }
    assert.deepEqual(forth, texts)
    const { chunk } = (await restBob.get(`/rooms/${encoded(roomId)}/messages?dir=f&limit=100`)).body
    assert.deepEqual(
      chunk.map(({ type }: Answer) => type),
      types,
    )
  })

  test('reading clears the unread count; receipts and markers are seen by the other and by the Matrix face', async () => {
    const roomId = await scene.sharedRoom()
    const unread = async () =>
      (await bob.ask('query ($roomId: ID!) { room(roomId: $roomId) { unread { notificationCount highlightCount } } }', { roomId })).room
        .unread.notificationCount
    const live = alice.subscription(
      'subscription ($roomId: ID!, $after: Position) { receipts(roomId: $roomId, after: $after) { position receipts { userId eventId private threadId } } }',
      {
        roomId,
        after: await alice.position(),
      },
    )
    const inbox = bob.subscription(
      'subscription ($after: Position) { inbox(after: $after) { rooms { roomId unread { notificationCount } } } }',
      { after: await bob.position() },
    )
    const counts = async (count: number) =>
      until(`${count} unread`, async () =>
        (await inbox.next()).inbox.rooms.some((room: Answer) => room.roomId === roomId && room.unread.notificationCount === count),
      )
    const eventId = await alice.send(roomId, 'read me')
    assert.equal(await unread(), 1)
    await counts(1)
    await bob.ask(
      'mutation ($roomId: ID!, $eventId: ID!) { setReadMarkers(roomId: $roomId, read: {eventId: $eventId}, fullyRead: {eventId: $eventId}) }',
      { roomId, eventId },
    )
    assert.equal(await unread(), 0)
    await counts(0)
    const moved = await until('the receipt', async () =>
      (await live.next()).receipts.receipts.find((receipt: Answer) => receipt.userId === bob.userId),
    )
    assert.deepEqual(moved, { userId: bob.userId, eventId, private: false, threadId: null })
    const sync = (await restBob.sync()).rooms.join[roomId]
    assert.equal(sync.account_data.events.find(({ type }: Answer) => type === 'm.fully_read').content.event_id, eventId)
    assert.ok(sync.ephemeral.events.some((event: Answer) => event.content[eventId]?.['m.read']?.[bob.userId]))

    const next = await restAlice.send(roomId, 'and me')
    await counts(1)
    await restBob.post(`/rooms/${encoded(roomId)}/receipt/m.read.private/${encoded(next)}`)
    await counts(0)
    const { receipts } = (await alice.ask('query ($roomId: ID!) { room(roomId: $roomId) { receipts { userId eventId } } }', { roomId }))
      .room
    assert.ok(
      !receipts.some((receipt: Answer) => receipt.eventId === next && receipt.userId === bob.userId),
      'a private receipt is nobody else’s',
    )
    live.cut()
    inbox.cut()
  })

  test('typing begins and ends, from either face', async () => {
    const roomId = await scene.sharedRoom()
    const live = bob.subscription('subscription ($roomId: ID!) { typing(roomId: $roomId) { position userIds } }', { roomId })
    const typing = async () => (await live.next()).typing.userIds
    assert.deepEqual(await typing(), [])
    const setTyping = 'mutation ($roomId: ID!, $typing: Boolean!) { setTyping(roomId: $roomId, typing: $typing, timeoutMs: 20000) }'
    await alice.ask(setTyping, { roomId, typing: true })
    assert.deepEqual(await typing(), [alice.userId])
    await alice.ask(setTyping, { roomId, typing: false })
    assert.deepEqual(await typing(), [])
    await restAlice.put(`/rooms/${encoded(roomId)}/typing/${encoded(alice.userId)}`, { typing: true, timeout: 20_000 })
    assert.deepEqual(await typing(), [alice.userId])
    await server.restart()
    const again = bob.subscription('subscription ($roomId: ID!, $after: Position) { typing(roomId: $roomId, after: $after) { userIds } }', {
      roomId,
      after: 1,
    })
    assert.deepEqual((await again.next()).typing.userIds, [], 'nobody remembers: as it is now')
    again.cut()
  })

  test('tags, account data and the profile are changed, shown live, and read by the Matrix face', async () => {
    const roomId = await scene.sharedRoom('Tagged')
    const live = alice.subscription(
      'subscription ($after: Position) { inbox(after: $after) { rooms { roomId tags isDirect } accountData { type content } } }',
      { after: await alice.position() },
    )
    await alice.ask('mutation ($roomId: ID!) { setTag(roomId: $roomId, tag: "m.favourite", content: {order: 0.5}) }', { roomId })
    const tagged = await until('the tag', async () =>
      (await live.next()).inbox.rooms.find((room: Answer) => room.roomId === roomId && room.tags['m.favourite']),
    )
    assert.deepEqual(tagged.tags, { 'm.favourite': { order: 0.5 } })
    assert.deepEqual((await restAlice.get(`/user/${encoded(alice.userId)}/rooms/${encoded(roomId)}/tags`)).body.tags, tagged.tags)
    const inbox = async (filter: object) =>
      (
        await alice.ask('query ($filter: InboxFilter) { inbox(first: 50, filter: $filter) { edges { node { roomId } } } }', { filter })
      ).inbox.edges.map(({ node }: Answer) => node.roomId)
    assert.deepEqual(await inbox({ tag: 'm.favourite' }), [roomId])
    await alice.ask('mutation ($roomId: ID!) { removeTag(roomId: $roomId, tag: "m.favourite") }', { roomId })
    assert.deepEqual(await inbox({ tag: 'm.favourite' }), [])

    await alice.ask('mutation ($content: JsonObject!) { setAccountData(type: "m.direct", content: $content) }', {
      content: { [bob.userId]: [roomId] },
    })
    const direct = await until('m.direct', async () =>
      (await live.next()).inbox.accountData.find(({ type }: Answer) => type === 'm.direct'),
    )
    assert.deepEqual(direct.content, { [bob.userId]: [roomId] })
    assert.deepEqual(await inbox({ direct: true }), [roomId])
    await restBob.send(roomId, 'unread')
    assert.deepEqual(await inbox({ direct: true, unread: true }), [roomId])
    assert.deepEqual(await inbox({ bridge: 'none' }), [])
    assert.deepEqual((await restAlice.get(`/user/${encoded(alice.userId)}/account_data/m.direct`)).body, direct.content)

    await alice.ask('mutation { setDisplayName(displayName: "Alice A.") setProfileField(key: "org.example.mood", value: "calm") }')
    assert.equal((await restBob.get(`/profile/${encoded(alice.userId)}`)).body.displayname, 'Alice A.')
    const { user, room } = await bob.ask(
      'query ($userId: ID!, $roomId: ID!) { user(userId: $userId) { displayName profile } room(roomId: $roomId) { members(first: 10) { edges { node { userId displayName membership } } } } }',
      { userId: alice.userId, roomId },
    )
    assert.deepEqual(user.profile, { displayname: 'Alice A.', 'org.example.mood': 'calm' })
    assert.ok(room.members.edges.some(({ node }: Answer) => node.displayName === 'Alice A.' && node.userId === alice.userId))
    live.cut()
  })

  test('an upload that GraphQL announced is an image in the timeline', async () => {
    const roomId = await scene.sharedRoom()
    const { contentUri } = (await alice.ask('mutation { createMedia { contentUri unusedExpiresAt } }')).createMedia
    await alice.send(roomId, {
      msgtype: 'm.image',
      body: 'dot.png',
      url: contentUri,
      info: { mimetype: 'image/png', w: 1, h: 1, size: 68 },
    })
    const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')
    const place = contentUri.slice('mxc://'.length)
    const put = await restAlice.request('PUT', `/_matrix/media/v3/upload/${place}?filename=dot.png`, undefined, {
      raw: png,
      headers: { 'content-type': 'image/png' },
    })
    assert.equal(put.status, 200)
    const { media, room } = await bob.ask(
      'query ($mxc: String!, $roomId: ID!) { media(mxc: $mxc) { contentType sizeBytes fileName } room(roomId: $roomId) { timeline(last: 1) { edges { node { common { ... on FileMessage { kind url width sizeBytes mimeType } } } } } } }',
      { mxc: contentUri, roomId },
    )
    assert.deepEqual(media, { contentType: 'image/png', sizeBytes: png.length, fileName: 'dot.png' })
    assert.deepEqual(room.timeline.edges[0].node.common, { kind: 'IMAGE', url: contentUri, width: 1, sizeBytes: 68, mimeType: 'image/png' })
  })
})
