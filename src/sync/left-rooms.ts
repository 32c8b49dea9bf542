/** The blocks of `rooms.leave`: left, kicked, banned, an invitation declined, a room that is gone. */
import { formatEvents } from '../rooms/event-text.ts'
import type { DepartureRow } from '../storage/tables.ts'
import { formatToken } from '../stream/token.ts'
import { lastStays, type Stay } from './membership-at.ts'
import { roomBlocks } from './room-blocks.ts'
import type { Scope, SyncedRoom } from './scope.ts'

/** "The timeline ends with the leave": nothing that came after the user's stay is told, be it events or state. */
export async function* leaveBlocks(scope: Scope, rooms: readonly SyncedRoom[]): AsyncGenerator<string> {
  const stays = await lastStays(
    scope.instance,
    rooms.map(({ membership }) => membership),
  )
  for (const synced of rooms) {
    const stay = stays.get(synced.room.key)
    const block = stay && stay.left !== null && stay.left > (scope.since ?? 0) ? await stayBlock(scope, synced, stay) : null
    yield block ?? (await closingBlock(scope, synced))
  }
}

/** As the room would be for a joined user at the moment of leaving. */
async function stayBlock(scope: Scope, synced: SyncedRoom, { joined, left }: Stay): Promise<string | null> {
  const { membership } = synced
  const fresh = scope.since === null || joined > scope.since
  const closing = membership.order > left! ? await closingEvent(scope, synced) : null
  const bound: Scope = { ...scope, until: left!, isLeft: true, mayHave: () => true }
  const [block] = await roomBlocks(bound, [{ ...synced, fresh, full: fresh || synced.full, ...(closing && { closing }) }])
  return block ?? null
}

/** Of a room that the user was not in, only what became of the membership. */
async function closingBlock(scope: Scope, synced: SyncedRoom): Promise<string> {
  const event = await closingEvent(scope, synced)
  const texts = event ? await formatEvents(scope.instance, scope.requester, [event], { format: scope.filter.eventFormat }) : []
  const state = event && scope.stateAfter ? event.json : ''
  return blockOf(scope, synced.room.roomId, { events: texts.join(), state, before: synced.membership.order - texts.length })
}

async function closingEvent({ instance }: Scope, { membership }: SyncedRoom) {
  const [event] = await instance.storage.eventsAt([membership])
  return event ?? null
}

/** Rooms that are gone or forgotten leave this, for who still knows them; not those that came back under their name. */
export async function departureBlocks(scope: Scope, shown: ReadonlySet<string>): Promise<string[]> {
  const { instance, requester, filter, until } = scope
  const since = scope.since ?? until
  const departures = await instance.storage.find('departure', { where: { user: requester.user, position: { gt: since, lte: until } } })
  const told = new Set<number>()
  for (const row of await instance.storage.membersAt(departures.map(({ room, user }) => ({ room, user })))) {
    // Of a room that is there but forgotten the leaving was told, unless that was missed as well.
    if (row.forgotten && row.order <= since) told.add(row.room)
  }
  const gone = departures.filter(({ room, roomId }) => !shown.has(roomId) && filter.room.allowsRoom(roomId) && !told.has(room))
  return gone.map((departure) => {
    const event = departure.ts === null ? '' : leaveText(scope, departure)
    return blockOf(scope, departure.roomId, { events: event, state: scope.stateAfter ? event : '', before: departure.position })
  })
}

/** Nobody left a room that was deleted, but clients take only the event of it for a leave. It is stored nowhere. */
function leaveText({ instance, userId }: Scope, { room, ts }: DepartureRow): string {
  return JSON.stringify({
    type: 'm.room.member',
    state_key: userId,
    sender: userId,
    content: { membership: 'leave' },
    origin_server_ts: ts,
    event_id: `$departure-${room}:${instance.bridgeDomain}`,
  })
}

function blockOf(scope: Scope, roomId: string, { events, state, before }: { events: string; state: string; before: number }): string {
  const timeline = `{"events":[${events}],"limited":false,"prev_batch":"${formatToken(before)}"}`
  return `${JSON.stringify(roomId)}:{"timeline":${timeline},"${scope.stateAfter ?? 'state'}":{"events":[${state}]}}`
}
