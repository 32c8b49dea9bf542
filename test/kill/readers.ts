/** Who reads while the server is killed: the rooms as they are, and a client that syncs. */
import assert from 'node:assert/strict'
import { type Body, type PatientClient, roomPath } from './client.ts'
import type { Answered } from './senders.ts'

const mostPerPage = 1_000

/** Whether these events are there; rejects when only some of them are. */
export async function areThere(client: PatientClient, roomId: string, eventIds: readonly string[]): Promise<boolean> {
  const answers = await Promise.all(eventIds.map((id) => client.answer('GET', `${roomPath(roomId)}/event/${encodeURIComponent(id)}`)))
  const there = answers.filter(({ status }) => status === 200).length
  assert.equal(answers.filter(({ status }) => status === 404).length, answers.length - there, 'something else than 200 and 404')
  assert.ok(there === 0 || there === eventIds.length, `${there} of ${eventIds.length} events from ${eventIds[0]} on are there`)
  return there > 0
}

/** A room's event ids by /messages as people read, from the newest to the first. Returned oldest first. */
export async function readBack(client: PatientClient, roomId: string, limit: number): Promise<string[]> {
  const ids: string[] = []
  for (let from: string | undefined = ''; from !== undefined; ) {
    const query = new URLSearchParams({ dir: 'b', limit: String(limit), ...(from === '' ? {} : { from }) })
    const page: Body = await client.ask('GET', `${roomPath(roomId)}/messages?${query}`)
    for (const { event_id } of page.chunk) ids.push(event_id)
    from = page.end
  }
  return ids.reverse()
}

/** A room's events by /messages, oldest first. What was read once must stay: later reads go on behind it. */
export class RoomHistory {
  readonly events: Body[] = []
  private readonly ids = new Map<string, number>()
  private readonly client: PatientClient
  private readonly roomId: string
  /** the last page read begins here, with the event of this index */
  private from: string | null = null
  private pageStart = 0

  constructor(client: PatientClient, roomId: string) {
    this.client = client
    this.roomId = roomId
  }

  async read(): Promise<void> {
    let known = this.pageStart
    for (;;) {
      const query = new URLSearchParams({ dir: 'f', limit: String(mostPerPage), ...(this.from === null ? {} : { from: this.from }) })
      const page = await this.client.ask('GET', `${roomPath(this.roomId)}/messages?${query}`)
      this.pageStart = known
      for (const event of page.chunk) {
        const at = this.ids.get(event.event_id)
        assert.equal(at ?? this.events.length, known, `${event.event_id} came twice or changed its place`)
        if (at === undefined) this.ids.set(event.event_id, this.events.push(event) - 1)
        known++
      }
      assert.ok(known >= this.events.length || page.end !== undefined, 'events that were there are gone')
      if (page.end === undefined) return
      this.from = page.end
    }
  }

  /** Everything answered is there once, and each sender's messages are in the order in which they were sent. */
  check(answered: readonly Answered[]): void {
    const bodies = new Set<string>()
    for (const { type, content } of this.events) {
      if (type !== 'm.room.message') continue
      assert.ok(!bodies.has(content.body), `${content.body} is there twice`)
      bodies.add(content.body)
    }
    const last = new Map<number, number>()
    for (const { sender, roomId, eventId, body } of answered) {
      if (roomId !== this.roomId) continue
      const at = this.ids.get(eventId)
      assert.ok(at !== undefined, `${body} (${eventId}) was answered and is not there`)
      assert.equal(this.events[at].content.body, body)
      assert.ok(at > (last.get(sender) ?? -1), `${body} stands before what was sent earlier`)
      last.set(sender, at)
    }
  }

  /** Ids of the events from this one on. */
  idsFrom(first: string): string[] {
    return this.events.slice(this.ids.get(first)).map(({ event_id }) => event_id)
  }

  /** Ids of the messages. */
  messages(): string[] {
    return this.events.filter(({ type }) => type === 'm.room.message').map(({ event_id }) => event_id)
  }
}

/** Syncs by long poll, fills gaps by /messages, and keeps only its last token and what it saw. */
export class SyncClient {
  /** event ids by room, in the order in which they came */
  readonly seen = new Map<string, string[]>()
  /** rooms that were there and are no more */
  readonly left = new Set<string>()
  answers = 0
  gaps = 0
  private readonly client: PatientClient
  private since: string | null = null
  private stopped = false

  constructor(client: PatientClient) {
    this.client = client
  }

  /** Until stop(), and then until nothing new comes. */
  async run(): Promise<void> {
    while (!this.stopped) await this.step(1_000)
    while (await this.step(0));
  }

  stop(): void {
    this.stopped = true
  }

  /** One answer; whether there was something in it. */
  private async step(timeoutMs: number): Promise<boolean> {
    // Now and then so few that there are gaps.
    const filter = JSON.stringify({ room: { timeline: { limit: this.answers % 4 === 0 ? 3 : 50 } } })
    const query = new URLSearchParams({ timeout: String(timeoutMs), filter, ...(this.since === null ? {} : { since: this.since }) })
    const body = await this.client.ask('GET', `/sync?${query}`)
    this.answers++
    for (const roomId of Object.keys(body.rooms?.leave ?? {})) this.left.add(roomId)
    for (const [roomId, { timeline }] of Object.entries<Body>(body.rooms?.join ?? {})) {
      assert.ok(!this.left.has(roomId), `${roomId} came back`)
      const ids = timeline.events.map((event: Body) => event.event_id)
      if (timeline.limited && this.since !== null) ids.unshift(...(await this.gap(roomId, timeline.prev_batch, this.since)))
      const seen = this.seen.get(roomId) ?? []
      seen.push(...ids)
      this.seen.set(roomId, seen)
    }
    this.since = body.next_batch
    return body.rooms !== undefined
  }

  private async gap(roomId: string, from: string, to: string): Promise<string[]> {
    this.gaps++
    const ids: string[] = []
    for (let start: string | undefined = from; start !== undefined; ) {
      const query = new URLSearchParams({ dir: 'b', from: start, to, limit: '100' })
      const { status, body: page } = await this.client.answer('GET', `${roomPath(roomId)}/messages?${query}`)
      // Deleted since: the next answer says so.
      if (status === 403) return ids
      assert.equal(status, 200, JSON.stringify(page))
      for (const event of page.chunk) ids.unshift(event.event_id)
      start = page.end
    }
    return ids
  }
}
