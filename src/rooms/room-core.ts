/** What decisions about a room read at nearly every event, held as one immutable value. */
import { forbidden, MatrixError } from '../errors.ts'
import { isEventId } from '../rules/event-limits.ts'
import { type PowerLevels, parsePowerLevels, powerLevelsWithoutEvent } from '../rules/power-levels.ts'
import { creatorOf, defaultRoomVersion, findRoomVersion, type RoomVersion } from '../rules/room-version.ts'
import type { Membership, RoomView } from '../rules/room-view.ts'
import type { JsonObject, Refusal } from '../rules/values.ts'
import type { StateText } from '../storage/storage.ts'
import type { EventRow, MembershipRow, RoomRow, UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { Missing } from '../stream/memory.ts'
import { findUser, syncingUsers } from '../users/users.ts'

export interface RoomCore {
  readonly key: number
  readonly roomId: string
  readonly version: RoomVersion
  readonly creator: string | null
  readonly powerLevels: PowerLevels
  readonly joinRules: JsonObject | undefined
  readonly historyVisibility: JsonObject | undefined
  readonly encrypted: boolean
  /** how many users have each membership */
  readonly counts: Readonly<Record<Membership, number>>
  /** joined and invited users of each appservice */
  readonly appservices: ReadonlyMap<number, number>
  /** order of the newest event */
  readonly lastOrder: number
  /** position at which an appservice last gave an event its id, or a later one */
  readonly idsGivenAt: number
  /** position of the last batch of events; 0 when that is on the disk for sure */
  readonly batchedAt: number
}

export const coreTypes = ['m.room.create', 'm.room.power_levels', 'm.room.join_rules', 'm.room.history_visibility', 'm.room.encryption']

const noCounts: RoomCore['counts'] = { join: 0, invite: 0, leave: 0, ban: 0, knock: 0 }

/** The core of a room that has no event yet. */
export function emptyCore(room: RoomRow): RoomCore {
  return {
    key: room.key,
    roomId: room.roomId,
    version: findRoomVersion(room.version) ?? defaultRoomVersion,
    creator: null,
    powerLevels: powerLevelsWithoutEvent(null),
    joinRules: undefined,
    historyVisibility: undefined,
    encrypted: false,
    counts: noCounts,
    appservices: new Map(),
    lastOrder: 0,
    idsGivenAt: 0,
    batchedAt: 0,
  }
}

export function coreOf(decision: Decision, room: RoomRow): RoomCore {
  return decision.need(`core\0${room.key}`, () => loadCore(decision.instance, room))
}

export function setCore(decision: Decision, core: RoomCore): void {
  decision.set(`core\0${core.key}`, core)
}

async function loadCore(instance: Instance, room: RoomRow): Promise<RoomCore> {
  const { storage, position } = instance
  const [texts, counts, appservices, last] = await Promise.all([
    storage.currentState([room.key], { types: coreTypes }),
    storage.memberCounts([room.key]),
    storage.appserviceCounts(room.key),
    storage.find('event', { where: { room: room.key }, orderBy: ['-order'], limit: 1 }),
  ])
  const core: RoomCore = {
    ...emptyCore(room),
    counts: { ...noCounts, ...counts.get(room.key) },
    appservices,
    lastOrder: last[0]?.order ?? 0,
    idsGivenAt: position,
    // A core is not let go before what it tells of is published, so no batch is on its way while one is loaded.
    batchedAt: 0,
  }
  return withStates(core, texts)
}

/** The core with what the room's current state says. Only the empty state key is the room's: under another one anything may stand. */
export function withStates(core: RoomCore, texts: readonly StateText[]): RoomCore {
  const own = texts.filter(({ stateKey }) => stateKey === '')
  // The create event first: what the others mean depends on it.
  return own
    .sort((a, b) => a.order - b.order)
    .reduce((before, { type, json }) => {
      const { sender, content } = JSON.parse(json) as { sender: string; content: JsonObject }
      return withState(before, type, sender, content)
    }, core)
}

/** The core after a state event of one of the types it holds, with an empty state key. */
export function withState(core: RoomCore, type: string, sender: string, content: JsonObject): RoomCore {
  switch (type) {
    case 'm.room.create': {
      const creator = creatorOf(core.version, sender, content)
      return { ...core, creator, powerLevels: core.powerLevels.written ? core.powerLevels : powerLevelsWithoutEvent(creator) }
    }
    case 'm.room.power_levels':
      return { ...core, powerLevels: parsePowerLevels(content, core.version) }
    case 'm.room.join_rules':
      return { ...core, joinRules: content }
    case 'm.room.history_visibility':
      return { ...core, historyVisibility: content }
    case 'm.room.encryption':
      return { ...core, encrypted: true }
    default:
      return core
  }
}

/** An unknown room and one that the user may not know are told alike. */
export function noSuchRoom(userId: string): MatrixError {
  return forbidden(`User ${userId} not in room`)
}

export function findRoom(decision: Decision, roomId: string): RoomRow | null {
  return decision.find('room', { roomId })
}

export function roomOf(decision: Decision, roomId: string, userId: string): RoomRow {
  const room = findRoom(decision, roomId)
  if (!room) throw noSuchRoom(userId)
  return room
}

export function membershipOf(decision: Decision, room: number, user: number): MembershipRow | null {
  return decision.get('membership', { room, user })
}

/**
 * The event with this id, or null. The events of a batch are not held in memory: while one is on its way to the disk, it is waited for, or
 * the memory would remember that they do not exist.
 */
export function findEvent(decision: Decision, core: RoomCore, eventId: string): EventRow | null {
  // What somebody wrote into a content may be anything; a database refuses some of it.
  if (!isEventId(eventId)) return null
  const by = { room: core.key, eventId }
  if (!decision.knows('event', by)) awaitBatches(decision, core)
  return decision.find('event', by)
}

/** What the batches of the room brought can be read from the database from here on. */
export function awaitBatches({ instance }: Decision, core: RoomCore): void {
  if (core.batchedAt > instance.bus.published) throw new Missing(instance.shard.flushed(instance.key))
}

/** The joined users who have devices. */
export function joinedSyncers(decision: Decision, room: number): UserRow[] {
  return syncingUsers(decision).filter((user) => membershipOf(decision, room, user.key)?.membership === 'join')
}

/** The room as the auth rules read it. */
export function viewOf(decision: Decision, core: RoomCore): RoomView {
  const membership = (room: number, userId: string): Membership | null => {
    const user = findUser(decision, userId)
    return user ? ((membershipOf(decision, room, user.key)?.membership as Membership | undefined) ?? null) : null
  }
  return {
    version: core.version,
    creator: core.creator,
    powerLevels: core.powerLevels,
    joinRules: core.joinRules,
    membership: (userId) => membership(core.key, userId),
    isJoinedTo(roomId, userId) {
      const room = findRoom(decision, roomId)
      return room !== null && membership(room.key, userId) === 'join'
    },
  }
}

export function throwRefusal(refusal: Refusal | null): void {
  if (refusal) throw new MatrixError(refusal.errcode as MatrixError['errcode'], refusal.error)
}
