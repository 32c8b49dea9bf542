/** The end of an account, on both databases. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deactivationJob } from '../../src/devices/deactivation.ts'
import { jobsDone } from '../jobs/done.ts'
import { type Client, startServer, type TestServer, testPassword } from '../rig/server.ts'
import { onBothEngines } from '../storage/engines.ts'
import { registerBridge } from '../users/bridge.ts'
import { makeDeviceKeys, makeIdentity } from './rig.ts'

const path = '/account/deactivate'
const passwordOf = (client: Client) => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user: client.userId },
  password: testPassword,
})

function refused({ status, body }: { status: number; body: { errcode?: string } }, ...wanted: [number, string]): void {
  assert.deepEqual([status, body.errcode], wanted)
}

async function memberIn(client: Client, roomId: string, userId: string): Promise<string> {
  const state = `/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${encodeURIComponent(userId)}`
  return (await client.get(state)).body.membership
}

async function join(server: TestServer, client: Client, rooms: number): Promise<string[]> {
  const roomIds: string[] = []
  for (let i = 0; i < rooms; i++) {
    roomIds.push(await server.owner.createRoom({ preset: 'public_chat' }))
    assert.equal((await client.post(`/join/${encodeURIComponent(roomIds[i]!)}`)).status, 200)
  }
  return roomIds
}

await onBothEngines('deactivated accounts', (place) => {
  test('sessions, password, keys and profile are gone with the answer; rooms and settings soon after; messages stay', async (t) => {
    await using server = await startServer({ databaseUrl: (await place(t)).url })
    const instance = await server.server.host.defaultInstance()
    const ann = await server.register('ann', testPassword)
    const { userId } = ann
    const me = encodeURIComponent(userId)
    assert.equal((await ann.put(`/profile/${me}/displayname`, { displayname: 'Ann' })).status, 200)
    assert.equal((await ann.put(`/user/${me}/account_data/x.note`, { note: 1 })).status, 200)
    assert.equal((await ann.post('/keys/upload', { device_keys: makeDeviceKeys(userId, ann.deviceId) })).status, 200)
    const [identity, trusted] = [makeIdentity(userId), makeIdentity(server.owner.userId)]
    assert.equal((await ann.post('/keys/device_signing/upload', identity.body)).status, 200)
    assert.equal((await server.owner.post('/keys/device_signing/upload', trusted.body)).status, 200)
    const trust = { [trusted.master.publicKey]: identity.userSigning.sign(trusted.body.master_key, userId) }
    assert.deepEqual((await ann.post('/keys/signatures/upload', { [server.owner.userId]: trust })).body, { failures: {} })
    const rooms = await join(server, ann, 3)
    const eventId = await ann.send(rooms[0]!, 'it stays')
    const invited = await server.owner.createRoom({ invite: [userId] })
    const asked = await ann.post(path, {})
    assert.deepEqual([asked.status, asked.body.flows], [401, [{ stages: ['m.login.password'] }]])
    const auth = { ...passwordOf(ann), session: asked.body.session }
    refused(await ann.post(path, { auth: { ...auth, password: 'no' } }), 401, 'M_FORBIDDEN')
    const ended = await ann.post(path, { auth, erase: true })
    assert.deepEqual([ended.status, ended.body], [200, { id_server_unbind_result: 'no-support' }])
    refused(await ann.get('/account/whoami'), 401, 'M_UNKNOWN_TOKEN')
    refused(await server.request('POST', '/login', passwordOf(ann)), 403, 'M_FORBIDDEN')
    assert.deepEqual((await server.owner.get(`/profile/${me}`)).body, {})
    const { body } = await server.owner.post('/keys/query', { device_keys: { [userId]: [] } })
    assert.deepEqual([body.device_keys, body.master_keys], [{ [userId]: {} }, {}])
    await jobsDone(instance)
    for (const roomId of [...rooms, invited]) assert.equal(await memberIn(server.owner, roomId, userId), 'leave')
    const message = await server.owner.get(`/rooms/${encodeURIComponent(rooms[0]!)}/event/${encodeURIComponent(eventId)}`)
    assert.equal(message.body.content.body, 'it stays')
    const { key } = (await instance.storage.first('user', { userId }))!
    for (const table of ['accountData', 'device', 'deviceKeys', 'crossSigningKey', 'filter', 'transaction'] as const) {
      assert.equal(await instance.storage.count(table, { user: key }), 0, table)
    }
    assert.equal(await instance.storage.count('signature', {}), 0, 'nor is it known whom the user trusted')
    const jobs = (await server.owner.graphql('{ jobs { kind about done total endedAt } }')).data.jobs
    const [job] = jobs.filter((each: { kind: string }) => each.kind === 'DEACTIVATE_ACCOUNT')
    assert.deepEqual([job.about, job.done, job.total], [{ userId }, 4, 4])
    await server.owner.send(rooms[0]!, 'others go on')
  })

  test('it goes on after a restart, and a slice that is done twice does no harm', async (t) => {
    await using server = await startServer({ databaseUrl: (await place(t)).url })
    const ann = await server.register('ann', testPassword)
    const rooms = await join(server, ann, 3)
    assert.equal((await ann.post(path, { auth: passwordOf(ann) })).status, 200)
    await server.restart()
    const instance = await server.server.host.defaultInstance()
    await jobsDone(instance)
    const [job] = await instance.storage.find('job', { where: { kind: 'deactivateAccount' } })
    assert.equal(await deactivationJob(instance, job!), null)
    for (const roomId of rooms) assert.equal(await memberIn(server.owner, roomId, ann.userId), 'leave')
  })
})

test('nobody gets the name of an account that ended, and its owner gets no other password', async () => {
  await using server = await startServer({ config: { registration: 'open' } })
  const ann = await server.register('ann', testPassword)
  assert.equal(
    (await ann.graphql('mutation($auth: JsonObject) { deactivateAccount(auth: $auth) }', { auth: passwordOf(ann) })).errors,
    undefined,
  )
  const body = { username: 'ann', password: testPassword, auth: { type: 'm.login.dummy' } }
  refused(await server.request('POST', '/register', body), 400, 'M_USER_IN_USE')
  const setting = await server.owner.graphql('mutation($id: ID!) { setPassword(userId: $id, password: "another good password") }', {
    id: ann.userId,
  })
  assert.equal(setting.errors[0].extensions.errcode, 'M_USER_DEACTIVATED')
})

test('the owner, administrators, and bridges for whomever are refused', async () => {
  await using server = await startServer()
  refused(await server.owner.post(path, { auth: passwordOf(server.owner) }), 403, 'M_FORBIDDEN')
  refused(await server.administrator.post(path, {}), 403, 'M_FORBIDDEN')
  const bridge = await registerBridge(server, 'ends')
  for (const userId of [bridge.botId, bridge.ghost(1), server.owner.userId]) {
    refused(await bridge.as(userId).request('POST', path, {}), 403, 'M_FORBIDDEN')
  }
  for (const client of [server.owner, server.administrator]) assert.equal((await client.get('/account/whoami')).status, 200)
})
