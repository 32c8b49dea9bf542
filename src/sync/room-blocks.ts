/** The blocks of `rooms.join`, and of left rooms with something to tell: many rooms with one read for each kind of thing. */
import { formatEvents } from '../rooms/event-text.ts'
import { readPreviews } from '../rooms/inbox-preview.ts'
import { formatToken } from '../stream/token.ts'
import { roomAccountData } from './account-data.ts'
import { ephemeralEvents, readReceipts } from './ephemeral.ts'
import { readState } from './room-state.ts'
import type { Scope, SyncedRoom } from './scope.ts'
import { readSummaries } from './summary.ts'
import { readTimelines, type Timeline } from './timelines.ts'
import { readUnreadCounts } from './unread-counts.ts'

/** One text `"!room":{…}` for each room that has something to say. */
export async function roomBlocks(scope: Scope, rooms: readonly SyncedRoom[]): Promise<string[]> {
  if (rooms.length === 0) return []
  const [timelines, receipts, accountData] = await Promise.all([
    readTimelines(scope, rooms),
    scope.isLeft ? new Map() : readReceipts(scope, rooms),
    roomAccountData(scope, rooms),
  ])
  const [ephemeral, summaries] = await Promise.all([
    scope.isLeft ? new Map<number, string[]>() : ephemeralEvents(scope, rooms, receipts),
    readSummaries(scope, rooms, timelines),
  ])
  const state = await readState(scope, rooms, timelines, summaries)

  const shown = rooms.filter(({ room, full }) => {
    const { key } = room
    const { events, limited } = timelines.get(key)!
    if (full || events.length > 0 || limited || state.has(key) || ephemeral.has(key) || accountData.has(key)) return true
    // The user's own reading brings the room with its new counts even without events.
    return summaries.has(key) || (!scope.isLeft && scope.mayHave(key, 'unread'))
  })
  if (shown.length === 0) return []
  const keys = shown.map(({ room }) => room.key)
  const [texts, unread, previews] = await Promise.all([
    timelineTexts(scope, shown, timelines),
    scope.isLeft ? null : readUnreadCounts(scope, keys),
    scope.previews && !scope.isLeft ? previewTexts(scope, shown, timelines) : null,
  ])

  return shown.map(({ room }) => {
    const { key } = room
    const { limited, before } = timelines.get(key)!
    let text = `${JSON.stringify(room.roomId)}:{"timeline":{"events":[${texts.get(key)}],"limited":${limited},"prev_batch":"${formatToken(before)}"}`
    text += `,"${scope.stateAfter ?? 'state'}":{"events":[${(state.get(key) ?? []).map((piece) => piece.json).join()}]}`
    const data = accountData.get(key)
    if (data) text += `,"account_data":{"events":[${data.join()}]}`
    const passing = ephemeral.get(key)
    if (passing) text += `,"ephemeral":{"events":[${passing.join()}]}`
    if (unread) text += `,${unread(key)}`
    const summary = summaries.get(key)
    if (summary) text += `,"summary":${summary.text}`
    const preview = previews?.get(key)
    if (preview) text += `,"com.beeper.inbox.preview":${preview}`
    return `${text}}`
  })
}

/** Only of rooms with events: of the others the client knows it. */
function previewTexts(scope: Scope, rooms: readonly SyncedRoom[], timelines: ReadonlyMap<number, Timeline>): Promise<Map<number, string>> {
  const { instance, requester, until, ignored, filter } = scope
  const active = rooms.filter(({ room }) => timelines.get(room.key)!.events.length > 0)
  return readPreviews(instance, {
    requester,
    until,
    ignored,
    format: filter.eventFormat,
    timelines: new Map(active.map(({ room }) => [room.key, timelines.get(room.key)!.events])),
    memberships: new Map(active.map(({ room, membership }) => [room.key, membership])),
  })
}

/** Bundled aggregations stand where a timeline begins anew; what follows live brings its relations itself. */
async function timelineTexts(
  scope: Scope,
  rooms: readonly SyncedRoom[],
  timelines: ReadonlyMap<number, Timeline>,
): Promise<Map<number, string>> {
  const texts = new Map<number, string>()
  const memberships = new Map(rooms.map(({ room, membership }) => [room.key, membership]))
  for (const bundle of [true, false]) {
    const some = rooms.filter(({ room, fresh }) => (fresh || timelines.get(room.key)!.limited) === bundle)
    if (some.length === 0) continue
    const events = some.flatMap(({ room }) => timelines.get(room.key)!.events)
    const formatted = await formatEvents(scope.instance, scope.requester, events, {
      bundle,
      memberships,
      upTo: scope.until,
      format: scope.filter.eventFormat,
    })
    let start = 0
    for (const { room } of some) {
      const end = start + timelines.get(room.key)!.events.length
      texts.set(room.key, formatted.slice(start, end).join())
      start = end
    }
  }
  return texts
}
