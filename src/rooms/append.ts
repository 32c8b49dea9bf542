/** The one place where an event is added to a room: checked, numbered, counted, and made known to everybody whom it concerns. */
import { MatrixError } from '../errors.ts'
import { newEventId } from '../ids.ts'
import { authorize } from '../rules/auth.ts'
import { checkEventLimits } from '../rules/event-limits.ts'
import type { Membership } from '../rules/room-view.ts'
import { isObject, type JsonObject, sameJson } from '../rules/values.ts'
import type { EventRow, MembershipRow, UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { noteInterest } from '../users/interest.ts'
import { registrations } from '../users/registrations.ts'
import { writeCheckpoints } from './checkpoints.ts'
import { clearUnread, markReadBySending, notifyUsers } from './notifications.ts'
import { putRelation } from './relations.ts'
import { coreTypes, findEvent, joinedSyncers, membershipOf, type RoomCore, setCore, throwRefusal, viewOf, withState } from './room-core.ts'
import { stopTyping } from './typing.ts'

export interface Draft {
  readonly type: string
  readonly sender: UserRow
  readonly stateKey?: string
  readonly content: JsonObject
  /** m.room.redaction: the event it empties; written where the room version wants it and at the top level */
  readonly redacts?: string
  /** origin_server_ts, ms; appservices only */
  readonly ts?: number
  /** chosen by an appservice */
  readonly eventId?: string
  readonly device?: string | null
  readonly txnId?: string | null
  /** an appservice answers for this membership: the auth rules are not asked */
  readonly vouched?: boolean
  /** comes with a new room */
  readonly created?: boolean
}

export interface Appended {
  readonly core: RoomCore
  readonly row: EventRow
}

/**
 * The chosen id when its event stands in the room already and says just this: bridges repeat what they sent with the same id. What has been
 * emptied since has no content to compare. Asked before any rule, which might refuse today what was done then.
 */
export function repeatedId(decision: Decision, core: RoomCore, draft: Draft): string | null {
  const row = draft.eventId === undefined ? null : findEvent(decision, core, draft.eventId)
  return row && saysSame(row, { ...draft, sender: draft.sender.userId }) ? row.eventId : null
}

/**
 * Whether a stored event is this one, whatever its time, and whatever a bridge's status has changed in it since. Encrypted anew, the same message
 * never reads the same: who has its id sends it again.
 */
export function saysSame(
  row: EventRow,
  event: { readonly type: string; readonly sender: string; readonly stateKey?: string; readonly content: JsonObject },
): boolean {
  const stored = JSON.parse(row.json) as { sender: string; content?: JsonObject }
  return (
    row.type === event.type &&
    row.stateKey === (event.stateKey ?? null) &&
    stored.sender === event.sender &&
    (row.redactedBy !== null || row.type === 'm.room.encrypted' || sameContent(row, stored.content, event.content))
  )
}

function sameContent({ changedKeys }: EventRow, stored: JsonObject | undefined, given: JsonObject): boolean {
  if (changedKeys === null || !stored) return sameJson(stored, given)
  const changed = new Set(JSON.parse(changedKeys) as string[])
  const kept = (content: JsonObject) => Object.fromEntries(Object.entries(content).filter(([key]) => !changed.has(key)))
  return sameJson(kept(stored), kept(given))
}

/** Adds the event if the auth rules of the room's version allow it. Errors: M_FORBIDDEN, M_BAD_JSON, M_TOO_LARGE, M_INVALID_PARAM, M_DUPLICATE_ANNOTATION. */
export function appendEvent(decision: Decision, core: RoomCore, draft: Draft): Appended {
  const { instance } = decision
  const sender = draft.sender.userId
  if (!draft.vouched)
    throwRefusal(authorize({ type: draft.type, sender, stateKey: draft.stateKey, content: draft.content }, viewOf(decision, core)))

  const eventId = draft.eventId ?? newEventId(instance.ports)
  if (draft.eventId !== undefined && findEvent(decision, core, eventId)) {
    throw new MatrixError('M_INVALID_PARAM', `${eventId} exists already`, {}, 409)
  }
  const ts = draft.ts ?? decision.now
  const event: Record<string, unknown> = { type: draft.type, sender, content: draft.content }
  if (draft.stateKey !== undefined) event['state_key'] = draft.stateKey
  if (draft.redacts !== undefined) event['redacts'] = draft.redacts
  event['origin_server_ts'] = ts
  event['event_id'] = eventId
  const json = JSON.stringify(event)
  throwRefusal(checkEventLimits({ roomId: core.roomId, eventId, sender, type: draft.type, stateKey: draft.stateKey, json }))

  const order = decision.takePosition()
  let next: RoomCore = { ...core, lastOrder: order, idsGivenAt: draft.eventId === undefined ? core.idsGivenAt : order }
  let replaces: number | null = null
  let target: UserRow | null = null
  if (draft.type === 'm.room.member' && draft.stateKey !== undefined) {
    target = decision.find('user', { userId: draft.stateKey })
    if (!target) throw new MatrixError('M_NOT_FOUND', `User ${draft.stateKey} does not exist`)
    const before = membershipOf(decision, core.key, target.key)
    replaces = before?.order ?? null
    const after = putMembership(decision, core, draft, target, before, order)
    // Whoever comes or goes has read what there was to read, the invitation above all.
    if (target.syncs && before && after.since === order && after.membership !== 'invite')
      clearUnread(decision, target.key, core.key, order, null)
    if (before?.membership === 'join' && after.membership !== 'join') stopTyping(decision, core, target.userId)
    next = { ...next, ...membershipCounts(core, target, before?.membership ?? null, after.membership) }
  } else if (draft.stateKey !== undefined) {
    replaces = decision.get('state', { room: core.key, type: draft.type, stateKey: draft.stateKey })?.order ?? null
    decision.put('state', { instance: instance.key, room: core.key, type: draft.type, stateKey: draft.stateKey, order })
    if (draft.stateKey === '' && coreTypes.includes(draft.type)) next = withState(next, draft.type, sender, draft.content)
  }

  const row: EventRow = {
    instance: instance.key,
    room: core.key,
    order,
    eventId,
    type: draft.type,
    stateKey: draft.stateKey ?? null,
    sender: draft.sender.key,
    ts,
    replaces,
    redactedBy: null,
    changedKeys: null,
    device: draft.device ?? null,
    txnId: draft.txnId ?? null,
    json,
  }
  decision.put('event', row)
  if (draft.stateKey === undefined) putRelation(decision, core, row, draft.content)
  setCore(decision, next)
  announce(decision, next, row, draft, target)
  return { core: next, row }
}

function putMembership(
  decision: Decision,
  core: RoomCore,
  draft: Draft,
  target: UserRow,
  before: MembershipRow | null,
  order: number,
): MembershipRow {
  const { content } = draft
  const membership = content['membership'] as Membership
  const row: MembershipRow = {
    instance: decision.instance.key,
    room: core.key,
    user: target.key,
    membership,
    order,
    since: before?.membership === membership ? before.since : order,
    sender: draft.sender.key,
    displayName: typeof content['displayname'] === 'string' ? content['displayname'] : null,
    avatarUrl: typeof content['avatar_url'] === 'string' ? content['avatar_url'] : null,
    // A new invitation or join brings a forgotten room back.
    forgotten: membership === 'leave' || membership === 'ban' ? (before?.forgotten ?? 0) : 0,
  }
  decision.put('membership', row)
  return row
}

function membershipCounts(core: RoomCore, target: UserRow, before: string | null, after: string): Pick<RoomCore, 'counts' | 'appservices'> {
  const counts: Record<string, number> = { ...core.counts }
  if (before) counts[before] = (counts[before] ?? 1) - 1
  counts[after] = (counts[after] ?? 0) + 1
  let { appservices } = core
  if (target.appservice !== null) {
    const change = Number(isIn(after)) - Number(isIn(before))
    if (change !== 0) {
      const changed = new Map(appservices)
      changed.set(target.appservice, (changed.get(target.appservice) ?? 0) + change)
      appservices = changed
    }
  }
  return { counts: counts as unknown as RoomCore['counts'], appservices }
}

function isIn(membership: string | null): boolean {
  return membership === 'join' || membership === 'invite'
}

/** Unread counts, the appservices' interest, and the bus. */
function announce(decision: Decision, core: RoomCore, row: EventRow, draft: Draft, target: UserRow | null): void {
  const readers = joinedSyncers(decision, core.key)
  const users = new Set(readers.map((user) => user.key))
  if (target?.syncs) users.add(target.key)
  if (draft.sender.syncs) markReadBySending(decision, core, row, draft.sender)
  const event = { type: draft.type, sender: draft.sender.userId, room_id: core.roomId, content: draft.content }
  notifyUsers(decision, core, row, draft.stateKey === undefined ? event : { ...event, state_key: draft.stateKey }, readers, target)

  const appservices: number[] = []
  for (const registration of registrations(decision)) {
    if (!concerns(registration, core, draft, target)) continue
    appservices.push(registration.key)
    noteInterest(decision, registration.key, row.order, row.room)
  }
  writeCheckpoints(decision, core, row, draft, appservices)
  decision.announce(draft.type === 'm.room.member' ? 'membership' : 'event', { rooms: [core.key], users, appservices })
}

/** An appservice is told of rooms with its users, of what its users did, and of rooms in its namespaces. */
function concerns(registration: ReturnType<typeof registrations>[number], core: RoomCore, draft: Draft, target: UserRow | null): boolean {
  const { key, namespaces } = registration
  // A bridge that is just creating the room does not know it yet: it would answer the owner's join with "not a portal".
  if (draft.created && target?.appservice !== key) return false
  if (!registration.ownEvents && draft.sender.appservice === key) return false
  return (
    (core.appservices.get(key) ?? 0) > 0 ||
    draft.sender.appservice === key ||
    target?.appservice === key ||
    namespaces.rooms.matches(core.roomId)
  )
}

/** The content if it is an object. Errors: M_BAD_JSON. */
export function contentOf(value: unknown): JsonObject {
  if (!isObject(value)) throw new MatrixError('M_BAD_JSON', 'content must be an object')
  return value
}
