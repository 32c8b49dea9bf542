/** The rooms of a user as an inbox, newest activity first, and what changes in it. */
import { invalidParam } from '../errors.ts'
import { readDirectRooms } from '../rooms/inbox-state.ts'
import type { Readable } from '../rooms/visibility.ts'
import type { MembershipRow, RoomRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { lastEvents } from '../stream/recent-events.ts'
import { formatToken, parseToken } from '../stream/token.ts'
import { type AccountData, readAccountData } from '../users/account-data.ts'
import type { Actor } from '../users/actor.ts'
import { requireUser } from '../users/users.ts'
import { ignoredKeys, wantsInvitations } from './account-data.ts'
import type { Changes } from './changes.ts'

export interface InboxFilter {
  /** only rooms with something unread, or marked as unread */
  readonly unread?: boolean | null | undefined
  /** only rooms with this tag, such as m.favourite */
  readonly tag?: string | null | undefined
  readonly direct?: boolean | null | undefined
  /** id of a bridge: only rooms that it made */
  readonly bridge?: string | null | undefined
}

export interface InboxRoom extends Readable {
  /** order of its newest event */
  readonly activity: number
}

export interface InboxPageArgs {
  readonly first?: number | null | undefined
  readonly after?: string | null | undefined
  readonly last?: number | null | undefined
  readonly before?: string | null | undefined
  readonly filter?: InboxFilter | null | undefined
}

export interface InboxPage {
  readonly rooms: readonly InboxRoom[]
  readonly hasNextPage: boolean
}

const usualPage = 20
const largestPage = 1_000
/** Rooms looked at together while a filter drops some. */
const slice = 200
/** Rooms of one change: whoever listens asks for several fields of each. */
const roomsPerChange = 50

/** Errors: M_INVALID_PARAM. */
export async function readInbox(instance: Instance, actor: Actor, args: InboxPageArgs): Promise<InboxPage> {
  const user = requireUser(actor)
  // Relay has them in every connection; an inbox has no end to begin at.
  if (typeof args.last === 'number' || args.before) throw invalidParam('An inbox is paged with first and after')
  const first = args.first ?? usualPage
  if (first < 1 || first > largestPage) throw invalidParam(`A page has 1 to ${largestPage} rooms`)
  const wants = await compileFilter(instance, user, args.filter ?? {})
  const rooms: InboxRoom[] = []
  let before = args.after ? parseToken(args.after, 'after') : undefined
  for (;;) {
    const found = await instance.storage.roomsByActivity(user, { limit: slice, ...(before === undefined ? {} : { before }) })
    for (const room of await roomsOf(instance, user, found)) {
      if (!wants(room)) continue
      if (rooms.length === first) return { rooms, hasNextPage: true }
      rooms.push(room)
    }
    if (found.length < slice) return { rooms, hasNextPage: false }
    before = found.at(-1)!.order
  }
}

export function inboxCursor(room: InboxRoom): string {
  return formatToken(room.activity)
}

/** Rooms that the user is invited to, newest first; not by somebody whom they ignore, nor when they want no invitations. */
export async function readInvitations(instance: Instance, actor: Actor): Promise<Readable[]> {
  const user = requireUser(actor)
  const memberships = await instance.storage.find('membership', {
    where: { user, membership: 'invite' },
    orderBy: ['-order'],
    limit: largestPage,
  })
  return showRooms(instance, user, memberships, new Map())
}

export interface InboxChange {
  /** go on from here */
  readonly position: number
  /** joined, invited and knocked at, newest activity first */
  readonly rooms: readonly InboxRoom[]
  /** ids of rooms that the user is not in any more */
  readonly left: readonly string[]
  /** global account data */
  readonly accountData: readonly AccountData[]
}

/**
 * What changed, a slice of rooms at a time, each read when it is asked for. Only the last slice says `until`: who is cut before it gets all of
 * them again. Nothing when none of it is for an inbox.
 */
export async function* readInboxChanges(
  instance: Instance,
  actor: Actor,
  changes: Changes,
  { since, until }: { readonly since: number; readonly until: number },
): AsyncGenerator<InboxChange> {
  const user = requireUser(actor)
  const accountData = changes.has('accountData') ? await changedAccountData(instance, actor, since, until) : []
  const { storage } = instance
  const [last, memberships, departures] = await Promise.all([
    lastEvents(instance, changes.rooms, { after: null, until, limit: 1 }),
    storage.membersAt(changes.rooms.map((room) => ({ room, user }))),
    changes.has('departure') ? storage.find('departure', { where: { user, position: { gt: since, lte: until } } }) : [],
  ])
  const activity = (room: number): number => last.get(room)?.[0]?.order ?? 0
  const current = memberships.filter(isInInbox).sort((a, b) => activity(b.room) - activity(a.room))
  const gone = await rowsByKey(
    instance,
    memberships.filter((row) => !isInInbox(row)).map(({ room }) => room),
  )
  const left = new Set([...[...gone.values()].map(({ roomId }) => roomId), ...departures.map(({ roomId }) => roomId)])
  let pending: Omit<InboxChange, 'position' | 'left'> = { rooms: [], accountData }
  for (let i = 0; i < current.length; i += roomsPerChange) {
    if (i > 0) {
      yield { ...pending, position: since, left: [] }
      pending = { rooms: [], accountData: [] }
    }
    const places = current.slice(i, i + roomsPerChange).map(({ room }) => ({ room, user }))
    // Read anew: the slices before may have taken their reader long.
    const rooms = await showRooms(
      instance,
      user,
      await storage.membersAt(places),
      new Map(places.map(({ room }) => [room, activity(room)])),
    )
    // A room that is gone may have come back under its name.
    for (const { room } of rooms) left.delete(room.roomId)
    pending = { ...pending, rooms: rooms.sort((a, b) => b.activity - a.activity) }
  }
  if (pending.rooms.length + pending.accountData.length + left.size > 0) yield { ...pending, position: until, left: [...left] }
}

async function changedAccountData(instance: Instance, actor: Actor, since: number, until: number): Promise<AccountData[]> {
  const where = { user: requireUser(actor), room: 0, position: { gt: since, lte: until } }
  const rows = await instance.storage.find('accountData', { where, orderBy: ['position'] })
  return Promise.all(
    rows.map(async ({ type }) => ({ type, content: await readAccountData(instance, actor, { userId: actor.userId, type }) })),
  )
}

function isInInbox({ membership, forgotten }: MembershipRow): boolean {
  return !forgotten && (membership === 'join' || membership === 'invite' || membership === 'knock')
}

/** The rooms of these memberships; without `activity` that is when the membership came about. */
async function showRooms(
  instance: Instance,
  user: number,
  memberships: readonly MembershipRow[],
  activity: ReadonlyMap<number, number>,
): Promise<InboxRoom[]> {
  const rooms = await rowsByKey(
    instance,
    memberships.map(({ room }) => room),
  )
  const invited = memberships.some(({ membership }) => membership === 'invite')
  const [wanted, ignored] = invited
    ? await Promise.all([wantsInvitations(instance, user), ignoredKeys(instance, user)])
    : [true, new Set<number>()]
  return memberships.flatMap((membership) => {
    const room = rooms.get(membership.room)
    if (!room || !isInInbox(membership)) return []
    if (membership.membership === 'invite' && (!wanted || ignored.has(membership.sender))) return []
    const joined = membership.membership === 'join'
    const upTo = joined ? instance.bus.published : membership.order
    return [{ room, user, membership, upTo, activity: (joined ? activity.get(room.key) : undefined) ?? membership.order }]
  })
}

async function roomsOf(instance: Instance, user: number, found: readonly { room: number; order: number }[]): Promise<InboxRoom[]> {
  const memberships = await instance.storage.membersAt(found.map(({ room }) => ({ room, user })))
  const joined = memberships.filter(({ membership }) => membership === 'join')
  const rooms = await showRooms(instance, user, joined, new Map(found.map(({ room, order }) => [room, order])))
  return rooms.sort((a, b) => b.activity - a.activity)
}

async function rowsByKey(instance: Instance, keys: readonly number[]): Promise<Map<number, RoomRow>> {
  const rows = keys.length > 0 ? await instance.storage.find('room', { where: { key: { in: keys } } }) : []
  return new Map(rows.map((row) => [row.key, row]))
}

async function compileFilter(instance: Instance, user: number, filter: InboxFilter): Promise<(room: InboxRoom) => boolean> {
  const tests: ((room: InboxRoom) => boolean)[] = []
  if (typeof filter.direct === 'boolean') {
    const direct = await readDirectRooms(instance, user)
    tests.push(({ room }) => direct.has(room.roomId) === filter.direct)
  }
  if (typeof filter.unread === 'boolean') {
    const unread = new Set((await instance.storage.unreadCounts(user)).filter((row) => row.notify > 0).map((row) => row.room))
    for (const room of await roomsWith(instance, user, 'm.marked_unread', (content) => content['unread'] === true)) unread.add(room)
    tests.push(({ room }) => unread.has(room.key) === filter.unread)
  }
  const { tag } = filter
  if (tag) {
    const tagged = await roomsWith(
      instance,
      user,
      'm.tag',
      ({ tags }) => typeof tags === 'object' && tags !== null && Object.hasOwn(tags, tag),
    )
    tests.push(({ room }) => tagged.has(room.key))
  }
  if (filter.bridge) {
    const bridge = await instance.storage.first('appservice', { id: filter.bridge })
    tests.push(({ room }) => bridge !== null && room.appservice === bridge.key)
  }
  return (room) => tests.every((test) => test(room))
}

async function roomsWith(
  instance: Instance,
  user: number,
  type: string,
  holds: (content: Record<string, unknown>) => boolean,
): Promise<Set<number>> {
  const rows = await instance.storage.find('accountData', { where: { user, type } })
  return new Set(rows.filter((row) => holds(JSON.parse(row.content) as Record<string, unknown>)).map((row) => row.room))
}
