/** How far somebody has read rooms that become one, or one that becomes several, in the order that their events then have. */
import { inTurns, type Place, type Plan } from './merge-plan.ts'
import { type Spot, spotName } from './spot.ts'

/** Events of one room that go to the same part, in the order of that room. Ranks count from the newest of all, so older is higher. */
interface Strand {
  readonly orders: number[]
  readonly ranks: number[]
  /** of the events up to the one at the same place, the rank of the newest */
  readonly newest: number[]
  /** of that one and those behind it, the rank of the oldest */
  readonly oldest: number[]
}

export interface Ranks {
  /** by room and part */
  readonly strands: ReadonlyMap<string, Strand>
  /** of each part */
  readonly ranks: ReadonlyMap<number, readonly number[]>
  /** order of what a user sent last in a room: clients take sending for reading */
  readonly sent: ReadonlyMap<string, number>
  /** order of the first event of a room that is counted as unread for a user */
  readonly unread: ReadonlyMap<string, number>
}

/** Events in threads are left out: receipts of the main timeline may not name them. */
export async function rankPlaces({ places, marks }: Plan): Promise<Ranks> {
  const strands = new Map<string, Strand>()
  const ranks = new Map<number, number[]>()
  const sent = new Map<string, number>()
  const unread = new Map<string, number>()
  const entries: { place: Place; rank: number; room: number; order: number }[] = []
  for await (const [rank, place] of inTurns([...places.entries()])) for (const spot of place.spots) entries.push({ place, rank, ...spot })
  entries.sort((a, b) => a.order - b.order)
  for await (const { place, rank, room, order } of inTurns(entries)) {
    sent.set(`${room} ${place.sender}`, order)
    if (place.inThread) continue
    const name = `${room} ${place.part}`
    const strand = strands.get(name) ?? { orders: [], ranks: [], newest: [], oldest: [] }
    strands.set(name, strand)
    strand.orders.push(order)
    strand.ranks.push(rank)
    strand.newest.push(Math.min(rank, strand.newest.at(-1) ?? rank))
    for (const { user, thread } of marks.get(spotName({ room, order })) ?? []) {
      const key = `${room} ${user}`
      if (thread === '' && !unread.has(key)) unread.set(key, order)
    }
  }
  for (const strand of strands.values()) {
    let oldest = 0
    for (let i = strand.ranks.length - 1; i >= 0; i--) {
      oldest = Math.max(oldest, strand.ranks[i]!)
      strand.oldest[i] = oldest
    }
  }
  for (const [rank, { part, inThread }] of places.entries()) {
    if (inThread) continue
    const list = ranks.get(part ?? 0)
    if (list) list.push(rank)
    else ranks.set(part ?? 0, [rank])
  }
  return { strands, ranks, sent, unread }
}

/**
 * The newest event of a part up to which everything was read: none that was unread comes before it, even if something that was read comes behind
 * it. `read`: up to which order in which room. Null when the first is unread, or nothing was read.
 */
export function markerOf(
  plan: Plan,
  ranks: Ranks,
  rooms: readonly number[],
  part: number,
  user: number,
  read: readonly Spot[],
): Place | null {
  let newestRead = Number.POSITIVE_INFINITY
  let oldestUnread = -1
  for (const room of rooms) {
    const strand = ranks.strands.get(`${room} ${part}`)
    if (!strand) continue
    const upTo = read.find((spot) => spot.room === room)?.order
    const unread = ranks.unread.get(`${room} ${user}`)
    // Of a room without a receipt only what is counted as unread is known.
    if (upTo === undefined && unread === undefined) continue
    const end = upTo === undefined ? unread! - 1 : Math.max(upTo, ranks.sent.get(`${room} ${user}`) ?? upTo)
    const behind = firstIndex(strand.orders, (order) => order > end)
    if (upTo !== undefined && behind > 0) newestRead = Math.min(newestRead, strand.newest[behind - 1]!)
    if (behind < strand.orders.length) oldestUnread = Math.max(oldestUnread, strand.oldest[behind]!)
  }
  if (newestRead === Number.POSITIVE_INFINITY) return null
  const own = ranks.ranks.get(part) ?? []
  const rank = own[firstIndex(own, (each) => each >= newestRead && each > oldestUnread)]
  return rank === undefined ? null : plan.places[rank]!
}

/** Of a list in which all behind the first that it is true of are so as well; its length when there is none. */
function firstIndex(list: readonly number[], is: (value: number) => boolean): number {
  let [low, high] = [0, list.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (is(list[middle]!)) high = middle
    else low = middle + 1
  }
  return low
}
