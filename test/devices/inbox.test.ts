// What waits for a device: until it is acknowledged, within limits, and not for ever.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { acknowledgeInbox, inboxMark, noteMessage, readInbox } from '../../src/devices/inbox.ts'
import { forgetUnreadMessages, mostWaiting, trimInbox, waitingLifetimeMs } from '../../src/devices/inbox-limits.ts'
import { clean } from '../../src/instances/cleaning.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { type Client, startServer } from '../rig/server.ts'
import { contentsOf, inboxOf, keyOf, personWithDevices, sendTo } from './to-device-rig.ts'

/** Rows as many messages would have left them, without sending each. */
async function fill(instance: Instance, { userId, deviceId }: Client, contents: readonly string[]): Promise<void> {
  const user = await keyOf(instance, userId)
  await command(instance, (decision) => {
    for (const content of contents) {
      const position = decision.takePosition()
      const createdAt = decision.now
      const row = { instance: instance.key, user, deviceId, position, type: 'm.x', sender: '@a:example.com', content, createdAt }
      decision.write('toDevice', { ...row, appservice: null })
    }
  })
}

const numbered = (count: number) => Array.from({ length: count }, (_, n) => JSON.stringify({ n }))
const changeSets = (instance: Instance) => instance.shard.stats().changeSets

await onBothServers('an inbox', (start) => {
  test('250 queued messages are read as 100, 100 and 50, each window alike until it is acknowledged', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const bob = await server.register('bob')
    const user = await keyOf(instance, bob.userId)
    await fill(instance, bob, numbered(250))
    const until = instance.bus.published
    const windows: number[][] = []
    for (let after = 0; ; ) {
      const read = () => readInbox(instance, user, bob.deviceId, { after, until, limit: 100 })
      const rows = await read()
      assert.deepEqual(await read(), rows)
      if (rows.length === 0) break
      windows.push(rows.map(({ content }) => JSON.parse(content).n))
      after = rows.at(-1)!.position
      await acknowledgeInbox(instance, user, bob.deviceId, after)
      assert.equal(await instance.storage.count('toDevice', {}), 250 - windows.flat().length)
    }
    assert.deepEqual(
      windows.map((each) => each.length),
      [100, 100, 50],
    )
    assert.deepEqual(
      windows.flat(),
      Array.from({ length: 250 }, (_, n) => n),
    )
  })

  test('a message survives a restart between the answer and its acknowledgement, and nothing else does', async () => {
    await using server = await start()
    const alice = await server.register('alice')
    const [one, two] = await personWithDevices(server, 'bob', 2)
    for (const n of [1, 2]) await sendTo(alice, { [one!.userId]: { '*': { n } } })
    const before = await server.server.host.defaultInstance()
    const user = await keyOf(before, one!.userId)
    const [first] = await inboxOf(before, one!)
    await server.restart()
    const instance = await server.server.host.defaultInstance()
    assert.deepEqual(await contentsOf(instance, one!), [{ n: 1 }, { n: 2 }])
    await acknowledgeInbox(instance, user, one!.deviceId, first!.position)
    assert.deepEqual(await contentsOf(instance, one!), [{ n: 2 }])
    await server.restart()
    const last = await server.server.host.defaultInstance()
    assert.deepEqual(await contentsOf(last, one!), [{ n: 2 }])
    assert.deepEqual(await contentsOf(last, two!), [{ n: 1 }, { n: 2 }], 'the other device has acknowledged nothing')
  })

  test('the oldest messages go when there are too many, or too many bytes of them', async () => {
    await using server = await start()
    const instance = await server.server.host.defaultInstance()
    const [bob, other] = await personWithDevices(server, 'bob', 2)
    const user = await keyOf(instance, bob!.userId)
    for (const device of [bob!, other!]) await fill(instance, device, numbered(450))
    const kept = async () => (await contentsOf(instance, bob!)).map((content) => (content as { n: number }).n)
    await trimInbox(instance, user, bob!.deviceId, { messages: 450, bytes: 1_000_000 })
    assert.equal((await kept()).length, 450)
    await trimInbox(instance, user, bob!.deviceId, { messages: 25, bytes: 1_000_000 })
    assert.deepEqual(
      await kept(),
      Array.from({ length: 25 }, (_, n) => 425 + n),
    )
    await fill(instance, bob!, [`{"n":450,"é":"${'é'.repeat(500)}"}`, '{"n":451}'])
    await trimInbox(instance, user, bob!.deviceId, { messages: 25, bytes: 1_030 })
    assert.deepEqual(await kept(), [450, 451])
    await trimInbox(instance, user, bob!.deviceId, { messages: 25, bytes: 1_000 })
    assert.deepEqual(await kept(), [451])
    assert.equal((await contentsOf(instance, other!)).length, 450)
  })

  test('messages that waited for 30 days go when their device was not seen in that time', async () => {
    let now = Date.now()
    await using server = await start({ ports: { now: () => now } })
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const [away, active, dehydrated] = await personWithDevices(server, 'bob', 3)
    const user = await keyOf(instance, away!.userId)
    const { deviceId } = dehydrated!
    await command(instance, (decision) =>
      decision.put('dehydratedDevice', { instance: instance.key, user, deviceId, deviceData: '{}', createdAt: now }),
    )
    const send = (n: number) => sendTo(alice, { [away!.userId]: { '*': { n } } })
    await send(1)
    now += 10 * 60_000
    await send(2)
    now += waitingLifetimeMs - 5 * 60_000
    await send(3)
    // Seen, although it never takes its messages.
    await active!.get('/account/whoami')
    await seen(instance, active!, now)
    await clean(instance)
    assert.deepEqual(await contentsOf(instance, away!), [{ n: 2 }, { n: 3 }])
    assert.equal((await contentsOf(instance, active!)).length, 3)
    assert.equal((await contentsOf(instance, dehydrated!)).length, 3, 'a dehydrated device is never seen')
  })
})

/** Uses are noted after the answer. */
async function seen(instance: Instance, { userId, deviceId }: Client, at: number): Promise<void> {
  const user = await keyOf(instance, userId)
  while ((await instance.storage.first('device', { user, deviceId }))!.lastSeenTs < at)
    await new Promise((resolve) => setTimeout(resolve, 10))
}

describe('an inbox', () => {
  test('of a device that never syncs holds 10 000 messages: older ones go while more come', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const alice = await server.register('alice')
    const bob = await server.register('bob')
    for (let filled = 0; filled < mostWaiting.messages; filled += 2_000) await fill(instance, bob, numbered(2_000))
    for (let sent = 0; sent < 1_000; sent += 100)
      await Promise.all(Array.from({ length: 100 }, () => sendTo(alice, { [bob.userId]: { '*': { late: true } } })))
    while ((await instance.storage.count('toDevice', {})) > mostWaiting.messages) await new Promise((resolve) => setTimeout(resolve, 20))
    const contents = await contentsOf(instance, bob)
    assert.equal(contents.length, mostWaiting.messages)
    assert.equal(contents.filter((content) => (content as { late?: boolean }).late).length, 1_000)
  })

  test('devices that nobody uses are gone through in slices', async () => {
    let now = Date.now()
    await using server = await startServer({ ports: { now: () => now } })
    const instance = await server.server.host.defaultInstance()
    const bob = await server.register('bob')
    await fill(instance, bob, numbered(700))
    const user = await keyOf(instance, bob.userId)
    const device = (await instance.storage.first('device', { user, deviceId: bob.deviceId }))!
    await command(instance, (decision) => {
      for (let n = 0; n < 450; n++) decision.write('device', { ...device, deviceId: `UNUSED${n}` })
      for (let n = 0; n < 450; n++) {
        const row = { instance: instance.key, user, deviceId: `UNUSED${n}`, position: decision.takePosition(), type: 'm.x', sender: '@a:b' }
        decision.write('toDevice', { ...row, content: '{}', createdAt: now, appservice: null })
      }
    })
    now += waitingLifetimeMs - 1
    await forgetUnreadMessages(instance)
    assert.equal(await instance.storage.count('toDevice', {}), 1_150)
    now += 2
    await forgetUnreadMessages(instance)
    assert.equal(await instance.storage.count('toDevice', {}), 0)
  })

  test('of which the oldest messages are too old loses those alone, and others get their turn between two devices', async () => {
    let now = Date.now()
    await using server = await startServer({ ports: { now: () => now } })
    const instance = await server.server.host.defaultInstance()
    const devices = await personWithDevices(server, 'bob', 4)
    for (const device of devices) await fill(instance, device, numbered(450))
    now += 1_000
    for (const device of devices) await fill(instance, device, ['{"young":true}', '{"young":true}'])
    now += waitingLifetimeMs - 1
    await forgetUnreadMessages(instance)
    for (const device of devices) assert.deepEqual(await contentsOf(instance, device), [{ young: true }, { young: true }])
    let turns = 0
    let isDone = false
    const turn = () => {
      turns++
      if (!isDone) setImmediate(turn)
    }
    setImmediate(turn)
    // Nothing is written, so nothing is waited for.
    await forgetUnreadMessages(instance)
    isDone = true
    assert.ok(turns >= devices.length, `${turns} turns`)
  })

  test('about which too little is remembered is read again: nothing that came while it was read is passed over', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const bob = await server.register('bob')
    const user = await keyOf(instance, bob.userId)
    const until = instance.bus.published
    const gate = Promise.withResolvers<void>()
    const { find } = instance.storage
    Object.assign(instance.storage, {
      find: async (...args: Parameters<typeof find>) => {
        const rows = await find(...args)
        if (args[0] === 'toDevice') await gate.promise
        return rows
      },
    })
    const reading = readInbox(instance, user, bob.deviceId, { after: null, until, limit: 100 })
    await sendTo(bob, { [bob.userId]: { '*': { n: 1 } } })
    // So many others get messages that bob's device is forgotten.
    const message = { instance: instance.key, user, position: instance.bus.published, type: 'm.x', sender: bob.userId, content: '{}' }
    for (let n = 0; n < 10_000; n++) noteMessage(instance, { ...message, deviceId: `OTHER${n}`, createdAt: 0, appservice: null })
    gate.resolve()
    assert.deepEqual(await reading, [])
    const mark = inboxMark(instance, user, bob.deviceId)
    assert.ok(mark === null || mark > until, `${mark}`)
    assert.deepEqual(await contentsOf(instance, bob), [{ n: 1 }])
  })

  test('that is empty is neither read nor written: a device that only polls costs nothing', async () => {
    await using server = await startServer()
    const alice = await server.register('alice')
    const [one, two] = await personWithDevices(server, 'bob', 2)
    await sendTo(alice, { [one!.userId]: { [one!.deviceId]: { n: 1 } } })
    const sent = (await inboxOf(await server.server.host.defaultInstance(), one!))[0]!.position
    await server.restart()
    const instance = await server.server.host.defaultInstance()
    const user = await keyOf(instance, one!.userId)
    const mark = (device: Client) => inboxMark(instance, user, device.deviceId)
    assert.deepEqual([mark(one!), mark(two!)], [null, null], 'nobody looked yet')
    const until = instance.bus.published
    for (const device of [one!, two!]) await readInbox(instance, user, device.deviceId, { after: null, until, limit: 100 })
    assert.deepEqual([mark(one!), mark(two!)], [sent, 0])
    await sendTo(alice, { [one!.userId]: { [one!.deviceId]: { n: 2 } } })
    const [, second] = await inboxOf(instance, one!)
    assert.deepEqual([mark(one!), mark(two!)], [second!.position, 0])
    const before = changeSets(instance)
    for (let n = 0; n < 3; n++) await acknowledgeInbox(instance, user, two!.deviceId, instance.bus.published)
    await acknowledgeInbox(instance, user, one!.deviceId, sent - 1)
    assert.equal(changeSets(instance), before, 'nothing was there to be removed')
    await acknowledgeInbox(instance, user, one!.deviceId, second!.position)
    assert.equal(changeSets(instance), before + 1)
    const after = instance.bus.published
    await readInbox(instance, user, one!.deviceId, { after, until: after, limit: 100 })
    for (let n = 0; n < 3; n++) await acknowledgeInbox(instance, user, one!.deviceId, after + n)
    assert.equal(changeSets(instance), before + 1)
    await sendTo(alice, { [one!.userId]: { [one!.deviceId]: { n: 3 } } })
    assert.deepEqual(await contentsOf(instance, one!), [{ n: 3 }])
    await acknowledgeInbox(instance, user, one!.deviceId, instance.bus.published)
    assert.equal(changeSets(instance), before + 3)
    assert.deepEqual(await contentsOf(instance, one!), [])
  })

  test('reading and acknowledging while messages come misses none and repeats none', async () => {
    await using server = await startServer()
    const instance = await server.server.host.defaultInstance()
    const bob = await server.register('bob')
    const user = await keyOf(instance, bob.userId)
    const sent = Promise.all(Array.from({ length: 20 }, (_, n) => sendTo(bob, { [bob.userId]: { '*': { n } } })))
    const got: unknown[] = []
    for (let since = 0, done = false; !done; ) {
      done = await Promise.race([sent.then(() => true), new Promise<boolean>((resolve) => setImmediate(resolve, false))])
      const until = instance.bus.published
      const rows = await readInbox(instance, user, bob.deviceId, { after: since, until, limit: 100 })
      got.push(...rows.map(({ content }) => JSON.parse(content).n))
      since = until
      await acknowledgeInbox(instance, user, bob.deviceId, since)
    }
    assert.deepEqual(
      got.toSorted((a, b) => Number(a) - Number(b)),
      Array.from({ length: 20 }, (_, n) => n),
    )
    assert.equal(await instance.storage.count('toDevice', {}), 0)
  })
})
