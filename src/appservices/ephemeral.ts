/** What an appservice hears besides events: receipts and typing. https://spec.matrix.org/v1.19/application-service-api/#pushing-ephemeral-data */
import type { JsonObject } from '../rules/values.ts'
import type { ReceiptRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'

interface Ephemeral {
  readonly type: string
  readonly room_id: string
  readonly content: object
}

type Receipts = Record<string, Record<string, Record<string, JsonObject>>>

/** m.receipt of each room. Private ones are told only for users of the appservice. */
export async function receiptEvents(
  instance: Instance,
  appservice: number,
  rows: readonly ReceiptRow[],
  roomIds: ReadonlyMap<number, string>,
): Promise<Ephemeral[]> {
  if (rows.length === 0) return []
  const users = await instance.storage.find('user', { where: { key: { in: [...new Set(rows.map((row) => row.user))] } } })
  const byKey = new Map(users.map((user) => [user.key, user]))
  const events: Ephemeral[] = []
  for (const [room, ofRoom] of Map.groupBy(rows, (row) => row.room)) {
    const roomId = roomIds.get(room)
    if (roomId === undefined) continue
    // One object has one place for a user, type and event: of two threads with the same newest event the second goes into a further one.
    const contents: Receipts[] = []
    for (const row of ofRoom.sort((a, b) => a.position - b.position)) {
      const user = byKey.get(row.user)
      if (!user || (row.type === 'm.read.private' && user.appservice !== appservice)) continue
      let content = contents.find((each) => each[row.eventId]?.[row.type]?.[user.userId] === undefined)
      if (!content) {
        content = {}
        contents.push(content)
      }
      content[row.eventId] ??= {}
      const ofEvent = content[row.eventId]!
      ofEvent[row.type] ??= {}
      const ofType = ofEvent[row.type]!
      ofType[user.userId] = {
        ...(JSON.parse(row.extra) as JsonObject),
        ts: row.ts,
        ...(row.thread === '' ? {} : { thread_id: row.thread }),
      }
    }
    for (const content of contents) events.push({ type: 'm.receipt', room_id: roomId, content })
  }
  return events
}

export function typingEvent(roomId: string, userIds: readonly string[]): Ephemeral {
  return { type: 'm.typing', room_id: roomId, content: { user_ids: userIds } }
}
