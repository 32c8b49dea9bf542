/** Calls of matrix-js-sdk that need no sync: rooms in common, and what calls run over. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createClient, type MatrixClient } from 'matrix-js-sdk'
import { type Client, startServer, type TestServer } from '../../rig/server.ts'
import { registerBridge } from '../../users/bridge.ts'

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent }

let server: TestServer
before(async () => {
  server = await startServer({ config: { rtcLivekitUrl: 'https://rtc.example.com' } })
})
after(() => server[Symbol.asyncDispose]())

function sdk(client: Client): MatrixClient {
  return createClient({ logger: silent, baseUrl: server.url, accessToken: client.token, userId: client.userId, deviceId: client.deviceId })
}

test('matrix-js-sdk pages through all rooms in common, and is told why not its own', async () => {
  const bridge = await registerBridge(server, 'mutual')
  const bot = server.client(bridge.as_token)
  const rooms: string[] = []
  const portal = { invite: [bridge.ghost(1), server.owner.userId], 'com.beeper.auto_join_invites': true }
  for (let i = 0; i < 101; i++) rooms.push(await bot.createRoom(portal))
  const owner = sdk(server.owner)
  assert.deepEqual(await owner._unstable_getSharedRooms(bridge.ghost(1)), rooms)
  await assert.rejects(owner._unstable_getSharedRooms(server.owner.userId), { errcode: 'M_INVALID_PARAM' })
})

test('matrix-js-sdk finds what calls run over', async () => {
  const found = await sdk(server.owner)._unstable_getRTCTransports()
  assert.deepEqual(found, [{ type: 'livekit', livekit_service_url: 'https://rtc.example.com' }])
})
