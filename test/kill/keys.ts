/** Devices that bring keys whenever few are left, and look what became of them. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeDeviceKeys, makeKeys, type Signed, signingKey } from '../devices/rig.ts'
import type { Chance } from './chance.ts'
import type { Body } from './client.ts'
import type { Device } from './encryption-scene.ts'

const algorithm = 'signed_curve25519'
/** With fewer left it brings more. */
const fewest = 15

interface Upload {
  readonly device_keys: Signed
  readonly one_time_keys: Readonly<Record<string, Signed>>
  readonly fallback_keys: Readonly<Record<string, Signed>>
}

export class KeyKeeper {
  readonly device: Device
  /** one-time keys that others may have, from when their upload was first asked for */
  readonly oneTimeKeys = new Map<string, Signed>()
  readonly fallbackKeys = new Map<string, Signed>()
  uploads = 0
  unanswered = 0
  private readonly signing = signingKey()
  private readonly identity: Signed
  private readonly chance: Chance
  /** the last one that was answered */
  private last: Upload
  private made = 0
  private stopped = false

  constructor(device: Device, chance: Chance) {
    this.device = device
    this.chance = chance
    this.identity = makeDeviceKeys(device.userId, device.deviceId, this.signing)
    this.last = this.next()
  }

  /** The first upload. */
  async prepare(): Promise<void> {
    await this.repeat()
  }

  /** Until stop(); rejects when keys are gone, came back, are there in part, or an upload is refused. `syncs`: its syncs say what is left. */
  async run(syncs: boolean): Promise<void> {
    while (!this.stopped) {
      assert.deepEqual(await this.seen(), this.last.device_keys, 'device keys that were acknowledged')
      const left = await this.left()
      if (left < fewest) await this.upload(left)
      else if (this.chance.happens(0.1)) await this.repeat()
      if (syncs) await this.checkSynced()
      await sleep(this.chance.between(20, 150))
    }
  }

  stop(): void {
    this.stopped = true
  }

  /** One-time keys that nobody has. */
  async left(): Promise<number> {
    return (await this.device.client.ask('POST', '/keys/upload', {})).one_time_key_counts[algorithm]
  }

  /** The same as its sync says it. */
  async synced(): Promise<number> {
    const filter = JSON.stringify({ room: { rooms: [] } })
    return (await this.device.client.ask('GET', `/sync?${new URLSearchParams({ filter })}`)).device_one_time_keys_count[algorithm]
  }

  /** The last upload once more: nothing is new in it. */
  async repeat(): Promise<number> {
    return this.accepted(await this.device.client.answer('POST', '/keys/upload', this.last))
  }

  /** `most`: as many keys were left. */
  private async upload(most: number): Promise<void> {
    const before = this.last
    const body = this.next()
    const answer = await this.device.client.once('POST', '/keys/upload', body)
    this.last = body
    if (answer) {
      this.accepted(answer)
      return
    }
    this.unanswered++
    // Looked at before it is repeated, which would mend a part. Nobody else brings keys: there can only be fewer of them.
    const seen = await this.seen()
    const left = await this.left()
    const isThere = seen['org.example.upload'] === body.device_keys['org.example.upload']
    assert.deepEqual(seen, isThere ? body.device_keys : before.device_keys)
    if (!isThere) assert.ok(left <= most, `an upload is there in part: ${left} keys are left of ${most}`)
    const after = await this.repeat()
    if (isThere) assert.ok(after <= left, `an upload was there in part: its repetition made ${after} keys of ${left}`)
  }

  private next(): Upload {
    const { userId, deviceId } = this.device
    const name = () => `K${this.made++}`
    const options = { by: this.signing }
    const oneTimeKeys = makeKeys(userId, deviceId, Array.from({ length: this.chance.between(5, 10) }, name), options)
    const fallbackKeys = makeKeys(userId, deviceId, [name()], { ...options, fallback: true })
    for (const [id, key] of Object.entries(oneTimeKeys)) this.oneTimeKeys.set(id, key)
    for (const [id, key] of Object.entries(fallbackKeys)) this.fallbackKeys.set(id, key)
    // The same device, and yet each time something else to be seen.
    const device_keys = this.signing.sign({ ...this.identity, 'org.example.upload': `${this.uploads++}` }, userId, deviceId)
    return { device_keys, one_time_keys: oneTimeKeys, fallback_keys: fallbackKeys }
  }

  private accepted({ status, body }: { status: number; body: Body }): number {
    assert.equal(status, 200, `an upload was refused: ${JSON.stringify(body)}`)
    return body.one_time_key_counts[algorithm]
  }

  /** Its device keys as everybody sees them. */
  private async seen(): Promise<Signed> {
    const { userId, deviceId, client } = this.device
    const { unsigned: _, ...keys } = (await client.ask('POST', '/keys/query', { device_keys: { [userId]: [] } })).device_keys[userId][
      deviceId
    ]
    return keys
  }

  /** Only it brings keys: what its sync says lies between what was left before and what is left behind it. */
  private async checkSynced(): Promise<void> {
    const most = await this.left()
    const synced = await this.synced()
    const least = await this.left()
    assert.ok(least <= synced && synced <= most, `${synced} keys are left by the sync, and ${most} to ${least} in truth`)
  }
}
