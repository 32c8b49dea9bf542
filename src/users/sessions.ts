/** Devices and the tokens they hold. A token is kept as its hash only. */
import { forbidden, MatrixError, notFound } from '../errors.ts'
import { hashSecret, newAccessToken, newDeviceId, newSecret } from '../ids.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import type { Shard } from '../storage/storage.ts'
import type { DeviceRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from './actor.ts'
import { actingUser, requireUser, startSyncing } from './users.ts'

/** The longest unused session ends when one more begins. */
export const mostSessions = 100

/** Of the name of a device, in characters; what is longer is cut. */
const longestName = 255

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

/** Begins a session on a new device or anew on one that exists, whose old tokens end. */
export function beginSession(decision: Decision, given: UserRow, session: NewSession): Session {
  const { instance } = decision
  const user = startSyncing(decision, given)
  if (session.deviceId) {
    const refusal = checkIdentifier('device_id', session.deviceId)
    if (refusal) throw new MatrixError('M_INVALID_PARAM', refusal.error)
  }
  const deviceId = session.deviceId || newDeviceId(instance.ports)
  // Only a device that the client named can exist already. (A decision that looked up what it drew at random would never end.)
  const old = session.deviceId ? decision.get('device', { user: user.key, deviceId }) : null
  if (old) endTokens(decision, old)
  else makeRoom(decision, user)
  const device: DeviceRow = {
    instance: instance.key,
    user: user.key,
    deviceId,
    displayName: nameOf(session) ?? old?.displayName ?? null,
    lastSeenTs: decision.now,
    lastSeenIp: session.ip ?? null,
    createdAt: old?.createdAt ?? decision.now,
    accessHash: null,
    refreshHash: null,
    oldHashes: null,
    position: decision.takePosition(),
  }
  return { userId: user.userId, deviceId, ...giveTokens(decision, device, session.withRefreshToken === true) }
}

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
 * Errors: M_UNKNOWN_TOKEN.
 */
export function refreshSession(instance: Instance, refreshToken: string): Promise<Session> {
  const hash = hashSecret(refreshToken)
  return command(instance, (decision) => {
    const secret = decision.get('secret', { hash })
    const user = secret && secret.kind === 'refresh' && secret.instance === instance.key ? decision.get('user', { key: secret.user }) : null
    const device = user && secret?.device ? decision.get('device', { user: user.key, deviceId: secret.device }) : null
    if (!user || !device) throw new MatrixError('M_UNKNOWN_TOKEN', 'Unknown refresh token')
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
    decision.put('device', { ...device, oldHashes: null })
  })
}

/** A device is in use: the longest unused one ends when there are too many. */
export async function noteUse(instance: Instance, actor: Actor): Promise<void> {
  if (actor.user === null || actor.device === null) return
  const key = { user: actor.user, deviceId: actor.device }
  await command(instance, (decision) => {
    const device = decision.get('device', key)
    // Nobody is told: it is no change that anybody waits for.
    if (device) keepDevice(decision, { ...device, lastSeenTs: decision.now })
  })
}

/** A token that logs in once, within two minutes. Errors: M_FORBIDDEN for puppets. */
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
    for (const device of devicesOf(decision, requireUser(actor))) removeDevice(decision, device)
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

function keepDevice(decision: Decision, device: DeviceRow): void {
  const others = devicesOf(decision, device.user).filter((other) => other.deviceId !== device.deviceId)
  decision.put('device', device)
  decision.set(devicesKey(device.user), [...others, device])
}

export function putDevice(decision: Decision, device: DeviceRow): void {
  keepDevice(decision, device)
  decision.announce('device', { users: [device.user] })
}

export function removeDevice(decision: Decision, device: DeviceRow): void {
  endTokens(decision, device)
  const others = devicesOf(decision, device.user).filter((other) => other.deviceId !== device.deviceId)
  decision.remove('device', device)
  decision.set(devicesKey(device.user), others)
  decision.announce('device', { users: [device.user] })
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

function makeRoom(decision: Decision, user: UserRow): void {
  const devices = devicesOf(decision, user.key)
  if (devices.length < mostSessions) return
  const unused = devices.reduce((a, b) => (a.lastSeenTs <= b.lastSeenTs ? a : b))
  removeDevice(decision, unused)
}

function endTokens(decision: Decision, device: DeviceRow): void {
  for (const hash of [device.accessHash, device.refreshHash]) if (hash) removeSecret(decision, hash)
  endOldTokens(decision, device)
}

function endOldTokens(decision: Decision, device: DeviceRow): void {
  for (const hash of device.oldHashes?.split(',') ?? []) if (hash) removeSecret(decision, hash)
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
