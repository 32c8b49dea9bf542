/** The blocks of `rooms.invite` and `rooms.knock`. https://spec.matrix.org/v1.19/client-server-api/#stripped-state */
import { stateEventsAt } from '../rooms/look-back.ts'
import { append, type Scope, type SyncedRoom } from './scope.ts'

/** What somebody outside may know of a room. */
const strippedTypes = [
  'm.room.create',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.encryption',
]

/** Stripped state with the user's own member event, by which clients find out who invited, and the inviter's. */
export async function strippedBlocks(scope: Scope, key: 'invite_state' | 'knock_state', rooms: readonly SyncedRoom[]): Promise<string[]> {
  if (rooms.length === 0) return []
  const { storage } = scope.instance
  const memberships = rooms.map(({ membership }) => membership)
  const others = memberships.filter(({ sender, user }) => sender !== user)
  const [state, own, inviters] = await Promise.all([
    storage.currentState(
      rooms.map(({ room }) => room.key),
      { types: strippedTypes },
    ),
    stateEventsAt(storage, memberships, () => scope.until),
    storage.membersAt(others.map(({ room, sender }) => ({ room, user: sender }))),
  ])
  const inviterEvents = await stateEventsAt(
    storage,
    inviters.filter((row) => row.membership === 'join'),
    () => scope.until,
  )
  const texts = new Map<number, string[]>()
  const ofRoom = state.filter(({ stateKey }) => stateKey === '').sort((a, b) => a.order - b.order)
  for (const event of [...ofRoom, ...inviterEvents, ...own]) append(texts, event.room, strip(event.json))
  return rooms.map(({ room }) => `${JSON.stringify(room.roomId)}:{"${key}":{"events":[${(texts.get(room.key) ?? []).join()}]}}`)
}

function strip(json: string): string {
  const { type, sender, state_key, content } = JSON.parse(json) as Record<string, unknown>
  return JSON.stringify({ type, sender, state_key, content })
}
