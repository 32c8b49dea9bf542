/** Message events and state events. https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room */
import { forbidden, MatrixError } from '../errors.ts'
import { canonicalAliases, checkCanonicalAlias } from '../rules/auth.ts'
import { isEventId } from '../rules/event-limits.ts'
import { isMembership } from '../rules/room-view.ts'
import { type JsonObject, sameJson } from '../rules/values.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { once, sentAs } from '../users/transactions.ts'
import { actingUser } from '../users/users.ts'
import { appendEvent, repeatedId } from './append.ts'
import { changeMembership, mayChangeAnyMember } from './membership.ts'
import { messageSendStatusType, mutateEventKey } from './mutate-event-key.ts'
import { checkPuppet } from './puppets.ts'
import { redactEvent } from './redact.ts'
import { coreOf, type RoomCore, roomOf, throwRefusal } from './room-core.ts'

/** What only an appservice may choose. */
export interface EventOptions {
  /** origin_server_ts, ms */
  readonly ts?: number | null | undefined
  readonly eventId?: string | null | undefined
}

export interface SendMessage extends EventOptions {
  readonly roomId: string
  readonly type: string
  readonly txnId: string
  readonly content: JsonObject
}

/**
 * Sends a message event; the same txnId again answers the first event id, and so does the same chosen id with the same content. Errors:
 * M_FORBIDDEN, M_TOO_LARGE, M_DUPLICATE_ANNOTATION, M_INVALID_PARAM (409) for an id that is taken.
 */
export function sendMessage(instance: Instance, actor: Actor, args: SendMessage): Promise<{ eventId: string }> {
  return command(instance, (decision) => {
    const room = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, room)
    checkPuppet(actor, core)
    const sender = actingUser(decision, actor)
    return once(decision, actor, sender.key, { scope: `send/${args.roomId}/${args.type}`, txnId: args.txnId }, () => {
      // Since v1.18 a redaction may be sent like a message.
      if (args.type === 'm.room.redaction') {
        const target = args.content['redacts']
        if (typeof target !== 'string') throw new MatrixError('M_MISSING_PARAM', 'redacts is missing')
        const { eventId: ownId, ...time } = chosen(actor, args)
        return redactEvent(decision, core, sender, {
          ...time,
          ...(ownId === undefined ? {} : { ownId }),
          eventId: target,
          content: args.content,
          ...sentAs(actor, args.txnId),
        })
      }
      const draft = {
        type: args.type,
        sender,
        content: args.content,
        ...sentAs(actor, args.txnId),
        ...chosen(actor, args),
      }
      const repeated = repeatedId(decision, core, draft)
      if (repeated) return { eventId: repeated }
      const { row } = appendEvent(decision, core, draft)
      if (actor.appservice !== null && args.type === messageSendStatusType) mutateEventKey(decision, core, args.content)
      return { eventId: row.eventId }
    })
  })
}

export interface SendState extends EventOptions {
  readonly roomId: string
  readonly type: string
  readonly stateKey: string
  readonly content: JsonObject
  /** `fi.mau.transaction_id`: makes the request repeatable; the event tells it to the device that sent it, as that of a message does */
  readonly txnId?: string | null | undefined
}

/**
 * Sets state; the same content again by the same user answers the event that stands, and the same chosen id with the same content its own
 * event, also when other state stands now. Errors: M_FORBIDDEN, M_BAD_ALIAS, M_TOO_LARGE, M_INVALID_PARAM (409) for an id that is taken.
 */
export function sendState(instance: Instance, actor: Actor, args: SendState): Promise<{ eventId: string }> {
  return command(instance, (decision) => {
    const room = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, room)
    checkPuppet(actor, core)
    const sender = actingUser(decision, actor)
    const id = args.txnId ? { scope: `state/${args.roomId}/${args.type}/${args.stateKey}`, txnId: args.txnId } : null
    return once(decision, actor, sender.key, id, () => {
      const options = { ...chosen(actor, args), ...(args.txnId ? sentAs(actor, args.txnId) : {}) }
      if (args.type === 'm.room.member') {
        const vouched = mayChangeAnyMember(decision, actor, core, args.stateKey) && isMembership(args.content['membership'])
        return changeMembership(decision, actor, core, sender, args.stateKey, args.content, { ...options, vouched })
      }
      const draft = { type: args.type, stateKey: args.stateKey, sender, content: args.content, ...options }
      const standing = repeatedId(decision, core, draft) ?? sameState(decision, core, sender.userId, args)
      if (standing) return { eventId: standing }
      if (args.type === 'm.room.canonical_alias') checkAliases(decision, core, args.content)
      const { row } = appendEvent(decision, core, draft)
      return { eventId: row.eventId }
    })
  })
}

/** `ts` and a chosen event id count for appservices only. */
export function chosen(actor: Actor, options: EventOptions): { ts?: number; eventId?: string } {
  if (actor.appservice === null) return {}
  const { ts, eventId } = options
  if (eventId && !isEventId(eventId)) throw new MatrixError('M_INVALID_PARAM', `${eventId} is not an event ID`)
  return { ...(ts ? { ts } : {}), ...(eventId ? { eventId } : {}) }
}

/** The id of the current state event when it says just this. */
export function sameState(
  decision: Decision,
  core: RoomCore,
  sender: string,
  args: { type: string; stateKey: string; content: JsonObject },
): string | null {
  const state = decision.get('state', { room: core.key, type: args.type, stateKey: args.stateKey })
  const row = state && decision.get('event', { room: core.key, order: state.order })
  if (!row || row.redactedBy !== null) return null
  const event = JSON.parse(row.json) as { sender: string; content: JsonObject }
  return event.sender === sender && sameJson(event.content, args.content) ? row.eventId : null
}

/** Each alias must exist and point to this room: M_BAD_ALIAS. Those that stand already may stay. */
function checkAliases(decision: Decision, core: RoomCore, content: JsonObject): void {
  throwRefusal(checkCanonicalAlias(content))
  const state = decision.get('state', { room: core.key, type: 'm.room.canonical_alias', stateKey: '' })
  const row = state && decision.get('event', { room: core.key, order: state.order })
  const standing = new Set(row ? canonicalAliases((JSON.parse(row.json) as { content: JsonObject }).content) : [])
  for (const alias of canonicalAliases(content)) {
    if (standing.has(alias)) continue
    if (decision.get('alias', { alias })?.room !== core.key) {
      throw new MatrixError('M_BAD_ALIAS', `Room alias ${alias} does not point to the room`)
    }
  }
}

/** Errors: M_FORBIDDEN for who is not in the room. */
export function requireJoined(membership: string | null | undefined, userId: string): void {
  if (membership !== 'join') throw forbidden(`User ${userId} not in room`)
}
