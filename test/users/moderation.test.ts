/** Who may lock and suspend whom, on both faces and by command. What it does stands in the files beside this one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runCommand } from '../../src/commands.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { testPassword } from '../rig/server.ts'
import { registerBridge } from './bridge.ts'
import { accepted, addressOf, errcodeOf, refused, setLocked, setSuspended, stablePath, unstablePath } from './moderation-rig.ts'

const setFlag = {
  lock: 'mutation ($userId: ID!, $on: Boolean!) { setUserLocked(userId: $userId, locked: $on) { userId locked suspended } }',
  suspend: 'mutation ($userId: ID!, $on: Boolean!) { setUserSuspended(userId: $userId, suspended: $on) { userId locked suspended } }',
}
const read = 'query ($userId: ID!) { accountModeration(userId: $userId) { locked suspended } }'

await onBothServers('moderation', (start) => {
  test('an administrator locks and suspends, under both paths, and reads it back; the same again is no error', async () => {
    await using server = await start()
    const ann = await server.register('ann')
    for (const [what, flag] of [
      ['lock', 'locked'],
      ['suspend', 'suspended'],
    ] as const) {
      for (const path of [stablePath, unstablePath]) {
        const address = addressOf(what, ann.userId, path)
        for (const on of [false, true, true, false]) {
          assert.deepEqual(accepted(await server.administrator.put(address, { [flag]: on })), { [flag]: on })
          assert.deepEqual(accepted(await server.administrator.get(address)), { [flag]: on })
          assert.deepEqual((await server.administrator.graphql(read, { userId: ann.userId })).data.accountModeration, {
            ...{ locked: false, suspended: false },
            [flag]: on,
          })
        }
      }
    }
    await setLocked(server, ann, true)
    await setSuspended(server, ann, true)
    const both = 'query ($userId: ID!) { user(userId: $userId) { moderation { userId locked suspended } } }'
    const { data } = await server.administrator.graphql(both, { userId: ann.userId })
    assert.deepEqual(data.user.moderation, { userId: ann.userId, locked: true, suspended: true })
    // One is taken back without the other.
    await setSuspended(server, ann, false)
    assert.deepEqual(accepted(await server.administrator.get(addressOf('lock', ann.userId))), { locked: true })
    assert.deepEqual((await server.owner.graphql(both, { userId: ann.userId })).data.user, { moderation: null })
  })

  test('nobody but an administrator locks and suspends, or learns by it who exists', async () => {
    await using server = await start()
    const ann = await server.register('ann')
    const bridge = await registerBridge(server, 'errands')
    for (const client of [server.owner, ann, bridge.as(bridge.botId), bridge.as(server.owner.userId)]) {
      for (const userId of [ann.userId, '@nobody:example.com', '@ann:elsewhere.example', 'x y']) {
        for (const [what, flag] of [
          ['lock', 'locked'],
          ['suspend', 'suspended'],
        ] as const) {
          refused(await client.request('GET', addressOf(what, userId)), 403, 'M_FORBIDDEN')
          refused(await client.request('PUT', addressOf(what, userId), { [flag]: true }), 403, 'M_FORBIDDEN')
        }
      }
    }
    for (const userId of [ann.userId, '@nobody:example.com']) {
      assert.equal(await errcodeOf(server.owner, read, { userId }), 'M_FORBIDDEN')
      for (const mutation of Object.values(setFlag))
        assert.equal(await errcodeOf(server.owner, mutation, { userId, on: true }), 'M_FORBIDDEN')
    }
    assert.equal((await ann.get('/account/whoami')).status, 200)
  })

  test('neither oneself nor another administrator, no user of a bridge, nobody who is not there', async () => {
    await using server = await start()
    const { administrator } = server
    const { registerPerson } = await import('../../src/users/accounts.ts')
    const second = await registerPerson(await server.server.host.defaultInstance(), { username: 'second', admin: true, inhibitLogin: true })
    const gone = await server.register('gone', testPassword)
    const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'gone' }, password: testPassword }
    accepted(await gone.post('/account/deactivate', { auth: { ...auth, session: (await gone.post('/account/deactivate')).body.session } }))
    const bridge = await registerBridge(server, 'errands')
    const ghost = bridge.ghost(1)
    accepted(await bridge.as(ghost).request('PUT', `/profile/${encodeURIComponent(ghost)}/displayname`, { displayname: 'Ghost' }))
    const cases: [userId: string, read: [number, string] | null, change: [number, string]][] = [
      [administrator.userId, null, [403, 'M_FORBIDDEN']],
      [second.userId, [403, 'M_FORBIDDEN'], [403, 'M_FORBIDDEN']],
      [ghost, null, [403, 'M_FORBIDDEN']],
      [bridge.botId, null, [403, 'M_FORBIDDEN']],
      ['@nobody:example.com', [404, 'M_NOT_FOUND'], [404, 'M_NOT_FOUND']],
      [gone.userId, [404, 'M_NOT_FOUND'], [404, 'M_NOT_FOUND']],
      ['@ann:elsewhere.example', [400, 'M_INVALID_PARAM'], [400, 'M_INVALID_PARAM']],
      ['@:example.com\0', [400, 'M_INVALID_PARAM'], [400, 'M_INVALID_PARAM']],
    ]
    for (const [userId, reading, changing] of cases) {
      for (const [what, flag] of [
        ['lock', 'locked'],
        ['suspend', 'suspended'],
      ] as const) {
        const answer = await administrator.get(addressOf(what, userId))
        if (reading) refused(answer, ...reading)
        else assert.deepEqual(accepted(answer), { [flag]: false }, userId)
        refused(await administrator.put(addressOf(what, userId), { [flag]: true }), ...changing)
        assert.equal(await errcodeOf(administrator, setFlag[what], { userId, on: true }), changing[1])
      }
    }
    refused(await administrator.put(addressOf('lock', '@nobody:example.com'), {}), 400, 'M_MISSING_PARAM')
    refused(await administrator.put(addressOf('lock', '@nobody:example.com'), { locked: 'yes' }), 400, 'M_BAD_JSON')
  })

  test('the capability is told to administrators only', async () => {
    await using server = await start()
    const { capabilities } = (await server.administrator.get('/capabilities')).body
    for (const name of ['m.account_moderation', 'uk.timedout.msc4323']) {
      assert.deepEqual(capabilities[name], { suspend: true, lock: true })
      assert.equal(name in (await server.owner.get('/capabilities')).body.capabilities, false)
    }
  })

  test('the administrator of the host moderates the people of other homeservers by their name, and by command', async () => {
    await using server = await start()
    const { data } = await server.administrator.graphql('mutation { createInstance(name: "second", owner: "emil") { ownerId password } }')
    const instance = await server.server.host.instance('second')
    const identifier = { type: 'm.id.user', user: 'emil' }
    const login = { type: 'm.login.password', identifier, password: data.createInstance.password }
    const emil = server.client((await server.request('POST', '/login', login)).body.access_token, '@emil:example.com')
    // Another homeserver's people are nobody here.
    refused(await server.administrator.put(addressOf('lock', emil.userId), { locked: true }), 404, 'M_NOT_FOUND')
    const run = async (...words: string[]) => {
      let output = ''
      const keep = (text: string) => {
        output += text
      }
      const environment = { HUNGRYSERV_URL: server.url, HUNGRYSERV_TOKEN: server.administrator.token }
      const code = await runCommand(words, { config: server.server.host.config, environment, print: keep, complain: keep })
      return [code, output]
    }
    assert.deepEqual(await run('user', 'suspend', 'emil', '--instance', 'second'), [0, 'done\n'])
    refused(await emil.post('/createRoom'), 403, 'M_USER_SUSPENDED')
    assert.deepEqual(await run('user', 'unsuspend', emil.userId, '--instance', 'second'), [0, 'done\n'])
    await emil.createRoom()
    assert.deepEqual(await run('user', 'lock', 'emil', '--instance', 'second'), [0, 'done\n'])
    refused(await emil.get('/account/whoami'), 401, 'M_USER_LOCKED')
    assert.equal((await instance.storage.first('user', { userId: emil.userId }))?.status, 'locked')
    assert.deepEqual(await run('user', 'unlock', 'emil', '--instance', 'second'), [0, 'done\n'])
    accepted(await emil.get('/account/whoami'))
    const elsewhere = 'mutation { setUserLocked(userId: "@admin:example.com", locked: true, instance: "default") { locked } }'
    assert.equal(await errcodeOf(emil, elsewhere), 'M_FORBIDDEN')
    assert.equal(await errcodeOf(server.administrator, elsewhere.replace('default', 'nowhere')), 'M_NOT_FOUND')
    assert.equal((await run('user', 'lock', 'nobody'))[0], 1)
  })
})
