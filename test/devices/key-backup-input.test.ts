// What clients send into a backup that no client should.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { startServer, type TestServer } from '../rig/server.ts'
import { accepted, algorithm, Backups, key, refused } from './backup-rig.ts'

describe('bad input to backups', () => {
  let server: TestServer
  let backups: Backups
  let version: string
  before(async () => {
    server = await startServer()
  })
  after(() => server[Symbol.asyncDispose]())
  let person = 0
  beforeEach(async () => {
    backups = new Backups(await server.register(`person${person++}`))
    version = await backups.make()
  })

  const one = (given: unknown) => backups.try('PUT', version, ['!a:b', 'one'], given)
  const raw = (text: string) => backups.client.request('PUT', `/room_keys/keys/!a:b/one?version=${version}`, undefined, { raw: text })
  const nothingIsStored = async () => assert.deepEqual([(await backups.info()).count, await backups.get(version)], [0, { rooms: {} }])

  test('keys of the wrong shape are refused with what is wrong, and none of the request is stored', async () => {
    const wrong: [object, string][] = [
      [{ is_verified: 1 }, 'M_BAD_JSON'],
      [{ is_verified: 'true' }, 'M_BAD_JSON'],
      [{ is_verified: null }, 'M_BAD_JSON'],
      [{ is_verified: undefined }, 'M_MISSING_PARAM'],
      [{ first_message_index: -1 }, 'M_INVALID_PARAM'],
      [{ first_message_index: '0' }, 'M_BAD_JSON'],
      [{ first_message_index: 1.5 }, 'M_BAD_JSON'],
      [{ first_message_index: 2 ** 31 }, 'M_INVALID_PARAM'],
      [{ first_message_index: undefined }, 'M_MISSING_PARAM'],
      [{ forwarded_count: -1 }, 'M_INVALID_PARAM'],
      [{ forwarded_count: [] }, 'M_BAD_JSON'],
      [{ forwarded_count: undefined }, 'M_MISSING_PARAM'],
      [{ session_data: 'opaque' }, 'M_BAD_JSON'],
      [{ session_data: [] }, 'M_BAD_JSON'],
      [{ session_data: null }, 'M_BAD_JSON'],
      [{ session_data: { x: 0.5 } }, 'M_BAD_JSON'],
      [{ session_data: undefined }, 'M_MISSING_PARAM'],
    ]
    for (const [more, errcode] of wrong) {
      const given = { ...key(), ...more }
      refused(await one(given), 400, errcode)
      refused(await backups.try('PUT', version, ['!a:b'], { sessions: { good: key(), bad: given } }), 400, errcode)
      const rooms = { '!a:b': { sessions: { good: key() } }, '!c:d': { sessions: { 'line\nbreak': given } } }
      refused(await backups.try('PUT', version, [], { rooms }), 400, errcode)
    }
    await nothingIsStored()
    assert.equal((await one(key({ first_message_index: 2 ** 31 - 1 }))).status, 200)
  })

  test('numbers that are not whole, too large, or twice there are refused as text too', async () => {
    const text = JSON.stringify(key())
    for (const [from, to] of [
      ['"first_message_index":0', '"first_message_index":0.0'],
      ['"first_message_index":0', '"first_message_index":1e3'],
      ['"first_message_index":0', '"first_message_index":9007199254740993'],
      ['"first_message_index":0', '"first_message_index":-0'],
      ['"forwarded_count":0', '"forwarded_count":0,"forwarded_count":1'],
    ] as const) {
      refused(await raw(text.replace(from, to)), 400, 'M_BAD_JSON')
    }
    for (const broken of ['', '{', 'null', '[]', '"x"', '\ufffe']) assert.equal((await raw(broken)).status, 400, broken)
    await nothingIsStored()
  })

  test('bodies of the wrong shape are refused', async () => {
    for (const body of [{}, { sessions: {} }, { rooms: [] }, { rooms: null }, { rooms: 'x' }]) {
      assert.equal((await backups.try('PUT', version, [], body)).status, 400, JSON.stringify(body))
    }
    for (const room of [null, [], 'x', {}, { sessions: null }, { sessions: [] }, { sessions: { one: null } }, { sessions: { one: [] } }]) {
      const reply = await backups.try('PUT', version, [], { rooms: { '!a:b': room } })
      assert.equal(reply.status, 400, JSON.stringify(room))
      assert.equal((await backups.try('PUT', version, ['!a:b'], room)).status, 400, JSON.stringify(room))
    }
    for (const method of ['GET', 'PUT', 'DELETE']) {
      refused(await backups.client.request(method, '/room_keys/keys', { rooms: {} }), 400, 'M_MISSING_PARAM')
      refused(await backups.client.request(method, '/room_keys/keys/!a:b', { sessions: {} }), 400, 'M_MISSING_PARAM')
      refused(await backups.client.request(method, '/room_keys/keys/!a:b/one', key()), 400, 'M_MISSING_PARAM')
    }
    await nothingIsStored()
  })

  test('ids of odd characters are taken as they are; what cannot be stored is refused', async () => {
    const ids = [
      'a/b',
      'a%2Fb',
      '../..',
      '?version=9',
      ' ',
      '"\\',
      'line\nbreak',
      '__proto__',
      'constructor',
      '😀',
      '\u0001',
      "'; --",
      'k1.x',
    ]
    const sessions = Object.fromEntries(ids.map((id, i) => [id, key({ first_message_index: i })]))
    const rooms = Object.fromEntries(ids.map((id) => [id, { sessions }]))
    assert.equal((await backups.put(version, { rooms })).count, ids.length ** 2)
    const stored = (await backups.get(version)).rooms
    assert.deepEqual(Object.keys(stored).sort(), ids.toSorted())
    for (const id of ids) {
      assert.deepEqual(Object.keys(stored[id].sessions).sort(), ids.toSorted())
      if (id.startsWith('..')) continue
      assert.deepEqual(await backups.get(version, id, ids[5]!), key({ first_message_index: 5 }))
      await backups.remove(version, id, ids[5]!)
      refused(await backups.try('GET', version, [id, ids[5]!]), 404, 'M_NOT_FOUND')
    }
    const before = await backups.info()
    for (const [id, errcode, status] of [
      ['', 'M_INVALID_PARAM', 400],
      ['a\0b', 'M_INVALID_PARAM', 400],
      ['\ud800', 'M_INVALID_PARAM', 400],
      ['x'.repeat(256), 'M_TOO_LARGE', 413],
      ['é'.repeat(128), 'M_TOO_LARGE', 413],
    ] as const) {
      refused(await backups.try('PUT', version, [], { rooms: { '!a:b': { sessions: { [id]: key() } } } }), status, errcode)
      refused(await backups.try('PUT', version, [], { rooms: { [id]: { sessions: { one: key() } } } }), status, errcode)
    }
    assert.deepEqual(await backups.info(), before)
    assert.equal((await backups.put(version, key(), 'x'.repeat(255), 'y'.repeat(255))).count, before.count + 1)
  })

  test('what is too large is 413 M_TOO_LARGE: a key, keys of one request, its body, and auth_data', async () => {
    const large = (bytes: number) => ({ x: 'x'.repeat(bytes - '{"x":""}'.length) })
    refused(await one(key({ session_data: large(65_537) })), 413, 'M_TOO_LARGE')
    const many = Object.fromEntries(Array.from({ length: 5_001 }, (_, i) => [`s${i}`, key({ session_data: {} })]))
    refused(await backups.try('PUT', version, ['!a:b'], { sessions: many }), 413, 'M_TOO_LARGE')
    for (const place of [[], ['!a:b']]) {
      const text = 'x'.repeat(16_777_217)
      const path = `/room_keys/keys${place.map((part) => `/${part}`).join('')}?version=${version}`
      refused(await backups.client.request('PUT', path, undefined, { raw: text }), 413, 'M_TOO_LARGE')
    }
    const described = (authData: object) => backups.client.request('POST', '/room_keys/version', { algorithm, auth_data: authData })
    refused(await described(large(65_537)), 413, 'M_TOO_LARGE')
    await nothingIsStored()
    accepted(await one(key({ session_data: large(65_536) })))
    accepted(await described(large(65_536)))
  })

  test('backups of the wrong shape are refused, and there are 100 at most', async () => {
    const describedAs = (body: object) => backups.client.request('POST', '/room_keys/version', body)
    refused(await describedAs({ auth_data: {} }), 400, 'M_MISSING_PARAM')
    refused(await describedAs({ algorithm }), 400, 'M_MISSING_PARAM')
    refused(await describedAs({ algorithm: 1, auth_data: {} }), 400, 'M_BAD_JSON')
    refused(await describedAs({ algorithm: '', auth_data: {} }), 400, 'M_INVALID_PARAM')
    refused(await describedAs({ algorithm: 'a\0', auth_data: {} }), 400, 'M_INVALID_PARAM')
    refused(await describedAs({ algorithm: 'x'.repeat(256), auth_data: {} }), 413, 'M_TOO_LARGE')
    refused(await describedAs({ algorithm, auth_data: 'text' }), 400, 'M_BAD_JSON')
    refused(await describedAs({ algorithm, auth_data: { x: 1.5 } }), 400, 'M_BAD_JSON')
    for (let i = 2; i <= 100; i++) assert.equal(await backups.make(), String(i))
    refused(await describedAs({ algorithm, auth_data: {} }), 403, 'M_RESOURCE_LIMIT_EXCEEDED')
    accepted(await backups.drop('50'))
    assert.equal(await backups.make(), '101')
  })

  test('deleted versions leave one row, however many there were', async () => {
    const instance = await server.server.host.defaultInstance()
    const user = (await instance.storage.first('user', { userId: (backups.client as { userId?: string }).userId! }))!.key
    for (let i = 0; i < 30; i++) {
      accepted(await backups.drop(version))
      version = await backups.make()
    }
    accepted(await backups.drop(version))
    assert.equal(await instance.storage.count('backupVersion', { user }), 1)
    assert.equal(await backups.make(), '32')
    assert.equal(await instance.storage.count('backupVersion', { user }), 1)
  })
})
