/** Jobs: in slices, tried again, watched, and not lost by a killed process. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runCommand } from '../../src/commands.ts'
import { deleteRoom } from '../../src/rooms/delete.ts'
import { ServerProcess } from '../kill/server-process.ts'
import { type Client, startServer } from '../rig/server.ts'
import { openRig } from '../rooms/rig.ts'
import { onBothEngines } from '../storage/engines.ts'

await onBothEngines('jobs', (place, engine) => {
  test('a job whose slice fails says why and is tried again later; others are done meanwhile', async (t) => {
    const spot = await place(t)
    let failing = 0
    const failCommit = ({ changes }: { changes: readonly { table: string; removed: readonly (readonly unknown[])[] }[] }) =>
      changes.some(({ table, removed }) => table === 'event' && removed[1]?.includes(failing)) ? new Error('the disk is sulking') : null
    await using rig = await openRig({ ...spot, open: (options) => spot.open({ ...options, faults: { failCommit } }) })
    const { instance, clock } = rig
    const owner = await rig.person('owner')
    const [first, second] = [await rig.room(owner), await rig.room(owner)]
    failing = (await instance.storage.first('room', { roomId: first }))!.key
    await deleteRoom(instance, owner, first)
    await deleteRoom(instance, owner, second)
    const states = async () =>
      (await instance.storage.find('job', { where: {}, orderBy: ['key'] })).map(({ error, endedAt }) => [error, endedAt !== null])
    for (let [one, two] = await states(); one![0] === null || !two![1]; [one, two] = await states()) {
      await sleep(5)
      clock.move(200)
    }
    assert.deepEqual(await states(), [
      ['the disk is sulking', false],
      [null, true],
    ])
    assert.ok((await instance.storage.count('event', { room: failing })) > 0)
    failing = 0
    while ((await states())[0]![1] === false) {
      await sleep(5)
      clock.move(1_000)
    }
    assert.deepEqual(await states(), [
      [null, true],
      [null, true],
    ])
  })

  test('killed in the middle of deleting a bridge, the server goes on at its next start', async (t) => {
    const environment = engine === 'sqlite' ? {} : { DATABASE_URL: (await place(t)).url, LEASE_MS: '1000' }
    await using server = await ServerProcess.make(environment)
    await server.start()
    const { administrator } = server.accounts!
    const login = await ask(server, 'POST', '/_matrix/client/v3/login', '', {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: administrator.userId },
      password: administrator.password,
    })
    const token = login.access_token
    const graphql = async (query: string) => (await ask(server, 'POST', '/graphql', token, { query })).data
    const registration = '{ namespaces: { users: [{ regex: "@br_.*", exclusive: true }] } }'
    const made = await graphql(`mutation { registerBridge(id: "br", registration: ${registration}) { registration } }`)
    const bot = made.registerBridge.registration.as_token
    for (let i = 0; i < 3; i++) {
      const members = Array.from({ length: 700 }, (_, n) => `@br_${i}_${n}:example.com`)
      await ask(server, 'POST', '/_matrix/client/v3/createRoom', bot, { 'com.beeper.initial_members': members })
    }
    await graphql('mutation { deleteBridge(id: "br") { id } }')
    await server.kill()
    await server.start()
    const jobs = async () => (await graphql('{ jobs { kind done total endedAt error } }')).jobs as Record<string, unknown>[]
    for (let tries = 0; (await jobs()).some(({ endedAt }) => endedAt === null); tries++) {
      assert.ok(tries < 1_000, JSON.stringify(await jobs()))
      await sleep(10)
    }
    const done = (await jobs()).find(({ kind }) => kind === 'DELETE_BRIDGE')!
    // Three rooms, their ghosts and the bot.
    assert.deepEqual([done['done'], done['total'], done['error']], [2_104, 2_104, null])
    assert.deepEqual(await graphql('{ bridges { id } }'), { bridges: [] })
  })
})

test('the owner and administrators watch a job until it is done, nobody else', async () => {
  await using server = await startServer()
  const { owner, administrator } = server
  const guest = await server.register('guest')
  await owner.graphql('mutation($id: ID!) { deleteRoom(roomId: $id) }', { id: await owner.createRoom() })
  const jobs = async (client: Client) => client.graphql('{ jobs { id kind about done total error createdAt endedAt } }')
  const { data } = await jobs(owner)
  assert.deepEqual([data.jobs.length, data.jobs[0].kind, data.jobs[0].about.rooms.length], [1, 'RECLAIM_ROOMS', 1])
  assert.equal((await jobs(administrator)).data.jobs[0].id, data.jobs[0].id)
  assert.equal((await jobs(guest)).errors[0].extensions.errcode, 'M_FORBIDDEN')
  const watch = async (client: Client, id: string) => {
    const response = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${client.token}`, 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ query: 'subscription($id: ID!) { job(id: $id) { done total endedAt } }', variables: { id } }),
    })
    // The stream ends with the job.
    const results = (await response.text()).match(/(?<=^data: ?)\{.*$/gm) ?? []
    return JSON.parse(results.at(-1)!)
  }
  const { job } = (await watch(owner, data.jobs[0].id)).data
  assert.equal(job.done, job.total)
  assert.ok(job.endedAt > 0)
  assert.equal((await watch(guest, data.jobs[0].id)).errors[0].extensions.errcode, 'M_FORBIDDEN')
  for (const id of ['999999', '0', 'x', '-1', '9'.repeat(30)]) {
    assert.equal((await watch(owner, id)).errors[0].extensions.errcode, 'M_NOT_FOUND', id)
  }
})

test('the command line shows how far the deletion of a bridge is', async () => {
  await using server = await startServer()
  const { config } = server.server.host
  const run = async (words: string[], isTerminal = true) => {
    const said = { out: '', err: '', bar: '' }
    const code = await runCommand(words, {
      config,
      environment: {},
      print: (text) => (said.out += text),
      complain: (text) => (said.err += text),
      overwrite: isTerminal ? (text) => (said.bar += text) : undefined,
    })
    return { code, ...said }
  }
  for (const isTerminal of [true, false]) {
    await run(['bridge', 'register', 'whatsapp'])
    const { code, out, err, bar } = await run(['bridge', 'delete', 'whatsapp'], isTerminal)
    assert.deepEqual([code, out, err], [0, 'done\n', ''])
    assert.match(bar, isTerminal ? /\r\[#{30}\] 1\/1\S*\n$/ : /^$/)
  }
  const again = await run(['bridge', 'delete', 'whatsapp'])
  assert.deepEqual([again.code, again.err], [1, 'There is no bridge whatsapp\n'])
})

// biome-ignore lint/suspicious/noExplicitAny: a test reads what it asked for
async function ask(server: ServerProcess, method: string, path: string, token: string, body: object): Promise<any> {
  for (;;) {
    const response = await fetch(server.url + path, {
      method,
      headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
      body: JSON.stringify(body),
    })
    const answer = await response.json()
    if (response.status === 200) return answer
    // Until what the killed process held has run out.
    assert.equal(response.status, 503, JSON.stringify(answer))
    await sleep(50)
  }
}
