import assert from 'node:assert/strict'
import { after, beforeEach, describe, test } from 'node:test'
import type { InjectOptions } from 'fastify'
import { createApp } from '../../shim/app.ts'
import type { Engine } from '../../src/graphql/execute.ts'
import { fakeHost } from './fake-host.ts'
import { probe, probeEndpoints, probeSchema, reset } from './probe.ts'

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const alice = bearer('alice-token')
const bridge = bearer('as-token')

for (const engine of ['graphql-js', 'graphql-jit'] satisfies Engine[]) {
  describe(`with ${engine}`, () => {
    const host = fakeHost()
    const done: unknown[] = []
    const { fastify } = createApp({ host, schema: probeSchema, engine, endpoints: probeEndpoints, onDone: (one) => done.push(one) })
    beforeEach(reset)
    after(() => fastify.close())
    const ask = async (method: InjectOptions['method'], url: string, headers: Record<string, string> = {}, payload?: string | Buffer) => {
      const answer = await fastify.inject({ method: method!, url, headers, ...(payload !== undefined && { payload }) })
      return { status: answer.statusCode, headers: answer.headers, text: answer.body, body: answer.body ? JSON.parse(answer.body) : null }
    }
    const put = (url: string, body: unknown, headers: Record<string, string> = alice) =>
      ask('PUT', url, { ...headers, 'content-type': 'application/json' }, typeof body === 'string' ? body : JSON.stringify(body))
    const post = (url: string, body: unknown, headers: Record<string, string> = alice) =>
      ask('POST', url, { ...headers, 'content-type': 'application/json' }, typeof body === 'string' ? body : JSON.stringify(body))

    test('versions need no token, whoami does', async () => {
      const versions = await ask('GET', '/_matrix/client/versions')
      assert.equal(versions.status, 200)
      assert.ok(versions.body.versions.includes('v1.11'))
      assert.deepEqual((await ask('GET', '/_matrix/client/v3/account/whoami', alice)).body, {
        user_id: '@alice:localhost',
        device_id: 'PHONE',
        is_guest: false,
      })
      const refused = await ask('GET', '/_matrix/client/v3/account/whoami')
      assert.deepEqual([refused.status, refused.body.errcode], [401, 'M_MISSING_TOKEN'])
    })

    test('tokens come in the header or in the query, and an unknown one is 401', async () => {
      assert.equal((await ask('GET', '/_matrix/client/v3/account/whoami?access_token=bob-token')).body.user_id, '@bob:localhost')
      assert.equal((await ask('GET', '/_matrix/client/v3/account/whoami?access_token=bob-token', alice)).body.user_id, '@alice:localhost')
      assert.deepEqual((await ask('GET', '/_matrix/client/v3/account/whoami', bearer('nobody'))).body.errcode, 'M_UNKNOWN_TOKEN')
      assert.deepEqual(
        (await ask('GET', '/_matrix/client/v3/account/whoami', { authorization: 'Basic x' })).body.errcode,
        'M_MISSING_TOKEN',
      )
    })

    test('a prefix that disagrees with the token is refused', async () => {
      assert.equal((await ask('GET', '/_hungryserv/alice/_matrix/client/v3/account/whoami', alice)).status, 200)
      const other = await ask('GET', '/_hungryserv/bob/_matrix/client/v3/account/whoami', alice)
      assert.deepEqual([other.status, other.body.errcode], [401, 'M_UNKNOWN_TOKEN'])
      assert.equal((await ask('GET', '/_hungryserv/nobody/_matrix/client/versions')).status, 404)
      assert.equal((await ask('GET', '/_hungryserv/alice/_hungryserv/bob/_matrix/client/versions')).status, 404)
    })

    test('unknown paths are 404 and known ones with a wrong method 405, both M_UNRECOGNIZED and both with CORS', async () => {
      for (const [method, url, status] of [
        ['GET', '/_matrix/client/v3/nothing', 404],
        ['GET', '/', 404],
        ['DELETE', '/_matrix/client/versions', 405],
        ['POST', '/_matrix/client/r0/account/whoami', 405],
        ['PATCH', '/_matrix/client/v3/rooms/!r/join', 405],
        ['GET', '/_matrix/client/v3/rooms//join', 404],
      ] as const) {
        const answer = await ask(method, url)
        assert.deepEqual([url, answer.status, answer.body.errcode], [url, status, 'M_UNRECOGNIZED'])
        assert.equal(answer.headers['access-control-allow-origin'], '*')
      }
      assert.equal((await ask('DELETE', '/_matrix/client/versions')).headers['allow'], 'GET')
    })

    test('OPTIONS asks for no token and runs nothing', async () => {
      for (const url of ['/_matrix/client/v3/account/whoami', '/_matrix/client/v3/nothing']) {
        const answer = await ask('OPTIONS', url, { origin: 'https://app.element.io', 'access-control-request-method': 'PATCH' })
        assert.equal(answer.status, 204)
        assert.equal(answer.headers['access-control-allow-origin'], '*')
        assert.match(String(answer.headers['access-control-allow-methods']), /PATCH/)
        assert.match(String(answer.headers['access-control-allow-headers']), /Authorization/)
        assert.ok(Number(answer.headers['access-control-max-age']) > 0)
      }
    })

    test('the three spellings of an empty state key mean the same, under v3 and r0', async () => {
      for (const [url, stateKey] of [
        ['/_matrix/client/v3/rooms/!r:h/state/m.room.name', ''],
        ['/_matrix/client/v3/rooms/!r:h/state/m.room.name/', ''],
        ['/_matrix/client/r0/rooms/!r:h/state/m.room.name', ''],
        ['/_matrix/client/v3/rooms/!r:h/state/m.room.member/@a:h', '@a:h'],
        ['/_matrix/client/v3/rooms/%21r%3Ah/state/m.room.member/%40a%2Fb%3Ah', '@a/b:h'],
        ['/_matrix/client/v3/rooms/!r:h/state/a/%2525%23%3F', '%25#?'],
      ] as const) {
        reset()
        assert.equal((await put(url, {})).status, 200, url)
        const [seen] = probe.seen as { roomId: string; stateKey: string }[]
        assert.deepEqual([seen?.roomId, seen?.stateKey], ['!r:h', stateKey])
      }
    })

    test('what cannot stand in an identifier is refused', async () => {
      for (const url of ['%00', 'a%00b', '%FF', '%ED%A0%80', '%zz']) {
        const answer = await put(`/_matrix/client/v3/rooms/!r/state/m.type/${url}`, {})
        assert.ok(answer.status === 400 || answer.status === 404, `${url} ${answer.status}`)
        assert.ok(answer.body.errcode)
      }
      for (const name of ['\0', '\ud800']) {
        const answer = await post('/_matrix/client/v3/probe/shaped', { name })
        assert.deepEqual([answer.status, answer.body.errcode], [400, 'M_INVALID_PARAM'])
      }
      assert.equal((await post('/_matrix/client/v3/probe/shaped', { name: '💡', data: { text: 'a\0b' } })).status, 201)
      assert.equal((await ask('GET', '/_matrix/client/v3/account/whoami?user_id=%00', bridge)).body.errcode, 'M_INVALID_PARAM')
      assert.equal((await put(`/_matrix/client/v3/rooms/!r/state/m.type/${'a'.repeat(2_049)}`, {})).status, 400)
      assert.equal((await put(`/_matrix/client/v3/rooms/!r/state/m.type/${'a'.repeat(2_040)}`, {})).status, 200)
      assert.equal(probe.seen.length, 2)
    })

    test('bodies are taken with any content type or none, and an absent one where nothing is required', async () => {
      for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'nonsense', 'text/html; charset', '']) {
        const answer = await ask(
          'POST',
          '/_matrix/client/v3/rooms/!r/join',
          { ...alice, ...(type && { 'content-type': type }) },
          '{"reason":"because"}',
        )
        assert.equal(answer.status, 200, `${type}: ${answer.text}`)
      }
      assert.equal((await ask('POST', '/_matrix/client/v3/rooms/!r/join', alice)).status, 200)
      assert.equal((await ask('POST', '/_matrix/client/v3/rooms/!r/join', { ...alice, 'content-type': 'application/json' })).status, 200)
      const needed = await ask('POST', '/_matrix/client/v3/probe/shaped', alice)
      assert.deepEqual([needed.status, needed.body.errcode], [400, 'M_NOT_JSON'])
    })

    test('a wrong body or query is 400 with the right errcode', async () => {
      for (const [body, errcode] of [
        ['{', 'M_NOT_JSON'],
        ['nonsense', 'M_NOT_JSON'],
        [Buffer.from([0x22, 0xff, 0x22]).toString('latin1'), 'M_BAD_JSON'],
        ['[]', 'M_BAD_JSON'],
        ['null', 'M_BAD_JSON'],
        ['"text"', 'M_BAD_JSON'],
        ['{}', 'M_MISSING_PARAM'],
        ['{"name":1}', 'M_BAD_JSON'],
        ['{"name":null}', 'M_BAD_JSON'],
        ['{"name":"n","kind":"c"}', 'M_INVALID_PARAM'],
        ['{"name":"n","kind":1}', 'M_BAD_JSON'],
        ['{"name":"n","data":[]}', 'M_BAD_JSON'],
        [`{"name":${'['.repeat(200)}${']'.repeat(200)}}`, 'M_BAD_JSON'],
        ['{"__proto__":{"name":"n"}}', 'M_MISSING_PARAM'],
      ] as const) {
        const answer = await post('/_matrix/client/v3/probe/shaped', body)
        assert.deepEqual([body, answer.status, answer.body.errcode], [body, 400, errcode])
      }
      const invalid = await ask('POST', '/_matrix/client/v3/probe/shaped', alice, Buffer.from([0x7b, 0xff, 0x7d]))
      assert.equal(invalid.body.errcode, 'M_NOT_JSON')
      for (const query of ['limit=x', 'limit=0', 'limit=1.5', 'limit=99999999999999999', 'full=yes']) {
        const answer = await post(`/_matrix/client/v3/probe/shaped?${query}`, { name: 'n' })
        assert.deepEqual([query, answer.status, answer.body.errcode], [query, 400, 'M_INVALID_PARAM'])
      }
      assert.deepEqual(probe.seen, [])
    })

    test('a query is read by its schema', async () => {
      const answer = await post('/_matrix/client/v3/probe/shaped?limit=5&via=a&via=b&full=true&other=1', { name: 'n', kind: 'b' })
      assert.equal(answer.status, 201)
      assert.equal(answer.headers['etag'], '"1"')
      const [seen] = probe.seen as { content: { query: string } }[]
      assert.deepEqual(JSON.parse(seen!.content.query), { limit: 5, via: ['a', 'b'], full: true })
    })

    test('event content takes no fractions, unsafe integers or duplicate keys, and keeps __proto__ as a key', async () => {
      const url = '/_matrix/client/v3/rooms/!r/state/m.type'
      for (const body of [
        '{"a":1.5}',
        '{"a":1.0}',
        '{"a":1e3}',
        '{"a":9007199254740992}',
        '{"a":-9007199254740993}',
        '{"a":-0}',
        '{"a":1,"a":2}',
        '{"b":[{"a":1,"a":1}]}',
      ]) {
        const answer = await put(url, body)
        assert.deepEqual([body, answer.status, answer.body.errcode], [body, 400, 'M_BAD_JSON'])
      }
      for (const body of [
        '{"a":9007199254740991,"b":-9007199254740991,"c":"1.5e3","d\\"":{"a":1},"e":[{"a":1},{"a":2}]}',
        '{"__proto__":{"a":1}}',
      ]) {
        reset()
        assert.equal((await put(url, body)).status, 200, body)
        const { content } = probe.seen[0] as { content: Record<string, unknown> }
        delete content['type']
        assert.deepEqual(JSON.stringify(content), JSON.stringify(JSON.parse(body)))
      }
      // What is no event content is nobody's business.
      assert.equal((await post('/_matrix/client/v3/probe/shaped', '{"name":"n","data":{"a":1.5,"a":1e99}}')).status, 201)
    })

    test('too large a body is 413 M_TOO_LARGE, declared or not', async () => {
      const answer = await post('/_matrix/client/v3/probe/shaped', { name: 'a'.repeat(1_100_000) })
      assert.deepEqual([answer.status, answer.body.errcode], [413, 'M_TOO_LARGE'])
      const login = await post('/_matrix/client/v3/login', { user: 'a'.repeat(70_000) }, {})
      assert.deepEqual([login.status, login.body.errcode], [413, 'M_TOO_LARGE'])
      assert.equal((await ask('POST', '/_matrix/media/v3/probe/m1', alice, Buffer.alloc(1_000_001))).status, 413)
    })

    test('a MatrixError keeps its fields, its status and its Retry-After', async () => {
      const forbidden = await ask('GET', '/_matrix/client/v3/probe/fail/forbidden', alice)
      assert.deepEqual([forbidden.status, forbidden.body], [403, { errcode: 'M_FORBIDDEN', error: 'You may not', soft_logout: true }])
      const limited = await ask('GET', '/_matrix/client/v3/probe/fail/limit', alice)
      assert.deepEqual([limited.status, limited.headers['retry-after'], limited.body.retry_after_ms], [429, '2', 1_500])
    })

    test('what nobody foresaw is masked, and logged with the id of the request but not with its token', async () => {
      host.logged.length = 0
      const answer = await ask('GET', '/_matrix/client/v3/probe/fail/boom?access_token=alice-token')
      assert.deepEqual([answer.status, answer.body], [500, { errcode: 'M_UNKNOWN', error: 'Internal server error' }])
      const line = host.logged.find((each) => each['level'] === 50) as { requestId: string; err: { stack: string; message: string } }
      assert.equal(line.requestId, answer.headers['x-request-id'])
      assert.match(line.err.message, /secret detail/)
      assert.match(line.err.stack, /probe\.ts/)
      assert.ok(!JSON.stringify(host.logged).includes('alice-token'))
    })

    test('stored JSON goes through as it was written, large answers in pieces', async () => {
      const event = await ask('GET', '/_matrix/client/v3/probe/event', alice)
      const stored = '{"event_id":"$1","content":{"a":1.50}}'
      assert.equal(event.text, `{"start":"s1","nested":[${stored},${stored}]}`)
      const raw = await ask('GET', '/_matrix/client/v3/probe/raw', alice)
      assert.equal(raw.body.chunk[0].length, 100_000)
      assert.match(String(raw.headers['content-type']), /^application\/json/)
      const failed = await ask('GET', '/_matrix/client/v3/probe/raw?fail=true', alice)
      assert.deepEqual([failed.status, failed.body.errcode], [404, 'M_NOT_FOUND'])
    })

    test('an appservice masquerades within its namespaces and gives timestamps; others do not', async () => {
      const whoami = '/_matrix/client/v3/account/whoami'
      assert.equal((await ask('GET', whoami, bridge)).body.user_id, '@bridgebot:localhost')
      assert.deepEqual((await ask('GET', `${whoami}?user_id=@ghost_1:localhost&device_id=D`, bridge)).body, {
        user_id: '@ghost_1:localhost',
        device_id: 'D',
        is_guest: false,
      })
      assert.equal((await ask('GET', `${whoami}?user_id=@ghost_1:localhost&org.matrix.msc3202.device_id=E`, bridge)).body.device_id, 'E')
      assert.equal((await ask('GET', `${whoami}?user_id=@mallory:localhost`, bridge)).status, 403)
      assert.equal((await ask('GET', `${whoami}?user_id=@bob:localhost`, alice)).body.user_id, '@alice:localhost')
      const state = '/_matrix/client/v3/rooms/!r/state/m.type?ts='
      await put(`${state}1234`, {}, bridge)
      await put(`${state}1234`, {}, alice)
      assert.deepEqual(
        (probe.seen as { ts: number | undefined }[]).map(({ ts }) => ts),
        [1_234, undefined],
      )
      assert.equal((await put(`${state}x`, {}, bridge)).body.errcode, 'M_INVALID_PARAM')
    })

    test('an appservice acting as the owner is refused where the endpoint does not allow it', async () => {
      assert.equal((await ask('GET', '/_matrix/client/v3/account/whoami?user_id=@alice:localhost', bridge)).status, 200)
      const refused = await put('/_matrix/client/v3/rooms/!r/state/m.type?user_id=@alice:localhost', {}, bridge)
      assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN'])
      assert.equal((await put('/_matrix/client/v3/rooms/!r/state/m.type?user_id=@ghost_1:localhost', {}, bridge)).status, 200)
    })

    test('fixed replies, also for appservices only', async () => {
      assert.deepEqual((await ask('GET', '/_matrix/client/v1/probe/absent')).body.errcode, 'M_UNRECOGNIZED')
      assert.deepEqual((await ask('GET', '/_matrix/client/v3/probe/bots', bridge)).body, { bots: [] })
      assert.equal((await ask('GET', '/_matrix/client/v3/probe/bots', alice)).status, 403)
      assert.equal((await ask('GET', '/_matrix/client/v3/probe/bots')).status, 401)
    })

    test('a handler of its own gets the bytes as they come', async () => {
      const type = { ...alice, 'content-type': 'image/png' }
      const answer = await ask('POST', '/_matrix/media/r0/probe/m1?filename=a.png', type, Buffer.alloc(300_000))
      assert.deepEqual(answer.body, { length: 300_000, contentType: 'image/png', mediaId: 'm1', filename: 'a.png' })
    })

    test('a login goes to the homeserver of its user, to the one of its prefix, else to the default one', async () => {
      assert.equal((await post('/_matrix/client/v3/login', { user: 'bob' }, {})).body.user_id, '@bob at bob')
      assert.equal((await post('/_matrix/client/v3/login', { user: 'carol' }, {})).body.user_id, '@carol at alice')
      assert.equal((await post('/_hungryserv/bob/_matrix/client/v3/login', { user: 'alice' }, {})).body.user_id, '@alice at bob')
    })

    test('who asks too often gets 429 with the time to wait; appservices do not', async () => {
      const url = '/_matrix/client/v3/probe/shaped'
      for (let i = 0; i < 500; i++) await post(url, { name: 'n' }, bearer('bob-token'))
      const limited = await post(url, { name: 'n' }, bearer('bob-token'))
      assert.deepEqual(
        [limited.status, limited.body.errcode, limited.body.retry_after_ms, limited.headers['retry-after']],
        [429, 'M_LIMIT_EXCEEDED', 20, '1'],
      )
      assert.equal((await post(url, { name: 'n' }, alice)).status, 201)
      host.time += 100
      assert.equal((await post(url, { name: 'n' }, bearer('bob-token'))).status, 201)
      for (let i = 0; i < 600; i++) assert.equal((await post(url, { name: 'n' }, bridge)).status, 201)
    })

    test('metrics hear of every answer', async () => {
      done.length = 0
      await ask('GET', '/_matrix/client/versions')
      await ask('GET', '/_matrix/client/nothing')
      assert.deepEqual(
        (done as { name: string | null; status: number }[]).map(({ name, status }) => [name, status]),
        [
          ['getVersions', 200],
          [null, 404],
        ],
      )
    })
  })
}
