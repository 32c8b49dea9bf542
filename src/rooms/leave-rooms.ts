/** Many users, or one user, leaving many rooms: a slice of a job. */
import type { MembershipRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { appendEvent } from './append.ts'
import { coreOf, joinedSyncers, membershipOf } from './room-core.ts'

/** Events of leaving in one change set. */
export const leavesOfSlice = 200

/** Joined, invited or knocking. */
export function isPresent({ membership }: { readonly membership: string }): boolean {
  return membership !== 'leave' && membership !== 'ban'
}

/** Of these users, in rooms that are not deleted. */
export async function livingMemberships({ storage }: Instance, users: readonly number[]): Promise<MembershipRow[]> {
  const memberships = await storage.find('membership', { where: { user: { in: users } } })
  const keys = [...new Set(memberships.map(({ room }) => room))]
  const living = new Set((await storage.keys('room', { where: { key: { in: keys } } })).map(({ key }) => key))
  return memberships.filter(({ room }) => living.has(room))
}

/** Who left meanwhile is passed over. */
export function leaveRooms(decision: Decision, memberships: readonly MembershipRow[]): void {
  const places = memberships.map(({ room, user }) => ({
    room: () => decision.get('room', { key: room }),
    user: () => decision.get('user', { key: user }),
    membership: () => membershipOf(decision, room, user)?.membership,
  }))
  decision.all(places.flatMap(({ room, user, membership }) => [room, user, membership]))
  decision.all(
    places.map(
      ({ room }) =>
        () =>
          room() && coreOf(decision, room()!),
    ),
  )
  decision.all(
    memberships.map(
      ({ room }) =>
        () =>
          joinedSyncers(decision, room),
    ),
  )
  for (const place of places) {
    const [room, user, membership] = [place.room(), place.user(), place.membership()]
    if (!room || !user || membership === undefined || !isPresent({ membership })) continue
    appendEvent(decision, coreOf(decision, room), {
      type: 'm.room.member',
      stateKey: user.userId,
      sender: user,
      content: { membership: 'leave' },
    })
  }
}
