/** Changing a profile: the user's own record first, then the copies that joined rooms carry. */
import { MatrixError } from '../errors.ts'
import type { Json, JsonObject } from '../rules/values.ts'
import type { MembershipRow, UserRow } from '../storage/tables.ts'
import { command, type Decision, prefetch } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { withProfileField } from '../users/profiles.ts'
import { actingUser, putUser, requireSelf, userOf } from '../users/users.ts'
import { appendEvent } from './append.ts'
import { coreOf, joinedSyncers, membershipOf } from './room-core.ts'

/** Rooms that one command changes: others of the instance get their turn between two. */
const roomsPerCommand = 100

/**
 * Sets a profile field, or takes it away with null. displayname and avatar_url reach every joined room as an m.room.member event, unless
 * the room shows them already. https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
 * Errors: M_FORBIDDEN for another user's, M_BAD_JSON, M_INVALID_PARAM, M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE.
 */
export async function setProfileField(
  instance: Instance,
  actor: Actor,
  args: { userId: string; key: string; value: Json },
): Promise<boolean> {
  requireSelf(actor, args.userId)
  const user = await command(instance, (decision) => {
    const before = actingUser(decision, actor)
    const after = withProfileField(before, args.key, args.value)
    if (after.displayName === before.displayName && after.avatarUrl === before.avatarUrl && after.profile === before.profile) return before
    const row = { ...after, position: decision.takePosition() }
    putUser(decision, row)
    decision.announce('profile', { users: [row.key] })
    return row
  })
  if (args.key === 'displayname' || args.key === 'avatar_url') await tellRooms(instance, user)
  return true
}

/**
 * Reads the rooms after the profile is durable: whoever joins later carries the new profile. Rooms that show it are left alone, so a
 * repeated request finishes what a crash cut short.
 */
async function tellRooms(instance: Instance, user: UserRow): Promise<void> {
  const joined = await instance.storage.find('membership', { where: { user: user.key, membership: 'join' }, orderBy: ['room'] })
  const stale = joined.filter((membership) => !shows(membership, user))
  for (let start = 0; start < stale.length; start += roomsPerCommand) {
    const slice = stale.slice(start, start + roomsPerCommand)
    await loadRooms(instance, slice)
    await command(instance, (decision) => {
      // As it is by now: another change may have come between.
      const current = userOf(decision, user.key)
      for (const { room } of slice) changeMember(decision, room, current)
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
