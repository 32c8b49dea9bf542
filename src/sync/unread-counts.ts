/** Unread counts in sync. https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications */
import { append, type Scope } from './scope.ts'

interface Counts {
  readonly notify: number
  readonly highlight: number
}

/** The keys of each room's block, as JSON text. What was said behind `until` counts next time; what was read meanwhile counts no more. */
export async function readUnreadCounts(
  { instance, requester, filter, until }: Scope,
  rooms: readonly number[],
): Promise<(room: number) => string> {
  const byRoom = new Map<number, (Counts & { thread: string })[]>()
  for (const row of await instance.storage.unreadCounts(requester.user, rooms, until)) append(byRoom, row.room, row)
  const byThread = filter.room.timeline.unreadThreadNotifications
  return (room) => {
    const rows = byRoom.get(room) ?? []
    if (!byThread) return `"unread_notifications":${sumText(rows)}`
    // Clients clear all thread counts when a block lacks them: always the whole map.
    const threads = rows.filter((row) => row.thread !== '').map((row) => `${JSON.stringify(row.thread)}:${sumText([row])}`)
    const main = rows.filter((row) => row.thread === '')
    return `"unread_notifications":${sumText(main)},"unread_thread_notifications":{${threads.join(',')}}`
  }
}

function sumText(rows: readonly Counts[]): string {
  let notify = 0
  let highlight = 0
  for (const row of rows) {
    notify += row.notify
    highlight += row.highlight
  }
  return `{"notification_count":${notify},"highlight_count":${highlight}}`
}
