import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MatrixError } from '../../src/errors.ts'
import { eventContext } from '../../src/rooms/history.ts'
import { inviteUser, joinRoom } from '../../src/rooms/membership.ts'
import { redact } from '../../src/rooms/redact.ts'
import { command } from '../../src/stream/command.ts'
import type { Actor } from '../../src/users/actor.ts'
import { onBothEngines } from '../storage/engines.ts'
import { bodies, type Event, hidden, read, readEvent } from './reading.ts'
import { openRig } from './rig.ts'

await onBothEngines('history', (place) => {
  test('pages backwards meet without gap or repeat, and the last one has no end', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const roomId = await rig.room(alice)
    const sent: string[] = []
    for (let i = 0; i < 25; i++) sent.push(await rig.say(alice, roomId, `m${i}`))
    const all: string[] = []
    let from: string | undefined
    for (let pages = 0; ; pages++) {
      assert.ok(pages < 10)
      const page = await read(rig.instance, alice, roomId, { limit: 7, ...(from ? { from } : {}) })
      if (from) assert.equal(page.start, from)
      all.push(...page.chunk.map((event) => event.event_id))
      if (page.end === undefined) break
      from = page.end
    }
    assert.equal(new Set(all).size, all.length)
    assert.deepEqual(all.slice(0, 25), sent.toReversed())
    assert.equal((await read(rig.instance, alice, roomId, { limit: 1000 })).chunk.at(-1)?.type, 'm.room.create')
  })

  test('pages forwards from a token give what followed it; `to` is not crossed', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const roomId = await rig.room(alice)
    await rig.say(alice, roomId, 'old')
    const from = `s${rig.instance.bus.published}`
    for (const body of ['a', 'b', 'c']) await rig.say(alice, roomId, body)
    const page = await read(rig.instance, alice, roomId, { dir: 'f', from, limit: 2 })
    assert.deepEqual(bodies(page), ['a', 'b'])
    const last = await read(rig.instance, alice, roomId, { dir: 'f', from: page.end!, limit: 2 })
    assert.deepEqual(bodies(last), ['c'])
    assert.equal(last.end, undefined)
    assert.deepEqual(bodies(await read(rig.instance, alice, roomId, { to: from, limit: 10 })), ['c', 'b', 'a'])
    assert.equal((await read(rig.instance, alice, roomId, { dir: 'f', limit: 1 })).chunk[0]?.type, 'm.room.create')
  })

  test('prepended history is reached backwards behind the first live event, by whoever ever joined', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {
      initialState: [{ type: 'm.room.history_visibility', stateKey: '', content: { history_visibility: 'joined' } }],
    })
    await command(rig.instance, (decision) => {
      const room = decision.find('room', { roomId })!
      for (const order of [-1, -2, -3]) {
        const event = {
          type: 'm.room.message',
          sender: alice.userId,
          content: { body: `old${order}` },
          origin_server_ts: 1,
          event_id: `$old${order}`,
        }
        decision.put('event', {
          instance: rig.instance.key,
          room: room.key,
          order,
          eventId: event.event_id,
          type: event.type,
          stateKey: null,
          sender: alice.user!,
          ts: 1,
          replaces: null,
          redactedBy: null,
          changedKeys: null,
          device: null,
          txnId: null,
          json: JSON.stringify(event),
        })
      }
      decision.put('room', { ...room, lowest: -3 })
      decision.announce('history', { rooms: [room.key] })
    })
    const page = await read(rig.instance, alice, roomId, { from: 's0', limit: 2 })
    assert.deepEqual(bodies(page), ['old-1', 'old-2'])
    assert.equal(page.end, 's-3')
    const last = await read(rig.instance, alice, roomId, { from: page.end!, limit: 2 })
    assert.deepEqual(bodies(last), ['old-3'])
    assert.equal(last.end, undefined)
    assert.deepEqual(bodies(await read(rig.instance, alice, roomId, { dir: 'f', limit: 3 })), ['old-3', 'old-2', 'old-1'])
    await inviteUser(rig.instance, alice, { roomId, userId: bob.userId })
    await joinRoom(rig.instance, bob, { roomIdOrAlias: roomId })
    assert.deepEqual(bodies(await read(rig.instance, bob, roomId, { from: 's0' })), ['old-1', 'old-2', 'old-3'])
    const context = JSON.parse(await eventContext(rig.instance, alice, { roomId, eventId: '$old-2' })) as {
      state: Event[]
      start: string
      end: string
    }
    assert.ok(
      context.state.some((event) => event.type === 'm.room.create'),
      'below the first live event stands the current state',
    )
  })

  test('a bad token is M_INVALID_PARAM, a bad filter M_BAD_JSON', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const roomId = await rig.room(alice)
    for (const from of ['x', 's', 's1.5', 's-0', 't12', 's99999999999999999']) {
      await assert.rejects(read(rig.instance, alice, roomId, { from }), (error: MatrixError) => error.errcode === 'M_INVALID_PARAM')
    }
    for (const filter of ['x', '[]', '{"types":1}']) {
      await assert.rejects(read(rig.instance, alice, roomId, { filter }), (error: MatrixError) => error.errcode === 'M_BAD_JSON')
    }
  })

  test('a filter is read through until the limit is full; lazy loading adds the senders', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {}, [bob])
    await rig.say(bob, roomId, 'one', { url: 'mxc://x/y' })
    for (let i = 0; i < 150; i++) await rig.say(alice, roomId, `noise${i}`)
    await rig.say(bob, roomId, 'two')
    const page = await read(rig.instance, alice, roomId, {
      limit: 3,
      filter: JSON.stringify({ senders: [bob.userId], types: ['m.room.message'], lazy_load_members: true }),
    })
    assert.deepEqual(bodies(page), ['two', 'one'])
    assert.deepEqual(
      page.state?.map((event) => event.state_key),
      [bob.userId],
    )
    assert.deepEqual(bodies(await read(rig.instance, alice, roomId, { filter: '{"contains_url":true}' })), ['one'])
    assert.deepEqual((await read(rig.instance, alice, roomId, { filter: '{"types":[]}' })).chunk, [])
    assert.deepEqual((await read(rig.instance, alice, roomId, { filter: `{"not_rooms":["${roomId}"]}` })).chunk, [])
    const root = await rig.say(alice, roomId, 'root')
    await rig.say(bob, roomId, 'reply', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
    assert.deepEqual(bodies(await read(rig.instance, alice, roomId, { filter: '{"related_by_rel_types":["m.thread"]}' })), ['root'])
    assert.deepEqual(bodies(await read(rig.instance, alice, roomId, { filter: `{"related_by_senders":["${alice.userId}"]}` })), [])
  })

  test('unsigned has the transaction id for the sending device only, what a state event replaced, and the redaction', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob', alice.device!)
    const roomId = await rig.room(alice, { name: 'first' }, [bob])
    const eventId = await rig.say(alice, roomId, 'x')
    const one = async (actor: Actor, id: string): Promise<Event> =>
      JSON.parse(await readEvent(rig.instance, actor, { roomId, eventId: id })) as Event
    const own = await one(alice, eventId)
    assert.equal(own.room_id, roomId)
    assert.match(String(own.unsigned['transaction_id']), /^rig/)
    assert.equal(own.unsigned['membership'], 'join')
    assert.equal((await one({ ...alice, device: 'OTHER' }, eventId)).unsigned['transaction_id'], undefined)
    assert.equal((await one(bob, eventId)).unsigned['transaction_id'], undefined, 'a device of the same name of somebody else')
    rig.clock.move(5_000)
    assert.equal((await one(alice, eventId)).unsigned['age'], 5_000)

    const named = await rig.state(alice, roomId, 'm.room.name', { name: 'second' })
    assert.deepEqual((await one(bob, named)).unsigned['prev_content'], { name: 'first' })
    assert.match(String((await one(bob, named)).unsigned['replaces_state']), /^\$/)

    await redact(rig.instance, alice, { roomId, eventId, txnId: 'r', content: { reason: 'spam' } })
    const redacted = await one(bob, eventId)
    assert.deepEqual(redacted.content, {})
    const because = redacted.unsigned['redacted_because'] as unknown as Event & { redacts: string }
    assert.equal(because.type, 'm.room.redaction')
    assert.equal(because.redacts, eventId)
    assert.equal(because.content['redacts'], eventId)
    assert.equal(because.room_id, roomId)
  })

  test('context has what stands around the event, the state there, and tokens that go on from its ends', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const roomId = await rig.room(alice, { name: 'old' })
    const ids: string[] = []
    for (let i = 0; i < 9; i++) ids.push(await rig.say(alice, roomId, `m${i}`))
    await rig.state(alice, roomId, 'm.room.name', { name: 'new' })
    const context = JSON.parse(await eventContext(rig.instance, alice, { roomId, eventId: ids[4]!, limit: 4 })) as {
      event: Event
      events_before: Event[]
      events_after: Event[]
      start: string
      end: string
      state: Event[]
    }
    assert.equal(context.event.event_id, ids[4])
    assert.deepEqual(
      context.events_before.map((event) => event.event_id),
      [ids[3], ids[2]],
    )
    assert.deepEqual(
      context.events_after.map((event) => event.event_id),
      [ids[5], ids[6]],
    )
    assert.equal(context.state.find((event) => event.type === 'm.room.name')?.content['name'], 'old')
    assert.equal((await read(rig.instance, alice, roomId, { from: context.start })).chunk[0]?.event_id, ids[1])
    assert.equal((await read(rig.instance, alice, roomId, { dir: 'f', from: context.end })).chunk[0]?.event_id, ids[7])
    await assert.rejects(eventContext(rig.instance, alice, { roomId, eventId: '$none' }), hidden)
  })

  test('an ignored user’s messages are left out, their state is not', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {}, [bob])
    await rig.say(bob, roomId, 'noise')
    const content = JSON.stringify({ ignored_users: { [bob.userId]: {} } })
    await command(rig.instance, (decision) =>
      decision.put('accountData', {
        instance: rig.instance.key,
        user: alice.user!,
        room: 0,
        type: 'm.ignored_user_list',
        content,
        position: decision.takePosition(),
      }),
    )
    const page = await read(rig.instance, alice, roomId, { limit: 100 })
    assert.deepEqual(bodies(page), [])
    assert.ok(page.chunk.some((event) => event.sender === bob.userId && event.type === 'm.room.member'))
  })
})
