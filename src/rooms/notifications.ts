/** Unread marks: one row for each event that a push rule marked for a user, until it is read. */

import { pushSubject, type Related } from '../rules/push-subject.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import type { EventRow, NotificationRow, UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { pushEvaluatorOf } from '../users/push-rules.ts'
import { isMuted } from './archive.ts'
import { readAgain } from './read-markers.ts'
import { relationOf, threadOf } from './relations.ts'
import { findEvent, membershipOf, type RoomCore } from './room-core.ts'

interface Event extends JsonObject {
  readonly type: string
  readonly sender: string
  readonly room_id: string
  readonly content: JsonObject
}

/** Evaluates each reader's push rules and leaves a mark where they notify. */
export function notifyUsers(
  decision: Decision,
  core: RoomCore,
  row: EventRow,
  event: Event,
  readers: readonly UserRow[],
  target: UserRow | null,
): void {
  const users = target?.syncs && event.content['membership'] === 'invite' ? [...readers, target] : readers
  if (users.length === 0 || (users.length === 1 && users[0]!.key === row.sender)) return
  const related = event.type === 'm.reaction' ? relatedTo(decision, core, event.content) : null
  const subject = pushSubject(event, { memberCount: core.counts.join, powerLevels: core.powerLevels, related })
  for (const user of users) {
    if (user.key === row.sender) continue
    const displayName = membershipOf(decision, core.key, user.key)?.displayName ?? undefined
    const muted = isMuted(decision, core.key, user.key)
    const outcome = pushEvaluatorOf(decision, user)(subject, { userId: user.userId, displayName, muted })
    if (!outcome.notify) continue
    const thread = threadOf(event.content) ?? ''
    const { instance, order } = row
    putMark(decision, { instance, user: user.key, room: core.key, order, thread, highlight: outcome.highlight ? 1 : 0 })
  }
}

export function putMark(decision: Decision, mark: NotificationRow): void {
  decision.write('notification', mark)
  setUnread(decision, mark.user, mark.room, unreadIn(decision, mark.user, mark.room) + 1)
}

/** Whose event a reaction is about. */
function relatedTo(decision: Decision, core: RoomCore, content: JsonObject): Related | null {
  const relation = relationOf(content)
  if (!relation) return null
  const target = findEvent(decision, core, relation.eventId)
  const author = target && decision.get('user', { key: target.sender })
  return author && { relType: relation.relType, sender: author.userId }
}

/** How many unread marks a user has in a room: so that reading where nothing is unread costs nothing. */
function unreadIn(decision: Decision, user: number, room: number): number {
  return decision.needIn(room, unreadKey(user, room), () => decision.instance.storage.count('notification', { user, room }), 0)
}

function setUnread(decision: Decision, user: number, room: number, count: number): void {
  decision.set(unreadKey(user, room), count)
}

function unreadKey(user: number, room: number): string {
  return `unread\0${user}\0${room}`
}

/** What was redacted is nothing to read any more. */
export function unmark(decision: Decision, { instance, room, order, sender }: EventRow, readers: readonly UserRow[]): void {
  for (const { key: user } of readers) {
    // Its mark may be gone already: "one at least" stays true of the rest, or only means "look".
    if (user === sender || unreadIn(decision, user, room) === 0) continue
    decision.remove('notification', { instance, user, room, order, thread: '', highlight: 0 })
    decision.announce('unread', { users: [user], rooms: [room] })
  }
}

/** Clients take sending for reading: all before the user's own message is read, in its thread or in the main timeline. */
export function markReadBySending(decision: Decision, core: RoomCore, row: EventRow, sender: UserRow): void {
  if (row.stateKey !== null) return
  readAgain(decision, core.key, sender)
  if (unreadIn(decision, sender.key, core.key) === 0) return
  const content = (JSON.parse(row.json) as { content: JsonObject }).content
  clearUnread(decision, sender.key, core.key, row.order, isObject(content) ? (threadOf(content) ?? '') : '')
}

/** Removes the marks up to an order: of one thread ('' is the main timeline), or of all when `thread` is null. */
export function clearUnread(decision: Decision, user: number, room: number, upTo: number, thread: string | null): void {
  const unread = unreadIn(decision, user, room)
  if (unread === 0) return
  decision.removeRange('notifications', thread === null ? { user, room, upTo } : { user, room, upTo, thread })
  const core = decision.instance.memory.peek(`core\0${room}`)?.value as RoomCore | undefined
  // Everything is read: the count is known. Else at least one may be left, and 1 only means "look".
  setUnread(decision, user, room, thread === null && core && upTo >= core.lastOrder ? 0 : 1)
  decision.announce('unread', { users: [user], rooms: [room] })
}
