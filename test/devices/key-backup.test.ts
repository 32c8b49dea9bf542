// Backups of room keys: versions, keys, counts and etags.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import { startServer } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { accepted, algorithm, Backups, type Key, key, keysPath, refused } from './backup-rig.ts'

await onBothServers('backups of room keys', (start) => {
  test('versions count up and are never given twice; the newest that is not deleted is the current one', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    refused(await backups.tryInfo(), 404, 'M_NOT_FOUND')
    const signed = { public_key: 'abc', signatures: { '@a:b': { 'ed25519:X': 'y' } }, ['__proto__']: 1, 'x.unknown': [null, {}] }
    assert.equal(await backups.make(signed), '1')
    const expected = { version: '1', algorithm, auth_data: signed, count: 0, etag: '0' }
    assert.equal(JSON.stringify(await backups.info()), JSON.stringify(expected))
    assert.equal(await backups.make(), '2')
    assert.equal(await backups.make({}), '3')
    assert.equal((await backups.info()).version, '3')
    assert.equal((await backups.info('1')).version, '1')
    accepted(await backups.drop('3'))
    assert.equal((await backups.info()).version, '2')
    refused(await backups.tryInfo('3'), 404, 'M_NOT_FOUND')
    await server.restart()
    assert.equal(await backups.make(), '4')
    assert.equal((await backups.info()).version, '4')
  })

  test('delete-until-404 loop: each deletion makes the next older one current, and the loop ends', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    for (let i = 1; i <= 4; i++) assert.equal(await backups.make(), String(i))
    await backups.put('4', { rooms: { '!a:b': { sessions: { one: key() } } } })
    const deleted: string[] = []
    for (let reply = await backups.tryInfo(); reply.status !== 404; reply = await backups.tryInfo()) {
      deleted.push(accepted(reply).version)
      assert.deepEqual(accepted(await backups.drop(deleted.at(-1)!)), {})
    }
    assert.deepEqual(deleted, ['4', '3', '2', '1'])
    assert.equal(await backups.make(), '5')
  })

  test('a deletion that is repeated is none; only a version that there never was is 404', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    for (const version of ['1', '0', 'x', '99999999999999999999']) refused(await backups.drop(version), 404, 'M_NOT_FOUND')
    for (const version of ['1', '2', '3']) assert.equal(await backups.make(), version)
    for (const version of ['2', '3', '2', '3', '1', '1']) assert.deepEqual(accepted(await backups.drop(version)), {})
    await server.restart()
    for (const version of ['1', '2', '3']) assert.deepEqual(accepted(await backups.drop(version)), {})
    refused(await backups.drop('4'), 404, 'M_NOT_FOUND')
    refused(await backups.tryInfo(), 404, 'M_NOT_FOUND')
  })

  test('only the auth_data of a backup can be changed; another algorithm or another version in the body is 400', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    const [old, current] = [await backups.make(), await backups.make()]
    const put = (version: string, body: object) => server.owner.put(`/room_keys/version/${version}`, body)
    const auth_data = { public_key: 'other' }
    assert.deepEqual(accepted(await put(current, { algorithm, auth_data, version: current })), {})
    assert.deepEqual(accepted(await put(old, { algorithm, auth_data: {} })), {})
    assert.deepEqual((await backups.info()).auth_data, auth_data)
    assert.deepEqual((await backups.info(old)).auth_data, {})
    refused(await put(current, { algorithm: 'other', auth_data }), 400, 'M_INVALID_PARAM')
    refused(await put(current, { algorithm, auth_data, version: old }), 400, 'M_INVALID_PARAM')
    refused(await put('3', { algorithm, auth_data }), 404, 'M_NOT_FOUND')
    accepted(await backups.drop(old))
    refused(await put(old, { algorithm, auth_data }), 404, 'M_NOT_FOUND')
  })

  test('keys are put, read and deleted one by one, by room and all at once, and are what they were', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    const data = { ciphertext: 'a/b+c', ephemeral: 'e', mac: 'm', 'x.more': [1, null, { '': '\u0000😀' }] }
    const [one, two, three] = [key({ session_data: data }), key({ is_verified: true, first_message_index: 7 }), key({ forwarded_count: 3 })]
    assert.deepEqual(await backups.get(version), { rooms: {} })
    assert.deepEqual(await backups.get(version, '!a:b'), { sessions: {} })
    refused(await backups.try('GET', version, ['!a:b', 'one']), 404, 'M_NOT_FOUND')
    assert.deepEqual(await backups.put(version, one, '!a:b', 'o/n+e'), { etag: '1', count: 1 })
    assert.deepEqual(await backups.put(version, { sessions: { two } }, '!a:b'), { etag: '2', count: 2 })
    const all = { rooms: { '!c:d': { sessions: { three } }, '!a:b': { sessions: { four: three } }, '!none:b': { sessions: {} } } }
    assert.deepEqual(await backups.put(version, all), { etag: '3', count: 4 })
    assert.equal(JSON.stringify(await backups.get(version, '!a:b', 'o/n+e')), JSON.stringify(one))
    const ofRoom = { 'o/n+e': one, two, four: three }
    assert.deepEqual(await backups.get(version, '!a:b'), { sessions: ofRoom })
    assert.deepEqual(await backups.get(version), { rooms: { '!a:b': { sessions: ofRoom }, '!c:d': { sessions: { three } } } })
    refused(await backups.try('GET', version, ['!c:d', 'two']), 404, 'M_NOT_FOUND')
    assert.deepEqual([(await backups.info()).count, (await backups.info()).etag], [4, '3'])

    assert.deepEqual(await backups.remove(version, '!a:b', 'two'), { etag: '4', count: 3 })
    assert.deepEqual(await backups.remove(version, '!a:b', 'two'), { etag: '4', count: 3 })
    assert.deepEqual(await backups.remove(version, '!c:d', 'three'), { etag: '5', count: 2 })
    assert.deepEqual(await backups.get(version), { rooms: { '!a:b': { sessions: { 'o/n+e': one, four: three } } } })
    assert.deepEqual(await backups.remove(version, '!nowhere:b'), { etag: '5', count: 2 })
    assert.deepEqual(await backups.remove(version, '!a:b'), { etag: '6', count: 0 })
    assert.deepEqual(await backups.get(version, '!a:b'), { sessions: {} })
    await backups.put(version, all)
    assert.deepEqual(await backups.remove(version), { etag: '8', count: 0 })
    assert.deepEqual(await backups.remove(version), { etag: '8', count: 0 })
    assert.deepEqual(await backups.get(version), { rooms: {} })
    assert.deepEqual(await backups.put(version, { sessions: { two } }, '!a:b'), { etag: '9', count: 1 })
    assert.deepEqual(await backups.get(version), { rooms: { '!a:b': { sessions: { two } } } })
  })

  test('backup conflict matrix: a key that is there gives way to a verified one, then to a lower index, then to a lower forwarded count', async (t) => {
    await using server = await start()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    const as = (is_verified: boolean, first_message_index: number, forwarded_count: number): Key =>
      key({ is_verified, first_message_index, forwarded_count })
    const cases: [stored: Key, given: Key, replaces: boolean][] = [
      // Those of Complement: what does not replace.
      [as(false, 10, 5), as(false, 11, 5), false],
      [as(false, 10, 5), as(false, 10, 6), false],
      [as(false, 10, 5), as(false, 11, 6), false],
      [as(true, 10, 5), as(false, 11, 5), false],
      [as(true, 10, 5), as(false, 10, 6), false],
      [as(true, 10, 5), as(false, 11, 6), false],
      [as(true, 10, 5), as(true, 11, 5), false],
      [as(true, 10, 5), as(true, 10, 6), false],
      [as(true, 10, 5), as(true, 11, 6), false],
      // "if they have different values for is_verified": nothing else counts then.
      [as(true, 10, 5), as(false, 0, 0), false],
      [as(false, 0, 0), as(true, 10, 5), true],
      [as(false, 10, 5), as(false, 9, 6), true],
      [as(false, 9, 6), as(false, 10, 5), false],
      [as(true, 10, 5), as(true, 10, 4), true],
      [as(true, 10, 5), as(true, 10, 5), false],
    ]
    for (const [i, [stored, given, replaces]] of cases.entries()) {
      await t.test(`${JSON.stringify(stored)} ${replaces ? 'gives way to' : 'stays before'} ${JSON.stringify(given)}`, async () => {
        const place = ['!a:b', `session ${i}`]
        const before = await backups.put(version, { ...stored, session_data: { is: 'stored' } }, ...place)
        assert.equal(before.count, i + 1)
        const after = await backups.put(version, { ...given, session_data: { is: 'given' } }, ...place)
        assert.deepEqual([after.count, after.etag !== before.etag], [i + 1, replaces])
        const kept = replaces ? { ...given, session_data: { is: 'given' } } : { ...stored, session_data: { is: 'stored' } }
        assert.deepEqual(await backups.get(version, ...place), kept)
      })
    }
  })

  test('the etag changes whenever a stored key changes and only then, and the count is exact', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    const [a, b] = [key({ first_message_index: 5 }), key({ first_message_index: 4 })]
    const etags: string[] = []
    const put = async (sessions: object, count: number) => {
      const answer = await backups.put(version, { rooms: { '!a:b': { sessions } } })
      assert.deepEqual([answer.count, answer.etag], [count, (await backups.info()).etag])
      etags.push(answer.etag)
    }
    await put({}, 0)
    await put({ one: a, two: a }, 2)
    await put({ one: a, two: a }, 2)
    await put({ one: a, two: b, three: b }, 3)
    await put({ one: a, two: a, three: a }, 3)
    await put({ one: b, two: a }, 3)
    await server.owner.put(`/room_keys/version/${version}`, { algorithm, auth_data: { other: true } })
    await put({ one: b }, 3)
    assert.deepEqual(etags, ['0', '1', '1', '2', '2', '3', '3'])
  })

  test('wrong version: 403 M_WRONG_ROOM_KEYS_VERSION with current_version; a version that is not there is 404', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    for (let i = 1; i <= 3; i++) await backups.make()
    await backups.put('3', key(), '!a:b', 'one')
    accepted(await backups.drop('1'))
    const bodies: [string[], object][] = [
      [[], { rooms: { '!a:b': { sessions: { one: key() } } } }],
      [['!a:b'], { sessions: { one: key() } }],
      [['!a:b', 'one'], key()],
    ]
    for (const [place, body] of bodies) {
      const old = await backups.try('PUT', '2', place, body)
      refused(old, 403, 'M_WRONG_ROOM_KEYS_VERSION')
      assert.equal(old.body.current_version, '3')
      for (const version of ['1', '4', '0', '-1', 'x', '1e0']) {
        refused(await backups.try('PUT', version, place, body), 404, 'M_NOT_FOUND')
        refused(await backups.try('GET', version, place), 404, 'M_NOT_FOUND')
        refused(await backups.try('DELETE', version, place), 404, 'M_NOT_FOUND')
      }
    }
    assert.deepEqual([(await backups.info('2')).count, (await backups.info('3')).count], [0, 1])
    accepted(await backups.drop('3'))
    assert.deepEqual(await backups.put('2', key(), '!a:b', 'one'), { etag: '1', count: 1 })
  })

  test('an older backup is read and its keys are deleted as before, it only takes no new ones', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    const old = await backups.make()
    await backups.put(old, { sessions: { one: key(), two: key() } }, '!a:b')
    await backups.make()
    assert.deepEqual(Object.keys((await backups.get(old, '!a:b')).sessions), ['one', 'two'])
    assert.deepEqual(await backups.remove(old, '!a:b', 'one'), { etag: '2', count: 1 })
    assert.deepEqual(await backups.get(old), { rooms: { '!a:b': { sessions: { two: key() } } } })
  })

  test('many clients put keys at once: each key is counted once, the best one stays, and no etag is given for two states', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    const puts = Array.from({ length: 40 }, (_, i) => {
      const own = { [`own ${i}`]: key(), shared: key({ first_message_index: 100 - i }) }
      return backups.put(version, { rooms: { '!a:b': { sessions: own }, [`!r${i % 3}:b`]: { sessions: { [`${i}`]: key() } } } })
    })
    const answers = await Promise.all(puts)
    const { count, etag } = await backups.info()
    assert.deepEqual([count, etag], [81, '40'])
    assert.equal(new Set(answers.map((answer) => answer.etag)).size, 40)
    assert.deepEqual(
      answers.map((answer) => Number(answer.etag)).sort((a, b) => a - b),
      Array.from({ length: 40 }, (_, i) => i + 1),
    )
    for (const answer of answers) assert.ok(answer.count >= 2 * Number(answer.etag) && answer.count <= 2 * Number(answer.etag) + 1)
    const { rooms } = await backups.get(version)
    assert.equal(Object.values(rooms).flatMap((room) => Object.keys((room as { sessions: object }).sessions)).length, 81)
    assert.equal(rooms['!a:b'].sessions.shared.first_message_index, 61)
    await Promise.all(Array.from({ length: 20 }, (_, i) => backups.remove(version, '!a:b', `own ${i}`)))
    assert.deepEqual([(await backups.info()).count, (await backups.info()).etag], [61, '60'])
  })

  test('everybody has backups of their own', async () => {
    await using server = await start()
    const [mine, theirs] = [new Backups(server.owner), new Backups(await server.register('bob'))]
    const version = await mine.make()
    await mine.put(version, key(), '!a:b', 'one')
    refused(await theirs.tryInfo(version), 404, 'M_NOT_FOUND')
    refused(await theirs.try('GET', version, []), 404, 'M_NOT_FOUND')
    assert.equal(await theirs.make(), '1')
    assert.deepEqual(await theirs.get('1'), { rooms: {} })
    accepted(await theirs.drop('1'))
    assert.deepEqual(await mine.get(version), { rooms: { '!a:b': { sessions: { one: key() } } } })
  })
})

describe('who has backups', () => {
  test('an as_token keeps none for the owner and reads none of the owner’s, on both faces; its own users have their own', async () => {
    await using server = await startServer()
    const mine = new Backups(server.owner)
    const version = await mine.make()
    await mine.put(version, key(), '!a:b', 'one')
    const bridge = await registerBridge(server, 'one')
    const asOwner = new Backups(bridge.as(server.owner.userId))
    const asks: [string, string, object?][] = [
      ['GET', '/room_keys/version'],
      ['GET', `/room_keys/version/${version}`],
      ['POST', '/room_keys/version', { algorithm, auth_data: {} }],
      ['PUT', `/room_keys/version/${version}`, { algorithm, auth_data: {} }],
      ['DELETE', `/room_keys/version/${version}`],
      ['PUT', keysPath(version), { rooms: {} }],
      ['PUT', keysPath(version, ['!a:b']), { sessions: {} }],
      ['PUT', keysPath(version, ['!a:b', 'one']), key()],
      ...['GET', 'DELETE'].flatMap((method) =>
        [[], ['!a:b'], ['!a:b', 'one']].map((place): [string, string] => [method, keysPath(version, place)]),
      ),
    ]
    for (const [method, path, body] of asks) refused(await asOwner.client.request(method, path, body), 403, 'M_FORBIDDEN')
    const query =
      'query($v: ID!) { keyBackup { version } roomKeys(version: $v) roomKey(version: $v, roomId: "!a:b", sessionId: "one") { sessionId } }'
    const path = `/graphql?user_id=${encodeURIComponent(server.owner.userId)}`
    const headers = { 'content-type': 'application/json' }
    const { body } = await server.client(bridge.as_token).request('POST', path, { query, variables: { v: version } }, { headers })
    assert.deepEqual(
      body.errors.map((error: { extensions: object }) => error.extensions),
      [{ errcode: 'M_FORBIDDEN' }],
    )
    for (const userId of [bridge.botId, bridge.ghost(1)]) {
      const own = new Backups(bridge.as(userId))
      assert.equal(await own.make(), '1')
      assert.deepEqual(await own.put('1', key(), '!a:b', 'one'), { etag: '1', count: 1 })
      assert.deepEqual(await own.get('1', '!a:b', 'one'), key())
    }
    assert.deepEqual((await mine.info()).etag, '1')
  })

  test('without a token there is nothing to ask for', async () => {
    await using server = await startServer()
    refused(await server.request('GET', '/room_keys/version'), 401, 'M_MISSING_TOKEN')
    refused(await server.request('PUT', keysPath('1'), { rooms: {} }), 401, 'M_MISSING_TOKEN')
  })

  test('by GraphQL: a backup is made, filled, paged through, changed and deleted', async () => {
    await using server = await startServer()
    const ask = async (query: string, variables: Record<string, unknown> = {}) => {
      const { data, errors } = await server.owner.graphql(query, variables)
      assert.equal(errors, undefined, JSON.stringify(errors))
      return data
    }
    const make = 'mutation($a: JsonObject!) { createKeyBackup(algorithm: "x", authData: $a) { version count etag authData createdAt } }'
    const { createKeyBackup } = await ask(make, { a: { public_key: 'p' } })
    assert.deepEqual(
      { ...createKeyBackup, createdAt: 0 },
      { version: '1', count: 0, etag: '0', authData: { public_key: 'p' }, createdAt: 0 },
    )
    const keys = Array.from({ length: 25 }, (_, i) => ({
      roomId: `!r${i % 4}:a`,
      sessionId: `s${i}`,
      firstMessageIndex: i,
      forwardedCount: 0,
      isVerified: i % 2 === 0,
      sessionData: { i },
    }))
    const put = 'mutation($k: [RoomKeyInput!]!) { putRoomKeys(version: "1", keys: $k) { count etag } }'
    // The same key twice: the better one is put.
    const twice = [{ ...keys[3]!, firstMessageIndex: 99 }, ...keys]
    assert.deepEqual((await ask(put, { k: twice })).putRoomKeys, { count: 25, etag: '1' })
    const page = `query($first: Int, $after: String) { keyBackup { keys(first: $first, after: $after) {
      pageInfo { hasNextPage endCursor } nodes: edges { node { roomId sessionId firstMessageIndex forwardedCount isVerified sessionData } } } } }`
    interface Page {
      nodes: { node: (typeof keys)[0] }[]
      pageInfo: { hasNextPage: boolean; endCursor: string }
    }
    const found: (typeof keys)[0][] = []
    for (let after: string | null = null, more = true; more; ) {
      const { nodes, pageInfo }: Page = (await ask(page, { first: 4, after })).keyBackup.keys
      found.push(...nodes.map(({ node }) => node))
      after = pageInfo.endCursor
      more = pageInfo.hasNextPage
      assert.ok(nodes.length === 4 || !more)
    }
    const byId = (a: { sessionId: string }, b: { sessionId: string }) => (a.sessionId < b.sessionId ? -1 : 1)
    assert.deepEqual(found.sort(byId), keys.toSorted(byId))
    for (const args of ['first: 0', 'first: 1001', 'last: 2', 'after: "x"', 'before: "k0.a"']) {
      const { errors } = await server.owner.graphql(`{ keyBackup { keys(${args}) { pageInfo { hasNextPage } } } }`)
      assert.equal(errors[0].extensions.errcode, 'M_INVALID_PARAM', args)
    }
    const { roomKey, roomKeys } = await ask(
      '{ roomKey(version: 1, roomId: "!r1:a", sessionId: "s5") { sessionData } roomKeys(version: 1, roomId: "!r1:a") }',
    )
    assert.deepEqual([roomKey, Object.keys(roomKeys.sessions).length], [{ sessionData: { i: 5 } }, 6])
    const change =
      'mutation { updateKeyBackup(version: 1, algorithm: "x", authData: {}) { authData } deleteRoomKeys(version: 1, roomId: "!r0:a") { count } }'
    assert.deepEqual(await ask(change), { updateKeyBackup: { authData: {} }, deleteRoomKeys: { count: 18 } })
    assert.deepEqual(await ask('mutation { deleteKeyBackup(version: 1) }'), { deleteKeyBackup: true })
    const codes = async (query: string) => (await server.owner.graphql(query)).errors[0].extensions.errcode
    assert.equal(await codes('{ keyBackup { version } }'), 'M_NOT_FOUND')
    assert.equal(await codes('mutation { deleteRoomKeys(version: 1, sessionId: "s") { count } }'), 'M_INVALID_PARAM')
    await ask(
      'mutation { a: createKeyBackup(algorithm: "x", authData: {}) { version } b: createKeyBackup(algorithm: "x", authData: {}) { version } }',
    )
    const wrong = await server.owner.graphql(`mutation { putRoomKeys(version: 2, keys: []) { count } }`)
    assert.deepEqual(wrong.errors[0].extensions, { errcode: 'M_WRONG_ROOM_KEYS_VERSION', current_version: '3' })
  })
})
