/** Merging and splitting rooms, as a network merges and splits contacts: `com.beeper.chatmerging`. */
import { forbidden, invalidParam } from '../errors.ts'
import { putJob } from '../jobs/jobs.ts'
import type { RoomRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { type CreateRoom, makeRoom } from './create.ts'
import { hideRooms } from './delete.ts'
import { type Move, moveHistory } from './merge-plan.ts'
import { speaker } from './puppets.ts'
import { coreOf, roomOf } from './room-core.ts'

const mostRooms = 100
const mostValues = 1_000

/** A new room. */
interface Part {
  readonly create: CreateRoom
  /** who creates it: a user of the bridge */
  readonly userId?: string | null | undefined
}

export interface MergeRooms extends Part {
  readonly rooms: readonly string[]
  /** key of the content that says from which chat an event came */
  readonly key: string
}

/**
 * Makes one room of several: they are gone at once, and their history comes in below the new one's first event. Errors: M_FORBIDDEN unless an
 * appservice asks for rooms with a user of it, M_INVALID_PARAM for fewer than two rooms, and as createRoom.
 */
export async function mergeRooms(instance: Instance, actor: Actor, args: MergeRooms): Promise<{ roomId: string }> {
  const rooms = [...new Set(args.rooms)]
  if (rooms.length < 2 || rooms.length > mostRooms) throw invalidParam(`2 to ${mostRooms} rooms can be merged`)
  const [made] = await replaceRooms(instance, actor, { rooms, key: args.key, parts: [{ ...args, values: [] }] })
  return { roomId: made!.roomId }
}

export interface SplitRoom {
  readonly roomId: string
  /** key of the content that says to which part an event belongs */
  readonly key: string
  /** `values` of that key go to the part; an event without one goes where the event goes that it speaks of, else to the first part */
  readonly parts: readonly (Part & { readonly values: readonly string[] })[]
}

/** Makes several rooms of one, which is gone at once: the room of each value. Errors: as mergeRooms; M_INVALID_PARAM for a value given twice. */
export async function splitRoom(
  instance: Instance,
  actor: Actor,
  { roomId, key, parts }: SplitRoom,
): Promise<{ rooms: { value: string; roomId: string }[] }> {
  const values = parts.flatMap((part) => part.values)
  if (parts.length < 1 || parts.length > mostRooms) throw invalidParam(`A room is split into 1 to ${mostRooms} parts`)
  if (values.length > mostValues) throw invalidParam(`The parts have at most ${mostValues} values`)
  if (new Set(values).size < values.length) throw invalidParam('A value belongs to one part only')
  const made = await replaceRooms(instance, actor, { rooms: [roomId], key, parts })
  return { rooms: parts.flatMap((part, i) => part.values.map((value) => ({ value, roomId: made[i]!.roomId }))) }
}

interface Replacement {
  readonly rooms: readonly string[]
  readonly key: string
  readonly parts: SplitRoom['parts']
}

function replaceRooms(instance: Instance, actor: Actor, { rooms, key, parts }: Replacement): Promise<RoomRow[]> {
  return command(instance, (decision) => {
    const { appservice } = actor
    if (appservice === null) throw forbidden('Only bridges merge and split rooms')
    const old = rooms.map((roomId) => roomOf(decision, roomId, actor.userId))
    for (const room of old) {
      const isOurs = room.appservice === appservice || (coreOf(decision, room).appservices.get(appservice) ?? 0) > 0
      if (!isOurs) throw forbidden('The appservice has no user in this room')
    }
    // Before the new ones, which may take over a name.
    hideRooms(decision, old)
    const made = parts.map(({ create, userId }) => makeRoom(decision, creatorOf(decision, actor, appservice, userId), create, old))
    const move: Move = {
      from: old.map((room) => ({ room: room.key, roomId: room.roomId })),
      key,
      parts: made.map((room, i) => ({ room: room.key, values: parts[i]!.values })),
    }
    putJob(decision, moveHistory, move)
    return made
  })
}

function creatorOf(decision: Decision, actor: Actor, appservice: number, userId: string | null | undefined): Actor {
  if (!userId || userId === actor.userId) return actor
  const user = speaker(decision, appservice, userId)
  return { ...actor, user: user.key, userId, device: null, puppet: userId === decision.instance.ownerId }
}
