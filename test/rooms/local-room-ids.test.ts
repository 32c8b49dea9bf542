// Room ids that a bridge chooses, and those that it only hints at.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Client, startServer, type TestServer } from '../rig/server.ts'
import { type Historian, path, refused, startHistorian } from './backfill.ts'

let server: TestServer
let owner: Client
let historian: Historian

before(async () => {
  server = await startServer()
  owner = server.owner
  historian = await startHistorian(server, 'whatsapp')
})
after(() => server[Symbol.asyncDispose]())

test('fi.mau.room_id is the id of the room, whatever characters and domain it has', async () => {
  for (const roomId of [
    '!chat+1@s.whatsapp.net/x y.owner:beeper.local',
    '!12345:elsewhere.org',
    '!no-domain',
    '!ümläut%2F?#:example.com',
  ]) {
    assert.equal(await historian.portal({ 'fi.mau.room_id': roomId }), roomId)
    const eventId = await owner.send(roomId, 'hello')
    assert.equal((await owner.get(`/rooms/${path(roomId)}/event/${path(eventId)}`)).body.room_id, roomId)
    await historian.sent(roomId, { events: historian.messages('past', 1, { room_id: roomId }) })
    assert.ok((await owner.sync()).rooms.join[roomId])
  }
})

test('a taken or malformed id is refused, and people do not choose', async () => {
  const roomId = await historian.portal({ 'fi.mau.room_id': '!taken:example.com' })
  refused(await historian.bot.post('/createRoom', { 'fi.mau.room_id': roomId }), 400, 'M_ROOM_IN_USE')
  for (const wrong of ['no sigil', '!', `!${'x'.repeat(255)}`, '#alias:example.com']) {
    refused(await historian.bot.post('/createRoom', { 'fi.mau.room_id': wrong }), 400, 'M_INVALID_PARAM')
  }
  assert.notEqual(await owner.createRoom({ 'fi.mau.room_id': '!mine:example.com' }), '!mine:example.com')
})

test('com.beeper.local_room_id, bridge_name and bridge_account_id are hints that change nothing', async () => {
  const hints = {
    'com.beeper.local_room_id': '!chat.owner:beeper.local',
    'com.beeper.bridge_name': 'whatsapp',
    'com.beeper.bridge_account_id': '4711',
  }
  const roomId = await historian.portal(hints)
  assert.match(roomId, /^![A-Za-z]{20}:/)
  const again = await historian.portal(hints)
  assert.notEqual(again, roomId)
  // Hints of any kind: nobody looks at them.
  assert.match(await historian.portal({ 'com.beeper.local_room_id': { a: [1] }, 'com.beeper.bridge_name': null }), /^!/)
})
