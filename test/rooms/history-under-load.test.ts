// Batches, redactions, reactions, merging and deleting all at once, while commits fail: nothing is half there, and the memory knows no better.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MatrixError } from '../../src/errors.ts'
import { type BatchSend, batchSend } from '../../src/rooms/batch-send.ts'
import { createRoom } from '../../src/rooms/create.ts'
import { deleteRoom } from '../../src/rooms/delete.ts'
import { mergeRooms, splitRoom } from '../../src/rooms/merge.ts'
import { setReadMarkers } from '../../src/rooms/receipts.ts'
import { redact } from '../../src/rooms/redact.ts'
import { redactUser } from '../../src/rooms/redact-user.ts'
import { relationOf } from '../../src/rooms/relations.ts'
import { coreOf } from '../../src/rooms/room-core.ts'
import { sendMessage } from '../../src/rooms/send.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { command } from '../../src/stream/command.ts'
import { Chance, chooseSeed } from '../kill/chance.ts'
import { checkMemory, rememberLoads } from '../kill/memory-check.ts'
import { onBothEngines, type Place } from '../storage/engines.ts'
import { openRig, type Rig } from './rig.ts'

const workers = 6
const steps = 60
const batchSize = 5
/** Batches bring what is older, ms. */
const live = 1_650_000_000_000

interface Room {
  roomId: string
}

class Load {
  readonly rooms: Room[] = []
  /** Batches that were taken. */
  readonly taken: (readonly string[])[] = []
  readonly emptied: { readonly room: Room; readonly eventId: string }[] = []
  readonly failures: unknown[] = []
  private n = 0
  private readonly rig: Rig
  private readonly chance: Chance
  private readonly bot
  private readonly owner

  constructor(rig: Rig, chance: Chance, bot: Awaited<ReturnType<Rig['bridge']>>['bot'], owner: Awaited<ReturnType<Rig['person']>>) {
    this.rig = rig
    this.chance = chance
    this.bot = bot
    this.owner = owner
  }

  create() {
    return { initialMembers: [this.owner.userId, '@_ghost_1:beeper.local'] }
  }

  async step(): Promise<void> {
    const { chance, bot, owner, n } = this
    const { instance } = this.rig
    const room = chance.of(this.rooms)
    const { roomId } = room
    const eventId = this.anyId()
    this.n++
    const message = (content: JsonObject, type = 'm.room.message') =>
      sendMessage(instance, bot, { roomId, type, txnId: `t${n}`, content, ...(chance.happens(0.5) ? { eventId: this.anyId() } : {}) })
    const kind = chance.between(0, 19)
    if (kind < 7) await this.batch(roomId, n)
    else if (kind < 8) await redactUser(instance, bot, { roomId, userId: '@_ghost_1:beeper.local', limit: 3 })
    else if (kind < 11) {
      await redact(instance, bot, { roomId, eventId, txnId: `t${n}`, content: {} })
      this.emptied.push({ room: { roomId }, eventId })
    } else if (kind < 14) await message({ 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '+' } }, 'm.reaction')
    else if (kind < 16) {
      const status = { 'm.relates_to': { rel_type: 'm.reference', event_id: eventId }, mutate_event_key: 'x', x: n }
      await message(status, 'com.beeper.message_send_status')
    } else if (kind < 18) await setReadMarkers(instance, owner, { roomId, read: { eventId }, fullyRead: { eventId } })
    else if (kind === 18 && this.rooms.length > 2) {
      const [one, two] = [room, chance.of(this.rooms)]
      if (one === two) return
      const create = chance.happens(0.5) ? { ...this.create(), roomId } : this.create()
      const made = await mergeRooms(instance, bot, { rooms: [one.roomId, two.roomId], key: 'k', create })
      this.rooms.splice(0, this.rooms.length, ...this.rooms.filter((other) => other !== one && other !== two), made)
      this.rooms.push(await createRoom(instance, bot, this.create()))
    } else if (chance.happens(0.5)) {
      const parts = ['a', 'b'].map((value) => ({ values: [value], create: this.create() }))
      const { rooms } = await splitRoom(instance, bot, { roomId, key: 'k', parts })
      this.rooms.splice(this.rooms.indexOf(room), 1, ...rooms.map((made) => ({ roomId: made.roomId })))
    } else {
      const made = await createRoom(instance, bot, this.create())
      this.rooms.splice(this.rooms.indexOf(room), 1, made)
      await deleteRoom(instance, bot, roomId)
      await createRoom(instance, bot, { ...this.create(), roomId }).then((again) => this.rooms.push(again))
    }
  }

  /** Of one of the last batches, of one that is under way, or of one to come. */
  private anyId(): string {
    const n = Math.max(0, this.n - this.chance.between(-2, 40))
    return `$b${n}-${this.chance.between(0, batchSize - 1)}`
  }

  private async batch(roomId: string, n: number): Promise<void> {
    const { chance, rig, bot } = this
    const events = Array.from({ length: batchSize }, (_, i): BatchSend['events'][number] => {
      const common = { sender: '@_ghost_1:beeper.local', ts: 1_600_000_000_000 + n * 10 + i, eventId: `$b${n}-${i}` }
      const k = chance.of(['a', 'b'])
      if (chance.happens(0.15)) return { ...common, type: 'm.room.redaction', content: { k }, redacts: this.anyId() }
      const relates = { rel_type: chance.of(['m.thread', 'm.annotation']), event_id: this.anyId(), key: '+' }
      const relation = chance.happens(0.4) ? { 'm.relates_to': relates } : {}
      return { ...common, type: chance.of(['m.room.message', 'm.reaction']), content: { body: 'x', k, ...relation } }
    })
    const markReadBy = chance.happens(0.3) ? this.owner.userId : null
    const flags = { forward: chance.happens(0.3), forwardIfNoMessages: chance.happens(0.3), sendNotification: true, markReadBy }
    const args = { roomId, events, ...flags }
    const [first] = await Promise.all(Array.from({ length: chance.between(1, 2) }, () => batchSend(rig.instance, bot, args)))
    // A reaction that the room has already is answered with its id and stays where it is.
    this.taken.push(first!.eventIds.filter((id) => id.startsWith(`$b${n}-`)))
  }

  async run(): Promise<void> {
    for (let i = 0; i < steps; i++) {
      await this.step().catch((error: unknown) => void this.failures.push(error))
    }
  }
}

async function settled({ instance, clock }: Rig): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    if ((await instance.storage.count('job', { endedAt: null })) === 0) return
    // A job that failed is tried again later.
    clock.move(1_000)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  assert.fail('the jobs do not end')
}

/** What lies in a room agrees with itself. */
async function checkRooms({ instance }: Rig, load: Load): Promise<void> {
  const { storage } = instance
  const rooms = await storage.find('room', { where: {} })
  const living = new Set(rooms.map(({ key }) => key))
  const rows = await storage.find('event', { where: {}, orderBy: ['order'] })
  assert.deepEqual(
    rows.filter(({ room }) => !living.has(room)),
    [],
    'dead rooms hold nothing',
  )
  const relations = new Set((await storage.find('relation', { where: {} })).map(({ room, parent, order }) => `${room} ${parent} ${order}`))
  const expected = new Set<string>()
  for (const row of rows) {
    const { content = {} } = JSON.parse(row.json) as { content?: JsonObject }
    if (row.redactedBy !== null && row.type !== 'm.room.redaction') assert.deepEqual(content, {}, `${row.eventId} is emptied`)
    const relation = row.stateKey === null ? relationOf(content) : null
    if (relation) expected.add(`${row.room} ${relation.eventId} ${row.order}`)
  }
  assert.deepEqual(relations, expected)
  for (const { key, lowest, roomId } of rooms) {
    const orders = rows.filter(({ room }) => room === key).map(({ order }) => order)
    assert.equal(lowest, Math.min(0, ...orders), roomId)
  }
  // A batch that was taken lies together, whole and in its order, unless its room is gone or was split.
  const byRoom = Map.groupBy(
    rows.filter(({ ts }) => ts < live),
    ({ room }) => room,
  )
  for (const ids of load.taken) {
    for (const { key } of rooms) {
      const found = (byRoom.get(key) ?? []).map(({ eventId }) => eventId).filter((eventId) => ids.includes(eventId))
      assert.deepEqual(
        found,
        ids.filter((id) => found.includes(id)),
        'in their order',
      )
    }
  }
  for (const { room, eventId } of load.emptied) {
    const key = rooms.find(({ roomId }) => roomId === room.roomId)?.key
    const row = rows.find((other) => other.room === key && other.eventId === eventId && other.type !== 'm.room.redaction')
    if (row) assert.deepEqual((JSON.parse(row.json) as { content: object }).content, {}, `${eventId} was redacted`)
  }
}

/** Each cell can be loaded by now; those of rooms that are gone are reached by nothing any more. */
async function prepareCheck({ instance }: Rig): Promise<void> {
  const rooms = await instance.storage.find('room', { where: {} })
  await command(instance, (decision) => {
    for (const room of rooms) coreOf(decision, room)
  })
  const living = new Set(rooms.map(({ key }) => key))
  const { loads } = instance.memory as unknown as { readonly loads: Map<string, unknown> }
  for (const [name, load] of [...loads]) {
    const room = roomIn(name.split('\0'))
    if ((room !== null && !living.has(room)) || (name.startsWith('unread') && load === null)) loads.delete(name)
  }
}

/** The room that a cell is about. */
function roomIn([kind = '', ...parts]: string[]): number | null {
  if (kind.startsWith('by ')) return parts[0] === 'room' ? Number(parts[1]) : null
  if (kind === 'core' || kind === 'reactions') return Number(parts[0])
  if (kind === 'accountData') return Number(parts[2]) || null
  return ['event', 'membership', 'state', 'relation', 'receipt', 'unread'].includes(kind) ? Number(parts[1]) : null
}

await onBothEngines('history under load', (place) => {
  for (const failing of [false, true]) {
    test(`rooms agree with themselves and memory equals a fresh load${failing ? ', although commits fail' : ''}`, {
      timeout: 120_000,
    }, async (t) => {
      const chance = new Chance(chooseSeed())
      t.diagnostic(`KILL_SEED=${chance.seed}`)
      const at = await place(t)
      let fails = false
      const failCommit = (): Error | null => (fails && chance.happens(0.05) ? new Error('cannot be written') : null)
      const faulty: Place = { ...at, open: (options) => at.open({ ...options, faults: { failCommit } }) }
      await using rig = await openRig(faulty)
      const { bot } = await rig.bridge()
      const load = new Load(rig, chance, bot, await rig.person('owner'))
      rememberLoads(rig.instance as Parameters<typeof rememberLoads>[0])
      for (let i = 0; i < 3; i++) load.rooms.push(await createRoom(rig.instance, bot, load.create()))
      fails = failing
      await Promise.all(Array.from({ length: workers }, () => load.run()))
      fails = false
      const defects = load.failures.filter((error) => !(error instanceof MatrixError))
      if (!failing) assert.deepEqual(defects, [])
      await settled(rig)
      await rig.instance.shard.flushed(rig.instance.key)
      await checkRooms(rig, load)
      await prepareCheck(rig)
      t.diagnostic(`${load.taken.length} batches, ${load.failures.length} refusals, ${await checkMemory(rig.instance)} cells`)
      assert.ok(load.taken.length > 20)
    })
  }
})
