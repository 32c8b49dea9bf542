/**
 * How a stored event's text becomes what a client reads: `room_id` and `unsigned` are put in before the last brace, nothing is parsed.
 * https://spec.matrix.org/v1.19/client-server-api/#room-event-format
 */
import type { EventRow, MembershipRow } from '../storage/tables.ts'
import type { Actor } from '../users/actor.ts'

/** For whom an event is written. `device`: of an appservice without a device, the name its transaction ids are kept under. */
export interface Requester {
  readonly user: number
  readonly device: string | null
}

export function requesterOf(actor: Actor, user: number): Requester {
  return { user, device: actor.device ?? (actor.appservice === null ? null : `as:${actor.appservice}`) }
}

/** What is put into one event, as JSON text where it is text. */
export interface Additions {
  /** left out in /sync, whose rooms name it */
  readonly roomId?: string | undefined
  readonly now: number
  readonly requester: Requester
  /** the requester's membership row in the event's room */
  readonly membership?: MembershipRow | undefined
  /** the state event that this one replaced */
  readonly replaced?: EventRow | undefined
  /** the redaction, as a whole client event */
  readonly redactedBecause?: string | undefined
  /** the `m.relations` object */
  readonly relations?: string | undefined
  /** `event_format: federation`: the same event with the keys that such a client looks for */
  readonly federation?: boolean | undefined
}

export function eventText(row: EventRow, additions: Additions): string {
  let text = row.json.slice(0, -1)
  if (additions.roomId !== undefined) text += `,"room_id":${JSON.stringify(additions.roomId)}`
  if (additions.federation) text += ',"hashes":{},"signatures":{},"auth_events":[],"prev_events":[],"depth":1'
  return `${text},"unsigned":${unsignedText(row, additions)}}`
}

function unsignedText(row: EventRow, { now, requester, membership, replaced, redactedBecause, relations }: Additions): string {
  let text = `{"age":${Math.max(0, now - row.ts)},"com.beeper.hs.order":${row.order},"com.beeper.hs.suborder":0`
  text += `,"com.beeper.hs.order_string":"${orderString(row.order)}"`
  // A device id is unique within its user only.
  if (row.txnId !== null && row.device === requester.device && row.sender === requester.user) {
    text += `,"transaction_id":${JSON.stringify(row.txnId)}`
  }
  // "including any changes caused by the event". What it was before the current one began is not known here, and may be left out.
  if (membership && row.order >= membership.since) text += `,"membership":"${membership.membership}"`
  if (replaced) {
    const content = (JSON.parse(replaced.json) as { content?: object }).content ?? {}
    text += `,"prev_content":${JSON.stringify(content)},"replaces_state":${JSON.stringify(replaced.eventId)}`
  }
  if (redactedBecause !== undefined) text += `,"redacted_because":${redactedBecause}`
  if (relations !== undefined) text += `,"m.relations":${relations}`
  return `${text}}`
}

/**
 * Beeper's clients sort by this text alone: base32hex of ten bytes, the order as 64 bits and the suborder, which is 0 here, as 16, both with
 * their sign bit turned. Two halves of 40 bits, because a number holds no 80 exactly.
 */
export function orderString(order: number): string {
  const high = Math.floor(order / 2 ** 32)
  const low = order - high * 2 ** 32
  const first = (high + 2 ** 31) * 2 ** 8 + Math.floor(low / 2 ** 24)
  const second = (low % 2 ** 24) * 2 ** 16 + 2 ** 15
  return (first.toString(32).padStart(8, '0') + second.toString(32).padStart(8, '0')).toUpperCase()
}
