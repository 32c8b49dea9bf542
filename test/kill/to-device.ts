/** Who sends messages to devices, each with the next number and now and then a room event behind it, and what must arrive of them. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from './chance.ts'
import { type Body, type PatientClient, roomPath } from './client.ts'
import type { Device, EncryptedScene } from './encryption-scene.ts'

const type = 'org.example.numbered'

interface Sent {
  readonly number: number
  readonly to: readonly Device[]
  /** false: nobody knows, for it was not answered and given up */
  readonly isCertain: boolean
}

/** A message to the device, or an event of the room, as the device came to know of it. */
export interface Arrival {
  readonly isMessage: boolean
  readonly from: string
  readonly number: number
}

export class Correspondents {
  /** by the name of who sent them */
  readonly sent: ReadonlyMap<string, Sent[]>
  unanswered = 0
  private readonly clients: readonly PatientClient[]
  private readonly scene: EncryptedScene
  private readonly chance: Chance
  private stopped = false

  constructor(clients: readonly PatientClient[], scene: EncryptedScene, chance: Chance) {
    this.clients = clients
    this.scene = scene
    this.chance = chance
    this.sent = new Map(clients.map((_, n) => [`writer ${n}`, []]))
  }

  get count(): number {
    return [...this.sent.values()].reduce((sum, { length }) => sum + length, 0)
  }

  /** Until stop(); rejects when something is refused. */
  async run(): Promise<void> {
    const names = [...this.sent.keys()]
    await Promise.all(this.clients.map((client, n) => this.write(client, names[n]!)))
  }

  stop(): void {
    this.stopped = true
  }

  /** How many must arrive at a device. */
  sentTo(device: Device): number {
    return [...this.sent.values()].flat().filter(({ to, isCertain }) => isCertain && to.includes(device)).length
  }

  /** Which of the messages that must have arrived at a device are missing. */
  missing(device: Device, arrivals: readonly Arrival[]): string[] {
    const there = new Set(arrivals.flatMap(({ isMessage, from, number }) => (isMessage ? [`${from} ${number}`] : [])))
    const names = [...this.sent].flatMap(([from, sent]) =>
      sent.filter(({ isCertain, to }) => isCertain && to.includes(device)).map(({ number }) => `${from} ${number}`),
    )
    return names.filter((name) => !there.has(name))
  }

  /** Every device has what was sent to it, once, in order and before the events that came behind it; what is doubtful all have, or none. */
  check(arrivals: ReadonlyMap<Device, readonly Arrival[]>): void {
    for (const [device, arrived] of arrivals) {
      const { deviceId } = device
      assert.deepEqual(this.missing(device, arrived), [], `messages to ${deviceId} that were acknowledged`)
      for (const [from, sent] of this.sent) {
        const numbers = arrived.flatMap((each) => (each.isMessage && each.from === from ? [each.number] : []))
        const there = new Set(numbers)
        const wanted = sent.filter(({ to, number }) => to.includes(device) && there.has(number)).map(({ number }) => number)
        assert.deepEqual(numbers, wanted, `messages of ${from} to ${deviceId}: once, in order, and no others`)
      }
      this.checkEvents(device, arrived)
    }
    for (const [from, sent] of this.sent) {
      for (const { number, to } of sent) {
        const having = to.filter((device) =>
          arrivals.get(device)!.some((each) => each.isMessage && each.from === from && each.number === number),
        )
        assert.ok(
          having.length === 0 || having.length === to.length,
          `message ${number} of ${from} arrived at ${having.length} of ${to.length}`,
        )
      }
    }
  }

  private checkEvents(device: Device, arrived: readonly Arrival[]): void {
    const last = new Map<string, number>()
    for (const { isMessage, from, number } of arrived) {
      if (isMessage) {
        last.set(from, number)
        continue
      }
      const before = this.sent.get(from)!.findLast((sent) => sent.number <= number && sent.isCertain && sent.to.includes(device))
      assert.ok((before?.number ?? -1) <= (last.get(from) ?? -1), `event ${number} of ${from} overtook message ${before?.number}`)
    }
  }

  private async write(client: PatientClient, from: string): Promise<void> {
    const sent = this.sent.get(from)!
    for (let number = 0; !this.stopped; number++) {
      const content = { from, number }
      const { to, messages } = this.address(content)
      const path = `/sendToDevice/${type}/${from.replace(' ', '-')}-${number}`
      const first = await client.once('PUT', path, { messages })
      if (first) assert.deepEqual(first, { status: 200, body: {} })
      else this.unanswered++
      const isCertain = first !== null || this.chance.happens(0.7)
      // An answer may be lost on its way from the server to us as well.
      if (isCertain && (!first || this.chance.happens(0.05))) await client.ask('PUT', path, { messages })
      sent.push({ number, to, isCertain })
      if (isCertain && this.chance.happens(0.5)) {
        const { roomId } = this.scene
        const event = { msgtype: 'm.text', body: `${from} ${number}`, ...content }
        await client.ask('PUT', `${roomPath(roomId)}/send/m.room.message/${from.replace(' ', '-')}-${number}`, event)
      }
      await sleep(this.chance.between(5, 40))
    }
  }

  /** To some devices by name, or to all of the owner's and perhaps to the bot's as well; to the one that is seldom there in any case. */
  private address(content: object): { to: readonly Device[]; messages: object } {
    const { own, served } = this.scene
    if (this.chance.happens(0.3)) {
      const to = this.chance.happens(0.5) ? own : [...own, served[0]!]
      return { to, messages: Object.fromEntries(to.map(({ userId }) => [userId, { '*': content }])) }
    }
    const some = [...own, ...served].filter((device) => device === own.at(-1) || this.chance.happens(0.5))
    const byUser = Map.groupBy(some, ({ userId }) => userId)
    const named = (devices: readonly Device[]) => Object.fromEntries(devices.map(({ deviceId }) => [deviceId, content]))
    return { to: some, messages: Object.fromEntries([...byUser].map(([userId, devices]) => [userId, named(devices)])) }
  }
}

/** What a list of messages to a device, or a room's timeline, brings. */
export function arrivalsOf(events: readonly Body[] | undefined, isMessage: boolean): Arrival[] {
  return (events ?? []).flatMap(({ content }) =>
    content.number === undefined ? [] : { isMessage, from: content.from, number: content.number },
  )
}

/** Syncs as clients do that keep the token and what came with it in one step: killed before, they ask again as before. */
export class DeviceReader {
  readonly device: Device
  readonly arrivals: Arrival[] = []
  answers = 0
  repeated = 0
  /** in its largest answer */
  most = 0
  private readonly chance: Chance
  private readonly isDue: () => boolean
  private since: string | null = null
  private stopped = false

  /** It syncs when it is due. */
  constructor(device: Device, chance: Chance, isDue: () => boolean) {
    this.device = device
    this.chance = chance
    this.isDue = isDue
  }

  get messages(): number {
    return this.arrivals.filter(({ isMessage }) => isMessage).length
  }

  /** Until stop(), and then until nothing more comes; the last request acknowledges all. */
  async run(): Promise<void> {
    while (!this.stopped) {
      if (this.isDue()) await this.step(500)
      await sleep(this.chance.between(10, 40))
    }
    while (await this.step(0));
  }

  stop(): void {
    this.stopped = true
  }

  /** One answer; whether there was something in it. */
  private async step(timeoutMs: number): Promise<boolean> {
    let body = await this.ask(timeoutMs)
    if (this.chance.happens(0.2)) {
      this.repeated++
      const lost: Body[] = body.to_device?.events ?? []
      body = await this.ask(timeoutMs)
      assert.deepEqual((body.to_device?.events ?? []).slice(0, lost.length), lost, 'the same token again: the same messages')
    }
    this.answers++
    this.most = Math.max(this.most, body.to_device?.events.length ?? 0)
    this.arrivals.push(...arrivalsOf(body.to_device?.events, true))
    for (const { timeline } of Object.values<Body>(body.rooms?.join ?? {})) this.arrivals.push(...arrivalsOf(timeline.events, false))
    this.since = body.next_batch
    return body.to_device !== undefined || body.rooms !== undefined
  }

  private ask(timeoutMs: number): Promise<Body> {
    const filter = JSON.stringify({ room: { timeline: { limit: 100 } } })
    const query = new URLSearchParams({ timeout: String(timeoutMs), filter, ...(this.since === null ? {} : { since: this.since }) })
    return this.device.client.ask('GET', `/sync?${query}`)
  }
}
