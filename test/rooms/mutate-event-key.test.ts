// The status of a message, as a bridge tells it, may change the message.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
import { type Historian, path, refused, startHistorian } from './backfill.ts'

let server: TestServer
let owner: Client
let historian: Historian
let txn = 0

before(async () => {
  server = await startServer()
  owner = server.owner
  historian = await startHistorian(server, 'imessage')
})
after(() => server[Symbol.asyncDispose]())

function report(by: Client, roomId: string, eventId: string, more: object): Promise<Reply> {
  return by.put(`/rooms/${path(roomId)}/send/com.beeper.message_send_status/${txn++}`, {
    'm.relates_to': { rel_type: 'm.reference', event_id: eventId },
    network: 'imessage',
    status: 'SUCCESS',
    ...more,
  })
}

async function content(roomId: string, eventId: string): Promise<Reply['body']> {
  return (await owner.get(`/rooms/${path(roomId)}/event/${path(eventId)}`)).body.content
}

test('a status copies the key that it names into its message, and keeps it to itself as well', async () => {
  const roomId = await historian.portal()
  const eventId = await owner.send(roomId, 'hello')
  const value = { guid: 'chat;+', parts: [1, 2] }
  const reply = await report(historian.bot, roomId, eventId, { mutate_event_key: 'fi.mau.imessage', 'fi.mau.imessage': value })
  assert.equal(reply.status, 200)
  assert.deepEqual(await content(roomId, eventId), { msgtype: 'm.text', body: 'hello', 'fi.mau.imessage': value })
  assert.deepEqual((await content(roomId, reply.body.event_id))['fi.mau.imessage'], value)
  await report(historian.bot, roomId, eventId, { mutate_event_key: 'body', body: 'changed' })
  assert.equal((await content(roomId, eventId)).body, 'changed')
  await server.restart()
  assert.equal((await content(roomId, eventId)).body, 'changed')
})

test('it takes a position by which whoever was told of the message hears of it', async () => {
  const roomId = await historian.portal()
  const eventId = await owner.send(roomId, 'hello')
  const { next_batch: since } = await owner.sync()
  await report(historian.bot, roomId, eventId, { mutate_event_key: 'x', x: 1 })
  const { timeline } = (await owner.sync(`since=${since}`)).rooms.join[roomId]
  assert.deepEqual(
    timeline.events.map((event: Reply['body']) => [event.type, event.content.x]),
    [['com.beeper.message_send_status', 1]],
  )
})

test('only bridges change messages so', async () => {
  const roomId = await historian.portal()
  const eventId = await owner.send(roomId, 'hello')
  assert.equal((await report(owner, roomId, eventId, { mutate_event_key: 'body', body: 'changed' })).status, 200)
  assert.equal((await content(roomId, eventId)).body, 'hello')
})

test('what is not there, emptied, or state is left alone; so are relations and what the status does not hold', async () => {
  const roomId = await historian.portal()
  const eventId = await owner.send(roomId, 'hello')
  const state = (await historian.bot.put(`/rooms/${path(roomId)}/state/m.room.name`, { name: 'Chat' })).body.event_id
  for (const [target, more] of [
    ['$nowhere', { mutate_event_key: 'body', body: 'changed' }],
    [state, { mutate_event_key: 'name', name: 'changed' }],
    [eventId, { mutate_event_key: 'm.relates_to' }],
    [eventId, { mutate_event_key: 'absent' }],
    [eventId, { mutate_event_key: 5, 5: 'x' }],
    [eventId, { mutate_event_key: 'toString' }],
  ] as const) {
    assert.equal((await report(historian.bot, roomId, target, more)).status, 200)
  }
  assert.deepEqual(await content(roomId, eventId), { msgtype: 'm.text', body: 'hello' })
  assert.deepEqual(await content(roomId, state), { name: 'Chat' })
  await owner.put(`/rooms/${path(roomId)}/redact/${path(eventId)}/r1`)
  await report(historian.bot, roomId, eventId, { mutate_event_key: 'body', body: 'back' })
  assert.deepEqual(await content(roomId, eventId), {})
})

test('a message that would become too large is left as it is, and the status refused', async () => {
  const roomId = await historian.portal()
  const eventId = await owner.send(roomId, 'x'.repeat(40_000))
  refused(await report(historian.bot, roomId, eventId, { mutate_event_key: 'more', more: 'y'.repeat(40_000) }), 413, 'M_TOO_LARGE')
  assert.equal((await content(roomId, eventId)).more, undefined)
})
