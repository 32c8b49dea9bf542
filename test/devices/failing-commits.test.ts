/** Devices that come and go while keys are uploaded and claimed and messages sent, and some commits fail: what is remembered never lies. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { claimKeys } from '../../src/devices/claim-keys.ts'
import { uploadKeys } from '../../src/devices/device-keys.ts'
import { inboxMark } from '../../src/devices/inbox.ts'
import { readKeyCounts } from '../../src/devices/key-counts.ts'
import { sendToDevice } from '../../src/devices/to-device.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import type { UserRow } from '../../src/storage/tables.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import { sync } from '../../src/sync/sync.ts'
import { beginSession, devicesOf, removeDevices } from '../../src/users/sessions.ts'
import { makeUser } from '../../src/users/users.ts'
import { Chance, chooseSeed } from '../kill/chance.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { makeDeviceKeys } from './rig.ts'

const algorithm = 'signed_curve25519'
const lasting = ['STAYS1', 'STAYS2']
const passing = ['GOES1', 'GOES2']
const deviceIds = [...lasting, ...passing]

function actorOf({ key, userId }: UserRow, device: string) {
  return { user: key, userId, device, appservice: null, puppet: false, admin: false, tokenHash: '' }
}

/** Null when it failed: somebody else's failure is one's own, as what waits behind it fails with it. */
async function attempt<T>(work: () => Promise<T>): Promise<T | null> {
  return work().catch(() => null)
}

class Scene {
  readonly instance: Instance
  readonly users: readonly UserRow[]
  readonly chance: Chance
  /** one-time keys that were handed out, by those who got them */
  readonly claimed: string[] = []
  /** user and device → numbers of the messages that were sent to it, and that its sync brought */
  readonly sent = new Map<string, number[]>()
  readonly got = new Map<string, number[]>()
  private count = 0
  private isDone = false

  constructor(instance: Instance, users: readonly UserRow[], chance: Chance) {
    this.instance = instance
    this.users = users
    this.chance = chance
  }

  async play(workers: number, steps: number): Promise<void> {
    const readers = this.users.flatMap((user) => lasting.map((deviceId) => this.read(user, deviceId)))
    await Promise.all(
      Array.from({ length: workers }, async () => {
        for (let step = 0; step < steps; step++) await this.step()
      }),
    )
    this.isDone = true
    await Promise.all(readers)
  }

  private async step(): Promise<void> {
    const { chance, instance } = this
    const user = chance.of(this.users)
    const deviceId = chance.of(passing)
    const acts: (() => Promise<unknown>)[] = [
      () => attempt(() => command(instance, (decision) => beginSession(decision, decision.get('user', { key: user.key })!, { deviceId }))),
      () => attempt(() => command(instance, (decision) => removeDevices(decision, devicesOf(decision, user.key).filter(isPassing)))),
      () => this.upload(user, chance.of(deviceIds)),
      () => this.upload(user, chance.of(deviceIds)),
      () => this.claim(user),
      () => this.claim(user),
      () => this.send(user, deviceId),
      () => this.send(user, deviceId),
    ]
    await chance.of(acts)()
  }

  private async upload(user: UserRow, deviceId: string): Promise<void> {
    const n = this.count++
    const names = [1, 2, 3, 4].map((key) => `${algorithm}:${n}-${key}`)
    const given = {
      oneTimeKeys: Object.fromEntries(names.map((name) => [name, name])),
      ...(this.chance.happens(0.3) && { deviceKeys: makeDeviceKeys(user.userId, deviceId) as JsonObject }),
      ...(this.chance.happens(0.3) && { fallbackKeys: { [`${algorithm}:fallback-${n}`]: 'x' } }),
    }
    await attempt(() => uploadKeys(this.instance, actorOf(user, deviceId), given))
  }

  private async claim({ userId }: UserRow): Promise<void> {
    const wanted = { [userId]: Object.fromEntries(deviceIds.map((deviceId) => [deviceId, algorithm])) }
    const texts = await attempt(() => claimKeys(this.instance, wanted))
    if (!texts) return
    const { one_time_keys } = JSON.parse(texts.join('')) as { one_time_keys: Record<string, Record<string, object>> }
    for (const key of Object.values(one_time_keys[userId] ?? {}))
      this.claimed.push(...Object.keys(key).filter((name) => !name.includes('fallback')))
  }

  /** Tries until it is answered: the transaction id makes one message of it. */
  private async send(to: UserRow, deviceId: string): Promise<void> {
    const n = this.count++
    const sender = actorOf(this.chance.of(this.users), lasting[0]!)
    const named = this.chance.happens(0.5) ? ['*'] : [this.chance.of(lasting), deviceId]
    const messages = { [to.userId]: Object.fromEntries(named.map((name) => [name, { n }])) }
    while (!(await attempt(() => sendToDevice(this.instance, sender, { eventType: 'm.x', txnId: `${n}`, messages }))));
    for (const name of lasting) if (named.includes('*') || named.includes(name)) note(this.sent, `${to.userId} ${name}`, n)
  }

  private async read(user: UserRow, deviceId: string): Promise<void> {
    const { signal } = new AbortController()
    for (let since: string | null = null, empty = 0; empty < 2; ) {
      const request = { since, timeoutMs: 20 }
      const text = await attempt(async () => textOf(await sync(this.instance, actorOf(user, deviceId), request, signal)))
      // Failed, or the answer was lost on its way.
      if (!text || this.chance.happens(0.2)) continue
      const answer = JSON.parse(text) as { next_batch: string; to_device?: { events: { content: { n: number } }[] } }
      since = answer.next_batch
      const { events } = answer.to_device ?? { events: [] }
      for (const { content } of events) note(this.got, `${user.userId} ${deviceId}`, content.n)
      empty = this.isDone && events.length === 0 ? empty + 1 : 0
    }
  }
}

async function textOf(chunks: AsyncIterable<string> | string[]): Promise<string> {
  let text = ''
  for await (const chunk of chunks) text += chunk
  return text
}

function isPassing({ deviceId }: { readonly deviceId: string }): boolean {
  return passing.includes(deviceId)
}

function note(lists: Map<string, number[]>, name: string, n: number): void {
  lists.set(name, [...(lists.get(name) ?? []), n])
}

await onBothServers('with failing commits', (start) => {
  test('no key is handed out twice, each message arrives once, counts are exact, and nothing is left of a device that is gone', async (t) => {
    const chance = new Chance(chooseSeed())
    t.diagnostic(`KILL_SEED=${chance.seed}`)
    let failures = 0
    let failing = false
    const failCommit = () => (failing && chance.happens(0.05) && ++failures ? new Error('told to fail') : null)
    await using server = await start({ faults: { failCommit } })
    const instance = await server.server.host.defaultInstance()
    const users = await command(instance, (decision) =>
      ['ann', 'bob'].map((name) => makeUser(decision, { userId: `@${name}:example.com`, kind: 'person' })),
    )
    for (const { key } of users)
      for (const deviceId of lasting)
        await command(instance, (decision) => beginSession(decision, decision.get('user', { key })!, { deviceId }))
    const scene = new Scene(instance, users, chance)
    failing = true
    await scene.play(6, 80)
    failing = false
    const { storage } = instance
    assert.ok(failures > 0)
    assert.ok(scene.claimed.length > 0)
    assert.equal(new Set(scene.claimed).size, scene.claimed.length)
    for (const [device, sent] of scene.sent) assert.deepEqual(scene.got.get(device)?.toSorted(), sent.toSorted(), device)
    for (const { key: user, userId } of users) {
      const standing = new Set((await storage.find('device', { where: { user } })).map(({ deviceId }) => deviceId))
      for (const table of ['deviceKeys', 'oneTimeKey', 'fallbackKey', 'keyCount', 'toDevice'] as const)
        for (const { deviceId } of await storage.find(table, { where: { user } })) assert.ok(standing.has(deviceId), `${table} ${deviceId}`)
      for (const deviceId of deviceIds) {
        const { counts, unusedFallback } = await readKeyCounts(instance, user, deviceId)
        const left = await storage.count('oneTimeKey', { user, deviceId, claimedAt: null })
        const unused = await storage.find('fallbackKey', { where: { user, deviceId, used: 0 } })
        assert.deepEqual([JSON.parse(counts), JSON.parse(unusedFallback)], [{ [algorithm]: left }, unused.map((row) => row.algorithm)])
        if (standing.has(deviceId))
          assert.deepEqual(await uploadKeys(instance, actorOf({ key: user, userId } as UserRow, deviceId), {}), { counts, unusedFallback })
        const [newest] = await storage.find('toDevice', { where: { user, deviceId }, orderBy: ['-position'], limit: 1 })
        assert.ok((inboxMark(instance, user, deviceId) ?? Number.MAX_SAFE_INTEGER) >= (newest?.position ?? 0), deviceId)
      }
    }
  })
})
