/**
 * What events said before they were redacted, kept for a while so that moderators can see what was taken back before they came by.
 * https://github.com/matrix-org/matrix-spec-proposals/pull/2815
 */
import { forbidden, MatrixError } from '../errors.ts'
import { removeInSlices } from '../jobs/remove-in-slices.ts'
import { namedLevel, userLevel } from '../rules/power-levels.ts'
import type { EventRow, UnredactedRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { isModerator } from '../users/moderation.ts'
import { type EventId, requireEvent } from './history.ts'
import { emptyCore, withStates } from './room-core.ts'
import { type EventView, viewEvents } from './timeline.ts'
import type { Readable } from './visibility.ts'

function keepMs({ config }: Instance): number {
  return config.redactedContentDays * 24 * 60 * 60_000
}

/**
 * In the decision that empties the event, given as it still is: both come to pass or neither. `left` is what will be left of it. An event that
 * has no more than that may have come emptied from another room, with what it said: that is not written over.
 */
export function keepUnredacted(decision: Decision, { instance, room, order, json }: EventRow, left?: string): void {
  if (keepMs(decision.instance) === 0) return
  const kept = { instance, room, order, redactedAt: decision.now, json }
  if (json !== left) decision.write('unredacted', kept)
  else if (!decision.get('unredacted', { room, order })) decision.put('unredacted', kept)
}

/**
 * An event with the content that it had before it was redacted; `unsigned` still says by what it was. For server administrators, and for
 * joined members with the level to redact what others say. Errors: M_NOT_FOUND when there is none that the caller may see, M_FORBIDDEN for
 * other members, FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED (404) when the content is not kept any more.
 */
export async function viewUnredacted(instance: Instance, actor: Actor, args: EventId): Promise<EventView> {
  const { readable, row } = await requireEvent(instance, actor, args)
  await requireModerator(instance, actor, readable)
  const kept = await instance.storage.first('unredacted', { room: row.room, order: row.order })
  // What is old is removed once an hour, and nobody reads it in the meantime.
  const found = kept && kept.redactedAt + keepMs(instance) > instance.ports.now() ? kept : null
  if (row.redactedBy !== null && !found) {
    throw new MatrixError('FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED', 'What the event said is not kept any more', {
      'fi.mau.msc2815.content_keep_ms': keepMs(instance),
    })
  }
  return (await viewEvents(instance, actor, readable, [found ? { ...row, json: found.json } : row]))[0]!
}

/** Who left may redact nothing any more, so they read nothing of it either; an as_token administers nothing. */
async function requireModerator(instance: Instance, actor: Actor, { room, membership }: Readable): Promise<void> {
  if (isModerator(actor)) return
  const state = await instance.storage.currentState([room.key], { types: ['m.room.create', 'm.room.power_levels'] })
  const { powerLevels } = withStates(emptyCore(room), state)
  const mayRedact = userLevel(powerLevels, actor.userId) >= namedLevel(powerLevels, 'redact')
  if (membership?.membership !== 'join' || !mayRedact) throw forbidden("You don't have permission to see what was redacted in this room")
}

/** What is kept of events, by event id; their rows are of several rooms, but no id comes twice. */
export async function unredactedOf({ storage }: Instance, rows: readonly EventRow[]): Promise<Map<string, UnredactedRow>> {
  const redacted = Map.groupBy(
    rows.filter(({ redactedBy }) => redactedBy !== null),
    ({ room }) => room,
  )
  const found = new Map<string, UnredactedRow>()
  for (const [room, events] of redacted) {
    const ids = new Map(events.map(({ order, eventId }) => [order, eventId]))
    for (const kept of await storage.find('unredacted', { where: { room, order: { in: [...ids.keys()] } } })) {
      found.set(ids.get(kept.order)!, kept)
    }
  }
  return found
}

/** Removes what was kept long enough, in slices. */
export async function forgetUnredacted(instance: Instance): Promise<void> {
  const { storage, ports } = instance
  const until = ports.now() - keepMs(instance)
  await removeInSlices(instance, 'unredacted', (limit) => storage.keys('unredacted', { where: { redactedAt: { lte: until } }, limit }))
}
