/** Pages of what relates to an event, and of a room's threads, by REST. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, TestServer } from '../rig/server.ts'

interface Event {
  readonly event_id: string
  readonly unsigned: { readonly 'm.relations'?: { readonly 'm.thread'?: { readonly count: number } } }
}

await onBothServers('relations', (start) => {
  let server: TestServer
  let alice: Client
  let bob: Client
  let outsider: Client
  let roomId: string
  before(async () => {
    server = await start()
    alice = await server.register('alice')
    bob = await server.register('bob')
    outsider = await server.register('olaf')
    roomId = await alice.createRoom({ invite: [bob.userId] })
    await bob.post(`/rooms/${encodeURIComponent(roomId)}/join`)
  })
  after(() => server[Symbol.asyncDispose]())

  let txn = 0
  async function send(client: Client, type: string, content: object): Promise<string> {
    const { body } = await client.put(`/rooms/${encodeURIComponent(roomId)}/send/${type}/r${txn++}`, content)
    return body.event_id
  }
  const relate = (client: Client, relType: string, eventId: string, type = 'm.room.message', more: object = {}) =>
    send(client, type, { msgtype: 'm.text', body: `${txn}`, 'm.relates_to': { rel_type: relType, event_id: eventId, ...more } })
  const path = (eventId: string, rest = '') =>
    `/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/relations/${encodeURIComponent(eventId)}${rest}`
  const ids = ({ chunk }: { chunk: Event[] }) => chunk.map((event) => event.event_id)

  test('the newest come first; a type of relation and of event choose among them; a redacted one is gone', async () => {
    const root = await alice.send(roomId, 'root')
    const reply = await relate(bob, 'm.thread', root)
    const reference = await relate(bob, 'm.reference', root)
    const sticker = await relate(alice, 'm.thread', root, 'm.sticker')
    const gone = await relate(bob, 'm.thread', root)
    await bob.put(`/rooms/${encodeURIComponent(roomId)}/redact/${encodeURIComponent(gone)}/r${txn++}`, {})
    assert.deepEqual(ids((await bob.get(path(root))).body), [sticker, reference, reply])
    assert.deepEqual(ids((await bob.get(path(root, '?dir=f'))).body), [reply, reference, sticker])
    assert.deepEqual(ids((await bob.get(path(root, '/m.thread'))).body), [sticker, reply])
    assert.deepEqual(ids((await bob.get(path(root, '/m.thread/m.sticker'))).body), [sticker])
    for (const rest of ['', '/m.thread', '/m.thread/m.sticker'])
      assert.deepEqual(
        ids((await bob.get(path(root, rest).replace('/v1/', '/unstable/'))).body),
        ids((await bob.get(path(root, rest))).body),
      )
  })

  test('pages go on where they ended, in both directions, and the last one names no next', async () => {
    const root = await alice.send(roomId, 'root')
    const all: string[] = []
    for (let i = 0; i < 7; i++) all.push(await relate(i % 2 ? alice : bob, 'm.thread', root))
    for (const dir of ['b', 'f']) {
      const found: string[] = []
      let from = ''
      for (let pages = 0; pages < 10; pages++) {
        const { body } = await alice.get(path(root, `?dir=${dir}&limit=3${from && `&from=${from}`}`))
        assert.equal(body.prev_batch, from || undefined)
        found.push(...ids(body))
        from = body.next_batch
        if (!from) break
      }
      assert.deepEqual(found, dir === 'f' ? all : all.toReversed())
    }
    const { body } = await alice.get(path(root, '?dir=f&limit=3'))
    assert.deepEqual(ids((await alice.get(path(root, `?to=${body.next_batch}`))).body), all.slice(3).toReversed())
  })

  test('recursing, what relates to those comes too, in three steps', async () => {
    const root = await alice.send(roomId, 'root')
    const reply = await relate(bob, 'm.thread', root)
    const edit = await relate(bob, 'm.replace', reply, 'm.room.message', {})
    const reaction = await relate(alice, 'm.annotation', edit, 'm.reaction', { key: '+1' })
    await relate(alice, 'm.reference', reaction)
    const later = await relate(bob, 'm.thread', root)
    const { body } = await alice.get(path(root, '?recurse=true'))
    assert.deepEqual([ids(body), body.recursion_depth], [[later, reaction, edit, reply], 3])
    assert.deepEqual(ids((await alice.get(path(root, '/m.annotation/m.reaction?recurse=true'))).body), [reaction])
    const first = (await alice.get(path(root, '?recurse=true&limit=2'))).body
    assert.deepEqual(ids(first), [later, reaction])
    assert.deepEqual(ids((await alice.get(path(root, `?recurse=true&from=${first.next_batch}`))).body), [edit, reply])
  })

  test('what an ignored user says is left out, however much it is', async () => {
    const root = await alice.send(roomId, 'root')
    const own = await relate(alice, 'm.thread', root)
    for (let i = 0; i < 5; i++) await relate(bob, 'm.thread', root)
    const list = (users: object) => alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`, users)
    await list({ ignored_users: { [bob.userId]: {} } })
    const { body } = await alice.get(path(root, '?limit=1'))
    assert.deepEqual([ids(body), body.next_batch], [[own], undefined])
    await list({ ignored_users: {} })
  })

  test('an unknown event is 404, also for who may not read the room; a bad token or direction is 400', async () => {
    const root = await alice.send(roomId, 'root')
    for (const rest of ['', '/m.thread', '/m.thread/m.room.message']) {
      const unknown = await alice.get(path('$unknown', rest))
      assert.deepEqual([unknown.status, unknown.body.errcode], [404, 'M_NOT_FOUND'])
      assert.equal((await outsider.get(path(root, rest))).status, 404)
      assert.equal((await alice.get(path(root, `${rest}?from=nonsense`))).status, 400)
      assert.equal((await alice.get(path(root, `${rest}?dir=up`))).status, 400)
    }
  })

  test('threads: the one with the newest reply first, in pages, all or those that one took part in', async () => {
    roomId = await alice.createRoom({ invite: [bob.userId] })
    await bob.post(`/rooms/${encodeURIComponent(roomId)}/join`)
    const threads = async (client: Client, query = '') =>
      (await client.get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/threads${query}`)).body
    assert.deepEqual(await threads(alice), { chunk: [] })
    const roots: string[] = []
    for (let i = 0; i < 3; i++) roots.push(await alice.send(roomId, `root ${i}`))
    for (const root of roots) await relate(alice, 'm.thread', root)
    await relate(bob, 'm.thread', roots[0]!)
    const all = await threads(alice)
    assert.deepEqual(ids(all), [roots[0], roots[2], roots[1]])
    assert.equal(all.chunk[0].unsigned['m.relations']['m.thread'].count, 2)
    assert.deepEqual(ids(await threads(bob, '?include=participated')), [roots[0]])
    assert.equal((await threads(alice, '?include=participated')).chunk.length, 3)
    const first = await threads(alice, '?limit=2')
    assert.deepEqual(ids(await threads(alice, `?from=${first.next_batch}`)), [roots[1]])
    assert.equal((await threads(outsider)).errcode, 'M_FORBIDDEN')
    assert.equal((await threads(alice, '?from=nonsense')).errcode, 'M_INVALID_PARAM')
  })
})
