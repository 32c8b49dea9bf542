/** A bridge with history: batches of it go before what a room has and behind it, several at a time, and it notes what became of each. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from './chance.ts'
import { type PatientClient, roomPath } from './client.ts'
import { batchIds } from './fault-points.ts'
import { areThere, type RoomHistory } from './readers.ts'

const batchSize = 50
/** Under way at once. */
const lines = 2

export interface HistoryEvent {
  readonly type: string
  readonly sender: string
  readonly origin_server_ts: number
  readonly event_id: string
  readonly content: object
}

/** Messages and now and then a reaction to the one before, the oldest first; their ids are made of `ids`. */
export function historyEvents(ids: string, count: number, senders: readonly string[]): HistoryEvent[] {
  const id = (n: number) => `${ids}-${n}:history.example`
  return Array.from({ length: count }, (_, n) => {
    const common = { sender: senders[n % senders.length]!, origin_server_ts: 1_600_000_000_000 + n, event_id: id(n) }
    if (n % 10 !== 9) return { ...common, type: 'm.room.message', content: { msgtype: 'm.text', body: `${ids} ${n}` } }
    return { ...common, type: 'm.reaction', content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: id(n - 1), key: ids } } }
  })
}

export function batchPath(roomId: string): string {
  return `/_matrix/client/unstable/com.beeper.backfill${roomPath(roomId)}/batch_send`
}

interface Batch {
  readonly line: number
  readonly name: string
  readonly roomId: string
  readonly forward: boolean
  readonly events: readonly HistoryEvent[]
}

export class Historian {
  /** requests that were not answered, and of those the batches that were there all the same, and the ones that were given up */
  unanswered = 0
  survived = 0
  abandoned = 0
  /** what must be there: acknowledged, or found there */
  readonly standing: Batch[] = []
  private readonly bot: PatientClient
  private readonly rooms: readonly string[]
  private readonly senders: readonly string[]
  private readonly chance: Chance
  private stopped = false

  /** `bot` asks; the events are those of `senders`. */
  constructor(bot: PatientClient, rooms: readonly string[], senders: readonly string[], chance: Chance) {
    this.bot = bot
    this.rooms = rooms
    this.senders = senders
    this.chance = chance
  }

  /** Until stop(); rejects when something was refused or a batch is there in part. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: lines }, (_, line) => this.bring(line)))
  }

  stop(): void {
    this.stopped = true
  }

  /** Every batch that must be there is there once, whole and in its order, in its place among those of its line, and nothing else. */
  check(histories: ReadonlyMap<string, RoomHistory>): void {
    for (const [roomId, { events }] of histories) {
      const places = new Map(events.map(({ event_id }, n) => [event_id, n]))
      assert.equal(places.size, events.length, 'an event is there twice')
      const created = events.findIndex(({ type }) => type === 'm.room.create')
      const own = this.standing.filter((batch) => batch.roomId === roomId)
      for (const { name, forward, events: sent } of own) {
        const start = places.get(sent[0]!.event_id)
        assert.ok(start !== undefined, `${name} is gone`)
        assert.equal(start > created, forward, `${name} is on the wrong side of what was there`)
        const found = events.slice(start, start + sent.length)
        const short = ({ type, event_id, sender, origin_server_ts: ts, content }: HistoryEvent) => ({ type, event_id, sender, ts, content })
        for (const [n, event] of sent.entries()) {
          const { 'm.relations': _, ...content } = found[n]?.content ?? {}
          assert.deepEqual(short({ ...found[n], content }), short(event), `${name} is not whole or not in its order`)
        }
      }
      for (let line = 0; line < lines; line++) {
        for (const forward of [false, true]) {
          const starts = own
            .filter((batch) => batch.line === line && batch.forward === forward)
            .map((batch) => places.get(batch.events[0]!.event_id)!)
          const expected = starts.toSorted((a, b) => (forward ? a - b : b - a))
          assert.deepEqual(starts, expected, `batches of line ${line} changed places`)
        }
      }
      const others = events.filter(({ event_id }) => event_id.startsWith(batchIds)).length
      assert.equal(others, own.length * batchSize, 'something is there that nobody knows of')
    }
  }

  private async bring(line: number): Promise<void> {
    for (let number = 0; !this.stopped; number++) {
      const name = `${batchIds}${line}-${number}`
      const roomId = this.chance.of(this.rooms)
      const batch = { line, name, roomId, forward: number % 2 === 1, events: historyEvents(name, batchSize, this.senders) }
      if (await this.send(batch)) this.standing.push(batch)
      if (this.standing.length > 0 && this.chance.happens(0.05)) await this.again(this.chance.of(this.standing))
      await sleep(this.chance.between(50, 300))
    }
  }

  /** Whether the batch must be there from now on. */
  private async send(batch: Batch): Promise<boolean> {
    const { roomId, events, forward } = batch
    const answer = await this.bot.once('POST', batchPath(roomId), { events, forward })
    if (answer) return this.isAcknowledged(batch, answer.status, answer.body)
    this.unanswered++
    // Looked at before it is repeated: a repetition would mend what is there in part.
    const ids = events.map(({ event_id }) => event_id)
    const there = await areThere(this.bot, roomId, ids)
    if (there) this.survived++
    if (this.chance.happens(0.5)) {
      this.abandoned++
      return there
    }
    return this.again(batch)
  }

  private async again(batch: Batch): Promise<boolean> {
    const { status, body } = await this.bot.answer('POST', batchPath(batch.roomId), { events: batch.events, forward: batch.forward })
    return this.isAcknowledged(batch, status, body)
  }

  private isAcknowledged({ name, events }: Batch, status: number, body: object): true {
    const eventIds = events.map(({ event_id }) => event_id)
    assert.deepEqual({ status, body }, { status: 200, body: { event_ids: eventIds } }, name)
    return true
  }
}
