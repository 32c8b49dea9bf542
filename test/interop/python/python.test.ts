/** A bridge on mautrix-python, the framework under the older mautrix bridges, against a real server. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Json, PeerProcess } from '../appservice-js/peer-process.ts'
import { domain, Scene } from '../appservice-js/scene.ts'
import { until } from '../go/sdk-client.ts'
import { installPython } from './install.ts'

const python = await installPython()
if (python.missing) process.stdout.write(`The bridge is skipped: ${python.missing}\n`)

const numbered = (word: string, count: number) => Array.from({ length: count }, (_, i) => `${word} ${i + 1}`)
const dayMs = 86_400_000

// The time limit of a single test would hold for the whole of them.
describe('a bridge on mautrix-python', { skip: python.missing ?? false, timeout: 240_000 }, () => {
  let scene: Scene
  let peer: PeerProcess
  let roomId: string

  before(async () => {
    scene = await Scene.open()
  })

  after(async () => {
    await peer?.stop()
    await scene?.[Symbol.asyncDispose]()
  })

  /** Calls a method of the library's intent. */
  function calls(name: string, method: string, args: Json): Promise<Json> {
    return peer.control(`/${method}?as=${name}`, args)
  }

  const inRoom = (path: string) => `/rooms/${encodeURIComponent(roomId)}/${path}`
  const taken = (type: string): Json[] => peer.noted('event').flatMap(({ event }) => (event.type === type ? [event] : []))
  const ephemeral = (type: string): Json[] =>
    peer.noted('ephemeral').flatMap((line) => (line.ephemeral.type === type && line.ephemeral.room_id === roomId ? [line.ephemeral] : []))
  const event = async (eventId: string): Promise<Json> => (await scene.events(roomId)).find((each) => each.event_id === eventId)

  test('starts with the registration that our command line prints, pings itself through the server and makes a portal', async () => {
    const command = [python.program, join(import.meta.dirname, 'bridge.py')] as const
    peer = await PeerProcess.start(scene.server, { id: 'python', domain, command, readyPath: '/_matrix/mau/ready' })
    const invitees = [scene.owner.userId, peer.ghost('alice')]
    roomId = await calls('bot', 'create_room', { name: 'Portal', invitees, beeper_auto_join_invites: true })
    const { rooms } = await scene.owner.sync()
    assert.ok(rooms.join[roomId], 'the owner is in the portal at once')
  })

  test('a ghost that was not there before registers, joins, says something and is seen by the owner', async () => {
    const { next_batch: since } = await scene.owner.sync()
    const eventId = await calls('bob', 'send_text', { room_id: roomId, text: 'hello' })
    const { rooms } = await scene.owner.sync(`since=${since}`)
    const events: Json[] = rooms.join[roomId].timeline.events
    const shown = events.filter((each) => each.type !== 'm.room.member' || each.content.membership === 'join')
    assert.deepEqual(
      shown.map((each) => [each.type, each.sender]),
      [
        ['m.room.member', peer.ghost('bob')],
        ['m.room.message', peer.ghost('bob')],
      ],
    )
    assert.equal(shown[1].event_id, eventId)
  })

  test('what the owner says is taken once and answered once', async () => {
    await scene.say(roomId, 'hello bridge')
    await until('the answer', async () => (await scene.said(roomId, peer.ghost('echo'))).length > 0)
    assert.deepEqual(await scene.said(roomId, peer.ghost('echo')), ['echo of hello bridge'])
    await scene.delivered()
    assert.deepEqual(peer.heard(roomId, scene.owner.userId), ['hello bridge'])
  })

  test('edits, reactions and redactions of the owner arrive as the library reads them', async () => {
    const eventId = await scene.say(roomId, 'a tpyo')
    const replacement = { msgtype: 'm.text', body: 'a typo' }
    const relation = { rel_type: 'm.replace', event_id: eventId }
    const editId = await scene.send(roomId, { msgtype: 'm.text', body: '* a typo', 'm.new_content': replacement, 'm.relates_to': relation })
    const reaction = { 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' } }
    const reactionId = await scene.send(roomId, reaction, 'm.reaction')
    const { body } = await scene.owner.put(inRoom(`redact/${encodeURIComponent(reactionId)}/r1`), { reason: 'no' })
    await until('the redaction', () => taken('m.room.redaction').length > 0)
    const edit = taken('m.room.message').find((each) => each.event_id === editId)
    assert.deepEqual([edit.content['m.new_content'].body, edit.content['m.relates_to'].event_id], ['a typo', eventId])
    assert.equal(taken('m.reaction').at(-1).event_id, reactionId)
    const [redaction] = taken('m.room.redaction')
    assert.deepEqual([redaction.event_id, redaction.redacts, redaction.content.reason], [body.event_id, reactionId, 'no'])
  })

  test('edits, reactions and redactions of a ghost are shown to the owner', async () => {
    const eventId = await calls('alice', 'send_text', { room_id: roomId, text: 'a mistkae' })
    const replacement = { msgtype: 'm.text', body: 'a mistake' }
    const edit = {
      msgtype: 'm.text',
      body: '* a mistake',
      'm.new_content': replacement,
      'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
    }
    const editId = await calls('alice', 'send_message', { room_id: roomId, content: edit })
    assert.equal((await event(eventId)).unsigned['m.relations']['m.replace'].event_id, editId)
    const reactionId = await calls('alice', 'react', { room_id: roomId, event_id: eventId, key: '🙂' })
    assert.equal((await event(reactionId)).content['m.relates_to'].key, '🙂')
    await calls('alice', 'redact', { room_id: roomId, event_id: reactionId })
    assert.deepEqual((await event(reactionId)).content, {})
  })

  test('receipts and typing go both ways', async () => {
    const eventId = await scene.say(roomId, 'read me')
    await calls('alice', 'mark_read', { room_id: roomId, event_id: eventId })
    await calls('alice', 'set_typing', { room_id: roomId, timeout: 20_000 })
    const seen: Json[] = (await scene.owner.sync()).rooms.join[roomId].ephemeral.events
    const shown = (type: string) => seen.find((each) => each.type === type)?.content
    assert.ok(shown('m.receipt')[eventId]['m.read'][peer.ghost('alice')])
    assert.deepEqual(shown('m.typing').user_ids, [peer.ghost('alice')])
    await scene.owner.post(inRoom(`receipt/m.read/${encodeURIComponent(eventId)}`))
    const typing = (is: boolean) =>
      scene.owner.put(inRoom(`typing/${encodeURIComponent(scene.owner.userId)}`), { typing: is, timeout: 20_000 })
    await typing(true)
    await until('the receipt', () => ephemeral('m.receipt').some(({ content }) => content[eventId]?.['m.read']?.[scene.owner.userId]))
    await until('the typing', () => ephemeral('m.typing').some(({ content }) => content.user_ids.includes(scene.owner.userId)))
    await typing(false)
    await until('its end', () => !ephemeral('m.typing').at(-1).content.user_ids.includes(scene.owner.userId))
  })

  test('what the double puppet says, redacts and reads is the owner’s, with the mark of the bridge, and is not answered', async () => {
    assert.equal((await calls('owner', 'whoami', {})).user_id, scene.owner.userId)
    const eventId = await calls('owner', 'send_text', { room_id: roomId, text: 'from my phone' })
    const shown = await event(eventId)
    assert.deepEqual([shown.sender, shown.content['fi.mau.double_puppet_source']], [scene.owner.userId, 'python'])
    const redaction = await calls('owner', 'redact', { room_id: roomId, event_id: eventId })
    assert.equal((await event(redaction)).content['fi.mau.double_puppet_source'], 'python')
    const readId = await calls('alice', 'send_text', { room_id: roomId, text: 'read on the phone' })
    await calls('owner', 'mark_read', { room_id: roomId, event_id: readId })
    const { room_id: _, ...marker } = (
      await scene.owner.get(`/user/${encodeURIComponent(scene.owner.userId)}${inRoom('account_data/m.fully_read')}`)
    ).body
    assert.equal(marker.event_id, readId)
    await until('its own receipt', () => ephemeral('m.receipt').some(({ content }) => content[readId]?.['m.read']?.[scene.owner.userId]))
    await scene.delivered()
    assert.ok(!(await scene.said(roomId, peer.ghost('echo'))).includes('echo of from my phone'))
  })

  test('a room of the owner that the bridge is not in is closed to its double puppet and its bot', async () => {
    const diary = await scene.owner.createRoom({ name: 'Diary' })
    await assert.rejects(calls('owner', 'send_receipt', { room_id: diary, event_id: '$any' }), /MForbidden/)
    await assert.rejects(calls('bot', 'send_text', { room_id: diary, text: 'hello' }), /Failed to join/)
  })

  test('history that is sent in a batch lies before the live messages, in its order and with its times, and is in no sync', async () => {
    // What the framework's bridges look for before they send any.
    const { unstable_features: features } = await calls('bot', 'versions', {})
    assert.equal(features['com.beeper.batch_sending'], true)
    const { next_batch: since } = await scene.owner.sync()
    const live = (await scene.events(roomId)).map((each) => each.event_id)
    const past = Date.now() - 30 * dayMs
    const batch = (name: string, at: number): Json[] =>
      numbered(name, 120).map((text, i) => ({
        type: 'm.room.message',
        sender: [peer.ghost('alice'), peer.ghost('carol'), scene.owner.userId][i % 3],
        origin_server_ts: at + i * 60_000,
        event_id: `$${name}-${i}:network.example`,
        content: { msgtype: 'm.text', body: text },
      }))
    const [newer, older] = [batch('newer', past + dayMs), batch('older', past)]
    for (const events of [newer, older]) {
      const answer = await calls('bot', 'beeper_batch_send', { room_id: roomId, events })
      assert.deepEqual(
        answer.event_ids,
        events.map((each) => each.event_id),
      )
    }
    // The answer to the first was lost: it is asked again.
    await calls('bot', 'beeper_batch_send', { room_id: roomId, events: newer })
    const whole = await scene.events(roomId)
    assert.deepEqual(
      whole.map((each) => each.event_id),
      [...[...older, ...newer].map((each) => each.event_id), ...live],
    )
    assert.deepEqual(
      whole.slice(0, 240).map((each) => [each.sender, each.content.body, each.origin_server_ts]),
      [...older, ...newer].map((each) => [each.sender, each.content.body, each.origin_server_ts]),
    )
    const { rooms } = await scene.owner.sync(`since=${since}`)
    const synced: Json[] = rooms?.join?.[roomId]?.timeline.events ?? []
    assert.deepEqual(
      synced.filter((each) => each.type === 'm.room.message'),
      [],
    )
  })

  test('fifty messages said while the bridge is stopped, the server killed in the midst, arrive once each and in order', async () => {
    await peer.stop()
    const words = numbered('away', 50)
    for (const [i, text] of words.entries()) {
      if (i === 25) await scene.killServer()
      await scene.say(roomId, text)
    }
    await peer.run()
    await until('all of them', () => peer.heard(roomId, scene.owner.userId).includes('away 50'), 45_000)
    await scene.delivered()
    const away = (texts: readonly string[]) => texts.filter((text) => text?.includes('away'))
    assert.deepEqual(away(peer.heard(roomId, scene.owner.userId)), words)
    assert.deepEqual(
      away(await scene.said(roomId, peer.ghost('echo'))),
      words.map((text) => `echo of ${text}`),
    )
  })

  test('what waited is sent in pieces that the library takes, however large the messages are', async () => {
    await peer.stop()
    const words = numbered(`${'large '.repeat(9_000)}`, 40)
    for (const text of words) await scene.say(roomId, text)
    await peer.run()
    await until('all of them', () => peer.heard(roomId, scene.owner.userId).includes(words.at(-1)!), 45_000)
    assert.deepEqual(peer.heard(roomId, scene.owner.userId).slice(-40), words)
  })

  test('with bridge and server killed in turn while messages flow nothing is lost, doubled or out of order', async () => {
    const words = numbered('chaos', 60)
    const kills = async () => {
      const before = peer.heard(roomId, scene.owner.userId).length
      for (let turn = 0; turn < 3; turn++) {
        await until('some more', () => peer.heard(roomId, scene.owner.userId).length > before + turn * 15, 45_000)
        await peer.stop('SIGKILL')
        await peer.run()
        await scene.killServer()
      }
    }
    const says = async () => {
      for (const text of words) await scene.say(roomId, text)
    }
    await Promise.all([says(), kills()])
    await scene.delivered()
    const chaos = (texts: readonly string[]) => texts.filter((text) => text?.includes('chaos'))
    assert.deepEqual(chaos(peer.heard(roomId, scene.owner.userId)), words)
    assert.deepEqual(chaos(await scene.said(roomId, scene.owner.userId)), words)
    assert.deepEqual(
      chaos(await scene.said(roomId, peer.ghost('echo'))),
      words.map((text) => `echo of ${text}`),
    )
  })

  test('no transaction id ever stood for two contents', () => {
    const contents = Map.groupBy(peer.noted('txn'), ({ txn }) => txn)
    for (const [txn, lines] of contents) assert.equal(new Set(lines.map(({ events }) => events.join())).size, 1, txn)
    const ids = [...contents.values()].flatMap(([first]) => first.events)
    assert.equal(new Set(ids).size, ids.length, 'an event in two transactions')
  })

  test('in the end nothing is left to deliver, the library could read all it got, and the server has logged no error', async () => {
    await scene.delivered()
    assert.doesNotMatch(peer.log(), /Failed to deserialize|Exception in/)
    assert.doesNotMatch(scene.server.printed(), /"level":[56]0/)
  })
})
