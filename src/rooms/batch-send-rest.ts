/** What of a batch the room has already, and what of it is written: bridges that lost an answer send the batch again. */
import { invalidParam } from '../errors.ts'
import type { EventRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { saysSame } from './append.ts'
import type { PreparedEvent } from './batch-send-events.ts'
import type { Relation } from './relations.ts'
import type { RoomCore } from './room-core.ts'

/** The room's own reactions that the batch repeats under other ids, by these: a bridge draws new ones each time it sends a batch. */
export type Repeated = ReadonlyMap<string, EventRow>

/** A reaction is the same when the same sender gives the same key to the same event; one that was redacted stands no more. */
export async function readRepeated(
  instance: Instance,
  { key: room }: RoomCore,
  events: readonly PreparedEvent[],
  rows: ReadonlyMap<string, EventRow>,
): Promise<Repeated> {
  const ids = new Set(events.map(({ eventId }) => eventId))
  // What is new has no reactions yet.
  const mayStand = ({ eventId }: Relation) => rows.has(eventId) || !ids.has(eventId)
  const reactions = events.flatMap(({ type, eventId, sender, relation }) =>
    type === 'm.reaction' && relation && !rows.has(eventId) && mayStand(relation) ? { eventId, sender, relation } : [],
  )
  if (reactions.length === 0) return new Map()
  const { storage } = instance
  const users = await storage.find('user', { where: { userId: { in: [...new Set(reactions.map(({ sender }) => sender))] } } })
  const keys = new Map(users.map(({ userId, key }) => [userId, key]))
  const parents = [...new Set(reactions.map(({ relation }) => relation.eventId))]
  const there = await storage.find('relation', {
    where: { room, parent: { in: parents }, type: 'm.reaction', sender: { in: [...keys.values()] } },
    orderBy: ['-order'],
  })
  const say = (sender: number | undefined, parent: string, relType: string, key: string | null) =>
    JSON.stringify([sender, parent, relType, key])
  // The oldest, where there are several.
  const orders = new Map(there.map(({ sender, parent, relType, key, order }) => [say(sender, parent, relType, key), order]))
  const places = new Map<string, number>()
  for (const { eventId, sender, relation } of reactions) {
    const order = orders.get(say(keys.get(sender), relation.eventId, relation.relType, relation.key))
    if (order !== undefined) places.set(eventId, order)
  }
  const standing = await storage.eventsAt([...new Set(places.values())].map((order) => ({ room, order })))
  const byOrder = new Map(standing.map((row) => [row.order, row]))
  return new Map([...places].flatMap(([eventId, order]) => (byOrder.has(order) ? [[eventId, byOrder.get(order)!] as const] : [])))
}

/**
 * Indexes, ascending, of the events that the room does not have yet. A bridge that sends a batch again may have moved its window, so the room
 * may have all of it, or the part that the rest continues: the first events of a batch for the live end, the last ones of history, in the same
 * order. Reactions have no place in that order: they are made and taken back while the messages stay, so those that are new among what is there
 * belong to the rest. Errors: M_INVALID_PARAM where the room has others, or one that says something else; and for an id to be made beside them:
 * its event may be there as well.
 */
export function restOf(
  events: readonly PreparedEvent[],
  rows: ReadonlyMap<string, EventRow>,
  repeated: Repeated,
  forward: boolean,
): readonly number[] {
  const isReaction = ({ type }: PreparedEvent) => type === 'm.reaction'
  const isFixed = (event: PreparedEvent) => !isReaction(event) && rows.has(event.eventId)
  const first = events.findIndex(isFixed)
  const from = forward ? events.findLastIndex(isFixed) + 1 : 0
  const to = forward || first === -1 ? events.length : first
  const rest: number[] = []
  let last = Number.NEGATIVE_INFINITY
  for (const [i, event] of events.entries()) {
    if (repeated.has(event.eventId)) continue
    const row = rows.get(event.eventId)
    if (!event.hasId && rows.size > 0) {
      throw invalidParam('A part of the batch exists already; what comes without event_id may exist as well')
    }
    if (!row) {
      if (!isReaction(event) && (i < from || i >= to)) {
        throw invalidParam(`Only the ${forward ? 'first' : 'last'} events of the batch may exist already: see ${event.eventId}`)
      }
      rest.push(i)
      continue
    }
    if (!saysSame(row, event) || (event.hasTs && row.ts !== event.ts)) {
      throw invalidParam(`${event.eventId} exists already and says something else`)
    }
    if (isReaction(event)) continue
    if (row.order < last) throw invalidParam(`${event.eventId} exists already in another place`)
    last = row.order
  }
  return rest
}
