import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createRoom } from '../../src/rooms/create.ts'
import { changeProfile } from '../../src/rooms/profile-change.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'
import { type Client, startServer, type TestServer } from '../rig/server.ts'
import { openRig } from '../rooms/rig.ts'
import { sqlitePlace } from '../storage/engines.ts'
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

/** Rooms are told behind the answer. */
async function allTold(of: Instance = instance): Promise<void> {
  while ((await of.storage.count('staleProfile', {})) > 0) await new Promise((resolve) => setTimeout(resolve, 2))
}

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
    await allTold()
    for (const { roomId } of joined) {
      const events = await memberEvents(roomId, user.userId)
      assert.deepEqual(events.at(-1)?.content, { membership: 'join', displayname: 'Moved' })
      assert.equal(events.length, 2)
    }
    assert.equal((await memberEvents(invited.roomId, user.userId)).length, 1)
    await user.put(path(user.userId, 'avatar_url'), { avatar_url: 'mxc://example.com/a' })
    await allTold()
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
    await allTold()
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
    assert.equal((await user.get(path(user.userId, 'displayname'))).body.displayname, 'Many', 'the profile itself is changed at once')
    await allTold()
    const row = (await instance.storage.first('user', { userId: user.userId }))!
    assert.equal(await instance.storage.count('membership', { user: row.key, displayName: 'Many' }), rooms.length)
  })
})

describe('a profile changed while its rooms are told', () => {
  const ghost = '@_ghost_1:beeper.local'
  const name = (members: readonly { displayName: string | null }[]) => [...new Set(members.map(({ displayName }) => displayName))]

  it('is told in its last form only, and once to each room', async (t) => {
    await using rig = await openRig(await sqlitePlace(t))
    const { bot, ghost: as } = await rig.bridge()
    await Promise.all(Array.from({ length: 250 }, () => rig.room(bot, { initialMembers: [ghost] })))
    const before = await rig.instance.storage.count('event', { type: 'm.room.member', stateKey: ghost })
    await Promise.all(
      ['a', 'b', 'c', 'd'].map((displayname) => changeProfile(rig.instance, as('1'), { userId: ghost, fields: { displayname } })),
    )
    await changeProfile(rig.instance, as('1'), { userId: ghost, fields: { displayname: 'last' } })
    await allTold(rig.instance)
    const { key } = (await rig.instance.storage.first('user', { userId: ghost }))!
    assert.deepEqual(name(await rig.instance.storage.find('membership', { where: { user: key } })), ['last'])
    const after = await rig.instance.storage.count('event', { type: 'm.room.member', stateKey: ghost })
    assert.ok(after - before < 2 * 250, `${after - before} events for five changes in 250 rooms`)
  })

  it('is told to the end after a restart', async () => {
    await using server = await startServer()
    const home = () => server.server.host.defaultInstance()
    const user = await server.register('restarted')
    const actor = (await server.server.host.authenticate(user.token, null)).actor
    const before = await home()
    await Promise.all(Array.from({ length: 3 }, () => createRoom(before, actor, {})))
    const key = actor.user!
    // As a crash right after the answer leaves it: nobody was told.
    await command(before, (decision) => {
      const row = decision.get('user', { key })!
      decision.put('user', { ...row, displayName: 'New', position: decision.takePosition() })
      decision.put('staleProfile', { instance: before.key, user: key, position: decision.changes.position })
    })
    await server.restart()
    const again = await home()
    await allTold(again)
    assert.equal(await again.storage.count('membership', { user: key, displayName: 'New' }), 3)
  })
})

describe('a whole profile', () => {
  it('takes many fields at once and keeps the others, a null takes one away', async () => {
    const as = bridge.as(bridge.ghost(3))
    const whole = path(bridge.ghost(3))
    const meta = { 'com.beeper.bridge.identifiers': ['tel:+1'], 'com.beeper.bridge.is_network_bot': false, displayname: 'Three' }
    assert.deepEqual((await as.request('PATCH', whole, meta)).body, {})
    assert.deepEqual((await as.request('PATCH', whole, { 'com.beeper.bridge.remote_id': '3', displayname: null })).body, {})
    const { displayname: _gone, ...kept } = meta
    assert.deepEqual((await as.request('GET', whole)).body, { ...kept, 'com.beeper.bridge.remote_id': '3' })
    assert.equal((await as.request('PATCH', path(bridge.ghost(4)), {})).status, 403)
    assert.equal((await test.request('PATCH', whole, {})).status, 401)
  })

  it('is replaced in one request, under both paths', async () => {
    const as = bridge.as(bridge.ghost(5))
    const unstable = `/_matrix/client/unstable/com.beeper.msc4437${path(bridge.ghost(5))}`
    await as.request('PATCH', path(bridge.ghost(5)), { a: 1, displayname: 'Five' })
    assert.deepEqual((await as.request('PUT', path(bridge.ghost(5)), { b: 2, avatar_url: 'mxc://example.com/5' })).body, {})
    assert.deepEqual((await as.request('GET', path(bridge.ghost(5)))).body, { avatar_url: 'mxc://example.com/5', b: 2 })
    assert.deepEqual((await as.request('PUT', unstable, { c: null, displayname: 'Again' })).body, {})
    assert.deepEqual((await as.request('GET', path(bridge.ghost(5)))).body, { displayname: 'Again' })
    assert.equal((await test.owner.put(path(bridge.ghost(5)), {})).status, 403)
    assert.equal((await test.owner.request('PUT', unstable, {})).status, 403)
  })

  it('is changed wholly or not at all', async () => {
    const user = await test.register('whole')
    await user.put(path(user.userId), { displayname: 'Whole' })
    for (const [fields, errcode] of [
      [{ a: 1, displayname: 7 }, 'M_BAD_JSON'],
      [{ a: 1, ['k'.repeat(256)]: 1 }, 'M_KEY_TOO_LARGE'],
      [{ a: 'x'.repeat(40_000), b: 'x'.repeat(40_000) }, 'M_PROFILE_TOO_LARGE'],
      [{ '': 1 }, 'M_INVALID_PARAM'],
    ] as const) {
      for (const method of ['PATCH', 'PUT']) {
        const { status, body } = await user.request(method, path(user.userId), fields)
        assert.deepEqual([status >= 400, body.errcode], [true, errcode])
      }
    }
    assert.deepEqual((await user.get(path(user.userId))).body, { displayname: 'Whole' })
    const done = await user.graphql('mutation($fields: JsonObject!) { replaceProfile(fields: $fields) updateProfile(fields: { y: 2 }) }', {
      fields: { x: 1 },
    })
    assert.deepEqual(done.data, { replaceProfile: true, updateProfile: true })
    assert.deepEqual((await user.get(path(user.userId))).body, { x: 1, y: 2 })
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
