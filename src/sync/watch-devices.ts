/** What subscriptions tell a device, so that a client of GraphQL can encrypt: its messages, whose devices changed, and its key counts. */

import { acknowledgeInbox } from '../devices/inbox.ts'
import { type KeyCounts, readKeyCounts } from '../devices/key-counts.ts'
import { type DeviceLists, noDeviceLists } from '../devices/room-mates.ts'
import { invalidParam, MatrixError } from '../errors.ts'
import type { ToDeviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { parseToken } from '../stream/token.ts'
import type { Actor } from '../users/actor.ts'
import { noteOwnSync } from '../users/sessions.ts'
import { requireUser } from '../users/users.ts'
import { type DevicePlace, haveCountsChanged, mayChangeLists, readListsBetween, readMessages } from './device-part.ts'
import { syncingUser } from './sync.ts'
import { startOf, type Watch, woken } from './watch.ts'

/** Errors: M_MISSING_PARAM for an appservice that names no device, M_FORBIDDEN for a user who is not made yet. */
function deviceOf(actor: Actor): DevicePlace {
  if (actor.device === null) throw new MatrixError('M_MISSING_PARAM', 'This is for devices, and none is named: device_id is missing')
  return { user: requireUser(actor), deviceId: actor.device }
}

export interface MessageSlice {
  /** go on from here */
  readonly position: number
  readonly messages: readonly ToDeviceRow[]
}

/**
 * Messages to the device, oldest first, 100 at most at a time; without `after` all that wait. They stay until they are acknowledged.
 * Errors: as deviceOf().
 */
export async function* watchMessages(
  instance: Instance,
  actor: Actor,
  { after }: Watch,
  signal: AbortSignal,
): AsyncGenerator<MessageSlice> {
  const place = deviceOf(actor)
  const { user } = place
  await syncingUser(instance, actor)
  await noteOwnSync(instance, actor)
  // A position that we never gave says nothing about what has arrived.
  let position = typeof after === 'number' && after <= instance.bus.published ? after : null
  let lastAnswer = 0
  for (;;) {
    const { published } = instance.bus
    const { messages, until } = await readMessages(instance, place, { after: position, until: published })
    position = until
    if (messages.length > 0) {
      yield { position, messages }
      lastAnswer = instance.ports.now()
    }
    if (signal.aborted) return
    if (
      until === published &&
      !(await woken(instance, { user, after: position, signal, lastAnswer }, ({ kinds }) => kinds.has('toDevice')))
    )
      return
  }
}

/**
 * The device has its messages up to this position: they go. Errors: as deviceOf(); M_INVALID_PARAM for a position that is not reached yet; 503
 * when they could not be removed.
 */
export async function acknowledgeMessages(instance: Instance, actor: Actor, { upTo }: { readonly upTo: number }): Promise<boolean> {
  const { user, deviceId } = deviceOf(actor)
  if (upTo > instance.bus.published) throw invalidParam(`upTo: ${upTo} is not reached yet`)
  await acknowledgeInbox(instance, user, deviceId, upTo)
  return true
}

export interface DeviceListChange extends DeviceLists {
  /** go on from here */
  readonly position: number
}

/** Whose keys the user must ask for again, and whose no more. Errors: as deviceOf(). */
export async function* watchDeviceLists(
  instance: Instance,
  actor: Actor,
  args: Watch,
  signal: AbortSignal,
): AsyncGenerator<DeviceListChange> {
  const { user } = deviceOf(actor)
  await syncingUser(instance, actor)
  let position = startOf(instance, args)
  let lastAnswer = 0
  for (;;) {
    const until = instance.bus.published
    const { changed, left } = await readListsBetween(instance, user, position, until)
    position = until
    if (changed.length + left.length > 0) {
      yield { position, changed, left }
      lastAnswer = instance.ports.now()
    }
    if (!(await woken(instance, { user, after: position, signal, lastAnswer }, ({ kinds }) => mayChangeLists((kind) => kinds.has(kind)))))
      return
  }
}

/** How many keys the device has left: as it is now, and whenever it changes. Errors: as deviceOf(). */
export async function* watchKeyCounts(instance: Instance, actor: Actor, signal: AbortSignal): AsyncGenerator<KeyCounts> {
  const place = deviceOf(actor)
  await syncingUser(instance, actor)
  let position = instance.bus.published
  yield readKeyCounts(instance, place.user, place.deviceId)
  for (let lastAnswer = instance.ports.now(); ; ) {
    if (!(await woken(instance, { user: place.user, after: position, signal, lastAnswer }, ({ kinds }) => kinds.has('keyCount')))) return
    const until = instance.bus.published
    const hasChanged = await haveCountsChanged(instance, place, { since: position, until })
    position = until
    if (!hasChanged) continue
    yield readKeyCounts(instance, place.user, place.deviceId)
    lastAnswer = instance.ports.now()
  }
}

/** What the device has left. Errors: as deviceOf(). */
export async function viewKeyCounts(instance: Instance, actor: Actor): Promise<KeyCounts> {
  const { user, deviceId } = deviceOf(actor)
  return readKeyCounts(instance, user, deviceId)
}

/**
 * Whose devices changed between two tokens of sync, as the user would have been told. Errors: M_INVALID_PARAM for other tokens.
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges
 */
export async function deviceListsBetween(
  instance: Instance,
  actor: Actor,
  args: { readonly from: string; readonly to: string },
): Promise<DeviceLists> {
  const from = Math.max(parseToken(args.from, 'from'), 0)
  const to = Math.min(parseToken(args.to, 'to'), instance.bus.published)
  const user = await syncingUser(instance, actor)
  return from < to ? readListsBetween(instance, user, from, to) : noDeviceLists
}
