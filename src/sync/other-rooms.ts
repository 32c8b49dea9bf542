/** The blocks of `rooms.invite`, `rooms.knock` and `rooms.leave`. */
import type { MembershipRow, RoomRow } from '../storage/tables.ts'
import { formatToken } from '../stream/token.ts'
import { type JoinedRoom, joinedBlocks, type Scope } from './joined-rooms.ts'
import { stateEventsAt } from './look-back.ts'

export interface OtherRoom {
  readonly room: RoomRow
  readonly membership: MembershipRow
}

/** What somebody outside may know of a room. https://spec.matrix.org/v1.19/client-server-api/#stripped-state */
export const strippedTypes = [
  'm.room.create',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.encryption',
]

/** Stripped state with the user's own member event: clients find out by it who invited. */
export async function strippedBlocks(scope: Scope, key: 'invite_state' | 'knock_state', rooms: readonly OtherRoom[]): Promise<string[]> {
  if (rooms.length === 0) return []
  const { storage } = scope.instance
  const state = await storage.currentState(rooms.map(({ room }) => room.key), { types: strippedTypes })
  const own = await stateEventsAt(storage, rooms.map(({ membership }) => membership), () => scope.until)
  // The one who invites is shown with name and avatar.
  const inviters = await storage.membersAt(rooms.map(({ room, membership }) => ({ room: room.key, user: membership.sender })))
  const inviterEvents = await stateEventsAt(storage, inviters.filter((row) => row.membership === 'join'), () => scope.until)
  return rooms.map(({ room }) => {
    const ofRoom = [...state, ...inviterEvents, ...own].filter((event) => event.room === room.key)
    return `${JSON.stringify(room.roomId)}:{"${key}":{"events":[${ofRoom.map((event) => strip(event.json)).join(',')}]}}`
  })
}

export function strip(json: string): string {
  const { type, sender, state_key, content } = JSON.parse(json) as Record<string, unknown>
  return JSON.stringify({ type, sender, state_key, content })
}

/** Rooms that were left: their timeline ends with the leaving, nothing after it is seen. */
export async function leaveBlocks(scope: Scope, rooms: readonly OtherRoom[]): Promise<string[]> {
  const blocks: string[] = []
  for (const { room, membership } of rooms) {
    // As a joined room would be at the moment of leaving.
    const fresh = scope.since === null
    const joined: JoinedRoom = { room, membership, full: fresh, fresh }
    const bound: Scope = { ...scope, until: Math.min(scope.until, membership.order), isLeft: true }
    const [block] = await joinedBlocks(bound, [joined])
    blocks.push(block ?? `${JSON.stringify(room.roomId)}:{"timeline":{"events":[],"limited":false,"prev_batch":${JSON.stringify(formatToken(membership.order))}},"${scope.stateAfter ?? 'state'}":{"events":[]}}`)
  }
  return blocks
}

/** A room that is deleted or forgotten leaves only this. */
export function departureBlock(roomId: string, position: number): string {
  return `${JSON.stringify(roomId)}:{"timeline":{"events":[],"limited":false,"prev_batch":${JSON.stringify(formatToken(position))}},"state":{"events":[]}}`
}
