/**
 * The homeserver's own checkpoints of a message on its way to a bridge: that the owner's client sent it, when the client says so, and that it
 * is here. What comes after them the bridge reports.
 */
import type { JsonObject } from '../rules/values.ts'
import type { EventRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Draft } from './append.ts'
import type { RoomCore } from './room-core.ts'

/** What only the homeserver says. */
export const ownSteps: ReadonlySet<string> = new Set(['CLIENT', 'HOMESERVER'])

/** What bridges report of. */
const reported: ReadonlySet<string> = new Set(['m.room.message', 'm.room.encrypted', 'm.room.redaction', 'm.reaction', 'm.sticker'])

/** For the bridges that are told of it; not for what a bridge sent as the owner, which comes from the other side. */
export function writeCheckpoints(decision: Decision, core: RoomCore, row: EventRow, draft: Draft, appservices: readonly number[]): void {
  const { instance } = decision
  const [appservice, ...others] = appservices
  if (appservice === undefined || !reported.has(row.type) || draft.sender.userId !== instance.ownerId || isPuppeted(draft)) return
  const { content } = draft
  const about = {
    event_id: row.eventId,
    room_id: core.roomId,
    event_type: row.type,
    ...(typeof content['msgtype'] === 'string' && { message_type: content['msgtype'] }),
    ...client(content),
    status: 'SUCCESS',
    reported_by: 'HUNGRYSERV',
    retry_num: 0,
  }
  const write = (step: string, timestamp: number) =>
    decision.write('checkpoint', {
      instance: instance.key,
      eventId: row.eventId,
      step,
      appservice,
      status: about.status,
      checkpoint: JSON.stringify({ ...about, step, timestamp }),
      position: row.order,
      others: others.length > 0 ? JSON.stringify(others) : null,
    })
  const sentAt = content['com.beeper.origin_client_ts']
  if (typeof sentAt === 'number') write('CLIENT', sentAt)
  write('HOMESERVER', decision.now)
  decision.announce('bridgeState', {})
}

function isPuppeted({ device, content }: Draft): boolean {
  return device?.startsWith('as:') === true || content['fi.mau.double_puppet_source'] !== undefined
}

function client(content: JsonObject): JsonObject {
  const type = content['com.beeper.origin_client_type']
  const version = content['com.beeper.origin_client_version']
  return { ...(typeof type === 'string' && { client_type: type }), ...(typeof version === 'string' && { client_version: version }) }
}
