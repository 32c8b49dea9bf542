/**
 * A batch of history, or of what a bridge missed: `com.beeper.backfill`. Forward, it is added at the room's live end; else it takes the
 * numbers below the room's lowest, where only those who page back find it. One change set: all of it or nothing.
 */
import { forbidden } from '../errors.ts'
import { checkRedaction } from '../rules/auth.ts'
import { redactEvent } from '../rules/redaction.ts'
import type { JsonObject } from '../rules/values.ts'
import type { EventRow, RoomRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { Missing } from '../stream/memory.ts'
import type { Actor } from '../users/actor.ts'
import { registrations } from '../users/registrations.ts'
import { userOf } from '../users/users.ts'
import {
  type BatchEvent,
  isStale,
  type Known,
  type PreparedEvent,
  prepareEvents,
  type Rest,
  readKnown,
  readRepeated,
  restOf,
} from './batch-send-events.ts'
import { notifyUsers } from './notifications.ts'
import { speaker } from './puppets.ts'
import { markReadTo } from './receipts.ts'
import { emptyEvent } from './redact.ts'
import { writeRelation } from './relations.ts'
import { coreOf, findEvent, joinedSyncers, type RoomCore, roomOf, setCore, throwRefusal, viewOf } from './room-core.ts'

export interface BatchSend {
  readonly roomId: string
  /** oldest first */
  readonly events: readonly BatchEvent[]
  /** at the live end */
  readonly forward?: boolean | null | undefined
  /** at the live end of a room that has no messages, else before its first event */
  readonly forwardIfNoMessages?: boolean | null | undefined
  /** forward only: the newest message may notify */
  readonly sendNotification?: boolean | null | undefined
  /** this user has read the batch to its end */
  readonly markReadBy?: string | null | undefined
}

/**
 * The ids of the events, in their order. What the room has already is not written again: all of the batch, which then changes nothing, or what
 * the rest continues. Errors: M_FORBIDDEN unless an appservice asks for a room with a user of it and for senders that it may speak for,
 * M_TOO_LARGE, M_INVALID_PARAM for a batch that otherwise exists in part or differs.
 */
export async function batchSend(instance: Instance, actor: Actor, args: BatchSend): Promise<{ eventIds: string[] }> {
  const { appservice } = actor
  if (appservice === null) throw forbidden('Only an appservice may send a batch')
  const events = await prepareEvents(instance, args.roomId, args.events)
  const eventIds = events.map(({ eventId }) => eventId)
  const givenIds = events.flatMap(({ hasId, eventId }) => (hasId ? eventId : []))
  const ifEmpty = args.forwardIfNoMessages === true && !args.forward
  let known: Known | null = null
  let isRepeated: (event: PreparedEvent) => boolean = () => false
  const learn = async (core: RoomCore, lowest: number): Promise<void> => {
    const read = await readKnown(instance, core, lowest, givenIds, ifEmpty)
    isRepeated = await readRepeated(instance, core, events, read.rows)
    known = read
  }
  return command(instance, (decision) => {
    const room = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, room)
    if ((core.appservices.get(appservice) ?? 0) === 0) throw forbidden('The appservice has no user in this room')
    if (events.length === 0) return { eventIds }
    if (!known || isStale(known, core, room.lowest, ifEmpty)) throw new Missing(learn(core, room.lowest))
    const reader = args.markReadBy ? speaker(decision, appservice, args.markReadBy) : null
    const senders = sendersOf(decision, appservice, events)
    const standing = known.rows
    const forward = args.forward || (ifEmpty && !known.hasMessages)
    const rest = restOf(events, standing, isRepeated, forward)
    const n = rest.to - rest.from
    if (n === 0) return { eventIds }

    const orders = (forward ? liveOrders(decision, n) : historyOrders(decision, room, n)) - rest.from
    const isThere = (row: EventRow, i: number) => (rest.from <= i && i < rest.to) || standing.has(row.eventId)
    // A reaction that is not written again has no place, and nobody asks for it.
    const rows = events.map((event, i) => standing.get(event.eventId) ?? rowOf(core, event, senders.get(event.sender)!, orders + i))
    redactTargets(decision, core, events, rows, rest)
    const newEvents = events.slice(rest.from, rest.to)
    const newRows = rows.slice(rest.from, rest.to)
    for (const [i, row] of newRows.entries()) writeRow(decision, row, newEvents[i]!)
    announce(decision, core, newRows, forward ? 'event' : 'history', appservice)
    if (forward && args.sendNotification) notify(decision, core, newEvents, newRows)
    if (reader) markReadTo(decision, actor, core, reader, rows.findLast(isThere)!)
    // Last: what is looked up above must not wait for this batch.
    const { position } = decision.changes
    const after = coreOf(decision, room)
    setCore(decision, { ...after, lastOrder: forward ? rows.at(-1)!.order : after.lastOrder, idsGivenAt: position, batchedAt: position })
    return { eventIds }
  })
}

function sendersOf(decision: Decision, appservice: number, events: readonly PreparedEvent[]): Map<string, UserRow> {
  const ids = new Set(events.map(({ sender }) => sender))
  decision.findAll('user', 'userId', [...ids])
  return new Map([...ids].map((userId) => [userId, speaker(decision, appservice, userId)]))
}

/** The first of n positions. */
function liveOrders(decision: Decision, n: number): number {
  const first = decision.takePosition()
  for (let i = 1; i < n; i++) decision.takePosition()
  return first
}

/** The first of the n numbers below the room's lowest; they take one position together. */
function historyOrders(decision: Decision, room: RoomRow, n: number): number {
  const lowest = room.lowest - n
  decision.takePosition()
  decision.put('room', { ...room, lowest })
  return lowest
}

function rowOf(core: RoomCore, event: PreparedEvent, sender: UserRow, order: number): EventRow {
  return {
    instance: sender.instance,
    room: core.key,
    order,
    eventId: event.eventId,
    type: event.type,
    stateKey: null,
    sender: sender.key,
    ts: event.ts,
    replaces: null,
    redactedBy: null,
    device: null,
    txnId: null,
    json: event.json,
  }
}

/**
 * Each redaction empties what it names if that stands before it: in the batch or in the room. What is not there is left alone. One that the
 * room has already meets only what is new. All targets are looked up together: the decision would start over for each of thousands.
 */
function redactTargets(decision: Decision, core: RoomCore, events: readonly PreparedEvent[], rows: EventRow[], { from, to }: Rest): void {
  const places = new Map(events.slice(from, to).map(({ eventId }, i) => [eventId, from + i]))
  const empty = (redacts: string, sender: string, order: number): void => {
    const place = places.get(redacts)
    const target = place === undefined ? findEvent(decision, core, redacts) : rows[place]!
    if (!target || target.order >= order) return
    const author = place === undefined ? userOf(decision, target.sender).userId : events[place]!.sender
    throwRefusal(checkRedaction(sender, { type: target.type, sender: author }, viewOf(decision, core)))
    if (place === undefined) emptyEvent(decision, core, target, order)
    else if (target.redactedBy === null) {
      const json = JSON.stringify(redactEvent(JSON.parse(target.json) as JsonObject, core.version))
      rows[place] = { ...target, json, redactedBy: order }
    }
  }
  const redactions = events.flatMap(({ redacts, sender }, i) => {
    if (redacts === null || ((i < from || i >= to) && !places.has(redacts))) return []
    return () => empty(redacts, sender, rows[i]!.order)
  })
  decision.all(redactions)
}

/** Not into memory, unless somebody asked for this very id before and the memory knows that there was none. */
function writeRow(decision: Decision, row: EventRow, event: PreparedEvent): void {
  const by = { room: row.room, eventId: row.eventId }
  if (event.hasId && decision.knows('event', by)) {
    decision.find('event', by)
    decision.put('event', row)
  } else {
    decision.write('event', row)
  }
  if (row.redactedBy === null) writeRelation(decision, row, event.relation)
}

/** Readers, and the other bridges in the room. The one that sends knows what it sends; to the others history is no news. */
function announce(decision: Decision, core: RoomCore, rows: readonly EventRow[], kind: 'event' | 'history', appservice: number): void {
  const users = joinedSyncers(decision, core.key).map(({ key }) => key)
  if (kind === 'history') {
    decision.announce(kind, { rooms: [core.key], users })
    return
  }
  const others = registrations(decision).filter(
    ({ key, namespaces }) => key !== appservice && ((core.appservices.get(key) ?? 0) > 0 || namespaces.rooms.matches(core.roomId)),
  )
  for (const { key } of others) {
    for (const { instance, order, room } of rows) decision.write('interest', { instance, appservice: key, position: order, room })
  }
  decision.announce(kind, { rooms: [core.key], users, appservices: others.map(({ key }) => key) })
}

/** Of all that came only the newest message; what is said about messages is no news by itself. */
function notify(decision: Decision, core: RoomCore, events: readonly PreparedEvent[], rows: readonly EventRow[]): void {
  const newest = events.findLastIndex(({ type }) => type !== 'm.reaction' && type !== 'm.room.redaction')
  const event = events[newest]
  if (!event || rows[newest]!.redactedBy !== null) return
  const { type, sender, content } = event
  notifyUsers(decision, core, rows[newest]!, { type, sender, room_id: core.roomId, content }, joinedSyncers(decision, core.key), null)
}
