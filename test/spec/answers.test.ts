import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allEndpoints } from '../../shim/table.ts'
import { startServer } from '../rig/server.ts'
import { type Operation, readOperations } from './operations.ts'

/** What tells an operation from another one of the same path. */
const bodies: Record<string, object> = {
  inviteBy3PID: { id_server: 'id.example.com', id_access_token: 'token', medium: 'email', address: 'alice@example.com' },
  setPresence: { presence: 'online' },
}

test('what does not work gives the reply that the table names', async (t) => {
  await using server = await startServer()
  const live = new Set(allEndpoints.map(({ path }) => path))
  const fill = filler({ userId: server.owner.userId, roomId: await server.owner.createRoom() })
  for (const operation of readOperations().filter(({ state, outbound }) => state !== 'works' && !outbound)) {
    const { method, path, operationId, answer } = operation
    await t.test(`${method} ${path} ${operationId ?? ''}`, async () => {
      const reply = await server.owner.request(method, fill(path), bodies[operationId ?? ''] ?? {})
      // A known path with another method is 405, as everywhere.
      const wrongMethod = answer?.errcode === 'M_UNRECOGNIZED' && live.has(path)
      assert.equal(reply.status, wrongMethod ? 405 : answer?.status)
      if (answer?.errcode) assert.equal(reply.body.errcode, answer.errcode)
      else assert.deepEqual(reply.body, answer?.body)
      assert.equal(reply.headers.get('access-control-allow-origin'), '*')
    })
  }
})

test('what needs a token answers 401 M_MISSING_TOKEN without one', async (t) => {
  await using server = await startServer()
  const fill = filler({})
  for (const { method, path } of readOperations().filter(needsToken)) {
    await t.test(`${method} ${path}`, async () => {
      const reply = await server.request(method, fill(path), {})
      assert.deepEqual([reply.status, reply.body.errcode], [401, 'M_MISSING_TOKEN'])
    })
  }
})

/** A reply that there is no such endpoint goes to everybody. */
function needsToken({ auth, state, outbound, answer }: Operation): boolean {
  return ['accessToken', 'appservice'].includes(auth) && state !== 'planned' && !outbound && answer?.errcode !== 'M_UNRECOGNIZED'
}

function filler(known: Record<string, string>): (path: string) => string {
  const params: Record<string, string> = { eventId: '$event', serverName: 'example.com', keyName: 'displayname', ...known }
  return (path) => path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? name))
}
