/** Who begins sessions: claims keys of devices, each of which is for one claim alone. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from './chance.ts'
import type { Body, PatientClient } from './client.ts'
import type { KeyKeeper } from './keys.ts'

const algorithm = 'signed_curve25519'

export class Claimers {
  /** keys of each device that an answer brought */
  readonly claimed: ReadonlyMap<KeyKeeper, Set<string>>
  /** claims of each device's keys that were not answered; nobody asks for the same again */
  readonly unanswered = new Map<KeyKeeper, number>()
  fallbacks = 0
  private readonly clients: readonly PatientClient[]
  private readonly keepers: readonly KeyKeeper[]
  private readonly chance: Chance
  private stopped = false

  constructor(clients: readonly PatientClient[], keepers: readonly KeyKeeper[], chance: Chance) {
    this.clients = clients
    this.keepers = keepers
    this.chance = chance
    this.claimed = new Map(keepers.map((keeper) => [keeper, new Set()]))
  }

  get count(): number {
    return [...this.claimed.values()].reduce((sum, { size }) => sum + size, 0)
  }

  /** Until stop(); rejects when a key is handed out twice. */
  async run(): Promise<void> {
    await Promise.all(
      this.clients.map(async (client) => {
        while (!this.stopped) {
          const keepers = this.keepers.filter(() => this.chance.happens(0.5))
          const answer = await client.once('POST', '/keys/claim', wanted(keepers))
          for (const keeper of keepers) {
            if (answer) this.note(keeper, answer.body)
            else this.unanswered.set(keeper, (this.unanswered.get(keeper) ?? 0) + 1)
          }
          // While the server is away nothing is claimed.
          if (!answer) await client.ask('GET', '/account/whoami')
          await sleep(this.chance.between(20, 80))
        }
      }),
    )
  }

  stop(): void {
    this.stopped = true
  }

  /**
   * When nobody else asks any more: as many keys are left as the device is told, all that it brought were handed out or are, but for those that
   * answers were lost with, and none that was handed out comes back.
   */
  async check(): Promise<void> {
    const [client] = this.clients
    for (const keeper of this.keepers) {
      const { deviceId } = keeper.device
      const left = await keeper.left()
      const claimed = this.claimed.get(keeper)!
      const before = claimed.size
      const claim = async () => this.note(keeper, await client!.ask('POST', '/keys/claim', wanted([keeper])))
      while (await claim());
      assert.equal(claimed.size - before, left, `${deviceId} was told another number of keys`)
      const lost = [...keeper.oneTimeKeys.keys()].filter((id) => !claimed.has(id))
      const most = this.unanswered.get(keeper) ?? 0
      assert.ok(lost.length <= most, `${lost.join()} of ${deviceId} are gone, and only ${most} claims were not answered`)
      assert.equal(await keeper.repeat(), 0, `keys of ${deviceId} came back`)
      assert.equal(await claim(), false, `keys of ${deviceId} came back`)
    }
  }

  /** Whether it was a one-time key. */
  private note(keeper: KeyKeeper, body: Body): boolean {
    const { userId, deviceId } = keeper.device
    const entries = Object.entries(body.one_time_keys?.[userId]?.[deviceId] ?? {})
    assert.equal(entries.length, 1, `${deviceId} always has a key: ${JSON.stringify(body)}`)
    const [id, key] = entries[0]!
    const isFallback = keeper.fallbackKeys.has(id)
    assert.deepEqual(key, (isFallback ? keeper.fallbackKeys : keeper.oneTimeKeys).get(id), `${id} of ${deviceId}`)
    if (isFallback) {
      this.fallbacks++
      return false
    }
    const claimed = this.claimed.get(keeper)!
    assert.ok(!claimed.has(id), `${id} of ${deviceId} was handed out twice`)
    claimed.add(id)
    return true
  }
}

function wanted(keepers: readonly KeyKeeper[]): object {
  const byUser = Map.groupBy(keepers, ({ device }) => device.userId)
  const devices = (own: readonly KeyKeeper[]) => Object.fromEntries(own.map(({ device }) => [device.deviceId, algorithm]))
  return { one_time_keys: Object.fromEntries([...byUser].map(([userId, own]) => [userId, devices(own)])) }
}
