import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createRoom } from '../../src/rooms/create.ts'
import type { Instance } from '../../src/stream/instance.ts'
import { type Client, startServer, type TestServer } from '../rig/server.ts'
import { registerBridge, type TestBridge } from './bridge.ts'

let test: TestServer
let instance: Instance
let bridge: TestBridge
/** of the owner and a ghost of the bridge */
let portal: string
/** of the owner alone */
let own: string

before(async () => {
  test = await startServer()
  instance = await test.server.host.defaultInstance()
  bridge = await registerBridge(test, 'accounting')
  own = (await createRoom(instance, (await test.server.host.authenticate(test.owner.token, null)).actor, {})).roomId
  const bot = (await test.server.host.authenticate(bridge.as_token, null)).actor
  portal = (await createRoom(instance, bot, { invite: [test.owner.userId, bridge.ghost(1)], autoJoinInvites: true })).roomId
})
after(() => test[Symbol.asyncDispose]())

function global(client: Client, type: string): string {
  return `/user/${encodeURIComponent(client.userId)}/account_data/${type}`
}

function inRoom(client: Client, roomId: string, rest: string): string {
  return `/user/${encodeURIComponent(client.userId)}/rooms/${encodeURIComponent(roomId)}/${rest}`
}

async function stored(client: Client, type: string, roomId?: string) {
  const user = (await instance.storage.first('user', { userId: client.userId }))!.key
  const room = roomId ? (await instance.storage.first('room', { roomId }))!.key : 0
  return instance.storage.first('accountData', { user, room, type })
}

describe('global account data', () => {
  it('comes back as it was, unknown keys and fractions included', async () => {
    const content = { a: [1.5, { __b: null }], 'c.d': 'ü', nested: { deep: { deeper: true } } }
    assert.deepEqual((await test.owner.put(global(test.owner, 'org.example.test'), content)).body, {})
    assert.deepEqual((await test.owner.get(global(test.owner, 'org.example.test'))).body, content)
  })

  it('is 404 M_NOT_FOUND where nothing was set, and {} where it was emptied', async () => {
    const missing = await test.owner.get(global(test.owner, 'm.secret_storage.default_key'))
    assert.deepEqual([missing.status, missing.body.errcode], [404, 'M_NOT_FOUND'])
    await test.owner.put(global(test.owner, 'org.example.empty'), {})
    assert.deepEqual((await test.owner.get(global(test.owner, 'org.example.empty'))).body, {})
  })

  it('takes a new position each time, the same content again too: clients wait for the echo', async () => {
    const path = global(test.owner, 'org.example.echo')
    await test.owner.put(path, { n: 1 })
    const first = (await stored(test.owner, 'org.example.echo'))!.position
    await test.owner.put(path, { n: 1 })
    assert.ok((await stored(test.owner, 'org.example.echo'))!.position > first)
  })

  it('wakes the bus for its user', async () => {
    const owner = (await instance.storage.first('user', { userId: test.owner.userId }))!.key
    const woken = new Promise<ReadonlySet<string>>((resolve) => {
      const stop = instance.bus.onAny((entry) => {
        if (!entry.users.includes(owner)) return
        stop()
        resolve(entry.kinds)
      })
    })
    await test.owner.put(global(test.owner, 'org.example.wake'), {})
    assert.ok((await woken).has('accountData'))
  })

  it('that the server keeps is not set, with 405', async () => {
    for (const type of ['m.fully_read', 'm.push_rules']) {
      for (const path of [global(test.owner, type), inRoom(test.owner, own, `account_data/${type}`)]) {
        const { status, body } = await test.owner.put(path, {})
        assert.deepEqual([status, body.errcode], [405, 'M_BAD_JSON'])
      }
    }
    const rules = await test.owner.get(global(test.owner, 'm.push_rules'))
    assert.equal(rules.body.global.override[0].rule_id, '.m.rule.master')
  })

  it('is an object, of a possible type', async () => {
    for (const raw of ['[]', '"text"', '7', 'null']) {
      const { status, body } = await test.owner.request('PUT', global(test.owner, 'x'), undefined, { raw })
      assert.deepEqual([raw, status, body.errcode], [raw, 400, 'M_BAD_JSON'])
    }
    assert.equal((await test.owner.request('PUT', global(test.owner, 'x'), undefined, { raw: '{' })).body.errcode, 'M_NOT_JSON')
    assert.equal((await test.owner.put(global(test.owner, 'x'.repeat(256)), {})).body.errcode, 'M_TOO_LARGE')
  })

  it('of another user is neither read nor set', async () => {
    for (const reply of [
      await test.owner.get(global(test.administrator, 'm.direct')),
      await test.owner.put(global(test.administrator, 'm.direct'), {}),
      await test.owner.get(inRoom(test.administrator, own, 'account_data/x')),
      await test.owner.put(inRoom(test.administrator, own, 'account_data/x'), {}),
      await test.owner.get(inRoom(test.administrator, own, 'tags')),
      await test.owner.put(inRoom(test.administrator, own, 'tags/x'), {}),
      await test.owner.request('DELETE', inRoom(test.administrator, own, 'tags/x')),
    ]) {
      assert.deepEqual([reply.status, reply.body.errcode], [403, 'M_FORBIDDEN'])
    }
  })
})

describe('account data of a room', () => {
  it('is kept per room', async () => {
    await test.owner.put(inRoom(test.owner, own, 'account_data/m.marked_unread'), { unread: true, 'com.beeper.x': 1 })
    assert.deepEqual((await test.owner.get(inRoom(test.owner, own, 'account_data/m.marked_unread'))).body, {
      unread: true,
      'com.beeper.x': 1,
    })
    const other = await test.owner.get(inRoom(test.owner, portal, 'account_data/m.marked_unread'))
    assert.deepEqual([other.status, other.body.errcode], [404, 'M_NOT_FOUND'])
  })

  it('of a room that one was never in is like that of a room that does not exist', async () => {
    const stranger = await test.register('stranger')
    for (const [method, rest] of [
      ['GET', 'account_data/x'],
      ['PUT', 'account_data/x'],
      ['GET', 'tags'],
      ['PUT', 'tags/x'],
      ['DELETE', 'tags/x'],
    ] as const) {
      const body = method === 'PUT' ? {} : undefined
      const foreign = await stranger.request(method, inRoom(stranger, own, rest), body)
      const unknown = await stranger.request(method, inRoom(stranger, '!none:example.com', rest), body)
      assert.deepEqual([foreign.status, foreign.body], [unknown.status, unknown.body])
      assert.deepEqual([foreign.status, foreign.body.errcode], [403, 'M_FORBIDDEN'])
    }
  })
})

describe('tags', () => {
  it('are set, listed and taken off; what is left is kept even when it is empty', async () => {
    assert.deepEqual((await test.owner.get(inRoom(test.owner, own, 'tags'))).body, { tags: {} })
    await test.owner.put(inRoom(test.owner, own, 'tags/m.favourite'), { order: 0.25, 'fi.mau.double_puppet_source': 'x' })
    await test.owner.put(inRoom(test.owner, own, 'tags/u.work'), {})
    const tags = { 'm.favourite': { order: 0.25, 'fi.mau.double_puppet_source': 'x' }, 'u.work': {} }
    assert.deepEqual((await test.owner.get(inRoom(test.owner, own, 'tags'))).body, { tags })
    assert.deepEqual((await test.owner.get(inRoom(test.owner, own, 'account_data/m.tag'))).body, { tags })
    for (const tag of ['m.favourite', 'u.work', 'u.work', '__proto__']) {
      assert.deepEqual((await test.owner.request('DELETE', inRoom(test.owner, own, `tags/${tag}`))).body, {})
    }
    assert.equal((await stored(test.owner, 'm.tag', own))?.content, '{"tags":{}}')
  })

  it('set at the same time are all kept', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, n) => test.owner.put(inRoom(test.owner, portal, `tags/u.${n}`), { order: n / 20 })))
    assert.equal(Object.keys((await test.owner.get(inRoom(test.owner, portal, 'tags'))).body.tags).length, 20)
  })

  it('have names of at most 255 bytes', async () => {
    assert.equal((await test.owner.put(inRoom(test.owner, own, `tags/${'x'.repeat(256)}`), {})).body.errcode, 'M_TOO_LARGE')
  })
})

describe('an appservice acting as the owner', () => {
  const as = () => bridge.as(test.owner.userId)

  it('keeps m.direct, and no other global account data', async () => {
    const content = { [bridge.ghost(1)]: [portal] }
    assert.equal((await as().request('PUT', global(test.owner, 'm.direct'), content)).status, 200)
    assert.deepEqual((await as().request('GET', global(test.owner, 'm.direct'))).body, content)
    for (const type of ['m.secret_storage.default_key', 'org.example.test']) {
      assert.equal((await as().request('GET', global(test.owner, type))).status, 403)
      assert.equal((await as().request('PUT', global(test.owner, type), {})).status, 403)
    }
  })

  it('tags and marks rooms that have a user of it, and no others', async () => {
    for (const [method, rest] of [
      ['PUT', 'tags/m.favourite'],
      ['GET', 'tags'],
      ['DELETE', 'tags/m.favourite'],
      ['PUT', 'account_data/m.marked_unread'],
      ['GET', 'account_data/m.marked_unread'],
    ] as const) {
      const body = method === 'PUT' ? {} : undefined
      assert.equal((await as().request(method, inRoom(test.owner, portal, rest), body)).status, 200)
      const foreign = await as().request(method, inRoom(test.owner, own, rest), body)
      assert.deepEqual([foreign.status, foreign.body.errcode], [403, 'M_FORBIDDEN'])
    }
  })
})

describe('GraphQL', () => {
  it('reads and writes the same account data and tags', async () => {
    const { errors } = await test.owner.graphql(
      `mutation ($room: ID!) {
        global: setAccountData(type: "org.example.gql", content: { a: 1 })
        room: setAccountData(roomId: $room, type: "org.example.gql", content: { b: 2 })
        setTag(roomId: $room, tag: "u.gql", content: { order: 1 })
      }`,
      { room: own },
    )
    assert.equal(errors, undefined)
    assert.deepEqual((await test.owner.get(global(test.owner, 'org.example.gql'))).body, { a: 1 })
    assert.deepEqual((await test.owner.get(inRoom(test.owner, own, 'account_data/org.example.gql'))).body, { b: 2 })
    const { data } = await test.owner.graphql(
      `query ($room: ID!) { tags(roomId: $room) accountData(type: "org.example.gql") viewer { accountData { type content } } }`,
      { room: own },
    )
    assert.deepEqual(data.tags, { 'u.gql': { order: 1 } })
    assert.deepEqual(data.accountData, { a: 1 })
    assert.ok(data.viewer.accountData.some((each: { type: string }) => each.type === 'org.example.gql'))
  })
})
