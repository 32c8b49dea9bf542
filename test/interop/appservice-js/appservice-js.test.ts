/** A bridge on matrix-appservice, the library under matrix.org's bridges, against a real server. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { until } from '../go/sdk-client.ts'
import { type Json, PeerProcess } from './peer-process.ts'
import { domain, Scene } from './scene.ts'

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

/** A request of the bridge to the homeserver. */
function asks(name: string, method: string, path: string, body?: Json): Promise<Json> {
  return peer.control(`?as=${name}`, { method, path, body })
}

const inRoom = (path: string) => `rooms/${encodeURIComponent(roomId)}/${path}`
const numbered = (word: string, count: number) => Array.from({ length: count }, (_, i) => `${word} ${i + 1}`)

/** The answers to attempts at transactions, by their id and in their order. */
function attempts(): Map<string, string[]> {
  const all = peer.noted('request').flatMap(({ request }) => {
    const [, id, status] = /PUT \S*\/transactions\/([^?]+)\S* \S+ (\d+)/.exec(request) ?? []
    return id && status ? [{ id, status }] : []
  })
  return new Map([...Map.groupBy(all, ({ id }) => id)].map(([id, answers]) => [id, answers.map(({ status }) => status)]))
}

test('a bridge on matrix-appservice starts with the registration that our command line prints and makes a portal', async () => {
  const command = [process.execPath, join(import.meta.dirname, './bridge.ts')] as const
  peer = await PeerProcess.start(scene.server, { id: 'legacy', domain, command, readyPath: '/health' })
  const invite = [scene.owner.userId, peer.ghost('alice'), peer.ghost('echo')]
  const made = await asks('bot', 'POST', 'createRoom', { name: 'Portal', invite, 'com.beeper.auto_join_invites': true })
  roomId = made.room_id
  const { rooms } = await scene.owner.sync()
  assert.ok(rooms.join[roomId], 'the owner is in the portal at once')
})

test('what a ghost says arrives in the sync of the owner', async () => {
  const { next_batch: since } = await scene.owner.sync()
  const { event_id: eventId } = await asks('alice', 'PUT', inRoom('send/m.room.message/a1'), { msgtype: 'm.text', body: 'hello' })
  const { rooms } = await scene.owner.sync(`since=${since}`)
  const [event] = rooms.join[roomId].timeline.events
  assert.deepEqual([event.event_id, event.sender, event.content.body], [eventId, peer.ghost('alice'), 'hello'])
})

test('what the owner says is taken once and answered once', async () => {
  await scene.say(roomId, 'hello bridge')
  await until('the answer', async () => (await scene.said(roomId, peer.ghost('echo'))).length > 0)
  assert.deepEqual(await scene.said(roomId, peer.ghost('echo')), ['echo of hello bridge'])
  assert.deepEqual(peer.heard(roomId, scene.owner.userId), ['hello bridge'])
})

test('what the bridge says as the owner is the owner’s, and comes back to it with its mark', async () => {
  const path = inRoom('send/m.room.message/p1')
  const { event_id: eventId } = await asks('owner', 'PUT', path, { msgtype: 'm.text', body: 'from my phone' })
  const shown = (await scene.events(roomId)).find((event) => event.event_id === eventId)
  assert.equal(shown.sender, scene.owner.userId)
  const back = await until('the event', () => peer.noted('event').find(({ event }) => event.event_id === eventId))
  assert.equal(back.event.content['fi.mau.double_puppet_source'], 'legacy')
  await scene.delivered()
  assert.ok(!(await scene.said(roomId, peer.ghost('echo'))).includes('echo of from my phone'))
})

test('receipts and typing come under the name that the library knows', async () => {
  const eventId = (await scene.events(roomId)).at(-1).event_id
  await scene.owner.post(`/${inRoom('receipt/m.read')}/${encodeURIComponent(eventId)}`)
  await scene.owner.put(`/${inRoom('typing')}/${encodeURIComponent(scene.owner.userId)}`, { typing: true, timeout: 20_000 })
  const ephemeral = (type: string): Json[] =>
    peer.noted('ephemeral').flatMap((line) => (line.ephemeral.type === type && line.ephemeral.room_id === roomId ? [line.ephemeral] : []))
  await until('the receipt', () => ephemeral('m.receipt').some(({ content }) => content[eventId]?.['m.read']?.[scene.owner.userId]))
  await until('the typing', () => ephemeral('m.typing').some(({ content }) => content.user_ids.includes(scene.owner.userId)))
})

test('a transaction that the bridge took but answered with 500 comes again under the same id, and changes nothing more', async () => {
  await scene.delivered()
  const before = attempts()
  await peer.control('?as=bot', { fail: 2 })
  await scene.say(roomId, 'third time lucky')
  await until('the message', () => peer.heard(roomId, scene.owner.userId).includes('third time lucky'))
  await scene.delivered()
  const since = [...attempts()].filter(([id]) => !before.has(id)).map(([, answers]) => answers)
  assert.deepEqual(since[0], ['500', '500', '200'])
  assert.equal(peer.heard(roomId, scene.owner.userId).filter((text) => text === 'third time lucky').length, 1)
  const echoes = async () => (await scene.said(roomId, peer.ghost('echo'))).filter((text) => text.includes('third time'))
  await until('the answer', async () => (await echoes()).length > 0)
  assert.equal((await echoes()).length, 1)
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
  const away = (texts: readonly string[]) => texts.filter((text) => text.includes('away'))
  assert.deepEqual(away(peer.heard(roomId, scene.owner.userId)), words)
  const echoes = words.map((text) => `echo of ${text}`)
  await until('the answers', async () => away(await scene.said(roomId, peer.ghost('echo'))).length >= echoes.length)
  assert.deepEqual(away(await scene.said(roomId, peer.ghost('echo'))), echoes)
})

test('with bridge and server killed in turn while both sides speak nothing is lost, doubled or out of order', async () => {
  const words = numbered('chaos', 60)
  const ghostSays = async () => {
    for (const [i, text] of words.entries()) {
      const said = { msgtype: 'm.text', body: text }
      // Under one transaction id until it is there, as every bridge does.
      await until(
        'the word of a ghost',
        async () => (await asks('alice', 'PUT', inRoom(`send/m.room.message/c${i}`), said).catch(() => ({}))).event_id,
        45_000,
      )
    }
  }
  const ownerSays = async () => {
    for (const text of words) await scene.say(roomId, text)
  }
  const kills = async () => {
    for (let turn = 0; turn < 3; turn++) {
      await until('some more', () => peer.heard(roomId, scene.owner.userId).length > 55 + turn * 15, 45_000)
      await peer.stop('SIGKILL')
      await peer.run()
      await scene.killServer()
    }
  }
  await Promise.all([ghostSays(), ownerSays(), kills()])
  await scene.delivered()
  const chaos = (texts: readonly string[]) => texts.filter((text) => text.startsWith('chaos'))
  assert.deepEqual(chaos(peer.heard(roomId, scene.owner.userId)), words)
  assert.deepEqual(chaos(await scene.said(roomId, scene.owner.userId)), words)
  assert.deepEqual(chaos(await scene.said(roomId, peer.ghost('alice'))), words)
  const echoes = words.map((text) => `echo of ${text}`)
  const answered = async () => (await scene.said(roomId, peer.ghost('echo'))).filter((text) => text.includes('chaos'))
  await until('the answers', async () => (await answered()).length >= echoes.length)
  assert.deepEqual(await answered(), echoes)
})

test('every transaction carries the hs_token in its query too, for bridges that look there', async () => {
  const requests: string[] = peer.noted('request').flatMap(({ request }) => (request.includes('/transactions/') ? [request] : []))
  assert.ok(requests.length > 0)
  for (const request of requests) assert.match(request, /\?access_token=/)
})

test('in the end nothing is left to deliver, and the server has logged no error', async () => {
  await scene.delivered()
  assert.doesNotMatch(scene.server.printed(), /"level":[56]0/)
})
