/** What a bridge may do as the owner is this list, on both faces; everything else is 403 M_FORBIDDEN. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { type GraphQLObjectType, getNamedType, isLeafType, isObjectType } from 'graphql'
import { allEndpoints } from '../../shim/table.ts'
import { schema } from '../../src/graphql/schema.ts'
import { type RootField, rootFields } from '../crossing/documents.ts'
import { furnish, type Home } from '../crossing/home.ts'
import { type Choice, restRequest, variablesOf } from '../crossing/requests.ts'
import type { Reply } from '../rig/server.ts'
import { startServer, type TestServer } from '../rig/server.ts'

/** Bound to a room that has a user of the appservice. */
const inRooms = {
  rest: [
    ...['sendMessage', 'redactEvent', 'redactUser', 'setRoomStateWithKey', 'getRoomStateWithKey', 'getRoomState'],
    ...['getRelatingEvents', 'getRelatingEventsWithRelType', 'getRelatingEventsWithRelTypeAndEventType', 'getThreadRoots'],
    ...['getOneRoomEvent', 'getRoomEvents', 'getEventContext', 'getMembersByRoom', 'getJoinedMembersByRoom', 'getLocalAliases'],
    ...['joinRoom', 'joinRoomById', 'knockRoom', 'inviteUser', 'kick', 'ban', 'unban', 'leaveRoom', 'forgetRoom'],
    ...['postReceipt', 'setReadMarker', 'setTyping', 'setInboxState', 'sendEphemeralEvent'],
    ...['getRoomTags', 'setRoomTag', 'deleteRoomTag', 'getAccountDataPerRoom', 'setAccountDataPerRoom'],
    // Of the kind `room`.
    ...['setPushRule', 'deletePushRule', 'setPushRuleEnabled', 'setPushRuleActions'],
  ],
  sdl: [
    ...['mutation sendMessage', 'mutation redact', 'mutation redactUser', 'mutation sendState', 'query roomStateEvent', 'query roomState'],
    ...[
      'query room',
      'query event',
      'query roomMessages',
      'query roomContext',
      'query eventRelations',
      'query roomThreads',
      'query roomMembers',
      'query joinedMembers',
      'query roomAliases',
    ],
    ...['mutation joinRoom', 'mutation knockRoom', 'mutation inviteUser', 'mutation kickUser', 'mutation banUser', 'mutation unbanUser'],
    ...['mutation leaveRoom', 'mutation forgetRoom'],
    ...['mutation sendReceipt', 'mutation setReadMarkers', 'mutation setTyping'],
    ...['mutation setInboxState', 'mutation muteRoom', 'mutation sendEphemeralEvent'],
    ...['query tags', 'mutation setTag', 'mutation removeTag'],
    ...['mutation setPushRule', 'mutation deletePushRule', 'mutation setPushRuleEnabled', 'mutation setPushRuleActions'],
  ],
}

/** Bound to nothing. */
const anywhere = {
  rest: [
    ...['createRoom', 'getJoinedRooms', 'getTokenOwner'],
    // Of the type `m.direct`.
    ...['getAccountData', 'setAccountData'],
    ...['getUserProfile', 'getProfileField', 'setProfileField', 'deleteProfileField', 'updateProfile', 'replaceProfile'],
    ...['uploadContent', 'uploadContentToMXC', 'createContent', 'completeUpload', 'getConfig', 'getConfigAuthed', 'getTime'],
    ...['getContentAuthed', 'getContentOverrideNameAuthed', 'getContentThumbnailAuthed'],
  ],
  sdl: [
    ...['mutation createRoom', 'query joinedRooms', 'query whoami', 'query accountData', 'mutation setAccountData'],
    ...[
      'query profile',
      'query profileField',
      'query user',
      'mutation setProfileField',
      'mutation updateProfile',
      'mutation replaceProfile',
      'mutation setDisplayName',
      'mutation setAvatarUrl',
    ],
    ...['mutation createMedia', 'mutation completeMedia', 'query media', 'query maxUploadBytes', 'query time'],
  ],
}

/** What everybody may ask without a token. */
const open = {
  rest: ['getVersions', 'getRtcTransports', 'getRoomIdByAlias', 'getRoomVisibilityOnDirectory', 'getPublicRooms', 'queryPublicRooms'],
  sdl: [
    'query versions',
    'query position',
    'query loginFlows',
    'query homeserverUrl',
    'query rtcTransports',
    'query publicRooms',
    'query roomOfAlias',
    'query roomListed',
  ],
}

let server: TestServer
let home: Home
let turns = 0

before(async () => {
  server = await startServer({ config: { rtcLivekitUrl: 'https://rtc.example.com' } })
  home = await furnish(server, 'default')
})
after(() => server[Symbol.asyncDispose]())

// Some operations leave the room or take something away.
beforeEach(async () => {
  const room = encodeURIComponent(home.ids.room[0]!)
  const { status } = await server.client(home.asToken).get(`/rooms/${room}/state/m.room.name`)
  const joined = await home.owner.get('/joined_rooms')
  if (status !== 200 || !joined.body.joined_rooms.includes(home.ids.room[0]) || !joined.body.joined_rooms.includes(home.ids.room[1])) {
    home = await furnish(server, 'default', ++turns)
  }
})

test('the list names what there is', () => {
  const rest = allEndpoints.map(({ name }) => name)
  const sdl = rootFields(schema).map(nameOf)
  assert.deepEqual(
    [...inRooms.rest, ...anywhere.rest, ...open.rest].filter((name) => !rest.includes(name)),
    [],
  )
  assert.deepEqual(
    [...inRooms.sdl, ...anywhere.sdl, ...open.sdl].filter((name) => !sdl.includes(name)),
    [],
  )
})

describe('as the owner, by REST', () => {
  for (const endpoint of allEndpoints) {
    // Where no token is looked at, nobody is acted for.
    if (endpoint.auth === 'none' || endpoint.auth === 'management' || endpoint.kind === 'upgrade') continue
    const ask = (room: number) => {
      const { method, path, body } = restRequest(endpoint, choice(room))
      return server.client(home.asToken).request(method, asOwner(roomRule(path, room)), body)
    }
    const { name } = endpoint
    if (inRooms.rest.includes(name)) {
      test(`${name} in a room with a user of the bridge only`, async () => {
        refused(await ask(1))
        taken(await ask(0))
      })
    } else if (anywhere.rest.includes(name) || open.rest.includes(name)) {
      test(`${name} everywhere`, async () => taken(await ask(1)))
    } else {
      test(`${name} never`, async () => refused(await ask(0)))
    }
  }
})

describe('as the owner, by GraphQL', () => {
  for (const field of rootFields(schema)) {
    const name = nameOf(field)
    // Its fields are looked at one by one below.
    if (name === 'query viewer') continue
    if (inRooms.sdl.includes(name)) {
      test(`${name} in a room with a user of the bridge only`, async () => {
        refused(await run(field, 1))
        taken(await run(field, 0))
      })
    } else if (anywhere.sdl.includes(name) || open.sdl.includes(name)) {
      test(`${name} everywhere`, async () => taken(await run(field, 1)))
    } else {
      test(`${name} never`, async () => refused(await run(field, 0)))
    }
  }
})

test('of the viewer what whoami says', async () => {
  const fields = schema.getQueryType()!.getFields()['viewer']!.type
  const named = isObjectType(getNamedType(fields)) ? (getNamedType(fields) as GraphQLObjectType).getFields() : {}
  for (const [name, field] of Object.entries(named)) {
    const inner = isLeafType(getNamedType(field.type)) ? '' : ' { __typename }'
    const path = asOwner('/graphql')
    const reply = await server
      .client(home.asToken)
      .request('POST', path, { query: `{ viewer { ${name}${inner} } }` }, { headers: { 'content-type': 'application/json' } })
    const errcode = reply.body.errors?.[0].extensions.errcode
    assert.equal(errcode, ['userId', 'user', 'deviceId', 'admin'].includes(name) ? undefined : 'M_FORBIDDEN', name)
  }
})

test('of global account data m.direct alone', async () => {
  const bridge = server.client(home.asToken)
  const path = (type: string) => asOwner(`/user/${encodeURIComponent(home.owner.userId)}/account_data/${type}`)
  assert.equal((await bridge.put(path('m.direct'), { [home.ghost]: [home.ids.room[0]] })).status, 200)
  assert.equal((await bridge.get(path('m.direct'))).status, 200)
  for (const type of ['x.note', 'm.secret_storage.default_key', 'm.cross_signing.master', 'm.push_rules', 'm.ignored_user_list']) {
    refused(await bridge.put(path(type), {}))
    refused(await bridge.get(path(type)))
  }
})

test('of push rules those of the kind room alone', async () => {
  const bridge = server.client(home.asToken)
  for (const kind of ['override', 'underride', 'sender', 'content']) {
    refused(await bridge.put(asOwner(`/pushrules/global/${kind}/x`), { actions: [], conditions: [], pattern: 'x' }))
    refused(await bridge.request('DELETE', asOwner(`/pushrules/global/${kind}/rule-of-default`)))
  }
})

test('a bridge acts for nobody outside its namespaces, and for nobody who logs in', async () => {
  const bridge = server.client(home.asToken)
  const whoami = (userId: string) => bridge.get(`/account/whoami?user_id=${encodeURIComponent(userId)}`)
  assert.equal((await whoami(home.owner.userId)).body.user_id, home.owner.userId)
  assert.equal((await whoami(home.ghost)).body.user_id, home.ghost)
  for (const userId of [
    home.person.userId,
    server.administrator.userId,
    '@somebody:example.com',
    '@whatsapp_1:elsewhere.org',
    `${home.owner.userId}.org`,
    home.owner.userId.toUpperCase(),
  ]) {
    refused(await whoami(userId))
  }
  // A person whose name lies in the namespace of a bridge that came later, or of one that takes everybody.
  const person = await server.register('late_person')
  const greedy = 'mutation($r: JsonObject) { registerBridge(id: "greedy", registration: $r) { registration } }'
  const { data } = await home.owner.graphql(greedy, { r: { namespaces: { users: [{ regex: '.*', exclusive: true }] } } })
  const all = server.client(data.registerBridge.registration.as_token)
  for (const userId of [home.person.userId, server.administrator.userId, person.userId]) {
    const as = `user_id=${encodeURIComponent(userId)}`
    refused(await all.get(`/account/whoami?${as}`))
    refused(await all.put(`/profile/${encodeURIComponent(userId)}/displayname?${as}`, { displayname: 'x' }))
    const login = await all.post('/login', { type: 'm.login.application_service', identifier: { type: 'm.id.user', user: userId } })
    assert.deepEqual([login.status, login.body.errcode], [400, 'M_EXCLUSIVE'])
  }
  assert.equal((await home.owner.graphql('mutation { deleteBridge(id: "greedy") { about } }')).data.deleteBridge.about.id, 'greedy')
  const late = 'mutation { registerBridge(id: "late") { registration } }'
  const { data: second } = await home.owner.graphql(late)
  refused(
    await server.client(second.registerBridge.registration.as_token).get(`/account/whoami?user_id=${encodeURIComponent(person.userId)}`),
  )
})

test('a bridge has no device of the owner', async () => {
  const path = `/account/whoami?user_id=${encodeURIComponent(home.owner.userId)}&device_id=${home.owner.deviceId}`
  const reply = await server.client(home.asToken).get(path)
  assert.deepEqual([reply.status, reply.body.errcode], [400, 'M_UNKNOWN_DEVICE'])
})

/** The room that a parameter means: 0 has a user of the bridge, 1 has none. */
function choice(room: number): Choice {
  const { ids } = home
  const events = room === 0 ? ids.event : [ids.event.at(-1)!]
  const chosen: Home = {
    ...home,
    ids: { ...ids, room: [ids.room[room]!], roomOrAlias: [ids.room[room]!], event: events, pushRule: [ids.room[room]!] },
  }
  return { from: () => chosen, include: (name) => name === 'user_id' }
}

function roomRule(path: string, room: number): string {
  return path
    .replace('/pushrules/global/override/', '/pushrules/global/room/')
    .replace(/(account_data)\/x\.note/, (all, start) => (path.includes('/rooms/') ? all : `${start}/m.direct`))
    .replace('{room}', String(room))
}

async function run(field: RootField, room: number): Promise<Reply> {
  const variables = variablesOf(field, choice(room))
  if ('kind' in variables) variables['kind'] = 'ROOM'
  if (/ccountData$/.test(field.name)) variables['type'] = 'm.direct'
  const streams = field.operation === 'subscription'
  const response = await fetch(`${server.url}${asOwner('/graphql')}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${home.asToken}`,
      'content-type': 'application/json',
      ...(streams && { accept: 'text/event-stream' }),
    },
    body: JSON.stringify({ query: field.source, variables }),
  })
  // Of a stream the first piece: what it says at once.
  const text = streams ? await firstOf(response) : await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }
}

async function firstOf(response: Response): Promise<string> {
  const reader = response.body!.getReader()
  const waited = setTimeout(() => void reader.cancel(), 150)
  let text = ''
  for (let next = await reader.read(); !next.done && !text.includes('data: '); next = await reader.read())
    text += new TextDecoder().decode(next.value)
  clearTimeout(waited)
  await reader.cancel()
  return /^data: (.+)$/m.exec(text)?.[1] ?? ''
}

function asOwner(path: string): string {
  return `${path}${path.includes('?') ? '&' : '?'}user_id=${encodeURIComponent(home.owner.userId)}`
}

function nameOf(field: RootField): string {
  return `${field.operation} ${field.name}`
}

function errcodeOf({ body }: Reply): { errcode?: string; message?: string; deep: boolean } {
  if (!body?.errors) return { errcode: body?.errcode, message: body?.error, deep: false }
  const [error] = body.errors
  return { errcode: error.extensions?.errcode, message: error.message, deep: (error.path?.length ?? 0) > 1 }
}

function refused(reply: Reply): void {
  const { errcode, deep } = errcodeOf(reply)
  assert.deepEqual([errcode, deep], ['M_FORBIDDEN', false], JSON.stringify(reply.body).slice(0, 500))
  if (!reply.body.errors) assert.equal(reply.status, 403)
}

/** It got past the door: it is done, or refused for what it says and not for who asks. */
function taken(reply: Reply): void {
  const { errcode, message, deep } = errcodeOf(reply)
  if (errcode === undefined) return
  if (deep) return
  assert.ok(!(errcode === 'M_FORBIDDEN' && /[Aa]ppservice|for the owner/.test(message ?? '')), `${errcode}: ${message}`)
  assert.notEqual(errcode, 'M_UNRECOGNIZED')
}
