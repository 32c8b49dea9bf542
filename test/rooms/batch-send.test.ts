// com.beeper.backfill: what a bridge brings of the past, and of what it missed.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { type Historian, idsOf, pageBack, path, refused, startHistorian } from './backfill.ts'

let server: TestServer
let owner: Client
let historian: Historian

before(async () => {
  server = await startServer()
  owner = server.owner
  historian = await startHistorian(server, 'whatsapp')
})
after(() => server[Symbol.asyncDispose]())

const bodies = (events: readonly Reply['body'][]) => events.map((event) => event.content.body)

describe('history', () => {
  test('GET messages walks from live events straight into prepended history, to its first event', async () => {
    const roomId = await historian.portal()
    await owner.send(roomId, 'live')
    const newer = historian.messages('newer', 3)
    const older = historian.messages('older', 4)
    assert.deepEqual(await historian.sent(roomId, { events: newer }), idsOf(newer))
    assert.deepEqual(await historian.sent(roomId, { events: older }), idsOf(older))
    const expected = ['live', ...bodies(newer).reverse(), ...bodies(older).reverse()]
    for (const limit of [1, 3, 100]) assert.deepEqual(bodies(await pageBack(owner, roomId, limit)), expected)
    const forwards = await owner.get(`/rooms/${path(roomId)}/messages?dir=f&limit=4`)
    assert.deepEqual(bodies(forwards.body.chunk), bodies(older))
    const orders = (await pageBack(owner, roomId)).map((event) => event.unsigned['com.beeper.hs.order'])
    assert.deepEqual(orders.slice(1), [-1, -2, -3, -4, -5, -6, -7])
  })

  test('a prepended event comes in no incremental sync, and an initial one has it only where live events end', async () => {
    const roomId = await historian.portal()
    const { next_batch: since } = await owner.sync()
    await historian.sent(roomId, { events: historian.messages('quiet', 5) })
    const next = await owner.sync(`since=${since}&timeout=0`)
    assert.equal(next.rooms, undefined)
    await owner.send(roomId, 'live')
    const later = await owner.sync(`since=${since}`)
    assert.deepEqual(bodies(later.rooms.join[roomId].timeline.events), ['live'])
    const limit = path(JSON.stringify({ room: { timeline: { limit: 1 } } }))
    assert.deepEqual(bodies((await owner.sync(`filter=${limit}`)).rooms.join[roomId].timeline.events), ['live'])
  })

  test('a sync that waits is not answered because history came', async () => {
    const roomId = await historian.portal()
    const { next_batch: since } = await owner.sync()
    const waiting = owner.sync(`since=${since}&timeout=20000`)
    await historian.sent(roomId, { events: historian.messages('unheard', 2) })
    await owner.send(roomId, 'heard')
    assert.deepEqual(bodies((await waiting).rooms.join[roomId].timeline.events), ['heard'])
  })

  test('neither history nor a forward batch is unread unless it says so, and then only its newest message', async () => {
    const roomId = await historian.portal()
    const unread = async () => (await owner.sync()).rooms.join[roomId].unread_notifications.notification_count
    await historian.sent(roomId, { events: historian.messages('past', 3), send_notification: true })
    await historian.sent(roomId, { events: historian.messages('silent', 3), forward: true })
    assert.equal(await unread(), 0)
    const [first, last] = historian.messages('loud', 2)
    const reaction = {
      ...last!,
      type: 'm.reaction',
      event_id: '$loud-reaction',
      content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: last!.event_id, key: '👍' } },
    }
    await historian.sent(roomId, { events: [first, last, reaction], forward: true, send_notification: true })
    assert.equal(await unread(), 1)
  })

  test('content is kept to the last key, times and ids of any domain too', async () => {
    const roomId = await historian.portal()
    const content = {
      msgtype: 'm.text',
      body: 'x',
      'fi.mau.double_puppet_source': 'b',
      __proto__2: 1,
      deep: { 'com.beeper.x': [1, { a: null }] },
    }
    const [event] = historian.messages('kept', 1, { content, sender: owner.userId, unsigned: { age: 5 } })
    await historian.sent(roomId, { events: [event] })
    const read = (await owner.get(`/rooms/${path(roomId)}/event/${path(event!.event_id)}`)).body
    assert.deepEqual(read.content, content)
    assert.equal(read.origin_server_ts, event!.origin_server_ts)
    assert.equal(read.event_id, event!.event_id)
    assert.equal(read.sender, owner.userId)
    assert.equal(read.room_id, roomId)
  })

  test('ids are made where none are given, and times are now', async () => {
    const roomId = await historian.portal()
    const bare = { type: 'm.room.message', sender: historian.bridge.ghost(1), content: { body: 'bare' } }
    const [first, second] = await historian.sent(roomId, { events: [bare, bare] })
    assert.match(first!, /^\$[\w-]{43}$/)
    assert.notEqual(first, second)
    const { origin_server_ts } = (await owner.get(`/rooms/${path(roomId)}/event/${path(first!)}`)).body
    assert.ok(Math.abs(origin_server_ts - Date.now()) < 60_000)
  })

  test('who joins later reads history as far back as everybody', async () => {
    const roomId = await historian.portal({ preset: 'public_chat' })
    await historian.sent(roomId, { events: historian.messages('long ago', 2) })
    const carol = await server.register('carol')
    await carol.post(`/rooms/${path(roomId)}/join`)
    assert.deepEqual(bodies(await pageBack(carol, roomId)), ['long ago 1', 'long ago 0'])
  })
})

describe('the live end', () => {
  test('a forward batch appears live, in its order and with the times that it gives', async () => {
    const roomId = await historian.portal()
    await owner.send(roomId, 'before')
    const { next_batch: since } = await owner.sync()
    const events = historian.messages('missed', 3)
    await historian.sent(roomId, { events, forward: true, forward_if_no_messages: true })
    const { timeline } = (await owner.sync(`since=${since}`)).rooms.join[roomId]
    assert.deepEqual(idsOf(timeline.events), idsOf(events))
    assert.deepEqual(
      timeline.events.map((event: Reply['body']) => event.origin_server_ts),
      events.map((event) => event.origin_server_ts),
    )
  })

  test('forward_if_no_messages is forward in a room that has only state, and history from then on', async () => {
    const roomId = await historian.portal()
    const { next_batch: since } = await owner.sync()
    await historian.sent(roomId, { events: historian.messages('first', 2), forward_if_no_messages: true })
    assert.deepEqual(bodies((await owner.sync(`since=${since}`)).rooms.join[roomId].timeline.events), ['first 0', 'first 1'])
    await historian.sent(roomId, { events: historian.messages('second', 2), forward_if_no_messages: true })
    assert.deepEqual(bodies(await pageBack(owner, roomId)), ['first 1', 'first 0', 'second 1', 'second 0'])
  })

  test('two batches that both ask for the live end of an empty room: one gets it', async () => {
    const roomId = await historian.portal()
    const send = (name: string) => historian.sent(roomId, { events: historian.messages(name, 20), forward_if_no_messages: true })
    await Promise.all([send('a'), send('b'), send('c')])
    const orders = (await pageBack(owner, roomId)).map((event) => event.unsigned['com.beeper.hs.order'])
    assert.equal(orders.filter((order) => order > 0).length, 20)
    assert.equal(orders.filter((order) => order < 0).length, 40)
  })

  test('the bridge that sends is told nothing of it, another bridge of the room hears what came live', async () => {
    const other = await registerBridge(server, 'listener')
    const roomId = await historian.portal({ invite: [owner.userId, historian.bridge.ghost(1)] })
    // A listener comes by invitation.
    await historian.bot.post(`/rooms/${path(roomId)}/invite`, { user_id: other.botId })
    await server.client(other.as_token).post(`/rooms/${path(roomId)}/join`)
    const waiting = async () => {
      const { data } = await owner.graphql('{ bridges { id queueLength } }')
      return Object.fromEntries(data.bridges.map(({ id, queueLength }: Reply['body']) => [id, queueLength]))
    }
    const start = await waiting()
    await historian.sent(roomId, { events: historian.messages('shared', 7), forward: true, mark_read_by: owner.userId })
    await historian.sent(roomId, { events: historian.messages('unshared', 7) })
    const end = await waiting()
    assert.equal(end['whatsapp'] - start['whatsapp'], 0)
    assert.ok(end['listener'] - start['listener'] >= 7)
    assert.ok(end['listener'] - start['listener'] <= 8, 'the events, and the receipt for who takes them')
  })
})

describe('reading with it', () => {
  const receiptOf = (answer: Reply['body'], roomId: string, userId: string) => {
    const receipts = answer.rooms.join[roomId].ephemeral.events.filter((event: Reply['body']) => event.type === 'm.receipt')
    return receipts.flatMap((event: Reply['body']) =>
      Object.entries(event.content as Record<string, Record<string, object>>).flatMap(([id, types]) =>
        userId in (types['m.read'] ?? {}) ? [id] : [],
      ),
    )
  }

  test('mark_read_by moves receipt and marker to the end of the batch, and nothing stays unread', async () => {
    const roomId = await historian.portal()
    await historian.bridge
      .as(historian.bridge.ghost(1))
      .request('PUT', `/rooms/${path(roomId)}/send/m.room.message/1`, { msgtype: 'm.text', body: 'unread' })
    const events = historian.messages('read', 3)
    await historian.sent(roomId, { events, forward: true, send_notification: true, mark_read_by: owner.userId })
    const answer = await owner.sync()
    assert.equal(answer.rooms.join[roomId].unread_notifications.notification_count, 0)
    assert.deepEqual(receiptOf(answer, roomId, owner.userId), ['$read-2:whatsapp.com'])
    const marker = answer.rooms.join[roomId].account_data.events.find((event: Reply['body']) => event.type === 'm.fully_read')
    assert.equal(marker.content.event_id, '$read-2:whatsapp.com')
  })

  test('mark_read_by with history marks it for who has read nothing yet, and takes nobody back', async () => {
    const roomId = await historian.portal()
    await historian.sent(roomId, { events: historian.messages('seen', 2), mark_read_by: owner.userId })
    assert.deepEqual(receiptOf(await owner.sync(), roomId, owner.userId), ['$seen-1:whatsapp.com'])
    await historian.sent(roomId, { events: historian.messages('before', 2), mark_read_by: owner.userId })
    assert.deepEqual(receiptOf(await owner.sync(), roomId, owner.userId), ['$seen-1:whatsapp.com'])
  })

  test('who is not in the room is not marked; whom the bridge may not speak for is refused', async () => {
    const roomId = await historian.portal()
    await historian.sent(roomId, { events: historian.messages('absent', 1), mark_read_by: historian.bridge.ghost(77) })
    refused(
      await historian.send(roomId, { events: historian.messages('foreign', 1), mark_read_by: server.administrator.userId }),
      403,
      'M_FORBIDDEN',
    )
    assert.deepEqual(bodies(await pageBack(owner, roomId)), ['absent 0'])
  })
})

describe('relations', () => {
  test('threads, edits and references within a batch are bundled, reactions are found', async () => {
    const roomId = await historian.portal()
    const [root, reply, edit, reaction] = historian.messages('thread', 4)
    const relates = (rel_type: string, more: object = {}) => ({ 'm.relates_to': { rel_type, event_id: root!.event_id, ...more } })
    await historian.sent(roomId, {
      events: [
        root,
        { ...reply!, content: { ...reply!.content, ...relates('m.thread') } },
        { ...edit!, content: { ...edit!.content, 'm.new_content': { body: 'mended' }, ...relates('m.replace') } },
        { ...reaction!, type: 'm.reaction', content: relates('m.annotation', { key: '🎉' }) },
      ],
    })
    const read = (await owner.get(`/rooms/${path(roomId)}/event/${path(root!.event_id)}`)).body.unsigned['m.relations']
    assert.equal(read['m.thread'].latest_event.event_id, reply!.event_id)
    assert.equal(read['m.thread'].count, 1)
    assert.equal(read['m.replace'].event_id, edit!.event_id)
    // The same reaction again, live, is a duplicate: the one in the batch counts.
    const ghost = historian.bridge.as(historian.bridge.ghost(1))
    const again = (txn: string, key: string) =>
      ghost.request('PUT', `/rooms/${path(roomId)}/send/m.reaction/${txn}`, relates('m.annotation', { key }))
    refused(await again('r1', '🎉'), 400, 'M_DUPLICATE_ANNOTATION')
    assert.equal((await again('r2', '👍')).status, 200)
  })

  test('a redaction empties what stands before it in the batch or in the room, with the right to do so', async () => {
    const roomId = await historian.portal()
    const said = await owner.send(roomId, 'secret')
    const [first, second, third] = historian.messages('redacted', 3)
    const redaction = (id: string, redacts: string, sender = historian.bridge.ghost(1)) => ({
      type: 'm.room.redaction',
      sender,
      origin_server_ts: 1,
      event_id: id,
      redacts,
      content: { reason: 'gone' },
    })
    refused(
      await historian.send(roomId, { events: [redaction('$no', said, historian.bridge.ghost(1))], forward: true }),
      403,
      'M_FORBIDDEN',
    )
    await historian.sent(roomId, {
      events: [first, second, third, redaction('$by-itself', second!.event_id), redaction('$by-bot', said, historian.bridge.botId)],
      forward: true,
    })
    const read = async (id: string) => (await owner.get(`/rooms/${path(roomId)}/event/${path(id)}`)).body
    for (const [id, by] of [
      [second!.event_id, '$by-itself'],
      [said, '$by-bot'],
    ] as const) {
      const event = await read(id)
      assert.deepEqual(event.content, {})
      assert.equal(event.unsigned.redacted_because.event_id, by)
    }
    assert.equal((await read(third!.event_id)).content.body, 'redacted 2')
    // What is not there (yet) is left alone, and so is what came after.
    await historian.sent(roomId, { events: [redaction('$early', first!.event_id), redaction('$late', '$never')] })
    assert.equal((await read(first!.event_id)).content.body, 'redacted 0')
  })

  test('an event of a batch can be reacted to, read and emptied like any other', async () => {
    const roomId = await historian.portal()
    const [event] = historian.messages('usual', 1)
    // Asked for before it is there: what is remembered of it must not outlive its coming.
    refused(await owner.post(`/rooms/${path(roomId)}/receipt/m.read/${path(event!.event_id)}`), 404, 'M_NOT_FOUND')
    const sending = historian.sent(roomId, { events: [event] })
    const early = await owner.post(`/rooms/${path(roomId)}/receipt/m.read/${path(event!.event_id)}`)
    assert.ok([200, 404].includes(early.status))
    await sending
    assert.equal((await owner.post(`/rooms/${path(roomId)}/receipt/m.read/${path(event!.event_id)}`)).status, 200)
    const redact = `/rooms/${path(roomId)}/redact/${path(event!.event_id)}/t1`
    assert.equal((await historian.bridge.as(historian.bridge.ghost(1)).request('PUT', redact, {})).status, 200)
    assert.deepEqual((await pageBack(owner, roomId)).at(-1).content, {})
    // Repeated after that, it is still what was sent.
    assert.deepEqual(await historian.sent(roomId, { events: [event] }), [event!.event_id])
  })
})
