// What a content names need not be an event, nor anything that a database takes.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import { startServer, type TestServer } from '../rig/server.ts'
import { type Historian, path, startHistorian } from './backfill.ts'

const odd = { 'a NUL': '$a\0b', 'half a character': '$a\ud800b', 'ten thousand characters': `$${randomBytes(5_000).toString('hex')}` }
const relTypes = ['m.thread', 'm.reference', 'm.annotation', 'm.replace', 'm.thread\0']

await onBothServers('contents that name no event', (start) => {
  let server: TestServer
  let historian: Historian
  before(async () => {
    server = await start()
    historian = await startHistorian(server, 'whatsapp')
  })
  after(() => server[Symbol.asyncDispose]())

  for (const [what, eventId] of Object.entries(odd)) {
    test(`${what} in a relation is kept in the event and leads nowhere: sent, sent in a batch, and to the owner`, async () => {
      const roomId = await historian.portal()
      for (const [i, rel_type] of relTypes.entries()) {
        const type = rel_type === 'm.annotation' ? 'm.reaction' : 'm.room.message'
        const content = { msgtype: 'm.text', body: 'odd', 'm.relates_to': { rel_type, event_id: eventId, key: 'k' } }
        const [event] = historian.messages(`odd-${what.length}-${i}`, 1, { type, content })
        await historian.sent(roomId, { events: [event], forward: true, send_notification: true })
        for (const sender of [historian.bot, server.owner]) {
          const reply = await sender.put(`/rooms/${path(roomId)}/send/${type}/odd${i}`, content)
          assert.equal(reply.status, 200, JSON.stringify(reply.body))
          const read = await server.owner.get(`/rooms/${path(roomId)}/event/${path(reply.body.event_id)}`)
          assert.deepEqual(read.body.content, content)
        }
      }
      assert.equal((await server.owner.get(`/_matrix/client/v1/rooms/${path(roomId)}/threads`)).status, 200)
    })

    test(`${what} as the target of a redaction or of a status is not there`, async () => {
      const roomId = await historian.portal()
      const content = { redacts: eventId }
      const [event] = historian.messages('redaction', 1, { type: 'm.room.redaction', content })
      await historian.sent(roomId, { events: [event], forward: true })
      const sent = await server.owner.put(`/rooms/${path(roomId)}/send/m.room.redaction/odd`, content)
      assert.deepEqual([sent.status, sent.body.errcode], [404, 'M_NOT_FOUND'])
      const status = { mutate_event_key: 'x', x: 1, 'm.relates_to': { rel_type: 'm.reference', event_id: eventId } }
      const put = await historian.bot.put(`/rooms/${path(roomId)}/send/com.beeper.message_send_status/odd`, status)
      assert.equal(put.status, 200, JSON.stringify(put.body))
    })
  }
})

test('many redactions in a batch empty their targets, which are looked up together', async () => {
  await using server = await startServer()
  const historian = await startHistorian(server, 'whatsapp')
  const roomId = await historian.portal()
  const relation = { 'm.relates_to': { rel_type: 'm.thread', event_id: '$root' } }
  const events = historian.messages('many', 1_000).map((event) => ({ ...event, content: { ...event.content, ...relation } }))
  await historian.sent(roomId, { events })
  const redactions = events.map(({ event_id }, i) => ({
    ...historian.messages(`redaction${i}`, 1, { type: 'm.room.redaction', content: {} })[0]!,
    redacts: event_id,
  }))
  await historian.sent(roomId, { events: redactions, forward: true })
  const { body } = await server.owner.get(`/rooms/${path(roomId)}/messages?dir=f&limit=1000`)
  assert.deepEqual(new Set(body.chunk.map((event: { content: object }) => JSON.stringify(event.content))), new Set(['{}']))
  const { storage } = await server.server.host.defaultInstance()
  const room = await storage.first('room', { roomId })
  assert.equal(await storage.count('relation', { room: room!.key }), 0)
})
