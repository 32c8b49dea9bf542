import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createRoom } from '../../src/rooms/create.ts'
import { type Client, startServer, type TestServer } from '../rig/server.ts'
import { registerBridge } from './bridge.ts'

let test: TestServer
before(async () => {
  test = await startServer()
})
after(() => test[Symbol.asyncDispose]())

const rule = (kind: string, id: string, rest = '') => `/pushrules/global/${kind}/${encodeURIComponent(id)}${rest}`

async function ids(client: Client, kind: string): Promise<string[]> {
  return (await client.get('/pushrules/')).body.global[kind].map((each: { rule_id: string }) => each.rule_id)
}

describe('push rules', () => {
  it("are the server's for a new user, under every spelling of the path", async () => {
    const user = await test.register('rules')
    const whole = (await user.get('/pushrules/')).body
    assert.deepEqual(Object.keys(whole.global), ['override', 'content', 'room', 'sender', 'underride'])
    assert.equal(whole.global.override[0].rule_id, '.m.rule.master')
    assert.ok(JSON.stringify(whole).includes(user.userId))
    for (const path of ['/pushrules', '/pushrules/global/', '/pushrules/global']) {
      const { body } = await user.get(path)
      assert.deepEqual(path.includes('global') ? { global: body } : body, whole)
    }
    assert.equal((await test.request('GET', '/pushrules/')).status, 401)
    assert.equal((await test.request('GET', '/pushrules/global/')).status, 401)
  })

  it('are added on top of their kind, or beside a rule that is named', async () => {
    const user = await test.register('adder')
    const put = (id: string, query = '') => user.put(rule('content', id, query), { pattern: id, actions: ['notify'] })
    assert.deepEqual((await put('one')).body, {})
    await put('two')
    await put('three', '?after=two')
    await put('four', '?before=one')
    assert.deepEqual(await ids(user, 'content'), ['two', 'three', 'four', 'one'])
    assert.equal((await put('five', '?before=none')).body.errcode, 'M_NOT_FOUND')
    assert.equal((await put('five', '?after=.m.rule.message')).status, 400)
  })

  it('are read, changed and deleted one by one', async () => {
    const user = await test.register('changer')
    await user.put(rule('override', 'mine'), { conditions: [{ kind: 'event_match', key: 'type', pattern: 'x' }], actions: [] })
    assert.deepEqual((await user.get(rule('override', 'mine'))).body, {
      rule_id: 'mine',
      default: false,
      enabled: true,
      actions: [],
      conditions: [{ kind: 'event_match', key: 'type', pattern: 'x' }],
    })
    assert.deepEqual((await user.put(rule('override', 'mine', '/enabled'), { enabled: false })).body, {})
    assert.deepEqual((await user.get(rule('override', 'mine', '/enabled'))).body, { enabled: false })
    await user.put(rule('override', 'mine', '/actions'), { actions: ['notify', { set_tweak: 'highlight' }] })
    assert.deepEqual((await user.get(rule('override', 'mine', '/actions'))).body, { actions: ['notify', { set_tweak: 'highlight' }] })
    assert.deepEqual((await user.request('DELETE', rule('override', 'mine'))).body, {})
    for (const [method, rest, body] of [
      ['GET', '', undefined],
      ['DELETE', '', undefined],
      ['GET', '/enabled', undefined],
      ['PUT', '/enabled', { enabled: true }],
      ['GET', '/actions', undefined],
      ['PUT', '/actions', { actions: [] }],
    ] as const) {
      const reply = await user.request(method, rule('override', 'mine', rest), body)
      assert.deepEqual([reply.status, reply.body.errcode], [404, 'M_NOT_FOUND'])
    }
  })

  it('of the server are disabled and changed, not deleted', async () => {
    const user = await test.register('disabler')
    assert.equal((await user.put(rule('underride', '.m.rule.message', '/enabled'), { enabled: false })).status, 200)
    assert.equal((await user.get(rule('underride', '.m.rule.message', '/enabled'))).body.enabled, false)
    assert.equal((await user.request('DELETE', rule('underride', '.m.rule.message'))).status, 400)
  })

  it('refuse wrong ids, kinds and bodies', async () => {
    const user = await test.register('refused')
    const put = async (kind: string, id: string, body: object) => (await user.put(rule(kind, id), body)).body.errcode
    assert.equal(await put('content', '.mine', { pattern: 'x', actions: [] }), 'M_INVALID_PARAM')
    assert.equal(await put('content', 'a/b', { pattern: 'x', actions: [] }), 'M_INVALID_PARAM')
    assert.equal(await put('content', 'x', { actions: [] }), 'M_MISSING_PARAM')
    assert.equal(await put('override', 'x', { conditions: {}, actions: [] }), 'M_BAD_JSON')
    assert.equal(await put('sideways', 'x', { actions: [] }), 'M_INVALID_PARAM')
    assert.equal((await user.get(rule('sideways', 'x'))).body.errcode, 'M_INVALID_PARAM')
  })

  it('that change are echoed as account data of the type m.push_rules', async () => {
    const user = await test.register('echo')
    const instance = await test.server.host.defaultInstance()
    await user.put(rule('room', '!room:example.com'), { actions: [] })
    const { key } = (await instance.storage.first('user', { userId: user.userId }))!
    const row = (await instance.storage.first('accountData', { user: key, room: 0, type: 'm.push_rules' }))!
    assert.equal(JSON.parse(row.content).global.room[0].rule_id, '!room:example.com')
    assert.deepEqual((await user.get('/pushrules/')).body.global, JSON.parse(row.content).global)
  })

  it('changed at the same time are all kept', async () => {
    const user = await test.register('parallel')
    await Promise.all(Array.from({ length: 20 }, (_, n) => user.put(rule('content', `r${n}`), { pattern: 'x', actions: [] })))
    assert.equal((await ids(user, 'content')).length, 20)
  })
})

describe('an appservice acting as the owner', () => {
  it('mutes its own rooms, and changes no other rules', async () => {
    const instance = await test.server.host.defaultInstance()
    const bridge = await registerBridge(test, 'muting')
    const bot = (await test.server.host.authenticate(bridge.as_token, null)).actor
    const owner = (await test.server.host.authenticate(test.owner.token, null)).actor
    const portal = (await createRoom(instance, bot, { invite: [test.owner.userId], autoJoinInvites: true })).roomId
    const own = (await createRoom(instance, owner, {})).roomId
    const as = bridge.as(test.owner.userId)
    assert.equal((await as.request('PUT', rule('room', portal), { actions: [] })).status, 200)
    assert.deepEqual(await ids(test.owner, 'room'), [portal])
    assert.equal((await as.request('PUT', rule('room', own), { actions: [] })).status, 403)
    assert.equal((await as.request('PUT', rule('content', 'x'), { pattern: 'x', actions: [] })).status, 403)
    assert.equal((await as.request('PUT', rule('override', '.m.rule.master', '/enabled'), { enabled: true })).status, 403)
    assert.equal((await as.request('GET', '/pushrules/')).status, 403)
    assert.equal((await as.request('DELETE', rule('room', portal))).status, 200)
    assert.deepEqual(await ids(test.owner, 'room'), [])
  })
})

describe('GraphQL', () => {
  it('reads and changes the same rules', async () => {
    const user = await test.register('graph')
    const query = `mutation {
      setPushRule(kind: CONTENT, ruleId: "w", rule: { pattern: "word", actions: ["notify"] })
      setPushRuleEnabled(kind: CONTENT, ruleId: "w", enabled: false)
    }`
    assert.equal((await user.graphql(query)).errors, undefined)
    assert.equal((await user.get(rule('content', 'w'))).body.enabled, false)
    const { data } = await user.graphql(
      '{ pushRules { content { ruleId pattern enabled } } pushRule(kind: OVERRIDE, ruleId: ".m.rule.master") { default } }',
    )
    assert.deepEqual(data, { pushRules: { content: [{ ruleId: 'w', pattern: 'word', enabled: false }] }, pushRule: { default: true } })
    assert.equal(
      (await user.graphql('mutation { deletePushRule(kind: CONTENT, ruleId: "none") }')).errors[0].extensions.errcode,
      'M_NOT_FOUND',
    )
  })
})
