/** An open instance: what every domain function takes first. */
import type { Config } from '../config.ts'
import { domainOf } from '../ids.ts'
import type { Ports } from '../ports.ts'
import type { Shard, Storage } from '../storage/storage.ts'
import type { DeviceRow } from '../storage/tables.ts'
import type { Bus } from './bus.ts'
import type { Decision } from './command.ts'
import type { CommitWaits } from './commit-waits.ts'
import type { Memory } from './memory.ts'
import type { RecentEvents } from './recent-events.ts'

/** What lower domains must call upward, given when the instance opens. */
export interface Upward {
  /** An appservice was made, changed or removed: look at its delivery again. */
  appserviceChanged(instance: Instance, appservice: number): void
  /** The bridge showed a sign of life (any request with its token). */
  appserviceAlive(instance: Instance, appservice: number): void
  /** A token was revoked: whoever remembers it must ask again. */
  secretEnded(hash: string): void
  /** In the decision that removes devices: their keys and messages go with them. */
  devicesRemoved(decision: Decision, devices: readonly DeviceRow[]): void
}

export interface Instance {
  readonly key: number
  readonly name: string
  /** Matrix id of the owner */
  readonly ownerId: string
  readonly userDomain: string
  readonly bridgeDomain: string
  readonly storage: Storage
  readonly shard: Shard
  readonly config: Config
  readonly ports: Ports
  readonly bus: Bus
  readonly recent: RecentEvents
  readonly commits: CommitWaits
  /** replaced whole when a commit fails */
  memory: Memory
  /** the highest position taken */
  position: number
  /** values that live as long as the open instance, one per owner symbol: typing, rate limits, delivery loops… */
  readonly locals: Map<symbol, unknown>
  readonly upward: Upward
  /** aborted before the instance closes: long polls answer, subscriptions end; commands are still taken */
  readonly leaving: AbortSignal
  /** aborted when the instance closes: loops end, commands are refused */
  readonly closed: AbortSignal
}

/** One value per open instance, made on first use. */
export function local<T>(make: (instance: Instance) => T): (instance: Instance) => T {
  const key = Symbol()
  return (instance) => {
    if (!instance.locals.has(key)) instance.locals.set(key, make(instance))
    return instance.locals.get(key) as T
  }
}

/** A local id's domain decides nothing here: both domains of the instance are local. */
export function isLocal(instance: Instance, id: string): boolean {
  const domain = domainOf(id)
  return domain === instance.userDomain || domain === instance.bridgeDomain
}
