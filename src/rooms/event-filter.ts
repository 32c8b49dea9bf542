/** Rows of a room against a RoomEventFilter and the reader's list of ignored users. */

import { MatrixError } from '../errors.ts'
import { compileRoomEventFilter, type RoomEventFilter } from '../rules/filter.ts'
import { isRefusal, type JsonObject } from '../rules/values.ts'
import type { EventRow, RoomRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { ignoredUsers } from '../users/ignored-users.ts'

/** The rows that are wanted, in their order. */
export type RowFilter = (rows: readonly EventRow[]) => Promise<readonly EventRow[]>

/** Errors: M_BAD_JSON. */
export function parseRoomEventFilter(text: string | null | undefined): RoomEventFilter | null {
  if (!text) return null
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new MatrixError('M_BAD_JSON', 'filter is not JSON')
  }
  const filter = compileRoomEventFilter(json)
  if (isRefusal(filter)) throw new MatrixError('M_BAD_JSON', filter.error)
  return filter
}

export async function rowFilter(instance: Instance, user: number, room: RoomRow, filter: RoomEventFilter | null): Promise<RowFilter> {
  const ignored = await ignoredUsers(instance, user)
  if (!filter && ignored.size === 0) return async (rows) => rows
  if (filter && (filter.nothing || !filter.allowsRoom(room.roomId))) return async () => []
  return async (rows) => {
    const related = filter ? await relatedParents(instance, room.key, rows, filter) : null
    return rows.filter((row) => {
      if (related && !related.has(row.eventId)) return false
      const event = JSON.parse(row.json) as { sender: string; content?: JsonObject }
      // State stays: without it the room would be told wrong.
      if (row.stateKey === null && ignored.has(event.sender)) return false
      return filter === null || filter.matches({ type: row.type, sender: event.sender, content: event.content ?? {} })
    })
  }
}

/** Ids of the rows that an event with one of the relation types, or by one of the senders, relates to; null when it does not matter. */
async function relatedParents(
  instance: Instance,
  room: number,
  rows: readonly EventRow[],
  filter: RoomEventFilter,
): Promise<Set<string> | null> {
  const { relatedByRelTypes, relatedBySenders } = filter
  if (!relatedByRelTypes && !relatedBySenders) return null
  const users = relatedBySenders && (await instance.storage.find('user', { where: { userId: { in: relatedBySenders } } }))
  const relations = await instance.storage.find('relation', {
    where: {
      room,
      parent: { in: rows.map((row) => row.eventId) },
      ...(relatedByRelTypes && { relType: { in: relatedByRelTypes } }),
      ...(users && { sender: { in: users.map((user) => user.key) } }),
    },
  })
  return new Set(relations.map((relation) => relation.parent))
}
