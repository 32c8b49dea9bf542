import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setBridgePaused } from '../../src/appservices/registrations.ts'
import { sendState } from '../../src/rooms/send.ts'
import { onBothEngines } from '../storage/engines.ts'
import { Homeserver } from './homeserver.ts'

/** What bridges on mautrix-python take. */
const mostBytes = 1_048_576

await onBothEngines('the size of transactions', (place) => {
  test('however large the events are, and those that they replaced, a transaction stays under 1 MiB and all arrive in order', async (t) => {
    await using homeserver = await Homeserver.open({ databaseUrl: (await place(t)).url })
    const bridge = await homeserver.bridge('signal')
    const roomId = await homeserver.portal(bridge, 'bob')
    const bot = await homeserver.actor(bridge)
    const large = 'x'.repeat(60_000)
    const sent: string[] = []
    const setState = async (stateKey: string, text: string) => {
      const state = { roomId, type: 'org.example.note', stateKey, content: { text } }
      sent.push((await sendState(homeserver.instance, bot, state)).eventId)
    }
    await setBridgePaused(homeserver.instance, homeserver.owner, 'signal', true)
    for (let i = 0; i < 20; i++) sent.push(await homeserver.send(homeserver.owner, roomId, large))
    for (let i = 0; i < 20; i++) await setState(`note ${i}`, large)
    // Small ones, each sent with the large one that it replaced.
    for (let i = 0; i < 20; i++) await setState(`note ${i}`, 'empty')
    await setBridgePaused(homeserver.instance, homeserver.owner, 'signal', false)

    await bridge.until('all have arrived', () => bridge.events.some((event) => event.event_id === sent.at(-1)))
    assert.deepEqual(
      bridge.events.map((event) => event.event_id).filter((eventId) => sent.includes(eventId)),
      sent,
    )
    assert.equal(bridge.events.at(-1).unsigned.prev_content.text, large)
    assert.deepEqual(
      bridge.attempts.map(({ text }) => Buffer.byteLength(text)).filter((bytes) => bytes >= mostBytes),
      [],
    )
  })
})
