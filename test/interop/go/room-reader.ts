/** A whole room: as it stands at the homeserver, and as a client sees it that pages back. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Direction, type EventTimeline, type MatrixClient, type Room } from 'matrix-js-sdk'
import { type PatientClient, roomPath } from '../../kill/client.ts'
import { until } from './sdk-client.ts'

export interface RoomEvent {
  readonly event_id: string
  readonly type: string
  readonly content: { readonly body?: string }
}

/** The whole room, oldest first, as one pages back through it. */
export async function readRoom(owner: PatientClient, roomId: string): Promise<RoomEvent[]> {
  const pages: RoomEvent[][] = []
  for (let from = ''; ; ) {
    const page = await owner.ask('GET', `${roomPath(roomId)}/messages?dir=b&limit=1000${from}`)
    pages.push(page.chunk)
    if (page.end === undefined) return pages.flat().toReversed()
    from = `&from=${page.end}`
  }
}

export function messageTexts(events: readonly RoomEvent[]): string[] {
  return events.flatMap(({ type, content }) => (type === 'm.room.message' ? [content.body ?? ''] : []))
}

/**
 * What a client sees of the history when it pages back, slowly, until it has seen `first`. One that comes to the top before the history does
 * is told that there is no more: then somebody opens the room anew.
 */
export async function pageToFirst(open: () => Promise<MatrixClient>, roomId: string, first: string): Promise<string[]> {
  for (;;) {
    const viewer = await open()
    try {
      const room = await until('the room', () => viewer.getRoom(roomId))
      for (let timelines = timelinesOf(room); timelines[0]!.getPaginationToken(Direction.Backward); timelines = timelinesOf(room)) {
        await viewer.paginateEventTimeline(timelines[0]!, { backwards: true, limit: 10 }).catch(() => undefined)
        await sleep(200)
      }
      const events = timelinesOf(room).flatMap((timeline) => timeline.getEvents())
      const seen = events.map((event) => String(event.getContent()['body'])).filter((text) => text.startsWith('chat'))
      if (seen.includes(first)) return seen
    } finally {
      viewer.stopClient()
    }
  }
}

/** Oldest first: after a gap in what it synced a client begins a new one, until paging back has closed the gap. */
function timelinesOf(room: Room): EventTimeline[] {
  const timelines: EventTimeline[] = []
  for (let each: EventTimeline | null = room.getLiveTimeline(); each; each = each.getNeighbouringTimeline(Direction.Backward)) {
    timelines.unshift(each)
  }
  return timelines
}
