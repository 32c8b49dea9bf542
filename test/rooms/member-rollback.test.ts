// com.beeper.arbitrary_member_change: what a bridge's bot may write of members, and what nobody else may.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
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

const memberPath = (roomId: string, userId: string) => `/rooms/${path(roomId)}/state/m.room.member/${path(userId)}`
const set = (by: { request: Client['request'] }, roomId: string, userId: string, content: object) =>
  by.request('PUT', memberPath(roomId, userId), content)
async function member(roomId: string, userId: string): Promise<Reply['body']> {
  return (await historian.bot.get(memberPath(roomId, userId))).body
}

describe('the bot of a bridge', () => {
  test('takes back that the owner left, in the words of before', async () => {
    const roomId = await historian.portal()
    const before = await member(roomId, owner.userId)
    assert.equal((await owner.post(`/rooms/${path(roomId)}/leave`)).status, 200)
    const { next_batch: since } = await owner.sync()
    const rollback = { ...before, 'com.beeper.member_rollback': true, reason: 'not possible' }
    assert.equal((await set(historian.bot, roomId, owner.userId, rollback)).status, 200)
    assert.deepEqual(await member(roomId, owner.userId), rollback)
    const { rooms } = await owner.sync(`since=${since}`)
    const event = rooms.join[roomId].timeline.events.at(-1)
    assert.deepEqual([event.sender, event.content], [historian.bridge.botId, rollback])
    assert.equal(await owner.send(roomId, 'here again').then(() => true), true)
  })

  test('writes every membership of its ghosts, of those who never were there and the banned too', async () => {
    const roomId = await historian.portal()
    const ghost = historian.bridge.ghost(9)
    for (const membership of ['join', 'leave', 'join', 'ban', 'join', 'invite', 'knock', 'invite', 'ban', 'leave']) {
      const reply = await set(historian.bot, roomId, ghost, { membership, 'fi.mau.note': membership })
      assert.equal(reply.status, 200, JSON.stringify(reply.body))
      const content = await member(roomId, ghost)
      assert.deepEqual([content.membership, content['fi.mau.note']], [membership, membership])
    }
    const counts = (await owner.graphql('query($roomId: ID!) { room(roomId: $roomId) { joinedMemberCount } }', { roomId })).data.room
    assert.equal(counts.joinedMemberCount, 3)
  })

  test('writes nothing that is no membership, and nothing of users who are not its own', async () => {
    const roomId = await historian.portal()
    const dave = await server.register('dave')
    refused(await set(historian.bot, roomId, owner.userId, { membership: 'gone' }), 400, 'M_BAD_JSON')
    refused(await set(historian.bot, roomId, owner.userId, {}), 400, 'M_BAD_JSON')
    refused(await set(historian.bot, roomId, dave.userId, { membership: 'join' }), 403, 'M_FORBIDDEN')
    refused(await set(historian.bot, roomId, '@whatsapp_1:elsewhere.org', { membership: 'join' }), 403, 'M_FORBIDDEN')
    assert.equal((await member(roomId, owner.userId)).membership, 'join')
  })

  test('writes only where it is itself', async () => {
    const roomId = await owner.createRoom({ preset: 'public_chat' })
    refused(await set(historian.bot, roomId, historian.bridge.ghost(1), { membership: 'join' }), 403, 'M_FORBIDDEN')
    assert.equal((await historian.bot.post(`/rooms/${path(roomId)}/join`)).status, 200)
    assert.equal((await set(historian.bot, roomId, historian.bridge.ghost(1), { membership: 'join' })).status, 200)
  })
})

test('nobody else: neither its ghosts, nor the bridge as the owner, nor people', async () => {
  const roomId = await historian.portal()
  const target = historian.bridge.ghost(20)
  for (const by of [historian.bridge.as(historian.bridge.ghost(1)), historian.bridge.as(owner.userId), owner]) {
    refused(await set(by, roomId, target, { membership: 'join' }), 403, 'M_FORBIDDEN')
  }
  refused(await set(historian.bridge.as(owner.userId), roomId, historian.bridge.botId, { membership: 'leave' }), 403, 'M_FORBIDDEN')
})
