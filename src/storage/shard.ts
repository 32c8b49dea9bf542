/** Opens a database and gives it the shape of a Shard: what is the same on both engines meets here. */
import { unavailable } from '../errors.ts'
import type { Ports } from '../ports.ts'
import type { ChangeSet } from './change-set.ts'
import { CommitError, type Engine } from './engine.ts'
import type { Limits } from './lines.ts'
import { type FileLock, firstPosition, lockFile } from './ownership.ts'
import { openPostgres } from './postgres.ts'
import type { AnyFind } from './query.ts'
import { SqliteEngine } from './sqlite.ts'
import { sqlitePath } from './sqlite-connection.ts'
import type { Shard, Storage } from './storage.ts'
import type { Rows } from './tables.ts'
import { type Faults, Writer } from './writer.ts'

export interface ShardOptions {
  readonly name: string
  /** `file:…` or a path for SQLite, postgresql://… */
  readonly url: string
  readonly ports: Ports
  /** Nothing durable can be promised any more (a failed fsync): the process must end. */
  onFatal(error: Error): void
  /** SQLite: false leaves checkpoints to a replication tool */
  readonly autoCheckpoint?: boolean
  /** SQLite: how long to wait for another process to let go of the file */
  readonly lockWaitMs?: number
  /** PostgreSQL: how long a transaction, or anything else that is asked of it, may take */
  readonly timeoutMs?: number
  /** PostgreSQL: for how long an instance stays ours after a sign of life; renewed three times in that time */
  readonly leaseMs?: number
  /** PostgreSQL: connections of the reading side */
  readonly readers?: number
  readonly limits?: Partial<Limits>
  readonly faults?: Faults
}

export async function openShard(options: ShardOptions): Promise<Shard> {
  const { url, ports } = options
  const owner = ports.random(16).toString('hex')
  if (/^postgres(ql)?:/.test(url)) {
    const leaseMs = options.leaseMs ?? 30_000
    // The shard does not exist yet while its engine is being opened, so what the engine has to say goes through this.
    let lost: (error: Error) => void = () => undefined
    const engine = await openPostgres({
      url,
      owner,
      timeoutMs: options.timeoutMs ?? 15_000,
      leaseMs,
      readers: options.readers ?? 4,
      log: ports.log,
      onLost: (error) => lost(error),
    })
    const shard = new OpenShard(options, engine, owner, null)
    lost = (error) => shard.loseAll(error)
    shard.renewEvery(leaseMs / 3)
    return shard
  }
  const path = sqlitePath(url)
  const lock = await lockFile(path, options.lockWaitMs ?? 10_000, ports.now())
  try {
    const engine = new SqliteEngine({ path, autoCheckpoint: options.autoCheckpoint ?? true, nowMs: ports.now(), onFatal: options.onFatal })
    return new OpenShard(options, engine, owner, lock)
  } catch (error) {
    lock.release()
    throw error
  }
}

class OpenShard implements Shard {
  readonly name: string
  readonly engine: 'sqlite' | 'postgresql'
  onInstanceLost: Shard['onInstanceLost'] = () => undefined
  private readonly ports: Ports
  private readonly database: Engine
  private readonly writer: Writer
  private readonly owner: string
  private readonly lock: FileLock | null
  private stopRenewing: () => void = () => undefined
  private disposed: Promise<void> | null = null

  constructor(options: ShardOptions, database: Engine, owner: string, lock: FileLock | null) {
    this.name = options.name
    this.engine = database.name
    this.ports = options.ports
    this.database = database
    this.owner = owner
    this.lock = lock
    this.writer = new Writer({
      commit: (batch) => database.commit(batch),
      onInstanceLost: (instance, why, error) => this.onInstanceLost(instance, why, error),
      onFatal: options.onFatal,
      ...(options.limits && { limits: options.limits }),
      ...(options.faults && { faults: options.faults }),
    })
  }

  storage(instance: number): Storage {
    return this.database.storage(instance)
  }

  async lookup<T extends 'instance' | 'ownership' | 'secret' | 'ownerId' | 'mediaId'>(table: T, find: AnyFind): Promise<Rows[T][]> {
    const query = this.database.queries.rows(table, null, find)
    return query ? ((await this.database.read(query)) as Rows[T][]) : []
  }

  async open(instance: number): Promise<{ position: number }> {
    if (this.writer.isOpen(instance)) throw new Error(`instance ${instance} is open already`)
    const taken = await this.database.take(instance, this.owner).catch((error: unknown) => {
      throw error instanceof CommitError ? unavailable(error.message) : error
    })
    this.writer.open(instance, this.owner, taken.epoch, taken.ceiling)
    return { position: firstPosition(taken) }
  }

  async release(instance: number): Promise<void> {
    const claim = await this.writer.close(instance)
    if (claim) await this.database.release(claim)
  }

  enqueue(change: ChangeSet, onCommitted: () => void): Promise<void> {
    return this.writer.enqueue(change, onCommitted)
  }

  flushed(instance: number): Promise<void> {
    return this.writer.flushed(instance)
  }

  isFull(instance: number): boolean {
    return this.writer.isFull(instance)
  }

  register(change: ChangeSet): Promise<void> {
    return this.writer.register(change)
  }

  exclusively<T>(name: string, run: () => Promise<T>): Promise<T> {
    return this.database.exclusively(name, run)
  }

  reclaimSpace(): Promise<void> {
    return this.database.reclaimSpace()
  }

  stats(): ReturnType<Shard['stats']> {
    return { ...this.writer.totals, queued: this.writer.queued }
  }

  loseAll(error: Error): void {
    this.writer.loseAll(error)
  }

  /** Keeps the leases alive; an instance whose lease somebody else has by now is lost. */
  renewEvery(intervalMs: number): void {
    const renew = async (): Promise<void> => {
      try {
        for (const claim of await this.database.renew(this.writer.claims())) {
          this.writer.lose(claim.instance, new Error(`instance ${claim.instance} was taken over`), claim.epoch)
        }
      } catch (error) {
        this.ports.log.warn({ err: error, shard: this.name }, 'leases could not be renewed')
      }
      if (!stopped) cancel = this.ports.timer(intervalMs, renew)
    }
    let stopped = false
    let cancel = this.ports.timer(intervalMs, renew)
    this.stopRenewing = () => {
      stopped = true
      cancel()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.disposed ??= this.dispose()
    return this.disposed
  }

  private async dispose(): Promise<void> {
    this.stopRenewing()
    for (const { instance } of this.writer.claims()) {
      // Not given back in order means: opened again as after an unclean end. That is no reason to keep the rest open.
      await this.release(instance).catch((error: unknown) => this.ports.log.warn({ err: error, instance }, 'an instance was not released'))
    }
    await this.writer.drained()
    await this.database.close()
    this.lock?.release()
  }
}
