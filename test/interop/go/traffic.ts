/** Messages both ways, all the time: the owner writes into the rooms, and people on the remote side write into the chats. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from '../../kill/chance.ts'
import { type PatientClient, roomPath } from '../../kill/client.ts'
import type { EchoNetwork } from './echo-network.ts'

/** Of each side. */
const writers = 6
const longestPauseMs = 200

export interface TrafficOptions {
  readonly owner: PatientClient
  readonly network: EchoNetwork
  /** room ids of the portals, the first at 0 */
  readonly roomIds: readonly string[]
  readonly ghosts: number
  readonly chance: Chance
}

export class Traffic {
  /** event ids of what the owner wrote, by what it says: each was answered */
  readonly said = new Map<string, string>()
  /** what the remote side has been asked to write and said that it did */
  readonly heard = new Set<string>()
  private readonly options: TrafficOptions
  private count = 0
  private stopped = false
  private running: Promise<unknown> = Promise.resolve()

  constructor(options: TrafficOptions) {
    this.options = options
  }

  start(): void {
    const sides = Array.from({ length: writers }, () => [this.repeat(() => this.say()), this.repeat(() => this.write())])
    this.running = Promise.all(sides.flat())
  }

  /** Waits for what is under way. Throws what the owner was refused. */
  async stop(): Promise<void> {
    this.stopped = true
    await this.running
  }

  private async repeat(once: () => Promise<void>): Promise<void> {
    while (!this.stopped) {
      await once()
      await sleep(this.options.chance.between(0, longestPauseMs))
    }
  }

  private async say(): Promise<void> {
    const { owner, roomIds, chance } = this.options
    const text = `said ${++this.count}`
    const path = `${roomPath(chance.of(roomIds))}/send/m.room.message/t${this.count}`
    const { event_id: eventId } = await owner.ask('PUT', path, { msgtype: 'm.text', body: text })
    this.said.set(text, eventId)
  }

  /** A bridge that is away, or killed meanwhile, has written it or not: what its network holds is asked in the end. */
  private async write(): Promise<void> {
    const { network, roomIds, ghosts, chance } = this.options
    const text = `heard ${++this.count}`
    const portal = chance.between(1, roomIds.length)
    const done = await network.act({ kind: 'message', portal, ghost: chance.between(1, ghosts), text }).catch(() => null)
    if (done) this.heard.add(text)
  }
}
