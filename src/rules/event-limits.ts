import { type Refusal, refuse } from './values.ts'

/** Most bytes of a whole event, as canonical JSON. https://spec.matrix.org/v1.19/client-server-api/#size-limits */
export const maxEventBytes = 65_536

/** Most bytes of `sender`, `room_id`, `event_id`, `state_key` and `type`, each. */
export const maxIdentifierBytes = 255

/** What is limited of an event that is about to be stored. */
export interface SizedEvent {
  readonly roomId: string
  readonly eventId: string
  readonly sender: string
  readonly type: string
  readonly stateKey?: string | undefined
  /** The event as stored: the client event's JSON without `room_id` and `unsigned`. */
  readonly json: string
}

/** Refuses what no room may hold: 413 M_TOO_LARGE, or 400 M_INVALID_PARAM for text that a database refuses or changes. */
export function checkEventLimits(event: SizedEvent): Refusal | null {
  // "The complete event MUST NOT be larger than 65536 bytes": with the room id, which the stored text leaves out.
  if (byteLength(event.json) + byteLength(event.roomId) + '"room_id":"",'.length > maxEventBytes) {
    return refuse('M_TOO_LARGE', 'event too large')
  }
  return (
    checkIdentifier('sender', event.sender) ??
    checkIdentifier('room_id', event.roomId) ??
    checkIdentifier('type', event.type) ??
    checkIdentifier('event_id', event.eventId) ??
    (event.stateKey === undefined ? null : checkIdentifier('state_key', event.stateKey))
  )
}

/** Refuses an identifier of more than 255 bytes, or with a NUL or a lone surrogate. `name` says which field it was. */
export function checkIdentifier(name: string, value: string): Refusal | null {
  // A UTF-16 code unit takes at most three bytes of UTF-8.
  if (value.length * 3 > maxIdentifierBytes && byteLength(value) > maxIdentifierBytes) {
    return refuse('M_TOO_LARGE', `'${name}' too large`)
  }
  return isStorable(value) ? null : refuse('M_INVALID_PARAM', `'${name}' must not contain NUL or a lone surrogate`)
}

/** False for text with a NUL or a lone surrogate. */
export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0')
}

// https://spec.matrix.org/v1.19/appendices/#server-name
const serverName = /^(?:[0-9A-Za-z.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/

export function isServerName(value: string): boolean {
  return serverName.test(value)
}

/**
 * A user id that others may name, historical ones included: any localpart without `:` and NUL.
 * https://spec.matrix.org/v1.19/appendices/#historical-user-ids
 */
export function isUserId(value: string): boolean {
  return hasLocalpartAndDomain('@', value)
}

const localpart = /^[a-z0-9._=\-/+]+$/

/** A localpart that a new account may take. https://spec.matrix.org/v1.19/appendices/#user-identifiers */
export function isLocalpart(value: string): boolean {
  return localpart.test(value)
}

/** https://spec.matrix.org/v1.19/appendices/#room-aliases */
export function isRoomAlias(value: string): boolean {
  return hasLocalpartAndDomain('#', value)
}

/** A room id of any room version; those of v12 have no domain. https://spec.matrix.org/v1.19/appendices/#room-ids */
export function isRoomId(value: string): boolean {
  return isOpaqueId('!', value)
}

/** Event ids are opaque: hashes, or `$id:remote` chosen by a bridge. https://spec.matrix.org/v1.19/appendices/#event-ids */
export function isEventId(value: string): boolean {
  return isOpaqueId('$', value)
}

function isOpaqueId(sigil: string, value: string): boolean {
  return value.length > 1 && value.startsWith(sigil) && checkIdentifier('id', value) === null
}

function hasLocalpartAndDomain(sigil: string, value: string): boolean {
  const colon = value.indexOf(':')
  return colon > 1 && isOpaqueId(sigil, value) && isServerName(value.slice(colon + 1))
}

function byteLength(text: string): number {
  return Buffer.byteLength(text, 'utf8')
}
