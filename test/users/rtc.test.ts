/** What calls run over is what the operator configured, and nothing is claimed without. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import { startServer } from '../rig/server.ts'
import { registerBridge } from './bridge.ts'

const paths = ['/_matrix/client/v1/rtc/transports', '/_matrix/client/unstable/org.matrix.msc4143/rtc/transports']
const flags = ['org.matrix.msc4143', 'org.matrix.msc4143.stable']
const transports = [{ type: 'livekit', livekit_service_url: 'https://rtc.example.com/livekit/jwt' }]
const config = { rtcLivekitUrl: 'https://rtc.example.com/livekit/jwt', publicUrl: 'https://matrix.example.com' }
const query = '{ rtcTransports versions { unstableFeatures } }'

await onBothServers('calls', (start) => {
  test('the transport of the settings is told to who has a token, under both paths and by GraphQL', async () => {
    await using server = await start({ config })
    const bridge = await registerBridge(server, 'caller')
    for (const path of paths) {
      const reply = await server.owner.get(path)
      assert.deepEqual([reply.status, reply.body], [200, { rtc_transports: transports }])
      for (const user of [bridge.botId, server.owner.userId])
        assert.deepEqual((await bridge.as(user).request('GET', path)).body, { rtc_transports: transports })
      const missing = await server.request('GET', path)
      assert.deepEqual([missing.status, missing.body.errcode], [401, 'M_MISSING_TOKEN'])
      const unknown = await server.client('wrong').get(path)
      assert.deepEqual([unknown.status, unknown.body.errcode], [401, 'M_UNKNOWN_TOKEN'])
    }
    const { data } = await server.owner.graphql(query)
    assert.deepEqual(data.rtcTransports, transports)
    for (const flag of flags) assert.equal(data.versions.unstableFeatures[flag], true)
    const { body } = await server.request('GET', '/_matrix/client/versions')
    for (const flag of flags) assert.equal(body.unstable_features[flag], true)
  })

  test('without a transport there is no flag and no endpoint, so that clients look elsewhere', async () => {
    await using server = await start({ config: { publicUrl: config.publicUrl } })
    for (const path of paths) {
      const reply = await server.owner.get(path)
      assert.deepEqual([reply.status, reply.body.errcode], [404, 'M_UNRECOGNIZED'])
    }
    const { data } = await server.owner.graphql(query)
    assert.deepEqual(data.rtcTransports, [])
    for (const flag of flags) assert.equal(flag in data.versions.unstableFeatures, false)
    const { body } = await server.request('GET', '/.well-known/matrix/client')
    assert.deepEqual(body, { 'm.homeserver': { base_url: config.publicUrl } })
  })
})

test('older clients find the transport in .well-known, where a public address is configured', async () => {
  await using server = await startServer({ config })
  const { body } = await server.request('GET', '/.well-known/matrix/client')
  assert.deepEqual(body, { 'm.homeserver': { base_url: config.publicUrl }, 'org.matrix.msc4143.rtc_foci': transports })
})
