/** What a client that knows only GraphQL misses when it is cut: nothing. What ends its subscriptions, and how it learns why. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Client, TestServer } from '../../rig/server.ts'
import { GraphqlClient, GraphqlError, until } from './client.ts'
import { type Answer, createRoom, openScene, refused, type Scene } from './scene.ts'

let scene: Scene
let server: TestServer
let alice: GraphqlClient
let bob: GraphqlClient
let restAlice: Client

before(async () => {
  scene = await openScene()
  ;({ server, alice, bob, restAlice } = scene)
})

after(() => scene?.[Symbol.asyncDispose]())

const timelineLive = `subscription ($roomId: ID!, $after: Position) {
  timeline(roomId: $roomId, after: $after) { position eventId type sender { userId } common { __typename ... on TextMessage { body } } }
}`

describe('a client that is cut, kicked or logged out', () => {
  test('who is kicked sees the kick and then nothing; who is not in a room sees nothing of it', async () => {
    const roomId = await scene.sharedRoom()
    const live = bob.subscription(timelineLive, { roomId, after: await bob.position() })
    const typing = bob.subscription('subscription ($roomId: ID!) { typing(roomId: $roomId) { userIds } }', { roomId })
    assert.deepEqual((await typing.next()).typing.userIds, [])
    await alice.ask('mutation ($roomId: ID!, $userId: ID!) { kickUser(roomId: $roomId, userId: $userId, reason: "out") }', {
      roomId,
      userId: bob.userId,
    })
    await alice.send(roomId, 'behind his back')
    assert.equal((await live.next()).timeline.common.__typename, 'MembershipChange')
    assert.equal(await live.next(), null)
    assert.equal(await typing.next(), null)
    const foreign = (await alice.ask(createRoom, { input: {} })).createRoom.roomId
    for (const [field, selection] of [
      ['timeline', '{ eventId }'],
      ['typing', '{ userIds }'],
      ['receipts', '{ position }'],
    ]) {
      const subscription = bob.subscription(`subscription ($roomId: ID!) { ${field}(roomId: $roomId) ${selection} }`, { roomId: foreign })
      assert.equal(await refused(subscription.next()), 'M_FORBIDDEN')
    }
  })

  test('a gap of 500 events is filled, in order and once', async () => {
    const roomId = await scene.sharedRoom()
    const live = bob.subscription(timelineLive, { roomId })
    // Without `after` it begins when it has reached the server: one of these is the first that it shows.
    const first = await Promise.race([
      live.next(),
      until('the first event', () => alice.send(roomId, 'before').then(() => false), 2_000).catch(() => null),
    ])
    assert.ok(first)
    live.cut()
    for (let i = 0; i < 500; i += 20) await Promise.all(Array.from({ length: 20 }, (_, k) => restAlice.send(roomId, `gap ${i + k}`)))
    const again = bob.subscription(timelineLive, { roomId, after: first.timeline.position })
    const seen: string[] = []
    while (seen.at(-1) !== 'the end') {
      const { common } = (await again.next()).timeline
      if (common.body !== 'before') seen.push(common.body)
      if (seen.length === 500) await alice.send(roomId, 'the end')
    }
    again.cut()
    assert.equal(seen.length, 501)
    assert.equal(new Set(seen).size, 501)
  })

  test('a restart in the middle loses nothing, and is told as something to come back from', async () => {
    const roomId = await scene.sharedRoom()
    const follower = bob.follow(timelineLive, { roomId, after: await bob.position() }, ({ timeline }) => ({
      position: timeline.position,
      value: timeline.common.body as string,
    }))
    const inbox = bob.follow(
      'subscription ($after: Position) { inbox(after: $after) { position rooms { roomId newestEvent { common { ... on TextMessage { body } } } } } }',
      { after: await bob.position() },
      ({ inbox: change }) => ({
        position: change.position,
        value: change.rooms.find((room: Answer) => room.roomId === roomId)?.newestEvent.common?.body as string,
      }),
    )
    await alice.send(roomId, 'before the restart')
    await until('before', () => follower.values.length === 1)
    await server.restart()
    await alice.send(roomId, 'after the restart')
    await until('after', () => follower.values.length === 2)
    await until('the inbox', () => inbox.values.at(-1) === 'after the restart')
    await follower.stop()
    await inbox.stop()
    assert.deepEqual(follower.values, ['before the restart', 'after the restart'])

    const live = bob.subscription(timelineLive, { roomId, after: follower.position })
    await alice.send(roomId, 'once more')
    await live.next()
    server.server.host.openInstances().forEach((instance) => void instance.close())
    const error = await live.next().then(
      () => null,
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof GraphqlError && typeof error.extensions['retry_after_ms'] === 'number')
    await server.restart()
  })

  test('logging out ends the session, its running subscriptions with M_UNKNOWN_TOKEN, and no other', async () => {
    const second = await GraphqlClient.login(() => server.url, 'bob', 'a password for bob')
    const query = 'subscription ($after: Position) { inbox(after: $after) { position accountData { type } } }'
    const ending = second.subscription(query, { after: await second.position() })
    const staying = bob.subscription(query, { after: await bob.position() })
    await bob.ask('mutation { setAccountData(type: "org.example.ready", content: {}) }')
    await Promise.all([ending.next(), staying.next()])
    const sse = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${second.token}`, 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ query }),
    })
    await second.ask('mutation { logout }')
    assert.equal(await refused(ending.next()), 'M_UNKNOWN_TOKEN')
    assert.match(await sse.text(), /M_UNKNOWN_TOKEN/)
    assert.equal(await refused(second.ask('{ whoami { userId } }')), 'M_UNKNOWN_TOKEN')
    const { devices } = await bob.ask('{ devices { deviceId } }')
    assert.ok(!devices.some(({ deviceId }: Answer) => deviceId === second.deviceId))
    await bob.ask('mutation { setAccountData(type: "org.example.still", content: {}) }')
    await until('the other session', async () =>
      (await staying.next()).inbox.accountData.some(({ type }: Answer) => type === 'org.example.still'),
    )
    staying.cut()
  })
})
