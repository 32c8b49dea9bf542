/**
 * What a list of rooms shows below a title, as Beeper's clients want it in /sync (`beeper_previews`): the newest message as it was last
 * edited, or a reaction to a message of the reader's own.
 */
import type { EventRow, MembershipRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { formatEvents, type Requester } from './event-text.ts'
import { type Relation, relationOf } from './relations.ts'
import { visibleEvents } from './visibility.ts'

/** How far back a preview is looked for in a room whose timeline holds none. */
const mostRead = 50

const previewed = new Set(['m.room.message', 'm.room.encrypted', 'm.sticker'])

export interface PreviewRequest {
  readonly requester: Requester
  /** room → the events that the answer shows, oldest first */
  readonly timelines: ReadonlyMap<number, readonly EventRow[]>
  /** the reader's rows by room */
  readonly memberships: ReadonlyMap<number, MembershipRow>
  readonly until: number
  /** keys of users whose events are not shown */
  readonly ignored: ReadonlySet<number>
  readonly format: 'client' | 'federation'
}

/** JSON text by room: `{event_id, origin_server_ts, event?}`, with the event where the answer does not show it anyway. None for a room without. */
export async function readPreviews(instance: Instance, request: PreviewRequest): Promise<Map<number, string>> {
  const originals = new Map<number, EventRow>()
  const take = async (rows: readonly EventRow[]) => {
    for (const [room, row] of await newestOf(instance, request, rows)) originals.set(room, row)
  }
  await take([...request.timelines.values()].flat())
  const missing = [...request.timelines.keys()].filter((room) => !originals.has(room))
  if (missing.length > 0) {
    const read = await instance.storage.lastEvents(missing, { after: null, until: request.until, limit: mostRead })
    await take(await visibleEvents(instance, [...read.values()].flat(), request.memberships))
  }
  const edits = await newestEdits(instance, [...originals.values()], request.until)
  const shown = [...originals.values()].map((row) => edits.get(row) ?? row)
  const unknown = shown.filter((row) => !request.timelines.get(row.room)?.some(({ order }) => order === row.order))
  const texts = await formatEvents(instance, request.requester, unknown, { memberships: request.memberships, format: request.format })
  return new Map(
    shown.map((row) => {
      const text = texts[unknown.indexOf(row)]
      const head = JSON.stringify({ event_id: row.eventId, origin_server_ts: row.ts })
      return [row.room, text === undefined ? head : `${head.slice(0, -1)},"event":${text}}`]
    }),
  )
}

/** By room the newest of the rows that makes a preview. The rows of each room stand oldest first. */
async function newestOf(instance: Instance, request: PreviewRequest, rows: readonly EventRow[]): Promise<Map<number, EventRow>> {
  const newest = new Map<number, EventRow>()
  const reactions = new Map<number, { row: EventRow; relation: Relation }[]>()
  for (const row of rows.toReversed()) {
    if (newest.has(row.room) || row.stateKey !== null || row.redactedBy !== null || request.ignored.has(row.sender)) continue
    if (row.type !== 'm.reaction' && !previewed.has(row.type)) continue
    const relation = relationIn(row)
    if (row.type !== 'm.reaction') {
      // An edit is no newer than what it edits.
      if (relation?.relType !== 'm.replace') newest.set(row.room, row)
    } else if (relation?.relType === 'm.annotation') {
      const ofRoom = reactions.get(row.room)
      if (ofRoom) ofRoom.push({ row, relation })
      else reactions.set(row.room, [{ row, relation }])
    }
  }
  // Only reactions newer than the newest message were gathered.
  await Promise.all(
    [...reactions].map(async ([room, some]) => {
      const targets = await instance.storage.find('event', {
        where: { room, eventId: { in: some.map(({ relation }) => relation.eventId) }, sender: request.requester.user },
      })
      const own = new Set(targets.map(({ eventId }) => eventId))
      const first = some.find(({ relation }) => own.has(relation.eventId))
      if (first) newest.set(room, first.row)
    }),
  )
  return newest
}

/** "The type of the original and the replacement event must be the same", and so must the sender. */
async function newestEdits(instance: Instance, originals: readonly EventRow[], until: number): Promise<Map<EventRow, EventRow>> {
  if (originals.length === 0) return new Map()
  const relations = await instance.storage.relationsTo(new Map(originals.map((row) => [row.room, [row.eventId]])), ['m.replace'])
  const places = originals.flatMap((row) => {
    const orders = relations
      .filter(({ room, type, sender, order }) => room === row.room && type === row.type && sender === row.sender && order <= until)
      .map(({ order }) => order)
    return orders.length === 0 ? [] : [{ room: row.room, order: Math.max(...orders) }]
  })
  const edits = new Map((places.length === 0 ? [] : await instance.storage.eventsAt(places)).map((row) => [row.room, row]))
  return new Map(
    originals.flatMap((row): [EventRow, EventRow][] => {
      const edit = edits.get(row.room)
      return edit ? [[row, edit]] : []
    }),
  )
}

function relationIn(row: EventRow): Relation | null {
  return relationOf((JSON.parse(row.json) as { content?: Parameters<typeof relationOf>[0] }).content ?? {})
}
