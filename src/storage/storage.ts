/**
 * The only door to a database. A shard is one database (SQLite file or PostgreSQL) with one writer and one reading side;
 * domains hold the `Storage` of their instance, which cannot name another instance's rows: the key is bound here.
 */
import type { ChangeSet, KeyOf } from './change-set.ts'
import type { Rows, TableName } from './tables.ts'

export type Value = string | number | null
export type Condition =
  | Value
  | { in: readonly Value[] }
  | { gt?: number | string; gte?: number; lt?: number; lte?: number }
  | { not: Value }
  | { startsWith: string }
/** Columns → conditions, all of which must hold; `instance` is added by the storage itself. */
export type Where<T extends TableName> = { readonly [C in Exclude<keyof Rows[T], 'instance'>]?: Condition }

export interface Find<T extends TableName> {
  readonly where: Where<T>
  /** column names, "-" in front for descending */
  readonly orderBy?: readonly `${'' | '-'}${Extract<keyof Rows[T], string>}`[]
  readonly limit?: number
  readonly offset?: number
}

/** Current state as stored: the event's text with its place. */
export interface StateText {
  readonly room: number
  readonly type: string
  readonly stateKey: string
  readonly order: number
  readonly json: string
}

/** A relation; or of `count` events in a thread the `order` of the newest, and whether the `user` who asks sent one of them (1 or 0). */
export interface Related extends Pick<Rows['relation'], 'room' | 'parent' | 'order' | 'relType' | 'type' | 'sender'> {
  readonly count: number
  readonly participated: number
}

export interface Descendants {
  readonly steps: number
  readonly from: number
  readonly to: number
  readonly newestFirst: boolean
  readonly limit: number
  readonly relType?: string | null | undefined
  readonly type?: string | null | undefined
}

export interface Thread {
  /** event id of its root */
  readonly parent: string
  /** order of its newest reply */
  readonly latest: number
  /** 1 when the `user` who asks sent a reply */
  readonly participated: number
}

/** Reads of one instance. A row written by a queued, uncommitted change set is not seen. */
export interface Storage {
  find<T extends TableName>(table: T, find: Find<T>): Promise<Rows[T][]>
  /** The same, of which only the primary keys are read: all that a removal needs, however large the rows are. */
  keys<T extends TableName>(table: T, find: Find<T>): Promise<KeyOf<T>[]>
  /** The row with this primary key or unique index, or null. `by` names every column of it but `instance`. */
  first<T extends TableName>(table: T, by: Where<T>): Promise<Rows[T] | null>
  count<T extends TableName>(table: T, where: Where<T>): Promise<number>
  /** For each room the last `limit` events with after < order <= until, oldest first; one query or one prepared statement for all. */
  lastEvents(rooms: readonly number[], range: { after: number | null; until: number; limit: number }): Promise<Map<number, Rows['event'][]>>
  /** Events by place, in no order; missing ones are left out. */
  eventsAt(places: readonly { room: number; order: number }[]): Promise<Rows['event'][]>
  /** Events of a room by their ids, in no order; missing ones are left out. */
  eventsById(room: number, eventIds: readonly string[]): Promise<Rows['event'][]>
  /** What relates to events, given as room → event ids, in one of these ways, no newer than `upTo`; in no order. A thread is one row. */
  relationsTo(
    parents: ReadonlyMap<number, readonly string[]>,
    relTypes: readonly string[],
    options?: { readonly user?: number; readonly upTo?: number },
  ): Promise<Related[]>
  /**
   * The orders of what relates to an event, or to what relates to it, in at most so many steps, between two orders (both included).
   * `relType` and `type`: only these.
   */
  descendants(room: number, eventId: string, options: Descendants): Promise<number[]>
  /** Threads of a room, the one with the newest reply first: with a newest reply no newer than `before`, as of `upTo`. */
  threads(room: number, options: { user: number; upTo: number; before: number; limit: number }): Promise<Thread[]>
  /** Memberships by room and user, in no order; missing ones are left out. */
  membersAt(places: readonly { room: number; user: number }[]): Promise<Rows['membership'][]>
  /** For each room the first `limit` members with one of these memberships, by the order of their m.room.member. */
  firstMembers(rooms: readonly number[], memberships: readonly string[], limit: number): Promise<Map<number, Rows['membership'][]>>
  /** Current state of the rooms, memberships excepted; `types`: only these; `after`: only rows with order > after. */
  currentState(rooms: readonly number[], options?: { types?: readonly string[]; after?: number }): Promise<StateText[]>
  /** For each room how many members have each membership. */
  memberCounts(rooms: readonly number[]): Promise<Map<number, Record<string, number>>>
  /** For each appservice key how many joined or invited members of the room are its users. */
  appserviceCounts(room: number): Promise<Map<number, number>>
  /** Unread notifications of a user, of events no newer than `upTo`: per room and thread. */
  unreadCounts(
    user: number,
    rooms?: readonly number[],
    upTo?: number,
  ): Promise<{ room: number; thread: string; notify: number; highlight: number }[]>
  /** Position of the newest message of a device that is not among its newest `messages`, or beyond their newest `bytes`; null when all are. */
  toDeviceSurplus(user: number, deviceId: string, most: { messages: number; bytes: number }): Promise<number | null>
  /**
   * Memberships in these rooms, of users who have or had device keys; none of a room that was deleted. `users`: each of them is looked up in each
   * room; `members`: each member of the rooms among them. The answer is the same.
   */
  membersWithKeys(rooms: readonly number[], by: 'users' | 'members'): Promise<Rows['membership'][]>
  /** Of these users those who are joined or invited to a room that the user is joined to. */
  sharingRooms(user: number, others: readonly number[]): Promise<number[]>
  /** Users who have or had device keys and were in one of these rooms, which is deleted by now, as the user was; also who forgot it before. */
  departedWithKeys(user: number, rooms: readonly number[]): Promise<number[]>
  /** Joined rooms of a user with the order of each room's newest event, newest first. */
  roomsByActivity(user: number, options: { before?: number; limit: number }): Promise<{ room: number; order: number }[]>
}

/** One database. Lookups cross instances: only instances/, users/sessions and media ids use them. */
export interface Shard {
  readonly name: string
  readonly engine: 'sqlite' | 'postgresql'
  /** What `storage` and `enqueue` of an instance are bound to. */
  storage(instance: number): Storage
  /** Reads of the registers that do not begin with an instance: instance, ownership, secret, ownerId, mediaId. */
  lookup<T extends 'instance' | 'ownership' | 'secret' | 'ownerId' | 'mediaId'>(
    table: T,
    find: { where: { readonly [C in keyof Rows[T]]?: Condition }; limit?: number },
  ): Promise<Rows[T][]>
  /**
   * Takes the instance for this process: 503 while another living process has it. Resolves with the position to continue from:
   * the ceiling, or ceiling + 100 000 when it was not closed cleanly.
   */
  open(instance: number): Promise<{ position: number }>
  /** Gives the instance back; `clean` when everything queued was committed. */
  release(instance: number): Promise<void>
  /**
   * Queues a change set behind the instance's earlier ones. Resolves when it is durable (after `onCommitted` of it and of all before it ran,
   * in queue order); rejects with its own error, or 503 when an earlier one of the instance failed or the outcome is unknown.
   */
  enqueue(change: ChangeSet, onCommitted: () => void): Promise<void>
  /** Resolves when everything queued so far by the instance is durable; at once when nothing is queued. */
  flushed(instance: number): Promise<void>
  /** True while the instance's queue is full (1 000 change sets or 16 MB): admission stops that line. */
  isFull(instance: number): boolean
  /** Called when an instance's memory can no longer be trusted: it must be dropped whole (`failed`) or opened again (`lost`). */
  onInstanceLost: (instance: number, why: 'failed' | 'lost', error: Error) => void
  /** Creating an instance's row and owner lookup happens before it is open: a batch outside any instance's queue. */
  register(change: ChangeSet): Promise<void>
  /** Runs while no other process on this database runs anything under the same name; 503 when it does not come to its turn. */
  exclusively<T>(name: string, run: () => Promise<T>): Promise<T>
  /** Gives freed pages back to the file, a step at a time; nothing to do on PostgreSQL. */
  reclaimSpace(): Promise<void>
  stats(): { batches: number; changeSets: number; rows: number; queued: number; commitSeconds: number }
  [Symbol.asyncDispose](): Promise<void>
}
