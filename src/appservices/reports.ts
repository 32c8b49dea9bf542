/** What bridges tell of themselves: the state of their logins, and how far each message got. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { forbidden, invalidParam, MatrixError } from '../errors.ts'
import { ownSteps } from '../rooms/checkpoints.ts'
import { coreOf } from '../rooms/room-core.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import { isArray, isObject, type JsonObject } from '../rules/values.ts'
import type { RoomRow } from '../storage/tables.ts'
import { command, type Decision, prefetch } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { putAppservice, type Registration, registrations } from '../users/registrations.ts'
import { checkpointsCame } from './checkpoints.ts'

/** Bytes of one state or checkpoint as JSON. */
const mostBytes = 65_536
/** Checkpoints, or states, in one report. */
const mostReports = 1_000
/** Logins of one bridge. */
const mostLogins = 1_000

/** What bbctl tells besides when it reports for a bridge. */
export interface Reporter {
  /** the bridge's id: another one's is refused */
  readonly id?: string | null | undefined
  /** whatsapp, signal… */
  readonly bridgeType?: string | null | undefined
}

/**
 * Keeps the state of the bridge itself or of one login (`remote_id`), or of all: `{bridgeState, remoteState: {remoteId: state}}`. The newest
 * of each counts. Errors: M_FORBIDDEN without an as_token or for another bridge's `id`, M_BAD_JSON, M_TOO_LARGE.
 */
export async function reportBridgeState(instance: Instance, actor: Actor, report: JsonObject, reporter: Reporter = {}): Promise<boolean> {
  const appservice = requireAppservice(actor)
  const bridgeType = reporter.bridgeType ? checkedId('bridgeType', reporter.bridgeType) : null
  const states = statesIn(report).map(({ remoteId, state }) => ({
    remoteId,
    state: checkedText('bridge state', state),
    event: stateEvent(state),
  }))
  if (states.length > mostReports) throw new MatrixError('M_TOO_LARGE', 'Too many states')
  const known = await instance.storage.find('bridgeState', { where: { appservice } })
  const logins = new Set([...known, ...states].map(({ remoteId }) => remoteId))
  if (logins.size > mostLogins) throw new MatrixError('M_TOO_LARGE', `A bridge has at most ${mostLogins} logins`)
  await command(instance, (decision) => {
    const row = decision.get('appservice', { key: appservice })
    if (!row || (reporter.id && reporter.id !== row.id)) throw forbidden('A bridge reports for itself only')
    if (bridgeType && bridgeType !== row.bridgeType) putAppservice(decision, { ...row, bridgeType })
    if (states.length === 0) return
    const position = decision.takePosition()
    for (const { remoteId, state } of states) {
      decision.write('bridgeState', { instance: instance.key, appservice, remoteId, state, ts: decision.now, position })
    }
    decision.announce('bridgeState', {})
  })
  return true
}

function statesIn(report: JsonObject): { remoteId: string; state: JsonObject }[] {
  const { remoteState, bridgeState } = report
  if (remoteState === undefined && bridgeState === undefined)
    return [{ remoteId: checkedId('remote_id', report['remote_id'] ?? ''), state: report }]
  const remotes = isObject(remoteState) ? Object.entries(remoteState) : []
  return [
    ...(isObject(bridgeState) ? [{ remoteId: '', state: bridgeState }] : []),
    ...remotes.flatMap(([remoteId, state]) => (isObject(state) ? [{ remoteId: checkedId('remote_id', remoteId), state }] : [])),
  ]
}

/** CONNECTED, BAD_CREDENTIALS… Some bridges spell the key in camel case. */
export function stateEvent(state: JsonObject): string {
  const event = state['state_event'] ?? state['stateEvent']
  if (typeof event !== 'string' || event.length > 100) throw new MatrixError('M_BAD_JSON', 'state_event is missing')
  return event
}

/** Checkpoints whose events are looked up at once: others get their turn between two. */
const lookedUpTogether = 50

interface Report {
  readonly eventId: string
  readonly roomId: string
  readonly step: string
  readonly status: string
  readonly checkpoint: string
}

/**
 * Keeps how far each message got. Of the same step of an event the newest counts that this bridge reports. Left out is what a bridge cannot
 * know: CLIENT and HOMESERVER, and anything about an event that is not in `room_id`, or in a room that does not concern this bridge. Errors:
 * M_FORBIDDEN without an as_token, M_BAD_JSON, M_INVALID_PARAM, M_TOO_LARGE.
 */
export async function reportCheckpoints(instance: Instance, actor: Actor, checkpoints: unknown): Promise<boolean> {
  const appservice = requireAppservice(actor)
  if (!isArray(checkpoints)) throw new MatrixError('M_BAD_JSON', 'checkpoints takes a list')
  if (checkpoints.length > mostReports) throw new MatrixError('M_TOO_LARGE', 'Too many checkpoints')
  const reports = checkpoints.map(readReport)
  const placed = await place(
    instance,
    reports.filter(({ step }) => !ownSteps.has(step)),
  )
  const kept = await command(instance, (decision) => {
    // What is written for a bridge that was deleted meanwhile nobody would take away.
    const registration = registrations(decision).find(({ key }) => key === appservice)
    if (!registration) throw forbidden('Only bridges report')
    const known = placed.filter(({ room }) => concerns(decision, registration, room)).flatMap((each) => each.reports)
    if (known.length === 0) return []
    const position = decision.takePosition()
    for (const { roomId: _, ...row } of known) decision.write('bridgeCheckpoint', { instance: instance.key, appservice, ...row, position })
    decision.announce('bridgeState', {})
    return known
  })
  await checkpointsCame(instance, kept)
  return true
}

function readReport(given: unknown): Report {
  if (!isObject(given)) throw new MatrixError('M_BAD_JSON', 'A checkpoint is an object')
  const read = (name: string) => checkedId(name, given[name])
  const roomId = checkedId('room_id', given['room_id'] ?? '')
  return { eventId: read('event_id'), roomId, step: read('step'), status: read('status'), checkpoint: checkedText('checkpoint', given) }
}

interface Placed {
  readonly room: RoomRow
  readonly reports: readonly Report[]
}

/** Those about events that stand in their rooms. */
async function place(instance: Instance, reports: readonly Report[]): Promise<Placed[]> {
  const placed: Placed[] = []
  for (let start = 0; start < reports.length; start += lookedUpTogether) {
    if (start > 0) await nextTurn()
    const byRoom = Map.groupBy(reports.slice(start, start + lookedUpTogether), ({ roomId }) => roomId)
    const rooms = await instance.storage.find('room', { where: { roomId: { in: [...byRoom.keys()] } } })
    for (const room of rooms) {
      const about = byRoom.get(room.roomId)!
      const events = await instance.storage.eventsById(
        room.key,
        about.map(({ eventId }) => eventId),
      )
      const known = new Set(events.map(({ eventId }) => eventId))
      placed.push({ room, reports: about.filter(({ eventId }) => known.has(eventId)) })
    }
    await prefetch(
      instance,
      rooms.map((room) => (decision) => coreOf(decision, room)),
    )
  }
  return placed
}

/** Deleted meanwhile, a room concerns nobody. */
function concerns(decision: Decision, { key, namespaces }: Registration, { key: room }: RoomRow): boolean {
  const row = decision.get('room', { key: room })
  return row !== null && ((coreOf(decision, row).appservices.get(key) ?? 0) > 0 || namespaces.rooms.matches(row.roomId))
}

function requireAppservice(actor: Actor): number {
  if (actor.appservice === null || actor.puppet) throw forbidden('Only bridges report')
  return actor.appservice
}

function checkedId(name: string, value: unknown): string {
  if (typeof value !== 'string') throw new MatrixError('M_BAD_JSON', `${name} must be a string`)
  const refusal = checkIdentifier(name, value)
  if (refusal) throw invalidParam(refusal.error)
  return value
}

function checkedText(name: string, value: JsonObject): string {
  const text = JSON.stringify(value)
  if (text.length > mostBytes) throw new MatrixError('M_TOO_LARGE', `The ${name} is too large`)
  return text
}
