/** What the fuzzer found once, each by its name. Ids stand as `<room.0>`, as `npm run fuzz` prints them. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { sessionOf } from '../crossing/home.ts'
import type { Case } from './cases.ts'
import { Fuzz } from './fuzz.ts'
import { wrongIn } from './requests.ts'

let fuzz: Fuzz
before(async () => {
  fuzz = await Fuzz.open()
})
after(() => fuzz[Symbol.asyncDispose]())

type Given = Partial<Case> & Pick<Case, 'path'>

const found: Readonly<Record<string, { readonly request: Given; readonly status: number; readonly errcode?: string }>> = {
  'variables in the address that are no JSON': {
    request: { method: 'GET', path: '/graphql?query={whoami{userId}}&variables={' },
    status: 200,
    errcode: 'M_NOT_JSON',
  },
  'a document so deep that its reader runs out of stack': {
    request: { method: 'POST', path: '/graphql', body: JSON.stringify({ query: `{${'a{'.repeat(1_900)}b${'}'.repeat(1_900)}}` }) },
    status: 200,
    errcode: 'M_INVALID_PARAM',
  },
  'brackets in a string are no depth': {
    request: { method: 'POST', path: '/graphql', body: JSON.stringify({ query: `{ profile(userId: "${'{'.repeat(300)}") }` }) },
    status: 200,
    errcode: 'M_NOT_FOUND',
  },
  'a content type that cannot be read, where nobody asks for a token': {
    request: {
      method: 'POST',
      path: '/_matrix/client/v3/account/3pid/msisdn/requestToken',
      headers: { 'content-type': '\u00ff/;;=' },
      body: '{}',
    },
    status: 400,
    errcode: 'M_THREEPID_MEDIUM_NOT_SUPPORTED',
  },
  'a content type that cannot be read, of an upload': {
    request: { method: 'POST', path: '/_matrix/media/v3/upload', headers: { 'content-type': '\u00ff/;;=' }, body: 'x' },
    status: 200,
  },
  'a content type that cannot be read, of a GraphQL request': {
    request: { method: 'POST', path: '/graphql', headers: { 'content-type': '\u00ff/;;=' }, body: '{}' },
    status: 415,
    errcode: 'M_NOT_JSON',
  },
  'a bridge with an empty address': {
    request: {
      method: 'POST',
      path: '/graphql',
      body: JSON.stringify({ query: 'mutation { configureBridge(type: "signal", url: "") { url configYaml } }' }),
    },
    status: 200,
  },
}

describe('found once', () => {
  for (const [name, { request, status, errcode }] of Object.entries(found)) {
    test(name, async () => {
      const given = fuzz.unnamed({
        operation: name,
        actor: 'owner',
        method: 'GET',
        headers: request.path === '/graphql' ? { 'content-type': 'application/json' } : {},
        body: null,
        waits: false,
        ...request,
      })
      const reply = await fuzz.send(given)
      assert.equal(wrongIn(given, reply), null)
      const body = JSON.parse(reply!.text)
      assert.deepEqual([reply!.status, body.errcode ?? body.errors?.[0].extensions.errcode], [status, errcode], reply!.text)
    })
  }
})

test('what is no HTTP gets an errcode and CORS headers as well', async () => {
  for (const [bytes, status, errcode] of [
    [`GET /_matrix/client/versions HTTP/1.1\r\nhost: a\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`, 431, 'M_TOO_LARGE'],
    ['nonsense\r\n\r\n', 400, 'M_UNRECOGNIZED'],
    ['GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n', 400, 'M_UNRECOGNIZED'],
    ['POST /_matrix/client/v3/login HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n', 400, 'M_UNRECOGNIZED'],
    [
      'POST /_matrix/client/v3/login HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}',
      400,
      'M_UNRECOGNIZED',
    ],
    ['POST /_matrix/client/v3/login HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n', 400, 'M_UNRECOGNIZED'],
  ] as const) {
    const answer = await raw(bytes)
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), bytes.slice(0, 80))
    assert.match(answer, /access-control-allow-origin: \*/i)
    assert.equal(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))).errcode, errcode)
  }
})

test('resuming a homeserver that runs interrupts nobody', async () => {
  const { server } = fuzz
  const before = await server.server.host.defaultInstance()
  assert.equal((await server.administrator.graphql('mutation { resumeInstance(name: "default") }')).data.resumeInstance, true)
  assert.equal(await server.server.host.defaultInstance(), before)
})

test('a token that is asked for while it ends stays ended', async () => {
  const { server } = fuzz
  const instance = await server.server.host.defaultInstance()
  for (let round = 0; round < 20; round++) {
    const { client } = await sessionOf(server, instance, instance.ownerId)
    await client.get('/account/whoami')
    await Promise.all([client.post('/logout'), ...Array.from({ length: 12 }, () => client.get('/account/whoami'))])
    assert.equal((await client.get('/account/whoami')).status, 401)
  }
})

/** All that the server says before it closes. */
function raw(bytes: string): Promise<string> {
  const { hostname, port } = new URL(fuzz.server.url)
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(Number(port), hostname, () => socket.write(bytes, 'latin1'))
    socket.setTimeout(5_000, () => socket.destroy())
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.once('error', () => undefined)
    socket.once('close', () => resolve(text))
  })
}
