/** Several homeservers in one process: made, addressed, suspended, resumed, deleted. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { type TableName, tables } from '../../src/storage/tables.ts'
import { type Client, startServer, type TestServer } from '../rig/server.ts'

let server: TestServer

before(async () => {
  server = await startServer({ config: { uploadUrl: 'http://upload.example.com' } })
})

after(() => server[Symbol.asyncDispose]())

/** Makes an instance by GraphQL and logs its owner in by REST under the prefix. */
async function create(name: string): Promise<Client> {
  const { data, errors } = await server.administrator.graphql(
    'mutation($name: String!) { createInstance(name: $name, owner: $name) { name ownerId password } }',
    { name },
  )
  assert.equal(errors, undefined)
  return login(name, data.createInstance.ownerId, data.createInstance.password)
}

async function login(name: string, userId: string, password: string): Promise<Client> {
  const reply = await server.request('POST', `/_hungryserv/${name}/_matrix/client/v3/login`, {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: userId },
    password,
  })
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return server.client(reply.body.access_token, userId)
}

function change(mutation: string, name: string): Promise<{ data: unknown; errors?: { extensions: { errcode: string } }[] }> {
  return server.administrator.graphql(`mutation($name: String!) { ${mutation}(name: $name) }`, { name })
}

describe('instances', () => {
  test('a new one has an owner who logs in under its prefix, and by the owner directory without it', async () => {
    const anna = await create('anna')
    assert.equal((await anna.get('/account/whoami')).body.user_id, '@anna:example.com')
    assert.equal((await anna.get('/_hungryserv/anna/_matrix/client/v3/account/whoami')).status, 200)
    const { data } = await server.administrator.graphql('mutation { createInstance(name: "arno", owner: "arno") { password } }')
    const reply = await server.request('POST', '/login', {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'arno' },
      password: data.createInstance.password,
    })
    assert.equal(reply.body.user_id, '@arno:example.com')
    for (const user of ['arno', '@arno:example.com', 'Arno']) {
      const input = { type: 'm.login.password', user, password: data.createInstance.password }
      const headers = { 'content-type': 'application/json' }
      const query = 'mutation ($input: LoginInput!) { login(input: $input) { userId } }'
      const { body } = await server.request('POST', '/graphql', { query, variables: { input } }, { headers })
      assert.deepEqual(body.data, { login: { userId: '@arno:example.com' } }, user)
    }
  })

  test('a prefix that disagrees with the token is 401 M_UNKNOWN_TOKEN', async () => {
    const berta = await create('berta')
    const reply = await berta.get('/_hungryserv/default/_matrix/client/v3/account/whoami')
    assert.deepEqual([reply.status, reply.body.errcode], [401, 'M_UNKNOWN_TOKEN'])
  })

  test('a name or an owner that is taken is refused', async () => {
    await create('carl')
    for (const [name, owner] of [
      ['carl', 'someone'],
      ['carl2', 'carl'],
    ]) {
      const { errors } = await server.administrator.graphql(
        'mutation($name: String!, $owner: String!) { createInstance(name: $name, owner: $owner) { name } }',
        {
          name,
          owner,
        },
      )
      assert.equal(errors[0].extensions.errcode, 'M_USER_IN_USE')
    }
  })

  test('whose owner cannot be is not made at all', async () => {
    const wrong = [
      ['kurt', 'Not A Name', 'M_INVALID_USERNAME'],
      ['kurt', '@Kurt:example.com', 'M_INVALID_USERNAME'],
      ['kurt', '@kurt', 'M_INVALID_PARAM'],
      ['kurt', 'k'.repeat(300), 'M_INVALID_USERNAME'],
    ]
    const create = (name: string, owner: string, userDomain: string | null = null) =>
      server.administrator.graphql(
        'mutation($name: String!, $owner: String!, $userDomain: String) { createInstance(name: $name, owner: $owner, userDomain: $userDomain) { ownerId } }',
        { name, owner, userDomain },
      )
    for (const [name, owner, errcode] of wrong) {
      const { errors } = await create(name!, owner!)
      assert.equal(errors[0].extensions.errcode, errcode, owner)
    }
    for (const domain of ['', 'not a domain', 'x'.repeat(300)])
      assert.equal((await create('kurt', 'kurt', domain)).errors[0].extensions.errcode, 'M_INVALID_PARAM', domain)
    assert.deepEqual((await create('kurt', 'kurt')).data, { createInstance: { ownerId: '@kurt:example.com' } })
  })

  test('the administrator sees all of them, an owner the own, nobody else any', async () => {
    const dora = await create('dora')
    const query = '{ instances { name } }'
    assert.ok((await server.administrator.graphql(query)).data.instances.length > 1)
    assert.deepEqual((await dora.graphql(query)).data.instances, [{ name: 'dora' }])
    const guest = await server.register('guest-of-default')
    assert.equal((await guest.graphql(query)).errors[0].extensions.errcode, 'M_FORBIDDEN')
    assert.equal((await dora.graphql('mutation { deleteInstance(name: "dora") }')).errors[0].extensions.errcode, 'M_FORBIDDEN')
  })

  test('a suspended one answers 401 M_USER_LOCKED with soft_logout, after a restart too, and goes on when it is resumed', async () => {
    const emil = await create('emil')
    const roomId = await emil.createRoom()
    assert.equal((await change('suspendInstance', 'emil')).errors, undefined)
    const locked = async (): Promise<void> => {
      const reply = await emil.get('/account/whoami')
      assert.deepEqual([reply.status, reply.body.errcode, reply.body.soft_logout], [401, 'M_USER_LOCKED', true])
    }
    await locked()
    await server.restart()
    await locked()
    assert.equal((await change('resumeInstance', 'emil')).errors, undefined)
    assert.equal((await emil.get('/account/whoami')).status, 200)
    await emil.send(roomId, 'still here')
  })

  test('nobody logs in to a suspended one, by no address and neither face', async () => {
    const { data } = await server.administrator.graphql('mutation { createInstance(name: "egon", owner: "egon") { ownerId password } }')
    const { ownerId: user, password } = data.createInstance
    const credentials = { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password }
    const prefix = '/_hungryserv/egon'
    const first = await server.request('POST', '/login', { ...credentials, refresh_token: true })
    const query = 'mutation ($input: LoginInput!) { login(input: $input) { accessToken } }'
    const refresh = 'mutation ($token: String!) { refreshSession(refreshToken: $token) { accessToken } }'
    const headers = { 'content-type': 'application/json' }
    const byGraphql = { query, variables: { input: { type: 'm.login.password', user, password } } }
    const attempts = () =>
      Promise.all([
        server.request('POST', '/login', credentials),
        server.request('POST', `${prefix}/_matrix/client/v3/login`, credentials),
        server.request('POST', `${prefix}/graphql`, byGraphql, { headers }),
        server.request('POST', '/refresh', { refresh_token: first.body.refresh_token }),
      ])
    await change('suspendInstance', 'egon')
    for (const { status, body } of await attempts())
      assert.deepEqual([status, body.errcode, body.soft_logout], [401, 'M_USER_LOCKED', true])
    const refreshed = await server.request(
      'POST',
      '/graphql',
      { query: refresh, variables: { token: first.body.refresh_token } },
      { headers },
    )
    assert.equal(refreshed.body.errors[0].extensions.errcode, 'M_USER_LOCKED')
    await change('resumeInstance', 'egon')
    for (const { status, body } of await attempts()) assert.deepEqual([status, body.errors], [200, undefined])
  })

  test('media of a suspended one is neither read nor uploaded without a token', async () => {
    const erna = await create('erna')
    const text = { raw: 'hello', headers: { 'content-type': 'text/plain' } }
    const { body } = await erna.request('POST', '/_matrix/media/v3/upload', undefined, text)
    const legacy = `/_matrix/media/v3/download/${body.content_uri.slice('mxc://'.length)}`
    const created = await erna.request('POST', '/_matrix/media/v1/create')
    const { pathname, search } = new URL(created.body['com.beeper.msc3870.upload_url'])
    const attempts = async () => {
      const replies = [await server.request('GET', legacy), await server.request('PUT', pathname + search, undefined, text)]
      return replies.map((reply) => reply.body.errcode ?? reply.status)
    }
    await change('suspendInstance', 'erna')
    assert.deepEqual(await attempts(), ['M_NOT_FOUND', 'M_NOT_FOUND'])
    await change('resumeInstance', 'erna')
    assert.deepEqual(await attempts(), [200, 200])
  })

  test('a long poll of a suspended one ends', async () => {
    const fritz = await create('fritz')
    const { next_batch: since } = await fritz.sync()
    const poll = fritz.get(`/sync?timeout=30000&since=${since}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
    await change('suspendInstance', 'fritz')
    assert.ok([200, 401].includes((await poll).status))
  })

  test('a deleted one is gone at once, its space comes back, and its name and owner may be used again as strangers', async () => {
    const gerda = await create('gerda')
    const roomId = await gerda.createRoom({ name: 'gone' })
    for (let i = 0; i < 20; i++) await gerda.send(roomId, `message ${i}`)
    const key = (await server.server.host.instance('gerda')).key
    assert.equal((await change('deleteInstance', 'gerda')).errors, undefined)
    const reply = await gerda.get('/account/whoami')
    assert.deepEqual([reply.status, reply.body.errcode], [401, 'M_UNKNOWN_TOKEN'])
    const storage = server.server.host.shards[0]!.storage(key)
    const left = async (): Promise<number> => {
      const tablesOfIt = (Object.keys(tables) as TableName[]).filter((table) => !['instance', 'ownership', 'ownerId'].includes(table))
      return (await Promise.all(tablesOfIt.map((table) => storage.count(table, {})))).reduce((a, b) => a + b)
    }
    for (let i = 0; i < 100 && (await left()) > 0; i++) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(await left(), 0)
    const stranger = await create('gerda')
    assert.notEqual((await server.server.host.instance('gerda')).key, key)
    assert.equal((await stranger.get(`/rooms/${encodeURIComponent(roomId)}/state`)).status, 403)
  })

  test('many made at once are as many, each with its own owner and rows', async () => {
    const names = Array.from({ length: 10 }, (_, i) => `crowd-${i}`)
    const owners = await Promise.all(names.map(create))
    const keys = await Promise.all(names.map(async (name) => (await server.server.host.instance(name)).key))
    assert.equal(new Set(keys).size, names.length)
    for (const [i, owner] of owners.entries()) assert.equal((await owner.get('/account/whoami')).body.user_id, `@crowd-${i}:example.com`)
    const again = await Promise.allSettled([create('rival'), create('rival')])
    assert.equal(again.filter(({ status }) => status === 'fulfilled').length, 1)
  })

  test('one that is deleted while it is in use is gone for everybody', async () => {
    const inge = await create('inge')
    let stopped = false
    const users = Array.from({ length: 6 }, async () => {
      while (!stopped) await inge.get('/account/whoami')
    })
    assert.equal((await change('deleteInstance', 'inge')).errors, undefined)
    for (let i = 0; i < 20; i++) assert.equal((await inge.get('/account/whoami')).status, 401)
    stopped = true
    await Promise.all(users)
    assert.ok(![...server.server.host.openInstances()].some((instance) => instance.name === 'inge'))
  })

  test('the default one holds the administrator: it is neither suspended nor deleted', async () => {
    for (const mutation of ['suspendInstance', 'deleteInstance']) {
      assert.equal((await change(mutation, 'default')).errors?.[0]?.extensions.errcode, 'M_INVALID_PARAM')
    }
  })

  test('the command line does the same', async () => {
    const run = async (...words: string[]): Promise<{ code: number | null; output: string }> => {
      const child = spawn(process.execPath, ['src/launch.mjs', ...words], { env: { ...process.env, DATA_DIR: server.dataDir } })
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
      const [code] = (await once(child, 'close')) as [number | null]
      return { code, output }
    }
    assert.equal((await run('help')).code, 0)
    assert.equal((await run('instance', 'dance')).code, 2)
    assert.match((await run('instance', 'create', 'hugo', '--owner', 'hugo')).output, /^@hugo:example\.com {3}\S+/)
    assert.match((await run('instance', 'list')).output, /hugo\t@hugo:example\.com\texample\.com\texample\.com\tactive/)
    assert.equal((await run('instance', 'suspend', 'hugo')).output, 'done\n')
    assert.match((await run('instance', 'list')).output, /hugo\t.*suspended/)
    assert.equal((await run('instance', 'resume', 'hugo')).output, 'done\n')
    assert.equal((await run('instance', 'delete', 'hugo')).output, 'done\n')
    assert.doesNotMatch((await run('instance', 'list')).output, /hugo/)
    const refused = await run('instance', 'delete', 'hugo')
    assert.deepEqual([refused.code, refused.output], [1, 'There is no instance hugo\n'])
  })
})
