/** Bridges deleted with all that they made, on both databases. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deleteBridge } from '../../src/appservices/deletion.ts'
import { registerBridge } from '../../src/appservices/registrations.ts'
import { watchJob } from '../../src/instances/job-kinds.ts'
import { createRoom } from '../../src/rooms/create.ts'
import { joinedRooms } from '../../src/rooms/members.ts'
import { joinRoom } from '../../src/rooms/membership.ts'
import { setProfileField } from '../../src/rooms/profile-change.ts'
import { ChangeSet } from '../../src/storage/change-set.ts'
import { type JobRow, type TableName, tables } from '../../src/storage/tables.ts'
import { sync } from '../../src/sync/sync.ts'
import { jobsDone } from '../jobs/done.ts'
import { event, onBothEngines, user } from '../storage/engines.ts'
import { Homeserver } from './homeserver.ts'

interface Synced {
  readonly next_batch: string
  readonly rooms?: { readonly leave?: Record<string, { timeline: { events: { content: unknown; state_key: string }[] } }> }
}

async function synced({ instance, owner }: Homeserver, since?: string): Promise<Synced> {
  const answer = await sync(instance, owner, { since: since ?? null } as Parameters<typeof sync>[2], new AbortController().signal)
  let text = ''
  for await (const piece of answer) text += piece
  return JSON.parse(text) as Synced
}

/** Ghosts and old messages without asking for each. */
async function fill({ instance }: Homeserver, appservice: number, roomId: string, ghosts: number, events: number): Promise<void> {
  const { key } = (await instance.storage.first('room', { roomId }))!
  const change = new ChangeSet(instance.key)
  for (let i = 1; i <= ghosts; i++) {
    change.put('user', user(instance.key, -i, { userId: `@whatsapp_${i}:bridges.example.com`, kind: 'ghost', appservice }))
  }
  for (let i = 1; i <= events; i++) change.put('event', event(instance.key, key, -i))
  await instance.shard.enqueue(change, () => undefined)
}

await onBothEngines('deleted bridges', (place) => {
  test('a bridge is shut out at once; its rooms, ghosts and rows go by a job that says how far it is', async (t) => {
    await using homeserver = await Homeserver.open({ databaseUrl: (await place(t)).url })
    const { instance, owner, host } = homeserver
    const bridge = await homeserver.bridge('whatsapp')
    const rooms = [await homeserver.portal(bridge, 'bob', 'eve'), await homeserver.portal(bridge, 'bob')]
    const own = (await createRoom(instance, owner, {})).roomId
    const row = (await instance.storage.first('appservice', { id: 'whatsapp' }))!
    await fill(homeserver, row.key, rooms[0]!, 700, 1_200)
    const { next_batch } = await synced(homeserver)
    const token = bridge.options.registration.as_token
    const job = await deleteBridge(instance, owner, 'whatsapp')
    await assert.rejects(host.authenticate(token, null), { errcode: 'M_UNKNOWN_TOKEN' })
    const told: JobRow[] = []
    for await (const state of watchJob(instance, owner, String(job.key), new AbortController().signal)) told.push(state)
    const last = told.at(-1)!
    assert.deepEqual([last.done, last.total, last.error], [705, 705, null])
    assert.ok(last.endedAt !== null)
    assert.deepEqual(
      told.map(({ done }) => done),
      told.map(({ done }) => done).sort((a, b) => a - b),
    )
    await jobsDone(instance)
    assert.deepEqual(await joinedRooms(instance, owner), [own])
    const left = (await synced(homeserver, next_batch)).rooms!.leave!
    assert.deepEqual(Object.keys(left).sort(), [...rooms].sort())
    for (const { timeline } of Object.values(left)) {
      assert.deepEqual(
        timeline.events.map(({ content, state_key }) => [content, state_key]),
        [[{ membership: 'leave' }, owner.userId]],
      )
    }
    assert.equal(await instance.storage.count('user', { userId: { startsWith: '@whatsapp' } }), 0)
    for (const table of Object.keys(tables) as TableName[]) {
      if ('appservice' in tables[table].columns && table !== 'secret' && table !== 'checkpoint') {
        assert.equal(await instance.storage.count(table, { appservice: row.key } as never), 0, table)
      }
    }
    const living = (await instance.storage.find('room', { where: {} })).map(({ key }) => key)
    assert.equal(await instance.storage.count('event', {}), await instance.storage.count('event', { room: { in: living } }))
    await homeserver.send(owner, own, 'unharmed')
  })

  test('a ghost in a room of others leaves it and stays there without a profile', async (t) => {
    await using homeserver = await Homeserver.open({ databaseUrl: (await place(t)).url })
    const { instance, owner } = homeserver
    const bridge = await homeserver.bridge('whatsapp')
    const other = await homeserver.bridge('signal')
    const ghost = await homeserver.actor(bridge, bridge.ghostId('bob'))
    await setProfileField(instance, ghost, { userId: ghost.userId, key: 'displayname', value: 'Bob' })
    const { roomId } = await createRoom(instance, await homeserver.actor(other), { preset: 'public_chat' })
    await joinRoom(instance, await homeserver.actor(bridge, ghost.userId), { roomIdOrAlias: roomId })
    await homeserver.send(await homeserver.actor(bridge, ghost.userId), roomId, 'hello')
    await deleteBridge(instance, owner, 'whatsapp')
    await jobsDone(instance)
    const row = (await instance.storage.first('user', { userId: ghost.userId }))!
    assert.deepEqual([row.status, row.displayName, row.appservice], ['deactivated', null, null])
    const { key } = (await instance.storage.first('room', { roomId }))!
    assert.equal((await instance.storage.first('membership', { room: key, user: row.key }))?.membership, 'leave')
    await other.until('it leaves', () =>
      other.events.some((each) => each.state_key === ghost.userId && each.content.membership === 'leave'),
    )
  })

  test('the job goes on after a restart, and spares a bridge that was registered under the same id meanwhile', async (t) => {
    await using homeserver = await Homeserver.open({ databaseUrl: (await place(t)).url })
    const bridge = await homeserver.bridge('whatsapp')
    const roomId = await homeserver.portal(bridge, 'bob', 'eve')
    const old = (await homeserver.instance.storage.first('appservice', { id: 'whatsapp' }))!
    await fill(homeserver, old.key, roomId, 2_000, 5_000)
    const job = await deleteBridge(homeserver.instance, homeserver.owner, 'whatsapp')
    await homeserver.restart()
    const { instance, owner, host } = homeserver
    const cut = (await instance.storage.first('job', { key: job.key }))!
    assert.equal(cut.endedAt, null)
    const row = await registerBridge(instance, owner, { id: 'whatsapp' })
    assert.notEqual(row.key, old.key)
    const { actor } = await host.authenticate(row.asToken, null)
    const made = await createRoom(instance, actor, {
      initialMembers: [bridge.ghostId('bob'), owner.userId],
      roomId: '!again:bridges.example.com',
    })
    await jobsDone(instance)
    assert.deepEqual(await joinedRooms(instance, owner), [made.roomId])
    const bob = (await instance.storage.first('user', { userId: bridge.ghostId('bob') }))!
    assert.deepEqual([bob.appservice, bob.status], [row.key, 'active'])
    assert.equal(await instance.storage.count('user', { appservice: old.key }), 0)
    const room = (await instance.storage.first('room', { roomId: made.roomId }))!
    assert.equal(await instance.storage.count('event', {}), await instance.storage.count('event', { room: room.key }))
    await homeserver.send(owner, made.roomId, 'to the new one')
    assert.ok((await instance.storage.count('interest', { appservice: row.key })) > 0)
  })
})
