/**
 * The keys that a device puts up for others to begin a session with: each one-time key is handed out once, the fallback key when none is left.
 * https://spec.matrix.org/v1.19/client-server-api/#one-time-and-fallback-keys
 */
import { invalidParam, MatrixError } from '../errors.ts'
import { sameJson } from '../rules/values.ts'
import type { FallbackKeyRow, OneTimeKeyRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { HandedOutKey } from './given-keys.ts'

/** Kept of a device to be handed out: clients keep 50 there, and the oldest of them twice as many. */
const mostUnclaimed = 200
/** Remembered of a device after they were handed out, so that an upload that is repeated does not bring them back. */
const mostClaimed = 200
/** Of a device, one of each algorithm: clients know one. */
const mostFallbackKeys = 10

/** A device by its keys in the tables. */
export interface DeviceKey {
  /** key of the user */
  readonly user: number
  readonly deviceId: string
}

const oneTimeName = ({ user, deviceId }: DeviceKey) => `one-time keys\0${user}\0${deviceId}`
const fallbackName = ({ user, deviceId }: DeviceKey) => `fallback keys\0${user}\0${deviceId}`

/** Loads the keys of many devices, with two reads for all. A device's keys are held as one list: they change together. */
export function loadOneTimeKeys(decision: Decision, devices: readonly DeviceKey[]): void {
  const { storage } = decision.instance
  const find = async (where: Where) => (await storage.find('oneTimeKey', { where })).sort((a, b) => a.order - b.order)
  decision.all([() => loadLists(decision, devices, oneTimeName, find), () => loadFallbackKeys(decision, devices)])
}

/** The same of their fallback keys alone. */
export function loadFallbackKeys(decision: Decision, devices: readonly DeviceKey[]): void {
  loadLists(decision, devices, fallbackName, (where) => decision.instance.storage.find('fallbackKey', { where }))
}

function loadLists<Row extends DeviceKey>(
  decision: Decision,
  devices: readonly DeviceKey[],
  name: (device: DeviceKey) => string,
  find: (where: Where) => Promise<Row[]>,
): void {
  const byName = new Map(devices.map((device) => [name(device), device]))
  decision.instance.memory.needAll([...byName.keys()], async (missing) => {
    const lists = new Map<string, Row[]>(missing.map((each) => [each, []]))
    const wanted = missing.map((each) => byName.get(each)!)
    const where = { user: { in: wanted.map(({ user }) => user) }, deviceId: { in: wanted.map(({ deviceId }) => deviceId) } }
    // Two users may have devices of the same name, of which one is not meant.
    for (const row of await find(where)) lists.get(name(row))?.push(row)
    return lists
  })
}

interface Where {
  readonly user: { readonly in: readonly number[] }
  readonly deviceId: { readonly in: readonly string[] }
}

/** In the order of their upload; those that were handed out stand among them. */
export function oneTimeKeysOf(decision: Decision, device: DeviceKey): readonly OneTimeKeyRow[] {
  loadOneTimeKeys(decision, [device])
  return decision.instance.memory.peek(oneTimeName(device))?.value as readonly OneTimeKeyRow[]
}

export function fallbackKeysOf(decision: Decision, device: DeviceKey): readonly FallbackKeyRow[] {
  loadFallbackKeys(decision, [device])
  return decision.instance.memory.peek(fallbackName(device))?.value as readonly FallbackKeyRow[]
}

/**
 * Puts keys to those that are there; true when any is new. The same key again, handed out or not, changes nothing. Errors: 400 M_UNKNOWN for
 * another key under an id that was used, M_INVALID_PARAM when more than 200 would wait to be handed out.
 */
export function putOneTimeKeys(decision: Decision, device: DeviceKey, keys: readonly HandedOutKey[]): boolean {
  const before = oneTimeKeysOf(decision, device)
  const known = new Map(before.map((row) => [row.keyId, row]))
  const rows: OneTimeKeyRow[] = []
  let order = before.at(-1)?.order ?? 0
  for (const { keyId, algorithm, value } of keys) {
    const json = JSON.stringify(value)
    const old = known.get(keyId)
    if (old) {
      // Clients know this text: their own store has gone astray.
      const message = `One time key ${keyId} already exists. Old key: ${old.json}; new key: ${json}`
      if (!sameJson(JSON.parse(old.json), value)) throw new MatrixError('M_UNKNOWN', message, {}, 400)
      continue
    }
    order += 1
    rows.push({ instance: decision.instance.key, ...device, keyId, algorithm, order, json, claimedAt: null })
  }
  if (rows.length === 0) return false
  const unclaimed = before.filter(({ claimedAt }) => claimedAt === null).length
  if (unclaimed + rows.length > mostUnclaimed) throw invalidParam(`A device has at most ${mostUnclaimed} one-time keys to be handed out`)
  for (const row of rows) decision.write('oneTimeKey', row)
  decision.set(oneTimeName(device), [...before, ...rows])
  return true
}

/**
 * Puts each in the place of the one of its algorithm, unused; true when any is new. The same one again stays used. Errors: M_INVALID_PARAM for
 * more than 10 algorithms.
 */
export function putFallbackKeys(decision: Decision, device: DeviceKey, keys: readonly HandedOutKey[]): boolean {
  const rows = new Map(fallbackKeysOf(decision, device).map((row) => [row.algorithm, row]))
  let changed = false
  for (const { keyId, algorithm, value } of keys) {
    const old = rows.get(algorithm)
    if (old?.keyId === keyId && sameJson(JSON.parse(old.json), value)) continue
    const row = { instance: decision.instance.key, ...device, algorithm, keyId, json: JSON.stringify(value), used: 0 }
    rows.set(algorithm, row)
    decision.write('fallbackKey', row)
    changed = true
  }
  if (rows.size > mostFallbackKeys) throw invalidParam(`A device has at most ${mostFallbackKeys} fallback keys`)
  if (changed) decision.set(fallbackName(device), [...rows.values()])
  return changed
}

/** What a device is begun a session with. */
export interface ClaimedKey {
  readonly keyId: string
  readonly json: string
  /** there is one less from now on */
  readonly changed: boolean
}

/** Takes the oldest one-time key of the algorithm, else the fallback key, which stays; null when there is neither. */
export function claimKey(decision: Decision, device: DeviceKey, algorithm: string): ClaimedKey | null {
  const before = oneTimeKeysOf(decision, device)
  const next = before.find((row) => row.algorithm === algorithm && row.claimedAt === null)
  if (!next) return useFallbackKey(decision, device, algorithm)
  const claimed = { ...next, claimedAt: decision.now }
  const after = before.map((row) => (row === next ? claimed : row))
  decision.write('oneTimeKey', claimed)
  const gone = after.filter(({ claimedAt }) => claimedAt !== null)
  if (gone.length > mostClaimed) {
    const oldest = gone.reduce((a, b) => (a.claimedAt! <= b.claimedAt! ? a : b))
    decision.changes.remove('oneTimeKey', oldest)
    after.splice(after.indexOf(oldest), 1)
  }
  decision.set(oneTimeName(device), after)
  return { keyId: claimed.keyId, json: claimed.json, changed: true }
}

function useFallbackKey(decision: Decision, device: DeviceKey, algorithm: string): ClaimedKey | null {
  const before = fallbackKeysOf(decision, device)
  const key = before.find((row) => row.algorithm === algorithm)
  if (!key) return null
  const changed = key.used === 0
  if (changed) {
    const used = { ...key, used: 1 }
    decision.write('fallbackKey', used)
    decision.set(
      fallbackName(device),
      before.map((row) => (row === key ? used : row)),
    )
  }
  return { keyId: key.keyId, json: key.json, changed }
}

/** The device, or what it was, is gone: none of its keys is of use to anybody. */
export function removeOneTimeKeys(decision: Decision, device: DeviceKey): void {
  for (const row of fallbackKeysOf(decision, device)) decision.changes.remove('fallbackKey', row)
  decision.removeRange('oneTimeKeys', { user: device.user, deviceId: device.deviceId })
  decision.set(oneTimeName(device), [])
  decision.set(fallbackName(device), [])
}
