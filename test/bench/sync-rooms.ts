/** Rooms as a bridge makes them, with messages, for the measurements of sync. */
import { appendEvent } from '../../src/rooms/append.ts'
import { createRoom } from '../../src/rooms/create.ts'
import { coreOf, roomOf } from '../../src/rooms/room-core.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'
import { actingUser } from '../../src/users/users.ts'

const body = 'm'.repeat(200)

/** Portals of the bridge with the owner and one ghost each; ids of the rooms. */
export async function makePortals(
  instance: Instance,
  bot: Actor,
  options: { owner: string; rooms: number; events: number; ghost(n: number): Actor; from?: number },
): Promise<string[]> {
  const ids: string[] = []
  const { owner, rooms, events, ghost, from = 0 } = options
  for (let n = from; n < from + rooms; n += 50) {
    const numbers = Array.from({ length: Math.min(50, from + rooms - n) }, (_, i) => n + i)
    const made = await Promise.all(
      numbers.map((number) =>
        createRoom(instance, bot, {
          name: `Portal ${number}`,
          topic: 'A portal',
          preset: 'private_chat',
          invite: [owner, ghost(number).userId],
          autoJoinInvites: true,
          initialState: ['m.bridge', 'uk.half-shot.bridge', 'm.room.avatar', 'com.beeper.room_features'].map((type) => ({
            type,
            stateKey: '',
            content: { url: 'mxc://example.com/abcdefghijklmnop', protocol: { id: 'example' }, channel: { id: `${number}` } },
          })),
        }),
      ),
    )
    ids.push(...made.map(({ roomId }) => roomId))
    await Promise.all(made.map(({ roomId }, i) => speak(instance, ghost(numbers[i]!), roomId, events)))
  }
  return ids
}

async function speak(instance: Instance, actor: Actor, roomId: string, events: number): Promise<void> {
  await command(instance, (decision) => {
    const sender = actingUser(decision, actor)
    let core = coreOf(decision, roomOf(decision, roomId, actor.userId))
    for (let i = 0; i < events; i++) {
      core = appendEvent(decision, core, { type: 'm.room.message', sender, content: { msgtype: 'm.text', body } }).core
    }
  })
}
