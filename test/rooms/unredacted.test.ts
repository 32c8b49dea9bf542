/** What redacted events said: `fi.mau.msc2815`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clean } from '../../src/instances/cleaning.ts'
import type { Batch } from '../../src/storage/fold.ts'
import type { TableName } from '../../src/storage/tables.ts'
import { command } from '../../src/stream/command.ts'
import { jobsDone } from '../jobs/done.ts'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { path, refused, startHistorian } from './backfill.ts'

const deleted = 'FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED'
const day = 24 * 60 * 60_000
let txn = 0

const eventPath = (roomId: string, eventId: string) => `/rooms/${path(roomId)}/event/${path(eventId)}`

function read(reader: Client, roomId: string, eventId: string, include: string = 'true'): Promise<Reply> {
  return reader.get(`${eventPath(roomId, eventId)}?fi.mau.msc2815.include_unredacted_content=${include}`)
}

async function said(reader: Client, roomId: string, eventId: string): Promise<Reply['body']> {
  const reply = await read(reader, roomId, eventId)
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

async function redact(by: Client, roomId: string, eventId: string): Promise<string> {
  const reply = await by.put(`/rooms/${path(roomId)}/redact/${path(eventId)}/r${txn++}`, { reason: 'because' })
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body.event_id
}

const query =
  'query ($roomId: ID!, $eventId: ID!) { event(roomId: $roomId, eventId: $eventId, includeUnredacted: true) { redacted content } }'
const ask = (reader: Client, roomId: string, eventId: string) => reader.graphql(query, { roomId, eventId })

async function join(server: TestServer, creator: Client, roomId: string, localpart: string): Promise<Client> {
  const guest = await server.register(localpart)
  await enter(creator, guest, roomId)
  return guest
}

async function enter(creator: Client, guest: Client, roomId: string): Promise<void> {
  await creator.post(`/rooms/${path(roomId)}/invite`, { user_id: guest.userId })
  assert.equal((await guest.post(`/rooms/${path(roomId)}/join`)).status, 200)
}

async function kept(server: TestServer): Promise<number> {
  return (await server.server.host.defaultInstance()).storage.count('unredacted', {})
}

await onBothServers('what was redacted', (start) => {
  test('is read by who may redact what others say, and by the administrator, on both faces', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const { unstable_features: flags } = (await server.request('GET', '/_matrix/client/versions')).body
    assert.equal(flags['fi.mau.msc2815'], true)
    const roomId = await owner.createRoom()
    const alice = await join(server, owner, roomId, 'alice')
    const eventId = await alice.send(roomId, 'taken back')
    const redaction = await redact(alice, roomId, eventId)
    await enter(owner, administrator, roomId)
    for (const reader of [owner, administrator]) {
      const event = await said(reader, roomId, eventId)
      assert.deepEqual(event.content, { msgtype: 'm.text', body: 'taken back' })
      assert.deepEqual([event.event_id, event.room_id, event.sender], [eventId, roomId, alice.userId])
      assert.equal(event.unsigned.redacted_because.event_id, redaction)
      const { data } = await ask(reader, roomId, eventId)
      assert.deepEqual(data.event, { redacted: true, content: { msgtype: 'm.text', body: 'taken back' } })
    }
    // Only who asks for it is shown it.
    for (const reply of [await owner.get(eventPath(roomId, eventId)), await read(owner, roomId, eventId, 'false')]) {
      assert.deepEqual(reply.body.content, {})
    }
    const { chunk } = (await owner.get(`/rooms/${path(roomId)}/messages?dir=b&limit=100`)).body
    assert.ok(!JSON.stringify([chunk, await owner.sync(), await alice.sync()]).includes('taken back'))
    // What was not redacted is as always, and state is kept as well.
    const other = await alice.send(roomId, 'still here')
    assert.equal((await said(owner, roomId, other)).content.body, 'still here')
    const topic = (await owner.put(`/rooms/${path(roomId)}/state/m.room.topic`, { topic: 'secret' })).body.event_id
    await redact(owner, roomId, topic)
    assert.deepEqual((await said(owner, roomId, topic)).content, { topic: 'secret' })
    await server.restart()
    assert.equal((await said(owner, roomId, eventId)).content.body, 'taken back')
  })

  test('is refused to other members, to who left, and to strangers', async () => {
    await using server = await start()
    const { owner, administrator } = server
    const roomId = await owner.createRoom()
    const alice = await join(server, owner, roomId, 'alice')
    const bob = await join(server, owner, roomId, 'bob')
    const levels = { users: { [owner.userId]: 100, [bob.userId]: 60 }, redact: 60 }
    assert.equal((await owner.put(`/rooms/${path(roomId)}/state/m.room.power_levels`, levels)).status, 200)
    const eventId = await alice.send(roomId, 'taken back')
    const other = await alice.send(roomId, 'still here')
    await redact(alice, roomId, eventId)
    assert.equal((await said(bob, roomId, eventId)).content.body, 'taken back')
    // Also to who said it, and whether or not there is anything to see.
    for (const id of [eventId, other]) refused(await read(alice, roomId, id), 403, 'M_FORBIDDEN')
    assert.equal((await ask(alice, roomId, eventId)).errors[0].extensions.errcode, 'M_FORBIDDEN')
    await owner.put(`/rooms/${path(roomId)}/state/m.room.power_levels`, { ...levels, redact: 70 })
    refused(await read(bob, roomId, eventId), 403, 'M_FORBIDDEN')
    await owner.put(`/rooms/${path(roomId)}/state/m.room.power_levels`, levels)
    await bob.post(`/rooms/${path(roomId)}/leave`)
    assert.equal((await bob.get(eventPath(roomId, eventId))).status, 200)
    refused(await read(bob, roomId, eventId), 403, 'M_FORBIDDEN')
    for (const stranger of [await server.register('carol'), administrator]) {
      refused(await read(stranger, roomId, eventId), 404, 'M_NOT_FOUND')
      assert.equal((await ask(stranger, roomId, eventId)).errors[0].extensions.errcode, 'M_NOT_FOUND')
    }
    refused(await read(owner, roomId, '$nothing'), 404, 'M_NOT_FOUND')
    refused(await read(owner, roomId, eventId, 'perhaps'), 400, 'M_INVALID_PARAM')
  })

  test('is refused to who has the level only by what stands under another state key', async () => {
    await using server = await start()
    const { owner } = server
    const roomId = await owner.createRoom()
    const bob = await join(server, owner, roomId, 'bob')
    const levels = { users: { [owner.userId]: 100, [bob.userId]: 50 } }
    const set = (by: Client, stateKey: string, content: object) =>
      by.put(`/rooms/${path(roomId)}/state/m.room.power_levels/${stateKey}`, content)
    assert.equal((await set(owner, '', levels)).status, 200)
    const eventId = await owner.send(roomId, 'taken back')
    await redact(owner, roomId, eventId)
    assert.equal((await said(bob, roomId, eventId)).content.body, 'taken back')
    assert.equal((await set(owner, '', { users: { [owner.userId]: 100 } })).status, 200)
    assert.equal((await set(owner, 'before', levels)).status, 200)
    for (const restarted of [false, true]) {
      if (restarted) await server.restart()
      refused(await read(bob, roomId, eventId), 403, 'M_FORBIDDEN')
      assert.equal((await said(owner, roomId, eventId)).content.body, 'taken back')
    }
  })

  test('is gone after seven days, and its space comes back in slices', async () => {
    let now = Date.now()
    await using server = await start({ ports: { now: () => now } })
    const { owner } = server
    const instance = await server.server.host.defaultInstance()
    const roomId = await owner.createRoom()
    const ids = await Promise.all(Array.from({ length: 250 }, (_, i) => owner.send(roomId, `old ${i}`)))
    await Promise.all(ids.map((id) => redact(owner, roomId, id)))
    now += 7 * day - 60_000
    const young = await owner.send(roomId, 'young')
    await redact(owner, roomId, young)
    await clean(instance)
    assert.equal((await said(owner, roomId, ids[0]!)).content.body, 'old 0')
    assert.equal(await kept(server), 251)
    now += 120_000
    const gone = async () => {
      const reply = await read(owner, roomId, ids[0]!)
      refused(reply, 404, deleted)
      assert.equal(reply.body['fi.mau.msc2815.content_keep_ms'], 7 * day)
      const { extensions } = (await ask(owner, roomId, ids[0]!)).errors[0]
      assert.deepEqual([extensions.errcode, extensions['fi.mau.msc2815.content_keep_ms']], [deleted, 7 * day])
    }
    await gone()
    assert.equal(await kept(server), 251)
    const { changeSets } = instance.shard.stats()
    await clean(instance)
    assert.ok(instance.shard.stats().changeSets - changeSets >= 2)
    assert.equal(await kept(server), 1)
    await gone()
    assert.equal((await owner.get(eventPath(roomId, ids[0]!))).status, 200)
    assert.equal((await said(owner, roomId, young)).content.body, 'young')
  })

  test('is not kept, nor told of, where REDACTED_CONTENT_DAYS is 0, and what was kept before is removed', async () => {
    const config = { redactedContentDays: 30 }
    await using server = await start({ config })
    const { owner } = server
    const roomId = await owner.createRoom()
    const before = await owner.send(roomId, 'before')
    await redact(owner, roomId, before)
    const instance = await server.server.host.defaultInstance()
    assert.equal((await said(owner, roomId, before)).content.body, 'before')
    // As if the server had been started anew with another setting.
    Object.assign(instance.config, { redactedContentDays: 0 })
    const { unstable_features: flags } = (await server.request('GET', '/_matrix/client/versions')).body
    assert.equal('fi.mau.msc2815' in flags, false)
    const after = await owner.send(roomId, 'after')
    await redact(owner, roomId, after)
    assert.equal(await kept(server), 1)
    for (const id of [before, after]) {
      const reply = await read(owner, roomId, id)
      refused(reply, 404, deleted)
      assert.equal(reply.body['fi.mau.msc2815.content_keep_ms'], 0)
    }
    await clean(instance)
    assert.equal(await kept(server), 0)
  })

  test('is kept in the commit that empties the event, or not at all', async () => {
    let failing = false
    const committed: Batch[] = []
    const failCommit = (batch: Batch) => {
      committed.push(batch)
      return failing ? new Error('told to fail') : null
    }
    await using server = await start({ faults: { failCommit } })
    const { owner } = server
    const roomId = await owner.createRoom()
    const eventId = await owner.send(roomId, 'still here')
    const address = `/rooms/${path(roomId)}/redact/${path(eventId)}/once`
    failing = true
    assert.equal((await owner.put(address)).status, 500)
    failing = false
    assert.equal(await kept(server), 0)
    assert.equal((await owner.get(eventPath(roomId, eventId))).body.content.body, 'still here')
    committed.length = 0
    assert.equal((await owner.put(address)).status, 200)
    const puts = ({ changes }: Batch, name: TableName) => changes.find(({ table }) => table === name)?.puts ?? 0
    // The redaction and what it emptied.
    assert.deepEqual(
      committed.filter((batch) => puts(batch, 'event') > 0).map((batch) => [puts(batch, 'event'), puts(batch, 'unredacted')]),
      [[2, 1]],
    )
    assert.equal((await said(owner, roomId, eventId)).content.body, 'still here')
    // A second redaction does not replace what was said by nothing.
    await redact(owner, roomId, eventId)
    assert.equal((await said(owner, roomId, eventId)).content.body, 'still here')
  })

  test('by a batch is kept too, whether it stood in the batch or in the room; a bridge reads it, as the owner as well', async () => {
    await using server = await start()
    const { owner } = server
    const historian = await startHistorian(server, 'whatsapp')
    const roomId = await historian.portal()
    const standing = await owner.send(roomId, 'standing')
    const [one, two] = [historian.messages('h1', 1)[0]!, historian.messages('h2', 1)[0]!]
    const redaction = (redacts: string, n: number) => ({
      ...historian.messages(`r${n}`, 1)[0]!,
      sender: historian.bridge.botId,
      type: 'm.room.redaction',
      redacts,
      content: {},
    })
    await historian.sent(roomId, { events: [one, two, redaction(one.event_id, 1), redaction(standing, 2)], forward: true })
    assert.equal((await said(historian.bot, roomId, one.event_id)).content.body, 'h1 0')
    assert.equal((await said(historian.bot, roomId, standing)).content.body, 'standing')
    assert.equal(await kept(server), 2)
    const puppet = historian.bridge.as(owner.userId)
    const address = `${eventPath(roomId, standing)}?fi.mau.msc2815.include_unredacted_content=true`
    // The owner has no power in the bridge's room, and their puppet no more than they.
    for (const reply of [await read(owner, roomId, standing), await puppet.request('GET', address)]) refused(reply, 403, 'M_FORBIDDEN')
    const levels = { users: { [historian.bridge.botId]: 100, [owner.userId]: 50 } }
    assert.equal((await historian.bot.put(`/rooms/${path(roomId)}/state/m.room.power_levels`, levels)).status, 200)
    assert.equal((await puppet.request('GET', address)).body.content.body, 'standing')
    const elsewhere = await owner.createRoom()
    const secret = await owner.send(elsewhere, 'private')
    await redact(owner, elsewhere, secret)
    const strange = `${eventPath(elsewhere, secret)}?fi.mau.msc2815.include_unredacted_content=true`
    refused(await puppet.request('GET', strange), 403, 'M_FORBIDDEN')
  })

  test('goes with its event into a merged room, however often, and with its room when that is deleted', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const historian = await startHistorian(server, 'imessage')
    const rooms = await Promise.all([1, 2, 3].map(() => historian.portal()))
    const first = rooms[0]!
    const plain = historian.messages('plain', 1)[0]!
    const content = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'x' }
    const secret = historian.messages('secret', 1, { type: 'm.room.encrypted', content })[0]!
    await historian.sent(first, { events: [plain, secret, ...historian.messages('more', 500)] })
    for (const { event_id } of [plain, secret]) await redact(historian.bot, first, event_id)
    const merge = async (merged: string[]): Promise<string> => {
      const create = { invite: [server.owner.userId, historian.bridge.ghost(1)], 'com.beeper.auto_join_invites': true }
      const body = { create, key: 'x', rooms: merged, user_id: historian.bridge.botId }
      const reply = await historian.bot.post('/_matrix/client/unstable/com.beeper.chatmerging/merge', body)
      assert.equal(reply.status, 200, JSON.stringify(reply.body))
      return reply.body.room_id
    }
    // The second merge comes while the history of the first is on its way.
    const between = await merge(rooms.slice(0, 2))
    const last = await merge([between, rooms[2]!])
    await jobsDone(instance)
    assert.equal((await said(historian.bot, last, plain.event_id)).content.body, 'plain 0')
    assert.deepEqual((await said(historian.bot, last, secret.event_id)).content, { ...content, 'com.beeper.original_room_id': first })
    assert.deepEqual((await historian.bot.get(eventPath(last, plain.event_id))).body.content, {})
    assert.equal(await kept(server), 2, 'nothing is left of the old rooms')
    await historian.bot.post(`/_matrix/client/unstable/com.beeper.yeet/rooms/${path(last)}/delete`)
    refused(await read(historian.bot, last, plain.event_id), 404, 'M_NOT_FOUND')
    await jobsDone(instance)
    assert.equal(await kept(server), 0)
  })

  test('stays redacted in a merged or split room, whatever the clocks said and the redaction says', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const historian = await startHistorian(server, 'imessage')
    const [one, two] = [await historian.portal(), await historian.portal()]
    const early = Date.now() + 400 * day
    const value = (name: string) => ({ content: { msgtype: 'm.text', body: name, x: name } })
    const [late, other] = historian.messages('late', 2, { origin_server_ts: early + day, ...value('b') })
    // More than a slice between it and its redaction.
    const between = historian.messages('between', 600, { origin_server_ts: early, ...value('a') })
    await historian.sent(one, { events: [late, other, ...between] })
    const redaction = await redact(historian.bot, one, late!.event_id)
    const again = await redact(historian.bot, one, redaction)
    const apart = await historian.bot.put(`/rooms/${path(one)}/redact/${path(other!.event_id)}/r${txn++}`, { x: 'b' })
    const check = async (roomId: string) => {
      await jobsDone(instance)
      const because = async (eventId: string) =>
        (await historian.bot.get(eventPath(roomId, eventId))).body.unsigned?.redacted_because?.event_id
      const ids = [late!.event_id, redaction, other!.event_id]
      assert.deepEqual(await Promise.all(ids.map(because)), [redaction, again, apart.body.event_id])
      assert.deepEqual((await historian.bot.get(eventPath(roomId, late!.event_id))).body.content, {})
      await historian.bot.put(`/rooms/${path(roomId)}/redact/${path(late!.event_id)}/r${txn++}`, {})
      assert.equal((await said(historian.bot, roomId, late!.event_id)).content.body, 'b')
    }
    const base = '/_matrix/client/unstable/com.beeper.chatmerging'
    const create = { invite: [server.owner.userId, historian.bridge.ghost(1)], 'com.beeper.auto_join_invites': true }
    const merged = await historian.bot.post(`${base}/merge`, { create, key: 'x', rooms: [one, two], user_id: historian.bridge.botId })
    assert.equal(merged.status, 200, JSON.stringify(merged.body))
    const roomId = merged.body.room_id
    await check(roomId)
    const part = (name: string) => ({ create, user_id: historian.bridge.botId, values: [name] })
    const split = await historian.bot.post(`${base}/rooms/${path(roomId)}/split`, { key: 'x', parts: [part('a'), part('b')] })
    assert.equal(split.status, 200, JSON.stringify(split.body))
    // What is empty belongs to nobody, so it goes to the first part.
    await check(split.body.room_ids.a)
  })

  test('is not written over where an event came emptied, and is kept also of one that has nothing to lose', async () => {
    await using server = await start()
    const { owner } = server
    const instance = await server.server.host.defaultInstance()
    const roomId = await owner.createRoom()
    const eventId = await owner.send(roomId, 'first')
    await redact(owner, roomId, eventId)
    // As a merge once left it: emptied, and not known to be.
    const { key: room } = (await instance.storage.first('room', { roomId }))!
    const row = (await instance.storage.first('event', { room, eventId }))!
    await command(instance, (decision) => decision.put('event', { ...row, redactedBy: null }))
    await redact(owner, roomId, eventId)
    assert.equal((await said(owner, roomId, eventId)).content.body, 'first')
    const empty = (await owner.put(`/rooms/${path(roomId)}/send/com.empty/e1`, {})).body.event_id
    await redact(owner, roomId, empty)
    assert.deepEqual((await said(owner, roomId, empty)).content, {})
  })

  test('goes with its homeserver', async () => {
    await using server = await start()
    const made = await server.administrator.graphql('mutation { createInstance(name: "anna", owner: "anna") { ownerId password } }')
    const { ownerId, password } = made.data.createInstance
    const identifier = { type: 'm.id.user', user: ownerId }
    const session = (await server.request('POST', '/login', { type: 'm.login.password', identifier, password })).body
    const anna = server.client(session.access_token, ownerId)
    const roomId = await anna.createRoom()
    const eventId = await anna.send(roomId, 'hers')
    await redact(anna, roomId, eventId)
    const { storage } = await server.server.host.instance('anna')
    assert.equal(await storage.count('unredacted', {}), 1)
    await server.administrator.graphql('mutation { deleteInstance(name: "anna") }')
    for (let i = 0; i < 1_000 && (await storage.count('unredacted', {})) > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10))
    assert.equal(await storage.count('unredacted', {}), 0)
  })
})
