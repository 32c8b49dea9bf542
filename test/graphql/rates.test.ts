/** How often somebody may do something does not depend on the face, nor on how much stands in one document. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { readConfig } from '../../src/config.ts'
import { startServer, type TestServer } from '../rig/server.ts'

let server: TestServer
let roomId: string

before(async () => {
  const rateLimits = { ...readConfig({}).rateLimits!, message: { perSecond: 0.001, burst: 20 }, usual: { perSecond: 0.001, burst: 60 } }
  server = await startServer({ config: { rateLimits } })
  roomId = await server.owner.createRoom()
})

after(() => server[Symbol.asyncDispose]())

const sends = (count: number, from: string) =>
  Array.from(
    { length: count },
    (_, i) => `s${i}: sendMessage(roomId: "${roomId}", type: "m.room.message", txnId: "${from}${i}", content: { body: "x" }) { eventId }`,
  ).join(' ')

test('many messages in one document count as many', async () => {
  assert.equal((await server.owner.graphql(`mutation { ${sends(15, 'a')} }`)).errors, undefined)
  const { errors, data } = await server.owner.graphql(`mutation { ...Rest } fragment Rest on Mutation { ${sends(10, 'b')} }`)
  assert.equal(errors[0].extensions.errcode, 'M_LIMIT_EXCEEDED')
  assert.ok(errors[0].extensions.retry_after_ms > 0)
  // Refused before any of it was done.
  assert.equal(data ?? null, null)
  const { body } = await server.owner.request('GET', `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=100`)
  assert.equal(body.chunk.filter((event: { type: string }) => event.type === 'm.room.message').length, 15)
})

test('many questions in one document count as many', async () => {
  const fields = Array.from({ length: 80 }, (_, i) => `q${i}: versions { versions }`).join(' ')
  const { errors } = await server.owner.graphql(`{ ${fields} }`)
  assert.equal(errors[0].extensions.errcode, 'M_LIMIT_EXCEEDED')
})
