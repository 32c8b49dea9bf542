/** What a user keeps about a room: account data and tags, which are account data of type m.tag. */
import { notFound } from '../errors.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { type AccountData, checkAccountDataType, putAccountData } from '../users/account-data.ts'
import type { Actor } from '../users/actor.ts'
import { actingUser, requireSelf, requireUser } from '../users/users.ts'
import { checkPuppet, checkPuppetRead } from './puppets.ts'
import { coreOf, membershipOf, noSuchRoom, roomOf, throwRefusal } from './room-core.ts'

const tagType = 'm.tag'

interface OfRoom {
  readonly userId: string
  readonly roomId: string
}

/** Errors: M_FORBIDDEN for another user's or a room that the user was never in, M_BAD_JSON (405) for what the server keeps. */
export async function setRoomAccountData(
  instance: Instance,
  actor: Actor,
  args: OfRoom & { type: string; content: JsonObject },
): Promise<boolean> {
  checkAccountDataType(args.type)
  const content = JSON.stringify(args.content)
  await changeRoomData(instance, actor, args, args.type, () => content)
  return true
}

/** The content as JSON text. Errors: M_FORBIDDEN, M_NOT_FOUND. */
export async function readRoomAccountData(instance: Instance, actor: Actor, args: OfRoom & { type: string }): Promise<string> {
  const content = await readRoomData(instance, actor, args, args.type)
  if (content === null) throw notFound('Room account data not found')
  return content
}

/** Everything that the user keeps about these rooms, in their order; nothing for a room without. */
export async function readRoomsAccountData(instance: Instance, actor: Actor, rooms: readonly number[]): Promise<AccountData[][]> {
  const rows = await instance.storage.find('accountData', { where: { user: requireUser(actor), room: { in: rooms } }, orderBy: ['type'] })
  const byRoom = Map.groupBy(rows, (row) => row.room)
  return rooms.map((room) => byRoom.get(room) ?? [])
}

/** Tags by name. https://spec.matrix.org/v1.19/client-server-api/#room-tagging */
export async function readTags(instance: Instance, actor: Actor, args: OfRoom): Promise<JsonObject> {
  return tagsIn(await readRoomData(instance, actor, args, tagType))
}

/** `content` may hold `order`, a number from 0 to 1, and whatever else. Errors: M_FORBIDDEN, M_TOO_LARGE. */
export async function setTag(instance: Instance, actor: Actor, args: OfRoom & { tag: string; content: JsonObject }): Promise<boolean> {
  throwRefusal(checkIdentifier('tag', args.tag))
  await changeRoomData(instance, actor, args, tagType, (before) => tagsText({ ...tagsIn(before), [args.tag]: args.content }))
  return true
}

/** Answers too when there is no such tag. What is left is sent to clients, even when it is empty. */
export async function removeTag(instance: Instance, actor: Actor, args: OfRoom & { tag: string }): Promise<boolean> {
  await changeRoomData(instance, actor, args, tagType, (before) => {
    const tags = tagsIn(before)
    if (!Object.hasOwn(tags, args.tag)) return null
    const { [args.tag]: _removed, ...others } = tags
    return tagsText(others)
  })
  return true
}

/** `change` gives the new content, or null to leave it as it is. */
async function changeRoomData(
  instance: Instance,
  actor: Actor,
  args: OfRoom,
  type: string,
  change: (before: string | null) => string | null,
): Promise<void> {
  requireSelf(actor, args.userId)
  await command(instance, (decision) => {
    const room = roomOf(decision, args.roomId, actor.userId)
    checkPuppet(actor, coreOf(decision, room))
    const user = actingUser(decision, actor)
    requireKnown(decision, room.key, user.key, user.userId)
    const before = decision.get('accountData', { user: user.key, room: room.key, type })
    const after = change(before?.content ?? null)
    if (after !== null) putAccountData(decision, user.key, room.key, type, after)
  })
}

/** A room that the user was never in, or forgot, is like one that does not exist. */
function requireKnown(decision: Decision, room: number, user: number, userId: string): void {
  const membership = membershipOf(decision, room, user)
  if (!membership || membership.forgotten) throw noSuchRoom(userId)
}

async function readRoomData(instance: Instance, actor: Actor, args: OfRoom, type: string): Promise<string | null> {
  requireSelf(actor, args.userId)
  const { storage } = instance
  const user = requireUser(actor)
  const room = await storage.first('room', { roomId: args.roomId })
  const membership = room && (await storage.first('membership', { room: room.key, user }))
  if (!room || !membership || membership.forgotten) throw noSuchRoom(actor.userId)
  await checkPuppetRead(instance, actor, room.key)
  return (await storage.first('accountData', { user, room: room.key, type }))?.content ?? null
}

function tagsIn(content: string | null): JsonObject {
  const tags = content === null ? null : (JSON.parse(content) as JsonObject)['tags']
  return isObject(tags) ? tags : {}
}

function tagsText(tags: JsonObject): string {
  return JSON.stringify({ tags })
}

/** The tags among what a user keeps about a room. */
export function tagsAmong(data: readonly AccountData[]): JsonObject {
  return tagsIn(data.find(({ type }) => type === tagType)?.content ?? null)
}
