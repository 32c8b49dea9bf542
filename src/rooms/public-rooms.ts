/** The public room directory, and what it says of a room. https://spec.matrix.org/v1.19/client-server-api/#published-room-directory */
import { invalidParam, notFound } from '../errors.ts'
import { parseHistoryVisibility } from '../rules/history-visibility.ts'
import type { JsonObject } from '../rules/values.ts'
import type { RoomRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireReadable } from './visibility.ts'

/** Rooms per page unless less is asked for. */
const mostPerPage = 500

export interface PublicRooms {
  readonly limit?: number | null
  /** next_batch or prev_batch of an earlier page */
  readonly since?: string | null
  /** part of a name, a topic or an alias, whatever the case */
  readonly searchTerm?: string | null
  /** only rooms of these types; null among them: rooms without one */
  readonly roomTypes?: readonly (string | null)[] | null
  /** another server's directory, which nobody here can ask */
  readonly server?: string | null
}

export interface PublicRoom {
  readonly roomId: string
  readonly name: string | null
  readonly topic: string | null
  readonly canonicalAlias: string | null
  /** mxc: address */
  readonly avatarUrl: string | null
  readonly joinedMemberCount: number
  readonly joinRule: string
  /** null: an ordinary room */
  readonly roomType: string | null
  readonly worldReadable: boolean
  readonly guestCanJoin: boolean
}

export interface PublicRoomPage {
  readonly rooms: readonly PublicRoom[]
  readonly nextBatch: string | null
  readonly prevBatch: string | null
  readonly total: number
}

/** Rooms with the most members first. Errors: M_NOT_FOUND for another server's, M_INVALID_PARAM for a bad token. */
export async function publicRooms(instance: Instance, args: PublicRooms): Promise<PublicRoomPage> {
  if (args.server && args.server !== instance.bridgeDomain && args.server !== instance.userDomain)
    throw notFound('This homeserver does not federate')
  const start = offset(args.since)
  const limit = Math.min(Math.max(args.limit ?? mostPerPage, 1), mostPerPage)
  const listed = await instance.storage.find('room', { where: { listed: 1 } })
  const rooms = (await describeRooms(instance, listed)).filter((room) => isSought(room, args))
  rooms.sort((a, b) => b.joinedMemberCount - a.joinedMemberCount || (a.roomId < b.roomId ? -1 : 1))
  return {
    rooms: rooms.slice(start, start + limit),
    nextBatch: start + limit < rooms.length ? `p${start + limit}` : null,
    prevBatch: start > 0 ? `p${Math.max(0, start - limit)}` : null,
    total: rooms.length,
  }
}

function offset(token: string | null | undefined): number {
  if (!token) return 0
  if (!/^p\d{1,9}$/.test(token)) throw invalidParam(`since: ${token} is not a token of this directory`)
  return Number(token.slice(1))
}

function isSought(room: PublicRoom, { searchTerm, roomTypes }: PublicRooms): boolean {
  if (roomTypes && !roomTypes.includes(room.roomType)) return false
  const term = searchTerm?.toLowerCase()
  return !term || [room.name, room.topic, room.canonicalAlias].some((text) => text?.toLowerCase().includes(term))
}

const describedTypes = [
  'm.room.create',
  'm.room.name',
  'm.room.topic',
  'm.room.canonical_alias',
  'm.room.avatar',
  'm.room.join_rules',
  'm.room.guest_access',
  'm.room.history_visibility',
]

/** What anybody may know of rooms that are open to them, in the order of the rows. */
export async function describeRooms(instance: Instance, rooms: readonly RoomRow[]): Promise<PublicRoom[]> {
  const keys = rooms.map((room) => room.key)
  const [counts, states] = await Promise.all([
    instance.storage.memberCounts(keys),
    instance.storage.currentState(keys, { types: describedTypes }),
  ])
  const contents = new Map<string, JsonObject>()
  for (const state of states) {
    if (state.stateKey === '')
      contents.set(`${state.room} ${state.type}`, (JSON.parse(state.json) as { content?: JsonObject }).content ?? {})
  }
  return rooms.map(({ key, roomId }) => {
    const content = (type: string): JsonObject => contents.get(`${key} ${type}`) ?? {}
    return {
      roomId,
      name: text(content('m.room.name')['name']),
      topic: text(content('m.room.topic')['topic']),
      canonicalAlias: text(content('m.room.canonical_alias')['alias']),
      avatarUrl: text(content('m.room.avatar')['url']),
      joinedMemberCount: counts.get(key)?.['join'] ?? 0,
      joinRule: text(content('m.room.join_rules')['join_rule']) ?? 'invite',
      roomType: text(content('m.room.create')['type']),
      worldReadable: parseHistoryVisibility(content('m.room.history_visibility')) === 'world_readable',
      guestCanJoin: content('m.room.guest_access')['guest_access'] === 'can_join',
    }
  })
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/** Aliases of this server that point to the room. Errors: M_FORBIDDEN for who may not read it. */
export async function roomAliases(instance: Instance, actor: Actor, roomId: string): Promise<string[]> {
  const { room } = await requireReadable(instance, actor, roomId)
  return (await instance.storage.find('alias', { where: { room: room.key }, orderBy: ['alias'] })).map(({ alias }) => alias)
}
