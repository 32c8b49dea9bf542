/**
 * What rooms had moves into those that they were merged or split into, by a job: the events as prepended history, the newest first; with them
 * what waits for appservices and what is unread; and what each reader keeps about the rooms.
 */
import { type JobKind, putJob, sliceOfRows } from '../jobs/jobs.ts'
import type { JsonObject } from '../rules/values.ts'
import type { EventRow, UnredactedRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import { Missing } from '../stream/memory.ts'
import { registrations } from '../users/registrations.ts'
import { isStale, type Known, readKnown } from './batch-send-events.ts'
import { reclaimRooms } from './delete.ts'
import { type Arrival, prepareFollowers } from './merge-followers.ts'
import { isFrom, type Move, makePlan, moved, movesUnderWay, type Place, type Plan } from './merge-plan.ts'
import { moveAccountData, moveReceipts } from './merge-readers.ts'
import { relationOf, writeRelation } from './relations.ts'
import { coreOf, joinedSyncers, setCore } from './room-core.ts'
import { spotName } from './spot.ts'
import { unredactedOf } from './unredacted.ts'

const plans = local(() => new Map<number, Plan>())

/**
 * In this order, so that a room that was muted or is a favourite is so at once; how far somebody has read is known when the events are there.
 */
const steps = ['accountData', 'history', 'receipts'] as const
type Step = (typeof steps)[number]

interface Prepared {
  /** behind the last that it holds */
  readonly end: number
  write(decision: Decision): void
}

/** Counted in events. */
export const moveHistoryJob: JobKind = async (instance, job) => {
  const move = JSON.parse(job.arguments) as Move
  if (job.cursor === moved) {
    plans(instance).delete(job.key)
    return null
  }
  const plan = plans(instance).get(job.key) ?? (await makePlan(instance, job, move))
  plans(instance).set(job.key, plan)
  const total = plan.places.length
  const [name, count] = job.cursor.split(' ')
  // What has moved already does not move twice, should it not be known how far it is.
  const at = Math.max(0, steps.indexOf(name as Step))
  for (const step of steps.slice(at)) {
    const start = step === name ? Number(count) : 0
    const { end, write } = await prepare[step](instance, move, plan, start)
    const done = step === 'accountData' ? 0 : step === 'history' ? end : total
    if (end > start) return { cursor: `${step} ${end}`, done, total, write }
  }
  const rooms = move.from.map(({ room }) => room)
  const finish = (decision: Decision) => {
    putJob(decision, reclaimRooms, { rooms })
    // What waited for a place and got none, such as state, stays behind; what stands behind it is delivered.
    decision.announce('history', { appservices: registrations(decision).map(({ key }) => key) })
  }
  return { cursor: moved, done: total, total, write: finish }
}

const prepare: Readonly<Record<Step, (instance: Instance, move: Move, plan: Plan, start: number) => Promise<Prepared>>> = {
  accountData: async (instance, move, { accountData }, start) => {
    const slice = accountData.slice(start, start + sliceOfKept(move))
    return { end: start + slice.length, write: await moveAccountData(instance, move, slice) }
  },
  history: prepareEvents,
  receipts: async (instance, move, plan, start) => {
    const slice = plan.receipts.slice(start, start + sliceOfKept(move))
    return { end: start + slice.length, write: await moveReceipts(instance, move, plan, slice) }
  },
}

/** Each of them may have a row in each room. */
function sliceOfKept({ from, parts }: Move): number {
  return Math.ceil(sliceOfRows / Math.max(from.length, parts.length))
}

async function prepareEvents(instance: Instance, move: Move, plan: Plan, start: number): Promise<Prepared> {
  const slice = plan.places.slice(start, start + sliceOfRows)
  const found = await eventsOf(instance, slice)
  const rows = found.map(({ row }) => row)
  const moving: Moving = {
    move,
    redactions: await redactionsOf(instance, rows),
    unredacted: await unredactedOf(instance, rows),
    known: new Map(),
    heirs: new Map(),
  }
  const follow = await prepareFollowers(instance, move, plan, slice)
  const write = (decision: Decision) => {
    for (const [part, { room }] of move.parts.entries()) {
      const own = found.filter(({ place }) => (place.part ?? 0) === part)
      if (own.length === 0) continue
      const ownRows = own.map(({ row }) => row)
      const ownPlaces = own.map(({ place }) => place)
      const arrival = moveInto(decision, room, ownRows, moving)
      if (arrival) follow(decision, arrival, ownPlaces)
    }
  }
  return { end: start + slice.length, write }
}

/** In the order of the places. */
async function eventsOf(instance: Instance, places: readonly Place[]): Promise<{ place: Place; row: EventRow }[]> {
  const rows = await instance.storage.eventsAt(places.map(({ room, order }) => ({ room, order })))
  const bySpot = new Map(rows.map((row) => [spotName(row), row]))
  return places.flatMap((place) => {
    const row = bySpot.get(spotName(place))
    return row ? { place, row } : []
  })
}

/** "room order" of the redactions of rows → their ids, by which they are found where they went. */
async function redactionsOf(instance: Instance, rows: readonly EventRow[]): Promise<Map<string, string>> {
  const places = rows.flatMap(({ room, redactedBy }) => (redactedBy === null ? [] : [{ room, order: redactedBy }]))
  const found = places.length > 0 ? await instance.storage.eventsAt(places) : []
  return new Map(found.map((row) => [spotName(row), row.eventId]))
}

interface Moving {
  readonly move: Move
  readonly redactions: ReadonlyMap<string, string>
  /** what redacted events said, by event id */
  readonly unredacted: ReadonlyMap<string, UnredactedRow>
  /** by room, read while the decision waits */
  readonly known: Map<number, Known>
  /** of rooms that are gone; null where nobody wants their history */
  readonly heirs: Map<number, Heir | null>
}

/** What stands in a room that was merged or split again, whose own move has yet to come by. */
type Heir = Pick<Known, 'lowest' | 'rows'>

/** As history below what the room has. No id comes twice. Null when nobody wants it. */
function moveInto(decision: Decision, key: number, rows: readonly EventRow[], moving: Moving): Arrival | null {
  const { instance } = decision
  const room = decision.get('room', { key })
  const ids = () => [...rows.map(({ eventId }) => eventId), ...moving.redactions.values()]
  if (!room) return moveOn(decision, key, rows, moving, ids)
  const core = coreOf(decision, room)
  const standing = moving.known.get(key)
  if (!standing || isStale(standing, core, room.lowest, false)) {
    throw new Missing(readKnown(instance, core, room.lowest, ids(), false).then((read) => moving.known.set(key, read)))
  }
  const { written, orders } = renumbered(key, rows, { lowest: room.lowest, rows: standing.rows }, moving)
  for (const row of written) {
    const by = { room: key, eventId: row.eventId }
    if (decision.knows('event', by)) {
      decision.find('event', by)
      decision.put('event', row)
    } else {
      decision.write('event', row)
    }
    moveUnredacted(decision, row, moving)
    writeRelation(decision, row, relationOf((JSON.parse(row.json) as { content?: JsonObject }).content ?? {}))
  }
  const position = decision.takePosition()
  decision.put('room', { ...room, lowest: written.at(-1)?.order ?? room.lowest })
  decision.announce('history', { rooms: [key], users: joinedSyncers(decision, key).map((user) => user.key) })
  setCore(decision, { ...core, idsGivenAt: position, batchedAt: position })
  return { room: key, isHidden: false, orders }
}

/** A room that was deleted meanwhile takes nothing. One that was merged or split hands on what still comes, so it is put where that is looked for. */
function moveOn(decision: Decision, key: number, rows: readonly EventRow[], moving: Moving, ids: () => string[]): Arrival | null {
  const { heirs } = moving
  const heir = heirs.get(key)
  if (heir === undefined) throw new Missing(heirOf(decision.instance, key, ids()).then((read) => heirs.set(key, read)))
  if (!heir) return null
  const { written, orders } = renumbered(key, rows, heir, moving)
  for (const row of written) {
    decision.write('event', row)
    moveUnredacted(decision, row, moving)
  }
  return { room: key, isHidden: true, orders }
}

/** What an event said before it was redacted goes where the event went. */
function moveUnredacted(decision: Decision, { room, order, eventId, type }: EventRow, { move, unredacted }: Moving): void {
  const kept = unredacted.get(eventId)
  if (!kept) return
  const json = movedText({ type, room: kept.room, redactedBy: null, json: kept.json }, move)
  decision.write('unredacted', { ...kept, room, order, json })
}

async function heirOf(instance: Instance, room: number, ids: readonly string[]): Promise<Heir | null> {
  await instance.shard.flushed(instance.key)
  const { storage } = instance
  if (!(await movesUnderWay(instance)).some(({ move }) => isFrom(move, room))) return null
  const [first] = await storage.find('event', { where: { room }, orderBy: ['order'], limit: 1 })
  const rows = await storage.eventsById(room, ids)
  return { lowest: Math.min(first?.order ?? 0, 0), rows: new Map(rows.map((row) => [row.eventId, row])) }
}

/** The rows as they will stand in the room, those left out that stand there. In the order of the plan: a redaction has its place when what it emptied gets one. */
function renumbered(room: number, rows: readonly EventRow[], standing: Heir, { move, redactions }: Moving) {
  const orders = new Map<string, number>([...standing.rows.values()].map((row) => [row.eventId, row.order]))
  let { lowest } = standing
  const written = rows.flatMap((row): EventRow[] => {
    if (standing.rows.has(row.eventId)) return []
    lowest -= 1
    const redaction = row.redactedBy === null ? undefined : redactions.get(spotName({ room: row.room, order: row.redactedBy }))
    const redactedBy = redaction === undefined ? null : (orders.get(redaction) ?? null)
    orders.set(row.eventId, lowest)
    return [{ ...row, room, order: lowest, replaces: null, redactedBy, json: movedText(row, move) }]
  })
  return { written, orders }
}

/** What was encrypted for a room can be read only by who knows for which: the first one, however often it moves. */
function movedText(row: Pick<EventRow, 'type' | 'room' | 'redactedBy' | 'json'>, { from }: Move): string {
  if (row.type !== 'm.room.encrypted' || row.redactedBy !== null) return row.json
  const event = JSON.parse(row.json) as { content?: JsonObject }
  const original = from.find(({ room }) => room === row.room)?.roomId ?? null
  return JSON.stringify({ ...event, content: { 'com.beeper.original_room_id': original, ...event.content } })
}
