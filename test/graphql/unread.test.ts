/** A peer that sends and does not read what comes back. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { startServer, type TestServer } from '../rig/server.ts'

let server: TestServer

before(async () => {
  server = await startServer()
})

after(() => server[Symbol.asyncDispose]())

test('a websocket that leaves its answers unread is not read on, and goes on when it reads', { timeout: 30_000 }, async () => {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws')
  const upgraded = once(socket, 'upgrade') as Promise<[{ socket: Socket }]>
  await once(socket, 'open')
  const [response] = await upgraded
  socket.send(JSON.stringify({ type: 'connection_init', payload: { accessToken: server.owner.token } }))
  await once(socket, 'message')
  let answers = 0
  socket.on('message', () => answers++)
  response.socket.pause()
  const pings = 64
  for (let i = 0; i < pings; i++) socket.send(JSON.stringify({ type: 'ping', payload: { text: 'x'.repeat(900_000) } }))
  // Until no more is taken of it.
  for (let before = Infinity; socket.bufferedAmount < before; await sleep(500)) before = socket.bufferedAmount
  assert.ok(socket.bufferedAmount > 20_000_000, `${socket.bufferedAmount} bytes were not read`)
  response.socket.resume()
  while (answers < pings) await once(socket, 'message')
  socket.terminate()
})
