// com.beeper.backfill: what is refused changes nothing, and what is repeated neither.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Client, startServer, type TestServer } from '../rig/server.ts'
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

describe('repetition', () => {
  test('an exact repetition changes nothing and answers the same ids', async () => {
    const roomId = await historian.portal()
    const events = historian.messages('again', 5)
    const body = { events, forward: true, send_notification: true }
    const ids = await historian.sent(roomId, body)
    const position = async () => (await owner.graphql('{ position }')).data.position
    const before = await position()
    assert.deepEqual(await historian.sent(roomId, body), ids)
    assert.equal(await position(), before)
    assert.deepEqual(idsOf(await pageBack(owner, roomId)), ids.toReversed())
  })

  test('of the same batch sent many times at once every event is there once', async () => {
    const roomId = await historian.portal()
    const events = historian.messages('raced', 300)
    const answers = await Promise.all(Array.from({ length: 6 }, () => historian.sent(roomId, { events })))
    for (const ids of answers) assert.deepEqual(ids, idsOf(events))
    assert.deepEqual(idsOf(await pageBack(owner, roomId, 1_000)), idsOf(events).toReversed())
  })

  test('a bridge that was killed before it noted its first batch goes on with a window that has moved', async () => {
    const roomId = await historian.portal()
    const all = historian.messages('window', 60)
    const forward = { forward: true, forward_if_no_messages: false, send_notification: true }
    await historian.sent(roomId, { ...forward, events: all.slice(0, 50) })
    const { next_batch: since } = await owner.sync()
    assert.deepEqual(await historian.sent(roomId, { ...forward, events: all.slice(1, 51) }), idsOf(all.slice(1, 51)))
    assert.deepEqual(idsOf((await owner.sync(`since=${since}`)).rooms.join[roomId].timeline.events), idsOf(all.slice(50, 51)))
    assert.deepEqual(await historian.sent(roomId, { ...forward, events: all.slice(10) }), idsOf(all.slice(10)))
    assert.deepEqual(idsOf(await pageBack(owner, roomId)), idsOf(all).toReversed())
    await server.restart()
    const older = historian.messages('older', 20)
    const back = { forward: false, forward_if_no_messages: true }
    await historian.sent(roomId, { ...back, events: older.slice(10) })
    assert.deepEqual(await historian.sent(roomId, { ...back, events: older }), idsOf(older))
    assert.deepEqual(idsOf(await pageBack(owner, roomId)), [...idsOf(all).toReversed(), ...idsOf(older).toReversed()])
  })

  test('a single event under an id that a batch under way brings is refused, not lost', async () => {
    const roomId = await historian.portal()
    for (let round = 0; round < 10; round++) {
      const events = historian.messages(`single${round}`, 50)
      const id = events[25]!.event_id
      const [batch, single] = await Promise.all([
        historian.send(roomId, { events }),
        historian.bot.put(`/rooms/${path(roomId)}/send/m.room.message/s${round}?fi.mau.event_id=${path(id)}`, {
          msgtype: 'm.text',
          body: 'single',
        }),
      ])
      assert.deepEqual([batch.status, single.status].sort(), batch.status === 200 ? [200, 409] : [200, 400])
    }
  })

  test('a repetition in part that continues nothing, or with other content, is refused and changes nothing', async () => {
    const roomId = await historian.portal()
    const events = historian.messages('differs', 3)
    const ids = await historian.sent(roomId, { events })
    const [first, second] = events
    for (const wrong of [
      [...events, ...historian.messages('more', 1)],
      [...historian.messages('more', 1), second, first],
      [second, first],
      [{ ...first!, content: { body: 'other' } }, second],
      [{ ...first!, origin_server_ts: 5 }, second],
      [{ ...first!, sender: historian.bridge.ghost(2) }, second],
      [{ ...first!, type: 'm.sticker' }, second],
    ]) {
      refused(await historian.send(roomId, { events: wrong }), 400, 'M_INVALID_PARAM')
    }
    assert.deepEqual(idsOf(await pageBack(owner, roomId)), ids.toReversed())
  })

  test('the same ids in another room are other events', async () => {
    const events = historian.messages('twin', 2)
    for (const roomId of [await historian.portal(), await historian.portal()]) {
      assert.deepEqual(await historian.sent(roomId, { events }), idsOf(events))
    }
  })

  test('an empty batch is answered with no ids', async () => {
    assert.deepEqual(await historian.sent(await historian.portal(), { events: [], forward: true, mark_read_by: owner.userId }), [])
  })
})

describe('refusals', () => {
  test('only an appservice sends batches, only to rooms with a user of it, and not as the owner', async () => {
    const roomId = await historian.portal()
    const events = historian.messages('forbidden', 1)
    const address = `/_matrix/client/unstable/com.beeper.backfill/rooms/${path(roomId)}/batch_send`
    refused(await owner.post(address, { events }), 403, 'M_FORBIDDEN')
    refused(await server.administrator.post(address, { events }), 403, 'M_FORBIDDEN')
    refused(await historian.bridge.as(owner.userId).request('POST', address, { events }), 403, 'M_FORBIDDEN')
    const other = await startHistorian(server, 'signal')
    refused(await other.send(roomId, { events: other.messages('x', 1) }), 403, 'M_FORBIDDEN')
    refused(await historian.send(await owner.createRoom(), { events }), 403, 'M_FORBIDDEN')
    refused(await historian.send('!nowhere:example.com', { events: [] }), 403, 'M_FORBIDDEN')
    refused(await server.request('POST', address, { events }), 401, 'M_MISSING_TOKEN')
    assert.equal((await pageBack(owner, roomId)).length, 0)
  })

  test('senders need not be members nor exist; one whom the bridge may not speak for refuses the whole batch', async () => {
    const roomId = await historian.portal()
    const stranger = historian.bridge.ghost(4_711)
    for (const sender of [server.administrator.userId, '@signal_1:example.com', '@somebody:elsewhere.org', 'nobody', '']) {
      const events = [...historian.messages('good', 2, { sender: stranger }), ...historian.messages('bad', 1, { sender })]
      refused(await historian.send(roomId, { events }), 403, 'M_FORBIDDEN')
    }
    assert.equal((await pageBack(owner, roomId)).length, 0)
    assert.equal((await owner.get(`/profile/${path(stranger)}`)).status, 404, 'no ghost is made by what is refused')
    await historian.sent(roomId, { events: historian.messages('good', 2, { sender: stranger }) })
    assert.equal((await owner.get(`/profile/${path(stranger)}`)).status, 200)
    assert.equal((await pageBack(owner, roomId)).length, 2)
  })

  test('duplicate ids, state, foreign rooms and broken events refuse the whole batch', async () => {
    const roomId = await historian.portal()
    const good = historian.messages('good', 2)
    const with1 = (more: object) => [good[0]!, { ...good[1]!, ...more }]
    const cases: [object[], string][] = [
      [[good[0]!, good[0]!], 'M_INVALID_PARAM'],
      [with1({ state_key: '' }), 'M_INVALID_PARAM'],
      [with1({ room_id: '!other:example.com' }), 'M_INVALID_PARAM'],
      [with1({ event_id: 'no sigil' }), 'M_INVALID_PARAM'],
      [with1({ event_id: `$${'x'.repeat(255)}` }), 'M_INVALID_PARAM'],
      [with1({ event_id: '$nul\u0000' }), 'M_INVALID_PARAM'],
      [with1({ origin_server_ts: -5 }), 'M_INVALID_PARAM'],
      [with1({ origin_server_ts: 'yesterday' }), 'M_BAD_JSON'],
      [with1({ type: 'm.room.member', content: { membership: 'join' } }), 'M_BAD_JSON'],
      [with1({ type: 'm.room.create' }), 'M_BAD_JSON'],
      [with1({ type: 'nul\u0000' }), 'M_INVALID_PARAM'],
      [with1({ type: undefined }), 'M_MISSING_PARAM'],
      [with1({ sender: undefined }), 'M_MISSING_PARAM'],
      [with1({ content: undefined }), 'M_MISSING_PARAM'],
      [with1({ content: [] }), 'M_BAD_JSON'],
      [with1({ content: { a: 1.5 } }), 'M_BAD_JSON'],
      [with1({ content: { a: 2 ** 53 } }), 'M_BAD_JSON'],
    ]
    for (const [events, errcode] of cases) {
      const reply = await historian.send(roomId, { events })
      assert.deepEqual([reply.status, reply.body.errcode], [400, errcode], JSON.stringify(events[1]))
    }
    refused(await historian.send(roomId, {}), 400, 'M_MISSING_PARAM')
    refused(await historian.send(roomId, { events: good, forward: 'yes' }), 400, 'M_BAD_JSON')
    assert.equal((await pageBack(owner, roomId)).length, 0)
  })

  test('5 000 events are taken, one more, a body of more than 32 MB and an event of more than 64 KiB are 413 M_TOO_LARGE', async () => {
    const roomId = await historian.portal()
    const most = historian.messages('many', 5_001)
    refused(await historian.send(roomId, { events: most }), 413, 'M_TOO_LARGE')
    const large = { msgtype: 'm.text', body: 'x'.repeat(60_000) }
    refused(await historian.send(roomId, { events: historian.messages('large', 540, { content: large }) }), 413, 'M_TOO_LARGE')
    const huge = { msgtype: 'm.text', body: 'x'.repeat(70_000) }
    refused(
      await historian.send(roomId, { events: [...most.slice(0, 2), ...historian.messages('huge', 1, { content: huge })] }),
      413,
      'M_TOO_LARGE',
    )
    assert.equal((await pageBack(owner, roomId)).length, 0)
    assert.equal((await historian.sent(roomId, { events: most.slice(0, 5_000) })).length, 5_000)
    const read = await pageBack(owner, roomId, 1_000)
    assert.deepEqual(idsOf(read), idsOf(most.slice(0, 5_000)).toReversed())
  })

  test('what was acknowledged is there after a restart, and the numbers go on below it', async () => {
    const roomId = await historian.portal()
    const newer = await historian.sent(roomId, { events: historian.messages('kept', 3) })
    await server.restart()
    const older = await historian.sent(roomId, { events: historian.messages('after', 3) })
    assert.deepEqual(await historian.sent(roomId, { events: historian.messages('kept', 3) }), newer)
    assert.deepEqual(idsOf(await pageBack(owner, roomId)), [...newer.toReversed(), ...older.toReversed()])
  })
})
