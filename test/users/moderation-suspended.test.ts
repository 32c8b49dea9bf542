/** Suspended people: they read, leave, and take back what they said. https://spec.matrix.org/v1.19/client-server-api/#account-suspension */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { schema } from '../../src/graphql/schema.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { type TestServer, testPassword } from '../rig/server.ts'
import { idsOf, pageBack, startHistorian } from '../rooms/backfill.ts'
import { registerBridge } from './bridge.ts'
import { accepted, addressOf, errcodeOf, refused, setLocked, setSuspended } from './moderation-rig.ts'

const message = { msgtype: 'm.text', body: 'hello' }

/** ann is in a room with the owner, where she may do anything; she is invited to another one, and banned from nothing. */
async function furnish(server: TestServer) {
  const { owner } = server
  const [ann, bob] = [await server.register('ann', testPassword), await server.register('bob')]
  const power = {
    power_level_content_override: { users: { [owner.userId]: 100, [ann.userId]: 100 }, ephemeral: { 'com.example.wave': 0 } },
  }
  const roomId = await owner.createRoom({ invite: [ann.userId], preset: 'public_chat', ...power })
  accepted(await ann.post(`/join/${encodeURIComponent(roomId)}`))
  const invitedTo = await owner.createRoom({ invite: [ann.userId] })
  const open = await owner.createRoom({ preset: 'public_chat' })
  const knocking = await owner.createRoom({
    initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }],
  })
  const own = await ann.send(roomId, 'mine')
  const theirs = await owner.send(roomId, 'not mine')
  return { owner, ann, bob, roomId, invitedTo, open, knocking, own, theirs, room: `/rooms/${encodeURIComponent(roomId)}` }
}

type Home = Awaited<ReturnType<typeof furnish>>

/** What the specification recommends to forbid, and whatever else would put an event into a room. */
function forbidden({ ann, bob, invitedTo, open, knocking, room, theirs }: Home): [string, string, object][] {
  const profile = `/profile/${encodeURIComponent(ann.userId)}`
  const other = { user_id: bob.userId }
  return [
    ['PUT', `${room}/send/m.room.message/f1`, message],
    ['PUT', `${room}/send/m.reaction/f2`, { 'm.relates_to': { rel_type: 'm.annotation', event_id: theirs, key: '+' } }],
    ['PUT', `${room}/state/m.room.topic`, { topic: 'mine' }],
    ['PUT', `${room}/state/m.room.member/${encodeURIComponent(bob.userId)}`, { membership: 'invite' }],
    ['PUT', `/_matrix/client/unstable/com.beeper.ephemeral${room}/ephemeral/com.example.wave/f3`, {}],
    ['POST', `/join/${encodeURIComponent(open)}`, {}],
    ['POST', `/rooms/${encodeURIComponent(open)}/join`, {}],
    ['POST', `/rooms/${encodeURIComponent(invitedTo)}/join`, {}],
    ['POST', `/knock/${encodeURIComponent(knocking)}`, {}],
    ['POST', `${room}/invite`, other],
    ['POST', `${room}/kick`, other],
    ['POST', `${room}/ban`, other],
    ['POST', `${room}/unban`, other],
    ['POST', '/createRoom', {}],
    ['PUT', `${profile}/displayname`, { displayname: 'x' }],
    ['PUT', `${profile}/avatar_url`, { avatar_url: 'mxc://example.com/x' }],
    ['PUT', `${profile}/m.tz`, { 'm.tz': 'Europe/Berlin' }],
    ['DELETE', `${profile}/displayname`, {}],
    ['PUT', `${room}/redact/${encodeURIComponent(theirs)}/f4`, {}],
    ['PUT', `${room}/send/m.room.redaction/f5`, { redacts: theirs }],
    ['POST', `/_matrix/client/unstable/org.matrix.msc4194${room}/redact/user/${encodeURIComponent(bob.userId)}`, {}],
  ]
}

/** The same by GraphQL. */
function forbiddenByGraphql({ bob, roomId, open, knocking, theirs }: Home): string[] {
  const [room, user] = [JSON.stringify(roomId), JSON.stringify(bob.userId)]
  return [
    `sendMessage(roomId: ${room}, txnId: "g1", content: {body: "x"}) { eventId }`,
    `sendState(roomId: ${room}, type: "m.room.topic", content: {topic: "x"}) { eventId }`,
    `sendEphemeralEvent(roomId: ${room}, type: "com.example.wave", txnId: "g2", content: {})`,
    `joinRoom(roomIdOrAlias: ${JSON.stringify(open)}) { roomId }`,
    `knockRoom(roomIdOrAlias: ${JSON.stringify(knocking)})`,
    ...['inviteUser', 'kickUser', 'banUser', 'unbanUser'].map((name) => `${name}(roomId: ${room}, userId: ${user})`),
    'createRoom(input: {}) { roomId }',
    'setDisplayName(displayName: "x")',
    'setAvatarUrl(avatarUrl: "mxc://example.com/x")',
    'setProfileField(key: "m.tz", value: "Europe/Berlin")',
    'updateProfile(fields: {displayname: "x"})',
    'replaceProfile(fields: {displayname: "x"})',
    `redact(roomId: ${room}, eventId: ${JSON.stringify(theirs)}, txnId: "g3") { eventId }`,
    `redactUser(roomId: ${room}, userId: ${user}) { total }`,
    `deleteRoom(roomId: ${room})`,
  ].map((field) => `mutation { ${field} }`)
}

/** No events, no profile, no rooms: settings, keys, sessions, what one read, and the way out. */
const leftToThem =
  'archiveRooms changePassword claimKeys completeMedia createAlias createFilter createKeyBackup createMedia deactivateAccount deleteAlias deleteDehydratedDevice deleteDevices deleteKeyBackup deletePushRule deleteRoomKeys forgetRoom generateLoginToken leaveRoom login logout logoutAll muteRoom putDehydratedDevice putRoomKeys redact refreshSession register removeTag sendReceipt sendToDevice setAccountData setInboxState setPushRule setPushRuleActions setPushRuleEnabled setReadMarkers setRoomListed setTag setTyping updateDevice updateKeyBackup uploadCrossSigningKeys uploadKeys uploadSignatures'
/** The owner's and the administrators', or for an as_token only. */
const ofManagers =
  'acknowledgeToDeviceMessages batchSend configureBridge createInstance createRegistrationToken deleteInstance execBridge mergeRooms pauseBridge pingBridge provisionBridge registerBridge reportBridgeState reportMessageCheckpoints resumeBridge resumeInstance retryBridge rotateBridgeTokens setBridgeAddress setPassword setUserLocked setUserSuspended splitRoom suspendInstance'

test('every mutation says whether it is left to suspended people: one that is new is named here, or has the extension `suspended`', () => {
  const silent = Object.values(schema.getMutationType()!.getFields()).filter(({ extensions }) => extensions['suspended'] === undefined)
  assert.deepEqual(silent.map(({ name }) => name).sort(), `${leftToThem} ${ofManagers}`.split(' ').sort())
})

await onBothServers('suspended people', (start) => {
  test('send, join, knock, invite, redact what others said, and change their profile no more: 403 M_USER_SUSPENDED on both faces', async () => {
    await using server = await start()
    const home = await furnish(server)
    const { ann, owner, roomId } = home
    const { next_batch: since } = await owner.sync()
    await setSuspended(server, ann, true)
    for (const restarted of [false, true]) {
      if (restarted) await server.restart()
      for (const [method, path, body] of forbidden(home)) refused(await ann.request(method, path, body), 403, 'M_USER_SUSPENDED', path)
      for (const query of forbiddenByGraphql(home)) assert.equal(await errcodeOf(ann, query), 'M_USER_SUSPENDED', query)
    }
    await owner.send(roomId, 'still here')
    const { rooms } = await owner.sync(`since=${since}`)
    const told = rooms.join[roomId].timeline.events.map(({ sender }: { sender: string }) => sender)
    assert.deepEqual(told, [owner.userId])
    // None of it was refused for another reason.
    await setSuspended(server, ann, false)
    const answers = new Map<string, number>()
    for (const [method, path, body] of forbidden(home)) answers.set(`${method} ${path}`, (await ann.request(method, path, body)).status)
    const failed = [...answers].filter(([, status]) => status !== 200)
    assert.deepEqual(failed, [])
  })

  test('read, sync, type, mark as read, leave, decline, take back their own, write keys and settings, log in and out as before', async () => {
    await using server = await start()
    const home = await furnish(server)
    const { ann, owner, roomId, invitedTo, own, room } = home
    const again = await ann.send(roomId, 'mine, too')
    const third = await ann.send(roomId, 'and this')
    await setSuspended(server, ann, true)
    const { next_batch: since } = await ann.sync()
    await owner.send(roomId, 'can you read this?')
    const { rooms } = await ann.sync(`since=${since}`)
    assert.equal(rooms.join[roomId].timeline.events[0].content.body, 'can you read this?')
    const data = `/user/${encodeURIComponent(ann.userId)}/account_data/com.example.setting`
    const calls: [string, string, object][] = [
      ['GET', `${room}/messages?dir=b`, {}],
      ['PUT', `${room}/typing/${encodeURIComponent(ann.userId)}`, { typing: true }],
      ['POST', `${room}/read_markers`, { 'm.read': own, 'm.fully_read': own }],
      ['PUT', data, { on: true }],
      ['PUT', `${room}/redact/${encodeURIComponent(own)}/o1`, {}],
      ['PUT', `${room}/send/m.room.redaction/o2`, { redacts: again }],
      [
        'POST',
        '/room_keys/version',
        { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: { public_key: 'x', signatures: {} } },
      ],
      ['PUT', '/sendToDevice/m.key.verification.request/o3', { messages: { [ann.userId]: { '*': { from_device: 'x' } } } }],
      ['POST', `/rooms/${encodeURIComponent(invitedTo)}/leave`, {}],
    ]
    for (const [method, path, body] of calls) accepted(await ann.request(method, path, body))
    const redactOwn = 'mutation($r: ID!, $u: ID!) { redactUser(roomId: $r, userId: $u) { total } }'
    const { redactUser } = (await ann.graphql(redactOwn, { r: roomId, u: ann.userId })).data
    assert.ok(redactUser.total >= 1)
    assert.deepEqual(accepted(await owner.get(`${room}/event/${encodeURIComponent(third)}`)).content, {})
    accepted(await ann.post(`${room}/leave`))
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'ann' }, password: testPassword }
    const other = server.client(accepted(await server.request('POST', '/login', login)).access_token, ann.userId)
    refused(await other.post('/createRoom'), 403, 'M_USER_SUSPENDED')
    accepted(await other.post('/logout'))
    assert.deepEqual(accepted(await server.administrator.get(addressOf('suspend', ann.userId))), { suspended: true })
    const { session } = (await ann.post('/account/deactivate')).body
    accepted(await ann.post('/account/deactivate', { auth: { ...login, session } }))
  })

  test('an appservice says no more as a suspended owner than the owner may, and goes on as everybody else', async () => {
    await using server = await start()
    const bridge = await registerBridge(server, 'courier')
    const { owner } = server
    const { room_id } = accepted(
      await bridge.as(bridge.botId).request('POST', '/createRoom', { invite: [owner.userId], 'com.beeper.auto_join_invites': true }),
    )
    const send = (userId: string, txnId: string) =>
      bridge.as(userId).request('PUT', `/rooms/${encodeURIComponent(room_id)}/send/m.room.message/${txnId}`, message)
    accepted(await send(owner.userId, '1'))
    await setSuspended(server, owner, true)
    refused(await send(owner.userId, '2'), 403, 'M_USER_SUSPENDED')
    accepted(await send(bridge.botId, '3'))
    // What a bridge does with them is not what they do: they read on, also in new rooms.
    const invite = { invite: [owner.userId], 'com.beeper.auto_join_invites': true }
    const { room_id: second } = accepted(await bridge.as(bridge.botId).request('POST', '/createRoom', invite))
    assert.ok((await owner.get('/joined_rooms')).body.joined_rooms.includes(second))
    await setSuspended(server, owner, false)
    accepted(await send(owner.userId, '4'))
  })

  test('a batch at the live end says nothing for an owner who is suspended or locked, all of it or nothing; history does', async () => {
    await using server = await start()
    const { owner } = server
    const { bot, bridge, messages, portal, send, sent } = await startHistorian(server, 'courier')
    const roomId = await portal()
    const before = await sent(roomId, { forward: true, events: messages('before', 2, { sender: owner.userId }) })
    const missed = [...messages('ghost', 1), ...messages('missed', 1, { sender: owner.userId })]
    for (const set of [setSuspended, setLocked]) {
      await set(server, owner, true)
      refused(await send(roomId, { forward: true, events: missed }), 403, 'M_USER_SUSPENDED')
      // What is there already is answered as ever, and nothing of what was refused is.
      assert.deepEqual(await sent(roomId, { forward: true, events: messages('before', 2, { sender: owner.userId }) }), before)
      assert.deepEqual(idsOf(await pageBack(bot, roomId)), before.toReversed())
      await set(server, owner, false)
    }
    const quiet = await portal()
    await setSuspended(server, owner, true)
    refused(await send(quiet, { forward_if_no_messages: true, events: missed }), 403, 'M_USER_SUSPENDED')
    const live = await sent(roomId, { forward: true, events: messages('live', 1, { sender: bridge.ghost(1) }) })
    const old = await sent(roomId, { events: messages('old', 1, { sender: owner.userId }) })
    assert.deepEqual(idsOf(await pageBack(bot, roomId)), [...live, ...before.toReversed(), ...old])
    await setSuspended(server, owner, false)
    assert.deepEqual(await sent(roomId, { forward: true, events: missed }), idsOf(missed))
  })

  test('a suspended owner deletes no bridge, for its rooms would go with it; an administrator does', async () => {
    await using server = await start()
    const { owner, administrator } = server
    for (const id of ['first', 'second']) await registerBridge(server, id)
    const remove = (id: string) => `mutation { deleteBridge(id: "${id}") { id } }`
    await setSuspended(server, owner, true)
    assert.equal(await errcodeOf(owner, remove('first')), 'M_USER_SUSPENDED')
    assert.equal(await errcodeOf(administrator, remove('first')), undefined)
    assert.equal(await errcodeOf(administrator, remove('first')), 'M_NOT_FOUND')
    await setSuspended(server, owner, false)
    assert.equal(await errcodeOf(owner, remove('second')), undefined)
  })
})
