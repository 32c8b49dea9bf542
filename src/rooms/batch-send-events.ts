/** What of a batch can be made ready before its decision: each event checked and written as text, a slice at a time. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { invalidParam, MatrixError } from '../errors.ts'
import { newEventId } from '../ids.ts'
import { checkEventLimits, isEventId } from '../rules/event-limits.ts'
import type { JsonObject } from '../rules/values.ts'
import type { EventRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { type Relation, relationOf } from './relations.ts'
import type { RoomCore } from './room-core.ts'
import { throwRefusal } from './room-core.ts'

export interface BatchEvent {
  readonly type: string
  readonly sender: string
  readonly content: JsonObject
  /** origin_server_ts, ms; now when left out */
  readonly ts?: number | null | undefined
  /** kept as it is; made when left out */
  readonly eventId?: string | null | undefined
  /** m.room.redaction before room version 11: the event it empties */
  readonly redacts?: string | null | undefined
}

/** An event that needs only its place. */
export interface PreparedEvent {
  readonly type: string
  readonly sender: string
  readonly content: JsonObject
  readonly ts: number
  readonly eventId: string
  /** ts and eventId were not given: a repeated request cannot name them */
  readonly hasTs: boolean
  readonly hasId: boolean
  readonly json: string
  readonly relation: Relation | null
  /** of a redaction: id of its target */
  readonly redacts: string | null
}

/** Others get a turn after so many. */
const sliceOfEvents = 200
export const mostEvents = 5_000
export const mostBytes = 32_000_000

/** Errors: M_TOO_LARGE, M_BAD_JSON, M_INVALID_PARAM for a bad or repeated id or time. */
export async function prepareEvents(instance: Instance, roomId: string, events: readonly BatchEvent[]): Promise<PreparedEvent[]> {
  if (events.length > mostEvents) throw new MatrixError('M_TOO_LARGE', `A batch holds at most ${mostEvents} events`)
  const prepared: PreparedEvent[] = []
  const ids = new Set<string>()
  let bytes = 0
  for (const event of events) {
    if (prepared.length % sliceOfEvents === sliceOfEvents - 1) await nextTurn()
    const ready = prepare(instance, roomId, event)
    if (ids.has(ready.eventId)) throw invalidParam(`${ready.eventId} stands twice in the batch`)
    ids.add(ready.eventId)
    bytes += Buffer.byteLength(ready.json)
    if (bytes > mostBytes) throw new MatrixError('M_TOO_LARGE', `A batch holds at most ${mostBytes} bytes`)
    prepared.push(ready)
  }
  return prepared
}

function prepare(instance: Instance, roomId: string, event: BatchEvent): PreparedEvent {
  const { type, sender } = event
  if (type === 'm.room.member' || type === 'm.room.create') throw new MatrixError('M_BAD_JSON', `${type} must be a state event`)
  if (event.eventId && !isEventId(event.eventId)) throw invalidParam(`${event.eventId} is not an event ID`)
  const ts = event.ts || instance.ports.now()
  if (ts < 0) throw invalidParam('origin_server_ts must not be negative')
  const eventId = event.eventId || newEventId(instance.ports)
  const redacts = type === 'm.room.redaction' ? (event.redacts ?? event.content['redacts']) : null
  const target = typeof redacts === 'string' ? redacts : null
  // Both places, for clients of either age.
  const content = target === null ? event.content : { ...event.content, redacts: target }
  const named = target === null ? {} : { redacts: target }
  const json = JSON.stringify({ type, sender, content, ...named, origin_server_ts: ts, event_id: eventId })
  throwRefusal(checkEventLimits({ roomId, eventId, sender, type, json }))
  const given = { hasTs: Boolean(event.ts), hasId: Boolean(event.eventId) }
  return { type, sender, content, ts, eventId, ...given, json, relation: relationOf(content), redacts: target }
}

/** Which of the ids the room has already, as it stood when nothing of it was still on its way to the disk. */
export interface Known {
  readonly lastOrder: number
  readonly idsGivenAt: number
  readonly lowest: number
  /** by event id */
  readonly rows: ReadonlyMap<string, EventRow>
  /** whether there is any event that is no state */
  readonly hasMessages: boolean
}

/** `core` and `lowest` are as decisions see them, perhaps ahead of the disk: what they tell of is waited for. */
export async function readKnown(
  instance: Instance,
  core: RoomCore,
  lowest: number,
  ids: readonly string[],
  wantsMessages: boolean,
): Promise<Known> {
  await instance.shard.flushed(instance.key)
  const room = core.key
  const rows = await instance.storage.eventsById(room, ids)
  const message = wantsMessages
    ? await instance.storage.find('event', { where: { room, stateKey: null }, orderBy: ['-order'], limit: 1 })
    : []
  return {
    lastOrder: core.lastOrder,
    idsGivenAt: core.idsGivenAt,
    lowest,
    rows: new Map(rows.map((row) => [row.eventId, row])),
    hasMessages: message.length > 0,
  }
}

/** Whether what was read may have changed since: an id was given, or a first message came. */
export function isStale(known: Known, core: RoomCore, lowest: number, wantsMessages: boolean): boolean {
  if (known.idsGivenAt !== core.idsGivenAt || known.lowest !== lowest) return true
  return wantsMessages && !known.hasMessages && known.lastOrder !== core.lastOrder
}
