/** Whose devices a bridge must look at anew: of those with whom one of its own users with keys shares a room. MSC3202. */
import { type DeviceLists, type DeviceListWindow, noDeviceLists, readDeviceLists } from '../devices/room-mates.ts'
import { slicesOf } from '../devices/room-slices.ts'
import type { AppserviceRow, EventRow, MembershipRow } from '../storage/tables.ts'
import type { Kind } from '../stream/bus.ts'
import type { Instance } from '../stream/instance.ts'
import { userIdsOf } from '../users/user-ids.ts'

/** Own users with keys, usually the bot alone, for each of whom it is found out exactly. */
const mostUsers = 50
/** Of each list; a homeserver of one person has not nearly as many users with keys. */
const mostListed = 5_000

/**
 * What changed behind the cursor, for a transaction with these events. What is newer than its end may be told too, and is told again: between a
 * change and a later one that replaced it there may be a message that needs the first.
 */
export async function deviceListChanges(
  instance: Instance,
  { key, cursor }: Pick<AppserviceRow, 'key' | 'cursor'>,
  events: readonly EventRow[],
): Promise<DeviceLists> {
  const entries = instance.bus.since(cursor)
  const has = (kind: Kind) => entries === null || entries.some(({ kinds }) => kinds.has(kind))
  const rooms = [...new Set(events.filter(({ type }) => type === 'm.room.member').map(({ room }) => room))]
  if (rooms.length === 0 && !has('deviceList') && !has('departure')) return noDeviceLists
  const own = await ownUsersWithKeys(instance, key)
  if (own === null) return everybody(instance, cursor, rooms)
  return exactly(instance, own, { since: cursor, until: Number.MAX_SAFE_INTEGER, rooms, has })
}

/** Also those who have nothing to hand out: who only sends must know for whom. Null: very many. */
async function ownUsersWithKeys({ storage }: Instance, appservice: number): Promise<readonly number[] | null> {
  const withKeys = await storage.keys('deviceListChange', { where: {}, limit: mostListed + 1 })
  if (withKeys.length > mostListed) return null
  const user = { in: withKeys.map((row) => row.user) }
  const own = await storage.keys('user', { where: { appservice, key: user }, limit: mostUsers + 1 })
  return own.length > mostUsers ? null : own.map((row) => row.key)
}

async function exactly(instance: Instance, own: readonly number[], window: DeviceListWindow): Promise<DeviceLists> {
  const lists: DeviceLists[] = []
  for (const user of own) lists.push(await readDeviceLists(instance, user, window))
  const changed = new Set(lists.flatMap((each) => each.changed))
  const left = new Set(lists.flatMap((each) => each.left))
  for (const userId of changed) left.delete(userId)
  return { changed: [...changed].slice(0, mostListed), left: (await apart(instance, own, [...left])).slice(0, mostListed) }
}

/** Those with whom none of its users shares a room: of them one user's list says that a room ended, and another's nothing. */
async function apart({ storage }: Instance, own: readonly number[], left: readonly string[]): Promise<string[]> {
  if (left.length === 0 || own.length === 1) return [...left]
  const users = await storage.find('user', { where: { userId: { in: left } } })
  const keys = users.map(({ key }) => key)
  const sharing = new Set((await Promise.all(own.map((user) => storage.sharingRooms(user, keys)))).flat())
  return users.filter(({ key }) => !sharing.has(key)).map(({ userId }) => userId)
}

/** A bridge with many encrypting users is told of all: to ask for keys once too often is harmless. */
async function everybody(instance: Instance, cursor: number, rooms: readonly number[]): Promise<DeviceLists> {
  const { storage } = instance
  const [changes, members] = await Promise.all([
    storage.find('deviceListChange', { where: { position: { gt: cursor } }, orderBy: ['position'], limit: mostListed }),
    membersOf(instance, rooms),
  ])
  const ids = await userIdsOf(instance, [...new Set([...changes, ...members].map(({ user }) => user))])
  return { changed: [...ids.values()].slice(0, mostListed), left: [] }
}

async function membersOf(instance: Instance, rooms: readonly number[]): Promise<MembershipRow[]> {
  const members: MembershipRow[] = []
  for await (const slice of slicesOf(instance, rooms)) members.push(...(await instance.storage.membersWithKeys(slice.rooms, slice.by)))
  return members
}
