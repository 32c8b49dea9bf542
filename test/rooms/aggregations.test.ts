import assert from 'node:assert/strict'
import { test } from 'node:test'
import { redact } from '../../src/rooms/redact.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import type { Actor } from '../../src/users/actor.ts'
import { onBothEngines } from '../storage/engines.ts'
import { type Event, readEvent } from './reading.ts'
import { openRig } from './rig.ts'

await onBothEngines('aggregations', (place) => {
  test('edits, threads and references are bundled; a forged edit is not', async (t) => {
    const at = await place(t)
    await using rig = await openRig(at)
    const alice = await rig.person('alice')
    const bob = await rig.person('bob')
    const roomId = await rig.room(alice, {}, [bob])
    const root = await rig.say(alice, roomId, 'root')
    const edit = (actor: Actor, body: string, target = root): Promise<string> =>
      rig.say(actor, roomId, `* ${body}`, {
        'm.new_content': { msgtype: 'm.text', body },
        'm.relates_to': { rel_type: 'm.replace', event_id: target },
      })
    await edit(alice, 'first')
    rig.clock.move(10)
    const good = await edit(alice, 'second')
    rig.clock.move(10)
    await edit(bob, 'forged')
    await rig.say(alice, roomId, 'no new content', { 'm.relates_to': { rel_type: 'm.replace', event_id: root } })
    await rig.say(bob, roomId, 'in thread', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
    const reply = await rig.say(bob, roomId, 'in thread too', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
    const replyEdit = await edit(bob, 'better', reply)
    const reference = await rig.say(bob, roomId, 'see above', { 'm.relates_to': { rel_type: 'm.reference', event_id: root } })
    await rig.say(bob, roomId, 'edit of an edit', { 'm.new_content': {}, 'm.relates_to': { rel_type: 'm.replace', event_id: good } })

    const relations = async (actor: Actor, eventId = root): Promise<JsonObject | undefined> =>
      (JSON.parse(await readEvent(rig.instance, actor, { roomId, eventId })) as Event).unsigned['m.relations'] as JsonObject | undefined
    const found = (await relations(alice)) as unknown as {
      'm.replace': Event
      'm.reference': { chunk: JsonObject[] }
      'm.thread': { latest_event: Event; count: number; current_user_participated: boolean }
    }
    assert.equal(found['m.replace'].event_id, good)
    assert.equal(found['m.replace'].room_id, roomId)
    assert.deepEqual(found['m.reference'].chunk, [{ event_id: reference }])
    assert.equal(found['m.thread'].count, 2)
    assert.equal(found['m.thread'].latest_event.event_id, reply)
    const ofLatest = found['m.thread'].latest_event.unsigned['m.relations'] as unknown as { 'm.replace': Event }
    assert.equal(ofLatest['m.replace'].event_id, replyEdit)
    assert.equal(found['m.thread'].current_user_participated, true)
    assert.equal(await relations(alice, good), undefined, 'an edit cannot be edited')
    await redact(rig.instance, alice, { roomId, eventId: good, txnId: 'r1', content: {} })
    const after = (await relations(alice)) as unknown as { 'm.replace': Event }
    assert.deepEqual(after['m.replace'].content['m.new_content'], { msgtype: 'm.text', body: 'first' }, 'a redacted edit counts no more')
    // The original stands as it was sent.
    assert.equal((JSON.parse(await readEvent(rig.instance, alice, { roomId, eventId: root })) as Event).content['body'], 'root')
  })
})
