/**
 * A bridge on matrix-appservice that makes its ghosts and rooms when it is asked for them, and knows whom its network has.
 *
 *     node queries-bridge.ts config.json    as bridge.ts
 *
 * On its network are `jane`, who comes where she is invited and answers, and the channel `lobby`, whose room she opens.
 */
import { readFileSync } from 'node:fs'
import { AppService, AppserviceHttpError } from 'matrix-appservice'

// biome-ignore lint/suspicious/noExplicitAny: a bridge reads what it gets
type Json = any

const { homeserver, domain, registration: given } = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Json
const service = new AppService({ homeserverToken: given.hs_token })
const jane = `@${given.id}_jane:${domain}`
const lobby = `#${given.id}_lobby:${domain}`

async function request(userId: string, method: string, path: string, body: Json = {}): Promise<void> {
  const reply = await fetch(`${homeserver}/_matrix/client/v3/${path}?user_id=${encodeURIComponent(userId)}`, {
    method,
    headers: { authorization: `Bearer ${given.as_token}` },
    ...(method !== 'GET' && { body: JSON.stringify(body) }),
  })
  if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`)
}

function unknown(what: string): never {
  throw new AppserviceHttpError({ errcode: 'COM.EXAMPLE.NOT_FOUND', error: `${what} is not on this network` }, 404)
}

service.onUserQuery = async (userId) => {
  if (userId !== jane) unknown(userId)
  await request(`@${given.sender_localpart}:${domain}`, 'POST', 'register', {
    type: 'm.login.application_service',
    username: `${given.id}_jane`,
  })
  await request(jane, 'PUT', `profile/${encodeURIComponent(jane)}/displayname`, { displayname: 'Jane' })
}

// The library answers 200 here whatever becomes of it; the homeserver looks for the room.
service.onAliasQuery = async (alias) => {
  if (alias !== lobby) unknown(alias)
  await request(jane, 'POST', 'createRoom', { room_alias_name: `${given.id}_lobby`, name: 'Lobby', preset: 'public_chat' })
}

const networks = '/_matrix/app/v1/thirdparty'
service.expressApp.get(`${networks}/protocol/chat`, (_: Json, answer: Json) =>
  answer.send({
    user_fields: ['nick'],
    location_fields: [],
    icon: '',
    field_types: { nick: { regexp: '.+', placeholder: 'nick' } },
    instances: [{ desc: 'Chat', network_id: 'chat', fields: {} }],
  }),
)
service.expressApp.get(`${networks}/user/chat`, (incoming: Json, answer: Json) =>
  answer.send(incoming.query.nick === 'jane' ? [{ userid: jane, protocol: 'chat', fields: { nick: 'jane' } }] : []),
)

service.on('event', ({ type, sender, state_key: member, room_id: roomId, event_id: eventId, content }: Json) => {
  const room = `rooms/${encodeURIComponent(roomId)}`
  if (type === 'm.room.member' && content.membership === 'invite' && member === jane)
    void request(jane, 'POST', `join/${encodeURIComponent(roomId)}`)
  if (type === 'm.room.message' && sender !== jane)
    void request(jane, 'PUT', `${room}/send/m.room.message/${encodeURIComponent(eventId)}`, {
      msgtype: 'm.text',
      body: `Jane read: ${content.body}`,
    })
})

await service.listen(Number(new URL(given.url).port), '127.0.0.1', 511)
