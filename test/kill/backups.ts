/** A device that puts room keys into a backup, several batches at a time, and notes what it was told. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { algorithm, type Key, key, keysPath } from '../devices/backup-rig.ts'
import type { Chance } from './chance.ts'
import type { Body, PatientClient } from './client.ts'

/** Under way at once. */
const lines = 2
const newKeys = 12
/** Better ones of keys that are there. */
const betterKeys = 3

interface Stored {
  readonly roomId: string
  readonly sessionId: string
  readonly key: Key
}

/** By session id. */
type Batch = ReadonlyMap<string, Stored>

export class BackupWriter {
  unanswered = 0
  survived = 0
  abandoned = 0
  batches = 0
  /** what must be in the backup: acknowledged, or found there; by session id */
  readonly standing = new Map<string, Stored>()
  private readonly client: PatientClient
  private readonly rooms: readonly string[]
  private readonly chance: Chance
  private version = ''
  /** etag → how many keys there were */
  private readonly counts = new Map<string, number>()
  private stopped = false

  constructor(client: PatientClient, rooms: readonly string[], chance: Chance) {
    this.client = client
    this.rooms = rooms
    this.chance = chance
  }

  async prepare(): Promise<void> {
    this.version = (await this.client.ask('POST', '/room_keys/version', { algorithm, auth_data: { public_key: 'abc' } })).version
  }

  /** Until stop(); rejects when a batch is refused or there in part, or what is said of the backup does not fit together. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: lines }, (_, line) => this.write(line)))
  }

  stop(): void {
    this.stopped = true
  }

  /** Exactly the keys that must be there are there, and the backup says so. */
  async check(): Promise<void> {
    const { etag, count } = await this.client.ask('GET', `/room_keys/version/${this.version}`)
    this.note({ etag, count })
    const found = await this.read()
    assert.deepEqual(new Set(found.keys()), new Set(this.standing.keys()), 'keys in the backup')
    for (const [id, { key }] of this.standing) assert.deepEqual(found.get(id), key, `the key of ${id}`)
    assert.equal(count, found.size, 'the number of keys in the backup')
    assert.equal(etag, [...this.counts.keys()].sort((a, b) => Number(a) - Number(b)).at(-1), 'the newest etag')
  }

  private async write(line: number): Promise<void> {
    for (let number = 0; !this.stopped; number++) {
      const batch = this.make(`${line}-${number}`, `${line}-`)
      if (await this.send(batch)) for (const [id, stored] of batch) this.standing.set(id, stored)
      this.batches++
      await sleep(this.chance.between(50, 250))
    }
  }

  /** New sessions under `name`, and better keys of sessions of the same line, of which only one batch is on its way. */
  private make(name: string, line: string): Batch {
    const places = Array.from({ length: newKeys }, (_, n) => ({ roomId: this.chance.of(this.rooms), sessionId: `${name}-${n}` }))
    const batch = new Map(places.map((place) => [place.sessionId, { ...place, key: keyOf(name, 1_000_000) }]))
    const own = [...this.standing.values()].filter(({ sessionId }) => sessionId.startsWith(line))
    for (let n = 0; n < betterKeys && own.length > 0; n++) {
      const { roomId, sessionId, key } = this.chance.of(own)
      batch.set(sessionId, { roomId, sessionId, key: keyOf(name, key.first_message_index - 1) })
    }
    return batch
  }

  /** Whether the batch must be there from now on. */
  private async send(batch: Batch): Promise<boolean> {
    const path = keysPath(this.version)
    const byRoom = Map.groupBy(batch.values(), ({ roomId }) => roomId)
    const sessions = (own: readonly Stored[]) => ({ sessions: Object.fromEntries(own.map(({ sessionId, key }) => [sessionId, key])) })
    const rooms = Object.fromEntries([...byRoom].map(([roomId, own]) => [roomId, sessions(own)]))
    const answer = await this.client.once('PUT', path, { rooms })
    if (answer) return this.isAcknowledged(answer)
    this.unanswered++
    // Looked at before it is repeated, which would mend a part.
    const found = await this.read()
    const there = [...batch].filter(([id, { key }]) => isSame(found.get(id), key)).length
    assert.ok(there === 0 || there === batch.size, `${there} of ${batch.size} keys of a batch are there`)
    if (there > 0) this.survived++
    if (this.chance.happens(0.5)) {
      this.abandoned++
      return there > 0
    }
    return this.isAcknowledged(await this.client.answer('PUT', path, { rooms }))
  }

  private isAcknowledged({ status, body }: { status: number; body: Body }): true {
    assert.equal(status, 200, JSON.stringify(body))
    this.note(body)
    return true
  }

  /** No two states of the backup go by one etag, and a later one has no fewer keys. */
  private note({ etag, count }: { etag: string; count: number }): void {
    assert.equal(this.counts.get(etag) ?? count, count, `etag ${etag} stands for two states`)
    this.counts.set(etag, count)
    for (const [other, fewer] of this.counts) {
      if (Number(other) < Number(etag)) assert.ok(fewer < count, `${count} keys at etag ${etag}, ${fewer} at ${other}`)
    }
  }

  /** All keys, by session id. */
  private async read(): Promise<Map<string, Key>> {
    const { rooms } = await this.client.ask('GET', keysPath(this.version))
    return new Map(Object.values<Body>(rooms).flatMap(({ sessions }) => Object.entries<Key>(sessions)))
  }
}

function keyOf(name: string, index: number): Key {
  return key({ first_message_index: index, session_data: { ciphertext: `of ${name}`, mac: 'm' } })
}

function isSame(found: Key | undefined, wanted: Key): boolean {
  return JSON.stringify(found) === JSON.stringify(wanted)
}
