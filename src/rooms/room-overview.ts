/** What a room is called and looks like: for lists of rooms, the directory, and whoever left at the time of their leave. */
import { type HistoryVisibility, parseHistoryVisibility } from '../rules/history-visibility.ts'
import type { JsonObject } from '../rules/values.ts'
import type { MembershipRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { userIdsOf } from '../users/user-ids.ts'
import { requireUser } from '../users/users.ts'
import { checkPuppetRead } from './puppets.ts'
import { stateRowsAt } from './state.ts'
import { type Readable, requireReadable } from './visibility.ts'

export interface RoomOverview {
  /** of the room */
  readonly key: number
  readonly name: string | null
  readonly topic: string | null
  readonly canonicalAlias: string | null
  /** mxc: address */
  readonly avatarUrl: string | null
  readonly joinRule: string
  readonly historyVisibility: HistoryVisibility
  readonly guestCanJoin: boolean
  /** null: an ordinary room */
  readonly roomType: string | null
  readonly encrypted: boolean
  /** null where the reader has left */
  readonly joinedMemberCount: number | null
  readonly invitedMemberCount: number | null
}

/** Stripped state too says all of these: who is invited may know them. */
const overviewTypes = [
  'm.room.create',
  'm.room.name',
  'm.room.topic',
  'm.room.canonical_alias',
  'm.room.avatar',
  'm.room.join_rules',
  'm.room.guest_access',
  'm.room.history_visibility',
  'm.room.encryption',
]

/**
 * A room as somebody has it in their list: also one they are invited to or knock at.
 * Errors: M_FORBIDDEN for a room that they may not know.
 */
export async function viewRoom(instance: Instance, actor: Actor, roomId: string): Promise<Readable> {
  const user = requireUser(actor)
  const room = await instance.storage.first('room', { roomId })
  const membership = room && (await instance.storage.first('membership', { room: room.key, user }))
  if (!room || !membership || !isPending(membership)) return requireReadable(instance, actor, roomId)
  await checkPuppetRead(instance, actor, room.key)
  return { room, user, membership, upTo: membership.order }
}

/** Invited or knocking: the room is known by its overview, its timeline is not. */
export function isPending(membership: MembershipRow): boolean {
  return membership.membership === 'invite' || membership.membership === 'knock'
}

/** Whoever has left sees the room as it was then. */
export function hasLeft({ membership, upTo }: Readable): boolean {
  return membership !== null && !isPending(membership) && membership.membership !== 'join' && upTo <= membership.order
}

/** As the rooms are now, in the order of their keys. */
export async function readOverviews(instance: Instance, keys: readonly number[]): Promise<RoomOverview[]> {
  const [counts, states] = await Promise.all([
    instance.storage.memberCounts(keys),
    instance.storage.currentState(keys, { types: overviewTypes }),
  ])
  const contents = new Map(
    states.filter((state) => state.stateKey === '').map((state) => [`${state.room} ${state.type}`, contentOf(state)]),
  )
  return keys.map((key) => overview(key, (type) => contents.get(`${key} ${type}`), counts.get(key) ?? {}))
}

/** As it was when the reader left. */
export async function readOverviewAt(instance: Instance, { room, upTo }: Readable): Promise<RoomOverview> {
  const states = await stateRowsAt(instance, room.key, upTo, overviewTypes)
  const contents = new Map(states.filter((state) => state.stateKey === '').map((state) => [state.type, contentOf(state)]))
  return overview(room.key, (type) => contents.get(type), null)
}

/** How many others a room without a name is named after. */
const mostHeroes = 5

/** What to call the rooms, as https://spec.matrix.org/v1.19/client-server-api/#calculating-the-display-name-for-a-room: name, alias, others. */
export async function readTitles(instance: Instance, user: number, overviews: readonly RoomOverview[]): Promise<string[]> {
  const nameless = overviews.filter((room) => room.name === null && room.canonicalAlias === null).map((room) => room.key)
  const members =
    nameless.length > 0
      ? await instance.storage.firstMembers(nameless, ['join', 'invite'], mostHeroes + 1)
      : new Map<number, MembershipRow[]>()
  const ids = await userIdsOf(
    instance,
    [...members.values()].flat().map((member) => member.user),
  )
  return overviews.map((room) => {
    const others = (members.get(room.key) ?? []).filter((member) => member.user !== user).slice(0, mostHeroes)
    const heroes = others.map((member) => member.displayName ?? ids.get(member.user)).filter((name) => name !== undefined)
    return room.name ?? room.canonicalAlias ?? (heroes.join(', ') || 'Empty room')
  })
}

function overview(
  key: number,
  content: (type: string) => JsonObject | undefined,
  counts: Readonly<Record<string, number>> | null,
): RoomOverview {
  return {
    key,
    name: text(content('m.room.name')?.['name']),
    topic: text(content('m.room.topic')?.['topic']),
    canonicalAlias: text(content('m.room.canonical_alias')?.['alias']),
    avatarUrl: text(content('m.room.avatar')?.['url']),
    joinRule: text(content('m.room.join_rules')?.['join_rule']) ?? 'invite',
    historyVisibility: parseHistoryVisibility(content('m.room.history_visibility')),
    guestCanJoin: content('m.room.guest_access')?.['guest_access'] === 'can_join',
    roomType: text(content('m.room.create')?.['type']),
    encrypted: content('m.room.encryption') !== undefined,
    joinedMemberCount: counts && (counts['join'] ?? 0),
    invitedMemberCount: counts && (counts['invite'] ?? 0),
  }
}

function contentOf(event: { readonly json: string }): JsonObject {
  return (JSON.parse(event.json) as { content?: JsonObject }).content ?? {}
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
