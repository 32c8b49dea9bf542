import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createRoom } from '../../src/rooms/create.ts'
import { startServer, type TestServer } from '../rig/server.ts'
import { readOperations } from '../spec/operations.ts'
import { registerBridge } from './bridge.ts'

let test: TestServer
before(async () => {
  test = await startServer()
})
after(() => test[Symbol.asyncDispose]())

describe('capabilities', () => {
  it('list exactly the room versions that rooms can have, and only what works', async () => {
    const { body } = await test.owner.get('/capabilities')
    assert.deepEqual(body.capabilities['m.room_versions'], { default: '11', available: { 9: 'stable', 10: 'stable', 11: 'stable' } })
    assert.deepEqual(body.capabilities['m.change_password'], { enabled: true })
    assert.deepEqual(body.capabilities['m.3pid_changes'], { enabled: false })
    const { status } = await test.request('GET', '/capabilities')
    assert.equal(status, 401)
  })
})

describe('versions', () => {
  it('are those that Synapse lists, with flags only of what works', async () => {
    const { body } = await test.request('GET', '/_matrix/client/versions')
    assert.ok(body.versions.includes('r0.0.1') && body.versions.includes('v1.12') && !body.versions.includes('v1.13'))
    assert.ok(Object.values(body.unstable_features).every((on) => on === true))
  })

  it('name every flag of a feature that is here', async () => {
    const { body } = await test.request('GET', '/_matrix/client/versions')
    const beeper = ['hungry', 'batch_sending', 'room_yeeting', 'room_create_autojoin_invites', 'arbitrary_profile_meta']
    beeper.push(
      'account_data_mute',
      'inbox_state',
      'arbitrary_member_change',
      'msc4169',
      'msc4437',
      'msc4437.stable',
      'msc4446',
      'ephemeral',
    )
    const others = ['fi.mau.msc2246.stable', 'fi.mau.msc2659.stable', 'org.matrix.msc3916.stable']
    others.push('uk.half-shot.msc2666.query_mutual_rooms', 'uk.half-shot.msc2666.query_mutual_rooms.stable')
    others.push('uk.tcpip.msc4133', 'uk.tcpip.msc4133.stable', 'org.matrix.e2e_cross_signing', 'org.matrix.msc3814')
    others.push('uk.timedout.msc4323', 'uk.timedout.msc4323.stable')
    others.push('org.matrix.msc4194')
    others.push('fi.mau.msc2815')
    assert.deepEqual(Object.keys(body.unstable_features).sort(), [...beeper.map((name) => `com.beeper.${name}`), ...others].sort())
  })
})

describe('discovery', () => {
  it('answers 404 M_NOT_FOUND where no public address is configured', async () => {
    const { status, body } = await test.request('GET', '/.well-known/matrix/client')
    assert.deepEqual([status, body.errcode], [404, 'M_NOT_FOUND'])
  })
})

describe('filters', () => {
  const path = (userId: string, id = '') => `/user/${encodeURIComponent(userId)}/filter${id && `/${id}`}`

  it('come back as uploaded; the same filter has the same id', async () => {
    const filter = { room: { timeline: { limit: 20, unread_thread_notifications: true }, state: { lazy_load_members: true } }, 'x.y': [1] }
    const { body } = await test.owner.post(path(test.owner.userId), filter)
    assert.match(body.filter_id, /^[^{]+$/)
    assert.deepEqual((await test.owner.post(path(test.owner.userId), filter)).body, body)
    assert.deepEqual((await test.owner.get(path(test.owner.userId, body.filter_id))).body, filter)
    await test.restart()
    assert.deepEqual((await test.owner.get(path(test.owner.userId, body.filter_id))).body, filter)
  })

  it('are 404 M_NOT_FOUND when unknown, and the own ones only', async () => {
    const unknown = await test.owner.get(path(test.owner.userId, '0'))
    assert.deepEqual([unknown.status, unknown.body.errcode], [404, 'M_NOT_FOUND'])
    const other = await test.register('filterer')
    const { body } = await test.owner.post(path(test.owner.userId), { a: 1 })
    assert.equal((await other.get(path(test.owner.userId, body.filter_id))).status, 403)
    assert.equal((await other.get(path(other.userId, body.filter_id))).status, 404)
    assert.equal((await other.post(path(test.owner.userId), {})).status, 403)
  })

  it('of the wrong shape are refused', async () => {
    for (const filter of [{ room: 7 }, { room: { timeline: { limit: 'many' } } }, { event_fields: 'all' }]) {
      const { status, body } = await test.owner.post(path(test.owner.userId), filter)
      assert.deepEqual([status, body.errcode], [400, 'M_BAD_JSON'])
    }
  })
})

describe('the user directory', () => {
  const search = async (client: typeof test.owner, term: string, limit?: number) => {
    const { body } = await client.post('/user_directory/search', { search_term: term, ...(limit === undefined ? {} : { limit }) })
    return { limited: body.limited, ids: body.results.map((user: { user_id: string }) => user.user_id) }
  }

  it('finds ghosts by name and id for the owner, the best first', async () => {
    const bridge = await registerBridge(test, 'directory')
    for (const [n, name] of [
      [1, 'Grandma Zoe'],
      [2, 'Zoe'],
      [3, 'Somebody'],
    ] as const) {
      const ghost = bridge.ghost(n)
      await bridge.as(ghost).request('PUT', `/profile/${encodeURIComponent(ghost)}/displayname`, { displayname: name })
    }
    assert.deepEqual(await search(test.owner, 'zoe'), { limited: false, ids: [bridge.ghost(2), bridge.ghost(1)] })
    assert.deepEqual(await search(test.owner, 'ZOE', 1), { limited: true, ids: [bridge.ghost(2)] })
    assert.deepEqual((await search(test.owner, 'directory_3')).ids, [bridge.ghost(3)])
    assert.deepEqual(await search(test.owner, '%_'), { limited: false, ids: [] })
    assert.deepEqual(await search(test.owner, ''), { limited: false, ids: [] })
  })

  it('shows others only whom they share a room with', async () => {
    const [ann, bob] = [await test.register('dir-ann'), await test.register('dir-bob')]
    assert.deepEqual((await search(ann, 'dir-bob')).ids, [])
    const instance = await test.server.host.defaultInstance()
    const actor = (await test.server.host.authenticate(ann.token, null)).actor
    const { roomId } = await createRoom(instance, actor, { preset: 'public_chat' })
    const { joinRoom } = await import('../../src/rooms/membership.ts')
    await joinRoom(instance, (await test.server.host.authenticate(bob.token, null)).actor, { roomIdOrAlias: roomId })
    assert.deepEqual((await search(ann, 'dir-bob')).ids, [bob.userId])
  })

  it('refuses a search without a term', async () => {
    assert.equal((await test.owner.post('/user_directory/search', {})).body.errcode, 'M_MISSING_PARAM')
  })
})

describe('what always answers the same', () => {
  const fixed = readOperations().filter((operation) => operation.state === 'answers' && !operation.outbound)
  const works = new Set(
    readOperations()
      .filter((each) => each.state === 'works')
      .map((each) => `${each.method} ${each.path}`),
  )
  for (const { method, path, answer, auth } of fixed) {
    // One path, two operations: the other one answers there.
    if (works.has(`${method} ${path}`)) continue
    it(`${method} ${path}: ${answer?.status} ${answer?.errcode ?? JSON.stringify(answer?.body)}`, async () => {
      const address = path.replaceAll(/\{\w+\}/g, 'x')
      const { status, body } = await test.owner.request(method, address, method === 'GET' ? undefined : {})
      // Where a path is absent with one method and known with another, the specification wants 405.
      assert.ok(status === answer?.status || (status === 405 && answer?.errcode === 'M_UNRECOGNIZED'), `${status}`)
      if (answer?.errcode) assert.equal(body.errcode, answer.errcode)
      else assert.deepEqual(body, answer?.body)
      if (auth === 'accessToken' && answer?.errcode !== 'M_UNRECOGNIZED')
        assert.equal((await test.request(method, address, {})).status, 401)
    })
  }
})
