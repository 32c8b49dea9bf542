/**
 * The inbox as Beeper's clients keep it: rooms that one is done with, muted, or wants to read again. All of it is room account data, which
 * every device of the user syncs.
 */
import { invalidParam, MatrixError } from '../errors.ts'
import { isRoomId } from '../rules/event-limits.ts'
import type { JsonObject } from '../rules/values.ts'
import type { RoomRow, UserRow } from '../storage/tables.ts'
import { command, type Decision, prefetch } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { putAccountData } from '../users/account-data.ts'
import type { Actor } from '../users/actor.ts'
import { actingUser } from '../users/users.ts'
import { setRoomAccountData } from './room-account-data.ts'
import { findRoom, membershipOf } from './room-core.ts'

export const inboxDoneType = 'com.beeper.inbox.done'

export interface Done {
  /** ms from now at which the user was or will be done with the room */
  readonly atDelta?: number | null | undefined
  /** what comes behind this order brings the room back */
  readonly atOrder?: number | null | undefined
}

/** Clients compare `at_ts` and `at_order` with what came since: a newer message brings the room back. */
export function putDone(decision: Decision, room: Pick<RoomRow, 'key'>, user: UserRow, done: Done & { readonly extra?: JsonObject }): void {
  const { atDelta, atOrder, extra } = done
  const content = {
    ...extra,
    updated_ts: decision.now,
    at_ts: decision.now + (atDelta ?? 0),
    ...(atOrder === null || atOrder === undefined ? {} : { at_order: atOrder }),
  }
  putAccountData(decision, user.key, room.key, inboxDoneType, JSON.stringify(content))
}

const muteType = 'com.beeper.mute'

/** `muted_until` of the account data is a time, ms; -1: for ever; 0: not muted. */
export function isMuted(decision: Decision, room: number, user: number): boolean {
  const row = decision.get('accountData', { user, room, type: muteType })
  const until = row && (JSON.parse(row.content) as JsonObject)['muted_until']
  return typeof until === 'number' && (until === -1 || until > decision.now)
}

/** Errors: M_FORBIDDEN for a room that the caller was never in, M_INVALID_PARAM. */
export function muteRoom(instance: Instance, actor: Actor, args: { roomId: string; until: number }): Promise<boolean> {
  const { roomId, until } = args
  if (!Number.isSafeInteger(until) || until < -1) throw invalidParam('until is a time in ms, -1 for ever, or 0')
  return setRoomAccountData(instance, actor, { userId: actor.userId, roomId, type: muteType, content: { muted_until: until } })
}

export interface Marks {
  /** ms: when the user was or will be done with the room; null: not done */
  readonly doneAt: number | null
  /** ms; -1: for ever; null: not muted */
  readonly mutedUntil: number | null
}

/** In the order of the rooms. */
export async function readMarks(instance: Instance, user: number, rooms: readonly number[]): Promise<Marks[]> {
  const rows = await instance.storage.find('accountData', { where: { user, room: { in: rooms }, type: { in: [inboxDoneType, muteType] } } })
  const found = new Map(rows.map((row) => [`${row.room} ${row.type}`, JSON.parse(row.content) as JsonObject]))
  const numberIn = (room: number, type: string, ...keys: readonly string[]): number | null => {
    const content = found.get(`${room} ${type}`) ?? {}
    return (keys.map((key) => content[key]).find((value) => Number.isSafeInteger(value)) as number | undefined) ?? null
  }
  return rooms.map((room) => {
    const until = numberIn(room, muteType, 'muted_until')
    return {
      // A client that archives by itself writes `updated_ts` alone.
      doneAt: numberIn(room, inboxDoneType, 'at_ts', 'updated_ts'),
      mutedUntil: until !== null && (until === -1 || until > instance.ports.now()) ? until : null,
    }
  })
}

/** Rooms that one request may name, and that one command changes. */
const mostRooms = 10_000
const roomsPerCommand = 200

/**
 * The caller is done with these rooms. Those that the caller is not in are passed over: one of many may have been deleted meanwhile.
 * Errors: M_INVALID_PARAM for what is no room id, M_TOO_LARGE for more than 10 000.
 */
export async function archiveRooms(instance: Instance, actor: Actor, roomIds: readonly string[]): Promise<boolean> {
  if (roomIds.length > mostRooms) throw new MatrixError('M_TOO_LARGE', `At most ${mostRooms} rooms are archived at once`)
  for (const roomId of roomIds) if (!isRoomId(roomId)) throw invalidParam(`${roomId} is not a room ID`)
  const wanted = [...new Set(roomIds)]
  for (let start = 0; start < wanted.length; start += roomsPerCommand) {
    const slice = wanted.slice(start, start + roomsPerCommand)
    await prefetch(
      instance,
      slice.map((roomId) => (decision) => findRoom(decision, roomId)),
    )
    await command(instance, (decision) => {
      const user = actingUser(decision, actor)
      const rooms = slice.flatMap((roomId) => findRoom(decision, roomId) ?? [])
      decision.all(
        rooms.map(
          ({ key }) =>
            () =>
              membershipOf(decision, key, user.key),
        ),
      )
      for (const room of rooms) if (membershipOf(decision, room.key, user.key)?.membership === 'join') putDone(decision, room, user, {})
    })
  }
  return true
}
