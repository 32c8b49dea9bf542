/** Bridges are asked for users and rooms of their namespaces that do not exist yet. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClient as createGraphqlClient } from 'graphql-ws'
import { WebSocket } from 'ws'
import { onBothServers } from '../rig/both-servers.ts'
import { ExampleBridge, type ExampleBridgeOptions } from '../rig/example-bridge.ts'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'

const path = encodeURIComponent
const aliasOf = (name: string) => `#gate_${name}:example.com`
const profile = (userId: string) => `/profile/${path(userId)}`
const directory = (alias: string) => `/directory/room/${path(alias)}`

/** A bridge with the namespaces `@gate_…` and `#gate_…`, unless told otherwise. */
async function gate(
  server: TestServer,
  onQuestion: ExampleBridgeOptions['onQuestion'],
  { id = 'gate', ...more }: Partial<ExampleBridgeOptions> & { id?: string } = {},
): Promise<ExampleBridge> {
  const regex = (sigil: string) => [{ regex: `^${sigil}${id}_.+:example\\.com$`, exclusive: true }]
  const registration = { sender_localpart: `${id}bot`, namespaces: { users: regex('@'), aliases: regex('#') } }
  const mutation = `mutation($id: String!, $registration: JsonObject!) { registerBridge(id: $id, registration: $registration) { registration } }`
  const { data } = await server.administrator.graphql(mutation, { id, registration })
  const bridge = await ExampleBridge.start({
    homeserverUrl: server.url,
    registration: data.registerBridge.registration,
    domain: 'example.com',
    ...(onQuestion && { onQuestion }),
    ...more,
  })
  await moveTo(server, id, bridge.url)
  return bridge
}

async function moveTo(server: TestServer, id: string, url: string | null): Promise<void> {
  const { data } = await server.administrator.graphql(
    'mutation($id: String!, $url: String) { setBridgeAddress(id: $id, url: $url) { url } }',
    { id, url },
  )
  assert.equal(data.setBridgeAddress.url, url)
}

/** Makes the ghosts and rooms that it is asked for, but for those with `nobody` in their name. */
async function makes(question: string, bridge: ExampleBridge): Promise<readonly [number, unknown]> {
  const [, kind, id] = /^(users|rooms)\/(.*)$/.exec(question)!
  if (id!.includes('nobody')) return [404, { errcode: 'ORG.EXAMPLE_NOT_FOUND' }]
  const localpart = id!.slice(1, id!.indexOf(':'))
  if (kind === 'users') {
    await bridge.ask('POST', '/register', { type: 'm.login.application_service', username: localpart })
    await bridge.ask('PUT', `${profile(id!)}/displayname`, { displayname: `made ${localpart}` }, id!)
  } else await bridge.ask('POST', '/createRoom', { room_alias_name: localpart, preset: 'public_chat' })
  return [200, {}]
}

function refused(reply: Reply, status: number, errcode: string): void {
  assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(reply.body))
}

function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

async function membership(client: Client, roomId: string, userId: string): Promise<string> {
  return accepted(await client.get(`/rooms/${path(roomId)}/state/m.room.member/${path(userId)}`)).membership
}

await onBothServers('bridges are asked', (start) => {
  test('a bridge makes the ghost that a person invites, or looks up, in the middle of the request', async () => {
    await using server = await start()
    await using bridge = await gate(server, makes)
    const { owner } = server
    const roomId = await owner.createRoom()
    accepted(await owner.post(`/rooms/${path(roomId)}/invite`, { user_id: bridge.ghostId('invited') }))
    assert.equal(await membership(owner, roomId, bridge.ghostId('invited')), 'invite')
    const member = `/rooms/${path(roomId)}/state/m.room.member/${path(bridge.ghostId('state'))}`
    accepted(await owner.put(member, { membership: 'invite' }))
    const created = await owner.createRoom({ invite: ['one', 'two'].map((name) => bridge.ghostId(name)) })
    assert.equal(await membership(owner, created, bridge.ghostId('two')), 'invite')
    assert.deepEqual(accepted(await owner.get(profile(bridge.ghostId('shown')))), { displayname: 'made gate_shown' })
    assert.deepEqual(accepted(await owner.get(`${profile(bridge.ghostId('field'))}/displayname`)), { displayname: 'made gate_field' })
    const expected = ['invited', 'state', 'one', 'two', 'shown', 'field'].map((name) => `users/${bridge.ghostId(name)}`)
    assert.deepEqual(bridge.questions, expected)
    // Who exists is not asked for.
    accepted(await owner.get(profile(bridge.ghostId('shown'))))
    assert.deepEqual(bridge.questions, expected)
  })

  test('a bridge makes the room whose alias is looked up, joined or knocked at', async () => {
    await using server = await start()
    await using bridge = await gate(server, makes)
    const { owner } = server
    const found = accepted(await owner.get(directory(aliasOf('found'))))
    assert.match(found.room_id, /^!/)
    const joined = accepted(await owner.post(`/join/${path(aliasOf('joined'))}`))
    assert.equal(await membership(owner, joined.room_id, owner.userId), 'join')
    // The room is there; it does not let knock.
    refused(await owner.post(`/knock/${path(aliasOf('knocked'))}`), 403, 'M_FORBIDDEN')
    assert.deepEqual(
      bridge.questions,
      ['found', 'joined', 'knocked'].map((name) => `rooms/${aliasOf(name)}`),
    )
    assert.deepEqual(accepted(await server.request('GET', directory(aliasOf('found')))), found)
  })

  test('GraphQL asks bridges as the Matrix face does', async () => {
    await using server = await start()
    await using bridge = await gate(server, makes)
    const { owner } = server
    const roomId = await owner.createRoom()
    const { data, errors } = await owner.graphql(
      `mutation($roomId: ID!, $ghost: ID!, $other: [ID!], $alias: String!) {
        inviteUser(roomId: $roomId, userId: $ghost)
        createRoom(input: { invite: $other }) { roomId }
        joinRoom(roomIdOrAlias: $alias) { roomId }
      }`,
      { roomId, ghost: bridge.ghostId('a'), other: [bridge.ghostId('b')], alias: aliasOf('c') },
    )
    assert.equal(errors, undefined, JSON.stringify(errors))
    assert.equal(data.inviteUser, true)
    const query =
      'query($a: ID!, $b: ID!, $alias: String!) { user(userId: $a) { displayName } nobody: user(userId: $b) { userId } roomOfAlias(alias: $alias) { roomId } }'
    const asked = await owner.graphql(query, { a: bridge.ghostId('d'), b: bridge.ghostId('nobody'), alias: aliasOf('e') })
    assert.equal(asked.errors, undefined)
    assert.deepEqual([asked.data.user, asked.data.nobody], [{ displayName: 'made gate_d' }, null])
    assert.match(asked.data.roomOfAlias.roomId, /^!/)
  })

  test('what a bridge does not know, or does not answer, is not found, as before', async () => {
    await using server = await start()
    const { owner } = server
    const roomId = await owner.createRoom()
    await using bridge = await gate(server, async (question, asked) => {
      if (question.includes('fails')) return [500, { errcode: 'M_UNKNOWN' }]
      if (question.includes('lies')) return [200, {}]
      if (question.includes('large')) return [200, { text: 'x'.repeat(100_000) }]
      return makes(question, asked)
    })
    for (const name of ['nobody', 'fails', 'lies', 'large']) {
      const ghost = bridge.ghostId(name)
      refused(await owner.post(`/rooms/${path(roomId)}/invite`, { user_id: ghost }), 404, 'M_NOT_FOUND')
      refused(await owner.post('/createRoom', { invite: [ghost] }), 404, 'M_NOT_FOUND')
      refused(await owner.get(profile(ghost)), 404, 'M_NOT_FOUND')
      refused(await owner.get(directory(aliasOf(name))), 404, 'M_NOT_FOUND')
      refused(await owner.post(`/join/${path(aliasOf(name))}`), 404, 'M_NOT_FOUND')
    }
    // Its no, its silence and its empty word count for a moment: each was asked for once.
    assert.equal(bridge.questions.length, 8)
    await bridge.crash()
    refused(await owner.get(profile(bridge.ghostId('away'))), 404, 'M_NOT_FOUND')
  })

  test('nobody is asked by strangers, for what it wants itself, outside its namespaces, paused, elsewhere or without an address', async () => {
    await using server = await start({ config: { publicProfiles: true } })
    const { owner, administrator } = server
    await using bridge = await gate(server, makes)
    await using other = await gate(server, makes, { id: 'other' })
    refused(await server.request('GET', directory(aliasOf('stranger'))), 404, 'M_NOT_FOUND')
    refused(await server.request('GET', profile(bridge.ghostId('stranger'))), 404, 'M_NOT_FOUND')
    refused(await bridge.request('GET', profile(bridge.ghostId('own'))), 404, 'M_NOT_FOUND')
    refused(await bridge.request('GET', directory(aliasOf('own'))), 404, 'M_NOT_FOUND')
    refused(await bridge.request('GET', profile(bridge.ghostId('own')), undefined, owner.userId), 404, 'M_NOT_FOUND')
    refused(await owner.get(profile('@gate:example.com')), 404, 'M_NOT_FOUND')
    refused(await owner.get(profile('@gate_x:elsewhere.org')), 404, 'M_NOT_FOUND')
    refused(await owner.get(directory('#gate_x:elsewhere.org')), 404, 'M_NOT_FOUND')
    refused(await owner.get(profile('gate_x')), 404, 'M_NOT_FOUND')
    await administrator.graphql('mutation { pauseBridge(id: "gate") { id } }')
    refused(await owner.get(profile(bridge.ghostId('paused'))), 404, 'M_NOT_FOUND')
    await administrator.graphql('mutation { resumeBridge(id: "gate") { id } }')
    for (const url of ['websocket', null]) {
      await moveTo(server, 'gate', url)
      refused(await owner.get(profile(bridge.ghostId('unreached'))), 404, 'M_NOT_FOUND')
    }
    await moveTo(server, 'gate', bridge.url)
    const made = await administrator.graphql('mutation { createInstance(name: "second", owner: "second") { ownerId password } }')
    const { ownerId, password } = made.data.createInstance
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: ownerId }, password }
    const second = server.client(accepted(await server.request('POST', '/login', login)).access_token)
    refused(await second.get(profile(bridge.ghostId('neighbour'))), 404, 'M_NOT_FOUND')
    assert.deepEqual([bridge.questions, other.questions], [[], []])
    // One bridge may ask for somebody of another.
    const asked = accepted(await bridge.request('GET', profile(other.ghostId('known'))))
    assert.deepEqual(asked, { displayname: 'made other_known' })
    await administrator.graphql('mutation { deleteBridge(id: "gate") { id } }')
    refused(await owner.get(profile(bridge.ghostId('deleted'))), 404, 'M_NOT_FOUND')
    assert.deepEqual([bridge.questions, other.questions], [[], [`users/${other.ghostId('known')}`]])
  })
})

test('a bridge that knows only the paths of old is asked there', async () => {
  await using server = await startServer()
  await using bridge = await gate(server, makes, { legacy: true })
  assert.deepEqual(accepted(await server.owner.get(profile(bridge.ghostId('old')))), { displayname: 'made gate_old' })
  refused(await server.owner.get(profile(bridge.ghostId('nobody'))), 404, 'M_NOT_FOUND')
  assert.deepEqual(bridge.questions, [`users/${bridge.ghostId('old')}`, `users/${bridge.ghostId('nobody')}`])
})

test('sixty requests and a socket that wait for one bridge ask it once, and keep no place that it needs to make whom they wait for', async () => {
  await using server = await startServer()
  const gathered = Promise.withResolvers<void>()
  await using bridge = await gate(server, async (question, asked) => {
    await gathered.promise
    return makes(question, asked)
  })
  const { owner } = server
  const roomId = await owner.createRoom()
  const waiting = Array.from({ length: 40 }, () => owner.get(profile(bridge.ghostId('popular'))))
  const query = `{ profile(userId: "${bridge.ghostId('popular')}") }`
  const graphql = Array.from({ length: 20 }, () => owner.graphql(query))
  const socket = createGraphqlClient({
    url: `${server.url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { accessToken: owner.token },
  })
  const overSocket = Array.from({ length: 20 }, async () => (await socket.iterate({ query }).next()).value)
  // The line takes sixteen: whoever comes behind all of them is answered all the same.
  await owner.send(roomId, 'still answered')
  gathered.resolve()
  for (const reply of await Promise.all(waiting)) assert.deepEqual(accepted(reply), { displayname: 'made gate_popular' })
  for (const { data } of await Promise.all(graphql)) assert.deepEqual(data.profile, { displayname: 'made gate_popular' })
  for (const { data } of await Promise.all(overSocket)) assert.deepEqual(data, { profile: { displayname: 'made gate_popular' } })
  await socket.dispose()
  assert.deepEqual(bridge.questions, [`users/${bridge.ghostId('popular')}`])
})
