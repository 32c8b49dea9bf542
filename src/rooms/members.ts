/** Who is in a room, and in which rooms somebody is. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers */
import { forbidden, invalidParam } from '../errors.ts'
import { isMembership } from '../rules/room-view.ts'
import type { MembershipRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { parseToken } from '../stream/token.ts'
import type { Actor } from '../users/actor.ts'
import { userIdsOf } from '../users/user-ids.ts'
import { requireUser } from '../users/users.ts'
import { checkPuppetRead } from './puppets.ts'
import { noSuchRoom } from './room-core.ts'
import { jsonArray, memberPagesAt } from './state.ts'
import { type Readable, requireReadable } from './visibility.ts'

const membersPerPage = 1_000
const usualPage = 100

export interface Members {
  readonly roomId: string
  /** a token: the members as they were then */
  readonly at?: string | null | undefined
  readonly membership?: string | null | undefined
  readonly notMembership?: string | null | undefined
}

/** The m.room.member events as pieces of a JSON array. Errors: M_FORBIDDEN, M_INVALID_PARAM for a bad token or membership. */
export async function members(instance: Instance, actor: Actor, args: Members): Promise<AsyncIterable<string>> {
  for (const wanted of [args.membership, args.notMembership]) {
    if (wanted && !isMembership(wanted)) throw invalidParam(`${wanted} is not a membership`)
  }
  const at = args.at ? parseToken(args.at, 'at') : null
  const readable = await requireReadable(instance, actor, args.roomId)
  const point = at === null || at < 1 ? readable.upTo : Math.min(at, readable.upTo)
  const wants = (membership: string): boolean =>
    (!args.membership || membership === args.membership) && (!args.notMembership || membership !== args.notMembership)
  return jsonArray(instance, actor, readable, () => memberPagesAt(instance, readable.room.key, point, wants))
}

/** The joined members as a JSON object `{"@user": {"display_name", "avatar_url"}}`, in pieces. Errors: M_FORBIDDEN unless joined. */
export async function joinedMembers(instance: Instance, actor: Actor, roomId: string): Promise<AsyncIterable<string>> {
  const room = await instance.storage.first('room', { roomId })
  if (!room) throw noSuchRoom(actor.userId)
  await checkPuppetRead(instance, actor, room.key)
  const own = await instance.storage.first('membership', { room: room.key, user: requireUser(actor) })
  if (own?.membership !== 'join') throw noSuchRoom(actor.userId)
  return joinedMemberPieces(instance, room.key)
}

async function* joinedMemberPieces(instance: Instance, room: number): AsyncGenerator<string> {
  let separator = ''
  yield '{'
  for (let after: number | null = 0; after !== null; ) {
    const page: MemberPage = await memberPage(instance, room, { memberships: ['join'], after, limit: membersPerPage })
    const texts = page.members.map(({ userId, displayName, avatarUrl }) => {
      const profile = {
        ...(displayName === null ? {} : { display_name: displayName }),
        ...(avatarUrl === null ? {} : { avatar_url: avatarUrl }),
      }
      return `${JSON.stringify(userId)}:${JSON.stringify(profile)}`
    })
    if (texts.length > 0) yield separator + texts.join(',')
    if (texts.length > 0) separator = ','
    after = page.next
  }
  yield '}'
}

export interface Member extends MembershipRow {
  readonly userId: string
}

export interface MemberPage {
  readonly members: readonly Member[]
  /** user key to go on after, null at the end */
  readonly next: number | null
}

/** Members in the order in which their users came to be. */
export async function memberPage(
  instance: Instance,
  room: number,
  page: { memberships: readonly string[]; after: number; limit: number },
): Promise<MemberPage> {
  const rows = await instance.storage.find('membership', {
    where: { room, user: { gt: page.after }, membership: { in: page.memberships } },
    orderBy: ['user'],
    limit: page.limit + 1,
  })
  const shown = rows.slice(0, page.limit)
  const ids = await userIdsOf(
    instance,
    shown.map((row) => row.user),
  )
  return {
    members: shown.flatMap((row) => ({ ...row, userId: ids.get(row.user) ?? '' })).filter((member) => member.userId !== ''),
    next: rows.length > page.limit ? shown.at(-1)!.user : null,
  }
}

/** The same for whoever reads the room now. Errors: M_FORBIDDEN for who has left: `members` says who was there then. */
export async function memberList(
  instance: Instance,
  { room, membership }: Readable,
  page: {
    memberships?: readonly string[] | null | undefined
    after?: string | null | undefined
    first?: number | null | undefined
    before?: string | null | undefined
    last?: number | null | undefined
  },
): Promise<MemberPage> {
  if (membership && membership.membership !== 'join') throw forbidden('You are not in this room any more')
  if (typeof page.last === 'number' || page.before) throw invalidParam('Members are paged with first and after')
  const after = page.after ? /^m(\d{1,15})$/.exec(page.after)?.[1] : '0'
  const limit = page.first ?? usualPage
  if (after === undefined) throw invalidParam(`after: ${page.after} is not a cursor of members`)
  if (limit < 1 || limit > membersPerPage) throw invalidParam(`A page has 1 to ${membersPerPage} members`)
  return memberPage(instance, room.key, { memberships: page.memberships ?? ['join'], after: Number(after), limit })
}

export function memberCursor(member: Member): string {
  return `m${member.user}`
}

/** Ids of the rooms that who is asking is joined to. */
export async function joinedRooms(instance: Instance, actor: Actor): Promise<string[]> {
  const memberships = await instance.storage.find('membership', { where: { user: requireUser(actor), membership: 'join' } })
  // A deleted room has no row, while its memberships wait to be reclaimed.
  const rooms = await instance.storage.find('room', { where: { key: { in: memberships.map(({ room }) => room) } }, orderBy: ['key'] })
  return rooms.map((room) => room.roomId)
}
