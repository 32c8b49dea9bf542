/** Receipts and typing as sync shows them. */
import { typingSince } from '../rooms/typing.ts'
import type { ReceiptRow, RoomRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'

/** One m.receipt event of a room. `userIds`: user key → id. */
export function receiptEvent(receipts: readonly ReceiptRow[], userIds: ReadonlyMap<number, string>): string {
  const content: Record<string, Record<string, Record<string, unknown>>> = {}
  for (const receipt of receipts) {
    const userId = userIds.get(receipt.user)
    if (userId === undefined) continue
    const ofEvent = (content[receipt.eventId] ??= {})
    const ofType = (ofEvent[receipt.type] ??= {})
    // Two receipts of one user on one event in different threads: the unthreaded one says more.
    if (ofType[userId] && receipt.thread !== '') continue
    ofType[userId] = { ...(JSON.parse(receipt.extra) as object), ts: receipt.ts, ...(receipt.thread === '' ? {} : { thread_id: receipt.thread }) }
  }
  return JSON.stringify({ type: 'm.receipt', content })
}

/** The list of who types when it changed in (since, until]; from the beginning only when somebody does. */
export function typingEvents(instance: Instance, room: RoomRow, since: number | null, self: string, until: number): string[] {
  const userIds = typingSince(instance, room.key, since, until)
  return userIds === null ? [] : [JSON.stringify({ type: 'm.typing', content: { user_ids: userIds.filter((userId) => userId !== self) } })]
}
