/**
 * What a transaction says so that a bridge's users can encrypt without syncing: messages to their devices, whose devices changed, and how many
 * keys theirs have left. MSC2409 and MSC3202. https://spec.matrix.org/v1.19/application-service-api/#pushing-events
 */
import { readKeyCounts } from '../devices/key-counts.ts'
import type { JsonObject } from '../rules/values.ts'
import type { AppserviceRow, EventRow, ToDeviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { userIdsOf } from '../users/user-ids.ts'
import { deviceListChanges } from './device-list-changes.ts'
import type { Parts } from './transaction-parts.ts'

/** Messages to devices in one transaction. */
export const mostToDevice = 100
/** Devices of which one transaction says what they have left; more than positions are looked at for it. */
const mostCounts = 500

/** Whether its registration wants all this; see Registration.devicesInTransactions. */
export function hasDevicesInTransactions({ registration }: AppserviceRow): boolean {
  return (JSON.parse(registration) as JsonObject)['org.matrix.msc3202'] === true
}

/** The oldest messages to devices of its users between two positions. Each has a position of its own. */
export function toDeviceBetween(
  instance: Instance,
  appservice: number,
  position: { readonly gte: number; readonly lte: number },
  limit: number,
): Promise<ToDeviceRow[]> {
  return instance.storage.find('toDevice', { where: { appservice, position }, orderBy: ['position'], limit })
}

/** Bytes of a message in a transaction, where it stands under two names; besides its type and content there are three ids. */
export function toDeviceBytes({ type, content }: ToDeviceRow): number {
  return 2 * (Buffer.byteLength(type) + Buffer.byteLength(content) + 850)
}

/** Of what is in a transaction, what its further parts depend on. */
interface Content {
  readonly events: readonly EventRow[]
  readonly toDevice: readonly ToDeviceRow[]
  /** since where device lists or key counts changed; null: nowhere */
  readonly ofNoRoom: { readonly gte: number } | null
}

/** The parts of a transaction that holds this. `allCounts`: what all devices have left, and not only those that are concerned. */
export async function deviceParts(instance: Instance, appservice: AppserviceRow, content: Content, allCounts: boolean): Promise<Parts> {
  if (!hasDevicesInTransactions(appservice)) return {}
  const { toDevice, events, ofNoRoom } = content
  const { changed, left } = await deviceListChanges(instance, appservice, events)
  const devices = [...toDevice, ...(await devicesWithNewCounts(instance, appservice.key, ofNoRoom, allCounts))]
  const userIds = await userIdsOf(
    instance,
    devices.map(({ user }) => user),
  )
  return {
    to_device: toDevice.flatMap((row) => (userIds.has(row.user) ? messageText(row, userIds.get(row.user)!) : [])),
    device_lists: changed.length + left.length > 0 ? JSON.stringify({ changed, left }) : undefined,
    ...(await countParts(instance, devices, userIds)),
  }
}

function messageText({ type, sender, content, deviceId }: ToDeviceRow, userId: string): string {
  const [toType, from, to, device] = [type, sender, userId, deviceId].map((text) => JSON.stringify(text))
  return `{"type":${toType},"sender":${from},"content":${content},"to_user_id":${to},"to_device_id":${device}}`
}

interface Device {
  readonly user: number
  readonly deviceId: string
}

/** What changed again behind the end of the transaction is told with it, and once more. */
async function devicesWithNewCounts(
  instance: Instance,
  appservice: number,
  ofNoRoom: Content['ofNoRoom'],
  all: boolean,
): Promise<Device[]> {
  const find = (position: { gte: number } | null, orderBy: 'position' | '-position') =>
    instance.storage.keys('keyCount', { where: { appservice, ...(position && { position }) }, orderBy: [orderBy], limit: mostCounts })
  const changed = ofNoRoom ? await find({ gte: ofNoRoom.gte }, 'position') : []
  return all ? [...changed, ...(await find(null, '-position'))] : changed
}

/** user id → device id → what it has left. */
async function countParts(instance: Instance, devices: readonly Device[], userIds: ReadonlyMap<number, string>): Promise<Parts> {
  const counts = new Map<string, Map<string, string>>()
  const unusedFallback = new Map<string, Map<string, string>>()
  for (const { user, deviceId } of devices) {
    const userId = userIds.get(user)
    if (userId === undefined) continue
    const left = await readKeyCounts(instance, user, deviceId)
    set(counts, userId, deviceId, left.counts)
    set(unusedFallback, userId, deviceId, left.unusedFallback)
  }
  return { device_one_time_keys_count: nestedText(counts), device_unused_fallback_key_types: nestedText(unusedFallback) }
}

function set(nested: Map<string, Map<string, string>>, userId: string, deviceId: string, text: string): void {
  const ofUser = nested.get(userId) ?? new Map()
  nested.set(userId, ofUser.set(deviceId, text))
}

function nestedText(nested: ReadonlyMap<string, ReadonlyMap<string, string>>): string | undefined {
  if (nested.size === 0) return undefined
  const objectText = (members: Iterable<[string, string]>) =>
    `{${[...members].map(([key, text]) => `${JSON.stringify(key)}:${text}`).join()}}`
  return objectText([...nested].map(([userId, devices]) => [userId, objectText(devices)]))
}
