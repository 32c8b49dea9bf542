/**
 * How many keys a device has left to hand out: every answer of its sync says so, and the transactions of an appservice about the devices of its users.
 * https://spec.matrix.org/v1.19/client-server-api/#one-time-and-fallback-keys
 */
import type { UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import { noteInterest } from '../users/interest.ts'
import { transactionsFor } from '../users/registrations.ts'
import { type DeviceKey, fallbackKeysOf, oneTimeKeysOf } from './one-time-keys.ts'

/** Both as JSON text. */
export interface KeyCounts {
  /** object: algorithm → one-time keys that nobody has; a 0 is said */
  readonly counts: string
  /** list of the algorithms whose fallback key nobody has */
  readonly unusedFallback: string
}

/** Every client knows this algorithm, and some take a missing count for "as before". */
const none: KeyCounts = { counts: '{"signed_curve25519":0}', unusedFallback: '[]' }

/** As the decision leaves them. */
export function keyCountsOf(decision: Decision, device: DeviceKey): KeyCounts {
  const counts = new Map([['signed_curve25519', 0]])
  for (const { algorithm, claimedAt } of oneTimeKeysOf(decision, device))
    counts.set(algorithm, (counts.get(algorithm) ?? 0) + (claimedAt === null ? 1 : 0))
  const unused = fallbackKeysOf(decision, device).filter(({ used }) => used === 0)
  return {
    counts: JSON.stringify(Object.fromEntries(counts)),
    unusedFallback: JSON.stringify(unused.map(({ algorithm }) => algorithm)),
  }
}

/** The keys of a device have changed: it is told, so that it can bring new ones. */
export function noteKeyCounts(decision: Decision, { key: user, appservice }: UserRow, deviceId: string): KeyCounts {
  const { instance } = decision
  const device = { user, deviceId }
  const counts = keyCountsOf(decision, device)
  const bridge = transactionsFor(decision, { appservice })
  const position = decision.takePosition()
  decision.write('keyCount', { instance: instance.key, ...device, ...counts, appservice, position })
  const told = bridge && bridge.row.url !== null ? [bridge.key] : []
  for (const key of told) noteInterest(decision, key, position)
  decision.announce('keyCount', { users: [user], appservices: told })
  decision.onCommitted(() => remember(instance, device, Promise.resolve(counts)))
  return counts
}

/** The device is gone. */
export function removeKeyCounts(decision: Decision, device: DeviceKey): void {
  const { instance } = decision
  decision.changes.remove('keyCount', { instance: instance.key, user: device.user, deviceId: device.deviceId })
  decision.onCommitted(() => known(instance).delete(nameOf(device)))
}

/** Devices whose counts are remembered; the others are read again. */
const mostRemembered = 10_000

/** Counts as committed, or on their way here. */
const known = local(() => new Map<string, Promise<KeyCounts>>())

function nameOf({ user, deviceId }: DeviceKey): string {
  return `${user}\0${deviceId}`
}

/** What was being read meanwhile may be older, and is not kept. */
function remember(instance: Instance, device: DeviceKey, counts: Promise<KeyCounts>): void {
  const all = known(instance)
  const name = nameOf(device)
  all.delete(name)
  if (all.size >= mostRemembered) all.delete(all.keys().next().value!)
  all.set(name, counts)
}

/** What a device has left. Costs nothing the second time. */
export function readKeyCounts(instance: Instance, user: number, deviceId: string): Promise<KeyCounts> {
  const device = { user, deviceId }
  const found = known(instance).get(nameOf(device))
  if (found) return found
  const reading = instance.storage.first('keyCount', device).then((row) => row ?? none)
  remember(instance, device, reading)
  reading.catch(() => {
    if (known(instance).get(nameOf(device)) === reading) known(instance).delete(nameOf(device))
  })
  return reading
}
