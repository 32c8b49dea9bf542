/** What subscriptions cost, and who may ask for what. */
import assert from 'node:assert/strict'
import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { examples } from '../../../src/graphql/examples.ts'
import { startServer, type TestServer } from '../../rig/server.ts'
import { GraphqlClient, GraphqlError, until } from './client.ts'

const serverSockets = new Set<Socket>()
subscribe('net.server.socket', (message) => void serverSockets.add((message as { socket: Socket }).socket))

let server: TestServer
let alice: GraphqlClient

before(async () => {
  server = await startServer()
  alice = new GraphqlClient(() => server.url, {
    userId: server.owner.userId,
    deviceId: server.owner.deviceId,
    accessToken: server.owner.token,
  })
})

after(() => server?.[Symbol.asyncDispose]())

const timelineLive =
  'subscription ($roomId: ID!, $after: Position) { timeline(roomId: $roomId, after: $after) { position eventId content } }'

describe('subscriptions', () => {
  test('a slow reader is not buffered for, and gets everything in order when it reads on', async () => {
    const roomId = await server.owner.createRoom()
    const live = alice.subscription(timelineLive, { roomId, after: await alice.position() })
    await server.owner.send(roomId, 'first')
    await live.next()
    const known = new Set(serverSockets)
    live.socket!.pause()
    const large = 'x'.repeat(60_000)
    for (let i = 0; i < 200; i += 10)
      await Promise.all(Array.from({ length: 10 }, (_, k) => server.owner.send(roomId, `${i + k} ${large}`)))
    await sleep(100)
    const buffered = Math.max(...[...known].map((socket) => socket.writableLength))
    assert.ok(buffered < 500_000, `${buffered} bytes of 12 MB wait for a reader who does not read`)
    live.socket!.resume()
    const seen: number[] = []
    while (seen.length < 200) seen.push(Number.parseInt((await live.next()).timeline.content.body, 10))
    assert.equal(new Set(seen).size, 200)
    live.cut()
  })

  test('what is far behind is read in slices, one wake costs one read of events, another room none', async () => {
    const roomId = await server.owner.createRoom()
    const other = await server.owner.createRoom()
    const start = await alice.position()
    for (let i = 0; i < 300; i += 20) await Promise.all(Array.from({ length: 20 }, (_, k) => server.owner.send(roomId, `${i + k}`)))
    const { storage } = await server.server.host.defaultInstance()
    const find = storage.find
    let reads = 0
    Object.assign(storage, {
      find: (...args: Parameters<typeof find>) => {
        if (args[0] === 'event' && 'order' in args[1].where) reads += 1
        return find.apply(storage, args)
      },
    })
    try {
      const live = alice.subscription(timelineLive, { roomId, after: start })
      for (let i = 0; i < 300; i++) await live.next()
      await sleep(20)
      assert.ok(reads <= 5, `${reads} reads for 300 events`)
      reads = 0
      for (let i = 0; i < 20; i++) await server.owner.send(other, 'elsewhere')
      await sleep(20)
      assert.equal(reads, 0)
      await server.owner.send(roomId, 'here')
      assert.equal((await live.next()).timeline.content.body, 'here')
      assert.ok(reads <= 2, `${reads} reads for one event`)
      live.cut()
    } finally {
      Object.assign(storage, { find })
    }
  })

  test('a position ahead of the stream, or before its beginning, is held within it', async () => {
    const roomId = await server.owner.createRoom()
    for (const after of [9_000_000_000_000, -5]) {
      const live = alice.subscription(
        'subscription ($roomId: ID!, $after: Position) { timeline(roomId: $roomId, after: $after) { position type } }',
        { roomId, after },
      )
      if (after < 0) assert.equal((await live.next()).timeline.type, 'm.room.create')
      else {
        const first = live.next()
        await until('an event', async () => Promise.race([first, server.owner.send(roomId, 'now').then(() => sleep(20, null))]))
      }
      live.cut()
    }
  })

  test('suspending a homeserver ends its subscriptions, and its tokens are locked', async () => {
    const make = await server.administrator.graphql('mutation { createInstance(name: "carol", owner: "carol") { ownerId password } }')
    const { password } = make.data.createInstance
    const carol = await GraphqlClient.login(() => `${server.url}/_hungryserv/carol`, 'carol', password)
    const live = carol.subscription('subscription ($after: Position) { inbox(after: $after) { position } }', {
      after: await carol.position(),
    })
    await carol.ask('mutation { setAccountData(type: "org.example.ready", content: {}) }')
    await live.next()
    const ended = live.next().then(
      () => null,
      (error: unknown) => error,
    )
    await server.administrator.graphql('mutation { suspendInstance(name: "carol") }')
    const error = await ended
    assert.ok(error instanceof GraphqlError && typeof error.extensions['retry_after_ms'] === 'number', String(error))
    await assert.rejects(carol.ask('{ whoami { userId } }'), { errcode: 'M_USER_LOCKED' })
    await server.administrator.graphql('mutation { deleteInstance(name: "carol") }')
  })
})

describe('what only some may ask', () => {
  test('an owner sees the own homeserver, the administrator all, anybody else M_FORBIDDEN', async () => {
    const dave = await server.register('dave')
    await server.administrator.graphql('mutation { createInstance(name: "erin", owner: "erin") { ownerId } }')
    const instances = '{ instances { name ownerId users rooms events position } }'
    const own = (await server.owner.graphql(instances)).data.instances
    assert.deepEqual(
      own.map(({ name }: { name: string }) => name),
      ['default'],
    )
    assert.ok(own[0].events > 0 && own[0].users >= 3)
    const all = (await server.administrator.graphql(instances)).data.instances
    assert.deepEqual(all.map(({ name }: { name: string }) => name).toSorted(), ['default', 'erin'])
    assert.deepEqual((await server.owner.graphql('{ bridges { id } }')).data.bridges, [])
    for (const query of [
      instances,
      '{ bridges { id queueLength } }',
      '{ registrationTokens { token } }',
      'mutation { suspendInstance(name: "erin") }',
      'mutation { configureBridge(type: "whatsapp") { id } }',
    ]) {
      assert.equal((await dave.graphql(query)).errors?.[0].extensions.errcode, 'M_FORBIDDEN', query)
    }
    assert.equal((await server.owner.graphql('mutation { suspendInstance(name: "erin") }')).errors[0].extensions.errcode, 'M_FORBIDDEN')
  })

  test('what GraphiQL opens with works as it stands, the subscription as a stream of events', async () => {
    await server.owner.createRoom({ name: 'Examples' })
    const [query, mutation, subscription] = examples
    assert.ok((await server.owner.graphql(query!)).data.inbox.edges.length > 0)
    const stream = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.owner.token}`, 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ query: subscription }),
    })
    const chunks = stream.body!.getReader()
    let text = ''
    const read = (async () => {
      while (!text.includes('"title"')) {
        const { value, done } = await chunks.read()
        if (done) break
        text += Buffer.from(value).toString()
      }
    })()
    const made: string[] = []
    // It begins when it has reached the server: what was made before is not in it.
    while (!text.includes('"title"')) {
      const answer = await server.owner.graphql(mutation!)
      made.push(answer.data.createRoom.roomId)
      await Promise.race([read, sleep(100)])
    }
    await chunks.cancel()
    assert.ok(made.some((roomId) => text.includes(roomId)))
  })
})
