/** Subscriptions that are cut again and again while much happens: nothing is missed, repeated, or taken back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Chance } from '../../kill/chance.ts'
import { type Client, startServer } from '../../rig/server.ts'
import { type Follower, GraphqlClient, until } from './client.ts'

const sends = 2_000
const cuts = 50
/** Requests under way at a time. */
const lanes = 8

const timelineQuery =
  'subscription ($roomId: ID!, $after: Position) { timeline(roomId: $roomId, after: $after) { position eventId type content } }'
const inboxQuery = `subscription ($after: Position) {
  inbox(after: $after) { position left rooms { roomId activity newestEvent { position } unread { notificationCount } tags } accountData { type content } }
}`
const typingQuery = 'subscription ($roomId: ID!, $after: Position) { typing(roomId: $roomId, after: $after) { position userIds } }'
const receiptsQuery = `subscription ($roomId: ID!, $after: Position) {
  receipts(roomId: $roomId, after: $after) { position receipts { userId eventId ts } }
}`

test('all four subscriptions are cut 50 times at random during 2 000 sends, with two restarts', { timeout: 120_000 }, async (t) => {
  const chance = new Chance(Number(process.env['CUTS_SEED'] ?? Date.now() % 2 ** 31))
  t.diagnostic(`CUTS_SEED=${chance.seed}`)
  await using server = await startServer()
  const bob = await server.register('bob')
  const roomId = await server.owner.createRoom({ name: 'Flood', invite: [bob.userId] })
  assert.equal((await bob.post(`/join/${encodeURIComponent(roomId)}`)).status, 200)
  const owner = new GraphqlClient(() => server.url, {
    userId: server.owner.userId,
    deviceId: server.owner.deviceId,
    accessToken: server.owner.token,
  })
  const after = await owner.position()

  const timeline = owner.follow(timelineQuery, { roomId, after }, ({ timeline: event }) => ({
    position: event.position,
    value: event as { eventId: string; position: number },
  }))
  const inbox = owner.follow(inboxQuery, { after }, ({ inbox: change }) => ({ position: change.position, value: change as InboxValue }))
  const typing = owner.follow(typingQuery, { roomId, after }, ({ typing: change }) => ({
    position: change.position,
    value: change.userIds as string[],
  }))
  const receipts = owner.follow(receiptsQuery, { roomId, after }, ({ receipts: change }) => ({
    position: change.position,
    value: change.receipts as ReceiptValue[],
  }))
  const followers: Follower<unknown>[] = [timeline, inbox, typing, receipts]
  t.after(() => Promise.allSettled(followers.map((follower) => follower.stop())))

  const sent: string[] = []
  const orders = new Map<string, number>()
  let done = false
  let restarting: Promise<void> | null = null
  /** As a client does: the same request again until it is answered. */
  const insist = async (request: () => Promise<{ status: number; body: { event_id: string } }>) => {
    for (;;) {
      await restarting
      try {
        const reply = await request()
        if (reply.status === 200) return reply.body
        assert.ok(reply.status === 503, `${reply.status} ${JSON.stringify(reply.body)}`)
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
      }
      await sleep(10)
    }
  }
  const path = `/rooms/${encodeURIComponent(roomId)}`
  const lane = async (from: number): Promise<void> => {
    for (let i = from; i < sends; i += lanes) {
      const by: Client = i % 2 === 0 ? bob : server.owner
      const { event_id: eventId } = await insist(() =>
        by.put(`${path}/send/m.room.message/cut${i}`, { msgtype: 'm.text', body: `message ${i}` }),
      )
      sent.push(eventId)
    }
  }
  /** Beside the sends, one after the other: each value is greater than the one before. */
  const aside = async (): Promise<void> => {
    const own = `/user/${encodeURIComponent(server.owner.userId)}`
    for (let i = 1; !done; i++) {
      const eventId = encodeURIComponent(await until('an event', () => sent.at(-1)))
      await insist(() => bob.post(`${path}/receipt/m.read/${eventId}`))
      await insist(() => server.owner.post(`${path}/receipt/m.read.private/${eventId}`))
      await insist(() => bob.put(`${path}/typing/${encodeURIComponent(bob.userId)}`, { typing: i % 2 === 1, timeout: 60_000 }))
      await insist(() => server.owner.put(`${own}${path}/tags/m.favourite`, { order: i / sends }))
      await insist(() => server.owner.put(`${own}/account_data/org.example.count`, { i }))
    }
  }
  const cutting = async (): Promise<void> => {
    for (let cut = 0; cut < cuts; cut++) {
      // Spread over the sends, never all behind them.
      await until('more sends', () => done || sent.length >= ((cut + chance.next()) * sends) / (cuts + 1), 60_000)
      for (const follower of followers) {
        follower.cut()
        await sleep(chance.between(0, 3))
      }
      if (cut === 15 || cut === 35) {
        restarting = server.restart()
        await restarting
        restarting = null
      }
    }
  }
  await Promise.all([
    Promise.all(Array.from({ length: lanes }, (_, from) => lane(from))).finally(() => {
      done = true
    }),
    aside(),
    cutting(),
  ])
  await insist(() => bob.put(`${path}/typing/${encodeURIComponent(bob.userId)}`, { typing: false }))
  const last = await insist(() => bob.put(`${path}/send/m.room.message/last`, { msgtype: 'm.text', body: 'last' }))
  sent.push(last.event_id)
  await insist(() => bob.post(`${path}/receipt/m.read/${encodeURIComponent(last.event_id)}`))

  await until('the last event', () => timeline.values.at(-1)?.eventId === last.event_id, 20_000)
  await until('the last receipt', () => receipts.values.flat().some((receipt) => receipt.eventId === last.event_id), 20_000)
  const state = await owner.ask(
    `query ($roomId: ID!) { position room(roomId: $roomId) {
    activity tags typing unread { notificationCount } receipts { userId eventId ts private }
  } }`,
    { roomId },
  )
  await until('the inbox', () => latestRoom(inbox.values, roomId)?.activity === state.room.activity, 20_000)
  await sleep(100)
  for (const follower of followers) {
    await follower.stop()
    assert.ok(follower.cuts >= cuts, `${follower.cuts} cuts`)
  }

  // Each event exactly once and in order.
  for (const event of timeline.values) orders.set(event.eventId, event.position)
  assert.equal(timeline.values.length, sends + 1)
  assert.deepEqual(new Set(timeline.values.map((event) => event.eventId)), new Set(sent))
  const places = timeline.values.map((event) => event.position)
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
  )
  const messages = await owner.ask(
    'query ($roomId: ID!) { room(roomId: $roomId) { timeline(last: 1000) { edges { node { eventId } } } } }',
    { roomId },
  )
  assert.deepEqual(
    timeline.values.slice(-1_000).map((event) => event.eventId),
    messages.room.timeline.edges.map(({ node }: { node: { eventId: string } }) => node.eventId),
  )

  // Positions never go back, over all connections.
  for (const follower of followers) assertRising(follower.positions.flat())

  // The inbox: what is shown of the room only moves on, and ends as it is.
  const rooms = inbox.values.flatMap((change) => change.rooms.filter((room) => room.roomId === roomId))
  assertRising(rooms.map((room) => room.activity))
  assertRising(rooms.map((room) => room.newestEvent?.position ?? 0))
  assertRising(rooms.map((room) => room.tags['m.favourite']?.order ?? 0))
  assert.deepEqual(rooms.at(-1)?.tags, state.room.tags)
  assert.deepEqual(rooms.at(-1)?.unread, state.room.unread)
  const counts = inbox.values.flatMap((change) =>
    change.accountData.filter(({ type }) => type === 'org.example.count').map(({ content }) => content.i),
  )
  assertRising(counts)
  const stored = (await owner.ask('{ accountData(type: "org.example.count") }')).accountData
  assert.equal(counts.at(-1), stored.i)

  // Receipts: per user never back to an older event, and the last one is the current one.
  for (const userId of [bob.userId, server.owner.userId]) {
    const own = receipts.values.flat().filter((receipt) => receipt.userId === userId)
    assertRising(own.map((receipt) => orders.get(receipt.eventId) ?? 0))
    const current = state.room.receipts.filter((receipt: ReceiptValue) => receipt.userId === userId)
    assert.ok(own.length > 0)
    assert.ok(
      current.some((receipt: ReceiptValue) => receipt.eventId === own.at(-1)!.eventId),
      `${userId}: ${own.at(-1)!.eventId}`,
    )
  }

  // Typing ends as it is: nobody types.
  assert.deepEqual(typing.values.at(-1), state.room.typing)
  assert.ok(typing.values.some((userIds) => userIds.includes(bob.userId)))
})

interface InboxValue {
  position: number
  left: string[]
  rooms: {
    roomId: string
    activity: number
    newestEvent: { position: number } | null
    unread: { notificationCount: number }
    tags: Record<string, { order: number }>
  }[]
  accountData: { type: string; content: { i: number } }[]
}

interface ReceiptValue {
  userId: string
  eventId: string
  ts: number
}

function latestRoom(changes: readonly InboxValue[], roomId: string) {
  return changes.flatMap((change) => change.rooms).findLast((room) => room.roomId === roomId)
}

function assertRising(values: readonly number[]): void {
  for (let i = 1; i < values.length; i++) assert.ok(values[i]! >= values[i - 1]!, `${values[i]} after ${values[i - 1]}, at ${i}`)
}
