/** Whatever happens, and however seldom a client syncs: what it puts together is the room. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { putToDevice } from '../../src/devices/to-device.ts'
import { MatrixError } from '../../src/errors.ts'
import { inviteUser, joinRoom, kickUser, leaveRoom } from '../../src/rooms/membership.ts'
import { roomState } from '../../src/rooms/state.ts'
import { command } from '../../src/stream/command.ts'
import type { Actor } from '../../src/users/actor.ts'
import { userOf } from '../../src/users/users.ts'
import { withDevice } from '../devices/list-rig.ts'
import { gather } from '../rooms/rig.ts'
import { onBothEngines } from '../storage/engines.ts'
import { ClientRoom, type Event, ids, SyncRig } from './rig.ts'

type Step =
  | { readonly kind: 'say' | 'redact' | 'rename' | 'leave' | 'join' | 'kick'; readonly who: number; readonly n: number }
  | { readonly kind: 'state'; readonly who: number; readonly n: number; readonly type: string }
  | { readonly kind: 'sync'; readonly client: number; readonly limit: number }
  | { readonly kind: 'flood'; readonly who: number }
  | { readonly kind: 'restart' }

const who = fc.nat({ max: 2 })
const n = fc.nat({ max: 5 })
const steps = fc.array<Step>(
  fc.oneof(
    { weight: 10, arbitrary: fc.record({ kind: fc.constant('say' as const), who, n }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('state' as const),
        who,
        n,
        type: fc.constantFrom('m.room.name', 'm.room.topic', 'org.example'),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constantFrom('redact' as const, 'rename' as const, 'leave' as const, 'join' as const, 'kick' as const),
        who,
        n,
      }),
    },
    { weight: 8, arbitrary: fc.record({ kind: fc.constant('sync' as const), client: fc.nat({ max: 5 }), limit: fc.nat({ max: 6 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('flood' as const), who: fc.nat({ max: 1 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  ),
  { minLength: 10, maxLength: 60 },
)

/** A client in the room, in one of the ways to sync. */
class Client {
  readonly room = new ClientRoom()
  /** the whole timeline: gaps filled from /messages */
  readonly whole: Event[] = []
  since: string | undefined
  /** ids of the state events of earlier answers */
  private readonly told = new Set<string>()
  private readonly rig: SyncRig
  private readonly roomId: string
  readonly actor: Actor
  readonly options: { readonly lazy?: boolean; readonly stateAfter?: 'state_after'; readonly types?: string[]; readonly returns?: boolean }

  constructor(rig: SyncRig, roomId: string, actor: Actor, options: Client['options'] = {}) {
    this.rig = rig
    this.roomId = roomId
    this.actor = actor
    this.options = options
  }

  /** True when more may come at once: the answer held messages, and ended at the last of them. */
  async sync(limit: number): Promise<boolean> {
    const { lazy, stateAfter, types } = this.options
    const filter = {
      room: { rooms: [this.roomId], state: { lazy_load_members: lazy === true }, timeline: { limit, ...(types && { types }) } },
    }
    const answer = await this.rig.sync(this.actor, { since: this.since ?? null, filter, stateAfter: stateAfter ?? null })
    const block = answer.rooms?.join?.[this.roomId] ?? answer.rooms?.leave?.[this.roomId]
    if (block) {
      const shown = new Set(ids(block.timeline.events))
      if (!stateAfter) for (const event of block.state?.events ?? []) assert.ok(!shown.has(event.event_id), 'state and timeline overlap')
      else assert.equal(block.state, undefined)
      // Where others write meanwhile: nothing from behind next_batch.
      if (!this.options.returns) for (const id of shown) assert.ok(!this.told.has(id), 'state of the future')
      for (const event of [...(block.state?.events ?? []), ...(block.state_after?.events ?? [])]) this.told.add(event.event_id)
      if (block.timeline.limited) this.whole.push(...(await this.gap(block.timeline.prev_batch)))
      this.whole.push(...block.timeline.events)
      this.room.apply(block)
    }
    this.since = answer.next_batch
    return answer.to_device !== undefined
  }

  /** Backwards from prev_batch to where the last answer ended. */
  private async gap(from: string): Promise<Event[]> {
    const missing: Event[] = []
    for (let at: string | undefined = from; at !== undefined; ) {
      const page: { chunk: Event[]; end?: string } = await this.rig.messages(this.actor, {
        roomId: this.roomId,
        dir: 'b',
        from: at,
        to: this.since ?? null,
        limit: 3,
      })
      missing.unshift(...page.chunk.toReversed())
      at = page.end
    }
    return missing
  }
}

/** `hurried`: nobody waits for what was written, so that syncs read in the middle of commits. */
async function run(rig: SyncRig, actors: readonly Actor[], script: readonly Step[], hurried: boolean): Promise<void> {
  const [alice, bob] = actors as [Actor, Actor, Actor]
  const roomId = await rig.room(alice, { preset: 'public_chat', name: 'start' }, [bob])
  const clients = [
    new Client(rig, roomId, alice),
    new Client(rig, roomId, alice, { stateAfter: 'state_after' }),
    new Client(rig, roomId, alice, { lazy: true }),
    new Client(rig, roomId, alice, { types: ['m.room.message'] }),
    new Client(rig, roomId, alice, { lazy: true, stateAfter: 'state_after', types: ['m.room.m*'] }),
    // Bob comes and goes.
    new Client(rig, roomId, bob, { returns: true }),
  ]
  const said: string[] = []
  const writing: Promise<void>[] = []
  for (const step of script) {
    if (step.kind === 'sync') {
      if (hurried) await commitUnheard()
      await clients[step.client]!.sync(step.limit)
    } else if (step.kind === 'restart') {
      await Promise.all(writing)
      await rig.restart()
    } else {
      writing.push(act(rig, actors, roomId, step, said))
      if (!hurried) await writing.at(-1)
    }
  }
  await Promise.all(writing)
  for (const client of clients) while (await client.sync(4));
  await check(rig, roomId, clients)
}

/** The database goes on while this thread stands still: what is committed meanwhile is there to be read, but not published yet. */
async function commitUnheard(): Promise<void> {
  await nextTurn()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3)
}

/** What the room refuses does not happen. */
async function act(
  rig: SyncRig,
  actors: readonly Actor[],
  roomId: string,
  step: Exclude<Step, { kind: 'sync' | 'restart' }>,
  said: string[],
): Promise<void> {
  const actor = actors[step.who]!
  const { instance } = rig
  const body = step.kind === 'flood' ? '' : `${step.kind} ${step.n}`
  try {
    if (step.kind === 'flood') await flood(rig, actor)
    else if (step.kind === 'say') said.push(await rig.say(actor, roomId, body))
    else if (step.kind === 'state')
      await rig.set(step.n < 4 ? actors[0]! : actor, roomId, step.type, { value: step.n, name: body, topic: body })
    else if (step.kind === 'redact' && said.length > 0) await rig.redact(actors[0]!, roomId, said[step.n % said.length]!)
    else if (step.kind === 'rename') await rig.set(actor, roomId, 'm.room.member', { membership: 'join', displayname: body }, actor.userId)
    else if (step.kind === 'leave' && step.who > 0) await leaveRoom(instance, actor, { roomId })
    else if (step.kind === 'kick' && step.who > 0) await kickUser(instance, actors[0]!, { roomId, userId: actor.userId })
    else if (step.kind === 'join') {
      if (step.n === 0) await inviteUser(instance, actors[0]!, { roomId, userId: actor.userId })
      await joinRoom(instance, actor, { roomIdOrAlias: roomId })
    }
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error
  }
}

/** Messages to the device: of two floods one answer holds the first and a part of the second, and ends there. */
async function flood({ instance }: SyncRig, actor: Actor): Promise<void> {
  await command(instance, (decision) => {
    const message = { deviceIds: [actor.device!], type: 'org.example', sender: actor.userId, content: '{}' }
    for (let i = 0; i < 70; i++) putToDevice(decision, { ...message, to: userOf(decision, actor.user!) })
  })
}

async function check(rig: SyncRig, roomId: string, clients: readonly Client[]): Promise<void> {
  const alice = clients[0]!.actor
  const all = await rig.messages(alice, { roomId, dir: 'f', limit: 1_000 })
  const events = ids(all.chunk)
  const state = new Map<string, string>()
  for (const event of await gather<Event[]>(await roomState(rig.instance, alice, roomId))) {
    state.set(`${event.type} ${event.state_key}`, event.event_id)
  }
  for (const client of clients) {
    const { options, room, actor } = client
    // An initial sync does not tell of rooms that were left before.
    if (room.state.size === 0 && actor !== alice) continue
    const known = new Map([...room.state].map(([key, event]) => [key, event.event_id]))
    if (actor === alice && !options.types) assert.deepEqual(ids(client.whole), events, 'the timeline is the room')
    const joined = known.get(`m.room.member ${actor.userId}`) === state.get(`m.room.member ${actor.userId}`)
    assert.ok(joined || options.lazy, 'the own membership is known')
    if (actor === alice) {
      for (const [key, id] of options.lazy ? known : state) assert.equal(known.get(key), state.get(key) ?? id, `state ${key}`)
      for (const key of state.keys()) if (!key.startsWith('m.room.member')) assert.ok(known.has(key), `state ${key} is known`)
      for (const event of room.events) assert.ok(known.has(`m.room.member ${event.sender}`), 'the sender is known')
    } else {
      // Who comes and goes holds a piece of the room without a hole.
      const held = ids(room.events)
      const start = events.indexOf(held[0]!)
      assert.deepEqual(held, events.slice(start, start + held.length))
      if (room.state.get(`m.room.member ${actor.userId}`)?.content['membership'] === 'join') {
        if (held.length > 0) assert.equal(held.at(-1), events.at(-1))
        assert.deepEqual([...known].toSorted(), [...state].toSorted())
      }
    }
  }
}

await onBothEngines('sync as a client puts it together', (place, engine) => {
  test('timelines and state equal the room, in every way to sync, through restarts', { timeout: 180_000 }, async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const bridge = await rig.bridge()
    const ghost = bridge.ghost('carol')
    const actors = [await withDevice(rig, rig.alice), await withDevice(rig, rig.bob), ghost] as const
    // The ghost comes to be with its first room.
    await rig.room(bridge.bot, { invite: [ghost.userId], autoJoinInvites: true })
    const property = fc.asyncProperty(steps, fc.boolean(), (script, hurried) => run(rig, actors, script, hurried))
    await fc.assert(property, { numRuns: engine === 'sqlite' ? 100 : 30, interruptAfterTimeLimit: 60_000 })
  })
})
