/** What one computation of a sync answers, and for whom. */
import type { Requester } from '../rooms/event-text.ts'
import type { SyncFilter } from '../rules/filter.ts'
import type { EventRow, MembershipRow, RoomRow } from '../storage/tables.ts'
import type { Kind } from '../stream/bus.ts'
import type { Instance } from '../stream/instance.ts'

export interface Scope {
  readonly instance: Instance
  readonly requester: Requester
  readonly userId: string
  /** null: an appservice's user without one, who is told nothing of devices and keys */
  readonly device: string | null
  readonly filter: SyncFilter
  /** null: initial */
  readonly since: number | null
  readonly until: number
  readonly stateAfter: 'state_after' | 'org.matrix.msc4222.state_after' | null
  /** rooms with events bring `com.beeper.inbox.preview`, and summaries count without bots */
  readonly previews: boolean
  /** keys of the users whom the user ignores; their state is shown all the same */
  readonly ignored: ReadonlySet<number>
  /** false: nothing of the kind happened there since `since`, so that it need not be read */
  mayHave(room: number, kind: Kind): boolean
  /** a room that the user left: no counts, no ephemeral events */
  readonly isLeft?: boolean
}

/** A room that is or was the user's, as of `until`. */
export interface SyncedRoom {
  readonly room: RoomRow
  readonly membership: MembershipRow
  /** all state is sent: initial, newly joined, or full_state */
  readonly full: boolean
  /** timeline from the beginning: initial or newly joined */
  readonly fresh: boolean
  /** the user was in the room before: the client may know older events already */
  readonly again?: boolean
  /** how the user's membership stands, where that came after the last stay: a ban, a declined invitation */
  readonly closing?: EventRow
}

/** Below every order. */
export const beginning = Number.MIN_SAFE_INTEGER

/** Adds to the list under a key. */
export function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}
