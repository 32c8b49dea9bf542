/** What bridges know of their networks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import { ExampleBridge, type ExampleBridgeOptions } from '../rig/example-bridge.ts'
import { type Reply, startServer, type TestServer } from '../rig/server.ts'

const path = encodeURIComponent

async function network(
  server: TestServer,
  id: string,
  protocols: unknown,
  onQuestion: NonNullable<ExampleBridgeOptions['onQuestion']>,
): Promise<ExampleBridge> {
  const regex = (sigil: string) => [{ regex: `^${sigil}${id}_.+:example\\.com$`, exclusive: true }]
  const registration = { protocols, sender_localpart: `${id}bot`, namespaces: { users: regex('@'), aliases: regex('#') } }
  const mutation = `mutation($id: String!, $registration: JsonObject!) { registerBridge(id: $id, registration: $registration) { registration } }`
  const { data } = await server.administrator.graphql(mutation, { id, registration })
  const bridge = await ExampleBridge.start({
    homeserverUrl: server.url,
    registration: data.registerBridge.registration,
    domain: 'example.com',
    onQuestion,
  })
  await server.administrator.graphql('mutation($id: String!, $url: String) { setBridgeAddress(id: $id, url: $url) { id } }', {
    id,
    url: bridge.url,
  })
  return bridge
}

function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

function refused(reply: Reply, status: number, errcode: string): void {
  assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(reply.body))
}

const unknown = [404, { errcode: 'ORG.EXAMPLE_NOT_FOUND' }] as const
const irc = (networkId: string) => ({
  user_fields: ['network', 'nick'],
  location_fields: ['network', 'channel'],
  icon: 'mxc://example.com/irc',
  field_types: { nick: { regexp: '[^\\s]+', placeholder: 'nick' } },
  instances: [{ desc: networkId, network_id: networkId, fields: { network: networkId } }],
})

/** A network of IRC on which `jane` and `#matrix` are. */
function ircNetwork(id: string) {
  const user = { userid: `@${id}_jane:example.com`, protocol: 'irc', fields: { network: id, nick: 'jane' } }
  const location = { alias: `#${id}_matrix:example.com`, protocol: 'irc', fields: { network: id, channel: '#matrix' } }
  const known: Record<string, unknown> = {
    'thirdparty/protocol/irc': irc(id),
    'thirdparty/user/irc?nick=jane': [user],
    'thirdparty/location/irc?channel=#matrix': [location],
    [`thirdparty/user?userid=${user.userid}`]: [user],
    [`thirdparty/location?alias=${location.alias}`]: [location],
  }
  const onQuestion = async (question: string) => (question in known ? ([200, known[question]] as const) : unknown)
  return { user, location, onQuestion }
}

await onBothServers('networks of bridges', (start) => {
  test('protocols, people and places of all bridges that name a protocol come together', async () => {
    await using server = await start()
    const [libera, oftc] = [ircNetwork('libera'), ircNetwork('oftc')]
    await using first = await network(server, 'libera', ['irc'], libera.onQuestion)
    await using second = await network(server, 'oftc', ['irc', 'gitter'], oftc.onQuestion)
    await using silent = await network(server, 'silent', undefined, libera.onQuestion)
    const { owner } = server
    const expected = {
      ...irc('libera'),
      instances: ['libera', 'oftc'].map((id) => ({ ...irc(id).instances[0], instance_id: `${id}|${id}` })),
    }
    assert.deepEqual(accepted(await owner.get('/thirdparty/protocols')), { irc: expected })
    assert.deepEqual(accepted(await owner.get('/thirdparty/protocol/irc')), expected)
    assert.deepEqual(accepted(await owner.get('/thirdparty/user/irc?nick=jane')), [libera.user, oftc.user])
    assert.deepEqual(accepted(await owner.get(`/thirdparty/location/irc?channel=${path('#matrix')}`)), [libera.location, oftc.location])
    assert.deepEqual(accepted(await owner.get(`/thirdparty/user?userid=${path(oftc.user.userid)}`)), [oftc.user])
    assert.deepEqual(accepted(await owner.get(`/thirdparty/location?alias=${path(libera.location.alias)}`)), [libera.location])
    // Asked for once, and known for a minute.
    assert.deepEqual(second.questions.slice(0, 2), ['thirdparty/protocol/irc', 'thirdparty/protocol/gitter'])
    assert.equal(first.questions.filter((question) => question === 'thirdparty/protocol/irc').length, 1)
    assert.deepEqual(silent.questions, [])

    const { data, errors } = await owner.graphql(
      `query($user: ID!, $alias: String!, $fields: JsonObject) {
        thirdPartyProtocols { protocol metadata }
        thirdPartyProtocol(protocol: "irc") { metadata }
        thirdPartyUsers(protocol: "irc", fields: $fields) { userId protocol fields }
        thirdPartyUsersById(userId: $user) { userId }
        thirdPartyLocations(protocol: "irc", fields: { channel: "#matrix" }) { alias protocol fields }
        thirdPartyLocationsByAlias(alias: $alias) { alias }
      }`,
      { user: libera.user.userid, alias: oftc.location.alias, fields: { nick: 'jane' } },
    )
    assert.equal(errors, undefined, JSON.stringify(errors))
    const { userid: userId, ...rest } = libera.user
    assert.deepEqual(data, {
      thirdPartyProtocols: [{ protocol: 'irc', metadata: expected }],
      thirdPartyProtocol: { metadata: expected },
      thirdPartyUsers: [
        { userId, ...rest },
        { userId: oftc.user.userid, protocol: 'irc', fields: oftc.user.fields },
      ],
      thirdPartyUsersById: [{ userId }],
      thirdPartyLocations: [libera.location, oftc.location],
      thirdPartyLocationsByAlias: [{ alias: oftc.location.alias }],
    })
  })

  test('what no bridge knows is an empty list, a protocol 404; who may not ask is told so', async () => {
    await using server = await start()
    const libera = ircNetwork('libera')
    const { owner } = server
    assert.deepEqual(accepted(await owner.get('/thirdparty/protocols')), {})
    await using bridge = await network(server, 'libera', ['irc', '..', 7, 'no\u0000name'], async (question) =>
      question.endsWith('protocol/irc') ? unknown : libera.onQuestion(question),
    )
    assert.deepEqual(accepted(await owner.get('/thirdparty/protocols')), {})
    refused(await owner.get('/thirdparty/protocol/irc'), 404, 'M_NOT_FOUND')
    refused(await owner.get('/thirdparty/protocol/xmpp'), 404, 'M_NOT_FOUND')
    assert.deepEqual(accepted(await owner.get('/thirdparty/user/irc?nick=joe')), [])
    assert.deepEqual(accepted(await owner.get('/thirdparty/user/xmpp?nick=jane')), [])
    assert.deepEqual(accepted(await owner.get('/thirdparty/location/irc?channel=none')), [])
    assert.deepEqual(accepted(await owner.get('/thirdparty/user?userid=@libera_joe:example.com')), [])
    assert.deepEqual(accepted(await owner.get('/thirdparty/user?userid=@owner:example.com')), [])
    assert.deepEqual(accepted(await owner.get(`/thirdparty/location?alias=${path('#libera_none:example.com')}`)), [])
    refused(await owner.get('/thirdparty/user'), 400, 'M_MISSING_PARAM')
    refused(await owner.get('/thirdparty/location'), 400, 'M_MISSING_PARAM')
    refused(await owner.get(`/thirdparty/user/irc?nick=${'x'.repeat(9_000)}`), 400, 'M_INVALID_PARAM')
    refused(await owner.get(`/thirdparty/location/irc?channel=${'x'.repeat(9_000)}`), 400, 'M_INVALID_PARAM')
    for (const field of ['thirdPartyUsers', 'thirdPartyLocations']) {
      for (const fields of ['nick: 1', 'nick: ["jane", 1]', 'access_token: "x"']) {
        const { errors } = await owner.graphql(`{ ${field}(protocol: "irc", fields: { ${fields} }) { protocol } }`)
        assert.equal(errors[0].extensions.errcode, 'M_INVALID_PARAM')
      }
    }
    for (const address of ['protocols', 'protocol/irc', 'user/irc', 'user?userid=x', 'location/irc', 'location?alias=x']) {
      refused(await server.request('GET', `/thirdparty/${address}`), 401, 'M_MISSING_TOKEN')
      refused(await bridge.request('GET', `/thirdparty/${address}`, undefined, owner.userId), 403, 'M_FORBIDDEN')
    }
    const { errors } = await bridgeGraphql(server, bridge, '{ thirdPartyProtocols { protocol } }')
    assert.equal(errors[0].extensions.errcode, 'M_FORBIDDEN')
    assert.ok(!bridge.questions.some((question) => question.includes('..')))
  })
})

async function bridgeGraphql(server: TestServer, { options }: ExampleBridge, query: string): Promise<Reply['body']> {
  const as = `/graphql?user_id=${path(server.owner.userId)}`
  const reply = await server
    .client(options.registration.as_token)
    .request('POST', as, { query }, { headers: { 'content-type': 'application/json' } })
  return reply.body
}

test('a bridge hears the fields that were looked for, and nothing of who looks', async () => {
  await using server = await startServer()
  await using bridge = await network(server, 'net', ['irc'], async () => [200, []])
  const { token } = server.owner
  const reply = await server.request('GET', `/thirdparty/user/irc?nick=a%26b&nick=c%20d&channel=%23x&access_token=${token}&user_id=x&ts=1`)
  assert.deepEqual(accepted(reply), [])
  assert.deepEqual(bridge.questions, ['thirdparty/user/irc?nick=a&b&nick=c+d&channel=#x'])
})

test('answers of bridges that make no sense are passed over', async () => {
  await using server = await startServer()
  const answers: Record<string, unknown> = {
    'thirdparty/protocol/list': [],
    'thirdparty/protocol/text': 'text',
    'thirdparty/protocol/bare': { instances: [1, {}, { network_id: 5 }, { network_id: 'one' }], user_fields: 'none' },
    'thirdparty/protocol/large': { ...irc('large'), icon: 'x'.repeat(70_000) },
    'thirdparty/user/bare': [
      null,
      5,
      [],
      {},
      { userid: '@net_a:example.com', protocol: 'bare' },
      { userid: 1, protocol: 'bare', fields: {} },
    ],
    'thirdparty/location/bare': { alias: '#net_a:example.com' },
  }
  await using bridge = await network(server, 'net', ['list', 'text', 'bare', 'large'], async (question) => [200, answers[question]])
  const { owner } = server
  assert.deepEqual(accepted(await owner.get('/thirdparty/protocols')), {
    bare: {
      user_fields: [],
      location_fields: [],
      icon: '',
      field_types: {},
      instances: [{ network_id: 'one', instance_id: 'net|one' }],
    },
  })
  assert.deepEqual(accepted(await owner.get('/thirdparty/user/bare')), [])
  assert.deepEqual(accepted(await owner.get('/thirdparty/location/bare')), [])
  // A moment later it makes sense, and then it is nested deeper than anybody would write.
  const jane = { userid: '@net_a:example.com', protocol: 'bare', fields: { nick: { deep: 1 } } }
  answers['thirdparty/user/bare'] = [jane]
  assert.deepEqual(accepted(await owner.get('/thirdparty/user/bare')), [jane])
  const nested = JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`)
  answers['thirdparty/user/bare'] = [{ ...jane, fields: { nested } }]
  assert.deepEqual(accepted(await owner.get('/thirdparty/user/bare')), [])
  assert.equal(bridge.questions.filter((question) => question === 'thirdparty/user/bare').length, 3)
})
