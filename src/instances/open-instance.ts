/** An instance while this process has it open. */
import type { Config } from '../config.ts'
import type { Ports } from '../ports.ts'
import type { Shard, Storage } from '../storage/storage.ts'
import type { InstanceRow } from '../storage/tables.ts'
import { Bus } from '../stream/bus.ts'
import { CommitWaits } from '../stream/commit-waits.ts'
import type { Instance, Upward } from '../stream/instance.ts'
import { Memory } from '../stream/memory.ts'
import { RecentEvents } from '../stream/recent-events.ts'

export class OpenInstance implements Instance {
  readonly key: number
  readonly name: string
  readonly ownerId: string
  readonly userDomain: string
  readonly bridgeDomain: string
  readonly storage: Storage
  readonly shard: Shard
  readonly config: Config
  readonly ports: Ports
  readonly bus: Bus
  readonly recent: RecentEvents
  readonly commits = new CommitWaits()
  memory: Memory
  position: number
  readonly locals = new Map<symbol, unknown>()
  readonly upward: Upward
  private readonly departing = new AbortController()
  private readonly closing = new AbortController()

  constructor(row: InstanceRow, position: number, shard: Shard, config: Config, ports: Ports, upward: Upward) {
    this.key = row.key
    this.name = row.name ?? ''
    this.ownerId = row.owner
    this.userDomain = row.userDomain
    this.bridgeDomain = row.bridgeDomain
    this.shard = shard
    this.storage = shard.storage(row.key)
    this.config = config
    this.ports = { ...ports, log: ports.log.child({ instance: row.name }) }
    this.bus = new Bus(position)
    this.recent = new RecentEvents(position)
    this.position = position
    this.memory = new Memory(() => this.bus.published)
    this.upward = upward
  }

  get leaving(): AbortSignal {
    return this.departing.signal
  }

  get closed(): AbortSignal {
    return this.closing.signal
  }

  /** What was decided on may never have become durable: everything is loaded anew. */
  dropMemory(): void {
    this.memory = new Memory(() => this.bus.published)
  }

  /** What only waits ends; commands are still taken. */
  leave(): void {
    this.departing.abort()
  }

  close(): void {
    this.leave()
    this.closing.abort()
  }
}
