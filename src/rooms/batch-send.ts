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
import { noteInterest } from '../users/interest.ts'
import { registrations } from '../users/registrations.ts'
import { standingOfRow, userSuspended } from '../users/standing.ts'
import { userOf } from '../users/users.ts'
import { type BatchEvent, isStale, type Known, type PreparedEvent, prepareEvents, readKnown } from './batch-send-events.ts'
import { type Repeated, readRepeated, restOf } from './batch-send-rest.ts'
import { notifyUsers } from './notifications.ts'
import { speaker } from './puppets.ts'
import { markReadTo } from './receipts.ts'
import { emptyEvent } from './redact.ts'
import { writeRelation } from './relations.ts'
import { coreOf, findEvent, joinedSyncers, type RoomCore, roomOf, setCore, throwRefusal, viewOf } from './room-core.ts'
import { keepUnredacted } from './unredacted.ts'

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
 * The ids of the events, in their order. What the room has already is not written again: all of the batch, or what the rest continues; a
 * reaction that it has under another id is answered with that. Errors: M_FORBIDDEN unless an appservice asks for a room with a user of it and for
 * senders that it may speak for, M_TOO_LARGE, M_INVALID_PARAM for a batch that otherwise exists in part or differs,
 * M_USER_SUSPENDED for what is new at the live end of an owner who is suspended or locked.
 */
export async function batchSend(instance: Instance, actor: Actor, args: BatchSend): Promise<{ eventIds: string[] }> {
  const { appservice } = actor
  if (appservice === null) throw forbidden('Only an appservice may send a batch')
  const events = await prepareEvents(instance, args.roomId, args.events)
  const givenIds = events.flatMap(({ hasId, eventId }) => (hasId ? eventId : []))
  const ifEmpty = args.forwardIfNoMessages === true && !args.forward
  let known: Known | null = null
  let repeated: Repeated = new Map()
  const learn = async (core: RoomCore, lowest: number): Promise<void> => {
    const read = await readKnown(instance, core, lowest, givenIds, ifEmpty)
    repeated = await readRepeated(instance, core, events, read.rows)
    known = read
  }
  return command(instance, (decision) => {
    const room = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, room)
    if ((core.appservices.get(appservice) ?? 0) === 0) throw forbidden('The appservice has no user in this room')
    if (events.length === 0) return { eventIds: [] }
    if (!known || isStale(known, core, room.lowest, ifEmpty)) throw new Missing(learn(core, room.lowest))
    const reader = args.markReadBy ? speaker(decision, appservice, args.markReadBy) : null
    const senders = sendersOf(decision, appservice, events)
    const standing = known.rows
    const forward = args.forward || (ifEmpty && !known.hasMessages)
    const rest = restOf(events, standing, repeated, forward)
    const rows = events.map(({ eventId }) => repeated.get(eventId) ?? standing.get(eventId)!)
    if (rest.length > 0) {
      if (forward) requireFree(senders, events, rest)
      const first = forward ? liveOrders(decision, rest.length) : historyOrders(decision, room, rest.length)
      for (const [n, i] of rest.entries()) rows[i] = rowOf(core, events[i]!, senders.get(events[i]!.sender)!, first + n)
      redactTargets(decision, core, events, rows, rest)
      const newEvents = rest.map((i) => events[i]!)
      const newRows = rest.map((i) => rows[i]!)
      for (const [n, row] of newRows.entries()) writeRow(decision, row, newEvents[n]!)
      announce(decision, core, newRows, forward ? 'event' : 'history', appservice)
      if (forward && args.sendNotification) notify(decision, core, newEvents, newRows)
    }
    if (reader) markReadTo(decision, actor, core, reader, endOf(events, rows))
    if (rest.length > 0) {
      // Last: what is looked up above must not wait for this batch.
      const { position } = decision.changes
      const after = coreOf(decision, room)
      const lastOrder = forward ? rows[rest.at(-1)!]!.order : after.lastOrder
      setCore(decision, { ...after, lastOrder, idsGivenAt: position, batchedAt: position })
    }
    return { eventIds: rows.map(({ eventId }) => eventId) }
  })
}

/** The newest event of the batch. A reaction that the room has under another id may stand anywhere. */
function endOf(events: readonly PreparedEvent[], rows: readonly EventRow[]): EventRow {
  const own = rows.filter(({ eventId }, i) => eventId === events[i]!.eventId)
  return (own.length > 0 ? own : rows).reduce((newest, row) => (row.order > newest.order ? row : newest))
}

function sendersOf(decision: Decision, appservice: number, events: readonly PreparedEvent[]): Map<string, UserRow> {
  const ids = new Set(events.map(({ sender }) => sender))
  decision.findAll('user', 'userId', [...ids])
  return new Map([...ids].map((userId) => [userId, speaker(decision, appservice, userId)]))
}

/**
 * What is new at the live end is said now, and a bridge says nothing for an owner who may not; history was said before. Locked counts as
 * suspended: 401 would tell the bridge that its own token is at an end.
 */
function requireFree(senders: ReadonlyMap<string, UserRow>, events: readonly PreparedEvent[], rest: readonly number[]): void {
  for (const i of rest) {
    const { locked, suspended } = standingOfRow(senders.get(events[i]!.sender)!)
    if (locked || suspended) throw userSuspended()
  }
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
    changedKeys: null,
    device: null,
    txnId: null,
    json: event.json,
  }
}

/**
 * Each redaction empties what it names if that stands before it: in the batch or in the room. What is not there is left alone. One that the
 * room has already meets only what is new. All targets are looked up together: the decision would start over for each of thousands.
 */
function redactTargets(
  decision: Decision,
  core: RoomCore,
  events: readonly PreparedEvent[],
  rows: EventRow[],
  rest: readonly number[],
): void {
  const places = new Map(rest.map((i) => [events[i]!.eventId, i]))
  const empty = (redacts: string, i: number): void => {
    const { sender } = events[i]!
    const { order } = rows[i]!
    const place = places.get(redacts)
    const target = place === undefined ? findEvent(decision, core, redacts) : rows[place]!
    // Of a batch its own order counts: a reaction among what is there is written elsewhere.
    if (!target || (place === undefined ? target.order >= order : place >= i)) return
    const author = place === undefined ? userOf(decision, target.sender).userId : events[place]!.sender
    throwRefusal(checkRedaction(sender, { type: target.type, sender: author }, viewOf(decision, core)))
    if (place === undefined) emptyEvent(decision, core, target, order)
    else if (target.redactedBy === null) {
      keepUnredacted(decision, target)
      const json = JSON.stringify(redactEvent(JSON.parse(target.json) as JsonObject, core.version))
      rows[place] = { ...target, json, redactedBy: order }
    }
  }
  const redactions = events.flatMap(({ eventId, redacts }, i) => {
    if (redacts === null || (!places.has(eventId) && !places.has(redacts))) return []
    return () => empty(redacts, i)
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
    for (const { order, room } of rows) noteInterest(decision, key, order, room)
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
