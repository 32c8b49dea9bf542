import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../rig/server.ts'
import { type Operation, readOperations } from './operations.ts'

let server: TestServer
const params: Record<string, string> = { eventId: '$event', serverName: 'example.com', deviceId: 'DEVICE', keyName: 'displayname' }

before(async () => {
  server = await startServer()
  params['userId'] = server.owner.userId
  params['roomId'] = await server.owner.createRoom()
})

after(() => server[Symbol.asyncDispose]())

/** What tells an operation from another one of the same path. */
const bodies: Record<string, object> = {
  inviteBy3PID: { id_server: 'id.example.com', id_access_token: 'token', medium: 'email', address: 'alice@example.com' },
  setPresence: { presence: 'online' },
}

for (const operation of readOperations().filter(({ state, outbound }) => state !== 'works' && !outbound)) {
  const { method, path, answer } = operation
  test(`${method} ${path} ${operation.operationId ?? ''} answers ${answer?.status} ${answer?.errcode ?? JSON.stringify(answer?.body)}`, async () => {
    const reply = await server.owner.request(method, fill(path), bodies[operation.operationId ?? ''] ?? {})
    assert.equal(reply.status, answer?.status)
    if (answer?.errcode) assert.equal(reply.body.errcode, answer.errcode)
    else assert.deepEqual(reply.body, answer?.body)
    assert.equal(reply.headers.get('access-control-allow-origin'), '*')
  })
}

for (const operation of readOperations().filter(needsToken)) {
  const { method, path } = operation
  test(`${method} ${path} without a token answers 401 M_MISSING_TOKEN`, async () => {
    const reply = await server.request(method, fill(path), {})
    assert.equal(reply.status, 401)
    assert.equal(reply.body.errcode, 'M_MISSING_TOKEN')
  })
}

/** A reply that says that there is no such endpoint says so to everybody. */
function needsToken({ auth, state, outbound, answer }: Operation): boolean {
  return auth === 'accessToken' && state !== 'planned' && !outbound && answer?.errcode !== 'M_UNRECOGNIZED'
}

function fill(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? name))
}
