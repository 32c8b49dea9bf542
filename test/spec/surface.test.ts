/** What bridges and Beeper's clients count on beside the specification, as far as no other test shows it, and what docs/compatibility.md does not claim. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { WebSocket } from 'ws'
import { unstableFeatures } from '../../src/graphql/versions.ts'
import { ExampleBridge } from '../rig/example-bridge.ts'
import { type Client, type Reply, startServer, type TestServer } from '../rig/server.ts'
import { type Row, readFeatures } from './compatibility.ts'
import { readOperations } from './operations.ts'

const path = encodeURIComponent
const versions = '/_matrix/client/versions'
let server: TestServer
let owner: Client
let bridge: ExampleBridge

before(async () => {
  // With all settings that flags need.
  server = await startServer({ config: { rtcLivekitUrl: 'https://rtc.example.com' } })
  owner = server.owner
  const address = '/_matrix/asmux/mxauth/appservice/owner/sh-surface'
  const registration = (await owner.put(address, { push: true, address: 'http://127.0.0.1:1', receive_ephemeral: true })).body
  bridge = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain: 'example.com' })
  await owner.put(address, { push: true, address: bridge.url, receive_ephemeral: true })
})
after(async () => {
  await bridge[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const room = (roomId: string) => `/rooms/${path(roomId)}`
const ghost = () => bridge.ghostId('1')
const portal = async (more: object = {}, as = bridge.botId): Promise<string> => {
  const body = { invite: [ghost(), owner.userId], 'com.beeper.auto_join_invites': true, ...more }
  return accepted(await bridge.request('POST', '/createRoom', body, as)).room_id
}

function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

function refused(reply: Reply, status: number, errcode: string): void {
  assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(reply.body))
}

describe('docs/compatibility.md', () => {
  test('the flags of versions are exactly those that work', async () => {
    const flags = readFeatures().flatMap(({ what, state }) => {
      const name = /^flag `([^`]+)`/.exec(what)?.[1]
      return name === undefined ? [] : [{ name, state }]
    })
    const works = flags.filter(({ state }) => state.startsWith('works')).map(({ name }) => name)
    assert.deepEqual(works.sort(), Object.keys(unstableFeatures).sort())
    const { unstable_features } = accepted(await server.request('GET', versions))
    assert.deepEqual(unstable_features, unstableFeatures)
    assert.ok(Object.values(unstable_features).every((on) => on === true))
    assert.ok(flags.length > works.length)
  })

  /** An endpoint is 404, or 405 where it is known with another method; a flag or a key of an event, a transaction or a sync is not there. */
  test('what is planned is not claimed', async (t) => {
    const said = await everythingSaid()
    for (const key of ['events', 'ephemeral', 'com.beeper.hs.order', 'notification_count']) assert.ok(said.includes(`"${key}":`), key)
    for (const row of readFeatures().filter(({ state }) => /^(planned|answers 404 `M_UNRECOGNIZED`)/.test(state))) {
      await t.test(row.what, async () => {
        const claims = claimsOf(row)
        assert.ok(claims.length > 0, 'it names no endpoint, no flag and no key')
        for (const { kind, name } of claims) {
          if (kind === 'flag') assert.equal(name in unstableFeatures, false)
          else if (kind === 'key') assert.equal(said.includes(`${JSON.stringify(name)}:`), false)
          else {
            const [method, address] = name.split(' ') as [string, string]
            const reply = await owner.request(method, address.replaceAll(/\{\w+\}/g, 'x'), {})
            assert.ok(reply.status === 404 || reply.status === 405, `${name}: ${reply.status}`)
            assert.equal(reply.body.errcode, 'M_UNRECOGNIZED', name)
          }
        }
      })
    }
  })
})

interface Claim {
  readonly kind: 'endpoint' | 'flag' | 'key'
  /** of an endpoint `METHOD /path` */
  readonly name: string
}

/** "`GET /a` and `/b`", "flag `c`", "keys `d`, `e`". */
function claimsOf({ what }: Row): Claim[] {
  const names = Array.from(what.matchAll(/`([^`]+)`/g), ([, name]) => name!)
  if (/\bflag /.test(what)) return names.map((name) => ({ kind: 'flag', name }))
  if (/\bkeys? /.test(what)) return names.map((name) => ({ kind: 'key', name }))
  let method = ''
  return names.map((name) => {
    const [, own, address] = /^(?:([A-Z]+) )?(\/\S+)$/.exec(name) ?? []
    assert.ok(address && (own ?? method), `${name} is no endpoint`)
    method = own ?? method
    return { kind: 'endpoint', name: `${method} ${address}` }
  })
}

/** The transactions of a bridge in a room where something of every kind happens, and a sync of the owner. */
async function everythingSaid(): Promise<string> {
  const roomId = await portal()
  const eventId = await owner.send(roomId, 'hello')
  accepted(await bridge.request('PUT', `${room(roomId)}/state/m.room.topic`, { topic: 'x' }, bridge.botId))
  accepted(await owner.put(`${room(roomId)}/typing/${path(owner.userId)}`, { typing: true, timeout: 60_000 }))
  accepted(await owner.post(`${room(roomId)}/receipt/m.read/${path(eventId)}`))
  await bridge.until('the receipt comes', () => bridge.ephemeral.some(({ type, room_id }) => type === 'm.receipt' && room_id === roomId))
  return JSON.stringify(await owner.sync()) + bridge.attempts.map(({ text }) => text).join('\n')
}

describe('tokens', () => {
  test('versions are told to everybody, whatever token comes with the question', async () => {
    const { body } = await server.request('GET', versions)
    for (const token of ['wrong', owner.token, bridge.options.registration.as_token]) {
      for (const prefix of ['', '/_hungryserv/owner', '/_hungryserv/default']) {
        assert.deepEqual(accepted(await server.request('GET', prefix + versions, undefined, { token })), body)
      }
    }
    refused(await server.request('GET', `/_hungryserv/nobody${versions}`), 404, 'M_NOT_FOUND')
  })

  test('what needs a token answers 401 M_UNKNOWN_TOKEN to a wrong one', async (t) => {
    const operations = readOperations().filter(
      ({ auth, state, outbound, path: address, method }) =>
        !outbound &&
        state === 'works' &&
        (['accessToken', 'appservice'].includes(auth) || (method === 'GET' && /\/profile\//.test(address))),
    )
    assert.ok(operations.length > 100)
    for (const { method, path: address } of operations) {
      await t.test(`${method} ${address}`, async () => {
        const filled = address.replaceAll(/\{\w+\}/g, 'x')
        refused(await server.request(method, filled, {}, { token: 'wrong' }), 401, 'M_UNKNOWN_TOKEN')
        refused(await server.request(method, filled, {}), 401, 'M_MISSING_TOKEN')
      })
    }
  })

  test('a device is asserted under both of its names, and only one that its user has', async () => {
    const body = { type: 'm.login.application_service', identifier: { type: 'm.id.user', user: bridge.botId }, device_id: 'BRIDGE' }
    const { device_id } = accepted(await bridge.request('POST', '/login', body))
    assert.equal(device_id, 'BRIDGE')
    const whoami = async (query: string) => bridge.request('GET', `/account/whoami?${query}`, undefined, bridge.botId)
    for (const query of [
      'device_id=BRIDGE',
      'org.matrix.msc3202.device_id=BRIDGE',
      'device_id=BRIDGE&org.matrix.msc3202.device_id=BRIDGE',
    ]) {
      assert.deepEqual(accepted(await whoami(query)), { user_id: bridge.botId, device_id, is_guest: false })
    }
    for (const query of ['device_id=OTHER', 'org.matrix.msc3202.device_id=OTHER']) refused(await whoami(query), 400, 'M_UNKNOWN_DEVICE')
  })
})

describe('rooms of bridges', () => {
  test('a portal as bridgev2 makes it: everybody is joined, the level is 9001, its state is there, and m.federate is not', async () => {
    const roomId = await portal({
      visibility: 'private',
      preset: 'private_chat',
      is_direct: true,
      creation_content: { 'm.federate': false, type: 'm.space' },
      'com.beeper.initial_members': [ghost(), owner.userId],
      'com.beeper.local_room_id': '!1 2/+@chat.owner:example.com',
      'com.beeper.bridge_name': 'surface',
      'com.beeper.bridge_account_id': 'x',
      'fi.mau.will_auto_accept': true,
      'uk.timedout.msc4491.invite_reason': 'because',
      power_level_content_override: {
        users: { [bridge.botId]: 9001, [owner.userId]: 50 },
        events: { 'm.room.tombstone': 100, 'm.room.server_acl': 100, 'm.room.encryption': 100 },
      },
      initial_state: [
        { type: 'm.bridge', state_key: 'example.com/sh-surface', content: { 'com.beeper.room_type': 'dm' } },
        { type: 'm.room.topic', content: { topic: 'about', 'com.beeper.exclude_from_timeline': true } },
        { type: 'm.room.join_rules', content: { join_rule: 'invite' } },
        { type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
      ],
    })
    assert.match(roomId, /^![A-Za-z0-9]{20}:example\.com$/)
    const state = async (type: string, key = '') =>
      accepted(await bridge.request('GET', `${room(roomId)}/state/${type}/${path(key)}?format=event`, undefined, bridge.botId))
    const created = await state('m.room.create')
    assert.deepEqual(
      [created.type, created.sender, created.content],
      ['m.room.create', bridge.botId, { type: 'm.space', room_version: '11' }],
    )
    assert.match(created.event_id, /^\$[A-Za-z0-9_-]{43}$/)
    const { content: levels } = await state('m.room.power_levels')
    assert.deepEqual([levels.users, levels.events['m.room.tombstone']], [{ [bridge.botId]: 9001, [owner.userId]: 50 }, 100])
    assert.deepEqual((await state('m.bridge', 'example.com/sh-surface')).content, { 'com.beeper.room_type': 'dm' })
    assert.deepEqual((await state('m.room.topic')).content, { topic: 'about', 'com.beeper.exclude_from_timeline': true })
    assert.equal((await state('m.room.encryption')).content.algorithm, 'm.megolm.v1.aes-sha2')
    for (const user of [ghost(), owner.userId]) {
      const { content } = await state('m.room.member', user)
      assert.equal(content.membership, 'join')
      assert.equal('reason' in content || 'fi.mau.will_auto_accept' in content, false)
    }
    refused(
      await bridge.request('POST', '/createRoom', { power_level_content_override: { users: { [bridge.botId]: '9001' } } }),
      400,
      'M_BAD_JSON',
    )
    refused(await bridge.request('POST', '/createRoom', { invite: 'everybody' }), 400, 'M_BAD_JSON')
  })

  test('an invitation keeps what its bridge says of it, and a double puppet joins by state where it is invited only', async () => {
    const roomId = await portal({ invite: [] })
    const member = `${room(roomId)}/state/m.room.member/${path(owner.userId)}`
    refused(await bridge.request('PUT', member, { membership: 'join' }, owner.userId), 403, 'M_FORBIDDEN')
    const invitation = { membership: 'invite', 'fi.mau.will_auto_accept': true }
    accepted(await bridge.request('PUT', member, invitation, bridge.botId))
    // A fallback of bridges: who may not join is invited first.
    const join = () => bridge.request('POST', `${room(roomId)}/join`, {}, ghost())
    refused(await join(), 403, 'M_FORBIDDEN')
    accepted(await bridge.request('POST', `${room(roomId)}/invite`, { user_id: ghost() }, bridge.botId))
    accepted(await join())
    assert.deepEqual(accepted(await bridge.request('GET', member, undefined, bridge.botId)), invitation)
    accepted(await bridge.request('PUT', member, { membership: 'join', 'com.example': 1 }, owner.userId))
    assert.deepEqual(accepted(await owner.get(member)), { membership: 'join', 'com.example': 1 })
    const other = await portal({ invite: [owner.userId], 'com.beeper.auto_join_invites': false })
    assert.deepEqual(accepted(await owner.get(`${room(other)}/state/m.room.member/${path(owner.userId)}`)), { membership: 'join' })
  })
})

describe('events of bridges', () => {
  test('an id that was chosen is kept by messages and state, and no other event gets it', async () => {
    const roomId = await portal()
    const put = (kind: string, id: string, n: number) =>
      bridge.request('PUT', `${room(roomId)}/${kind}?fi.mau.event_id=${path(id)}`, { body: 'x', n }, bridge.botId)
    const message = `$${'m'.repeat(43)}:backfill.example.org`
    assert.deepEqual(accepted(await put('send/m.room.message/a', message, 1)), { event_id: message })
    assert.deepEqual(accepted(await put('send/m.room.message/a', message, 1)), { event_id: message })
    assert.deepEqual(accepted(await put('state/com.example/key', '$state', 1)), { event_id: '$state' })
    for (const [kind, id] of [
      ['send/m.room.message/b', message],
      ['state/com.example/key', '$state'],
      ['state/com.example/key', message],
    ] as const) {
      refused(await put(kind, id, 2), 409, 'M_INVALID_PARAM')
    }
    refused(await put('send/m.room.message/c', 'no sigil', 1), 400, 'M_INVALID_PARAM')
    assert.equal(accepted(await owner.get(`${room(roomId)}/event/${path(message)}`)).content.n, 1)
    assert.equal(accepted(await owner.get(`${room(roomId)}/state/com.example/key`)).n, 1)
  })

  test('delays and sticky events are not promised: what asks for them is sent at once, like any event', async () => {
    const roomId = await portal()
    for (const query of ['org.matrix.msc4140.delay=60000', 'org.matrix.msc4354.sticky_duration_ms=60000']) {
      const name = query.replace(/=.*/, '')
      const sent = accepted(
        await bridge.request('PUT', `${room(roomId)}/send/m.room.message/${name}?${query}`, { body: name }, bridge.botId),
      )
      const state = accepted(await bridge.request('PUT', `${room(roomId)}/state/com.example/${name}?${query}`, { name }, bridge.botId))
      for (const { event_id } of [sent, state]) {
        const event = accepted(await owner.get(`${room(roomId)}/event/${path(event_id)}`))
        assert.deepEqual(
          Object.keys(event).filter((key) => key.includes('sticky')),
          [],
        )
      }
    }
  })

  test('types and keys of Beeper’s come to clients and bridges as they were sent', async () => {
    const roomId = await portal()
    const { next_batch } = await owner.sync()
    const reply = { 'm.in_reply_to': { event_id: '$elsewhere', 'com.beeper.cross_room_id': '!other:example.com' } }
    const content = { 'm.relates_to': reply, ...Object.fromEntries(beeperKeys.map((key, n) => [key, { n, of: [key] }])) }
    for (const [n, type] of beeperTypes.entries()) accepted(await owner.put(`${room(roomId)}/send/${type}/k${n}`, content))
    const mine = accepted(
      await bridge.request('PUT', `${room(roomId)}/state/com.beeper.room_features/${path('example.com/x')}`, content, bridge.botId),
    )
    const { timeline } = (await owner.sync(`since=${next_batch}`)).rooms.join[roomId]
    for (const type of [...beeperTypes, 'com.beeper.room_features']) {
      const of = (events: Reply['body'][]) => events.find((event) => event.type === type && (event.room_id ?? roomId) === roomId)?.content
      assert.deepEqual(of(timeline.events), content, type)
      await bridge.until(`${type} comes`, () => of(bridge.events) !== undefined)
      assert.deepEqual(of(bridge.events), content, type)
    }
    assert.deepEqual(accepted(await owner.get(`${room(roomId)}/event/${path(mine.event_id)}`)).content, content)
  })

  test('the mark of a double puppet stays where it was put: events, redactions, state, tags and markers, and the time beside it', async () => {
    const roomId = await portal()
    const mark = { 'fi.mau.double_puppet_source': 'surface', 'fi.mau.double_puppet_ts': 1_500_000_000_000 }
    const as = (method: string, address: string, body?: unknown) => bridge.request(method, address, body, owner.userId)
    const put = async (address: string) =>
      accepted(await as('PUT', `${room(roomId)}/${address}?ts=1500000000000`, { body: 'x', ...mark })).event_id
    const message = await put('send/m.room.message/t')
    const encrypted = await put('send/m.room.encrypted/t')
    const redaction = accepted(await as('PUT', `${room(roomId)}/redact/${path(encrypted)}/r`, mark)).event_id
    accepted(await bridge.request('PUT', `${room(roomId)}/state/com.example`, mark, bridge.botId))
    const marks = async (address: string) => {
      const { content, ...rest } = accepted(await owner.get(`${room(roomId)}/${address}`))
      return Object.fromEntries(Object.keys(mark).map((key) => [key, (content ?? rest)[key]]))
    }
    for (const id of [message, redaction]) assert.deepEqual(await marks(`event/${path(id)}`), mark)
    assert.deepEqual(await marks('state/com.example'), mark)
    assert.equal(accepted(await owner.get(`${room(roomId)}/event/${path(message)}`)).origin_server_ts, 1_500_000_000_000)

    const user = `/user/${path(owner.userId)}${room(roomId)}`
    accepted(await as('PUT', `${user}/tags/m.favourite`, { order: 0.5, ...mark }))
    assert.deepEqual(accepted(await owner.get(`${user}/tags`)).tags['m.favourite'], { order: 0.5, ...mark })
    const markers = { 'm.fully_read': message, 'm.read': message, 'com.beeper.read.extra': mark, 'com.beeper.fully_read.extra': mark }
    accepted(await as('POST', `${room(roomId)}/read_markers`, markers))
    assert.deepEqual(accepted(await owner.get(`${user}/account_data/m.fully_read`)), { event_id: message, ...mark })
    const receipt = () => bridge.ephemeral.findLast(({ type, room_id }) => type === 'm.receipt' && room_id === roomId)?.content[message]
    await bridge.until('the receipt comes', () => receipt()?.['m.read']?.[owner.userId] !== undefined)
    assert.equal(receipt()['m.read'][owner.userId]['fi.mau.double_puppet_source'], 'surface')
  })
})

/** Event types and keys of content that nobody here looks at. */
const beeperTypes = [
  'com.beeper.send_state',
  'com.beeper.transcription',
  'com.beeper.delete_chat',
  'com.beeper.accept_message_request',
  'm.sticker',
]
const beeperKeys = [
  ...['com.beeper.exclude_from_timeline', 'com.beeper.dont_render_edited', 'com.beeper.dont_render_redacted_placeholder'],
  ...[
    'com.beeper.linkpreviews',
    'com.beeper.per_message_profile',
    'com.beeper.gallery',
    'com.beeper.action_message',
    'com.beeper.scheduled',
  ],
  ...['com.beeper.message_send_retry', 'com.beeper.quote', 'com.beeper.bridged_emojis', 'com.beeper.msc4459.image_source_packs'],
  ...['com.beeper.unresolved_media', 'com.beeper.disappearing_timer', 'com.beeper.stream', 'com.beeper.message_request'],
  ...['fi.mau.gif', 'fi.mau.bridge.set_by', 'fi.mau.implicit_name', 'fi.mau.bridge.internal_error'],
]

describe('what a bridge is asked', () => {
  test('a bridge is sent transactions, pings and questions of the specification, and nothing else', async () => {
    await using listener = await listen()
    const address = '/_matrix/asmux/mxauth/appservice/owner/sh-asked'
    const { as_token } = accepted(await owner.put(address, { push: true, address: listener.url }))
    const client = server.client(as_token)
    const roomId = await client.createRoom({ invite: [owner.userId] })
    refused(await owner.post(`${room(roomId)}/invite`, { user_id: '@sh-asked_unknown:example.com' }), 404, 'M_NOT_FOUND')
    refused(await owner.get(`/directory/room/${path('#sh-asked_unknown:example.com')}`), 404, 'M_NOT_FOUND')
    refused(await owner.get(`/profile/${path('@sh-asked_nobody:example.com')}`), 404, 'M_NOT_FOUND')
    assert.deepEqual(accepted(await owner.get('/thirdparty/user?userid=x')), [])
    accepted(await client.post('/_matrix/client/v1/appservice/sh-asked/ping', { transaction_id: 'p' }))
    const { asked } = listener
    while (!asked.some((line) => line.startsWith('PUT'))) await once(listener.server, 'request')
    assert.ok(asked.includes('POST /_matrix/app/v1/ping'))
    assert.deepEqual(
      asked.filter((line) => !/^(PUT \/_matrix\/app\/v1\/transactions\/[^/]+|POST \/_matrix\/app\/v1\/ping)$/.test(line)),
      ['unknown', 'nobody'].map((name) => `GET /_matrix/app/v1/users/${path(`@sh-asked_${name}:example.com`)}`),
    )
  })

  test('a websocket opens with or without the subprotocol of old, and one that its bridge left with 1001 opens again', async () => {
    const { as_token } = accepted(await owner.put('/_matrix/asmux/mxauth/appservice/owner/sh-left', { push: false }))
    for (const protocols of [[], ['fi.mau.as_sync'], []]) {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/_matrix/client/unstable/fi.mau.as_sync`, protocols, {
        headers: { authorization: `Bearer ${as_token}`, 'x-mautrix-websocket-version': '3' },
      })
      const [frame] = await once(socket, 'message')
      assert.deepEqual(JSON.parse(String(frame)), { command: 'connect', status: 'connected' })
      assert.equal(socket.protocol, protocols[0] ?? '')
      socket.close(1001)
      const [code] = await once(socket, 'close')
      assert.equal(code, 1001)
    }
  })
})

/** A bridge that takes whatever it is sent. */
async function listen() {
  /** every request, as `METHOD /path` */
  const asked: string[] = []
  const listening = createServer((request, response) => {
    asked.push(`${request.method} ${new URL(request.url!, 'http://bridge').pathname}`)
    request.resume().once('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'))
  })
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  return {
    server: listening,
    asked,
    url: `http://127.0.0.1:${(listening.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      listening.closeAllConnections()
      await new Promise((resolve) => listening.close(resolve))
    },
  }
}
