/** Heroes and counts, by which clients name a room. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync (RoomSummary) */
import type { MembershipRow } from '../storage/tables.ts'
import type { JoinedRoom, Scope } from './joined-rooms.ts'
import type { StatePiece } from './room-state.ts'
import type { Timeline } from './timelines.ts'

export interface Summary {
  readonly joined: number
  readonly invited: number
  /** absent when the room has a name or a canonical alias */
  readonly heroes?: readonly string[]
  readonly heroKeys: readonly number[]
}

const heroCount = 5

/** For rooms that are sent whole or whose members changed. */
export async function readSummaries(
  scope: Scope,
  rooms: readonly JoinedRoom[],
  timelines: ReadonlyMap<number, Timeline>,
  membersChanged: (room: number) => boolean,
): Promise<Map<number, Summary>> {
  const { instance, requester } = scope
  const summaries = new Map<number, Summary>()
  const some = rooms.filter(
    ({ room, full }) => full || membersChanged(room.key) || timelines.get(room.key)!.limited || timelines.get(room.key)!.events.some(namesRoom),
  )
  if (some.length === 0) return summaries
  const keys = some.map(({ room }) => room.key)
  const counts = await instance.storage.memberCounts(keys)
  const named = new Set(
    (await instance.storage.currentState(keys, { types: ['m.room.name', 'm.room.canonical_alias'] })).filter(isName).map((piece) => piece.room),
  )
  const nameless = keys.filter((key) => !named.has(key))
  const first = await instance.storage.firstMembers(nameless, ['join', 'invite'], heroCount + 1)
  const lonely = nameless.filter((key) => heroesOf(first.get(key), requester.user).length === 0)
  const left = lonely.length > 0 ? await instance.storage.firstMembers(lonely, ['leave', 'ban'], heroCount + 1) : new Map<number, MembershipRow[]>()
  const heroKeys = new Map<number, number[]>()
  for (const key of nameless) {
    const heroes = heroesOf(first.get(key), requester.user)
    heroKeys.set(key, heroes.length > 0 ? heroes : heroesOf(left.get(key), requester.user))
  }
  const ids = new Map<number, string>()
  const users = [...new Set([...heroKeys.values()].flat())]
  if (users.length > 0) for (const user of await instance.storage.find('user', { where: { key: { in: users } } })) ids.set(user.key, user.userId)
  for (const key of keys) {
    const count = counts.get(key) ?? {}
    const heroes = heroKeys.get(key)
    summaries.set(key, {
      joined: count['join'] ?? 0,
      invited: count['invite'] ?? 0,
      ...(heroes ? { heroes: heroes.flatMap((hero) => ids.get(hero) ?? []) } : {}),
      heroKeys: heroes ?? [],
    })
  }
  return summaries
}

function heroesOf(members: readonly MembershipRow[] | undefined, self: number): number[] {
  return (members ?? []).map((member) => member.user).filter((user) => user !== self).slice(0, heroCount)
}

function namesRoom(event: { type: string; stateKey: string | null }): boolean {
  return event.stateKey === '' && (event.type === 'm.room.name' || event.type === 'm.room.canonical_alias')
}

/** An emptied name or alias is none. */
function isName(piece: Pick<StatePiece, 'type' | 'stateKey' | 'json'>): boolean {
  if (piece.stateKey !== '') return false
  const { content } = JSON.parse(piece.json) as { content: { name?: unknown; alias?: unknown } }
  return Boolean(piece.type === 'm.room.name' ? content.name : content.alias)
}
