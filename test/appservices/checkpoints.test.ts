/** Whose word counts on how far a message got: two bridges, and the homeserver itself. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GraphqlClient } from '../interop/graphql/client.ts'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, TestServer } from '../rig/server.ts'

const path = (id: string) => `/_matrix/asmux/mxauth/appservice/owner/${id}`

interface Shown {
  readonly step: string
  readonly status: string
  readonly bridgeId: string | null
}

async function register(server: TestServer, id: string): Promise<Client> {
  return server.client((await server.owner.put(path(id), { push: false })).body.as_token)
}

async function shown(server: TestServer, eventId: string): Promise<string[]> {
  const query = 'query($id: String!) { messageCheckpoints(eventId: $id) { step status bridgeId } }'
  const { data } = await server.owner.graphql(query, { id: eventId })
  return data.messageCheckpoints.map(({ step, status, bridgeId }: Shown) => [step, status, bridgeId ?? '-'].join(' '))
}

const report = (bridge: Client, ...checkpoints: object[]) => bridge.request('POST', '/_bridge/checkpoints', { checkpoints })

await onBothServers('how far a message got', (start) => {
  test('is said by bridges of their own rooms only, and what else they say is taken and left out', async () => {
    await using server = await start()
    const [own, other] = [await register(server, 'sh-own'), await register(server, 'sh-other')]
    const roomId = await own.createRoom({ 'com.beeper.initial_members': [server.owner.userId] })
    const elsewhere = await other.createRoom({ 'com.beeper.initial_members': [server.owner.userId] })
    const eventId = await server.owner.send(roomId, 'hello')
    const about = { event_id: eventId, room_id: roomId, step: 'REMOTE', status: 'SUCCESS' }
    assert.equal((await report(own, about)).status, 200)
    const lies = [
      { ...about, status: 'PERM_FAILURE' },
      { ...about, room_id: elsewhere, status: 'PERM_FAILURE' },
      { ...about, step: 'BRIDGE' },
      { ...about, step: 'HOMESERVER', status: 'PERM_FAILURE' },
    ]
    for (const lie of lies) assert.deepEqual([(await report(other, lie)).status, (await report(other, lie)).body], [200, {}])
    // Its own bridge is no homeserver either, and knows no event that is not there.
    const { room_id: _, ...nowhere } = about
    const more = [
      { ...about, step: 'HOMESERVER', status: 'PERM_FAILURE' },
      { ...about, step: 'CLIENT' },
      { ...about, room_id: '!none:example.com' },
      { ...about, event_id: '$none' },
      nowhere,
    ]
    assert.equal((await report(own, ...more)).status, 200)
    assert.deepEqual(await shown(server, eventId), ['HOMESERVER SUCCESS -', 'REMOTE SUCCESS sh-own'])
    assert.deepEqual(await shown(server, '$none'), [])
    for (const bad of [{ ...about, room_id: 1 }, { ...about, event_id: null }, 'text'])
      assert.equal((await own.request('POST', '/_bridge/checkpoints', { checkpoints: [bad] })).body.errcode, 'M_BAD_JSON')
  })

  test('is kept of each of two bridges in a room, and the step of the homeserver is both bridges’', async () => {
    await using server = await start()
    const [first, second] = [await register(server, 'sh-first'), await register(server, 'sh-second')]
    const roomId = await first.createRoom({ preset: 'public_chat', 'com.beeper.initial_members': [server.owner.userId] })
    assert.equal((await second.post(`/rooms/${roomId}/join`)).status, 200)
    const { userId, token } = server.owner
    const owner = new GraphqlClient(() => server.url, { userId, deviceId: '', accessToken: token })
    const after = await owner.position()
    const eventId = await server.owner.send(roomId, 'hello')
    const about = { event_id: eventId, room_id: roomId, step: 'REMOTE' }
    await report(first, { ...about, status: 'SUCCESS' })
    await report(second, { ...about, status: 'WILL_RETRY' }, { ...about, status: 'PERM_FAILURE' })
    const both = ['REMOTE SUCCESS sh-first', 'REMOTE PERM_FAILURE sh-second']
    assert.deepEqual(await shown(server, eventId), ['HOMESERVER SUCCESS -', ...both])
    await server.restart()
    assert.deepEqual(await shown(server, eventId), ['HOMESERVER SUCCESS -', ...both])
    const query = `subscription($id: String, $after: Position) {
      bridgeStatus(id: $id, after: $after) { checkpoints { step status bridgeId } }
    }`
    for (const [id, own] of [
      ['sh-first', both[0]],
      ['sh-second', both[1]],
    ] as const) {
      const heard = owner.subscription(query, { id, after })
      const { checkpoints } = (await heard.next()).bridgeStatus as { checkpoints: Shown[] }
      heard.cut()
      assert.deepEqual(
        checkpoints.map(({ step, status, bridgeId }) => [step, status, bridgeId ?? '-'].join(' ')),
        ['HOMESERVER SUCCESS -', own],
      )
    }
    assert.equal((await server.owner.request('DELETE', path('sh-second'))).status, 200)
    assert.equal((await report(second, { ...about, status: 'SUCCESS' })).status, 401)
    assert.deepEqual(await shown(server, eventId), ['HOMESERVER SUCCESS -', both[0]])
  })

  test('is taken of many rooms in one report', async () => {
    await using server = await start()
    const bridge = await register(server, 'sh-many')
    const reports: object[] = []
    for (let n = 0; n < 60; n++) {
      const roomId = await bridge.createRoom({ 'com.beeper.initial_members': [server.owner.userId] })
      const eventId = await server.owner.send(roomId, 'hello')
      reports.push({ event_id: eventId, room_id: roomId, step: 'REMOTE', status: 'SUCCESS' })
    }
    assert.equal((await report(bridge, ...reports)).status, 200)
    const instance = await server.server.host.defaultInstance()
    assert.equal(await instance.storage.count('bridgeCheckpoint', {}), 60)
  })
})
