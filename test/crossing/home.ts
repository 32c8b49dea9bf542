/** A homeserver of somebody with something of everything in it, and a mark in each text by which it is known elsewhere. */
import { createHash } from 'node:crypto'
import type { OpenInstance } from '../../src/instances/open-instance.ts'
import type { TableName } from '../../src/storage/tables.ts'
import { tables } from '../../src/storage/tables.ts'
import { command } from '../../src/stream/command.ts'
import { registerPerson } from '../../src/users/accounts.ts'
import { beginSession } from '../../src/users/sessions.ts'
import { Client, type TestServer } from '../rig/server.ts'
import type { Kind } from './parameters.ts'

export type IdKind = Exclude<Kind, 'none' | 'content' | 'byUser'>

export interface Home {
  readonly instance: OpenInstance
  /** stands in every text that this homeserver stores */
  readonly mark: string
  readonly owner: Client
  readonly person: Client
  readonly asToken: string
  readonly bot: string
  readonly ghost: string
  /** ids by kind; the first of each belongs to the portal, which the owner, the bot and the ghost are in */
  readonly ids: Readonly<Record<IdKind, readonly (string | number)[]>>
}

/** A new session of a local user, without a password. */
export async function sessionOf(server: TestServer, instance: OpenInstance, userId: string, refreshable = false) {
  const session = await command(instance, (decision) =>
    beginSession(decision, decision.find('user', { userId })!, { withRefreshToken: refreshable }),
  )
  return { ...session, client: new Client(() => server.url, session.accessToken, userId, session.deviceId) }
}

/** `turn`: once more, where what was there is gone. */
export async function furnish(server: TestServer, homeserver: string, turn = 0): Promise<Home> {
  const { host } = server.server
  const instance = await host.instance(homeserver)
  const mark = `mark-of-${homeserver}`
  const name = turn === 0 ? homeserver : `${homeserver}-${turn}`
  const domain = instance.bridgeDomain
  const { client: owner, refreshToken } = await sessionOf(server, instance, instance.ownerId, true)
  const personId = `@person-of-${name}:${instance.userDomain}`
  await registerPerson(instance, { username: personId, password: null, inhibitLogin: true })
  const { client: person } = await sessionOf(server, instance, personId)

  const ask = async (client: Client, method: string, path: string, body?: unknown) => {
    const reply = await client.request(method, path, body)
    if (reply.status !== 200) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body
  }
  const graphql = async (client: Client, query: string, variables: Record<string, unknown>) => {
    const { data, errors } = await client.graphql(query, variables)
    if (errors) throw new Error(JSON.stringify(errors))
    return data
  }

  // The same name at each home, and one of its own.
  const register =
    'mutation($id: String!, $registration: JsonObject) { registerBridge(id: $id, registration: $registration) { registration } }'
  const { registerBridge } = await graphql(owner, register, { id: 'whatsapp', registration: { 'x.note': mark } })
  await graphql(owner, register, { id: `own.${name}`, registration: { 'x.note': mark, namespaces: {} } })
  const asToken = registerBridge.registration.as_token as string
  const bridge = new Client(() => server.url, asToken, '')
  const bot = `@whatsappbot:${domain}`
  const ghost = `@whatsapp_${name}:${domain}`
  const as = (userId: string, path: string) => `${path}${path.includes('?') ? '&' : '?'}user_id=${encodeURIComponent(userId)}`

  const alias = `#portal-of-${name}:${domain}`
  const portal = (
    await ask(bridge, 'POST', '/createRoom', {
      name: mark,
      topic: mark,
      'com.beeper.initial_members': [ghost, owner.userId],
      power_level_content_override: { users: { [bot]: 9001, [owner.userId]: 100 } },
    })
  ).room_id as string
  const room = encodeURIComponent(portal)
  const say = async (client: Client, sender: string, type: string, txnId: string, content: object): Promise<string> =>
    (await ask(client, 'PUT', as(sender, `/rooms/${room}/send/${type}/${txnId}`), content)).event_id
  const first = await say(bridge, ghost, 'm.room.message', `t-${name}-1`, { msgtype: 'm.text', body: mark })
  const answer = await say(owner, '', 'm.room.message', `t-${name}-2`, {
    msgtype: 'm.text',
    body: mark,
    'm.relates_to': { rel_type: 'm.thread', event_id: first },
  })
  const edit = await say(bridge, ghost, 'm.room.message', `t-${name}-3`, {
    msgtype: 'm.text',
    body: `* ${mark}`,
    'm.new_content': { msgtype: 'm.text', body: mark },
    'm.relates_to': { rel_type: 'm.replace', event_id: first },
  })
  const reaction = await say(owner, '', 'm.reaction', `t-${name}-4`, {
    'm.relates_to': { rel_type: 'm.annotation', event_id: first, key: mark },
  })
  await ask(owner, 'POST', `/rooms/${room}/read_markers`, { 'm.fully_read': first, 'm.read': first })
  await ask(owner, 'PUT', `/rooms/${room}/state/x.note/note-of-${name}`, { note: mark })
  const me = encodeURIComponent(owner.userId)
  await ask(owner, 'PUT', `/user/${me}/rooms/${room}/tags/u.${mark}`, { order: 1 })
  await ask(owner, 'PUT', `/user/${me}/rooms/${room}/account_data/x.note`, { note: mark })
  await ask(owner, 'PUT', `/user/${me}/account_data/x.note`, { note: mark })
  await ask(owner, 'PUT', `/directory/room/${encodeURIComponent(alias)}`, { room_id: portal })
  await ask(owner, 'PUT', `/pushrules/global/override/rule-of-${name}`, { conditions: [], actions: ['notify'] })
  await ask(owner, 'PUT', `/profile/${me}/displayname`, { displayname: mark })
  // Its keys are named alike at each home.
  const backup = { algorithm: mark, auth_data: { mark } }
  const current = await owner.get('/room_keys/version')
  const { version } = current.status === 200 ? current.body : await ask(owner, 'POST', '/room_keys/version', backup)
  const roomKey = { first_message_index: 0, forwarded_count: 0, is_verified: true, session_data: { mark } }
  await ask(owner, 'PUT', `/room_keys/keys/${room}/text?version=${version}`, roomKey)
  await ask(bridge, 'PUT', as(ghost, `/profile/${encodeURIComponent(ghost)}/displayname`), { displayname: mark })
  await ask(bridge, 'POST', '/_bridge/state', { state_event: 'CONNECTED', remote_id: mark, timestamp: 1, ttl: 60 })
  await ask(bridge, 'POST', '/_bridge/checkpoints', {
    checkpoints: [
      { event_id: first, room_id: portal, step: 'REMOTE', status: 'SUCCESS', timestamp: 1, event_type: mark, reported_by: 'BRIDGE' },
    ],
  })
  const own = (await ask(owner, 'POST', '/createRoom', { name: mark, preset: 'public_chat', visibility: 'public', invite: [personId] }))
    .room_id
  await ask(person, 'POST', `/rooms/${encodeURIComponent(own)}/join`, {})
  const note = (
    await ask(owner, 'PUT', `/rooms/${encodeURIComponent(own)}/send/m.room.message/t-${name}-5`, { msgtype: 'm.text', body: mark })
  ).event_id
  const { filter_id } = await ask(owner, 'POST', `/user/${me}/filter`, { room: { timeline: { types: [mark] } } })
  const upload = await owner.request('POST', `/_matrix/media/v3/upload?filename=${mark}.txt`, undefined, {
    raw: mark,
    headers: { 'content-type': 'text/plain' },
  })
  const uri = upload.body.content_uri as string
  const created = (await ask(owner, 'POST', '/_matrix/media/v1/create', {})).content_uri as string
  const { next_batch } = await ask(owner, 'GET', '/sync')
  const cursor = (await graphql(owner, '{ inbox(first: 1) { pageInfo { endCursor } } }', {})).inbox.pageInfo.endCursor
  const place = (
    await graphql(owner, 'query($roomId: ID!) { room(roomId: $roomId) { timeline(last: 2) { pageInfo { startCursor } } } }', {
      roomId: portal,
    })
  ).room.timeline.pageInfo.startCursor
  return {
    instance,
    mark,
    owner,
    person,
    asToken,
    bot,
    ghost,
    ids: {
      room: [portal, own],
      roomOrAlias: [portal, alias, own],
      alias: [alias],
      aliasLocalpart: [`portal-of-${name}`],
      event: [first, answer, edit, reaction, note],
      user: [owner.userId, ghost, bot, personId],
      localpart: [instance.ownerId.slice(1).split(':')[0]!, `person-of-${name}`, `whatsapp_${name}`],
      device: [owner.deviceId, person.deviceId],
      filter: [filter_id],
      media: [uri.split('/').at(-1)!, created.split('/').at(-1)!],
      contentUri: [uri, created],
      appservice: ['whatsapp', `own.${name}`],
      pushRule: [`rule-of-${name}`],
      stateKey: [`note-of-${name}`, '', ghost, owner.userId],
      instance: [homeserver],
      session: [refreshToken!],
      txn: [`t-${name}-1`, `t-${name}-2`],
      token: [next_batch, 's1'],
      position: [instance.bus.published, 1],
      cursor: [cursor, place],
    },
  }
}

/** JSON that names ids where commands look for them. */
export function contentNaming({ ids }: Home): Record<string, unknown> {
  return {
    msgtype: 'm.text',
    body: 'text',
    'm.relates_to': { rel_type: 'm.thread', event_id: ids.event[0], 'm.in_reply_to': { event_id: ids.event[1] } },
    redacts: ids.event[0],
    url: ids.contentUri[0],
    room_id: ids.room[0],
    pattern: ids.room[0],
    alias: ids.alias[0],
    predecessor: { room_id: ids.room[0], event_id: ids.event[0] },
    [ids.user[0]!]: [ids.room[0]],
    user_id: ids.user[0],
    device_id: ids.device[0],
    algorithms: [],
    keys: {},
  }
}

/** What is sent to somebody's devices, or asked of them. */
export function byUserNaming(home: Home, operation: string): Record<string, unknown> {
  const [userId, deviceId] = [home.ids.user[0]!, home.ids.device[0]!]
  if (operation === 'queryKeys') return { [userId]: [deviceId] }
  if (operation === 'claimKeys') return { [userId]: { [deviceId]: 'signed_curve25519' } }
  const content = contentNaming(home)
  return { [userId]: { [deviceId]: content, '*': content } }
}

/** One digest of every row of an instance, its tokens and media ids included. What the process itself keeps, its lease, is left out. */
export async function digestOf(instance: OpenInstance): Promise<string> {
  const hash = createHash('sha256')
  const add = (table: string, rows: readonly object[]) => {
    hash.update(`${table} ${rows.length}\n`)
    for (const line of rows.map((row) => JSON.stringify(row)).sort()) hash.update(`${line}\n`)
  }
  for (const table of Object.keys(tables) as TableName[]) {
    if (table === 'ownership') continue
    if (table === 'instance') add(table, await instance.shard.lookup(table, { where: { key: instance.key } }))
    else if (table === 'secret' || table === 'ownerId' || table === 'mediaId')
      add(table, await instance.shard.lookup(table, { where: { instance: instance.key } }))
    else if (tables[table].key[0] === 'instance') add(table, await instance.storage.find(table, { where: {} }))
    else throw new Error(`${table} does not begin with its instance: say here how it is read`)
  }
  return hash.digest('hex')
}
