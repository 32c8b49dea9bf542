/** createRoom: one change set, so a refusal leaves nothing behind. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom */
import { invalidParam, MatrixError } from '../errors.ts'
import { domainOf, newRoomId } from '../ids.ts'
import { isRoomAlias, isRoomId } from '../rules/event-limits.ts'
import { checkPowerLevelOverride, initialPowerLevels, type RoomPreset } from '../rules/initial-power-levels.ts'
import { defaultRoomVersion, findRoomVersion, type RoomVersion } from '../rules/room-version.ts'
import type { JsonObject } from '../rules/values.ts'
import type { RoomRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { actingUser, ensureUser, findUser } from '../users/users.ts'
import { appendEvent, type Draft } from './append.ts'
import { putAlias } from './directory.ts'
import { changeMembership } from './membership.ts'
import { maySpeakFor } from './puppets.ts'
import { emptyCore, findRoom, membershipOf, setCore, throwRefusal } from './room-core.ts'

/** Other people whose membership in the rooms that a new one replaces is looked up. Where more are named, all of them are invited. */
const mostCarriedOver = 200

export interface InitialState {
  readonly type: string
  readonly stateKey: string
  readonly content: JsonObject
}

export interface CreateRoom {
  readonly preset?: RoomPreset | null | undefined
  readonly visibility?: 'public' | 'private' | null | undefined
  readonly roomVersion?: string | null | undefined
  readonly name?: string | null | undefined
  readonly topic?: string | null | undefined
  /** localpart of an alias, which has the domain of its creator */
  readonly aliasName?: string | null | undefined
  readonly isDirect?: boolean | null | undefined
  readonly invite?: readonly string[] | null | undefined
  readonly initialState?: readonly InitialState[] | null | undefined
  readonly creationContent?: JsonObject | null | undefined
  readonly powerLevelOverride?: JsonObject | null | undefined
  /** `com.beeper.initial_members`: joined from the start where the appservice speaks for them, else invited; appservices only */
  readonly initialMembers?: readonly string[] | null | undefined
  /** `com.beeper.auto_join_invites`: so are the invited; appservices only */
  readonly autoJoinInvites?: boolean | null | undefined
  /** `fi.mau.room_id`; appservices only */
  readonly roomId?: string | null | undefined
  /** `fi.mau.origin_server_ts`: that of all events the room begins with, ms; appservices only */
  readonly ts?: number | null | undefined
}

/** Errors: M_UNSUPPORTED_ROOM_VERSION, M_ROOM_IN_USE, M_INVALID_ROOM_STATE, M_INVALID_PARAM, M_FORBIDDEN. */
export function createRoom(instance: Instance, actor: Actor, args: CreateRoom): Promise<{ roomId: string }> {
  return command(instance, (decision) => ({ roomId: makeRoom(decision, actor, args).roomId }))
}

/** The same in the caller's change set. `replaced`: whoever is joined to one of these rooms may be joined to this one. */
export function makeRoom(decision: Decision, actor: Actor, args: CreateRoom, replaced: readonly RoomRow[] = []): RoomRow {
  const version = args.roomVersion ? findRoomVersion(args.roomVersion) : defaultRoomVersion
  if (!version) throw new MatrixError('M_UNSUPPORTED_ROOM_VERSION', `Room version ${args.roomVersion} is not supported`)
  const creator = actingUser(decision, actor)
  const room = newRoom(decision, actor, creator, version, args)
  let core = emptyCore(room)
  setCore(decision, core)

  const at = args.ts && actor.appservice !== null ? { ts: args.ts } : {}
  const add = (type: string, content: JsonObject, stateKey = ''): void => {
    const draft: Draft = { type, stateKey, content, sender: creator, ...at }
    core = appendEvent(decision, core, draft).core
  }
  const member = (sender: UserRow, userId: string, content: JsonObject): void => {
    core = changeMembership(decision, actor, core, sender, userId, content, at).core
  }

  add('m.room.create', createContent(version, creator, args))
  member(creator, creator.userId, { membership: 'join' })
  const { invited, joined } = members(decision, actor, creator, args, replaced)
  add('m.room.power_levels', powerLevels(creator, [...joined, ...invited], args))
  // An alias is made before the state that may name it.
  if (args.aliasName) {
    const alias = newAlias(creator, args.aliasName)
    putAlias(decision, actor, creator, room, alias, 'M_ROOM_IN_USE')
    add('m.room.canonical_alias', { alias })
  }
  for (const state of initialState(args)) add(state.type, state.content, state.stateKey)

  for (const userId of invited) member(creator, userId, { membership: 'invite', ...(args.isDirect ? { is_direct: true } : {}) })
  for (const userId of joined) {
    // The bridge vouches for its members: no invitation comes before.
    core = changeMembership(
      decision,
      actor,
      core,
      ensureUser(decision, userId, actor.appservice),
      userId,
      { membership: 'join' },
      { ...at, vouched: true, created: true },
    ).core
  }
  return room
}

function newRoom(decision: Decision, actor: Actor, creator: UserRow, version: RoomVersion, args: CreateRoom): RoomRow {
  const { instance } = decision
  const chosen = actor.appservice !== null ? args.roomId : null
  if (chosen && !isRoomId(chosen)) throw invalidParam(`${chosen} is not a room ID`)
  const roomId = chosen || newRoomId(instance.ports, instance.bridgeDomain)
  if (chosen && findRoom(decision, chosen)) throw new MatrixError('M_ROOM_IN_USE', `Room ${roomId} exists already`)
  const room: RoomRow = {
    instance: instance.key,
    key: decision.takePosition(),
    roomId,
    version: version.id,
    creator: creator.key,
    appservice: actor.appservice,
    lowest: 0,
    listed: args.visibility === 'public' ? 1 : 0,
    createdAt: decision.now,
  }
  decision.put('room', room)
  return room
}

function createContent(version: RoomVersion, creator: UserRow, args: CreateRoom): JsonObject {
  // Nothing here federates, and clients that read the flag would warn of it.
  const { 'm.federate': _federate, room_version: _version, creator: _creator, ...given } = args.creationContent ?? {}
  return { ...given, room_version: version.id, ...(version.creatorInContent ? { creator: creator.userId } : {}) }
}

/**
 * The owner is never left invited by a bridge; a ghost in either list is made if need be. Nobody for whom the bridge may not speak is joined
 * without having been asked.
 */
function members(
  decision: Decision,
  actor: Actor,
  creator: UserRow,
  args: CreateRoom,
  replaced: readonly RoomRow[],
): { invited: string[]; joined: string[] } {
  const { appservice } = actor
  const invited = new Set(args.invite ?? [])
  const joined = new Set<string>()
  if (appservice !== null) {
    const { ownerId } = decision.instance
    for (const userId of args.initialMembers ?? []) joined.add(userId)
    for (const userId of invited) if (args.autoJoinInvites || userId === ownerId) joined.add(userId)
  }
  decision.findAll('user', 'userId', [...joined, ...invited])
  if (appservice !== null) {
    const others = [...joined].filter((userId) => !maySpeakFor(decision, appservice, userId))
    const asked = joinedUsers(decision, others, replaced)
    for (const userId of others) {
      if (asked.has(userId)) continue
      joined.delete(userId)
      invited.add(userId)
    }
  }
  for (const userId of joined) invited.delete(userId)
  for (const list of [invited, joined]) list.delete(creator.userId)
  for (const userId of [...joined, ...invited]) ensureUser(decision, userId, appservice)
  return { invited: [...invited], joined: [...joined] }
}

/** Those of them who are joined to one of the rooms. */
function joinedUsers(decision: Decision, userIds: readonly string[], rooms: readonly RoomRow[]): ReadonlySet<string> {
  if (userIds.length > mostCarriedOver) return new Set()
  const users = userIds.flatMap((userId) => findUser(decision, userId) ?? [])
  const places = users.flatMap(({ key: user }) => rooms.map(({ key: room }) => ({ room, user })))
  decision.loadAll('membership', places, (missing) => decision.instance.storage.membersAt(missing))
  const isJoined = ({ key }: UserRow) => rooms.some((room) => membershipOf(decision, room.key, key)?.membership === 'join')
  return new Set(users.filter(isJoined).map(({ userId }) => userId))
}

function presetOf(args: CreateRoom): RoomPreset {
  return args.preset ?? (args.visibility === 'public' ? 'public_chat' : 'private_chat')
}

function powerLevels(creator: UserRow, invitees: readonly string[], args: CreateRoom): JsonObject {
  const override = args.powerLevelOverride ?? {}
  throwRefusal(checkPowerLevelOverride(override, creator.userId))
  return initialPowerLevels({ preset: presetOf(args), creator: creator.userId, invitees, override })
}

/** The preset's state, overridden by initial_state, overridden by name and topic; each key once, the last wins. */
function initialState(args: CreateRoom): InitialState[] {
  const preset = presetOf(args)
  const states = new Map<string, InitialState>()
  const set = (type: string, content: JsonObject, stateKey = ''): void => {
    states.delete(`${type}\0${stateKey}`)
    states.set(`${type}\0${stateKey}`, { type, stateKey, content })
  }
  set('m.room.join_rules', { join_rule: preset === 'public_chat' ? 'public' : 'invite' })
  set('m.room.history_visibility', { history_visibility: 'shared' })
  set('m.room.guest_access', { guest_access: preset === 'public_chat' ? 'forbidden' : 'can_join' })
  for (const state of args.initialState ?? []) {
    if (state.type === 'm.room.create' || state.type === 'm.room.member') {
      throw new MatrixError('M_INVALID_ROOM_STATE', `${state.type} cannot be an initial state`)
    }
    set(state.type, state.content, state.stateKey)
  }
  if (args.name) set('m.room.name', { name: args.name })
  if (args.topic) set('m.room.topic', { topic: args.topic, 'm.topic': { 'm.text': [{ body: args.topic }] } })
  return [...states.values()]
}

/** On the domain of who makes it: the aliases of bridges lie where their namespaces are, those of people where people are. */
function newAlias(creator: UserRow, localpart: string): string {
  const alias = `#${localpart}:${domainOf(creator.userId)}`
  if (localpart.includes(':') || !isRoomAlias(alias)) throw invalidParam(`${localpart} is not a localpart of an alias`)
  return alias
}
