/** Heroes and counts, by which clients name a room. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync (RoomSummary) */
import type { MembershipRow } from '../storage/tables.ts'
import { userIdsOf } from '../users/user-ids.ts'
import type { Scope, SyncedRoom } from './scope.ts'
import type { Timeline } from './timelines.ts'

export interface Summary {
  /** as JSON */
  readonly text: string
  readonly heroKeys: readonly number[]
}

const heroCount = 5

/** For rooms that are sent whole, or whose members or name changed. */
export async function readSummaries(
  scope: Scope,
  rooms: readonly SyncedRoom[],
  timelines: ReadonlyMap<number, Timeline>,
): Promise<Map<number, Summary>> {
  const summaries = new Map<number, Summary>()
  if (scope.isLeft) return summaries
  const { instance, requester } = scope
  const keys: number[] = []
  for (const { room, full } of rooms) {
    const { changes } = timelines.get(room.key)!
    if (full || changes.members || changes.names) keys.push(room.key)
  }
  if (keys.length === 0) return summaries
  const [counts, bots, names] = await Promise.all([
    instance.storage.memberCounts(keys),
    scope.previews ? roomsWithBot(scope, rooms, new Set(keys)) : null,
    instance.storage.currentState(keys, { types: ['m.room.name', 'm.room.canonical_alias'] }),
  ])
  const named = new Set(names.filter(isName).map(({ room }) => room))
  const heroes = await readHeroes(
    scope,
    keys.filter((key) => !named.has(key)),
    requester.user,
  )
  const ids = await userIdsOf(instance, [...heroes.values()].flat())
  for (const key of keys) {
    const count = counts.get(key) ?? {}
    const heroKeys = heroes.get(key)
    const joined = count['join'] ?? 0
    let text = `{"m.joined_member_count":${joined},"m.invited_member_count":${count['invite'] ?? 0}`
    if (bots) text += `,"com.beeper.m.joined_users_without_bots":${joined - (bots.has(key) ? 1 : 0)}`
    if (heroKeys) text += `,"m.heroes":${JSON.stringify(heroKeys.flatMap((hero) => ids.get(hero) ?? []))}`
    summaries.set(key, { text: `${text}}`, heroKeys: heroKeys ?? [] })
  }
  return summaries
}

/** Keys of the rooms in which the bot of the bridge that made them is joined: Beeper's clients do not count it. */
async function roomsWithBot({ instance }: Scope, rooms: readonly SyncedRoom[], wanted: ReadonlySet<number>): Promise<Set<number>> {
  const made = rooms.filter(({ room }) => room.appservice !== null && wanted.has(room.key))
  if (made.length === 0) return new Set()
  const appservices = await instance.storage.find('appservice', {
    where: { key: { in: [...new Set(made.map(({ room }) => room.appservice))] } },
  })
  const bots = new Map(appservices.map(({ key, bot }) => [key, bot]))
  const places = made.flatMap(({ room }) => {
    const user = bots.get(room.appservice ?? 0)
    return user === undefined ? [] : [{ room: room.key, user }]
  })
  const members = places.length === 0 ? [] : await instance.storage.membersAt(places)
  return new Set(members.filter(({ membership }) => membership === 'join').map(({ room }) => room))
}

/** "The first 5 members of the room, ordered by stream ordering, which are joined or invited"; if there are none, those who left. */
async function readHeroes({ instance }: Scope, rooms: readonly number[], self: number): Promise<Map<number, number[]>> {
  const heroes = new Map<number, number[]>()
  const read = async (keys: readonly number[], memberships: readonly string[]): Promise<void> => {
    if (keys.length === 0) return
    const first = await instance.storage.firstMembers(keys, memberships, heroCount + 1)
    for (const key of keys) heroes.set(key, heroesOf(first.get(key) ?? [], self))
  }
  await read(rooms, ['join', 'invite'])
  await read(
    rooms.filter((key) => heroes.get(key)!.length === 0),
    ['leave', 'ban'],
  )
  return heroes
}

function heroesOf(members: readonly MembershipRow[], self: number): number[] {
  const keys = members.map((member) => member.user).filter((user) => user !== self)
  return keys.slice(0, heroCount)
}

/** An emptied name or alias is none. */
function isName({ type, stateKey, json }: { type: string; stateKey: string; json: string }): boolean {
  if (stateKey !== '') return false
  const { content } = JSON.parse(json) as { content?: { name?: unknown; alias?: unknown } }
  return Boolean(type === 'm.room.name' ? content?.name : content?.alias)
}
