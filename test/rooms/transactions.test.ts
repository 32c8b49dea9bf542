/** Transaction ids. https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sendMessage } from '../../src/rooms/send.ts'
import { command } from '../../src/stream/command.ts'
import { mayHaveSeen } from '../../src/users/seen-transactions.ts'
import { onBothEngines } from '../storage/engines.ts'
import { openRig } from './rig.ts'

const content = { msgtype: 'm.text', body: 'hello' }

await onBothEngines('transaction ids', (place) => {
  test('one that was answered before this start is found, however many there are', async (t) => {
    await using rig = await openRig(await place(t))
    const { instance } = rig
    const alice = await rig.person('alice')
    const roomId = await rig.room(alice)
    // What stands in the table when the instance opens, most of it written in the same millisecond.
    const scope = `send/${roomId}/m.room.message`
    const user = (await instance.storage.first('user', { userId: alice.userId }))!.key
    const device = alice.device ?? ''
    for (let slice = 0; slice < 4; slice++) {
      await command(instance, (decision) => {
        for (let i = slice * 500; i < (slice + 1) * 500; i++) {
          const answer = JSON.stringify({ eventId: `$old${i}` })
          const createdAt = i < 1_200 ? rig.clock.now : rig.clock.now + i
          decision.write('transaction', { instance: instance.key, user, device, scope, txnId: `old${i}`, answer, createdAt })
        }
      })
    }
    for (const i of [0, 499, 500, 1_199, 1_999]) {
      assert.deepEqual(await sendMessage(instance, alice, { roomId, type: 'm.room.message', txnId: `old${i}`, content }), {
        eventId: `$old${i}`,
      })
    }
    await gathered(rig)
    for (let i = 0; i < 2_000; i++) assert.ok(mayHaveSeen(instance, { user, device, scope, txnId: `old${i}` }), `old${i}`)
  })

  test('a new one costs no look-up, and its repeat gets the first answer', async (t) => {
    await using rig = await openRig(await place(t))
    const { instance } = rig
    const alice = await rig.person('alice')
    const roomId = await rig.room(alice)
    await rig.say(alice, roomId, 'the first')
    await gathered(rig)
    let lookUps = 0
    const { first } = instance.storage
    Object.assign(instance.storage, {
      first: (table: 'transaction', by: object) => {
        if (table === 'transaction') lookUps++
        return first(table, by as never)
      },
    })
    const ids: string[] = []
    for (let i = 0; i < 200; i++) {
      ids.push((await sendMessage(instance, alice, { roomId, type: 'm.room.message', txnId: `new${i}`, content })).eventId)
    }
    assert.ok(lookUps < 10, `${lookUps} of 200 were looked up`)
    for (const [i, eventId] of ids.entries()) {
      assert.deepEqual(await sendMessage(instance, alice, { roomId, type: 'm.room.message', txnId: `new${i}`, content }), { eventId })
    }
  })

  test('one that no database takes as a key is refused, whatever it is written in', async (t) => {
    await using rig = await openRig(await place(t))
    const alice = await rig.person('alice')
    const roomId = await rig.room(alice)
    // Nothing that can be made shorter by repetition.
    const letters = Array.from({ length: 1_500 }, (_, i) => String.fromCharCode(0x4e00 + ((i * 7_919) % 20_000))).join('')
    const send = (txnId: string) => sendMessage(rig.instance, alice, { roomId, type: 'm.room.message', txnId, content })
    const long = letters.slice(0, 341)
    assert.deepEqual(await send(long), await send(long))
    for (const tooLong of [letters.slice(0, 342), letters, 'x'.repeat(100_000)]) {
      await assert.rejects(send(tooLong), { errcode: 'M_INVALID_PARAM' })
    }
  })
})

/** The ids from before this start are read in the background. */
async function gathered(rig: Awaited<ReturnType<typeof openRig>>): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (!mayHaveSeen(rig.instance, { user: 0, device: '', scope: 'probe', txnId: `${i}` })) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('the transaction ids were never gathered')
}
