import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from 'yaml'
import { deleteBridge } from '../../src/appservices/deletion.ts'
import { readRegistration, wholeRegistration } from '../../src/appservices/registration.ts'
import { readBridges, registerBridge, setBridgeAddress } from '../../src/appservices/registrations.ts'
import { uploadCrossSigningKeys } from '../../src/devices/cross-signing.ts'
import { uploadKeys } from '../../src/devices/device-keys.ts'
import { createRoom } from '../../src/rooms/create.ts'
import { joinRoom } from '../../src/rooms/membership.ts'
import { command } from '../../src/stream/command.ts'
import { loginAsAppservice, registerPerson } from '../../src/users/accounts.ts'
import { removeAppservice } from '../../src/users/registrations.ts'
import { makeDeviceKeys, makeIdentity, makeKeys } from '../devices/rig.ts'
import { jobsDone } from '../jobs/done.ts'
import { Homeserver } from './homeserver.ts'

test('a bridge that says only its name gets a bot, ghosts and tokens on the bridge domain', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const row = await registerBridge(instance, owner, { id: 'sh-whatsapp', url: 'websocket' })
  const registration = wholeRegistration(row)
  assert.equal(registration['url'], 'websocket')
  assert.equal(registration['sender_localpart'], 'sh-whatsappbot')
  assert.equal(registration['rate_limited'], false)
  assert.equal(registration['receive_ephemeral'], true)
  assert.equal(registration['de.sorunome.msc2409.push_ephemeral'], true)
  const { users } = registration['namespaces'] as { users: { regex: string; exclusive: boolean }[] }
  assert.deepEqual(users, [
    { regex: '^@sh-whatsapp_.+:bridges\\.example\\.com$', exclusive: true },
    { regex: '^@sh-whatsappbot:bridges\\.example\\.com$', exclusive: true },
  ])
  const bot = await instance.storage.first('user', { key: row.bot })
  assert.deepEqual([bot?.userId, bot?.kind, bot?.appservice], ['@sh-whatsappbot:bridges.example.com', 'bot', row.key])
  const { actor } = await homeserver.host.authenticate(row.asToken, null)
  assert.deepEqual([actor.userId, actor.appservice, actor.admin], ['@sh-whatsappbot:bridges.example.com', row.key, false])
})

test('the same again changes nothing, and what is given is set', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner, administrator } = homeserver
  const first = await registerBridge(instance, owner, { id: 'signal', url: 'http://127.0.0.1:29328/' })
  assert.equal(first.url, 'http://127.0.0.1:29328')
  assert.deepEqual(await registerBridge(instance, owner, { id: 'signal', url: 'http://127.0.0.1:29328' }), first)
  assert.deepEqual(await registerBridge(instance, owner, { id: 'signal' }), first)
  const moved = await registerBridge(instance, administrator, { id: 'signal', url: 'http://10.0.0.5:29328', receiveEphemeral: false })
  assert.deepEqual([moved.key, moved.asToken, moved.setBy], [first.key, first.asToken, 'operator'])
  assert.equal(wholeRegistration(moved)['receive_ephemeral'], false)
  assert.equal((await readBridges(instance, owner)).length, 1)
})

test('a homeserver has at most 1 000 bridges', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const first = await registerBridge(instance, owner, { id: 'bridge0' })
  // As if registered one by one, which takes long.
  await command(instance, (decision) => {
    for (let n = 1; n < 999; n++) {
      const key = decision.takePosition()
      decision.write('appservice', { ...first, key, id: `bridge${n}`, asToken: `${n}`, position: key })
    }
  })
  instance.dropMemory()
  await registerBridge(instance, owner, { id: 'bridge999' })
  await assert.rejects(registerBridge(instance, owner, { id: 'bridge1000' }), { errcode: 'M_RESOURCE_LIMIT_EXCEEDED' })
  await registerBridge(instance, owner, { id: 'bridge999', url: 'websocket' })
})

test("an owner's addresses lie within the configured networks, an operator's anywhere", async () => {
  await using homeserver = await Homeserver.open({ config: { appserviceNetworks: ['10.1.0.0/16'] } })
  const { instance, owner, administrator } = homeserver
  for (const url of ['http://10.2.0.1:1', 'http://127.0.0.1:1', 'http://[::1]:1', 'http://[::ffff:10.2.0.1]:1', 'http://0x7f000001/']) {
    await assert.rejects(registerBridge(instance, owner, { id: 'x', url }), { errcode: 'M_FORBIDDEN' }, url)
  }
  assert.equal((await registerBridge(instance, owner, { id: 'x', url: 'http://10.1.2.3:1' })).url, 'http://10.1.2.3:1')
  assert.equal((await setBridgeAddress(instance, administrator, 'x', 'http://10.2.0.1:1')).setBy, 'operator')
  await assert.rejects(setBridgeAddress(instance, owner, 'x', 'http://10.2.0.2:1'), { errcode: 'M_FORBIDDEN' })
  for (const url of ['ftp://10.1.2.3', 'http://user:secret@10.1.2.3', 'http://10.1.2.3/?a=b', 'nowhere']) {
    await assert.rejects(registerBridge(instance, administrator, { id: 'x', url }), { errcode: 'M_INVALID_PARAM' }, url)
  }
})

test('only the owner and administrators register, never an appservice', async () => {
  await using homeserver = await Homeserver.open()
  const { instance } = homeserver
  const bridge = await homeserver.bridge('whatsapp')
  const person = await registerPerson(instance, { username: 'guest' })
  const { actor } = await homeserver.host.authenticate(person.session!.accessToken, null)
  for (const actorOf of [actor, await homeserver.actor(bridge), await homeserver.actor(bridge, instance.ownerId)]) {
    await assert.rejects(registerBridge(instance, actorOf, { id: 'evil' }), { errcode: 'M_FORBIDDEN' })
    await assert.rejects(deleteBridge(instance, actorOf, 'whatsapp'), { errcode: 'M_FORBIDDEN' })
    await assert.rejects(readBridges(instance, actorOf), { errcode: 'M_FORBIDDEN' })
  }
})

test('a registration file is taken as it is, with its tokens and unknown keys', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, administrator } = homeserver
  const file = `
id: telegram
url: http://localhost:29317
as_token: this-is-a-long-as-token
hs_token: this-is-a-long-hs-token
sender_localpart: tgbot
rate_limited: false
de.sorunome.msc2409.push_ephemeral: true
org.matrix.msc3202: true
protocols: [telegram]
namespaces:
    users:
    - regex: ^@tg_[0-9]+:bridges\\.example\\.com$
      exclusive: true
    aliases:
    - exclusive: true
      regex: '#tg_.*'
`
  const row = await registerBridge(instance, administrator, readRegistration(parse(file)))
  const registration = wholeRegistration(row)
  assert.equal(registration['as_token'], 'this-is-a-long-as-token')
  assert.deepEqual(
    [registration['protocols'], registration['org.matrix.msc3202'], registration['receive_ephemeral']],
    [['telegram'], true, true],
  )
  assert.deepEqual(await registerBridge(instance, administrator, readRegistration(parse(file))), row)
  assert.equal((await homeserver.host.authenticate('this-is-a-long-as-token', null)).actor.appservice, row.key)
  const refused: [string, RegExp][] = [
    [file.replace('id: telegram', 'id: other'), /in use|belongs/],
    [file.replace('^@tg_[0-9]+', '^@tg_(').replace('telegram', 'x'), /regular expression/],
    [file.replace('sender_localpart: tgbot', 'sender_localpart: "a:b"').replace('telegram', 'y'), /localpart/],
    [file.replace('this-is-a-long-as-token', 'short'), /as_token/],
    [file.replace('id: telegram', 'id: [1]'), /id/],
    ['namespaces: 1\nid: a', /namespaces/],
    ['url: 1\nid: a', /url/],
  ]
  for (const [text, message] of refused)
    await assert.rejects(async () => registerBridge(instance, administrator, readRegistration(parse(text))), message, text)
})

test('a namespace never covers a user with a login', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, administrator } = homeserver
  await registerPerson(instance, { username: 'friend' })
  const bridge = await homeserver.bridge('greedy', { namespaces: { users: [{ regex: '@.*', exclusive: false }] } })
  await assert.rejects(homeserver.actor(bridge, '@friend:example.com'), { errcode: 'M_FORBIDDEN' })
  await assert.rejects(homeserver.actor(bridge, administrator.userId), { errcode: 'M_FORBIDDEN' })
  assert.equal((await homeserver.actor(bridge, instance.ownerId)).puppet, true)
  const bot = await homeserver.actor(bridge)
  await assert.rejects(loginAsAppservice(instance, bot, { user: '@friend:example.com' }), { errcode: 'M_EXCLUSIVE' })
  assert.equal((await instance.storage.first('user', { userId: '@friend:example.com' }))?.appservice, null)
  // A bot's name that a person or another bridge has is not taken.
  await assert.rejects(registerBridge(instance, administrator, { id: 'x', senderLocalpart: 'greedybot' }), { errcode: 'M_EXCLUSIVE' })
})

test('ghosts of an earlier life belong to the bridge that is registered again, with the rooms they are in', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const bridge = await homeserver.bridge('whatsapp')
  const { roomId } = await createRoom(instance, owner, { preset: 'public_chat' })
  for (const ghost of ['bob', 'eve', 'late']) {
    await joinRoom(instance, await homeserver.actor(bridge, bridge.ghostId(ghost)), { roomIdOrAlias: roomId })
  }
  await deleteBridge(instance, owner, 'whatsapp')
  const row = await registerBridge(instance, owner, { id: 'whatsapp' })
  await jobsDone(instance)
  for (const ghost of ['bob', 'eve', 'late']) {
    const user = await instance.storage.first('user', { userId: bridge.ghostId(ghost) })
    assert.deepEqual([user?.appservice, user?.status], [row.key, 'active'], ghost)
  }
  // Some had left before it was registered again.
  for (const ghost of ['bob', 'eve', 'late']) {
    const { actor } = await homeserver.host.authenticate(row.asToken, null)
    await joinRoom(instance, await homeserver.host.masquerade(instance, actor, { userId: bridge.ghostId(ghost) }), {
      roomIdOrAlias: roomId,
    })
  }
  await homeserver.send(owner, roomId, 'hello again')
  const [interest] = await instance.storage.find('interest', { where: { appservice: row.key } })
  assert.ok(interest)
  // Its own counts are those that a fresh load finds.
  const room = await instance.storage.first('room', { roomId })
  assert.deepEqual([...(await instance.storage.appserviceCounts(room!.key))], [[row.key, 3]])
})

test('of an earlier life that was cut off nothing encrypts for a bridge that is registered again: sessions, devices and keys are gone', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const bridge = await homeserver.bridge('whatsapp')
  const session = await loginAsAppservice(instance, await homeserver.actor(bridge), { user: bridge.botId, deviceId: 'OLD' })
  const { actor } = await homeserver.host.authenticate(session.accessToken, null)
  await uploadKeys(instance, actor, { deviceKeys: makeDeviceKeys(bridge.botId, 'OLD'), oneTimeKeys: makeKeys(bridge.botId, 'OLD', ['A']) })
  const { master_key: masterKey } = makeIdentity(bridge.botId).body
  await uploadCrossSigningKeys(instance, actor, { masterKey })
  // As when the process ends between the two steps of a deletion.
  await command(instance, (decision) => removeAppservice(decision, decision.find('appservice', { id: 'whatsapp' })!))
  const row = await registerBridge(instance, owner, { id: 'whatsapp' })
  await assert.rejects(homeserver.host.authenticate(session.accessToken, null), { errcode: 'M_UNKNOWN_TOKEN' })
  for (const table of ['device', 'deviceKeys', 'oneTimeKey', 'keyCount', 'crossSigningKey'] as const)
    assert.equal(await instance.storage.count(table, { user: row.bot }), 0, table)
  assert.equal((await instance.storage.first('user', { key: row.bot }))?.appservice, row.key)
})

test('deleting a bridge ends the tokens of its users', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const bridge = await homeserver.bridge('whatsapp')
  const session = await loginAsAppservice(instance, await homeserver.actor(bridge), { user: bridge.ghostId('bob') })
  assert.equal((await homeserver.host.authenticate(session.accessToken, null)).actor.userId, bridge.ghostId('bob'))
  await deleteBridge(instance, owner, 'whatsapp')
  await assert.rejects(homeserver.host.authenticate(session.accessToken, null), { errcode: 'M_UNKNOWN_TOKEN' })
  await assert.rejects(deleteBridge(instance, owner, 'whatsapp'), { errcode: 'M_NOT_FOUND' })
})

test('acting as the owner a bridge is bound to rooms that have a user of it', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const bridge = await homeserver.bridge('whatsapp')
  const roomId = await homeserver.portal(bridge, 'bob')
  const own = (await createRoom(instance, owner, {})).roomId
  const puppet = await homeserver.actor(bridge, instance.ownerId)
  await homeserver.send(puppet, roomId, 'sent from the phone')
  await assert.rejects(homeserver.send(puppet, own, 'no'), { errcode: 'M_FORBIDDEN' })
})
