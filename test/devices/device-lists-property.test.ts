/** Whatever happens, and however seldom a client syncs: it asks for the keys of all with whom it shares a room, and of nobody else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { putToDevice } from '../../src/devices/to-device.ts'
import { MatrixError } from '../../src/errors.ts'
import { deleteRoom } from '../../src/rooms/delete.ts'
import { banUser, forgetRoom, inviteUser, joinRoom, kickUser, leaveRoom, unbanUser } from '../../src/rooms/membership.ts'
import { command } from '../../src/stream/command.ts'
import type { Actor } from '../../src/users/actor.ts'
import { userOf } from '../../src/users/users.ts'
import { onBothEngines } from '../storage/engines.ts'
import { SyncRig } from '../sync/rig.ts'
import { changeKeys, withKeys } from './list-rig.ts'

const roomSlots = 3
const users = 5

interface MemberStep {
  readonly kind: 'member'
  readonly change: 'join' | 'leave' | 'invite' | 'kick' | 'ban' | 'unban' | 'forget' | 'rename'
  readonly who: number
  readonly room: number
}
type Step =
  | MemberStep
  | { readonly kind: 'create' | 'delete'; readonly who: number; readonly room: number }
  | { readonly kind: 'keys' | 'flood' | 'sync'; readonly who: number }
  | { readonly kind: 'restart' }

const who = fc.nat({ max: users - 1 })
const room = fc.nat({ max: roomSlots - 1 })
const steps = fc.array<Step>(
  fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        kind: fc.constant('member' as const),
        change: fc.constantFrom(
          ...(['join', 'join', 'join', 'leave', 'leave', 'invite', 'kick', 'ban', 'unban', 'forget', 'rename'] as const),
        ),
        who,
        room,
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('create' as const, 'delete' as const), who, room }) },
    { weight: 12, arbitrary: fc.record({ kind: fc.constantFrom('keys' as const, 'sync' as const, 'sync' as const), who }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('flood' as const), who }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  ),
  { minLength: 10, maxLength: 50 },
)

class World {
  readonly rig: SyncRig
  readonly actors: readonly Actor[]
  /** by slot */
  readonly rooms: string[] = []
  /** by user id the ids of all who ever were in the same room, or invited to it, banned from it… */
  readonly met = new Map<string, Set<string>>()

  constructor(rig: SyncRig, actors: readonly Actor[]) {
    this.rig = rig
    this.actors = actors
  }

  /** What others would get if they asked for keys now. */
  async keysOf(userId: string): Promise<string> {
    const { storage } = this.rig.instance
    const user = (await storage.first('user', { userId }))!.key
    return JSON.stringify(await storage.find('deviceKeys', { where: { user }, orderBy: ['deviceId'] }))
  }

  /** Ids of those with keys with whom somebody shares a room. */
  async matesOf(actor: Actor): Promise<Set<string>> {
    const rows = await this.memberships()
    const mine = new Set(rows.filter(({ user, membership }) => user === actor.user && membership === 'join').map((row) => row.room))
    const there = rows.filter((row) => mine.has(row.room) && (row.membership === 'join' || row.membership === 'invite'))
    const ids = new Map(this.actors.map(({ user, userId }) => [user, userId]))
    return new Set(there.flatMap(({ user }) => (user === actor.user ? [] : (ids.get(user) ?? []))))
  }

  /** Whoever was near may be named in `left`. */
  async meet(): Promise<void> {
    const rows = await this.memberships()
    for (const actor of this.actors) {
      const met = this.met.get(actor.userId) ?? new Set()
      const mine = new Set(rows.filter(({ user }) => user === actor.user).map(({ room: key }) => key))
      for (const other of this.actors) if (rows.some((row) => row.user === other.user && mine.has(row.room))) met.add(other.userId)
      this.met.set(actor.userId, met)
    }
  }

  private async memberships() {
    const { storage } = this.rig.instance
    const there = new Set((await storage.find('room', { where: {} })).map(({ key }) => key))
    return (await storage.find('membership', { where: {} })).filter((row) => there.has(row.room))
  }
}

/** A client that believes what it is told, and nothing else. */
class Client {
  readonly actor: Actor
  private readonly world: World
  private since = ''
  private readonly tracked = new Map<string, string>()

  constructor(world: World, actor: Actor) {
    this.world = world
    this.actor = actor
  }

  async start(): Promise<void> {
    this.since = await this.world.rig.now(this.actor)
    for (const userId of [...(await this.world.matesOf(this.actor)), this.actor.userId]) await this.ask(userId)
  }

  private async ask(userId: string): Promise<void> {
    this.tracked.set(userId, await this.world.keysOf(userId))
  }

  /** `sure`: nothing is under way. */
  async sync(sure: boolean): Promise<void> {
    for (;;) {
      const { next_batch, device_lists: lists, to_device: messages } = await this.world.rig.sync(this.actor, { since: this.since })
      this.since = next_batch
      const mates = await this.world.matesOf(this.actor)
      for (const userId of lists?.changed ?? []) {
        if (sure) assert.ok(userId === this.actor.userId || mates.has(userId), `${userId} is a stranger to ${this.actor.userId}`)
        await this.ask(userId)
      }
      for (const userId of lists?.left ?? []) {
        if (sure) assert.ok(!mates.has(userId), `${userId} is still there`)
        if (sure) assert.ok(this.world.met.get(this.actor.userId)?.has(userId), `${userId} was always a stranger to ${this.actor.userId}`)
        this.tracked.delete(userId)
      }
      if (!messages) break
    }
    if (sure) await this.check()
  }

  private async check(): Promise<void> {
    const { userId } = this.actor
    const mates = await this.world.matesOf(this.actor)
    for (const mate of [...mates, userId]) {
      assert.equal(this.tracked.get(mate), await this.world.keysOf(mate), `${userId} does not know the keys of ${mate}`)
    }
    for (const tracked of this.tracked.keys()) assert.ok(tracked === userId || mates.has(tracked), `${userId} still tracks ${tracked}`)
  }
}

/** `hurried`: nobody waits for what was written, so that syncs read in the middle of commits. */
async function run(rig: SyncRig, actors: readonly Actor[], script: readonly Step[], hurried: boolean): Promise<void> {
  const world = new World(rig, actors)
  for (let slot = 0; slot < roomSlots; slot++) world.rooms[slot] = await rig.room(actors[slot]!, { preset: 'public_chat' })
  const clients = actors.map((actor) => new Client(world, actor))
  for (const client of clients) await client.start()
  const writing: Promise<void>[] = []
  for (const step of script) {
    if (step.kind === 'sync') {
      if (hurried) await commitUnheard()
      await clients[step.who]!.sync(!hurried)
    } else if (step.kind === 'restart') {
      await Promise.all(writing)
      await rig.restart()
    } else {
      writing.push(act(world, step))
      if (hurried) continue
      await writing.at(-1)
      await world.meet()
    }
  }
  await Promise.all(writing)
  await world.meet()
  for (const client of clients) await client.sync(false)
  for (const client of clients) await client.sync(true)
  // The next world begins with nobody knowing anybody.
  for (const { roomId } of await rig.instance.storage.find('room', { where: {} })) await yeet(rig, actors[0]!, roomId)
  for (const client of clients) await client.sync(true)
}

async function yeet({ instance }: SyncRig, actor: Actor, roomId: string): Promise<void> {
  await deleteRoom(instance, { ...actor, admin: true, appservice: null }, roomId)
}

/** The database goes on while this thread stands still: what is committed meanwhile is there to be read, but not published yet. */
async function commitUnheard(): Promise<void> {
  await nextTurn()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3)
}

/** What the room refuses does not happen. */
async function act({ rig, actors, rooms }: World, step: Exclude<Step, { kind: 'sync' | 'restart' }>): Promise<void> {
  const actor = actors[step.who]!
  try {
    if (step.kind === 'keys') await changeKeys(rig, actor)
    else if (step.kind === 'flood') await flood(rig, actor)
    else if (step.kind === 'create') rooms[step.room] = await rig.room(actor, { preset: 'public_chat' })
    else if (step.kind === 'delete') await yeet(rig, actor, rooms[step.room]!)
    else if (step.kind === 'member') await changeMember(rig, actors, step, rooms[step.room]!)
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error
  }
}

async function changeMember(
  { instance }: SyncRig,
  actors: readonly Actor[],
  { change, who, room }: MemberStep,
  roomId: string,
): Promise<void> {
  const actor = actors[who]!
  // Who made it has the power.
  const moderator = actors[room]!
  const target = { roomId, userId: actor.userId }
  if (change === 'join') await joinRoom(instance, actor, { roomIdOrAlias: roomId })
  else if (change === 'rename') await joinRoom(instance, actor, { roomIdOrAlias: roomId, extra: { 'org.example': who } })
  else if (change === 'leave') await leaveRoom(instance, actor, { roomId })
  else if (change === 'forget') await forgetRoom(instance, actor, roomId)
  else await { invite: inviteUser, kick: kickUser, ban: banUser, unban: unbanUser }[change](instance, moderator, target)
}

/** More than one answer holds: it ends in the past. */
async function flood({ instance }: SyncRig, actor: Actor): Promise<void> {
  for (let i = 0; i < 120; i++) {
    await command(instance, (decision) => {
      const message = { deviceIds: [actor.device!], type: 'org.example', sender: actor.userId, content: '{}' }
      putToDevice(decision, { ...message, to: userOf(decision, actor.user!) })
    })
  }
}

await onBothEngines('device lists as a client follows them', (place, engine) => {
  test('no room-mate is missed and no stranger named, through restarts, yeets and floods', { timeout: 180_000 }, async (t) => {
    await using rig = await SyncRig.start(await place(t))
    const { bot } = await rig.bridge()
    const people = [rig.alice, rig.bob, bot, await rig.person('carol'), await rig.person('dave')]
    const actors: Actor[] = []
    for (const user of people) actors.push(await withKeys(rig, user))
    assert.equal(actors.length, users)
    const property = fc.asyncProperty(steps, fc.boolean(), (script, hurried) => run(rig, actors, script, hurried))
    await fc.assert(property, { numRuns: engine === 'sqlite' ? 100 : 30, interruptAfterTimeLimit: 30_000 })
  })
})
