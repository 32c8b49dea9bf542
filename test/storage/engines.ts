/** The places a storage test runs in: a fresh SQLite file, a fresh PostgreSQL database. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { type Ports, systemPorts } from '../../src/ports.ts'
import { ChangeSet } from '../../src/storage/change-set.ts'
import { openShard, type ShardOptions } from '../../src/storage/shard.ts'
import type { Shard } from '../../src/storage/storage.ts'
import type { Rows } from '../../src/storage/tables.ts'
import { testPostgres } from '../rig/postgres.ts'

/** Ends with the test it was made for, and everything opened in it. */
export interface Place {
  readonly engine: 'sqlite' | 'postgresql'
  readonly url: string
  open(options?: Partial<ShardOptions>): Promise<Shard>
}

/** Runs the same tests on both engines; where there is no PostgreSQL to be had, says why. */
export async function onBothEngines(
  name: string,
  define: (place: (t: TestContext) => Promise<Place>, engine: 'sqlite' | 'postgresql') => void,
): Promise<void> {
  describe(`${name}, SQLite`, () => define(sqlitePlace, 'sqlite'))
  const reason = await testPostgres().then(
    () => null,
    (error: Error) => error.message,
  )
  if (reason === null) describe(`${name}, PostgreSQL`, () => define(postgresPlace, 'postgresql'))
  else if (process.env['CI'] === 'true') throw new Error(reason)
  else test.skip(`${name}, PostgreSQL: ${reason}`)
}

export async function sqlitePlace(t: TestContext): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'hungryserv-storage-'))
  return place(t, 'sqlite', `file:${join(folder, 'shard.db')}`, () => rmSync(folder, { recursive: true, force: true }))
}

export async function postgresPlace(t: TestContext): Promise<Place> {
  return place(t, 'postgresql', await (await testPostgres()).database('natural'), () => undefined)
}

function place(t: TestContext, engine: 'sqlite' | 'postgresql', url: string, clean: () => void): Place {
  const shards: Shard[] = []
  t.after(async () => {
    for (const shard of shards) await shard[Symbol.asyncDispose]()
    clean()
  })
  return {
    engine,
    url,
    async open(options = {}) {
      const shard = await openShard({ name: 'test', url, ports: quietPorts(), onFatal: rethrow, ...options })
      shards.push(shard)
      return shard
    },
  }
}

export function quietPorts(): Ports {
  return { ...systemPorts(pino({ level: 'silent' })), random: (bytes) => randomBytes(bytes) }
}

function rethrow(error: Error): void {
  setImmediate(() => {
    throw error
  })
}

/** A change set in one expression. */
export function change(instance: number, fill: (change: ChangeSet) => void, position = 0): ChangeSet {
  const made = new ChangeSet(instance)
  fill(made)
  made.position = position
  return made
}

export function room(instance: number, key: number, more: Partial<Rows['room']> = {}): Rows['room'] {
  return { instance, key, roomId: `!${key}`, version: '11', creator: 1, appservice: null, lowest: 0, listed: 0, createdAt: 1, ...more }
}

export function event(instance: number, inRoom: number, order: number, more: Partial<Rows['event']> = {}): Rows['event'] {
  return {
    instance,
    room: inRoom,
    order,
    eventId: `$${inRoom}-${order}`,
    type: 'm.room.message',
    stateKey: null,
    sender: 1,
    ts: order,
    replaces: null,
    redactedBy: null,
    changedKeys: null,
    device: null,
    txnId: null,
    json: `{"order":${order}}`,
    ...more,
  }
}

export function membership(instance: number, inRoom: number, user: number, more: Partial<Rows['membership']> = {}): Rows['membership'] {
  return {
    instance,
    room: inRoom,
    user,
    membership: 'join',
    order: user,
    since: user,
    sender: user,
    displayName: null,
    avatarUrl: null,
    forgotten: 0,
    ...more,
  }
}

export function notification(
  instance: number,
  user: number,
  inRoom: number,
  order: number,
  thread = '',
  highlight = 0,
): Rows['notification'] {
  return { instance, user, room: inRoom, order, thread, highlight }
}

export function user(instance: number, key: number, more: Partial<Rows['user']> = {}): Rows['user'] {
  return {
    instance,
    key,
    userId: `@${key}:test`,
    kind: 'local',
    appservice: null,
    passwordHash: null,
    displayName: null,
    avatarUrl: null,
    profile: '{}',
    admin: 0,
    syncs: 0,
    status: 'active',
    createdAt: 1,
    position: 1,
    suspendedAt: null,
    ...more,
  }
}

export function nothing(): void {}
