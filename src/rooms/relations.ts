/** What an event relates to. https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events */
import { MatrixError } from '../errors.ts'
import { isEventId, isStorable } from '../rules/event-limits.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import type { EventRow, RelationRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { awaitBatches, type RoomCore } from './room-core.ts'

export interface Relation {
  readonly relType: string
  readonly eventId: string
  readonly key: string | null
}

/** Null as well where the content names what cannot be an event: clients write there what they like, and no index takes 10 KB or a NUL. */
export function relationOf(content: JsonObject): Relation | null {
  const relates = content['m.relates_to']
  if (!isObject(relates)) return null
  const { rel_type: relType, event_id: eventId, key } = relates
  if (typeof relType !== 'string' || typeof eventId !== 'string' || !isEventId(eventId)) return null
  return { relType, eventId, key: typeof key === 'string' ? key : null }
}

/** The root of the thread an event is part of, by its own relation. */
export function threadOf(content: JsonObject): string | null {
  const relation = relationOf(content)
  return relation?.relType === 'm.thread' ? relation.eventId : null
}

/** Errors: M_DUPLICATE_ANNOTATION when the sender gave the same reaction already. */
export function putRelation(decision: Decision, core: RoomCore, row: EventRow, content: JsonObject): void {
  const relation = relationRow(row, relationOf(content))
  if (!relation) return
  if (isReaction(relation)) {
    const known = reactionsBySender(decision, core, relation.parent, row.sender)
    if (known.some((other) => other.key === relation.key && other.type === row.type)) {
      throw new MatrixError('M_DUPLICATE_ANNOTATION', "Can't send same reaction twice")
    }
    decision.set(reactionsKey(core.key, relation.parent, row.sender), [...known, relation])
  }
  decision.put('relation', relation)
}

/** Of an event in a batch, which may give a reaction twice: history is taken as it comes. */
export function writeRelation(decision: Decision, row: EventRow, relation: Relation | null): void {
  const written = relationRow(row, relation)
  if (!written) return
  decision.write('relation', written)
  const key = reactionsKey(row.room, written.parent, row.sender)
  if (!isReaction(written) || !decision.instance.memory.knows(key)) return
  decision.set(key, [...decision.need<readonly RelationRow[]>(key, async () => []), written])
}

/** A redacted event relates to nothing any more. */
export function removeRelation(decision: Decision, core: RoomCore, row: EventRow, content: JsonObject): void {
  const relation = relationOf(content)
  if (!relation) return
  // An event of a batch may be in memory while its relation is still on the way to the disk.
  awaitBatches(decision, core)
  const stored = decision.get('relation', { room: row.room, parent: relation.eventId, order: row.order })
  if (!stored) return
  decision.remove('relation', stored)
  if (relation.relType !== 'm.annotation') return
  const known = reactionsBySender(decision, core, relation.eventId, row.sender)
  decision.set(
    reactionsKey(row.room, relation.eventId, row.sender),
    known.filter((other) => other.order !== row.order),
  )
}

function relationRow(row: EventRow, relation: Relation | null): RelationRow | null {
  // What a database would refuse or change is left in the event alone.
  if (!relation || !isStorable(relation.relType) || !isStorable(relation.key ?? '')) return null
  return {
    instance: row.instance,
    room: row.room,
    parent: relation.eventId,
    order: row.order,
    relType: relation.relType,
    type: row.type,
    sender: row.sender,
    key: relation.key,
  }
}

function isReaction(relation: RelationRow): boolean {
  return relation.relType === 'm.annotation' && relation.type === 'm.reaction'
}

/** What a user annotated an event with. */
function reactionsBySender(decision: Decision, core: RoomCore, parent: string, sender: number): readonly RelationRow[] {
  const { memory, storage } = decision.instance
  const key = reactionsKey(core.key, parent, sender)
  if (!memory.knows(key)) awaitBatches(decision, core)
  return decision.need(key, () => storage.find('relation', { where: { room: core.key, parent, sender, relType: 'm.annotation' } }))
}

function reactionsKey(room: number, parent: string, sender: number): string {
  return `reactions\0${room}\0${sender}\0${parent}`
}
