/** The rooms of a user as an inbox: newest activity first. */
import { invalidParam } from '../errors.ts'
import { readDirectRooms } from '../rooms/inbox-state.ts'
import type { Readable } from '../rooms/visibility.ts'
import type { MembershipRow, RoomRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { formatToken, parseToken } from '../stream/token.ts'
import type { Actor } from '../users/actor.ts'
import { requireUser } from '../users/users.ts'

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

export interface InboxPage {
  readonly rooms: readonly InboxRoom[]
  readonly hasNextPage: boolean
}

const usualPage = 20
const largestPage = 1_000
/** Rooms looked at together while a filter drops some. */
const slice = 200

/** Errors: M_INVALID_PARAM. */
export async function readInbox(
  instance: Instance,
  actor: Actor,
  args: { first?: number | null | undefined; after?: string | null | undefined; filter?: InboxFilter | null | undefined },
): Promise<InboxPage> {
  const user = requireUser(actor)
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

/** Rooms by key, as the inbox shows them; those that the user is not in any more are left out. */
export async function readInboxRooms(instance: Instance, actor: Actor, keys: readonly number[] | null): Promise<InboxRoom[]> {
  const user = requireUser(actor)
  if (keys === null) return (await readInbox(instance, actor, { first: largestPage })).rooms as InboxRoom[]
  const last = await instance.storage.lastEvents(keys, { after: null, until: instance.bus.published, limit: 1 })
  return roomsOf(
    instance,
    user,
    keys.map((room) => ({ room, order: last.get(room)?.[0]?.order ?? 0 })),
  )
}

export function inboxCursor(room: InboxRoom): string {
  return formatToken(room.activity)
}

/** Rooms that the user is invited to, newest first. */
export async function readInvitations(instance: Instance, actor: Actor): Promise<Readable[]> {
  const user = requireUser(actor)
  const memberships = await instance.storage.find('membership', {
    where: { user, membership: 'invite' },
    orderBy: ['-order'],
    limit: largestPage,
  })
  const rooms = await rowsByKey(
    instance,
    memberships.map(({ room }) => room),
  )
  return memberships.flatMap((membership) => {
    const room = rooms.get(membership.room)
    return room ? [{ room, user, membership, upTo: membership.order }] : []
  })
}

async function roomsOf(instance: Instance, user: number, found: readonly { room: number; order: number }[]): Promise<InboxRoom[]> {
  const rooms = await rowsByKey(
    instance,
    found.map(({ room }) => room),
  )
  const memberships = new Map<number, MembershipRow>()
  for (const row of await instance.storage.membersAt(found.map(({ room }) => ({ room, user })))) memberships.set(row.room, row)
  return found.flatMap(({ room: key, order }) => {
    const room = rooms.get(key)
    const membership = memberships.get(key)
    return room && membership?.membership === 'join' ? [{ room, user, membership, upTo: instance.bus.published, activity: order }] : []
  })
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
