// More of an ignored user than one page reads: it ends somewhere, and says where.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { idsOf, path, startHistorian } from './backfill.ts'

/** Of 4 500 events each: the second page reaches the end. */
const batches = 5

await onBothServers('behind what an ignored user said', (start) => {
  let server: TestServer
  let owner: Client
  let roomId: string
  let root: string
  let own: string
  before(async () => {
    server = await start()
    owner = server.owner
    const historian = await startHistorian(server, 'courier')
    roomId = await historian.portal()
    root = await owner.send(roomId, 'root')
    const relates = { 'm.relates_to': { rel_type: 'm.reference', event_id: root } }
    own = (await owner.put(`/rooms/${path(roomId)}/send/com.reference/1`, relates)).body.event_id
    for (let i = 0; i < batches; i++) {
      const events = historian.messages(`crowd${i}`, 4_500, { content: { msgtype: 'm.text', body: 'x', ...relates } })
      await historian.sent(roomId, { events, forward: true })
    }
    const ignored = { ignored_users: { [historian.bridge.ghost(1)]: {} } }
    await owner.put(`/user/${path(owner.userId)}/account_data/m.ignored_user_list`, ignored)
  })
  after(() => server[Symbol.asyncDispose]())

  async function relations(rest: string): Promise<Reply['body']> {
    const reply = await owner.get(`/_matrix/client/v1/rooms/${path(roomId)}/relations/${path(root)}?limit=10${rest}`)
    assert.equal(reply.status, 200, JSON.stringify(reply.body))
    return reply.body
  }

  async function timeline(args: string): Promise<{ ids: string[]; page: Reply['body'] }> {
    const page = 'pageInfo { hasPreviousPage hasNextPage startCursor endCursor }'
    const query = `query ($roomId: ID!) { room(roomId: $roomId) { timeline(${args}) { edges { node { eventId } } ${page} } } }`
    const { data, errors } = await owner.graphql(query, { roomId })
    assert.equal(errors, undefined, JSON.stringify(errors))
    const { edges, pageInfo } = data.room.timeline
    return { ids: edges.map(({ node }: Reply['body']) => node.eventId), page: pageInfo }
  }

  test('a relation is found, by a page that is empty and one that goes on from there', async () => {
    const first = await relations('')
    assert.deepEqual(first.chunk, [])
    const second = await relations(`&from=${first.next_batch}`)
    assert.deepEqual([idsOf(second.chunk), second.next_batch], [[own], undefined])
  })

  test('a timeline goes on in either direction from the cursor of an empty page', async () => {
    const newest = await timeline('last: 2')
    assert.deepEqual([newest.ids, newest.page.hasPreviousPage], [[], true])
    const older = await timeline(`last: 2, before: "${newest.page.startCursor}"`)
    assert.deepEqual(older.ids, [root, own])
    const following = await timeline(`first: 2, after: "${older.page.endCursor}"`)
    assert.deepEqual([following.ids, following.page.hasNextPage], [[], true])
    const last = await timeline(`first: 2, after: "${following.page.endCursor}"`)
    assert.deepEqual([last.ids, last.page.hasNextPage, last.page.endCursor], [[], false, null])
  })

  test('the page after one that found some begins where that stopped reading', async () => {
    const content = { 'm.relates_to': { rel_type: 'm.reference', event_id: root } }
    const newest = (await owner.put(`/rooms/${path(roomId)}/send/com.reference/2`, content)).body.event_id
    for (const [dir, found] of Object.entries({ b: [newest, own], f: [own, newest] })) {
      const first = await relations(`&dir=${dir}`)
      const second = await relations(`&dir=${dir}&from=${first.next_batch}`)
      assert.deepEqual([idsOf(first.chunk), idsOf(second.chunk), second.next_batch], [[found[0]], [found[1]], undefined])
    }
  })
})
