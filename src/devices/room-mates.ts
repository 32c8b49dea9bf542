/**
 * Of whose devices somebody is told: of users with keys who share a room with them. Decided by the memberships at the moment of reading; what is
 * newer than the window is told again in the next one, so nobody is passed over.
 * https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { stateEventsAt } from '../rooms/look-back.ts'
import type { MembershipRow } from '../storage/tables.ts'
import type { Kind } from '../stream/bus.ts'
import type { Instance } from '../stream/instance.ts'
import { userIdsOf } from '../users/user-ids.ts'
import { readOwnChanges } from './device-lists.ts'
import { membershipsTogether, type Slice, slicesByUsers, slicesOf } from './room-slices.ts'

/** Users with all their rooms that are looked at together, in a few milliseconds. */
const usersTogether = 16

/** User ids. */
export interface DeviceLists {
  /** whose keys must be asked for again */
  readonly changed: readonly string[]
  /** with whom no room is shared any more */
  readonly left: readonly string[]
}

export const noDeviceLists: DeviceLists = { changed: [], left: [] }

export interface DeviceListWindow {
  readonly since: number
  readonly until: number
  /** keys of the user's rooms whose members may have changed, also of those that the user left */
  readonly rooms: readonly number[]
  /** false: nothing of the kind happened */
  has(kind: Kind): boolean
}

/**
 * What a user is told: themselves and room-mates whose devices or cross-signing keys changed; with whom a room began to be shared; with whom the
 * last one ended. A room is shared by who is joined with who is joined or invited: clients encrypt for both.
 */
export async function readDeviceLists(instance: Instance, user: number, window: DeviceListWindow): Promise<DeviceLists> {
  const { since, until } = window
  const { storage } = instance
  const changed = new Set<number>()
  const unsure = new Set<number>()
  const apart = new Set<number>()
  if (window.has('deviceList')) {
    const rows = await storage.find('deviceListChange', { where: { position: { gt: since, lte: until } } })
    for (const row of rows) (row.user === user ? changed : unsure).add(row.user)
    for (const key of await readOwnChanges(instance, user, { after: since, until })) changed.add(key)
  }
  for await (const slice of slicesOf(instance, window.rooms)) {
    const pairs = await readPairs(instance, user, slice)
    for (const pair of pairs) if (isShared(pair) && isWithin(beginOf(pair), window)) changed.add(pair.theirs.user)
    for (const key of await endedSince(instance, user, pairs, since)) apart.add(key)
  }
  if (window.has('departure')) for (const key of await departedWith(instance, user, window)) apart.add(key)
  const sharing = await sharingAny(
    instance,
    user,
    [...new Set([...unsure, ...apart])].filter((key) => !changed.has(key)),
  )
  for (const key of unsure) if (sharing.has(key) && (await sharedBy(instance, user, key, until))) changed.add(key)
  const left = [...apart].filter((key) => !changed.has(key) && !sharing.has(key))
  if (changed.size + left.length === 0) return noDeviceLists
  const ids = await userIdsOf(instance, [...changed, ...left])
  return { changed: [...changed].flatMap((key) => ids.get(key) ?? []), left: left.flatMap((key) => ids.get(key) ?? []) }
}

/** The user's membership of a room and that of somebody with keys. */
interface Pair {
  readonly mine: MembershipRow
  readonly theirs: MembershipRow
}

async function readPairs({ storage }: Instance, user: number, { rooms, by }: Slice): Promise<Pair[]> {
  const [members, own] = await Promise.all([storage.membersWithKeys(rooms, by), storage.membersAt(rooms.map((room) => ({ room, user })))])
  const mineIn = new Map(own.map((row) => [row.room, row]))
  return members.flatMap((theirs) => {
    const mine = mineIn.get(theirs.room)
    return mine && theirs.user !== user ? [{ mine, theirs }] : []
  })
}

function isShared({ mine, theirs }: Pair): boolean {
  return areTogether(mine.membership, theirs.membership)
}

function areTogether(mine: unknown, theirs: unknown): boolean {
  return mine === 'join' && (theirs === 'join' || theirs === 'invite')
}

/** Their keys may have changed while the two did not share the room. */
function beginOf({ mine, theirs }: Pair): number {
  return Math.max(mine.since, theirs.since)
}

function isWithin(position: number, { since, until }: DeviceListWindow): boolean {
  return position > since && position <= until
}

/** Keys of those who shared one of the rooms at `since` and do not now. */
async function endedSince(instance: Instance, user: number, pairs: readonly Pair[], since: number): Promise<number[]> {
  const now = pairs.filter((pair) => !isShared(pair) && Math.max(pair.mine.order, pair.theirs.order) > since)
  if (now.length === 0) return []
  const ids = await userIdsOf(instance, [user, ...now.map(({ theirs }) => theirs.user)])
  const places = new Set(now.flatMap(({ mine, theirs }) => [mine, theirs]))
  const before = new Map<string, unknown>()
  for (const event of await stateEventsAt(instance.storage, [...places], () => since)) {
    const { content } = JSON.parse(event.json) as { content?: { membership?: unknown } }
    before.set(`${event.room} ${event.stateKey}`, content?.membership)
  }
  const then = ({ room, user: key }: MembershipRow) => before.get(`${room} ${ids.get(key)}`)
  return now.filter(({ mine, theirs }) => areTogether(then(mine), then(theirs))).map(({ theirs }) => theirs.user)
}

/** Keys of those who were in a room of the user's that was deleted. Who was in it is known from what deleting left of it. */
async function departedWith(instance: Instance, user: number, { since, until }: DeviceListWindow): Promise<number[]> {
  const departures = await instance.storage.find('departure', { where: { user, position: { gt: since, lte: until } } })
  const rooms = departures.map(({ room }) => room)
  const others: number[] = []
  for await (const slice of slicesByUsers(instance, rooms)) others.push(...(await instance.storage.departedWithKeys(user, slice)))
  return others
}

async function sharingAny({ storage }: Instance, user: number, others: readonly number[]): Promise<Set<number>> {
  const sharing = new Set<number>()
  for (let i = 0; i < others.length; i += usersTogether) {
    if (i > 0) await nextTurn()
    for (const key of await storage.sharingRooms(user, others.slice(i, i + usersTogether))) sharing.add(key)
  }
  return sharing
}

/**
 * Whether two who share a room did when the window ended. Where that began later it is told next time: told now, and over by then, nobody would
 * say that it ended.
 */
async function sharedBy({ storage, position }: Instance, user: number, other: number, until: number): Promise<boolean> {
  // Nothing is newer, nor on its way to the disk.
  if (position <= until) return true
  const where = { user: other, membership: { in: ['join', 'invite'] }, since: { lte: until } }
  const places = (await storage.keys('membership', { where })).map(({ room }) => ({ room, user }))
  for (let i = 0; i < places.length; i += membershipsTogether) {
    await nextTurn()
    const own = await storage.membersAt(places.slice(i, i + membershipsTogether))
    const key = { in: own.filter(({ membership, since }) => membership === 'join' && since <= until).map(({ room }) => room) }
    // A deleted room's memberships wait to be reclaimed.
    if ((await storage.keys('room', { where: { key }, limit: 1 })).length > 0) return true
  }
  return false
}
