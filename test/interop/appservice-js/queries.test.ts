/** A bridge on matrix-appservice that is asked for its ghost and its room, and matrix-js-sdk as the person who needs them. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { MatrixClient } from 'matrix-js-sdk'
import { openClient, query, texts, until } from '../go/sdk-client.ts'
import { PeerProcess } from './peer-process.ts'
import { domain, Scene } from './scene.ts'

let scene: Scene
let peer: PeerProcess
let person: MatrixClient

before(async () => {
  scene = await Scene.open()
  const command = [process.execPath, join(import.meta.dirname, './queries-bridge.ts')] as const
  peer = await PeerProcess.start(scene.server, { id: 'chat', domain, command, readyPath: '/health' })
  person = await openClient(scene.server.url, scene.server.owner)
  const namespaces = `users: [{ regex: "^@chat(_.+|bot):home\\\\.test$", exclusive: true }], aliases: [{ regex: "^#chat_", exclusive: true }]`
  await query(
    person,
    `mutation { registerBridge(id: "chat", registration: { protocols: ["chat"], namespaces: { ${namespaces} } }) { id } }`,
  )
})

after(async () => {
  person?.stopClient()
  await peer?.stop()
  await scene?.[Symbol.asyncDispose]()
})

/** What Jane answers in a room. */
async function answered(roomId: string, text: string): Promise<void> {
  const room = await until('the room', () => person.getRoom(roomId))
  await person.sendTextMessage(roomId, text)
  await until('what Jane says', () => texts(room, peer.ghost('jane')).includes(`Jane read: ${text}`))
}

test('a person finds the network and somebody on it', async () => {
  const { chat } = await person.getThirdpartyProtocols()
  assert.deepEqual(chat?.instances, [{ desc: 'Chat', network_id: 'chat', fields: {}, instance_id: 'chat|chat' }])
  assert.deepEqual(await person.getThirdpartyUser('chat', { nick: 'jane' }), [
    { userid: peer.ghost('jane'), protocol: 'chat', fields: { nick: 'jane' } },
  ])
  assert.deepEqual(await person.getThirdpartyUser('chat', { nick: 'joe' }), [])
})

test('whoever is invited though nobody has seen them yet is made, comes and answers', async () => {
  await assert.rejects(person.getProfileInfo(peer.ghost('joe')), { errcode: 'M_NOT_FOUND' })
  await assert.rejects(person.createRoom({ invite: [peer.ghost('joe')] }), { errcode: 'M_NOT_FOUND' })
  const { room_id: roomId } = await person.createRoom({ invite: [peer.ghost('jane')], is_direct: true })
  await until('Jane', () => person.getRoom(roomId)?.getMember(peer.ghost('jane'))?.membership === 'join')
  assert.equal(person.getRoom(roomId)?.getMember(peer.ghost('jane'))?.name, 'Jane')
  await answered(roomId, 'hello Jane')
})

test('a channel that has no room yet gets one when somebody joins it', async () => {
  await assert.rejects(person.getRoomIdForAlias(`#chat_none:${domain}`), { errcode: 'M_NOT_FOUND' })
  const { roomId } = await person.joinRoom(`#chat_lobby:${domain}`)
  assert.equal((await person.getRoomIdForAlias(`#chat_lobby:${domain}`)).room_id, roomId)
  await answered(roomId, 'hello lobby')
  assert.doesNotMatch(scene.server.printed(), /"level":[56]0/)
})
