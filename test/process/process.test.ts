/** The process as it is run: what its first start shows and its log does not, how it stops, what operators ask it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse as parseYaml } from 'yaml'
import { Client, type Reply } from '../rig/server.ts'
import { Run } from './server.ts'

const folder = mkdtempSync(join(tmpdir(), 'hungryserv-process-'))
const dataDir = join(folder, 'data')
const passwordFile = join(dataDir, 'first-passwords.txt')
const runs: Run[] = []
const secrets = new Set<string>()
let environment: Record<string, string>
let url: string
let passwords: { owner: string; administrator: string }

const run = (more: Record<string, string> = {}, words: readonly string[] = []): Run => {
  const started = new Run({ ...environment, ...more }, words)
  runs.push(started)
  return started
}
const nobody = new Client(() => url, '', '')
const logIn = async (user: string, password: string): Promise<Reply> => {
  const reply = await nobody.request('POST', '/login', { type: 'm.login.password', user, password }, { token: '' })
  if (reply.status === 200) secrets.add(reply.body.access_token)
  return reply
}
const loggedIn = async (user: 'owner' | 'administrator'): Promise<Client> => {
  const { status, body } = await logIn(user === 'owner' ? 'owner' : 'admin', passwords[user])
  assert.equal(status, 200)
  return new Client(() => url, body.access_token, body.user_id)
}

before(async () => {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  await new Promise((resolve) => probe.close(resolve))
  url = `http://127.0.0.1:${port}`
  environment = { DATA_DIR: dataDir, PORT: String(port) }
})

after(() => {
  for (const { child } of runs) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

describe('the first start', () => {
  test('whose port is busy loses nothing: the passwords are in a file of the owner alone', async () => {
    const busy = createServer().listen(Number(environment['PORT']), '127.0.0.1')
    await once(busy, 'listening')
    const first = run()
    assert.equal(await first.exit(), 1)
    await new Promise((resolve) => busy.close(resolve))
    assert.match(first.stderr, /EADDRINUSE/)
    assert.ok(first.stderr.includes(passwordFile), first.stderr)
    assert.equal(statSync(dataDir).mode & 0o777, 0o700)
    assert.equal(statSync(passwordFile).mode & 0o777, 0o600)
    const text = readFileSync(passwordFile, 'utf8')
    const [, owner = ''] = /you\s+@owner:example\.com\s+(\S+)/.exec(text) ?? []
    const [, administrator = ''] = /administrator\s+@admin:example\.com\s+(\S+)/.exec(text) ?? []
    assert.ok(owner.length >= 20 && administrator.length >= 20)
    passwords = { owner, administrator }
    for (const password of [owner, administrator]) secrets.add(password)
  })

  test('is the only one that shows them, and they log in', async () => {
    rmSync(passwordFile)
    const second = await run().listening()
    await loggedIn('owner')
    await loggedIn('administrator')
    assert.equal(existsSync(passwordFile), false)
    assert.equal(await second.stop(), 0)
    assert.equal(second.stderr, '')
  })

  test('says how to log in, beside the log, and keeps its data from other users of the machine', async () => {
    const other = join(folder, 'other')
    // As operators make folders.
    mkdirSync(other, { mode: 0o755 })
    const first = await run({ DATA_DIR: other, PORT: '0' }).listening()
    while (!first.stderr.includes('/graphql')) await sleep(10)
    const file = join(other, 'first-passwords.txt')
    assert.equal(first.stderr.split(file).length, 2)
    const [, address = ''] = /Log in with any Matrix client: homeserver (\S+), /.exec(first.stderr) ?? []
    assert.equal((await fetch(`${address}/health`)).status, 200)
    for (const [, password = ''] of readFileSync(file, 'utf8').matchAll(/@\S+\s+(\S+)/g)) secrets.add(password)
    // The database holds as_tokens as they are.
    for (const name of readdirSync(other)) assert.equal(statSync(join(other, name)).mode & 0o077, 0, name)
    assert.equal(await first.stop(), 0)
  })
})

describe('a running server', () => {
  let server: Run
  let owner: Client

  before(async () => {
    server = await run().listening()
    owner = await loggedIn('owner')
  })

  test('answers operators; its metrics only those on this machine', async () => {
    const status = async (path: string, headers: Record<string, string> = {}) => (await fetch(url + path, { headers })).status
    assert.deepEqual(await (await fetch(`${url}/health`)).json(), { status: 'ok' })
    assert.deepEqual(await (await fetch(`${url}/ready`)).json(), { status: 'ready' })
    assert.match(await (await fetch(`${url}/metrics`)).text(), /^hungryserv_open_instances 1$/m)
    assert.equal(await status('/metrics', { 'x-forwarded-for': '198.51.100.1' }), 404)
    assert.equal(await status('/metrics', { forwarded: 'for=198.51.100.1' }), 404)
  })

  test('gives a person a new password from the command line, and ends the sessions', async () => {
    const session = await loggedIn('owner')
    const command = run({}, ['password', 'owner'])
    assert.equal(await command.exit(), 0)
    const old = passwords.owner
    passwords = { ...passwords, owner: command.stdout.trim() }
    // What the command prints is no log.
    command.stdout = ''
    secrets.add(passwords.owner)
    assert.equal((await session.get('/account/whoami')).body.errcode, 'M_UNKNOWN_TOKEN')
    assert.equal((await logIn('owner', old)).status, 403)
    owner = await loggedIn('owner')
    const absent = run({}, ['password', 'nobody'])
    assert.equal(await absent.exit(), 1)
    assert.equal(absent.stderr, 'There is no person @nobody:example.com\n')
    const elsewhere = run({}, ['password', 'owner', '--instance', 'nowhere'])
    assert.equal(await elsewhere.exit(), 1)
  })

  test("lets an owner set a password in the own homeserver, but not an administrator's", async () => {
    const set = 'mutation($userId: ID!, $password: String) { setPassword(userId: $userId, password: $password) }'
    const weak = await owner.graphql(set, { userId: 'owner', password: 'short' })
    assert.equal(weak.errors[0].extensions.errcode, 'M_WEAK_PASSWORD')
    const refused = await owner.graphql(set, { userId: 'admin' })
    assert.equal(refused.errors[0].extensions.errcode, 'M_FORBIDDEN')
    const chosen = 'chosen by the owner'
    secrets.add(chosen)
    assert.equal((await owner.graphql(set, { userId: 'owner', password: chosen })).data.setPassword, chosen)
    passwords = { ...passwords, owner: chosen }
    // The session that asked goes on.
    assert.equal((await owner.get('/account/whoami')).status, 200)
    const invisible = await owner.graphql('mutation { setPassword(userId: "owner", instance: "nowhere") }')
    assert.equal(invisible.errors[0].extensions.errcode, 'M_FORBIDDEN')
  })

  test('stops in order: what is under way is answered, what waits ends, what was answered is stored', { timeout: 60_000 }, async () => {
    const roomId = await owner.createRoom()
    const sent: string[] = []
    let stopping = false
    const sender = async (n: number) => {
      for (let i = 0; ; i++) {
        const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/s${n}-${i}`
        const reply = await owner.put(path, { msgtype: 'm.text', body: `${n} ${i}` }).catch(() => null)
        if (reply?.status === 200) sent.push(reply.body.event_id)
        else {
          assert.ok(stopping, `refused before the stop: ${reply?.status}`)
          return
        }
      }
    }
    const administrator = await loggedIn('administrator')
    const { next_batch: since } = await administrator.sync()
    const poll = administrator.get(`/sync?timeout=60000&since=${since}`)
    const upload = beginUpload(owner.token, 'half of it, ')
    const senders = Array.from({ length: 32 }, (_, n) => sender(n))
    while (sent.length < 64) await sleep(5)
    stopping = true
    const began = performance.now()
    const exit = server.stop()
    assert.equal((await poll).status, 200)
    await sleep(500)
    assert.equal(server.child.exitCode, null, 'an upload is under way')
    assert.equal(await upload.finish('and the rest'), 200)
    assert.equal(await exit, 0)
    assert.ok(performance.now() - began < 12_000)
    await Promise.all(senders)
    const log = join(dataDir, 'hungryserv.db-wal')
    assert.ok(!existsSync(log) || statSync(log).size === 0, 'the write-ahead log is not folded in')

    server = await run({ METRICS: 'off' }).listening()
    for (const id of sent)
      assert.equal((await owner.get(`/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(id)}`)).status, 200, id)
    assert.equal((await fetch(`${url}/metrics`)).status, 404)
  })

  test('keeps every secret out of its log, at level debug and when a bridge does not answer', async () => {
    const administrator = await loggedIn('administrator')
    const query = 'mutation { registerBridge(id: "gone", url: "http://127.0.0.1:9") { registrationYaml } }'
    const registration = parseYaml((await administrator.graphql(query)).data.registerBridge.registrationYaml)
    const bridge = new Client(() => url, registration.as_token, '')
    for (const token of [registration.as_token, registration.hs_token]) secrets.add(token)
    const roomId = await bridge.createRoom({ invite: [owner.userId] })
    await owner.post(`/join/${encodeURIComponent(roomId)}`)
    await owner.send(roomId, 'nobody takes it')
    for (const token of [owner.token, registration.as_token]) {
      for (const path of ['/account/whoami', '/sync', '/rooms/!none:example.com/state', '/no/such/endpoint'])
        await nobody.request('GET', `${path}?access_token=${token}`, undefined, { token: '' })
      await fetch(`${url}/graphql?access_token=${token}`, { method: 'POST', body: 'not JSON' })
    }
    const lastError = async () => (await administrator.graphql('{ bridge(id: "gone") { lastError } }')).data.bridge.lastError
    while ((await lastError()) === null) await sleep(20)
    assert.equal(await server.stop(), 0)

    for (const { stdout, stderr } of runs) {
      for (const line of stdout.split('\n').filter(Boolean)) assert.doesNotThrow(() => JSON.parse(line), line)
      for (const secret of secrets) assert.ok(!stdout.includes(secret) && !stderr.includes(secret), 'a secret was written')
    }
    assert.ok(runs.some(({ stdout }) => stdout.includes('"msg":"request"')) && secrets.size > 10)
  })
})

/** An upload that has begun; resolves with its status when it is finished. */
function beginUpload(token: string, text: string): { finish(rest: string): Promise<number> } {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'text/plain' }
  const upload = httpRequest(`${url}/_matrix/media/v3/upload`, { method: 'POST', headers })
  const answered = once(upload, 'response')
  upload.write(text)
  return {
    async finish(rest) {
      upload.end(rest)
      const [response] = await answered
      response.resume()
      return response.statusCode
    },
  }
}
