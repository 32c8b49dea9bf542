import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'graphql-ws'
import { WebSocket } from 'ws'
import { createApp } from '../../shim/app.ts'
import { mountGraphql } from '../../src/graphql/http.ts'
import { fakeHost } from '../shim/fake-host.ts'
import { probe, probeEndpoints, probeSchema, reset } from '../shim/probe.ts'

const host = fakeHost({ INTROSPECTION: 'on', GRAPHIQL: 'on' })
const closedHost = fakeHost({ INTROSPECTION: 'off', GRAPHIQL: 'off' })
const app = createApp({ host, schema: probeSchema, endpoints: probeEndpoints })
const closedApp = createApp({ host: closedHost, schema: probeSchema, endpoints: probeEndpoints })
mountGraphql(app, { host, schema: probeSchema })
mountGraphql(closedApp, { host: closedHost, schema: probeSchema })
let address = ''

before(async () => {
  await app.fastify.listen({ port: 0, host: '127.0.0.1' })
  address = `127.0.0.1:${(app.fastify.server.address() as AddressInfo).port}`
})
beforeEach(reset)
after(async () => {
  await app.fastify.close()
  await closedApp.fastify.close()
})

const alice = { authorization: 'Bearer alice-token' }

interface Answer {
  status: number
  headers: Headers
  data?: Record<string, unknown>
  errors?: { message: string; extensions: { errcode: string } }[]
  text: string
}

async function ask(
  query: string,
  { variables, headers = alice, path = '/graphql' }: { variables?: object; headers?: object; path?: string } = {},
): Promise<Answer> {
  const answer = await fetch(`http://${address}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
  })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, text, ...JSON.parse(text) }
}

function socket(connectionParams: Record<string, unknown> | null, path = '/graphql') {
  const closes: { code: number; reason: string }[] = []
  const client = createClient({
    url: `ws://${address}${path}`,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    lazy: true,
    ...(connectionParams && { connectionParams }),
    on: { closed: (event) => closes.push(event as { code: number; reason: string }) },
  })
  return { client, closes }
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !holds(); i++) await sleep(5)
  assert.ok(holds())
}

test('queries and mutations over HTTP, by POST and queries by GET', async () => {
  assert.deepEqual((await ask('{ whoami { userId } }')).data, { whoami: { userId: '@alice:localhost' } })
  const sent = await ask('mutation ($c: EventContent!) { probeSend(roomId: "!r", content: $c) }', { variables: { c: { a: 1 } } })
  assert.deepEqual(sent.data, { probeSend: '$event' })
  const get = await fetch(`http://${address}/graphql?query=${encodeURIComponent('{ whoami { userId } }')}`, {
    headers: { ...alice, accept: 'application/json' },
  })
  assert.equal(get.status, 200)
  const mutation = await fetch(`http://${address}/graphql?query=${encodeURIComponent('mutation { probeLogin(user: "a") }')}`, {
    headers: alice,
  })
  assert.equal(mutation.status, 405)
})

test('the same tokens: none will do where no actor is needed, a wrong one is 401, a prefix must agree', async () => {
  assert.deepEqual((await ask('mutation { probeLogin(user: "a") }', { headers: {} })).data, { probeLogin: '@a at alice' })
  assert.deepEqual((await ask('mutation { probeLogin(user: "a") }', { headers: {}, path: '/_hungryserv/bob/graphql' })).data, {
    probeLogin: '@a at bob',
  })
  const anonymous = await ask('{ whoami { userId } }', { headers: {} })
  assert.deepEqual([anonymous.status, anonymous.errors?.[0]?.extensions.errcode], [200, 'M_MISSING_TOKEN'])
  for (const each of [
    await ask('{ whoami { userId } }', { headers: { authorization: 'Bearer x' } }),
    await ask('{ whoami { userId } }', { path: '/_hungryserv/bob/graphql' }),
  ]) {
    assert.deepEqual([each.status, each.errors?.[0]?.extensions.errcode], [401, 'M_UNKNOWN_TOKEN'])
    assert.equal(each.headers.get('access-control-allow-origin'), '*')
  }
})

test('errors carry the errcode and their fields; what nobody foresaw is masked and logged', async () => {
  const forbidden = await ask('{ probeFail(how: "forbidden") }')
  assert.deepEqual(forbidden.errors?.[0]?.extensions, { errcode: 'M_FORBIDDEN', soft_logout: true })
  host.logged.length = 0
  const failed = await ask('{ probeFail(how: "boom") }')
  assert.deepEqual([failed.errors?.[0]?.message, failed.errors?.[0]?.extensions], ['Internal server error', { errcode: 'M_UNKNOWN' }])
  assert.ok(!failed.text.includes('secret'))
  assert.match(JSON.stringify(host.logged), /secret detail: boom/)
  for (const query of ['{', '{ nothing }', '{ probeFail }', 'query ($a: Int!) { probeList(first: $a) }']) {
    const wrong = await ask(query)
    assert.equal(wrong.errors?.[0]?.extensions.errcode, 'M_BAD_JSON', query)
  }
})

test('stored JSON goes through as it was written, also what is made in pieces', async () => {
  assert.equal((await ask('{ probeEvent }')).text, '{"data":{"probeEvent":{"event_id":"$1","content":{"a":1.50}}}}')
  const raw = await ask('{ probeRaw }')
  assert.equal((raw.data!['probeRaw'] as { chunk: string[] }).chunk[0]?.length, 100_000)
})

test('event content takes whole numbers only, and identifiers no NUL', async () => {
  const send = 'mutation ($c: EventContent!, $r: ID!, $t: ProbeThing) { probeSend(roomId: $r, content: $c, thing: $t) }'
  for (const [variables, errcode] of [
    [{ c: { a: 1.5 }, r: '!r' }, 'M_BAD_JSON'],
    [{ c: { a: [2 ** 53] }, r: '!r' }, 'M_BAD_JSON'],
    [{ c: [], r: '!r' }, 'M_BAD_JSON'],
    [{ c: {}, r: '!\0' }, 'M_INVALID_PARAM'],
    [{ c: {}, r: '\ud800' }, 'M_INVALID_PARAM'],
    [{ c: {}, r: '!r', t: { name: '\0' } }, 'M_INVALID_PARAM'],
    [{ c: {}, r: '!r', t: { name: 'a', others: ['b', '\0'] } }, 'M_INVALID_PARAM'],
  ] as const) {
    assert.equal((await ask(send, { variables })).errors?.[0]?.extensions.errcode, errcode, JSON.stringify(variables))
  }
  assert.equal((await ask('mutation { probeSend(roomId: "!r", content: {a: 1.5}) }')).errors?.[0]?.extensions.errcode, 'M_BAD_JSON')
  assert.deepEqual(probe.seen, [])
  assert.ok((await ask(send, { variables: { c: { text: '\0', n: -1 }, r: '!r', t: { name: 'a', others: ['b'] } } })).data)
})

test('an appservice as the owner may use only the fields that say so', async () => {
  const headers = { authorization: 'Bearer as-token' }
  const asOwner = { headers, path: '/graphql?user_id=@alice:localhost' }
  assert.deepEqual((await ask('{ whoami { userId } }', asOwner)).data, { whoami: { userId: '@alice:localhost' } })
  const send = 'mutation { probeSend(roomId: "!r", content: {}) }'
  assert.equal((await ask(send, asOwner)).errors?.[0]?.extensions.errcode, 'M_FORBIDDEN')
  assert.ok((await ask(send, { headers, path: '/graphql?user_id=@ghost_1:localhost' })).data)
})

test('depth, cost, page size and length of a document are limited', async () => {
  const deep = (levels: number) => `{ probeDeep ${'{ deep '.repeat(levels)}{ leaf } ${'}'.repeat(levels)} }`
  assert.ok((await ask(deep(10))).data)
  assert.match((await ask(deep(20))).errors![0]!.message, /fields deep/)
  assert.match((await ask('{ probeList(first: 1001) }')).errors![0]!.message, /first is 1000 at most/)
  assert.match((await ask('query ($n: Int) { probeList(first: $n) }', { variables: { n: 5_000 } })).errors![0]!.message, /1000 at most/)
  assert.match(
    (await ask('{ probeDeep { list(first: 1000) { list(first: 1000) { leaf } } } }')).errors![0]!.message,
    /more than 100000 fields/,
  )
  const bomb = Array.from(
    { length: 30 },
    (_, i) => `fragment F${i} on ProbeDeep { ${i === 29 ? 'leaf' : `...F${i + 1} ...F${i + 1}`} }`,
  ).join(' ')
  assert.match((await ask(`{ probeDeep { ...F0 } } ${bomb}`)).errors![0]!.message, /more than 100000 fields/)
  assert.ok((await ask(`{ ${'whoami { userId } '.repeat(5_000)} }`)).errors![0]!.message.includes('tokens'))
})

test('what cannot be read or written, and a wrong method, are refused in the words of Matrix', async () => {
  const ask = async (method: string, headers: Record<string, string>) => {
    const body = method === 'POST' ? '{"query":"{ __typename }"}' : null
    const answer = await fetch(`http://${address}/graphql`, { method, headers: { ...alice, ...headers }, body })
    return [answer.status, ((await answer.json()) as { errcode: string }).errcode]
  }
  const json = { 'content-type': 'application/json' }
  assert.deepEqual(await ask('POST', { 'content-type': 'text/plain' }), [415, 'M_NOT_JSON'])
  assert.deepEqual(await ask('POST', { ...json, accept: 'image/png' }), [406, 'M_UNRECOGNIZED'])
  assert.deepEqual(await ask('PUT', json), [405, 'M_UNRECOGNIZED'])
})

test('a body is read up to a limit: 64 KiB without a token', async () => {
  const large = `{ whoami { userId } } # ${'a'.repeat(70_000)}`
  assert.equal((await ask(large, { headers: {} })).status, 413)
  assert.ok((await ask(large)).data)
})

test('introspection can be switched off', async () => {
  const introspect = {
    method: 'POST',
    url: '/graphql',
    headers: { 'content-type': 'application/json' },
    payload: '{"query":"{ __schema { queryType { name } } }"}',
  } as const
  assert.equal((await app.fastify.inject(introspect)).json().data.__schema.queryType.name, 'Query')
  assert.ok((await closedApp.fastify.inject(introspect)).json().errors)
})

test('GraphiQL is served from here alone, and can be switched off', async () => {
  const page = await fetch(`http://${address}/graphql`, { headers: { accept: 'text/html' } })
  assert.equal(page.status, 200)
  assert.match(page.headers.get('content-type') ?? '', /text\/html/)
  const html = await page.text()
  // Attributes and imports that make a browser load something.
  const loads = [...html.matchAll(/<(?:script|link|img|iframe)[^>]*\s(?:src|href)="(?!data:)([^"]*)"/g)].map((match) => match[1])
  assert.deepEqual(
    loads.filter((url) => /^(https?:)?\/\//.test(url ?? '')),
    [],
  )
  assert.ok(!/\bimport\s*\(?\s*["']https?:/.test(html))
  assert.ok(!/cdn|unpkg|jsdelivr/i.test(html.slice(0, 2_000)))
  const closed = await closedApp.fastify.inject({ url: '/graphql', headers: { accept: 'text/html' } })
  assert.notEqual(closed.statusCode, 200)
})

test('a subscription over HTTP sends events and ends with its connection', async () => {
  const controller = new AbortController()
  const answer = await fetch(`http://${address}/graphql`, {
    method: 'POST',
    headers: { ...alice, 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({ query: 'subscription { probeTicks(count: 3) }' }),
    signal: controller.signal,
  })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('access-control-allow-origin'), '*')
  let text = ''
  for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString()
    if (text.includes('"probeTicks":3')) break
  }
  assert.match(text, /event: next\ndata: \{"data":\{"probeTicks":1\}\}/)
  controller.abort()
  await until(() => probe.waiting === 0)
})

test('operations over a websocket, with the same tokens and the same errors', async () => {
  for (const params of [{ authorization: 'Bearer alice-token' }, { Authorization: 'Bearer alice-token' }, { accessToken: 'alice-token' }]) {
    const { client } = socket(params)
    const results: unknown[] = []
    for await (const result of client.iterate({ query: '{ whoami { userId } probeEvent }' }))
      results.push(JSON.parse(JSON.stringify(result)))
    assert.deepEqual(results, [{ data: { whoami: { userId: '@alice:localhost' }, probeEvent: { event_id: '$1', content: { a: 1.5 } } } }])
    await client.dispose()
  }
  const { client } = socket({ accessToken: 'alice-token' }, '/_hungryserv/alice/graphql')
  const failed: { errors?: readonly { message: string; extensions?: object }[] | undefined }[] = []
  for await (const result of client.iterate({ query: '{ probeFail(how: "boom") }' })) failed.push(result)
  assert.deepEqual(
    [failed[0]?.errors?.[0]?.message, failed[0]?.errors?.[0]?.extensions],
    ['Internal server error', { errcode: 'M_UNKNOWN' }],
  )
  await assert.rejects(
    async () => {
      for await (const _ of client.iterate({ query: '{ nothing }' }));
    },
    (errors: { extensions: { errcode: string } }[]) => errors[0]?.extensions.errcode === 'M_BAD_JSON',
  )
  await client.dispose()
})

test('a socket without a good token is closed with 4403', async () => {
  for (const [params, path] of [
    [null, '/graphql'],
    [{ accessToken: 'nobody' }, '/graphql'],
    [{ accessToken: 'alice-token' }, '/_hungryserv/bob/graphql'],
  ] as const) {
    const { client, closes } = socket(params, path)
    await assert.rejects(async () => {
      for await (const _ of client.iterate({ query: '{ whoami { userId } }' }));
    })
    assert.equal(closes[0]?.code, 4403)
  }
})

test('a subscription over a websocket ends when it is completed, although it waits', async () => {
  const { client } = socket({ accessToken: 'alice-token' })
  const got: unknown[] = []
  for await (const result of client.iterate<{ probeTicks: number }>({ query: 'subscription { probeTicks(count: 3) }' })) {
    got.push(result.data?.probeTicks)
    if (got.length === 3) break
  }
  assert.deepEqual(got, [1, 2, 3])
  await until(() => probe.waiting === 0)
  await client.dispose()
})

test('a subscription ends when its socket is gone', async () => {
  const { client } = socket({ accessToken: 'alice-token' })
  const running = (async () => {
    for await (const _ of client.iterate({ query: 'subscription { probeTicks(count: 1) }' }));
  })()
  await until(() => probe.waiting === 1)
  client.terminate()
  await assert.rejects(running)
  await until(() => probe.waiting === 0)
})

test('an error ends a subscription, and the client learns which', async () => {
  const { client } = socket({ accessToken: 'alice-token' })
  const got: { data?: unknown; errors?: readonly { extensions?: object }[] | undefined }[] = []
  await assert.rejects(async () => {
    for await (const result of client.iterate({ query: 'subscription { probeTicks(count: 1, fail: true) }' })) {
      got.push(result)
      if (result.errors) throw result.errors
    }
  })
  assert.deepEqual(got.at(-1)?.errors?.[0]?.extensions, { errcode: 'M_FORBIDDEN' })
  await client.dispose()
})

test('a token that has ended starts nothing more', async () => {
  const { client } = socket({ accessToken: 'short-lived' })
  host.tokens.set('short-lived', host.tokens.get('alice-token')!)
  const first: unknown[] = []
  const keep = client.iterate({ query: 'subscription { probeTicks(count: 1) }' })
  first.push(await keep.next())
  host.tokens.delete('short-lived')
  await assert.rejects(
    async () => {
      for await (const _ of client.iterate({ query: '{ whoami { userId } }' }));
    },
    (errors: { extensions: { errcode: string } }[]) => errors[0]?.extensions.errcode === 'M_UNKNOWN_TOKEN',
  )
  await keep.return?.()
  await client.dispose()
})

test('one socket takes 100 operations at a time', async () => {
  const { client } = socket({ accessToken: 'alice-token' })
  const running = Array.from({ length: 100 }, () => client.iterate({ query: 'subscription { probeTicks(count: 1) }' }))
  await Promise.all(running.map((each) => each.next()))
  await assert.rejects(
    async () => {
      for await (const _ of client.iterate({ query: '{ whoami { userId } }' }));
    },
    (errors: { extensions: { errcode: string } }[]) => errors[0]?.extensions.errcode === 'M_LIMIT_EXCEEDED',
  )
  await client.dispose()
  await until(() => probe.waiting === 0)
})

test('stopping the server closes its sockets', async () => {
  const other = createApp({ host, schema: probeSchema, endpoints: [] })
  mountGraphql(other, { host, schema: probeSchema })
  await other.fastify.listen({ port: 0, host: '127.0.0.1' })
  const { port } = other.fastify.server.address() as AddressInfo
  const ws = new WebSocket(`ws://127.0.0.1:${port}/graphql`, 'graphql-transport-ws')
  await once(ws, 'open')
  const idle = connect(port, '127.0.0.1')
  await once(idle, 'connect')
  const [[code]] = await Promise.all([once(ws, 'close'), other.fastify.close()])
  assert.equal(code, 1001)
})
