/** The instances of this process: which one a request means, who is asking, opening and closing. */
import type { Config } from '../config.ts'
import { devicesRemoved } from '../devices/device-removal.ts'
import { MatrixError, notFound, unavailable } from '../errors.ts'
import { hashSecret } from '../ids.ts'
import { startJobs } from '../jobs/jobs.ts'
import type { Ports } from '../ports.ts'
import { tellRooms } from '../rooms/profile-change.ts'
import { isStorable } from '../rules/event-limits.ts'
import { ChangeSet } from '../storage/change-set.ts'
import type { Shard } from '../storage/storage.ts'
import type { InstanceRow, SecretRow } from '../storage/tables.ts'
import type { Instance, Upward } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { confirmRefresh, noteUse } from '../users/sessions.ts'
import { onLock, standingOfRow } from '../users/standing.ts'
import { startCleaning } from './cleaning.ts'
import { jobKinds } from './job-kinds.ts'
import { masquerade } from './masquerade.ts'
import { OpenInstance } from './open-instance.ts'
import { reclaimInstance } from './reclaim.ts'
import { SessionEnds, tokenExpired } from './session-ends.ts'

/** Tokens remembered, so that a request costs no look-up. */
const rememberedTokens = 10_000

/** An instance that cannot be had at the moment is tried for again after this. */
const openAgainMs = 500

/** What begins with an instance when it opens: delivery to appservices, jobs. Ended by `instance.closed`. */
export interface Services {
  start(instance: Instance): void
  readonly upward: Pick<Upward, 'appserviceChanged' | 'appserviceAlive'>
}

export interface HostOptions {
  readonly config: Config
  readonly ports: Ports
  readonly shards: readonly Shard[]
  readonly services: Services
}

interface KnownToken {
  readonly secret: SecretRow
  readonly instance: OpenInstance
  readonly actor: Actor
  /** when its use was written down last, ms */
  notedAt: number
}

/** How exactly the device list knows when a device was used. */
const noteEveryMs = 5 * 60_000

interface Place {
  readonly shard: Shard
  readonly row: InstanceRow
}

export class InstanceHost {
  readonly config: Config
  readonly ports: Ports
  readonly shards: readonly Shard[]
  private readonly services: Services
  private readonly opened = new Map<string, Promise<OpenInstance>>()
  private readonly live = new Set<OpenInstance>()
  /** instances being closed: who opens one of them waits for that */
  private readonly ending = new Map<string, Promise<void>>()
  private readonly statuses = new Map<string, string>()
  private readonly tokens = new Map<string, KnownToken>()
  private readonly ends: SessionEnds
  private closing = false
  private creating: Promise<unknown> = Promise.resolve()
  private readonly stopping = new AbortController()
  private readonly reclaiming = new Set<Promise<void>>()

  constructor(options: HostOptions) {
    this.config = options.config
    this.ports = options.ports
    this.shards = options.shards
    this.services = options.services
    this.ends = new SessionEnds(this.ports)
    for (const shard of this.shards) shard.onInstanceLost = (key, why, error) => this.lose(shard, key, why, error)
  }

  /** By the name in `/_hungryserv/{instance}/…`. Errors: M_NOT_FOUND; 503 when another process has it. */
  instance(name: string): Promise<OpenInstance> {
    if (this.closing) throw unavailable('This homeserver is closing')
    let opening = this.opened.get(name)
    if (!opening) {
      opening = this.open(name)
      this.opened.set(name, opening)
      // A failure is told to who waited; the next one tries again.
      const tried = opening
      tried.catch(() => {
        // Only this try: a newer one may stand there by now.
        if (this.opened.get(name) === tried) this.opened.delete(name)
      })
    }
    return opening
  }

  /**
   * Opens it as soon as it can be had: another process may have it, the database may be away. Its bridges wait for deliveries whether or
   * not anybody asks for it. Resolves after the first try.
   */
  async openSoon(name: string): Promise<void> {
    if (this.closing) return
    try {
      await this.instance(name)
    } catch (error) {
      if (error instanceof MatrixError && error.errcode === 'M_NOT_FOUND') return
      this.ports.log.warn({ err: error, instance: name }, 'an instance could not be opened yet')
      this.ports.timer(openAgainMs, () => void this.openSoon(name))
    }
  }

  defaultInstance(): Promise<OpenInstance> {
    return this.instance('default')
  }

  async byOwner(localpart: string, domain: string): Promise<OpenInstance | null> {
    // Straight from an address or a body: PostgreSQL refuses to look for a NUL.
    if (!isStorable(localpart + domain)) return null
    for (const shard of this.shards) {
      const [owner] = await shard.lookup('ownerId', { where: { userId: `@${localpart}:${domain}` } })
      const [row] = owner ? await shard.lookup('instance', { where: { key: owner.instance } }) : []
      if (row?.name) return this.instance(row.name)
    }
    return null
  }

  /** All that are not deleted. */
  async list(): Promise<InstanceRow[]> {
    const lists = await Promise.all(this.shards.map((shard) => shard.lookup('instance', { where: { name: { not: null } } })))
    return lists.flat()
  }

  /** The ones open at the moment. */
  openInstances(): ReadonlySet<OpenInstance> {
    return this.live
  }

  /** Makes an instance with its owner unknown to anybody yet. Errors: M_USER_IN_USE when the name or the owner is taken. */
  create(args: { name: string; owner: string; userDomain: string; bridgeDomain: string }): Promise<OpenInstance> {
    // One after the other: what is free is looked up first, and two must not find the same, in another process either.
    const created = this.creating.then(() => this.shards[0]!.exclusively('create an instance', () => this.createNext(args)))
    this.creating = created.catch(() => undefined)
    return created
  }

  private async createNext(args: { name: string; owner: string; userDomain: string; bridgeDomain: string }): Promise<OpenInstance> {
    const shard = this.shards[0]!
    if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(args.name))
      throw new MatrixError('M_INVALID_PARAM', 'An instance is named with a-z, 0-9 and ._-')
    if (await this.find(args.name)) throw new MatrixError('M_USER_IN_USE', `There is an instance ${args.name} already`)
    for (const each of this.shards) {
      const [taken] = await each.lookup('ownerId', { where: { userId: args.owner } })
      if (taken) throw new MatrixError('M_USER_IN_USE', `${args.owner} has an instance already`)
    }
    const rows = await shard.lookup('instance', { where: {} })
    const key = this.newKey(new Set(rows.map((row) => row.key)))
    const change = new ChangeSet(key)
    change.put('instance', { key, status: 'active', createdAt: this.ports.now(), ...args })
    change.put('ownerId', { userId: args.owner, instance: key })
    await shard.register(change)
    return this.instance(args.name)
  }

  /** Never used before. Drawn, not counted: another process on the same database may be making one as well. */
  private newKey(used: ReadonlySet<number>): number {
    if (used.size === 0) return 1
    for (;;) {
      const key = this.ports.random(4).readUInt32LE() >>> 1
      if (key > 0 && !used.has(key)) return key
    }
  }

  /** Suspended: its tokens answer 401 M_USER_LOCKED, deliveries rest. */
  async setStatus(name: string, status: 'active' | 'suspended'): Promise<void> {
    const place = await this.find(name)
    if (!place) throw notFound(`There is no instance ${name}`)
    if (place.row.status === status) return
    // 503 unless it is ours: another process would go on serving it.
    await this.instance(name)
    const change = new ChangeSet(place.row.key)
    change.put('instance', { ...place.row, status })
    await place.shard.register(change)
    this.statuses.set(name, status)
    // Opened anew on the next request: what runs for it starts or rests by its status.
    await this.closeInstance(name)
    if (status === 'active') await this.instance(name)
  }

  /** Gone at once: its name, its owner's directory entry and its tokens. What it stored goes in slices behind it. */
  async delete(name: string): Promise<void> {
    const place = await this.find(name)
    if (!place) throw notFound(`There is no instance ${name}`)
    await this.instance(name)
    const row = { ...place.row, name: null, status: 'deleted' }
    const change = new ChangeSet(row.key)
    change.put('instance', row)
    change.remove('ownerId', { userId: row.owner })
    await place.shard.register(change)
    // Without a name nobody can open it again; only now is it closed, or a request in between would have.
    await this.closeInstance(name)
    this.reclaim(place.shard, row)
  }

  /** Goes on with what a restart interrupted. */
  async resumeReclaiming(): Promise<void> {
    for (const shard of this.shards) {
      for (const row of await shard.lookup('instance', { where: { status: 'deleted' } })) this.reclaim(shard, row)
    }
  }

  private reclaim(shard: Shard, row: InstanceRow): void {
    const reclaiming = reclaimInstance(shard, row, this.config, this.stopping.signal)
      .catch((error: unknown) => this.ports.log.error({ err: error, instance: row.key }, 'space was not reclaimed'))
      .finally(() => this.reclaiming.delete(reclaiming))
    this.reclaiming.add(reclaiming)
  }

  isSuspended(instance: Instance): boolean {
    return this.statuses.get(instance.name) === 'suspended'
  }

  async closeInstance(name: string): Promise<void> {
    const opening = this.opened.get(name)
    if (!opening) return this.ending.get(name)
    this.opened.delete(name)
    const ended = this.giveBack(opening)
    this.ending.set(name, ended)
    await ended.finally(() => this.ending.delete(name))
  }

  private async giveBack(opening: Promise<OpenInstance>): Promise<void> {
    const instance = await opening.catch(() => null)
    // Lost meanwhile: there is nothing to give back.
    if (!instance || !this.live.has(instance)) return
    this.end(instance)
    await instance.shard.flushed(instance.key).catch(() => undefined)
    await instance.shard.release(instance.key)
  }

  /** Errors: 401 M_UNKNOWN_TOKEN (also for a prefix that disagrees), M_USER_LOCKED; 503 when another process has the instance. */
  async authenticate(token: string, prefix: string | null, ip: string | null = null): Promise<{ instance: OpenInstance; actor: Actor }> {
    const hash = hashSecret(token)
    const known = this.tokens.get(hash) ?? (await this.lookUp(hash))
    if (!known || (prefix !== null && !isMeant(known.instance, prefix))) throw new MatrixError('M_UNKNOWN_TOKEN', 'Unknown access token')
    const { expiresAt } = known.secret
    if (expiresAt !== null && expiresAt <= this.ports.now()) throw tokenExpired()
    if (this.isSuspended(known.instance)) throw new MatrixError('M_USER_LOCKED', 'This homeserver is suspended', { soft_logout: true })
    if (known.actor.appservice !== null) known.instance.upward.appserviceAlive(known.instance, known.actor.appservice)
    const now = this.ports.now()
    if (known.actor.device !== null && now - known.notedAt > noteEveryMs) {
      known.notedAt = now
      noteUse(known.instance, known.actor, ip).catch((error: unknown) =>
        this.ports.log.debug({ err: error }, 'the use of a device was not noted'),
      )
    }
    return { instance: known.instance, actor: known.actor }
  }

  masquerade(instance: Instance, actor: Actor, as: { userId?: string; deviceId?: string }): Promise<Actor> {
    return masquerade(instance, actor, as)
  }

  /** A revoked token is asked for again, in vain, and what waits for it ends. */
  secretEnded(hash: string): void {
    this.tokens.delete(hash)
    this.ends.revoke(hash)
  }

  onSessionEnd(instance: Instance, actor: Actor, end: (error: MatrixError) => void): () => void {
    const stops = [this.ends.onEnd(actor, end), onLock(instance, actor, end)]
    return () => stops.forEach((stop) => void stop())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closing = true
    this.stopping.abort()
    await Promise.all(this.reclaiming)
    for (const name of [...this.opened.keys()]) {
      // One that cannot be given back must not keep the others.
      await this.closeInstance(name).catch((error: unknown) => this.ports.log.warn({ err: error, instance: name }, 'not released'))
    }
    for (const shard of this.shards) await shard[Symbol.asyncDispose]()
  }

  private async lookUp(hash: string): Promise<KnownToken | null> {
    const revoked = this.ends.isRevoked(hash)
    for (const shard of this.shards) {
      const [secret] = await shard.lookup('secret', { where: { hash } })
      if (!secret) continue
      // Found after it was revoked: a bridge has registered again under its old token.
      if (revoked) this.ends.revive(hash)
      if (secret.kind !== 'access' && secret.kind !== 'appservice') return null
      const [row] = await shard.lookup('instance', { where: { key: secret.instance } })
      if (!row?.name) return null
      this.statuses.set(row.name, row.status)
      const instance = await this.instance(row.name)
      const user = await instance.storage.first('user', { key: secret.user })
      if (!user) return null
      const actor: Actor = {
        user: user.key,
        userId: user.userId,
        device: secret.device,
        appservice: secret.appservice,
        puppet: false,
        admin: user.admin === 1,
        tokenHash: hash,
        tokenExpiresAt: secret.expiresAt,
        standing: standingOfRow(user),
      }
      const known: KnownToken = { secret, instance, actor, notedAt: 0 }
      // Lost while we read: remembered, it would be answered with 503 for ever.
      if (!this.live.has(instance)) throw unavailable('This homeserver is being opened again')
      // Revoked while we read.
      if (!this.ends.isRevoked(hash)) {
        if (this.tokens.size >= rememberedTokens) this.tokens.delete(this.tokens.keys().next().value!)
        this.tokens.set(hash, known)
      }
      if (secret.kind === 'access' && secret.expiresAt !== null) await confirmRefresh(instance, actor)
      return known
    }
    return null
  }

  private async find(name: string): Promise<Place | null> {
    if (!isStorable(name)) return null
    for (const shard of this.shards) {
      const [row] = await shard.lookup('instance', { where: { name } })
      if (row) return { shard, row }
    }
    return null
  }

  private async open(name: string): Promise<OpenInstance> {
    await this.ending.get(name)?.catch(() => undefined)
    const place = await this.find(name)
    if (!place) throw notFound(`There is no instance ${name}`)
    const { shard, row } = place
    this.statuses.set(name, row.status)
    const { position } = await shard.open(row.key)
    const upward: Upward = { ...this.services.upward, secretEnded: (hash) => this.secretEnded(hash), devicesRemoved }
    const instance = new OpenInstance(row, position, shard, this.config, this.ports, upward)
    this.live.add(instance)
    if (row.status === 'active') {
      startCleaning(instance)
      startJobs(instance, jobKinds)
      tellRooms(instance)
      this.services.start(instance)
    }
    return instance
  }

  /** A commit failed: nothing in memory can be trusted. Ownership lost: the instance is closed and opened again from the database. */
  private lose(shard: Shard, key: number, why: 'failed' | 'lost', error: Error): void {
    for (const instance of this.live) {
      if (instance.shard !== shard || instance.key !== key) continue
      instance.ports.log.warn(
        { error: error.message },
        why === 'failed' ? 'a commit failed: memory is dropped' : 'ownership lost: opening again',
      )
      // At once: the next decision must not be made on what never became durable.
      instance.dropMemory()
      if (why === 'lost') {
        this.opened.delete(instance.name)
        this.end(instance)
        void this.openSoon(instance.name)
      }
    }
  }

  private end(instance: OpenInstance): void {
    this.live.delete(instance)
    instance.close()
    this.forgetTokens(instance)
  }

  private forgetTokens(instance: OpenInstance): void {
    for (const [hash, known] of this.tokens) if (known.instance === instance) this.tokens.delete(hash)
  }
}

/** Bridge managers name a homeserver by its owner. */
function isMeant({ name, ownerId }: Instance, prefix: string): boolean {
  return name === prefix || ownerId.startsWith(`@${prefix}:`)
}
