/** GET /sync as it comes over HTTP. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRoom } from '../../src/rooms/create.ts'
import { sendMessage } from '../../src/rooms/send.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'
import { onBothServers } from '../rig/both-servers.ts'
import type { TestServer } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { nothingNew } from './rig.ts'

await onBothServers('GET /sync', (start) => {
  let server: TestServer
  let instance: Instance
  let owner: Actor
  let roomId: string
  before(async () => {
    server = await start()
    ;({ instance, actor: owner } = await server.server.host.authenticate(server.owner.token, null))
    ;({ roomId } = await createRoom(instance, owner, { name: 'A room' }))
  })
  after(() => server[Symbol.asyncDispose]())

  const say = (txnId: string) =>
    sendMessage(instance, owner, { roomId, type: 'm.room.message', txnId, content: { msgtype: 'm.text', body: txnId } })

  test('an answer is JSON that no browser keeps', async () => {
    const reply = await server.owner.get('/sync')
    assert.equal(reply.status, 200)
    assert.equal(reply.headers.get('cache-control'), 'no-store')
    assert.match(reply.headers.get('content-type') ?? '', /^application\/json/)
    assert.ok(reply.body.rooms.join[roomId])
  })

  test('without a token, or with a wrong one: 401', async () => {
    assert.equal((await server.request('GET', '/sync')).body.errcode, 'M_MISSING_TOKEN')
    assert.equal((await server.request('GET', '/sync', undefined, { token: 'syt_wrong' })).body.errcode, 'M_UNKNOWN_TOKEN')
  })

  test('an appservice’s user is told of the device that it names, without one of none; for the owner it may not sync', async () => {
    const bridge = await registerBridge(server, 'syncing')
    const bot = bridge.as(bridge.botId)
    await bot.request('PUT', '/devices/BOT', {})
    const { body: initial } = await bot.request('GET', '/sync?device_id=BOT')
    assert.deepEqual(initial.device_one_time_keys_count, { signed_curve25519: 0 })
    await server.owner.put('/sendToDevice/m.dummy/1', { messages: { [bridge.botId]: { BOT: { n: 1 } } } })
    const since = `since=${initial.next_batch}`
    const events = [{ type: 'm.dummy', sender: server.owner.userId, content: { n: 1 } }]
    for (const name of ['device_id', 'org.matrix.msc3202.device_id'])
      assert.deepEqual((await bot.request('GET', `/sync?${name}=BOT&${since}`)).body.to_device, { events })
    const { body: without } = await bot.request('GET', `/sync?${since}`)
    assert.deepEqual(Object.keys(without), ['next_batch'])
    const unknown = await bot.request('GET', `/sync?device_id=OTHER&${since}`)
    assert.deepEqual([unknown.status, unknown.body.errcode], [400, 'M_UNKNOWN_DEVICE'])
    const puppet = await bridge.as(server.owner.userId).request('GET', `/sync?${since}`)
    assert.deepEqual([puppet.status, puppet.body.errcode], [403, 'M_FORBIDDEN'])
  })

  test('set_presence: the three words; anything else is M_INVALID_PARAM', async () => {
    for (const presence of ['online', 'offline', 'unavailable'])
      assert.equal((await server.owner.get(`/sync?set_presence=${presence}`)).status, 200)
    const reply = await server.owner.get('/sync?set_presence=away')
    assert.deepEqual([reply.status, reply.body.errcode], [400, 'M_INVALID_PARAM'])
  })

  test('from is not since: 400', async () => {
    const reply = await server.owner.get('/sync?from=s1')
    assert.deepEqual([reply.status, reply.body.errcode], [400, 'M_INVALID_PARAM'])
  })

  test('unknown parameters are nothing', async () => {
    assert.equal((await server.owner.get('/sync?_cacheBuster=1700000000&org.example=1')).status, 200)
  })

  test('a timeout that is no number of milliseconds is 400', async () => {
    for (const timeout of ['-1', 'soon', '1.5']) assert.equal((await server.owner.get(`/sync?timeout=${timeout}`)).status, 400)
  })

  test('since from the future, from nowhere or from another server: answered from now on', async () => {
    const { next_batch: now } = await server.owner.sync()
    for (const since of ['s999999999999', 'nonsense', 's72594_4483_1934', 's-0']) {
      const answer = await server.owner.sync(`since=${since}`)
      assert.deepEqual(answer, nothingNew(now), since)
    }
    // A prev_batch from before the room's first live event is older than everything.
    assert.ok((await server.owner.sync('since=s-5')).rooms.join[roomId])
  })

  test('use_state_after answers in the spelling that was asked for', async () => {
    const of = async (query: string) => Object.keys((await server.owner.sync(query)).rooms.join[roomId])
    assert.ok((await of('use_state_after=true')).includes('state_after'))
    assert.ok((await of('org.matrix.msc4222.use_state_after=true')).includes('org.matrix.msc4222.state_after'))
    assert.ok((await of('use_state_after=false')).includes('state'))
  })

  test('full_state answers at once', async () => {
    const { next_batch: since } = await server.owner.sync()
    const answer = await server.owner.sync(`since=${since}&full_state=true&timeout=30000`)
    assert.ok(answer.rooms.join[roomId].state.events.length > 0)
  })

  test('a waiting client is answered as soon as something is said', async () => {
    const { next_batch: since } = await server.owner.sync()
    const waiting = server.owner.sync(`since=${since}&timeout=30000`)
    await sleep(50)
    const start = performance.now()
    const { eventId } = await say('live')
    const answer = await waiting
    assert.ok(performance.now() - start < 2_000)
    assert.equal(answer.rooms.join[roomId].timeline.events[0].event_id, eventId)
  })

  test('a client gone in the middle of its poll leaves nothing behind', async () => {
    const { next_batch: since } = await server.owner.sync()
    const listeners = (instance.bus as unknown as { byUser: Map<number, Set<unknown>> }).byUser
    const controller = new AbortController()
    const waiting = server.owner.request('GET', `/sync?since=${since}&timeout=30000`, undefined, { signal: controller.signal })
    while (!listeners.has(owner.user!)) await sleep(5)
    controller.abort()
    await assert.rejects(waiting)
    for (let tries = 0; listeners.has(owner.user!) && tries < 200; tries++) await sleep(10)
    assert.equal(listeners.has(owner.user!), false)
  })

  test('the same answer comes from the query of the schema', async () => {
    await say('for both')
    const { next_batch } = await server.owner.sync()
    const since = `s${Number(next_batch.slice(1)) - 1}`
    const { data } = await server.owner.graphql('query($since: String) { sync(since: $since) }', { since })
    const rest = await server.owner.sync(`since=${since}`)
    const events = (answer: typeof rest) => answer.rooms.join[roomId].timeline.events.map((event: { event_id: string }) => event.event_id)
    assert.deepEqual(events(data.sync), events(rest))
  })
})
