import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createRoom } from '../../src/rooms/create.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'
import { type Client, startServer, type TestServer } from '../rig/server.ts'
import { registerBridge, type TestBridge } from './bridge.ts'

let test: TestServer
let instance: Instance
let owner: Actor
let bridge: TestBridge

before(async () => {
  test = await startServer()
  instance = await test.server.host.defaultInstance()
  owner = (await test.server.host.authenticate(test.owner.token, null)).actor
  bridge = await registerBridge(test, 'profiles')
})
after(() => test[Symbol.asyncDispose]())

function path(userId: string, key = ''): string {
  return `/profile/${encodeURIComponent(userId)}${key && `/${key}`}`
}

/** The m.room.member events of a user in a room, oldest first. */
async function memberEvents(roomId: string, userId: string): Promise<{ order: number; content: Record<string, unknown> }[]> {
  const room = (await instance.storage.first('room', { roomId }))!
  const rows = await instance.storage.find('event', {
    where: { room: room.key, type: 'm.room.member', stateKey: userId },
    orderBy: ['order'],
  })
  return rows.map((row) => ({ order: row.order, content: JSON.parse(row.json).content }))
}

describe('a profile', () => {
  it('is {} for a user who set nothing, and 404 for nobody and for other servers', async () => {
    const fresh = await test.register('fresh')
    assert.deepEqual((await fresh.get(path(fresh.userId))).body, {})
    for (const userId of ['@nobody:example.com', '@alice:elsewhere.org']) {
      const { status, body } = await fresh.get(path(userId))
      assert.deepEqual([status, body.errcode], [404, 'M_NOT_FOUND'])
    }
    const unset = await fresh.get(path(fresh.userId, 'displayname'))
    assert.deepEqual([unset.status, unset.body], [200, {}], 'mautrix-go gives up setting a name when it finds no place for one')
    const other = await fresh.get(path(fresh.userId, 'm.tz'))
    assert.deepEqual([other.status, other.body.errcode], [404, 'M_NOT_FOUND'])
  })

  it('is set field by field, and taken away', async () => {
    const user = await test.register('setter')
    assert.deepEqual((await user.put(path(user.userId, 'displayname'), { displayname: 'Sam' })).body, {})
    await user.put(path(user.userId, 'avatar_url'), { avatar_url: 'mxc://example.com/abc' })
    await user.put(path(user.userId, 'm.tz'), { 'm.tz': 'Europe/London' })
    const whole = { displayname: 'Sam', avatar_url: 'mxc://example.com/abc', 'm.tz': 'Europe/London' }
    assert.deepEqual((await test.owner.get(path(user.userId))).body, whole)
    assert.deepEqual((await test.owner.get(path(user.userId, 'm.tz'))).body, { 'm.tz': 'Europe/London' })
    assert.equal((await user.request('DELETE', path(user.userId, 'm.tz'))).status, 200)
    assert.equal((await user.request('DELETE', path(user.userId, 'displayname'))).status, 200)
    assert.deepEqual((await user.get(path(user.userId))).body, { avatar_url: 'mxc://example.com/abc' })
  })

  it('answers under the unstable paths as well', async () => {
    const user = await test.register('unstable')
    const unstable = `/_matrix/client/unstable/uk.tcpip.msc4133${path(user.userId, 'x')}`
    assert.equal((await user.request('PUT', unstable, { x: [1, { y: null }] })).status, 200)
    assert.deepEqual((await user.request('GET', unstable)).body, { x: [1, { y: null }] })
    assert.equal((await user.request('DELETE', unstable)).status, 200)
    assert.equal((await user.request('GET', unstable)).status, 404)
    assert.equal((await test.owner.request('PUT', unstable, { x: 1 })).status, 403)
    assert.equal((await test.owner.request('DELETE', unstable)).status, 403)
  })

  it('is changed by nobody else', async () => {
    const user = await test.register('victim')
    for (const client of [test.owner, test.administrator]) {
      const { status, body } = await client.put(path(user.userId, 'displayname'), { displayname: 'x' })
      assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN'])
      assert.equal((await client.request('DELETE', path(user.userId, 'displayname'))).status, 403)
    }
  })

  it('refuses wrong and oversized values', async () => {
    const user = await test.register('wrong')
    const refused = async (key: string, body: unknown) => (await user.put(path(user.userId, encodeURIComponent(key)), body)).body.errcode
    assert.equal(await refused('displayname', { displayname: 7 }), 'M_BAD_JSON')
    assert.equal(await refused('displayname', {}), 'M_MISSING_PARAM')
    assert.equal(await refused('displayname', { displayname: 'x'.repeat(257) }), 'M_INVALID_PARAM')
    assert.equal(await refused('displayname', { displayname: 'a\u0000b' }), 'M_INVALID_PARAM')
    assert.equal(await refused('k'.repeat(256), { ['k'.repeat(256)]: 1 }), 'M_KEY_TOO_LARGE')
    assert.equal(await refused('big', { big: 'x'.repeat(70_000) }), 'M_PROFILE_TOO_LARGE')
    assert.deepEqual((await user.get(path(user.userId))).body, {})
  })

  it('takes __proto__ for a field like any other', async () => {
    const user = await test.register('proto')
    await user.request('PUT', path(user.userId, '__proto__'), undefined, { raw: '{"__proto__": {"admin": true}}' })
    const { body } = await user.get(path(user.userId, '__proto__'))
    assert.deepEqual(Object.entries(body), [['__proto__', { admin: true }]])
  })

  it('needs a token to be read', async () => {
    const { status, body } = await test.request('GET', path(test.owner.userId))
    assert.deepEqual([status, body.errcode], [401, 'M_MISSING_TOKEN'])
  })
})

describe('a changed name or avatar', () => {
  it('reaches every joined room as a member event that keeps the rest, and no other room', async () => {
    const user = await test.register('mover')
    const actor = (await test.server.host.authenticate(user.token, null)).actor
    const joined = [await createRoom(instance, actor, {}), await createRoom(instance, actor, {})]
    const invited = await createRoom(instance, owner, { invite: [user.userId] })
    await user.put(path(user.userId, 'displayname'), { displayname: 'Moved' })
    for (const { roomId } of joined) {
      const events = await memberEvents(roomId, user.userId)
      assert.deepEqual(events.at(-1)?.content, { membership: 'join', displayname: 'Moved' })
      assert.equal(events.length, 2)
    }
    assert.equal((await memberEvents(invited.roomId, user.userId)).length, 1)
    await user.put(path(user.userId, 'avatar_url'), { avatar_url: 'mxc://example.com/a' })
    assert.deepEqual((await memberEvents(joined[0]!.roomId, user.userId)).at(-1)?.content, {
      membership: 'join',
      displayname: 'Moved',
      avatar_url: 'mxc://example.com/a',
    })
  })

  it('that is none makes no event', async () => {
    const user = await test.register('same')
    const actor = (await test.server.host.authenticate(user.token, null)).actor
    const { roomId } = await createRoom(instance, actor, {})
    await user.put(path(user.userId, 'displayname'), { displayname: 'Same' })
    const { position } = instance
    await user.put(path(user.userId, 'displayname'), { displayname: 'Same' })
    assert.equal((await memberEvents(roomId, user.userId)).length, 2)
    assert.equal(instance.position, position)
  })

  it('stands in rooms that are joined later', async () => {
    const user = await test.register('later')
    await user.put(path(user.userId, 'displayname'), { displayname: 'Later' })
    const actor = (await test.server.host.authenticate(user.token, null)).actor
    const { roomId } = await createRoom(instance, actor, {})
    assert.equal((await memberEvents(roomId, user.userId))[0]?.content['displayname'], 'Later')
  })

  it('reaches more rooms than one command takes', async () => {
    const user = await test.register('many')
    const actor = (await test.server.host.authenticate(user.token, null)).actor
    const rooms = await Promise.all(Array.from({ length: 130 }, () => createRoom(instance, actor, {})))
    await user.put(path(user.userId, 'displayname'), { displayname: 'Many' })
    const row = (await instance.storage.first('user', { userId: user.userId }))!
    assert.equal(await instance.storage.count('membership', { user: row.key, displayName: 'Many' }), rooms.length)
  })
})

describe('a bridge', () => {
  it("sets its ghosts' profiles, those of ghosts it never registered too", async () => {
    const ghost = bridge.ghost(1)
    const as = bridge.as(ghost)
    assert.equal((await as.request('PUT', path(ghost, 'displayname'), { displayname: 'Ghost' })).status, 200)
    assert.deepEqual((await as.request('GET', path(ghost))).body, { displayname: 'Ghost' })
    assert.equal((await as.request('PUT', path(bridge.ghost(2), 'displayname'), { displayname: 'x' })).status, 403)
  })

  it("sets the owner's as a puppet", async () => {
    const { status } = await bridge.as(test.owner.userId).request('PUT', path(test.owner.userId, 'displayname'), { displayname: 'Owner' })
    assert.equal(status, 200)
    assert.equal((await test.owner.get(path(test.owner.userId, 'displayname'))).body.displayname, 'Owner')
  })

  it('hears M_FORBIDDEN from whoami as a ghost that does not exist', async () => {
    const unknown = await bridge.as(bridge.ghost(99)).request('GET', '/account/whoami')
    assert.deepEqual([unknown.status, unknown.body.errcode], [403, 'M_FORBIDDEN'])
    const bot = await bridge.as(bridge.botId).request('GET', '/account/whoami')
    assert.equal(bot.body.user_id, bridge.botId)
  })
})

describe('public profiles', () => {
  it('are read without a token where the configuration says so', async () => {
    const open = await startServer({ config: { publicProfiles: true } })
    try {
      const owned: Client = open.owner
      await owned.put(path(owned.userId, 'displayname'), { displayname: 'Open' })
      assert.deepEqual((await open.request('GET', path(owned.userId))).body, { displayname: 'Open' })
      assert.deepEqual((await open.request('GET', path(owned.userId, 'displayname'))).body, { displayname: 'Open' })
    } finally {
      await open[Symbol.asyncDispose]()
    }
  })
})
