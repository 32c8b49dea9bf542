// All that somebody said in a room, redacted with a few requests: both faces of a real server.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import { ExampleBridge } from '../rig/example-bridge.ts'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { idsOf, pageBack, path, refused, startHistorian } from './backfill.ts'

type Event = Reply['body']

const mutation = `mutation ($roomId: ID!, $userId: ID!, $reason: String, $limit: Int, $txnId: String) {
  redactUser(roomId: $roomId, userId: $userId, reason: $reason, limit: $limit, txnId: $txnId) { total more }
}`

await onBothServers('redacting all that somebody said', (start) => {
  let server: TestServer
  let alice: Client
  let bob: Client

  before(async () => {
    server = await start()
    alice = await server.register('alice')
    bob = await server.register('bob')
  })
  after(() => server[Symbol.asyncDispose]())

  const at = (roomId: string, userId: string, query = '') =>
    `/_matrix/client/unstable/org.matrix.msc4194/rooms/${path(roomId)}/redact/user/${path(userId)}${query}`

  async function redactUser(by: Client, roomId: string, userId: string, query = '', body: object = {}): Promise<[number, boolean]> {
    const reply = await by.post(at(roomId, userId, query), body)
    assert.equal(reply.status, 200, JSON.stringify(reply.body))
    assert.equal(reply.body.redacted_events.soft_failed, 0)
    return [reply.body.redacted_events.total, reply.body.is_more_events]
  }

  /** A room of alice with bob in it. */
  async function shared(more: object = {}): Promise<string> {
    const roomId = await alice.createRoom({ invite: [bob.userId], ...more })
    assert.equal((await bob.post(`/rooms/${path(roomId)}/join`)).status, 200)
    return roomId
  }

  async function say(by: Client, roomId: string, n: number): Promise<string[]> {
    const ids: string[] = []
    for (let i = 0; i < n; i++) ids.push(await by.send(roomId, `${i}`))
    return ids
  }

  const isEmpty = ({ content, unsigned }: Event) => Object.keys(content).length === 0 && unsigned.redacted_because !== undefined
  const redactionsIn = (events: readonly Event[]) => events.filter(({ type }) => type === 'm.room.redaction')

  test('what a person said is redacted, the newest first, 25 at a time or as many as are asked for, until there is no more', async () => {
    const roomId = await shared()
    const [kept] = await say(alice, roomId, 1)
    const said = await say(bob, roomId, 31)
    const { next_batch: since } = await bob.sync()

    assert.deepEqual(await redactUser(alice, roomId, bob.userId, '', { reason: 'spam' }), [25, true])
    const redactions = redactionsIn(await pageBack(alice, roomId))
    assert.deepEqual(redactions.map(({ content }) => content.redacts).reverse(), said.slice(-25).reverse())
    for (const { sender, content, redacts } of redactions) {
      assert.deepEqual([sender, content], [alice.userId, { reason: 'spam', redacts }])
    }
    const { timeline } = (await bob.sync(`since=${since}&filter=${path('{"room":{"timeline":{"limit":50}}}')}`)).rooms.join[roomId]
    assert.deepEqual(idsOf(timeline.events), idsOf(redactions).reverse())

    assert.deepEqual(await redactUser(alice, roomId, bob.userId, '?limit=2'), [2, true])
    // Those that are redacted already count for nothing.
    await alice.put(`/rooms/${path(roomId)}/redact/${path(said[3]!)}/one`)
    assert.deepEqual(await redactUser(alice, roomId, bob.userId, '?limit=3'), [3, false])
    assert.deepEqual(await redactUser(alice, roomId, bob.userId), [0, false])
    const events = await pageBack(alice, roomId)
    assert.equal(redactionsIn(events).length, 31)
    for (const event of events) if (event.sender === bob.userId) assert.ok(isEmpty(event), JSON.stringify(event))
    assert.equal(events.find(({ event_id: id }) => id === kept).content.body, '0')
  })

  test('one asks for at most 100, and at least one', async () => {
    const roomId = await shared()
    await say(bob, roomId, 102)
    assert.deepEqual(await redactUser(alice, roomId, bob.userId, '?limit=0'), [1, true])
    assert.deepEqual(await redactUser(alice, roomId, bob.userId, '?limit=100000'), [100, true])
    assert.deepEqual(await redactUser(alice, roomId, bob.userId, '?limit=100000'), [1, false])
  })

  test('everybody may redact all of their own, and redactions are not redacted', async () => {
    const roomId = await shared()
    const [said] = await say(bob, roomId, 1)
    const key = { 'm.relates_to': { rel_type: 'm.annotation', event_id: said, key: '👍' } }
    assert.equal((await bob.put(`/rooms/${path(roomId)}/send/m.reaction/r`, key)).status, 200)
    assert.deepEqual(await redactUser(bob, roomId, bob.userId), [2, false])
    assert.deepEqual(await redactUser(bob, roomId, bob.userId), [0, false])
    assert.equal(redactionsIn(await pageBack(alice, roomId)).length, 2)
    // What reacted does not count any more.
    assert.deepEqual((await alice.get(`/rooms/${path(roomId)}/event/${path(said!)}`)).body.unsigned['m.relations'], undefined)
  })

  test('state stays, but for what earlier member events tell of the person', async () => {
    const roomId = await shared({ power_level_content_override: { state_default: 0 } })
    const put = (type: string, content: object) => bob.put(`/rooms/${path(roomId)}/state/${type}`, content)
    assert.equal((await bob.post(`/rooms/${path(roomId)}/invite`, { user_id: server.owner.userId, reason: 'come' })).status, 200)
    const topic = (await put('m.room.topic/', { topic: 'a topic' })).body.event_id
    const member = (displayname: string) => put(`m.room.member/${path(bob.userId)}`, { membership: 'join', displayname })
    const spam = (await member('spam spam spam')).body.event_id
    const current = (await member('Bob')).body.event_id
    // The join and the first name.
    assert.deepEqual(await redactUser(alice, roomId, bob.userId), [2, false])
    const read = async (id: string) => (await alice.get(`/rooms/${path(roomId)}/event/${path(id)}`)).body
    assert.deepEqual((await read(topic)).content, { topic: 'a topic' })
    assert.equal((await alice.get(`/rooms/${path(roomId)}/state/m.room.member/${path(server.owner.userId)}`)).body.reason, 'come')
    assert.deepEqual((await read(spam)).content, { membership: 'join' })
    assert.deepEqual((await read(current)).content, { membership: 'join', displayname: 'Bob' })

    // Who is banned is told by another's event.
    await alice.post(`/rooms/${path(roomId)}/ban`, { user_id: bob.userId })
    assert.deepEqual(await redactUser(alice, roomId, bob.userId), [1, false])
    assert.deepEqual((await read(current)).content, { membership: 'join' })
    assert.equal((await alice.get(`/rooms/${path(roomId)}/state/m.room.member/${path(bob.userId)}`)).body.membership, 'ban')
  })

  test('what nobody may redact stays, and keeps nothing else from being redacted', async () => {
    const roomId = await shared({ power_level_content_override: { events: {} } })
    const put = (type: string) => bob.put(`/rooms/${path(roomId)}/send/${type}/acl`, { allow: ['*'] })
    await say(bob, roomId, 2)
    // A message of this type, with no state key.
    const acl = (await put('m.room.server_acl')).body.event_id
    await say(bob, roomId, 1)
    assert.deepEqual(await redactUser(alice, roomId, bob.userId, '?limit=2'), [2, true])
    assert.deepEqual(await redactUser(alice, roomId, bob.userId, '?limit=2'), [1, false])
    const stayed = (await pageBack(alice, roomId)).filter((event) => event.sender === bob.userId && !isEmpty(event))
    assert.deepEqual(idsOf(stayed), [acl])
    refused(await alice.put(`/rooms/${path(roomId)}/redact/${path(acl)}/acl`), 403, 'M_FORBIDDEN')
  })

  test('what the moderator may not see stays', async () => {
    const hidden = { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } }
    const roomId = await alice.createRoom({
      invite: [bob.userId],
      initial_state: [hidden],
      power_level_content_override: { users: { [alice.userId]: 100, [bob.userId]: 50 } },
    })
    const [unseen] = await say(alice, roomId, 1)
    assert.equal((await bob.post(`/rooms/${path(roomId)}/join`)).status, 200)
    const [seen] = await say(alice, roomId, 1)
    assert.deepEqual(await redactUser(bob, roomId, alice.userId), [1, false])
    const read = async (id?: string) => (await alice.get(`/rooms/${path(roomId)}/event/${path(id!)}`)).body
    assert.equal((await read(unseen)).content.body, '0')
    assert.ok(isEmpty(await read(seen)))
  })

  describe('is refused', () => {
    test('to who may not redact what others say, also where there is nothing', async () => {
      const roomId = await shared()
      await say(alice, roomId, 1)
      refused(await bob.post(at(roomId, alice.userId)), 403, 'M_FORBIDDEN')
      refused(await bob.post(at(roomId, '@nobody:example.com')), 403, 'M_FORBIDDEN')
      const body = await bob.graphql(mutation, { roomId, userId: alice.userId })
      assert.equal(body.errors[0].extensions.errcode, 'M_FORBIDDEN')
      assert.deepEqual(redactionsIn(await pageBack(alice, roomId)), [])
    })

    test('to who may send no redactions, also of one’s own events', async () => {
      const roomId = await shared({ power_level_content_override: { events: { 'm.room.redaction': 50 } } })
      await say(bob, roomId, 1)
      refused(await bob.post(at(roomId, bob.userId)), 403, 'M_FORBIDDEN')
      assert.deepEqual(await redactUser(alice, roomId, bob.userId), [1, false])
      // Nor where nothing is left.
      refused(await bob.post(at(roomId, bob.userId)), 403, 'M_FORBIDDEN')
    })

    test('to who is not in the room, or is no more, and where there is none', async () => {
      const roomId = await shared({ preset: 'public_chat' })
      await say(bob, roomId, 1)
      refused(await server.owner.post(at(roomId, bob.userId)), 403, 'M_FORBIDDEN')
      await bob.post(`/rooms/${path(roomId)}/leave`)
      refused(await bob.post(at(roomId, bob.userId)), 403, 'M_FORBIDDEN')
      refused(await alice.post(at('!none:example.com', bob.userId)), 403, 'M_FORBIDDEN')
      refused(await server.request('POST', at(roomId, bob.userId), {}), 401, 'M_MISSING_TOKEN')
    })

    test('for what is no user id, no limit, no reason, or too long a one; somebody unknown said nothing', async () => {
      const roomId = await shared()
      await say(bob, roomId, 1)
      refused(await alice.post(at(roomId, 'bob')), 400, 'M_INVALID_PARAM')
      for (const limit of ['-1', 'many', '1.5'])
        refused(await alice.post(at(roomId, bob.userId, `?limit=${limit}`)), 400, 'M_INVALID_PARAM')
      refused(await alice.post(at(roomId, bob.userId), { reason: 1 }), 400, 'M_BAD_JSON')
      refused(await alice.post(at(roomId, bob.userId), { reason: 'x'.repeat(70_000) }), 413, 'M_TOO_LARGE')
      assert.deepEqual(redactionsIn(await pageBack(alice, roomId)), [])
      assert.deepEqual(await redactUser(alice, roomId, '@nobody:example.com'), [0, false])
    })
  })

  test('by GraphQL the same transaction id answers the same and redacts nothing', async () => {
    const roomId = await shared()
    await say(bob, roomId, 3)
    const ask = async (txnId: string) => (await alice.graphql(mutation, { roomId, userId: bob.userId, limit: 2, txnId })).data.redactUser
    assert.deepEqual(await ask('a'), { total: 2, more: true })
    assert.deepEqual(await ask('a'), { total: 2, more: true })
    assert.equal(redactionsIn(await pageBack(alice, roomId)).length, 2)
    assert.deepEqual(await ask('b'), { total: 1, more: false })
  })

  test('a bridge’s bot redacts what a ghost said in prepended history, behind thousands of others', async () => {
    const { bot, bridge, portal, messages, sent } = await startHistorian(server, 'spammed')
    const roomId = await portal({ invite: [server.owner.userId, bridge.ghost(1), bridge.ghost(2)] })
    await sent(roomId, { events: [...messages('old', 60, { sender: bridge.ghost(2) }), ...messages('new', 500)] })
    for (let i = 0; i < 2; i++) await sent(roomId, { events: messages(`newer${i}`, 900), forward: true })
    assert.deepEqual(await redactUser(bot, roomId, bridge.ghost(2)), [25, true])
    assert.deepEqual(await redactUser(bot, roomId, bridge.ghost(2)), [25, true])
    assert.deepEqual(await redactUser(bot, roomId, bridge.ghost(2)), [10, false])
    const events = await pageBack(server.owner, roomId, 1_000)
    assert.equal(events.filter((event) => event.sender === bridge.ghost(2) && isEmpty(event)).length, 60)
    assert.equal(events.filter((event) => event.sender === bridge.ghost(1) && !isEmpty(event)).length, 2_300)
    // As the owner only where it has a user.
    const elsewhere = await server.owner.createRoom()
    const puppet = bridge.as(server.owner.userId)
    refused(await puppet.request('POST', at(elsewhere, bridge.ghost(2)), {}), 403, 'M_FORBIDDEN')
    assert.equal((await puppet.request('POST', at(roomId, server.owner.userId), {})).status, 200)
  })

  test('bridges are told each redaction in their transactions', async () => {
    const address = '/_matrix/asmux/mxauth/appservice/owner/told'
    const registration = (await server.owner.put(address, { push: true, address: 'http://127.0.0.1:1' })).body
    const { bridgeDomain } = await server.server.host.defaultInstance()
    await using bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: bridgeDomain })
    await server.owner.put(address, { push: true, address: bridge.url })
    const roomId = await bridge.createPortal('Portal', ['g'], [server.owner.userId])
    const said = await say(server.owner, roomId, 3)
    assert.deepEqual(await redactUser(server.owner, roomId, server.owner.userId), [3, false])
    const told = () => bridge.events.filter(({ type }) => type === 'm.room.redaction')
    await bridge.until('all redactions came', () => told().length === 3)
    assert.deepEqual(
      told().map(({ redacts }) => redacts),
      said.reverse(),
    )
  })
})
