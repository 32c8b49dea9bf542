/**
 * The history of rooms that were merged or split moves into the new ones as prepended history, the newest first, by a job: what it comes from
 * is out of sight already and does not change any more.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type JobKind, putJob, sliceOfRows } from '../jobs/jobs.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import type { EventRow, JobRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import { Missing } from '../stream/memory.ts'
import { isStale, type Known, readKnown } from './batch-send-events.ts'
import { reclaimRooms } from './delete.ts'
import { relationOf, writeRelation } from './relations.ts'
import { coreOf, joinedSyncers, setCore } from './room-core.ts'

/** The kind of job that moves history. */
export const moveHistory = 'moveHistory'

export interface Move {
  /** keys of the rooms it comes from, and their ids */
  readonly from: readonly { readonly room: number; readonly roomId: string }[]
  /** key of the content that says to which part an event belongs */
  readonly key: string
  readonly parts: readonly { readonly room: number; readonly values: readonly string[] }[]
}

/** An event on its way. */
interface Place {
  readonly room: number
  readonly order: number
  readonly ts: number
  readonly eventId: string
  /** id of the event that it speaks of: an answer goes where the question goes */
  readonly about: string | null
  /** index of its part; null where it does not say */
  part: number | null
}

const plans = local(() => new Map<number, readonly Place[]>())
const moved = 'moved'
/** Followed from an event to one that says where it belongs. */
const mostHops = 10

/** Counted in events. */
export const moveHistoryJob: JobKind = async (instance, job) => {
  const move = JSON.parse(job.arguments) as Move
  if (job.cursor === moved) {
    plans(instance).delete(job.key)
    return null
  }
  const places = await planOf(instance, job, move)
  const start = Number(job.cursor)
  const slice = places.slice(start, start + sliceOfRows)
  const done = start + slice.length
  const common = { done, total: places.length }
  if (slice.length === 0) {
    const rooms = move.from.map(({ room }) => room)
    return { ...common, cursor: moved, write: (decision) => void putJob(decision, reclaimRooms, { rooms }) }
  }
  const found = await rowsOf(instance, slice)
  const redactions = await redactionsOf(
    instance,
    found.map(({ row }) => row),
  )
  const known = new Map<number, Known>()
  const heirs = new Map<number, Heir | null>()
  return {
    ...common,
    cursor: `${done}`,
    write(decision) {
      for (const [index, part] of move.parts.entries()) {
        const own = found.flatMap(({ part: target, row }) => (target === index ? row : []))
        if (own.length > 0) moveInto(decision, part.room, own, { move, redactions, known, heirs })
      }
    },
  }
}

/** Every event that is no state, the newest first, once; state belongs to the room that it was of. */
async function planOf(instance: Instance, job: JobRow, move: Move): Promise<readonly Place[]> {
  const known = plans(instance).get(job.key)
  if (known) return known
  const moves = await movesUnderWay(instance)
  const earlier = moves.find((other) => other.job < job.key && other.move.parts.some(({ room }) => isFrom(move, room)))
  if (earlier) throw new Error(`Job ${earlier.job} has to end first: history is still on its way into these rooms`)
  const places: Place[] = []
  for (const { room } of move.from) {
    for (let after: number | null = Number.MIN_SAFE_INTEGER; after !== null; ) {
      const rows: EventRow[] = await instance.storage.find('event', {
        where: { room, order: { gt: after } },
        orderBy: ['order'],
        limit: sliceOfRows,
      })
      for (const row of rows) if (row.stateKey === null) places.push(placeOf(row, move))
      after = rows.length < sliceOfRows ? null : rows.at(-1)!.order
      await nextTurn()
    }
  }
  const byId = new Map(places.map((place) => [place.eventId, place]))
  for (const place of places) place.part ??= partOf(place, byId)
  places.sort((a, b) => b.ts - a.ts || b.order - a.order || b.room - a.room)
  const seen = new Set<string>()
  const once = places.filter(({ eventId, part }) => !seen.has(`${part} ${eventId}`) && seen.add(`${part} ${eventId}`))
  plans(instance).set(job.key, once)
  return once
}

function placeOf(row: EventRow, { key, parts }: Move): Place {
  const place = { room: row.room, order: row.order, ts: row.ts, eventId: row.eventId }
  if (parts.length === 1) return { ...place, about: null, part: 0 }
  const { content, redacts } = JSON.parse(row.json) as { content?: JsonObject; redacts?: string }
  const value = content?.[key]
  const part = typeof value === 'string' ? parts.findIndex(({ values }) => values.includes(value)) : -1
  return { ...place, about: redacts ?? aboutOf(content ?? {}), part: part === -1 ? null : part }
}

function aboutOf(content: JsonObject): string | null {
  const relation = relationOf(content)
  if (relation) return relation.eventId
  const relates = content['m.relates_to']
  const reply = isObject(relates) ? relates['m.in_reply_to'] : undefined
  return isObject(reply) && typeof reply['event_id'] === 'string' ? reply['event_id'] : null
}

/** Where the event goes that it speaks of. What belongs nowhere goes to the first part: it is not lost. */
function partOf(place: Place, byId: ReadonlyMap<string, Place>): number {
  let at: Place | undefined = place
  for (let hops = 0; at && hops < mostHops; hops++) {
    if (at.part !== null) return at.part
    at = at.about === null ? undefined : byId.get(at.about)
  }
  return 0
}

/** In the order of the places. */
async function rowsOf(instance: Instance, places: readonly Place[]): Promise<{ part: number; row: EventRow }[]> {
  const rows = await instance.storage.eventsAt(places.map(({ room, order }) => ({ room, order })))
  const byPlace = new Map(rows.map((row) => [`${row.room} ${row.order}`, row]))
  return places.flatMap(({ room, order, part }) => {
    const row = byPlace.get(`${room} ${order}`)
    return row ? { part: part ?? 0, row } : []
  })
}

/** "room order" of the redactions of rows → their ids, by which they are found where they went. */
async function redactionsOf(instance: Instance, rows: readonly EventRow[]): Promise<Map<string, string>> {
  const places = rows.flatMap(({ room, redactedBy }) => (redactedBy === null ? [] : [{ room, order: redactedBy }]))
  const found = places.length > 0 ? await instance.storage.eventsAt(places) : []
  return new Map(found.map((row) => [`${row.room} ${row.order}`, row.eventId]))
}

interface Moving {
  readonly move: Move
  readonly redactions: ReadonlyMap<string, string>
  /** by room, read while the decision waits */
  readonly known: Map<number, Known>
  /** of rooms that are gone; null where nobody wants their history */
  readonly heirs: Map<number, Heir | null>
}

/** What stands in a room that was merged or split again, whose own move has yet to come by. */
type Heir = Pick<Known, 'lowest' | 'rows'>

/** As history below what the room has. No id comes twice. */
function moveInto(decision: Decision, key: number, rows: readonly EventRow[], moving: Moving): void {
  const { instance } = decision
  const room = decision.get('room', { key })
  const ids = () => [...rows.map(({ eventId }) => eventId), ...moving.redactions.values()]
  if (!room) {
    moveOn(decision, key, rows, moving, ids)
    return
  }
  const core = coreOf(decision, room)
  const standing = moving.known.get(key)
  if (!standing || isStale(standing, core, room.lowest, false)) {
    throw new Missing(readKnown(instance, core, room.lowest, ids(), false).then((read) => moving.known.set(key, read)))
  }
  const written = renumbered(key, rows, { lowest: room.lowest, rows: standing.rows }, moving)
  for (const row of written) {
    const by = { room: key, eventId: row.eventId }
    if (decision.knows('event', by)) {
      decision.find('event', by)
      decision.put('event', row)
    } else {
      decision.write('event', row)
    }
    writeRelation(decision, row, relationOf((JSON.parse(row.json) as { content?: JsonObject }).content ?? {}))
  }
  const position = decision.takePosition()
  decision.put('room', { ...room, lowest: written.at(-1)?.order ?? room.lowest })
  decision.announce('history', { rooms: [key], users: joinedSyncers(decision, key).map((user) => user.key) })
  setCore(decision, { ...core, idsGivenAt: position, batchedAt: position })
}

/** A room that was deleted meanwhile takes nothing. One that was merged or split hands on what still comes, so it is put where that is looked for. */
function moveOn(decision: Decision, key: number, rows: readonly EventRow[], moving: Moving, ids: () => string[]): void {
  const { heirs } = moving
  const heir = heirs.get(key)
  if (heir === undefined) throw new Missing(heirOf(decision.instance, key, ids()).then((read) => heirs.set(key, read)))
  if (heir) for (const row of renumbered(key, rows, heir, moving)) decision.write('event', row)
}

async function heirOf(instance: Instance, room: number, ids: readonly string[]): Promise<Heir | null> {
  await instance.shard.flushed(instance.key)
  const { storage } = instance
  if (!(await movesUnderWay(instance)).some(({ move }) => isFrom(move, room))) return null
  const [first] = await storage.find('event', { where: { room }, orderBy: ['order'], limit: 1 })
  const rows = await storage.eventsById(room, ids)
  return { lowest: Math.min(first?.order ?? 0, 0), rows: new Map(rows.map((row) => [row.eventId, row])) }
}

async function movesUnderWay({ storage }: Instance): Promise<{ readonly job: number; readonly move: Move }[]> {
  const jobs = await storage.find('job', { where: { kind: moveHistory, endedAt: null } })
  return jobs.map((job) => ({ job: job.key, move: JSON.parse(job.arguments) as Move }))
}

function isFrom({ from }: Move, key: number): boolean {
  return from.some(({ room }) => room === key)
}

/** The rows as they will stand in the room, those left out that stand there. The newest first: a redaction has its place when what it emptied gets one. */
function renumbered(room: number, rows: readonly EventRow[], standing: Heir, { move, redactions }: Moving): EventRow[] {
  const orders = new Map<string, number>([...standing.rows.values()].map((row) => [row.eventId, row.order]))
  let { lowest } = standing
  return rows.flatMap((row) => {
    if (standing.rows.has(row.eventId)) return []
    lowest -= 1
    const redaction = redactions.get(`${row.room} ${row.redactedBy}`)
    const redactedBy = redaction === undefined ? null : (orders.get(redaction) ?? null)
    orders.set(row.eventId, lowest)
    return { ...row, room, order: lowest, replaces: null, redactedBy, json: movedText(row, move) }
  })
}

/** What was encrypted for a room can be read only by who knows for which: the first one, however often it moves. */
function movedText(row: EventRow, { from }: Move): string {
  if (row.type !== 'm.room.encrypted' || row.redactedBy !== null) return row.json
  const event = JSON.parse(row.json) as { content?: JsonObject }
  const original = from.find(({ room }) => room === row.room)?.roomId ?? null
  return JSON.stringify({ ...event, content: { 'com.beeper.original_room_id': original, ...event.content } })
}
