import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { logIn, PatientClient, roomPath } from '../kill/client.ts'
import { ServerProcess } from '../kill/server-process.ts'
import { SocketBridge } from './socket-bridge.ts'

test('killed between a frame and its acknowledgement, the server sends the same transaction under the same id, and every event once', async () => {
  await using server = await ServerProcess.make({})
  await server.start()
  const { url } = server
  const { signal } = new AbortController()
  const { owner: account } = server.accounts!
  const owner = new PatientClient({ url, token: await logIn(url, account, signal), signal })
  const path = '/_matrix/asmux/mxauth/appservice/owner/kill'
  const { as_token: token } = await owner.ask('PUT', path, { push: false })
  const bot = new PatientClient({ url, token, signal })
  const { room_id: roomId } = await bot.ask('POST', '/createRoom', { 'com.beeper.initial_members': [account.userId] })
  const send = (body: string) => owner.ask('PUT', `${roomPath(roomId)}/send/m.room.message/${body}`, { msgtype: 'm.text', body })
  await using bridge = await SocketBridge.connect({ url, token })
  const bodies = ['0', '1', '2', '3']
  await send('0')
  await bridge.until('it is settled', () => bridge.bodies.length === 1)
  await sleep(100)
  for (const body of bodies.slice(1)) {
    // Taken and not acknowledged, or not even taken.
    bridge.behaviour = body === '2' ? 'hang' : 'silent'
    const before = bridge.attempts.length
    await send(body)
    await bridge.until('it came', () => bridge.attempts.length > before)
    await server.kill()
    await bridge.closed
    await server.start()
    bridge.behaviour = 'ok'
    await bridge.connect()
    await bridge.until('it came again', () => bridge.attempts.length === before + 2)
    const [first, second] = bridge.attempts.slice(before)
    assert.equal(second!.txnId, first!.txnId)
    assert.equal(second!.text, first!.text)
    await bridge.until('it is there', () => bridge.bodies.includes(body))
    await sleep(100)
  }
  assert.deepEqual(bridge.bodies, bodies)
})
