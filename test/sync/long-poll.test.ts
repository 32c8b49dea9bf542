/** Waiting: woken by what concerns the user, by nothing else, and never too late. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inviteUser } from '../../src/rooms/membership.ts'
import { sync } from '../../src/sync/sync.ts'
import { setAccountData } from '../../src/users/account-data.ts'
import { userIdsOf } from '../../src/users/user-ids.ts'
import { withKeys } from '../devices/list-rig.ts'
import { onBothEngines } from '../storage/engines.ts'
import { bodies, ids, news, nothingNew, SyncRig } from './rig.ts'

await onBothEngines('long polls', (place) => {
  /** Long enough for everything that is going to happen without the clock moving. */
  const settle = () => new Promise((resolve) => setTimeout(resolve, 30))

  const allReads = ['find', 'first', 'lastEvents', 'eventsAt', 'membersAt', 'currentState', 'unreadCounts', 'memberCounts']

  /** How often something of storage is read. */
  function countReads(rig: SyncRig, names = allReads): { count: number } {
    const storage = rig.instance.storage as unknown as Record<string, (...args: unknown[]) => unknown>
    const reads = { count: 0 }
    for (const name of names) {
      const original = storage[name]!.bind(storage)
      storage[name] = (...args) => {
        reads.count++
        return original(...args)
      }
    }
    return reads
  }

  test('with nothing new it answers at the deadline with a token, at once when the timeout is 0', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const since = await rig.now(rig.alice)
    assert.deepEqual(await rig.sync(rig.alice, { since }), nothingNew(since))
    let answered = false
    const waiting = rig.sync(rig.alice, { since, timeoutMs: 5_000 }).finally(() => (answered = true))
    await settle()
    rig.clock.move(4_999)
    await settle()
    assert.equal(answered, false)
    rig.clock.move(2)
    assert.deepEqual(await waiting, nothingNew(since))
  })

  test('a timeout is at most a minute', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const waiting = rig.sync(rig.alice, { since: await rig.now(rig.alice), timeoutMs: 86_400_000 })
    await settle()
    rig.clock.move(60_001)
    await waiting
  })

  test('an initial sync never waits', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    assert.deepEqual((await rig.sync(rig.bob, { timeoutMs: 30_000 })).rooms?.join, {})
  })

  test('the first wake is answered at once; the next within 20 ms gathers for 5', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    rig.clock.move(1_000)
    const first = rig.sync(rig.alice, { since: await later(rig), timeoutMs: 30_000 })
    await settle()
    await rig.say(rig.bob, roomId, 'one')
    const answer = await first
    assert.deepEqual(bodies(answer.rooms?.join?.[roomId]?.timeline.events), ['one'])
    const second = rig.sync(rig.alice, { since: answer.next_batch, timeoutMs: 30_000 })
    await settle()
    await rig.say(rig.bob, roomId, 'two')
    await rig.say(rig.bob, roomId, 'three')
    await settle()
    rig.clock.move(6)
    assert.deepEqual(bodies((await second).rooms?.join?.[roomId]?.timeline.events), ['two', 'three'])
  })

  /** A token of now that no sync of alice's gave: her last answer stays long ago. */
  async function later(rig: SyncRig): Promise<string> {
    return rig.now(rig.bob)
  }

  test('no wake-up is lost, whenever the write comes', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    let since = await rig.now(rig.alice)
    for (let i = 0; i < 50; i++) {
      rig.clock.move(1_000)
      const order = [() => rig.sync(rig.alice, { since, timeoutMs: 30_000 }), () => rig.say(rig.bob, roomId, `${i}`)]
      const [a, b] = i % 2 ? order : order.toReversed()
      const started = a!()
      for (let turns = 0; turns < i % 5; turns++) await new Promise((resolve) => setImmediate(resolve))
      const results = await Promise.all([started, b!()])
      const answer = results.find((result) => typeof result !== 'string') as Awaited<ReturnType<SyncRig['sync']>>
      assert.deepEqual(bodies(answer.rooms?.join?.[roomId]?.timeline.events), [`${i}`])
      since = answer.next_batch
    }
  })

  test('invitations, account data and own devices wake; what concerns others does not', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const others = await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    // What a woken sync begins with, and no command reads.
    const reads = countReads(rig, ['membersAt', 'lastEvents'])
    const waiting = rig.sync(rig.bob, { since, timeoutMs: 30_000 })
    await settle()
    await rig.say(rig.alice, others, 'x')
    await settle()
    assert.equal(reads.count, 0)
    await inviteUser(rig.instance, rig.alice, { roomId: others, userId: rig.bob.userId })
    assert.ok((await waiting).rooms?.invite?.[others])
    const { next_batch: then } = await rig.sync(rig.bob)
    rig.clock.move(1_000)
    const next = rig.sync(rig.bob, { since: then, timeoutMs: 30_000 })
    await setAccountData(rig.instance, rig.bob, { userId: rig.bob.userId, type: 'org.example', content: {} })
    assert.ok((await next).account_data)
  })

  test('woken by what the filter drops, it waits on from there', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const filter = { room: { timeline: { types: ['org.example'] }, state: { types: [] } } }
    const waiting = rig.sync(rig.alice, { since: await later(rig), filter, timeoutMs: 30_000 })
    await settle()
    for (let i = 0; i < 3; i++) await rig.say(rig.bob, roomId, 'dropped')
    await settle()
    const reads = countReads(rig)
    await settle()
    assert.equal(reads.count, 0, 'no loop')
    const wanted = await rig.set(rig.alice, roomId, 'org.example', {})
    const answer = await waiting
    assert.deepEqual(ids(answer.rooms?.join?.[roomId]?.timeline.events), [wanted])
  })

  test('identical requests share one computation, others do not', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const since = await rig.now(rig.alice)
    const computed = async (requests: number, device?: string) => {
      const reads = countReads(rig)
      const actor = (i: number) => (device ? { ...rig.alice, device: `${device}${i}` } : rig.alice)
      const waiting = Array.from({ length: requests }, (_, i) => rig.syncText(actor(i), { since, timeoutMs: 30_000 }))
      const texts = await Promise.all(waiting)
      return { texts: new Set(texts).size, reads: reads.count }
    }
    await rig.say(rig.bob, roomId, 'x')
    const one = await computed(1)
    const three = await computed(3)
    assert.deepEqual(three, one)
    assert.ok((await computed(3, 'D')).reads >= 3 * (one.reads - 1))
  })

  test('a client that is gone frees its waiter; one of two does not take the other’s', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const roomId = await rig.room(rig.alice, {}, [rig.bob])
    const since = await later(rig)
    const listeners = (rig.instance.bus as unknown as { byUser: Map<number, Set<unknown>> }).byUser
    const [first, second] = [new AbortController(), new AbortController()]
    const gone = rig.sync(rig.alice, { since, timeoutMs: 30_000 }, first.signal)
    const stays = rig.sync(rig.alice, { since, timeoutMs: 30_000 }, second.signal)
    await settle()
    assert.equal(listeners.get(rig.alice.user!)?.size, 1)
    first.abort()
    await settle()
    assert.equal(listeners.get(rig.alice.user!)?.size, 1)
    await rig.say(rig.bob, roomId, 'x')
    assert.deepEqual(bodies((await stays).rooms?.join?.[roomId]?.timeline.events), ['x'])
    await gone
    const last = new AbortController()
    const alone = rig.sync(rig.alice, { since: await later(rig), timeoutMs: 30_000 }, last.signal)
    await settle()
    last.abort()
    await alone
    assert.equal(listeners.get(rig.alice.user!), undefined)
  })

  test('a closing homeserver lets its waiters go', async (t) => {
    const rig = await SyncRig.start(await place(t))
    const since = await rig.now(rig.alice)
    const waiting = rig.sync(rig.alice, { since, timeoutMs: 30_000 })
    await settle()
    await rig[Symbol.asyncDispose]()
    assert.deepEqual(await waiting, nothingNew(since))
  })

  test('an idle sync reads nothing, whatever the number of rooms', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    for (let i = 0; i < 5; i++) await rig.room(rig.alice)
    const since = await rig.now(rig.alice)
    const reads = countReads(rig)
    for (let i = 0; i < 10; i++) await rig.sync(rig.alice, { since })
    assert.equal(reads.count, 0)
  })

  test('one message in one room is as many reads with many rooms as with one', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const readsOf = async () => {
      const roomId = await rig.room(rig.alice, {}, [rig.bob])
      const since = await rig.now(rig.alice)
      await rig.say(rig.bob, roomId, 'x')
      const reads = countReads(rig)
      await rig.sync(rig.alice, { since })
      return reads.count
    }
    await userIdsOf(rig.instance, [rig.alice.user!])
    const one = await readsOf()
    for (let i = 0; i < 20; i++) await rig.room(rig.alice)
    const many = await readsOf()
    assert.ok(many <= one, `${many} reads instead of ${one}`)
  })

  test('a user of a bridge who asks is told from then on', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { bot } = await rig.bridge()
    const roomId = await rig.room(bot, { preset: 'public_chat' })
    const { next_batch: since } = await rig.sync(bot)
    rig.clock.move(1_000)
    const waiting = rig.sync(bot, { since, timeoutMs: 30_000 })
    await settle()
    await rig.say(bot, roomId, 'x')
    assert.deepEqual(bodies((await waiting).rooms?.join?.[roomId]?.timeline.events), ['x'])
    await assert.rejects(async () => sync(rig.instance, { ...bot, user: null }, {}, new AbortController().signal), {
      errcode: 'M_FORBIDDEN',
    })
  })

  test('and of what was before, when the token is older: rooms and device lists', async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const alice = await withKeys(rig, rig.alice)
    const bot = await withKeys(rig, (await rig.bridge()).bot)
    const since = await rig.now(alice)
    const roomId = await rig.room(bot, { invite: [alice.userId], autoJoinInvites: true })
    const answer = await rig.sync(bot, { since })
    assert.deepEqual(Object.keys(answer.rooms?.join ?? {}), [roomId])
    assert.deepEqual(answer.device_lists, { changed: [alice.userId], left: [] })
    assert.deepEqual(news(await rig.sync(bot, { since: answer.next_batch })), [])
  })
})
