// The Matrix face of rooms, against a real server.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'

await onBothServers('rooms by REST', (start) => {
  let server: TestServer
  let alice: Client
  let bob: Client
  const path = encodeURIComponent

  before(async () => {
    server = await start()
    alice = await server.register('alice')
    bob = await server.register('bob')
  })
  after(() => server[Symbol.asyncDispose]())

  function refused(reply: Reply, status: number, errcode: string): void {
    assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(reply.body))
  }

  function accepted(reply: Reply): Reply['body'] {
    assert.equal(reply.status, 200, JSON.stringify(reply.body))
    return reply.body
  }

  async function shared(): Promise<string> {
    const roomId = await alice.createRoom({ invite: [bob.userId] })
    accepted(await bob.post(`/rooms/${path(roomId)}/join`))
    return roomId
  }

  describe('creating and coming', () => {
    test('a room begins with its preset, name, topic, alias, level overrides and initial state', async () => {
      const roomId = await alice.createRoom({
        preset: 'public_chat',
        visibility: 'public',
        name: 'Portal',
        topic: 'about',
        room_alias_name: 'portal',
        room_version: '10',
        power_level_content_override: { users: { [alice.userId]: 9001 } },
        creation_content: { type: 'm.space', 'm.federate': false },
        initial_state: [{ type: 'com.example', content: { a: 1 } }],
      })
      const events = accepted(await alice.get(`/rooms/${path(roomId)}/state`)) as {
        type: string
        state_key: string
        content: Record<string, unknown>
      }[]
      const content = (type: string) => events.find((event) => event.type === type)?.content
      assert.equal(content('m.room.create')?.['room_version'], '10')
      assert.equal(content('m.room.create')?.['type'], 'm.space')
      assert.equal(content('m.room.name')?.['name'], 'Portal')
      assert.deepEqual(content('m.room.power_levels')?.['users'], { [alice.userId]: 9001 })
      assert.deepEqual(content('com.example'), { a: 1 })
      assert.deepEqual(content('m.room.canonical_alias'), { alias: '#portal:example.com' })
      assert.deepEqual(accepted(await bob.post(`/join/${path('#portal:example.com')}`)), { room_id: roomId })
      assert.ok(accepted(await bob.get('/joined_rooms')).joined_rooms.includes(roomId))
      refused(await alice.post('/createRoom', { room_version: '12' }), 400, 'M_UNSUPPORTED_ROOM_VERSION')
      refused(await alice.post('/createRoom', { room_alias_name: 'portal' }), 400, 'M_ROOM_IN_USE')
      refused(await alice.post('/createRoom', { preset: 'odd' }), 400, 'M_INVALID_PARAM')
      refused(await alice.post('/createRoom', { invite_3pid: [{}] }), 403, 'M_THREEPID_DENIED')
      refused(await alice.post('/createRoom', { initial_state: [{ type: 'x' }] }), 400, 'M_MISSING_PARAM')
      refused(
        await alice.request('POST', '/createRoom', undefined, { raw: '{"initial_state":[{"type":"x","content":{"a":1.5}}]}' }),
        400,
        'M_BAD_JSON',
      )
      refused(await server.request('GET', '/joined_rooms'), 401, 'M_MISSING_TOKEN')
    })

    test('invite, kick, ban, unban, leave and forget, each with its refusal', async () => {
      const roomId = await alice.createRoom()
      const at = (action: string) => `/rooms/${path(roomId)}/${action}`
      const target = { user_id: bob.userId, reason: 'because' }
      refused(await bob.post(at('join')), 403, 'M_FORBIDDEN')
      refused(await bob.post(at('invite'), { user_id: alice.userId }), 403, 'M_FORBIDDEN')
      refused(await alice.post(at('invite'), {}), 400, 'M_MISSING_PARAM')
      refused(await alice.post(at('invite'), { id_server: 'x', medium: 'email', address: 'a@b' }), 403, 'M_THREEPID_DENIED')
      refused(await alice.post(at('invite'), { user_id: '@x:other.org' }), 403, 'M_FORBIDDEN')
      accepted(await alice.post(at('invite'), target))
      accepted(await bob.post(at('join')))
      const again = await alice.post(at('invite'), target)
      refused(again, 403, 'M_FORBIDDEN')
      assert.match(again.body.error, /is already in the room/)
      refused(await bob.post(at('forget')), 400, 'M_UNKNOWN')
      refused(await bob.post(at('kick'), { user_id: alice.userId }), 403, 'M_FORBIDDEN')
      accepted(await alice.post(at('kick'), target))
      accepted(await alice.post(at('ban'), target))
      refused(await bob.post(at('join')), 403, 'M_FORBIDDEN')
      accepted(await alice.post(at('unban'), target))
      refused(await alice.post(at('unban'), target), 403, 'M_BAD_STATE')
      refused(await bob.post(at('ban'), { user_id: alice.userId }), 403, 'M_FORBIDDEN')
      accepted(await alice.post(at('invite'), target))
      accepted(await bob.post(at('leave')))
      refused(await server.owner.post(at('leave')), 403, 'M_FORBIDDEN')
      accepted(await bob.post(at('forget')))
      refused(await bob.get(at('messages?dir=b')), 403, 'M_FORBIDDEN')
      refused(await bob.post(`/join/${path('#none:example.com')}`), 404, 'M_NOT_FOUND')
      refused(await bob.post('/join/nonsense'), 400, 'M_INVALID_PARAM')
    })

    test('knocking where the room lets knock', async () => {
      const roomId = await alice.createRoom({ initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }] })
      assert.deepEqual(accepted(await bob.post(`/knock/${path(roomId)}`, { reason: 'please' })), { room_id: roomId })
      refused(await bob.post(`/knock/${path(await alice.createRoom())}`), 403, 'M_FORBIDDEN')
    })
  })

  describe('events', () => {
    test('a transaction id repeated answers the first event, in another type it is another', async () => {
      const roomId = await shared()
      const send = (type: string, body: object) => alice.put(`/rooms/${path(roomId)}/send/${type}/txn1`, body)
      const first = accepted(await send('m.room.message', { msgtype: 'm.text', body: 'a' })).event_id
      assert.equal(accepted(await send('m.room.message', { msgtype: 'm.text', body: 'b' })).event_id, first)
      assert.notEqual(accepted(await send('com.example', {})).event_id, first)
      refused(await server.owner.put(`/rooms/${path(roomId)}/send/m.room.message/x`, {}), 403, 'M_FORBIDDEN')
      refused(
        await alice.request('PUT', `/rooms/${path(roomId)}/send/m.room.message/x`, undefined, { raw: '{"a":1,"a":2}' }),
        400,
        'M_BAD_JSON',
      )
      refused(await alice.put(`/rooms/${path(roomId)}/send/m.room.message/y`, { body: 'x'.repeat(70_000) }), 413, 'M_TOO_LARGE')
      const event = accepted(await alice.get(`/rooms/${path(roomId)}/event/${path(first)}`))
      assert.deepEqual([event.content.body, event.room_id, event.unsigned.transaction_id], ['a', roomId, 'txn1'])
      assert.equal(accepted(await bob.get(`/rooms/${path(roomId)}/event/${path(first)}`)).unsigned.transaction_id, undefined)
      refused(await alice.get(`/rooms/${path(roomId)}/event/$none`), 404, 'M_NOT_FOUND')
      refused(await server.owner.get(`/rooms/${path(roomId)}/event/${path(first)}`), 404, 'M_NOT_FOUND')
    })

    test('state answers to its three spellings, as content or as event', async () => {
      const roomId = await shared()
      const state = `/rooms/${path(roomId)}/state`
      const first = accepted(await alice.put(`${state}/com.example`, { n: 1 })).event_id
      assert.equal(accepted(await alice.put(`${state}/com.example/`, { n: 1 })).event_id, first, 'what stands already is answered')
      accepted(await alice.put(`${state}/com.example/${path('a/b')}`, { n: 2 }))
      assert.deepEqual(accepted(await bob.get(`${state}/com.example`)), { n: 1 })
      assert.deepEqual(accepted(await bob.get(`${state}/com.example/`)), { n: 1 })
      assert.deepEqual(accepted(await bob.get(`${state}/com.example/${path('a/b')}`)), { n: 2 })
      assert.deepEqual(accepted(await bob.get(`${state}/com.example?format=content`)), { n: 1 })
      const event = accepted(await bob.get(`${state}/com.example?format=event`))
      assert.deepEqual([event.event_id, event.state_key, event.room_id], [first, '', roomId])
      refused(await bob.get(`${state}/com.none`), 404, 'M_NOT_FOUND')
      refused(await bob.get(`${state}/com.example?format=odd`), 400, 'M_INVALID_PARAM')
      refused(await bob.put(`${state}/m.room.name`, { name: 'mine' }), 403, 'M_FORBIDDEN')
      refused(await server.owner.get(`${state}/com.example`), 403, 'M_FORBIDDEN')
      refused(await server.owner.get(state), 403, 'M_FORBIDDEN')
    })

    test('redacting keeps further keys in the redaction; who may not is refused', async () => {
      const roomId = await shared()
      const eventId = await alice.send(roomId, 'oops')
      const at = (txn: string) => `/rooms/${path(roomId)}/redact/${path(eventId)}/${txn}`
      refused(await bob.put(at('t0'), {}), 403, 'M_FORBIDDEN')
      const redaction = accepted(await alice.put(at('t1'), { reason: 'typo', 'fi.mau.double_puppet_source': 'x' })).event_id
      assert.equal(accepted(await alice.request('PUT', at('t1'))).event_id, redaction)
      const event = accepted(await bob.get(`/rooms/${path(roomId)}/event/${path(eventId)}`))
      assert.deepEqual(event.content, {})
      assert.deepEqual(event.unsigned.redacted_because.content, { reason: 'typo', 'fi.mau.double_puppet_source': 'x', redacts: eventId })
    })

    test('messages, context and members read with tokens of a sync', async () => {
      const roomId = await shared()
      const room = `/rooms/${path(roomId)}`
      const since = (await alice.sync()).next_batch
      const ids: string[] = []
      for (let i = 0; i < 5; i++) ids.push(await alice.send(roomId, `m${i}`))
      const forwards = accepted(await bob.get(`${room}/messages?dir=f&from=${since}&limit=3`))
      assert.deepEqual(
        forwards.chunk.map((event: { event_id: string }) => event.event_id),
        ids.slice(0, 3),
      )
      const rest = accepted(await bob.get(`${room}/messages?dir=f&from=${forwards.end}&limit=3`))
      assert.deepEqual([rest.chunk.length, rest.end], [2, undefined])
      const lazy = path('{"lazy_load_members":true,"types":["m.room.message"]}')
      const backwards = accepted(await bob.get(`${room}/messages?dir=b&limit=2&filter=${lazy}`))
      assert.deepEqual(
        backwards.state.map((event: { state_key: string }) => event.state_key),
        [alice.userId],
      )
      const context = accepted(await bob.get(`${room}/context/${path(ids[2]!)}?limit=2`))
      assert.deepEqual([context.events_before[0].event_id, context.events_after[0].event_id], [ids[1], ids[3]])
      accepted(await bob.post(`${room}/leave`))
      const now = accepted(await alice.get(`${room}/members?not_membership=leave`)).chunk
      const then = accepted(await alice.get(`${room}/members?at=${since}&membership=join`)).chunk
      assert.deepEqual([now.length, then.length], [1, 2])
      assert.deepEqual(Object.keys(accepted(await alice.get(`${room}/joined_members`)).joined), [alice.userId])
      for (const query of ['', '?dir=x', '?dir=b&from=x', '?dir=b&limit=x', '?dir=b&limit=-1', '?dir=b&filter=[]']) {
        const reply = await alice.get(`${room}/messages${query}`)
        assert.equal(reply.status, 400, query)
      }
      refused(await alice.get(`${room}/members?membership=gone`), 400, 'M_INVALID_PARAM')
      refused(await server.owner.get(`${room}/members`), 403, 'M_FORBIDDEN')
      refused(await server.owner.get(`${room}/joined_members`), 403, 'M_FORBIDDEN')
      refused(await server.owner.get(`${room}/messages?dir=b`), 403, 'M_FORBIDDEN')
      refused(await server.owner.get(`${room}/context/${path(ids[2]!)}`), 404, 'M_NOT_FOUND')
    })
  })

  describe('reading and typing', () => {
    test('receipts and markers reach the other’s sync with their further keys, private ones do not', async () => {
      const roomId = await shared()
      const room = `/rooms/${path(roomId)}`
      const eventId = await alice.send(roomId, 'read me')
      const since = (await alice.sync()).next_batch
      accepted(await bob.post(`${room}/receipt/m.read.private/${path(eventId)}`))
      accepted(await bob.post(`${room}/receipt/m.read/${path(eventId)}`, { 'com.example': 1, thread_id: 'main' }))
      const ephemeral = (await alice.sync(`since=${since}`)).rooms.join[roomId].ephemeral.events
      const receipt = ephemeral.find((event: { type: string }) => event.type === 'm.receipt').content[eventId]
      assert.deepEqual(Object.keys(receipt), ['m.read'])
      const { ts, ...data } = receipt['m.read'][bob.userId]
      assert.equal(typeof ts, 'number')
      assert.deepEqual(data, { 'com.example': 1, thread_id: 'main' })
      accepted(await bob.post(`${room}/read_markers`, { 'm.fully_read': eventId, 'm.read': null, 'com.beeper.fully_read.extra': { x: 1 } }))
      const stored = await bob.get(`/user/${path(bob.userId)}/rooms/${path(roomId)}/account_data/m.fully_read`)
      assert.deepEqual(accepted(stored), { event_id: eventId, x: 1 })
      refused(await bob.post(`${room}/receipt/m.read/$none`), 404, 'M_NOT_FOUND')
      refused(await bob.post(`${room}/receipt/m.odd/${path(eventId)}`), 400, 'M_INVALID_PARAM')
      refused(await bob.post(`${room}/read_markers`, { 'm.read': 5 }), 400, 'M_BAD_JSON')
      refused(await server.owner.post(`${room}/receipt/m.read/${path(eventId)}`), 403, 'M_FORBIDDEN')
      refused(await server.owner.post(`${room}/read_markers`, { 'm.read': eventId }), 403, 'M_FORBIDDEN')
    })

    test('typing reaches the other’s sync and ends', async () => {
      const roomId = await shared()
      const typing = `/rooms/${path(roomId)}/typing/${path(bob.userId)}`
      const types = async (since: string): Promise<[string, string[]]> => {
        const answer = await alice.sync(`since=${since}&timeout=5000`)
        return [
          answer.next_batch,
          answer.rooms.join[roomId].ephemeral.events.find((event: { type: string }) => event.type === 'm.typing').content.user_ids,
        ]
      }
      const since = (await alice.sync()).next_batch
      accepted(await bob.put(typing, { typing: true, timeout: 99_999_999_999 }))
      const [next, ids] = await types(since)
      assert.deepEqual(ids, [bob.userId])
      accepted(await bob.put(typing, { typing: false }))
      assert.deepEqual((await types(next))[1], [])
      refused(await alice.put(typing, { typing: true }), 403, 'M_FORBIDDEN')
      refused(await bob.put(typing, {}), 400, 'M_MISSING_PARAM')
    })
  })

  describe('the directory', () => {
    test('aliases and listing', async () => {
      const roomId = await alice.createRoom({ name: 'Findable' })
      const alias = `/directory/room/${path('#found:example.com')}`
      const listing = `/directory/list/room/${path(roomId)}`
      refused(await bob.put(alias, { room_id: roomId }), 403, 'M_FORBIDDEN')
      refused(await alice.put(alias, {}), 400, 'M_MISSING_PARAM')
      accepted(await alice.put(alias, { room_id: roomId }))
      refused(await alice.put(alias, { room_id: roomId }), 409, 'M_UNKNOWN')
      assert.equal(accepted(await server.request('GET', alias)).room_id, roomId)
      assert.deepEqual(accepted(await alice.get(`/rooms/${path(roomId)}/aliases`)), { aliases: ['#found:example.com'] })
      refused(await bob.get(`/rooms/${path(roomId)}/aliases`), 403, 'M_FORBIDDEN')
      refused(await bob.request('DELETE', alias), 403, 'M_FORBIDDEN')
      accepted(await alice.request('DELETE', alias))
      refused(await alice.request('DELETE', alias), 404, 'M_NOT_FOUND')
      refused(await server.request('GET', alias), 404, 'M_NOT_FOUND')

      assert.deepEqual(accepted(await server.request('GET', listing)), { visibility: 'private' })
      refused(await server.request('GET', '/directory/list/room/!none'), 404, 'M_NOT_FOUND')
      refused(await bob.put(listing, { visibility: 'public' }), 403, 'M_FORBIDDEN')
      accepted(await alice.put(listing, {}))
      const found = accepted(await bob.post('/publicRooms', { filter: { generic_search_term: 'findable', room_types: [null] } }))
      assert.deepEqual(
        [found.chunk.length, found.chunk[0].room_id, found.chunk[0].num_joined_members, found.total_room_count_estimate],
        [1, roomId, 1, 1],
      )
      assert.ok(accepted(await server.request('GET', '/publicRooms')).chunk.length > 0)
      refused(await server.request('GET', '/publicRooms?server=other.org'), 404, 'M_NOT_FOUND')
      refused(await bob.post('/publicRooms', { since: 'x' }), 400, 'M_INVALID_PARAM')
    })
  })

  describe('bridges', () => {
    test('a portal: own ids, times and members, and the owner is in it', async () => {
      const bridge = await registerBridge(server, 'portals')
      const bot = bridge.as(bridge.botId)
      const owner = server.owner
      const ghost = bridge.ghost(1)
      const reply = await bot.request('POST', '/createRoom', {
        'fi.mau.room_id': '!portal.1:example.com',
        'fi.mau.origin_server_ts': 1_000,
        'com.beeper.auto_join_invites': true,
        'com.beeper.initial_members': [ghost, owner.userId],
        invite: [ghost, owner.userId],
      })
      assert.deepEqual(accepted(reply), { room_id: '!portal.1:example.com' })
      const room = `/rooms/${path('!portal.1:example.com')}`
      assert.deepEqual(Object.keys(accepted(await owner.get(`${room}/joined_members`)).joined).length, 3)
      const created = accepted(await owner.get(`${room}/state/m.room.create?format=event`))
      assert.equal(created.origin_server_ts, 1_000)
      const first = accepted(await owner.get(`${room}/messages?dir=f&limit=100`)).chunk
      assert.deepEqual(new Set(first.map((event: Reply['body']) => event.origin_server_ts)), new Set([1_000]), 'members too')
      const sent = await bridge
        .as(ghost)
        .request('PUT', `${room}/send/m.room.message/t?ts=5&fi.mau.event_id=${path('$own:net')}`, { body: 'x' })
      assert.deepEqual(accepted(sent), { event_id: '$own:net' })
      const event = accepted(await owner.get(`${room}/event/${path('$own:net')}`))
      assert.deepEqual([event.sender, event.origin_server_ts], [ghost, 5])
      const state = () => bot.request('PUT', `${room}/state/com.example?fi.mau.transaction_id=s1`, { n: 1 })
      assert.equal(accepted(await state()).event_id, accepted(await state()).event_id)
      const puppet = bridge.as(owner.userId)
      accepted(await puppet.request('POST', `${room}/receipt/m.read/${path('$own:net')}`))
      accepted(await owner.put(`${room}/send/m.room.message/t?ts=7&fi.mau.event_id=${path('$mine')}`, { body: 'y' }))
      const chunk = accepted(await owner.get(`${room}/messages?dir=b&limit=1`)).chunk
      assert.notEqual(chunk[0].event_id, '$mine', 'only an appservice chooses ids')
      assert.notEqual(chunk[0].origin_server_ts, 7)

      const own = await owner.createRoom()
      const refusals: readonly [string, string, unknown?][] = [
        ['GET', `/rooms/${path(own)}/messages?dir=b`],
        ['PUT', `/rooms/${path(own)}/typing/${path(owner.userId)}`, { typing: true }],
        ['PUT', `/directory/room/${path('#x:example.com')}`, { room_id: own }],
      ]
      for (const [method, address, body] of refusals) refused(await puppet.request(method, address, body), 403, 'M_FORBIDDEN')
    })
  })
})
