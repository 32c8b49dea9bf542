// Backups of many keys: put at once, read as a stream, gone at once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Storage } from '../../src/storage/storage.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { startServer, type TestServer } from '../rig/server.ts'
import { accepted, Backups, key, keysPath, manyKeys } from './backup-rig.ts'

const rowsOf = async (server: TestServer) => {
  const { storage } = await server.server.host.defaultInstance()
  return [await storage.count('backupRoom', {}), await storage.count('backupSession', {})]
}

/** Until the jobs are done. */
async function reclaimed(server: TestServer, rows: readonly number[]): Promise<void> {
  const instance = await server.server.host.defaultInstance()
  for (const end = Date.now() + 20_000; (await instance.storage.find('job', { where: { endedAt: null } })).length > 0; ) {
    if (Date.now() > end) throw new Error('the jobs do not end')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.deepEqual(await rowsOf(server), rows)
}

/** A number once it has stayed the same for a while. */
async function settled(value: () => number): Promise<number> {
  for (let before = -1, still = 0; still < 5; still = value() === before ? still + 1 : 0, before = value()) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return value()
}

/** The longest answer of a read of many since. */
function longestRead(storage: Storage): () => number {
  let longest = 0
  const { find } = storage
  Object.assign(storage, {
    find: async (...args: Parameters<Storage['find']>) => {
      const rows = await find.apply(storage, args)
      longest = Math.max(longest, rows.length)
      return rows
    },
  })
  return () => longest
}

await onBothServers('large backups', (start) => {
  test('thousands of keys are put at once in one change set, and none of them stays in memory', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    const { changeSets } = instance.shard.stats()
    const cells = instance.memory.size
    assert.deepEqual(await backups.put(version, manyKeys(40, 100)), { etag: '1', count: 4_000 })
    assert.equal(instance.shard.stats().changeSets, changeSets + 1)
    assert.ok(instance.memory.size < cells + 100, `${instance.memory.size - cells} cells`)
    // Most of it again, with more: only that is new.
    const longest = longestRead(instance.storage)
    assert.deepEqual(await backups.put(version, manyKeys(40, 120)), { etag: '2', count: 4_800 })
    assert.ok(instance.memory.size < cells + 100, `${instance.memory.size - cells} cells`)
    assert.ok(longest() <= 200, `${longest()} rows at once`)
    assert.deepEqual([(await backups.info()).count, (await backups.info()).etag], [4_800, '2'])
  })

  test('all keys of a backup come as a stream, read a page at a time, each once', async () => {
    await using server = await start()
    const { storage } = await server.server.host.defaultInstance()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    // More rooms than a page of them, rooms of one key, and one that has pages of keys: those end with it, or within it.
    const small = manyKeys(430, 1)
    const large = { '!large:a': manyKeys(1, 250, {}, 'l').rooms['!r0:a']!, '!even:a': manyKeys(1, 100, {}, 'e').rooms['!r0:a']! }
    const rooms = { ...small.rooms, ...large }
    await backups.put(version, { rooms })
    const longest = longestRead(storage)
    assert.deepEqual(await backups.get(version), { rooms })
    assert.deepEqual(await backups.get(version, '!large:a'), large['!large:a'])
    assert.deepEqual(await backups.get(version, '!even:a'), large['!even:a'])
    assert.ok(longest() <= 200, `${longest()} rows at once`)
  })

  test('rooms that grow or go while they are read cost no more than a page at once, and what stays is read once', async () => {
    await using server = await start()
    const { storage } = await server.server.host.defaultInstance()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    const { rooms } = manyKeys(20, 1)
    await backups.put(version, { rooms })
    const grown = { ...rooms, '!r3:a': manyKeys(1, 330, {}, 'more').rooms['!r0:a']! }
    let isRead = false
    const { find } = storage
    Object.assign(storage, {
      find: async (...args: Parameters<Storage['find']>) => {
        const rows = await find.apply(storage, args)
        if (args[0] !== 'backupRoom' || isRead) return rows
        isRead = true
        await backups.put(version, grown['!r3:a'], '!r3:a')
        await backups.remove(version, '!r5:a')
        return rows
      },
    })
    const longest = longestRead(storage)
    const found = (await backups.get(version)).rooms
    // A job takes its rows away, before or after they are read.
    delete found['!r5:a']
    const { '!r5:a': _, ...others } = rooms
    const sessions = { ...grown['!r3:a'].sessions, ...rooms['!r3:a']!.sessions }
    assert.deepEqual(found, { ...others, '!r3:a': { sessions } })
    assert.ok(longest() <= 200, `${longest()} rows at once`)
  })

  test('a reader who takes nothing holds the stream back, and one who leaves ends it', async () => {
    await using server = await start()
    const { storage } = await server.server.host.defaultInstance()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    const data = { ciphertext: 'x'.repeat(12_000) }
    // 48 MB in 80 pages: far more than what sockets and streams hold.
    for (const prefix of ['a', 'b', 'c', 'd']) {
      const { rooms } = manyKeys(10, 100, data, prefix)
      await backups.put(version, { rooms: Object.fromEntries(Object.entries(rooms).map(([id, room]) => [prefix + id, room])) })
    }
    let pages = 0
    const { find } = storage
    Object.assign(storage, {
      find: (...args: Parameters<Storage['find']>) => {
        if (args[0] === 'backupSession') pages++
        return find.apply(storage, args)
      },
    })
    const leaving = new AbortController()
    const path = `/_matrix/client/v3${keysPath(version)}`
    const headers = { authorization: `Bearer ${server.owner.token}` }
    const response = await fetch(server.url + path, { headers, signal: leaving.signal })
    const first = await response.body!.getReader().read()
    assert.ok(new TextDecoder().decode(first.value).startsWith('{"rooms":{'))
    const held = await settled(() => pages)
    assert.ok(held < 60, `${held} pages`)
    // Others are served meanwhile.
    assert.equal((await backups.info()).count, 4_000)
    leaving.abort()
    const left = await settled(() => pages)
    assert.ok(left < 70, `${left} pages`)
    assert.equal((await backups.info()).count, 4_000)
  })

  test('a backup, a room and all keys are gone at once, whatever their number; a job gives the space back in slices', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    await backups.put(version, manyKeys(12, 100))
    assert.deepEqual(await rowsOf(server), [12, 1_200])

    assert.deepEqual(await backups.remove(version, '!r3:a'), { etag: '2', count: 1_100 })
    assert.deepEqual(await backups.get(version, '!r3:a'), { sessions: {} })
    await reclaimed(server, [11, 1_100])
    assert.deepEqual(await backups.put(version, key(), '!r3:a', 's3-0'), { etag: '3', count: 1_101 })

    assert.deepEqual(await backups.remove(version), { etag: '4', count: 0 })
    assert.deepEqual(await backups.get(version), { rooms: {} })
    // The same keys again, while the old ones are being taken away: they stay.
    assert.deepEqual(await backups.put(version, manyKeys(2, 10)), { etag: '5', count: 20 })
    await reclaimed(server, [2, 20])
    assert.deepEqual(await backups.get(version), manyKeys(2, 10))

    accepted(await backups.drop(version))
    assert.equal((await backups.tryInfo()).status, 404)
    await reclaimed(server, [0, 0])
    const jobs = await instance.storage.find('job', { where: {}, orderBy: ['key'] })
    assert.deepEqual(
      jobs.map(({ kind, done, total, error }) => [kind, done, total, error]),
      [100, 1_101, 20].map((keys) => ['reclaimBackup', keys, keys, null]),
    )
    const { jobs: shown } = (await server.owner.graphql('{ jobs { kind done total } }')).data
    assert.deepEqual(shown.at(-1), { kind: 'RECLAIM_BACKUP', done: 100, total: 100 })
  })

  test('a job that was cut off by a restart goes on', async () => {
    await using server = await start()
    const backups = new Backups(server.owner)
    const version = await backups.make()
    await backups.put(version, manyKeys(40, 100))
    accepted(await backups.drop(version))
    await server.restart()
    await reclaimed(server, [0, 0])
    assert.equal(await backups.make(), '2')
  })
})

test('an answer that a GraphQL client gets whole is at most 64 MB; pages of large keys are short, and bring them all', async () => {
  await using server = await startServer()
  const backups = new Backups(server.owner)
  const version = await backups.make()
  const data = { ciphertext: 'x'.repeat(60_000) }
  for (const room of ['!a:a', '!b:a', '!c:a', '!d:a', '!e:a']) {
    await backups.put(version, manyKeys(1, 230, data).rooms['!r0:a'], room)
  }
  const whole = await server.owner.graphql('{ roomKeys(version: 1) }')
  assert.deepEqual([whole.data, whole.errors[0].extensions.errcode], [undefined, 'M_TOO_LARGE'])
  const ofRoom = await server.owner.graphql('{ roomKeys(version: 1, roomId: "!b:a") }')
  assert.equal(Object.keys(ofRoom.data.roomKeys.sessions).length, 230)
  const query =
    'query($after: String) { keyBackup { keys(first: 1000, after: $after) { pageInfo { hasNextPage endCursor } edges { node { roomId sessionId } } } } }'
  const found: string[] = []
  let page: { readonly hasNextPage: boolean; readonly endCursor: string | null } = { hasNextPage: true, endCursor: null }
  while (page.hasNextPage) {
    const { edges, pageInfo } = (await server.owner.graphql(query, { after: page.endCursor })).data.keyBackup.keys
    assert.ok(edges.length > 0 && edges.length < 2_000_000 / 60_000 + 25, `${edges.length} keys`)
    for (const { node } of edges) found.push(`${node.roomId} ${node.sessionId}`)
    page = pageInfo
  }
  assert.deepEqual([found.length, new Set(found).size], [5 * 230, 5 * 230])
})
