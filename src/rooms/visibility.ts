/** Who may read a room, and which of its events. https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility */
import { type HistoryVisibility, maySee, parseHistoryVisibility } from '../rules/history-visibility.ts'
import type { Membership } from '../rules/room-view.ts'
import type { JsonObject } from '../rules/values.ts'
import type { EventRow, MembershipRow, RoomRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireUser } from '../users/users.ts'
import { checkPuppetRead } from './puppets.ts'
import { noSuchRoom } from './room-core.ts'

/** A room as somebody may read it. */
export interface Readable {
  readonly room: RoomRow
  /** key of the reader */
  readonly user: number
  /** the reader's row; null for who was never in it and reads a world_readable room */
  readonly membership: MembershipRow | null
  /** nothing behind this order is for the reader: the leave of who left, the published position for the others */
  readonly upTo: number
}

/**
 * The room, for who is joined, was joined and has not forgotten it, or anybody where it is world_readable.
 * Errors: M_FORBIDDEN for all others, in an unknown room as well; for a puppet in a room without a user of its appservice.
 */
export async function requireReadable(instance: Instance, actor: Actor, roomId: string): Promise<Readable> {
  const user = requireUser(actor)
  const published = instance.bus.published
  const room = await instance.storage.first('room', { roomId })
  if (!room) throw noSuchRoom(actor.userId)
  await checkPuppetRead(instance, actor, room.key)
  const membership = await instance.storage.first('membership', { room: room.key, user })
  if (membership?.membership === 'join') return { room, user, membership, upTo: published }
  if ((await currentVisibility(instance, room.key)) === 'world_readable') return { room, user, membership, upTo: published }
  if (membership && !membership.forgotten && (membership.membership === 'leave' || membership.membership === 'ban')) {
    const left = leftAt((await membershipHistories(instance, [membership])).get(room.key) ?? [])
    if (left !== null) return { room, user, membership, upTo: left }
  }
  throw noSuchRoom(actor.userId)
}

/**
 * The rows that a user may see, in their order; rows may be of several rooms. `memberships`: the user's rows by room key.
 * What came since the user joined costs no read.
 */
export async function visibleEvents(
  instance: Instance,
  rows: readonly EventRow[],
  memberships: ReadonlyMap<number, MembershipRow>,
): Promise<EventRow[]> {
  const unsure = new Set<number>()
  for (const row of rows) if (!isSinceJoin(row, memberships.get(row.room))) unsure.add(row.room)
  if (unsure.size === 0) return [...rows]

  const visibilities = await historyVisibilities(instance, [...unsure])
  const asked: MembershipRow[] = []
  for (const room of unsure) {
    const membership = memberships.get(room)
    // Who is joined sees all of a room that was never anything else than shared or world_readable.
    if (membership && !(membership.membership === 'join' && isOpen(visibilities.get(room) ?? []))) asked.push(membership)
  }
  const chains = await membershipHistories(instance, asked)
  return rows.filter((row) => {
    const membership = memberships.get(row.room)
    if (isSinceJoin(row, membership)) return true
    const visibility = visibilities.get(row.room) ?? []
    if (membership?.membership === 'join' && isOpen(visibility)) return true
    return maySeeRow(row.order, visibility, chains.get(row.room) ?? [])
  })
}

/** The same for the rows of one room. */
export function visibleTo(
  instance: Instance,
  _user: number,
  membership: MembershipRow | null,
  room: RoomRow,
  rows: readonly EventRow[],
): Promise<EventRow[]> {
  return visibleEvents(instance, rows, membership ? new Map([[room.key, membership]]) : new Map())
}

/** A value and the order from which on it holds. */
export interface Since<T> {
  readonly order: number
  readonly value: T
}

/** Oldest first. */
export type Chain<T> = readonly Since<T>[]

function isSinceJoin(row: EventRow, membership: MembershipRow | undefined): boolean {
  return membership?.membership === 'join' && row.order >= membership.since
}

function isOpen(visibility: Chain<HistoryVisibility>): boolean {
  return visibility.every(({ value }) => value === 'shared' || value === 'world_readable')
}

/** Prepended history lies before all that a chain tells: who may read the room's first live event may read it. */
function maySeeRow(order: number, visibility: Chain<HistoryVisibility>, memberships: Chain<Membership>): boolean {
  return maySee({
    visibility: before(visibility, order) ?? 'shared',
    membership: before(memberships, order) ?? null,
    joinedLater: memberships.some((entry) => entry.order > order && entry.value === 'join'),
    newVisibility: visibility.find((entry) => entry.order === order)?.value,
    newMembership: memberships.find((entry) => entry.order === order)?.value,
  })
}

function before<T>(chain: Chain<T>, order: number): T | undefined {
  return chain.findLast((entry) => entry.order < order)?.value
}

/** The order at which the last stay in the room ended, null for who never was in it. */
function leftAt(memberships: Chain<Membership>): number | null {
  const joined = memberships.findLastIndex(({ value }) => value === 'join')
  return joined === -1 ? null : (memberships[joined + 1]?.order ?? null)
}

async function currentVisibility(instance: Instance, room: number): Promise<HistoryVisibility> {
  return (await historyVisibilities(instance, [room])).get(room)?.at(-1)?.value ?? 'shared'
}

async function historyVisibilities(instance: Instance, rooms: readonly number[]): Promise<Map<number, Chain<HistoryVisibility>>> {
  const states = await instance.storage.find('state', { where: { room: { in: rooms }, type: 'm.room.history_visibility', stateKey: '' } })
  return lookBack(instance, states, parseHistoryVisibility)
}

/** All memberships of users, given their rows, by room: oldest first. */
export async function membershipHistories(instance: Instance, rows: readonly MembershipRow[]): Promise<Map<number, Chain<Membership>>> {
  return lookBack(instance, rows, (content) => content['membership'] as Membership)
}

/** For each room all values of one piece of state, by way of what each event replaced: as many reads as the longest chain is long. */
async function lookBack<T>(
  instance: Instance,
  latest: readonly { room: number; order: number }[],
  read: (content: JsonObject) => T,
): Promise<Map<number, Chain<T>>> {
  const chains = new Map<number, Since<T>[]>(latest.map(({ room }) => [room, []]))
  let places = latest
  while (places.length > 0) {
    const rows = await instance.storage.eventsAt(places)
    for (const row of rows) {
      const { content } = JSON.parse(row.json) as { content?: JsonObject }
      chains.get(row.room)?.unshift({ order: row.order, value: read(content ?? {}) })
    }
    places = rows.flatMap(({ room, replaces }) => (replaces === null ? [] : [{ room, order: replaces }]))
  }
  return chains
}
