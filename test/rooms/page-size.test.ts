/** Pages of large events end early and lose none; what one GraphQL document brings is bounded together. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { command } from '../../src/stream/command.ts'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply } from '../rig/server.ts'
import { event, membership, room } from '../storage/engines.ts'

const large = 'x'.repeat(60_000)
/** Half as much again as a page holds. */
const many = 50
const longest = 2_000_000

interface Event {
  readonly event_id: string
  readonly type: string
}

interface Room {
  readonly timeline: {
    readonly edges: readonly { readonly node: { readonly eventId: string; readonly type: string } }[]
    readonly pageInfo: Readonly<Record<'hasPreviousPage' | 'hasNextPage', boolean> & Record<'startCursor' | 'endCursor', string>>
  }
}

let txn = 0
async function send(client: Client, roomId: string, content: object): Promise<string> {
  const reply = await client.put(`${path(roomId)}/send/m.room.message/p${txn++}`, { msgtype: 'm.text', body: 'small', ...content })
  assert.equal(reply.status, 200)
  return reply.body.event_id
}

const path = (roomId: string) => `/rooms/${encodeURIComponent(roomId)}`
const lengthOf = (events: readonly unknown[]) => JSON.stringify(events).length
const idsOf = (events: readonly Event[]) => events.filter(({ type }) => type === 'm.room.message').map(({ event_id }) => event_id)

/** Pages that follow on each other; none is too long, none empty, and the first is cut. */
async function pages(read: (from: string | null) => Promise<Reply>, next: string): Promise<string[]> {
  const ids: string[] = []
  for (let from: string | null = null, count = 0; ; count++) {
    const { status, body } = await read(from)
    assert.equal(status, 200)
    assert.ok(body.chunk.length > 0 && lengthOf(body.chunk) < longest + 10_000, `${body.chunk.length} events, ${lengthOf(body.chunk)}`)
    ids.push(...idsOf(body.chunk))
    from = body[next] ?? null
    if (count === 0) assert.notEqual(from, null, 'the first page is cut')
    if (from === null) return ids
  }
}

async function largeEvents(
  client: Client,
  contentOf: (i: number) => object = () => ({ body: large }),
): Promise<{ roomId: string; sent: string[] }> {
  const roomId = await client.createRoom()
  const sent: string[] = []
  for (let i = 0; i < many; i++) sent.push(await send(client, roomId, contentOf(i)))
  return { roomId, sent }
}

await onBothServers('page sizes', (start) => {
  test('/messages, /context and timelines of large events are short, and go on where they ended', async () => {
    await using server = await start()
    const { owner } = server
    const { roomId, sent } = await largeEvents(owner)
    for (const dir of ['b', 'f']) {
      const found = await pages((from) => owner.get(`${path(roomId)}/messages?dir=${dir}&limit=1000${from ? `&from=${from}` : ''}`), 'end')
      assert.deepEqual(dir === 'b' ? found.reverse() : found, sent)
    }
    const middle = many / 2
    const { body } = await owner.get(`${path(roomId)}/context/${sent[middle]}?limit=1000`)
    const [before, after] = [idsOf(body.events_before), idsOf(body.events_after)]
    for (const side of [before, after]) assert.ok(side.length > 5 && side.length < middle - 5, `${side.length}`)
    assert.deepEqual([...before.reverse(), body.event.event_id, ...after], sent.slice(middle - before.length, middle + after.length + 1))
    for (const [dir, token, next] of [
      ['b', body.start, sent[middle - before.length - 1]],
      ['f', body.end, sent[middle + after.length + 1]],
    ]) {
      const page = await owner.get(`${path(roomId)}/messages?dir=${dir}&limit=1&from=${token}`)
      assert.deepEqual(idsOf(page.body.chunk), [next])
    }
    for (const [size, cursor, more, at] of [
      ['last', 'before', 'hasPreviousPage', 'startCursor'],
      ['first', 'after', 'hasNextPage', 'endCursor'],
    ] as const) {
      const query = `query ($roomId: ID!, $at: String) { room(roomId: $roomId) { timeline(${size}: 1000, ${cursor}: $at) { edges { node { eventId type content } } pageInfo { ${more} ${at} } } } }`
      const parts: string[][] = []
      for (let place: string | null = null; ; ) {
        const { timeline }: Room = (await owner.graphql(query, { roomId, at: place })).data.room
        assert.ok(lengthOf(timeline.edges) < longest + 10_000)
        parts.push(idsOf(timeline.edges.map(({ node }) => ({ ...node, event_id: node.eventId }))))
        if (!timeline.pageInfo[more]) break
        place = timeline.pageInfo[at]
      }
      assert.ok(parts.length > 1, `${parts.length} pages`)
      assert.deepEqual((size === 'last' ? parts.reverse() : parts).flat(), sent)
    }
  })

  test('small events with large edits count with them', async () => {
    await using server = await start()
    const { owner } = server
    const { roomId, sent } = await largeEvents(owner, () => ({}))
    for (const event_id of sent) {
      const content = { 'm.new_content': { msgtype: 'm.text', body: large }, 'm.relates_to': { rel_type: 'm.replace', event_id } }
      await send(owner, roomId, content)
    }
    const found = await pages((from) => owner.get(`${path(roomId)}/messages?dir=f&limit=1000${from ? `&from=${from}` : ''}`), 'end')
    assert.deepEqual(found.slice(0, many), sent)
    assert.equal(new Set(found).size, 2 * many)
  })

  test('/relations and /threads of large events are short, and go on where they ended', async () => {
    await using server = await start()
    const { owner } = server
    const { roomId, sent } = await largeEvents(owner)
    const thread = (event_id: string) => ({ 'm.relates_to': { rel_type: 'm.thread', event_id } })
    for (const root of sent) await send(owner, roomId, thread(root))
    const threads = await pages(
      (from) => owner.get(`/_matrix/client/v1${path(roomId)}/threads?limit=1000${from ? `&from=${from}` : ''}`),
      'next_batch',
    )
    assert.deepEqual(threads, sent.toReversed())
    // Small roots whose latest replies are large.
    const replied = await largeEvents(owner, () => ({}))
    for (const root of replied.sent) await send(owner, replied.roomId, { body: large, ...thread(root) })
    const roots = await pages(
      (from) => owner.get(`/_matrix/client/v1${path(replied.roomId)}/threads?limit=1000${from ? `&from=${from}` : ''}`),
      'next_batch',
    )
    assert.deepEqual(roots, replied.sent.toReversed())
    const root = await send(owner, roomId, {})
    const replies: string[] = []
    for (let i = 0; i < many; i++) replies.push(await send(owner, roomId, { body: large, ...thread(root) }))
    for (const dir of ['b', 'f']) {
      const found = await pages(
        (from) =>
          owner.get(`/_matrix/client/v1${path(roomId)}/relations/${root}?recurse=true&dir=${dir}&limit=1000${from ? `&from=${from}` : ''}`),
        'next_batch',
      )
      assert.deepEqual(dir === 'b' ? found.reverse() : found, replies)
    }
  })

  test('the context of an event comes with the whole state, however large that is', async () => {
    await using server = await start()
    const { owner } = server
    const room = `/rooms/${encodeURIComponent(await owner.createRoom())}`
    const content = { a: 'y'.repeat(64_000) }
    for (let i = 0; i < 505; i += 5) {
      const put = (n: number) => owner.put(`${room}/state/com.example.large/${n}`, content)
      for (const { status } of await Promise.all([0, 1, 2, 3, 4].map((k) => put(i + k)))) assert.equal(status, 200)
    }
    const { body } = await owner.put(`${room}/send/m.room.message/t`, { msgtype: 'm.text', body: 'x' })
    const reply = await owner.get(`${room}/context/${encodeURIComponent(body.event_id)}`)
    assert.equal(reply.status, 200)
    assert.ok(reply.body.state.length > 505)
  })

  test('what one GraphQL document brings is at most 32 MB together: of many pages, and of one page under many names', async () => {
    await using server = await start()
    const { owner } = server
    const { roomId } = await largeEvents(owner)
    const ask = (fields: string) => owner.graphql(`query ($roomId: ID!) { room(roomId: $roomId) { ${fields} } }`, { roomId })
    const names = (count: number, field: string) => Array.from({ length: count }, (_, i) => `a${i}: ${field}`).join(' ')
    const page = 'timeline(last: 1000) { edges { node { raw } } }'
    const few = await ask(names(5, page))
    assert.equal(few.errors, undefined)
    assert.ok(few.data.room.a4.edges.length > 20)
    const timelines = (field: string) => [names(20, page.replace('raw', field)), page.replace('raw', names(20, field))]
    for (const fields of [...timelines('raw'), timelines('content')[1]!, timelines('common { ... on TextMessage { body } }')[1]!]) {
      const { data, errors } = await ask(fields)
      assert.equal(errors?.[0].extensions.errcode, 'M_TOO_LARGE', fields.slice(0, 60))
      // A field that may be null is null; the rest is all there may be.
      assert.ok(JSON.stringify(data).length < 33_000_000)
    }
    const messages = names(20, 'roomMessages(roomId: $roomId, dir: BACKWARDS, limit: 1000)')
    const raw = await owner.graphql(`query ($roomId: ID!) { ${messages} }`, { roomId })
    assert.equal(raw.errors?.[0].extensions.errcode, 'M_TOO_LARGE')
    // The next document begins anew.
    assert.equal((await ask(names(5, page))).errors, undefined)
  })

  test('the newest events of all rooms count with them', async () => {
    await using server = await start()
    const { owner } = server
    const instance = await server.server.host.defaultInstance()
    const { key: me } = (await instance.storage.first('user', { userId: owner.userId }))!
    const rooms = async (count: number) => {
      for (let i = 0; i < count; i += 20) {
        await command(instance, (decision) => {
          for (let j = 0; j < 20; j++) {
            const key = decision.takePosition()
            const json = JSON.stringify({ type: 'm.room.message', sender: owner.userId, content: { body: large } })
            decision.write('room', room(instance.key, key, { roomId: `!${key}:example.com`, creator: me }))
            decision.write('membership', membership(instance.key, key, me, { order: key, since: key }))
            decision.write('event', event(instance.key, key, key, { sender: me, json }))
          }
        })
      }
    }
    await rooms(100)
    const ask = () => owner.graphql('{ inbox(first: 1000) { edges { node { newestEvent { eventId } } } } }')
    const few = await ask()
    assert.deepEqual([few.errors, few.data.inbox.edges.length], [undefined, 100])
    await rooms(500)
    assert.equal((await ask()).errors[0].extensions.errcode, 'M_TOO_LARGE')
  })

  test('a page is read a hundred events at a time, so that a thousand large ones are never held', async (t) => {
    await using server = await start()
    const { owner } = server
    const roomId = await owner.createRoom()
    for (let i = 0; i < 140; i++) await send(owner, roomId, {})
    const { storage } = await server.server.host.defaultInstance()
    const find = t.mock.method(storage, 'find')
    const page = await owner.get(`${path(roomId)}/messages?dir=b&limit=1000`)
    assert.ok(page.body.chunk.length > 140)
    assert.equal(page.body.end, undefined)
    const limits = find.mock.calls.flatMap(({ arguments: [table, { limit }] }) => (table === 'event' ? [limit] : []))
    assert.ok(limits.length === 2 && limits.every((limit) => limit! < 150), String(limits))
  })
})
