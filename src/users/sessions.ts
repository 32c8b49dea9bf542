/** Devices and the tokens they hold. A token is kept as its hash only. */
import { forbidden, invalidParam, MatrixError, notFound } from '../errors.ts'
import { hashSecret, newAccessToken, newDeviceId, newSecret } from '../ids.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import type { Shard } from '../storage/storage.ts'
import type { DeviceRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from './actor.ts'
import { standingOfRow, userLocked } from './standing.ts'
import { actingUser, requireActive, requireUser } from './users.ts'

/** Of a user. The longest unused session ends when one more begins. */
export const mostDevices = 100

/** Of the name of a device, in characters; what is longer is cut at a login. */
export const longestName = 255

/** 32 bytes as unpadded base64. */
const shortestPublicKey = 43

/** Users whose devices are read at once. */
const readTogether = 100

/** How long an access token lasts when its client asked for a refresh token. */
export const refreshableLifetimeMs = 60 * 60_000

export interface Session {
  readonly userId: string
  readonly deviceId: string
  readonly accessToken: string
  readonly refreshToken: string | null
  readonly expiresInMs: number | null
}

export interface NewSession {
  readonly deviceId?: string | null | undefined
  readonly displayName?: string | null | undefined
  readonly withRefreshToken?: boolean
  readonly ip?: string | null
}

/**
 * Begins a session on a new device, or anew on one that exists: its old tokens end, its name and its keys stay. Errors: M_INVALID_PARAM for an id
 * that no session may have.
 */
export function beginSession(decision: Decision, user: UserRow, session: NewSession): Session {
  const { instance } = decision
  const deviceId = session.deviceId || newDeviceId(instance.ports)
  if (session.deviceId) checkDeviceId(decision, user, deviceId)
  // Only a device that the client named can exist already. (A decision that looked up what it drew at random would never end.)
  const old = session.deviceId ? decision.get('device', { user: user.key, deviceId }) : null
  // MSC3814: who logs in keeps an id and keys of their own, and reads what the dehydrated device gathered.
  if (old?.accessHash === null && decision.get('dehydratedDevice', { user: user.key })?.deviceId === deviceId)
    throw invalidParam(`${deviceId} is a dehydrated device`)
  if (old) endTokens(decision, old)
  else makeRoom(decision, user)
  const device: DeviceRow = {
    ...(old ?? newDevice(decision, user, deviceId, nameOf(session))),
    lastSeenTs: decision.now,
    lastSeenIp: session.ip ?? null,
    accessHash: null,
    refreshHash: null,
    oldHashes: null,
    position: decision.takePosition(),
  }
  return { userId: user.userId, deviceId, ...giveTokens(decision, device, session.withRefreshToken === true) }
}

/**
 * A device without tokens, as appservices make them for their users (MSC4190). It stays until it is deleted. Errors: M_INVALID_PARAM for the id,
 * M_FORBIDDEN when the user has as many as can be, M_USER_DEACTIVATED for a request that was on its way when its user was deactivated.
 */
export function makeDevice(decision: Decision, user: UserRow, deviceId: string, displayName: string | null): DeviceRow {
  requireActive(user)
  checkDeviceId(decision, user, deviceId)
  makeRoom(decision, user)
  const device = { ...newDevice(decision, user, deviceId, displayName), position: decision.takePosition() }
  putDevice(decision, device)
  return device
}

function checkDeviceId(decision: Decision, user: UserRow, deviceId: string): void {
  const refusal = checkIdentifier('device_id', deviceId)
  if (refusal) throw invalidParam(refusal.error)
  // Nobody could name the one, and messages to the other are for all devices.
  if (deviceId === '' || deviceId === '*') throw invalidParam(`No device is called '${deviceId}'`)
  // Signatures name a device by its id and a cross-signing key by its public key, in the same place.
  if (deviceId.length < shortestPublicKey) return
  for (const usage of ['master', 'self_signing', 'user_signing'])
    if (decision.get('crossSigningKey', { user: user.key, usage })?.publicKey === deviceId)
      throw invalidParam(`${deviceId} is a cross-signing key`)
}

function newDevice(decision: Decision, user: UserRow, deviceId: string, displayName: string | null): Omit<DeviceRow, 'position'> {
  return {
    instance: decision.instance.key,
    user: user.key,
    deviceId,
    displayName,
    lastSeenTs: decision.now,
    lastSeenIp: null,
    createdAt: decision.now,
    accessHash: null,
    refreshHash: null,
    oldHashes: null,
    syncedAt: null,
  }
}

/** "initial_device_display_name: Ignored if device_id corresponds to a known device." */
function nameOf({ displayName }: NewSession): string | null {
  return displayName
    ? Array.from(displayName.slice(0, 2 * longestName))
        .slice(0, longestName)
        .join('')
    : null
}

function giveTokens(
  decision: Decision,
  device: DeviceRow,
  refreshable: boolean,
): Pick<Session, 'accessToken' | 'refreshToken' | 'expiresInMs'> {
  const { instance, now } = decision
  const accessToken = newAccessToken(instance.ports)
  const refreshToken = refreshable ? newSecret(instance.ports) : null
  const secret = { instance: instance.key, user: device.user, device: device.deviceId, appservice: null }
  const accessHash = hashSecret(accessToken)
  decision.put('secret', { hash: accessHash, kind: 'access', ...secret, expiresAt: refreshable ? now + refreshableLifetimeMs : null })
  const refreshHash = refreshToken && hashSecret(refreshToken)
  if (refreshHash) decision.put('secret', { hash: refreshHash, kind: 'refresh', ...secret, expiresAt: null })
  putDevice(decision, { ...device, accessHash, refreshHash })
  return { accessToken, refreshToken, expiresInMs: refreshable ? refreshableLifetimeMs : null }
}

/**
 * New tokens for a refresh token. The pair before stays valid until the new one is used, so that a lost answer can be asked for again.
 * Errors: M_UNKNOWN_TOKEN, M_USER_LOCKED.
 */
export function refreshSession(instance: Instance, refreshToken: string): Promise<Session> {
  const hash = hashSecret(refreshToken)
  return command(instance, (decision) => {
    const secret = decision.get('secret', { hash })
    const user = secret && secret.kind === 'refresh' && secret.instance === instance.key ? decision.get('user', { key: secret.user }) : null
    const device = user && secret?.device ? decision.get('device', { user: user.key, deviceId: secret.device }) : null
    if (!user || !device) throw new MatrixError('M_UNKNOWN_TOKEN', 'Unknown refresh token')
    if (standingOfRow(user).locked) throw userLocked()
    let before = device
    if (device.refreshHash !== hash) {
      // Asked again with the old one: the answer was lost, so what it brought ends.
      for (const lost of [device.accessHash, device.refreshHash]) if (lost) removeSecret(decision, lost)
    } else {
      endOldTokens(decision, device)
      before = { ...device, oldHashes: [device.accessHash, device.refreshHash].filter(Boolean).join(',') }
    }
    return { userId: user.userId, deviceId: device.deviceId, ...giveTokens(decision, before, true) }
  })
}

/** The new pair is in use: the one before ends. */
export async function confirmRefresh(instance: Instance, actor: Actor): Promise<void> {
  if (actor.user === null || actor.device === null) return
  const key = { user: actor.user, deviceId: actor.device }
  await command(instance, (decision) => {
    const device = decision.get('device', key)
    if (!device?.oldHashes || device.accessHash !== actor.tokenHash) return
    endOldTokens(decision, device)
    keepDevice(decision, { ...device, oldHashes: null })
  })
}

/** A device is in use, from an address where it is known: the longest unused one ends when there are too many. */
export async function noteUse(instance: Instance, actor: Actor, ip: string | null): Promise<void> {
  if (actor.user === null || actor.device === null) return
  const key = { user: actor.user, deviceId: actor.device }
  await command(instance, (decision) => {
    const device = decision.get('device', key)
    // Nobody is told: it is no change that anybody waits for.
    if (device) keepDevice(decision, { ...device, lastSeenTs: decision.now, lastSeenIp: ip ?? device.lastSeenIp })
  })
}

/** A token that logs in once, within two minutes. */
export async function makeLoginToken(instance: Instance, actor: Actor): Promise<{ loginToken: string; expiresInMs: number }> {
  const lifetimeMs = 120_000
  const token = newSecret(instance.ports)
  await command(instance, (decision) => {
    const user = actingUser(decision, actor)
    decision.put('secret', {
      hash: hashSecret(token),
      kind: 'login',
      instance: instance.key,
      user: user.key,
      device: null,
      appservice: null,
      expiresAt: decision.now + lifetimeMs,
    })
  })
  return { loginToken: token, expiresInMs: lifetimeMs }
}

/** Ends the session that asks: its device is gone with it. */
export async function logout(instance: Instance, actor: Actor): Promise<boolean> {
  if (actor.device === null) throw forbidden('An appservice without a device has no session to end')
  const deviceId = actor.device
  await command(instance, (decision) => {
    const device = decision.get('device', { user: requireUser(actor), deviceId })
    if (device) removeDevice(decision, device)
  })
  return true
}

export async function logoutAll(instance: Instance, actor: Actor): Promise<boolean> {
  await command(instance, (decision) => {
    removeDevices(decision, devicesOf(decision, requireUser(actor)))
  })
  return true
}

/** The name of the instance that gave a token of its own: some come without saying where. Null when no shard knows it. */
export async function instanceOfSecret(shards: readonly Shard[], secret: string): Promise<string | null> {
  const hash = hashSecret(secret)
  for (const shard of shards) {
    const [found] = await shard.lookup('secret', { where: { hash }, limit: 1 })
    const [instance] = found ? await shard.lookup('instance', { where: { key: found.instance }, limit: 1 }) : []
    if (instance?.name) return instance.name
  }
  return null
}

/** All devices of a user. At most 100, so they are held as one list. */
export function devicesOf(decision: Decision, user: number): readonly DeviceRow[] {
  return decision.need(devicesKey(user), () => decision.instance.storage.find('device', { where: { user } }))
}

/** Loads what devicesOf() answers for many users, with few reads instead of one for each. */
export function loadDevices(decision: Decision, users: readonly number[]): void {
  const { memory, storage } = decision.instance
  const byKey = new Map(users.map((user) => [devicesKey(user), user]))
  memory.needAll([...byKey.keys()], async (missing) => {
    const found = new Map<string, DeviceRow[]>(missing.map((key) => [key, []]))
    for (let start = 0; start < missing.length; start += readTogether) {
      const user = { in: missing.slice(start, start + readTogether).map((key) => byKey.get(key)!) }
      for (const device of await storage.find('device', { where: { user } })) found.get(devicesKey(device.user))!.push(device)
    }
    return found
  })
}

function keepDevice(decision: Decision, device: DeviceRow): void {
  const others = devicesOf(decision, device.user).filter((other) => other.deviceId !== device.deviceId)
  decision.put('device', device)
  decision.set(devicesKey(device.user), [...others, device])
}

export function putDevice(decision: Decision, device: DeviceRow): void {
  keepDevice(decision, device)
  decision.announce('device', { users: [device.user] })
}

/** Devices whose rows are known to say that they sync by themselves. */
const ownSyncs = local(() => new Set<string>())
const mostOwnSyncs = 10_000

/** The device syncs by itself; its row says so from the first time on. Costs nothing from the second on. */
export async function noteOwnSync(instance: Instance, { user, device: deviceId }: Actor): Promise<void> {
  if (user === null || deviceId === null) return
  const known = ownSyncs(instance)
  const name = `${user}\0${deviceId}`
  if (known.has(name)) return
  try {
    await command(instance, (decision) => {
      const device = decision.get('device', { user, deviceId })
      if (!device) return
      if (device.syncedAt === null) keepDevice(decision, { ...device, syncedAt: decision.now })
      // Within the decision: one that removes the device comes before it or behind it.
      if (known.size >= mostOwnSyncs) known.clear()
      known.add(name)
    })
  } catch (error) {
    known.delete(name)
    throw error
  }
}

export function removeDevice(decision: Decision, device: DeviceRow): void {
  removeDevices(decision, [device])
}

/** With their tokens and all that belongs to them. What must be known for that is looked up for all of them together. */
export function removeDevices(decision: Decision, devices: readonly DeviceRow[]): void {
  if (devices.length === 0) return
  const { instance } = decision
  decision.all(devices.flatMap(hashesOf).map((hash) => () => decision.get('secret', { hash })))
  instance.upward.devicesRemoved(decision, devices)
  for (const device of devices) {
    endTokens(decision, device)
    decision.remove('device', device)
    decision.onCommitted(() => ownSyncs(instance).delete(`${device.user}\0${device.deviceId}`))
  }
  for (const [user, own] of Map.groupBy(devices, (device) => device.user)) {
    const removed = new Set(own.map(({ deviceId }) => deviceId))
    const others = devicesOf(decision, user).filter(({ deviceId }) => !removed.has(deviceId))
    decision.set(devicesKey(user), others)
  }
  decision.announce('device', { users: devices.map(({ user }) => user) })
}

/** Errors: M_NOT_FOUND. */
export async function readDevice(instance: Instance, actor: Actor, deviceId: string): Promise<DeviceRow> {
  const device = await instance.storage.first('device', { user: requireUser(actor), deviceId })
  if (!device) throw notFound('No such device')
  return device
}

export function readDevices(instance: Instance, actor: Actor): Promise<DeviceRow[]> {
  return instance.storage.find('device', { where: { user: requireUser(actor) }, orderBy: ['deviceId'] })
}

/** Only sessions end by themselves: what has no token is an appservice's device, or one that waits for its user. */
function makeRoom(decision: Decision, user: UserRow): void {
  const devices = devicesOf(decision, user.key)
  if (devices.length < mostDevices) return
  const sessions = devices.filter(({ accessHash }) => accessHash !== null)
  if (sessions.length === 0) throw forbidden(`A user has at most ${mostDevices} devices`)
  removeDevice(
    decision,
    sessions.reduce((a, b) => (a.lastSeenTs <= b.lastSeenTs ? a : b)),
  )
}

function endTokens(decision: Decision, device: DeviceRow): void {
  for (const hash of hashesOf(device)) removeSecret(decision, hash)
}

function endOldTokens(decision: Decision, device: DeviceRow): void {
  for (const hash of oldHashesOf(device)) removeSecret(decision, hash)
}

/** Of all tokens that the device holds. */
function hashesOf(device: DeviceRow): string[] {
  return [device.accessHash, device.refreshHash, ...oldHashesOf(device)].filter((hash) => hash !== null)
}

function oldHashesOf({ oldHashes }: DeviceRow): string[] {
  return oldHashes?.split(',').filter((hash) => hash !== '') ?? []
}

export function removeSecret(decision: Decision, hash: string): void {
  const secret = decision.get('secret', { hash })
  if (!secret) return
  decision.remove('secret', secret)
  // Not before it is durable: on a 401 clients throw away what they hold.
  decision.onCommitted(() => decision.instance.upward.secretEnded(hash))
}

function devicesKey(user: number): string {
  return `devices\0${user}`
}
