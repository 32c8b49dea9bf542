/** The rooms that two users are both joined to. https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { invalidParam } from '../errors.ts'
import { isUserId } from '../rules/event-limits.ts'
import type { MembershipRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireUser } from '../users/users.ts'
import type { Readable } from './visibility.ts'

const largestPage = 100
/** Memberships looked at in one go: the owner may have thousands, and others wait meanwhile. */
const slice = 500

export interface MutualRoomsArgs {
  readonly userId: string
  readonly first?: number | null | undefined
  /** cursor of the last room of an earlier page */
  readonly after?: string | null | undefined
  readonly last?: number | null | undefined
  readonly before?: string | null | undefined
}

export interface MutualRooms {
  /** in the order in which they were made; one that is joined later may lie before `after` */
  readonly rooms: readonly Readable[]
  /** of all pages */
  readonly count: number
  readonly hasNextPage: boolean
}

/** None with somebody who does not exist, so nobody learns who does. Errors: M_INVALID_PARAM for oneself, no user id and a bad page. */
export async function mutualRooms(instance: Instance, actor: Actor, args: MutualRoomsArgs): Promise<MutualRooms> {
  const user = requireUser(actor)
  if (!isUserId(args.userId)) throw invalidParam(`${args.userId} is not a user ID`)
  if (args.userId === actor.userId) throw invalidParam('You cannot ask for rooms in common with yourself')
  if (typeof args.last === 'number' || args.before) throw invalidParam('Rooms in common are paged with first and after')
  const first = args.first ?? largestPage
  if (first < 1 || first > largestPage) throw invalidParam(`A page has 1 to ${largestPage} rooms`)
  const after = args.after ? parseCursor(args.after) : 0

  const other = await instance.storage.first('user', { userId: args.userId })
  const rooms: Readable[] = []
  let count = 0
  let hasNextPage = false
  for await (const room of other ? roomsOfBoth(instance, user, other.key) : []) {
    count++
    if (room.room.key <= after) continue
    if (rooms.length < first) rooms.push(room)
    else hasNextPage = true
  }
  return { rooms, count, hasNextPage }
}

/** Of letters and digits only, as the specification wants an opaque identifier. */
export function mutualRoomCursor({ room }: Readable): string {
  return `r${room.key}`
}

function parseCursor(cursor: string): number {
  if (!/^r[1-9]\d{0,14}$/.test(cursor)) throw invalidParam(`${cursor} is not a token of rooms in common`)
  return Number(cursor.slice(1))
}

/** In the order of their keys, as `user` reads them. The rooms of whoever has fewer are gone through: a ghost has few, the owner many. */
async function* roomsOfBoth(instance: Instance, user: number, other: number): AsyncGenerator<Readable> {
  const { storage } = instance
  const upTo = instance.bus.published
  const pageOf = (key: number, after: number): Promise<MembershipRow[]> =>
    storage.find('membership', { where: { user: key, membership: 'join', room: { gt: after } }, orderBy: ['room'], limit: slice })
  const [mine, theirs] = await Promise.all([pageOf(user, 0), pageOf(other, 0)])
  const [walked, met] = mine.length < theirs.length ? [user, other] : [other, user]
  for (let page = walked === user ? mine : theirs; ; page = await pageOf(walked, page.at(-1)!.room)) {
    const there = (await storage.membersAt(page.map(({ room }) => ({ room, user: met })))).filter(({ membership }) => membership === 'join')
    const own = new Map((walked === user ? page : there).map((row) => [row.room, row]))
    // A deleted room has no row, while its memberships wait to be reclaimed.
    const rooms = await storage.find('room', { where: { key: { in: there.map(({ room }) => room) } }, orderBy: ['key'] })
    for (const room of rooms) yield { room, user, membership: own.get(room.key)!, upTo }
    if (page.length < slice) return
    await nextTurn()
  }
}
