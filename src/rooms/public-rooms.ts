/** The public room directory, and the aliases of a room. https://spec.matrix.org/v1.19/client-server-api/#published-room-directory */
import { invalidParam, notFound } from '../errors.ts'
import { isArray, type Json } from '../rules/values.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { type RoomOverview, readOverviews } from './room-overview.ts'
import { requireReadable } from './visibility.ts'

/** Rooms per page unless less is asked for. */
const mostPerPage = 500

export interface PublicRooms {
  readonly limit?: number | null | undefined
  /** next_batch or prev_batch of an earlier page */
  readonly since?: string | null | undefined
  /** part of a name, a topic or an alias, whatever the case */
  readonly searchTerm?: string | null | undefined
  /** a list: only rooms of these types; null among them: rooms without one */
  readonly roomTypes?: Json | undefined
  /** another server's directory, which nobody here can ask */
  readonly server?: string | null | undefined
}

export interface PublicRoom extends RoomOverview {
  readonly roomId: string
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
  if (args.roomTypes && !isArray(args.roomTypes)) throw invalidParam('room_types must be a list')
  const start = offset(args.since)
  const limit = Math.min(Math.max(args.limit ?? mostPerPage, 1), mostPerPage)
  const listed = await instance.storage.find('room', { where: { listed: 1 } })
  const overviews = await readOverviews(
    instance,
    listed.map(({ key }) => key),
  )
  const rooms = overviews.map((overview, i) => ({ ...overview, roomId: listed[i]!.roomId })).filter((room) => isSought(room, args))
  rooms.sort((a, b) => size(b) - size(a) || (a.roomId < b.roomId ? -1 : 1))
  return {
    rooms: rooms.slice(start, start + limit),
    nextBatch: start + limit < rooms.length ? `p${start + limit}` : null,
    prevBatch: start > 0 ? `p${Math.max(0, start - limit)}` : null,
    total: rooms.length,
  }
}

function size(room: PublicRoom): number {
  return room.joinedMemberCount ?? 0
}

function offset(token: string | null | undefined): number {
  if (!token) return 0
  if (!/^p\d{1,9}$/.test(token)) throw invalidParam(`since: ${token} is not a token of this directory`)
  return Number(token.slice(1))
}

function isSought(room: PublicRoom, { searchTerm, roomTypes }: PublicRooms): boolean {
  if (isArray(roomTypes) && !roomTypes.includes(room.roomType)) return false
  const term = searchTerm?.toLowerCase()
  return !term || [room.name, room.topic, room.canonicalAlias].some((text) => text?.toLowerCase().includes(term))
}

/** Aliases of this server that point to the room. Errors: M_FORBIDDEN for who may not read it. */
export async function roomAliases(instance: Instance, actor: Actor, roomId: string): Promise<string[]> {
  const { room } = await requireReadable(instance, actor, roomId)
  return (await instance.storage.find('alias', { where: { room: room.key }, orderBy: ['alias'] })).map(({ alias }) => alias)
}
