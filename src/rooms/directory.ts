/** Room aliases and the public room directory. https://spec.matrix.org/v1.19/client-server-api/#room-aliases */
import { type Errcode, forbidden, MatrixError, notFound } from '../errors.ts'
import { isRoomAlias } from '../rules/event-limits.ts'
import { namedLevel, requiredLevel, userLevel } from '../rules/power-levels.ts'
import type { RoomRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import { type Instance, isLocal } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { registrations } from '../users/registrations.ts'
import { actingUser } from '../users/users.ts'
import { checkPuppet } from './puppets.ts'
import { coreOf, membershipOf, roomOf } from './room-core.ts'

/** Errors: M_EXCLUSIVE in another appservice's namespace; `taken` when the alias exists. */
export function putAlias(decision: Decision, actor: Actor, creator: UserRow, room: RoomRow, alias: string, taken: Errcode): void {
  for (const registration of registrations(decision)) {
    if (registration.key !== actor.appservice && registration.namespaces.aliases.exclusive(alias)) {
      throw new MatrixError('M_EXCLUSIVE', `Alias ${alias} belongs to an appservice`)
    }
  }
  const standing = decision.get('alias', { alias })
  // The alias of a deleted room is free.
  if (standing && decision.get('room', { key: standing.room }))
    throw new MatrixError(taken, `Room alias ${alias} already exists`, {}, taken === 'M_UNKNOWN' ? 409 : 400)
  decision.put('alias', { instance: decision.instance.key, alias, room: room.key, creator: creator.key })
}

/** Errors: 409 M_UNKNOWN when taken, M_INVALID_PARAM, M_EXCLUSIVE, M_FORBIDDEN. */
export async function createAlias(instance: Instance, actor: Actor, args: { alias: string; roomId: string }): Promise<boolean> {
  await command(instance, (decision) => {
    if (!isRoomAlias(args.alias) || !isLocal(instance, args.alias))
      throw new MatrixError('M_INVALID_PARAM', `${args.alias} is not a local room alias`)
    const room = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, room)
    checkPuppet(actor, core)
    const user = actingUser(decision, actor)
    if (membershipOf(decision, room.key, user.key)?.membership !== 'join') throw forbidden(`User ${user.userId} not in room`)
    putAlias(decision, actor, user, room, args.alias, 'M_UNKNOWN')
  })
  return true
}

/** By who made it, by whoever may set the canonical alias, or by the owner. */
export async function deleteAlias(instance: Instance, actor: Actor, aliasName: string): Promise<boolean> {
  await command(instance, (decision) => {
    const alias = decision.get('alias', { alias: aliasName })
    const room = alias && decision.get('room', { key: alias.room })
    if (!alias || !room) throw notFound(`Room alias ${aliasName} not found`)
    const core = coreOf(decision, room)
    checkPuppet(actor, core)
    const user = actingUser(decision, actor)
    const mayName = userLevel(core.powerLevels, user.userId) >= requiredLevel(core.powerLevels, 'm.room.canonical_alias', true)
    const joined = membershipOf(decision, room.key, user.key)?.membership === 'join'
    if (alias.creator !== user.key && !(joined && mayName) && !actor.admin)
      throw forbidden("You don't have permission to delete the alias.")
    decision.remove('alias', alias)
  })
  return true
}

/** Lists a room in the directory or takes it out. Errors: M_FORBIDDEN below the level of the canonical alias. */
export async function setRoomListed(instance: Instance, actor: Actor, args: { roomId: string; listed: boolean }): Promise<boolean> {
  await command(instance, (decision) => {
    const room = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, room)
    checkPuppet(actor, core)
    const user = actingUser(decision, actor)
    const joined = membershipOf(decision, room.key, user.key)?.membership === 'join'
    const level = userLevel(core.powerLevels, user.userId)
    if (
      !joined ||
      level < Math.max(namedLevel(core.powerLevels, 'state_default'), requiredLevel(core.powerLevels, 'm.room.canonical_alias', true))
    ) {
      throw forbidden('You are not allowed to change the room list')
    }
    decision.put('room', { ...room, listed: args.listed ? 1 : 0 })
  })
  return true
}

/** Errors: M_NOT_FOUND. */
export async function roomOfAlias(instance: Instance, aliasName: string): Promise<{ roomId: string; servers: string[] }> {
  const alias = await instance.storage.first('alias', { alias: aliasName })
  const room = alias && (await instance.storage.first('room', { key: alias.room }))
  if (!room) throw notFound(`Room alias ${aliasName} not found`)
  return { roomId: room.roomId, servers: [instance.bridgeDomain] }
}

export async function isRoomListed(instance: Instance, roomId: string): Promise<boolean> {
  const room = await instance.storage.first('room', { roomId })
  if (!room) throw notFound('Room not found')
  return room.listed === 1
}
