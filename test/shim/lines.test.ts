/** Whoever keeps one homeserver busy keeps nobody else from theirs. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startServer, type TestServer, testPassword } from '../rig/server.ts'

let server: TestServer
before(async () => {
  server = await startServer()
  await server.register('ann', testPassword)
})
after(() => server[Symbol.asyncDispose]())

function logIn(user: string, password: string) {
  return server.request('POST', '/login', { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password })
}

test('logins at a homeserver whose line is full wait there: others log in meanwhile', { timeout: 20_000 }, async () => {
  const create = 'mutation { createInstance(name: "busy", owner: "busy") { password } }'
  const { password } = (await server.administrator.graphql(create)).data.createInstance
  const { body } = await logIn('busy', password)
  const { hostname, port } = new URL(server.url)
  // A place is taken before the body is read.
  const sockets = Array.from({ length: 16 }, () => {
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    socket.write(
      `POST /_matrix/client/v3/createRoom HTTP/1.1\r\nhost: h\r\nauthorization: Bearer ${body.access_token}\r\ncontent-length: 100\r\n\r\n{`,
    )
    return socket
  })
  await sleep(200)
  const waiting = Array.from({ length: 40 }, () => logIn('busy', password))
  await sleep(200)
  assert.equal((await logIn('ann', testPassword)).status, 200)
  for (const socket of sockets) socket.destroy()
  for (const reply of await Promise.all(waiting)) assert.equal(reply.status, 200)
})

test('strangers who flood the GraphQL face do not stand in the line of the default homeserver', { timeout: 20_000 }, async () => {
  let pending = 100
  const query = 'mutation { login(input: { type: "m.login.password", user: "ann", password: "a guess" }) { userId } }'
  const flood = Array.from({ length: pending }, () =>
    server.request('POST', '/graphql', { query }, { headers: { 'content-type': 'application/json' } }).finally(() => pending--),
  )
  await sleep(100)
  assert.equal((await server.owner.get('/account/whoami')).status, 200)
  assert.ok(pending > 50, `${100 - pending} of the strangers were served first`)
  for (const { body } of await Promise.all(flood)) assert.equal(body.errors[0].extensions.errcode, 'M_FORBIDDEN')
})
