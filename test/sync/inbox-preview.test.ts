// com.beeper.inbox.preview and what else Beeper's clients read in a sync.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { sendMessage } from '../../src/rooms/send.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { startServer } from '../rig/server.ts'
import { sqlitePlace } from '../storage/engines.ts'
import { type Answer, SyncRig } from './rig.ts'

interface Preview {
  readonly event_id: string
  readonly origin_server_ts: number
  readonly event?: { readonly event_id: string; readonly content: object }
}

const previewIn = (answer: Answer, roomId: string): Preview | undefined =>
  (answer.rooms?.join?.[roomId] as unknown as Record<string, Preview> | undefined)?.['com.beeper.inbox.preview']

async function start(t: Parameters<typeof sqlitePlace>[0]) {
  const rig = await SyncRig.start(await sqlitePlace(t))
  const roomId = await rig.room(rig.alice, {}, [rig.bob])
  let txn = 0
  const send = async (type: string, content: JsonObject) =>
    (await sendMessage(rig.instance, rig.bob, { roomId, type, txnId: `p${txn++}`, content })).eventId
  const react = (target: string, key: string) => send('m.reaction', { 'm.relates_to': { rel_type: 'm.annotation', event_id: target, key } })
  const preview = async (more: object = {}) => previewIn(await rig.sync(rig.alice, { previews: true, ...more }), roomId)
  return { rig, roomId, send, react, preview }
}

describe('the preview of a room', () => {
  test('is its newest message as it was last edited, with the event only where the timeline lacks it', async (t) => {
    const { rig, roomId, preview } = await start(t)
    const first = await rig.say(rig.bob, roomId, 'first')
    assert.deepEqual(Object.keys((await preview())!), ['event_id', 'origin_server_ts'])
    const newest = await rig.say(rig.bob, roomId, 'newest')
    const edit = (target: string, body: string) =>
      rig.say(rig.bob, roomId, `* ${body}`, {
        'm.new_content': { msgtype: 'm.text', body },
        'm.relates_to': { rel_type: 'm.replace', event_id: target },
      })
    const edited = await edit(newest, 'edited')
    await edit(first, 'old one')
    assert.equal((await preview())?.event_id, edited)
    await rig.set(rig.alice, roomId, 'm.room.topic', { topic: 'x' })
    const alone = (await preview({ filter: { room: { timeline: { limit: 1 } } } }))!
    assert.deepEqual([alone.event_id, alone.event?.event_id], [edited, edited], 'further back it is looked for')
    await rig.redact(rig.bob, roomId, newest)
    const left = (await preview())!
    assert.notEqual(left.event_id, edited)
    assert.notEqual(left.event_id, newest)
  })

  test('is a reaction only to a message of the reader’s own, and never a message status', async (t) => {
    const { rig, roomId, send, react, preview } = await start(t)
    const own = await rig.say(rig.alice, roomId, 'mine')
    const other = await rig.say(rig.bob, roomId, 'yours')
    const foreign = await react(other, '👍')
    await send('com.beeper.message_send_status', { status: 'SUCCESS' })
    assert.equal((await preview())?.event_id, other)
    const reaction = await react(own, '❤️')
    assert.equal((await preview())?.event_id, reaction)
    assert.equal(previewIn(await rig.sync(rig.bob, { previews: true }), roomId)?.event_id, foreign)
  })

  test('comes when asked for, and with new events only', async (t) => {
    const { rig, roomId, preview } = await start(t)
    await rig.say(rig.bob, roomId, 'hi')
    assert.equal(previewIn(await rig.sync(rig.alice), roomId), undefined)
    assert.ok(await preview())
    const { next_batch: since } = await rig.sync(rig.alice)
    const quiet = await rig.sync(rig.alice, { since, previews: true })
    assert.equal(quiet.rooms, undefined)
    const later = await rig.say(rig.bob, roomId, 'again')
    assert.equal((await preview({ since }))?.event_id, later)
  })

  test('is asked for over HTTP; streaming and previews together too', async () => {
    await using server = await startServer()
    const roomId = await server.owner.createRoom()
    const eventId = await server.owner.send(roomId, 'hi')
    const answer = await server.owner.sync('beeper_previews=true&com.beeper.streaming=true')
    assert.equal(answer.rooms.join[roomId]['com.beeper.inbox.preview'].event_id, eventId)
    assert.equal((await server.owner.get('/sync?beeper_previews=maybe')).status, 400)
  })
})

describe('the summary of a room', () => {
  test('counts the joined without the bot of the bridge that made it', async (t) => {
    const rig = await SyncRig.start(await sqlitePlace(t))
    const { bot, ghost } = await rig.bridge()
    const portal = await rig.room(bot, { initialMembers: [rig.alice.userId, ghost('1').userId] })
    const plain = await rig.room(rig.alice, {}, [rig.bob])
    const { rooms } = await rig.sync(rig.alice, { previews: true })
    const counts = [portal, plain].map((roomId) => {
      const summary = rooms!.join![roomId]!.summary as Record<string, unknown>
      return [summary['m.joined_member_count'], summary['com.beeper.m.joined_users_without_bots']]
    })
    assert.deepEqual(counts, [
      [3, 2],
      [2, 2],
    ])
  })
})
