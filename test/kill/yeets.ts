/** A bridge that makes rooms with some history and yeets them, and notes which are dead. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { batchPath, historyEvents } from './batches.ts'
import type { Chance } from './chance.ts'
import { type PatientClient, roomPath } from './client.ts'
import { areThere } from './readers.ts'

interface Room {
  readonly roomId: string
  /** of its messages */
  readonly eventIds: readonly string[]
}

export class Yeeter {
  readonly dead: Room[] = []
  /** yeets that were not done, and not asked for again */
  readonly spared: Room[] = []
  unanswered = 0
  private readonly bot: PatientClient
  private readonly owner: PatientClient
  private readonly members: readonly string[]
  private readonly chance: Chance
  private stopped = false

  /** `bot` makes the rooms for `members`, of whom the owner reads and writes in them. */
  constructor(bot: PatientClient, owner: PatientClient, members: readonly string[], chance: Chance) {
    this.bot = bot
    this.owner = owner
    this.members = members
    this.chance = chance
  }

  /** Until stop(); rejects when a room is half gone or comes back. */
  async run(): Promise<void> {
    for (let number = 0; !this.stopped; number++) {
      const room = await this.make(number)
      const isDead = await this.yeet(room)
      ;(isDead ? this.dead : this.spared).push(room)
      if (this.dead.length > 0 && this.chance.happens(0.2)) await this.checkDead(this.chance.of(this.dead))
      await sleep(this.chance.between(50, 300))
    }
  }

  stop(): void {
    this.stopped = true
  }

  /** The dead are dead, the others whole. */
  async check(): Promise<void> {
    for (const room of this.dead) await this.checkDead(room)
    for (const room of this.spared) assert.ok(await this.lives(room), `${room.roomId} is gone and nobody took it away`)
  }

  /** The room's id is chosen: then a repeated request makes no second one. */
  private async make(number: number): Promise<Room> {
    const roomId = `!yeet-${number}:example.com`
    const made = await this.bot.answer('POST', '/createRoom', { 'fi.mau.room_id': roomId, 'com.beeper.initial_members': this.members })
    assert.ok(made.status === 200 || made.body.errcode === 'M_ROOM_IN_USE', JSON.stringify(made.body))
    const events = historyEvents(`$yeet-${number}`, this.chance.between(10, 250), this.members)
    await this.bot.ask('POST', batchPath(roomId), { events, forward: this.chance.happens(0.5) })
    const eventIds = events.map(({ event_id }) => event_id)
    for (let n = 0; n < 3; n++) {
      const body = { msgtype: 'm.text', body: `last words ${n}` }
      eventIds.push((await this.owner.ask('PUT', `${roomPath(roomId)}/send/m.room.message/yeet-${number}-${n}`, body)).event_id)
    }
    await this.owner.ask('POST', `${roomPath(roomId)}/receipt/m.read/${encodeURIComponent(eventIds[0]!)}`, {})
    return { roomId, eventIds }
  }

  /** Whether the room is dead from now on. */
  private async yeet(room: Room): Promise<boolean> {
    const first = await this.bot.once('POST', yeetPath(room), {})
    if (first) {
      assert.equal(first.status, 200, JSON.stringify(first.body))
      return true
    }
    this.unanswered++
    const alive = await this.lives(room)
    if (this.chance.happens(0.5)) return !alive
    const { status } = await this.bot.answer('POST', yeetPath(room), {})
    // A repetition may itself be repeated because its answer was lost.
    assert.ok(
      status === 404 || (alive && status === 200),
      `${room.roomId} ${alive ? 'lived' : 'was gone'}, and its yeet was answered with ${status}`,
    )
    return true
  }

  /** Wholly there or wholly gone. */
  private async lives(room: Room): Promise<boolean> {
    const { status } = await this.bot.answer('GET', `${roomPath(room.roomId)}/state`)
    assert.ok(status === 200 || status === 403, `the state of ${room.roomId}: ${status}`)
    assert.equal(await areThere(this.bot, room.roomId, room.eventIds), status === 200, `${room.roomId} is half gone`)
    return status === 200
  }

  private async checkDead(room: Room): Promise<void> {
    const { roomId, eventIds } = room
    const event = `${roomPath(roomId)}/event/${encodeURIComponent(this.chance.of(eventIds))}`
    const asked = await Promise.all([
      this.bot.answer('GET', event),
      this.owner.answer('GET', event),
      this.bot.answer('GET', `${roomPath(roomId)}/state`),
      this.owner.answer('GET', `${roomPath(roomId)}/state`),
      this.bot.answer('POST', yeetPath(room), {}),
    ])
    const statuses = asked.map(({ status }) => status)
    assert.deepEqual(statuses, [404, 404, 403, 403, 404], `${roomId} came back`)
  }
}

function yeetPath({ roomId }: Room): string {
  return `/_matrix/client/unstable/com.beeper.yeet${roomPath(roomId)}/delete`
}
