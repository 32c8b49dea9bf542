/** For how long something has waited for a bridge, as dashboards are told: by the homeserver's clock, whatever events say. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import type { TestServer } from '../rig/server.ts'
import { Clock } from './clock.ts'
import { SocketBridge } from './socket-bridge.ts'

const path = (id: string) => `/_matrix/asmux/mxauth/appservice/owner/${id}`

async function waiting(server: TestServer): Promise<{ queueLength: number; oldestUndelivered: number | null }> {
  return (await server.owner.graphql('{ bridge(id: "sh-old") { queueLength oldestUndelivered } }')).data.bridge
}

async function seconds(server: TestServer): Promise<number> {
  const metrics = await (await fetch(`${server.url}/metrics`)).text()
  return Number(/oldest_undelivered_seconds\{[^}]*sh-old[^}]*\} (\S+)/.exec(metrics)?.[1])
}

await onBothServers('for how long something has waited for a bridge', (start) => {
  for (const [what, ts] of [
    ['an event of long ago', 1_000],
    ['an event of the far future', 9_000_000_000_000],
  ] as const) {
    describe(what, () => {
      test('is counted from when it was written, whatever time its sender gives it, and over a restart', async () => {
        const clock = new Clock(SocketBridge.settle)
        await using server = await start({ ports: clock.ports })
        const { as_token: token } = (await server.owner.put(path('sh-old'), { push: false })).body
        const bot = server.client(token)
        const roomId = await bot.createRoom({ 'com.beeper.initial_members': [server.owner.userId] })
        await using bridge = await SocketBridge.connect({ url: server.url, token })
        while ((await waiting(server)).queueLength > 0) await clock.move(100)
        assert.deepEqual([(await waiting(server)).oldestUndelivered, await seconds(server)], [null, 0])
        await bridge.crash()
        await clock.move(3_600_000)
        const before = clock.now()
        assert.equal((await bot.put(`/rooms/${roomId}/send/m.room.message/t?ts=${ts}`, { msgtype: 'm.text', body: 'hi' })).status, 200)
        const { oldestUndelivered: since } = await waiting(server)
        assert.ok(since !== null && since >= before && since <= clock.now(), String(since))
        await clock.move(600_000)
        await server.restart()
        await server.owner.send(roomId, 'behind it')
        assert.deepEqual(await waiting(server), { queueLength: 2, oldestUndelivered: since })
        const waited = await seconds(server)
        assert.ok(waited >= 600 && waited < 1_200, String(waited))
        await server.owner.graphql('mutation { pauseBridge(id: "sh-old") { id } }')
        assert.equal((await waiting(server)).oldestUndelivered, since)
      })
    })
  }
})
