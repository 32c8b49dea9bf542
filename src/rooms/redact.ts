/** Redactions. https://spec.matrix.org/v1.19/client-server-api/#redactions */
import { checkRedaction } from '../rules/auth.ts'
import { redactEvent as strip } from '../rules/redaction.ts'
import type { JsonObject } from '../rules/values.ts'
import type { EventRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { userSuspended } from '../users/standing.ts'
import { once, sentAs } from '../users/transactions.ts'
import { actingUser, userOf } from '../users/users.ts'
import { appendEvent, repeatedId } from './append.ts'
import { unmark } from './notifications.ts'
import { checkPuppet } from './puppets.ts'
import { removeRelation } from './relations.ts'
import { coreOf, findEvent, joinedSyncers, type RoomCore, roomOf, setCore, throwRefusal, viewOf, withState } from './room-core.ts'
import { keepUnredacted } from './unredacted.ts'

export interface Redact {
  readonly roomId: string
  readonly eventId: string
  readonly txnId: string
  /** reason and whatever else the caller put into the body: all of it stands in the redaction's content */
  readonly content: JsonObject
  readonly ts?: number | null | undefined
}

/**
 * Empties an event of the caller's own, or anyone's with the redact power level. Errors: M_FORBIDDEN, M_NOT_FOUND, M_USER_SUSPENDED for others'
 * events while suspended.
 */
export function redact(instance: Instance, actor: Actor, args: Redact): Promise<{ eventId: string }> {
  return command(instance, (decision) => {
    const core = coreOf(decision, roomOf(decision, args.roomId, actor.userId))
    checkPuppet(actor, core)
    const sender = actingUser(decision, actor)
    return once(decision, actor, sender.key, { scope: `redact/${args.roomId}/${args.eventId}`, txnId: args.txnId }, () =>
      redactEvent(decision, core, sender, {
        eventId: args.eventId,
        content: args.content,
        ...sentAs(actor, args.txnId),
        ...(actor.appservice !== null && args.ts ? { ts: args.ts } : {}),
      }),
    )
  })
}

interface Redaction {
  /** the target */
  readonly eventId: string
  readonly content: JsonObject
  readonly device: string | null
  readonly txnId: string | null
  readonly ts?: number
  /** of the redaction itself, chosen by an appservice */
  readonly ownId?: string
}

/** Appends the redaction and rewrites its target, which takes no position of its own: the redaction's tells of it. */
export function redactEvent(decision: Decision, core: RoomCore, sender: UserRow, args: Redaction): { eventId: string } {
  // Named in the content from v11 on and at the top level before; both, for clients of either age.
  const draft = {
    type: 'm.room.redaction',
    sender,
    content: { ...args.content, redacts: args.eventId },
    redacts: args.eventId,
    device: args.device,
    txnId: args.txnId,
    ...(args.ts === undefined ? {} : { ts: args.ts }),
    ...(args.ownId === undefined ? {} : { eventId: args.ownId }),
  }
  const repeated = repeatedId(decision, core, draft)
  if (repeated) return { eventId: repeated }
  const target = findEvent(decision, core, args.eventId)
  const author = target && userOf(decision, target.sender)
  throwRefusal(checkRedaction(sender.userId, target && author && { type: target.type, sender: author.userId }, viewOf(decision, core)))
  // What is one's own, one may take back also while suspended.
  if (sender.suspendedAt !== null && author && author.key !== sender.key) throw userSuspended()
  const appended = appendEvent(decision, core, draft)
  if (target) emptyEvent(decision, appended.core, target, appended.row.order)
  return { eventId: appended.row.eventId }
}

/** What a redaction at `order` leaves of an event. */
export function emptyEvent(decision: Decision, core: RoomCore, target: EventRow, order: number): void {
  if (target.redactedBy !== null) return
  const event = JSON.parse(target.json) as JsonObject
  const stripped = strip(event, core.version)
  const json = JSON.stringify(stripped)
  keepUnredacted(decision, target, json)
  decision.put('event', { ...target, json, redactedBy: order, changedKeys: null })
  if (event['content']) removeRelation(decision, core, target, event['content'] as JsonObject)
  unmark(decision, target, joinedSyncers(decision, core.key))
  forgetState(decision, core, target.type, target.stateKey, target.order, stripped)
}

/** Redacted state stays in force with what is left of it. */
function forgetState(decision: Decision, core: RoomCore, type: string, stateKey: string | null, order: number, stripped: JsonObject): void {
  if (stateKey === null) return
  if (type === 'm.room.member') {
    const user = decision.find('user', { userId: stateKey })
    const membership = user && decision.get('membership', { room: core.key, user: user.key })
    if (membership?.order === order) decision.put('membership', { ...membership, displayName: null, avatarUrl: null })
  } else if (stateKey === '' && decision.get('state', { room: core.key, type, stateKey })?.order === order) {
    setCore(decision, withState(core, type, stripped['sender'] as string, (stripped['content'] ?? {}) as JsonObject))
  }
}
