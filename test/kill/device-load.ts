/** Devices of a person who bring keys, claim each other's, write to each other and back up room keys, and remember what they were told. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { claimKeys } from '../../src/devices/claim-keys.ts'
import { uploadKeys } from '../../src/devices/device-keys.ts'
import { inboxMark, readInbox } from '../../src/devices/inbox.ts'
import { createBackup } from '../../src/devices/key-backup.ts'
import { putRoomKeys } from '../../src/devices/key-backup-keys.ts'
import { readKeyCounts } from '../../src/devices/key-counts.ts'
import { sendToDevice } from '../../src/devices/to-device.ts'
import type { OpenInstance } from '../../src/instances/open-instance.ts'
import { command } from '../../src/stream/command.ts'
import type { Actor } from '../../src/users/actor.ts'
import { beginSession } from '../../src/users/sessions.ts'
import { makeUser } from '../../src/users/users.ts'
import { actorOf, isTransient, type LoadOptions } from './load.ts'

const algorithm = 'signed_curve25519'
const deviceIds = ['K0', 'K1', 'K2']
const newKeys = 5
/** With more left no more are brought. */
const mostLeft = 100
const roomIds = ['!a:example.com', '!b:example.com', '!c:example.com']

interface Owned {
  readonly actor: Actor
  readonly deviceId: string
  /** ids of one-time keys, as answered */
  readonly brought: string[]
  readonly claimed: Set<string>
  /** number of what was sent to it and answered, in order; of what each device sent */
  readonly sent: string[]
  failedClaims: number
}

export class DeviceLoad {
  answered = 0
  private readonly options: LoadOptions
  private readonly devices: Owned[] = []
  private readonly sessions = new Set<string>()
  private version = ''
  private count = 0

  constructor(options: LoadOptions) {
    this.options = options
  }

  async prepare(): Promise<void> {
    const instance = await this.options.instance()
    const userId = `@keys:${instance.userDomain}`
    const { key: user } = await command(instance, (decision) => {
      const made = makeUser(decision, { userId, kind: 'person' })
      for (const deviceId of deviceIds) beginSession(decision, made, { deviceId })
      return made
    })
    for (const deviceId of deviceIds) {
      const actor = actorOf({ user, userId, device: deviceId })
      this.devices.push({ actor, deviceId, brought: [], claimed: new Set(), sent: [], failedClaims: 0 })
    }
    this.version = String((await createBackup(instance, this.devices[0]!.actor, { algorithm: 'm.test', authData: {} })).version)
  }

  async run(until: () => boolean): Promise<void> {
    await Promise.all(
      this.devices.map(async (device) => {
        while (!until()) {
          await this.act(device)
          await sleep(this.options.chance.between(1, 5))
        }
      }),
    )
  }

  private async act(device: Owned): Promise<void> {
    const what = this.options.chance.next()
    if (what < 0.2) return this.upload(device)
    if (what < 0.3) return this.compare(device)
    if (what < 0.6) return this.claim(device, this.options.chance.of(this.devices))
    if (what < 0.8) return this.send(device)
    return this.backUp(device)
  }

  private async upload({ actor, brought, claimed }: Owned): Promise<void> {
    if (brought.length - claimed.size > mostLeft) return
    const ids = Array.from({ length: newKeys }, () => `${algorithm}:K${this.count++}`)
    const oneTimeKeys = Object.fromEntries(ids.map((id) => [id, { key: `of ${id}` }]))
    const answer = await this.try((instance) => uploadKeys(instance, actor, { oneTimeKeys }))
    if (answer) brought.push(...ids)
  }

  /** Only it brings keys: what it is told is left lies between what was left before and what is left behind it. */
  private async compare({ actor, deviceId }: Owned): Promise<void> {
    const left = async (instance: OpenInstance) => JSON.parse((await uploadKeys(instance, actor, {})).counts)[algorithm]
    const most = await this.try(left)
    const told = await this.try((instance) => readKeyCounts(instance, actor.user!, deviceId))
    const least = await this.try(left)
    if (most === null || told === null || least === null) return
    const said = JSON.parse(told.counts)[algorithm]
    assert.ok(least <= said && said <= most, `${said} keys are left by the counts, and ${most} to ${least} in truth`)
  }

  private async claim({ actor }: Owned, from: Owned): Promise<void> {
    const wanted = { [from.actor.userId]: { [from.deviceId]: algorithm } }
    const answer = await this.try(
      (instance) => claimKeys(instance, wanted),
      () => from.failedClaims++,
    )
    const keys = answer && JSON.parse(answer.join('')).one_time_keys[actor.userId]?.[from.deviceId]
    for (const [id, key] of Object.entries(keys ?? {})) {
      assert.ok(!from.claimed.has(id), `${id} was handed out twice`)
      assert.deepEqual(key, { key: `of ${id}` })
      from.claimed.add(id)
    }
  }

  /** To all, itself too. */
  private async send({ actor, deviceId }: Owned): Promise<void> {
    const n = `${this.count++}`
    const messages = { [actor.userId]: { '*': { from: deviceId, n } } }
    const answer = await this.try((instance) => sendToDevice(instance, actor, { eventType: 'm.test', txnId: n, messages }))
    if (answer) for (const { sent } of this.devices) sent.push(`${deviceId} ${n}`)
  }

  private async backUp({ actor }: Owned): Promise<void> {
    const keys = Array.from({ length: newKeys }, () => ({
      roomId: this.options.chance.of(roomIds),
      sessionId: `s${this.count++}`,
      firstMessageIndex: 0,
      forwardedCount: 0,
      isVerified: false,
      sessionData: {},
    }))
    const answer = await this.try((instance) => putRoomKeys(instance, actor, { version: this.version, keys }))
    if (answer) for (const { sessionId } of keys) this.sessions.add(sessionId)
  }

  /** Repeats what only failed, unless its client loses patience: then nothing came of it. */
  private async try<T>(request: (instance: OpenInstance) => Promise<T>, failed: () => unknown = () => undefined): Promise<T | null> {
    const { chance, givesUp, signal } = this.options
    for (;;) {
      try {
        const answer = await request(await this.options.instance())
        this.answered++
        return answer
      } catch (error) {
        if (!isTransient(error) || signal.aborted) throw error
        failed()
        if (givesUp && chance.happens(0.5)) return null
      }
      await sleep(chance.between(5, 20))
    }
  }

  /** What was answered is stored, what was refused is not, and what is kept beside the tables says what they say. */
  async check(instance: OpenInstance): Promise<void> {
    for (const device of this.devices) await this.checkDevice(instance, device)
    const { storage } = instance
    const { user } = this.devices[0]!.actor
    const where = { user: user! }
    const rows = await storage.find('backupSession', { where })
    assert.deepEqual(new Set(rows.map(({ sessionId }) => sessionId)), this.sessions, 'keys in the backup')
    const [backup] = await storage.find('backupVersion', { where })
    assert.equal(backup!.sessions, this.sessions.size, 'the number of keys in the backup')
    const inRooms = Map.groupBy(rows, ({ backupRoom }) => backupRoom)
    for (const { key, roomId, sessions } of await storage.find('backupRoom', { where })) {
      assert.equal(inRooms.get(key)?.length, sessions, `the number of keys of ${roomId}`)
      inRooms.delete(key)
    }
    assert.deepEqual(inRooms, new Map(), 'keys of rooms that are not in the backup')
  }

  private async checkDevice(instance: OpenInstance, { actor, deviceId, brought, claimed, sent, failedClaims }: Owned): Promise<void> {
    const { storage, bus } = instance
    const user = actor.user!
    const left = (await storage.find('oneTimeKey', { where: { user, deviceId, claimedAt: null } })).map(({ keyId }) => keyId)
    const isLeft = new Set(left)
    assert.deepEqual(
      left.filter((id) => !brought.includes(id)),
      [],
      'keys that nobody brought',
    )
    assert.deepEqual(
      [...claimed].filter((id) => isLeft.has(id)),
      [],
      'keys that were handed out can be claimed',
    )
    // A failure whose outcome is unknown may have taken one with it.
    const lost = brought.filter((id) => !isLeft.has(id) && !claimed.has(id))
    assert.ok(lost.length <= (this.options.givesUp ? 0 : failedClaims), `${lost.join()} of ${deviceId} are gone`)
    const counts = JSON.stringify({ [algorithm]: left.length })
    assert.equal((await storage.first('keyCount', { user, deviceId }))?.counts, counts)
    assert.equal((await readKeyCounts(instance, user, deviceId)).counts, counts)
    const mark = inboxMark(instance, user, deviceId)
    const messages = await readInbox(instance, user, deviceId, { after: null, until: bus.published, limit: 1_000_000 })
    assert.ok(mark === null || mark >= (messages.at(-1)?.position ?? 0), 'who believes the mark misses messages')
    const numbers = messages.map(({ content }) => JSON.parse(content)).map(({ from, n }) => `${from} ${n}`)
    for (const from of deviceIds) {
      const isFrom = (each: string) => each.startsWith(from)
      assert.deepEqual(numbers.filter(isFrom), sent.filter(isFrom), `messages of ${from} to ${deviceId}`)
    }
  }
}
