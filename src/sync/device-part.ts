/**
 * What a device is told besides rooms: messages to it, whose devices changed, and how many keys it has left to hand out.
 * https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption
 */
import { inboxMark, readInbox } from '../devices/inbox.ts'
import { readKeyCounts } from '../devices/key-counts.ts'
import { type DeviceLists, noDeviceLists, readDeviceLists } from '../devices/room-mates.ts'
import type { EventFilter } from '../rules/filter.ts'
import type { ToDeviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { type Changes, rememberedChanges } from './changes.ts'

/** "The server should limit the number of to-device messages to 100 per response." */
export const mostMessages = 100

/** A device, whose user it is by key. */
export interface DevicePlace {
  readonly user: number
  readonly deviceId: string
}

export interface Messages {
  /** oldest first */
  readonly messages: readonly ToDeviceRow[]
  /** where the answer must end: at the last of them when more may come, so that no event overtakes its keys */
  readonly until: number
}

/** What waits for a device behind `after` (null: from the first on), as far as the filter wants it. Reads nothing when nothing can be there. */
export async function readMessages(
  instance: Instance,
  { user, deviceId }: DevicePlace,
  { after, until, wants }: { readonly after: number | null; readonly until: number; readonly wants?: EventFilter | undefined },
): Promise<Messages> {
  const limit = Math.min(wants?.limit ?? mostMessages, mostMessages)
  const messages: ToDeviceRow[] = []
  if (wants?.nothing || limit === 0) return { messages, until }
  for (let from = after; ; ) {
    const newest = inboxMark(instance, user, deviceId)
    if (newest !== null && newest <= (from ?? 0)) return { messages, until }
    const rows = await readInbox(instance, user, deviceId, { after: from, until, limit: mostMessages })
    for (const row of rows) {
      if (wants?.matches({ type: row.type, sender: row.sender }) === false) continue
      messages.push(row)
      if (messages.length === limit) return { messages, until: row.position }
    }
    if (rows.length < mostMessages) return { messages, until }
    from = rows.at(-1)!.position
  }
}

/** What a user is told of other people's devices, and of their own, between two positions. */
export async function readListsBetween(instance: Instance, user: number, since: number, until: number): Promise<DeviceLists> {
  const changes = rememberedChanges(instance, user, since, until)
  if (changes && !mayChangeLists(changes.has)) return noDeviceLists
  // Nobody knows whose memberships changed meanwhile: all rooms are looked at.
  const rooms = changes
    ? changes.rooms.filter((room) => changes.mayHave(room, 'membership'))
    : (await instance.storage.keys('membership', { where: { user } })).map(({ room }) => room)
  return readDeviceLists(instance, user, { since, until, rooms, has: (kind) => changes?.has(kind) ?? true })
}

export function mayChangeLists(has: Changes['has']): boolean {
  return has('deviceList') || has('membership') || has('departure')
}

/** Whether the device has more or fewer keys to hand out than before: what concerns another device of the user is no news to it. */
export async function haveCountsChanged(
  { storage }: Instance,
  { user, deviceId }: DevicePlace,
  { since, until }: { readonly since: number; readonly until: number },
): Promise<boolean> {
  const row = await storage.first('keyCount', { user, deviceId })
  return row !== null && row.position > since && row.position <= until
}

/** The keys of an answer with commas before, as JSON text. The counts are in every one: clients take a missing count for "as before". */
export async function devicePart(
  instance: Instance,
  { user, deviceId }: DevicePlace,
  messages: readonly ToDeviceRow[] = [],
  { changed, left }: DeviceLists = noDeviceLists,
): Promise<string> {
  const { counts, unusedFallback } = await readKeyCounts(instance, user, deviceId)
  let text = ''
  if (messages.length > 0) text += `,"to_device":{"events":[${messages.map(messageText).join()}]}`
  if (changed.length + left.length > 0) text += `,"device_lists":${JSON.stringify({ changed, left })}`
  return `${text},"device_one_time_keys_count":${counts},"device_unused_fallback_key_types":${unusedFallback}`
}

function messageText({ type, sender, content }: ToDeviceRow): string {
  return `{"type":${JSON.stringify(type)},"sender":${JSON.stringify(sender)},"content":${content}}`
}
