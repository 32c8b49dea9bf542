/** What runs for a session ends with it: long polls and subscriptions, at logout and when the access token expires. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { refreshableLifetimeMs } from '../../src/users/sessions.ts'
import { GraphqlError, Subscription } from '../interop/graphql/client.ts'
import { type Client, type Reply, startServer, type TestServer, testPassword } from '../rig/server.ts'

let ahead = 0
/** timers of an hour, which nobody waits for */
let late: (() => void)[] = []
let server: TestServer
before(async () => {
  server = await startServer({
    ports: {
      now: () => Date.now() + ahead,
      timer(delayMs, run) {
        if (delayMs > refreshableLifetimeMs / 2) {
          late.push(run)
          return () => (late = late.filter((other) => other !== run))
        }
        const handle = setTimeout(run, delayMs)
        return () => clearTimeout(handle)
      },
    },
  })
  await server.register('ann', testPassword)
})
after(() => server[Symbol.asyncDispose]())

/** An access token's life later. */
function expire(): void {
  ahead += refreshableLifetimeMs
  for (const run of late.splice(0)) run()
}

async function logIn(more: object = {}): Promise<Client & { refreshToken?: string }> {
  const identifier = { type: 'm.id.user', user: 'ann' }
  const { body } = await server.request('POST', '/login', { type: 'm.login.password', identifier, password: testPassword, ...more })
  return Object.assign(server.client(body.access_token, body.user_id), { refreshToken: body.refresh_token })
}

/** A long poll that has begun to wait. */
async function poll(client: Client): Promise<{ answer: Promise<Reply> }> {
  const { next_batch: since } = await client.sync()
  const answer = client.get(`/sync?since=${since}&timeout=60000`)
  await sleep(150)
  return { answer }
}

function refusal({ status, body }: Reply) {
  return [status, body.errcode, body.soft_logout === true]
}

const inbox = 'subscription { inbox { position } }'

/** The errcode that ends it. */
async function ending(subscription: Subscription): Promise<string> {
  for (;;) {
    try {
      if ((await subscription.next()) === null) return 'nothing'
    } catch (error) {
      if (error instanceof GraphqlError) return error.errcode
      throw error
    }
  }
}

test('a long poll ends with 401 when its session logs out, and that of another session goes on', { timeout: 20_000 }, async () => {
  const [one, other] = [await logIn(), await logIn()]
  const { answer } = await poll(one)
  const { answer: staying } = await poll(other)
  assert.equal((await one.post('/logout')).status, 200)
  assert.deepEqual(refusal(await answer), [401, 'M_UNKNOWN_TOKEN', false])
  await other.createRoom()
  assert.equal((await staying).status, 200)
})

test('a long poll ends with 401 when its device is logged in anew, and by logging out everywhere', { timeout: 20_000 }, async () => {
  const one = await logIn({ device_id: 'TABLET' })
  const { answer } = await poll(one)
  const again = await logIn({ device_id: 'TABLET' })
  assert.deepEqual(refusal(await answer), [401, 'M_UNKNOWN_TOKEN', false])
  const { answer: second } = await poll(again)
  await (await logIn()).post('/logout/all')
  assert.deepEqual(refusal(await second), [401, 'M_UNKNOWN_TOKEN', false])
})

test('a long poll ends with a soft 401 when its access token expires; renewing it ends the one before and no other', {
  timeout: 20_000,
}, async () => {
  const client = await logIn({ refresh_token: true })
  const { next_batch: since } = await client.sync()
  const old = client.get(`/sync?since=${since}&timeout=60000`)
  await sleep(50)
  // The same poll of the same device, so that both share one computation.
  const { body } = await server.request('POST', '/refresh', { refresh_token: client.refreshToken })
  const renewed = server.client(body.access_token).get(`/sync?since=${since}&timeout=60000`)
  // Using the new token ends the old one.
  assert.deepEqual(refusal(await old), [401, 'M_UNKNOWN_TOKEN', false])
  expire()
  assert.deepEqual(refusal(await renewed), [401, 'M_UNKNOWN_TOKEN', true])
})

test('a subscription ends with M_UNKNOWN_TOKEN when its access token expires, by websocket and by HTTP', { timeout: 20_000 }, async () => {
  const client = await logIn({ refresh_token: true })
  const socket = new Subscription(server.url, client.token, inbox, {})
  const events = await fetch(`${server.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${client.token}`, 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({ query: inbox }),
  })
  const ended = ending(socket)
  await sleep(200)
  expire()
  assert.equal(await ended, 'M_UNKNOWN_TOKEN')
  assert.match(await events.text(), /M_UNKNOWN_TOKEN.*soft_logout|soft_logout.*M_UNKNOWN_TOKEN/)
  await assert.rejects(new Subscription(server.url, client.token, inbox, {}).next())
})
