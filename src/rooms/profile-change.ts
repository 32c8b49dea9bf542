/**
 * Changing a profile. The user's own record is changed at once, with a row that says that rooms still show the old one; the copies that
 * joined rooms carry follow behind the answer, however many rooms a ghost is in. What changes again meanwhile is told as it is by then.
 */
import { MatrixError } from '../errors.ts'
import type { Json, JsonObject } from '../rules/values.ts'
import type { MembershipRow, StaleProfileRow, UserRow } from '../storage/tables.ts'
import { command, type Decision, prefetch } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { withProfileFields, withWholeProfile } from '../users/profiles.ts'
import { actingUser, putUser, requireSelf } from '../users/users.ts'
import { appendEvent } from './append.ts'
import { coreOf, joinedSyncers, membershipOf } from './room-core.ts'

/** Rooms that one command changes: others of the instance get their turn between two. */
const roomsPerCommand = 100
/** Profiles whose rooms are looked at before their rows are removed together: most ghosts are in no room yet when they get their name. */
const profilesPerRound = 100
/** After a failed commit. */
const pauseMs = 1_000

export interface ProfileChange {
  readonly userId: string
  /** null takes a field away */
  readonly fields: JsonObject
  /** fields that are not named are taken away */
  readonly whole?: boolean | null | undefined
}

/**
 * Changes a profile. displayname and avatar_url reach every joined room as an m.room.member event, after the answer.
 * https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
 * Errors: M_FORBIDDEN for another user's, M_BAD_JSON, M_INVALID_PARAM, M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE.
 */
export async function changeProfile(instance: Instance, actor: Actor, { userId, fields, whole }: ProfileChange): Promise<boolean> {
  requireSelf(actor, userId)
  await command(instance, (decision) => {
    const before = actingUser(decision, actor)
    const after = whole ? withWholeProfile(before, fields) : withProfileFields(before, fields)
    const looksSame = after.displayName === before.displayName && after.avatarUrl === before.avatarUrl
    if (looksSame && after.profile === before.profile) return
    const row = { ...after, position: decision.takePosition() }
    putUser(decision, row)
    decision.announce('profile', { users: [row.key] })
    if (looksSame) return
    decision.put('staleProfile', { instance: instance.key, user: row.key, position: row.position })
    decision.onCommitted(() => tellRooms(instance))
  })
  return true
}

/** Changes one field; null takes it away. Errors: as changeProfile. */
export function setProfileField(
  instance: Instance,
  actor: Actor,
  { userId, key, value }: { userId: string; key: string; value: Json },
): Promise<boolean> {
  return changeProfile(instance, actor, { userId, fields: { [key]: value } })
}

const telling = local(() => ({ underWay: false, again: false }))

/** Brings the rooms up to date behind the caller's back. Called when the instance opens as well, to go on where it was. */
export function tellRooms(instance: Instance): void {
  const state = telling(instance)
  state.again = true
  if (state.underWay) return
  state.underWay = true
  tellUntilDone(instance, state).catch((error: unknown) => {
    if (instance.closed.aborted) return
    instance.ports.log.warn({ err: error }, 'rooms were not told of a changed profile yet')
    instance.ports.timer(pauseMs, () => tellRooms(instance))
  })
}

async function tellUntilDone(instance: Instance, state: { underWay: boolean; again: boolean }): Promise<void> {
  try {
    while (state.again && !instance.closed.aborted) {
      state.again = false
      await tellAll(instance)
    }
  } finally {
    // In the same step as the last look at `again`, or a change in between would wait for the next one.
    state.underWay = false
  }
}

async function tellAll(instance: Instance): Promise<void> {
  while (!instance.closed.aborted) {
    const stale = await instance.storage.find('staleProfile', { where: {}, orderBy: ['user'], limit: profilesPerRound })
    if (stale.length === 0) return
    for (const { user } of stale) await tellRoomsOf(instance, user)
    await command(instance, (decision) => {
      for (const row of stale) if (isStanding(decision, row)) decision.remove('staleProfile', row)
    })
  }
}

/** Not when the profile changed again: some of the rooms may have been told of the one before. */
function isStanding(decision: Decision, row: StaleProfileRow): boolean {
  return decision.get('staleProfile', { user: row.user })?.position === row.position
}

/** Reads the rooms after the profile is durable: whoever joins later carries the new one. */
async function tellRoomsOf(instance: Instance, key: number): Promise<void> {
  for (let after = 0; !instance.closed.aborted; ) {
    const user = await instance.storage.first('user', { key })
    if (!user) return
    const slice = await instance.storage.find('membership', {
      where: { user: key, membership: 'join', room: { gt: after } },
      orderBy: ['room'],
      limit: roomsPerCommand,
    })
    const last = slice.at(-1)
    if (!last) return
    after = last.room
    const stale = slice.filter((membership) => !shows(membership, user))
    if (stale.length === 0) continue
    await loadRooms(instance, stale)
    await command(instance, (decision) => {
      // As it is by now: another change may have come between.
      const current = decision.get('user', { key })
      if (current) for (const { room } of stale) changeMember(decision, room, current)
    })
  }
}

function shows(membership: MembershipRow, user: UserRow): boolean {
  return membership.displayName === user.displayName && membership.avatarUrl === user.avatarUrl
}

function changeMember(decision: Decision, roomKey: number, user: UserRow): void {
  const room = decision.get('room', { key: roomKey })
  const membership = room && membershipOf(decision, roomKey, user.key)
  if (!room || membership?.membership !== 'join' || shows(membership, user)) return
  const row = decision.get('event', { room: roomKey, order: membership.order })
  const before = row ? (JSON.parse(row.json) as { content: JsonObject }).content : {}
  const { displayname: _name, avatar_url: _avatar, ...others } = before
  const content: JsonObject = {
    ...others,
    membership: 'join',
    ...(user.displayName !== null && { displayname: user.displayName }),
    ...(user.avatarUrl !== null && { avatar_url: user.avatarUrl }),
  }
  try {
    appendEvent(decision, coreOf(decision, room), { type: 'm.room.member', stateKey: user.userId, sender: user, content })
  } catch (error) {
    // A room that refuses (an event too large, say) keeps the old copy; the others go on. Refusals come before anything is put.
    if (!(error instanceof MatrixError)) throw error
  }
}

/** In a few rounds instead of one for each row. */
async function loadRooms(instance: Instance, memberships: readonly MembershipRow[]): Promise<void> {
  const rows = memberships.flatMap(({ room, user, order }) => [
    (decision: Decision) => decision.get('room', { key: room }),
    (decision: Decision) => membershipOf(decision, room, user),
    (decision: Decision) => decision.get('event', { room, order }),
  ])
  await prefetch(instance, rows)
  const cores = memberships.flatMap(({ room }) => [
    (decision: Decision) => {
      const row = decision.get('room', { key: room })
      return row && coreOf(decision, row)
    },
    (decision: Decision) => joinedSyncers(decision, room),
  ])
  await prefetch(instance, cores)
}
