/** What an event relates to. https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events */
import { MatrixError } from '../errors.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import type { EventRow, RelationRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { RoomCore } from './room-core.ts'

export interface Relation {
  readonly relType: string
  readonly eventId: string
  readonly key: string | null
}

export function relationOf(content: JsonObject): Relation | null {
  const relates = content['m.relates_to']
  if (!isObject(relates)) return null
  const { rel_type: relType, event_id: eventId, key } = relates
  if (typeof relType !== 'string' || typeof eventId !== 'string') return null
  return { relType, eventId, key: typeof key === 'string' ? key : null }
}

/** The root of the thread an event is part of, by its own relation. */
export function threadOf(content: JsonObject): string | null {
  const relation = relationOf(content)
  return relation?.relType === 'm.thread' ? relation.eventId : null
}

/** Errors: M_DUPLICATE_ANNOTATION when the sender gave the same reaction already. */
export function putRelation(decision: Decision, core: RoomCore, row: EventRow, content: JsonObject): void {
  const relation = relationOf(content)
  if (!relation || relation.eventId.includes('\0')) return
  const relationRow: RelationRow = {
    instance: row.instance,
    room: core.key,
    parent: relation.eventId,
    order: row.order,
    relType: relation.relType,
    type: row.type,
    sender: row.sender,
    key: relation.key,
  }
  if (relation.relType === 'm.annotation' && row.type === 'm.reaction') {
    const name = annotationsKey(core.key, relation.eventId, row.sender)
    const known = decision.need(name, () =>
      decision.instance.storage.find('relation', {
        where: { room: core.key, parent: relation.eventId, sender: row.sender, relType: 'm.annotation' },
      }),
    )
    if (known.some((other) => other.key === relation.key && other.type === row.type)) {
      throw new MatrixError('M_DUPLICATE_ANNOTATION', "Can't send same reaction twice")
    }
    decision.set(name, [...known, relationRow])
  }
  decision.put('relation', relationRow)
}

/** A redacted event relates to nothing any more. */
export function removeRelation(decision: Decision, row: EventRow, content: JsonObject): void {
  const relation = relationOf(content)
  if (!relation) return
  const stored = decision.get('relation', { room: row.room, parent: relation.eventId, order: row.order })
  if (!stored) return
  decision.remove('relation', stored)
  if (relation.relType === 'm.annotation') {
    const name = annotationsKey(row.room, relation.eventId, row.sender)
    const known = decision.need(name, () =>
      decision.instance.storage.find('relation', {
        where: { room: row.room, parent: relation.eventId, sender: row.sender, relType: 'm.annotation' },
      }),
    )
    decision.set(
      name,
      known.filter((other) => other.order !== row.order),
    )
  }
}

function annotationsKey(room: number, parent: string, sender: number): string {
  return `annotations\0${room}\0${sender}\0${parent}`
}
