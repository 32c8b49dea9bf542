/** Sync v2: what changed for this device since a position, waited for. https://spec.matrix.org/v1.19/client-server-api/#syncing */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { acknowledgeUnwaited } from '../devices/inbox.ts'
import { type DeviceLists, noDeviceLists } from '../devices/room-mates.ts'
import { requesterOf } from '../rooms/event-text.ts'
import type { MembershipRow, RoomRow } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import { waitForUser } from '../stream/consumer.ts'
import { type Instance, local } from '../stream/instance.ts'
import { formatToken } from '../stream/token.ts'
import type { Actor } from '../users/actor.ts'
import { noteOwnSync } from '../users/sessions.ts'
import { requireUser, startSyncing, userOf } from '../users/users.ts'
import { globalAccountData, ignoredKeys, wantsInvitations } from './account-data.ts'
import { type Changes, noteBeginning, rememberedChanges, storedChanges, unknownChanges } from './changes.ts'
import { devicePart, haveCountsChanged, type Messages, readListsBetween, readMessages } from './device-part.ts'
import { lastAnswerTo, noteAnswer } from './last-answers.ts'
import { departureBlocks, leaveBlocks } from './left-rooms.ts'
import { lastStays, membershipsAt } from './membership-at.ts'
import { checkPresence, filterOf, type SyncRequest, sinceOf, timeoutOf } from './request.ts'
import { roomBlocks } from './room-blocks.ts'
import type { Scope, SyncedRoom } from './scope.ts'
import { share } from './shared-work.ts'
import { strippedBlocks } from './stripped-rooms.ts'

/** Rooms read together: enough to share reads, few enough to let others in between. */
const sliceOfRooms = 32

/**
 * The answer as chunks of JSON text. Waits up to `timeoutMs` when nothing changed since `since`; without `since`, or with fullState, never.
 * Errors: M_INVALID_PARAM for an unknown filter or presence, M_BAD_JSON for a filter of the wrong shape.
 */
export async function sync(
  instance: Instance,
  actor: Actor,
  request: SyncRequest,
  signal: AbortSignal,
): Promise<AsyncIterable<string> | string[]> {
  const user = await syncingUser(instance, actor)
  checkPresence(request.setPresence)
  const filter = await filterOf(instance, user, request.filter)
  const since = sinceOf(request, instance.bus.published)
  const { device } = actor
  const asks = {
    instance,
    requester: requesterOf(actor, user),
    userId: actor.userId,
    device,
    filter,
    stateAfter: request.stateAfter ?? null,
    previews: request.previews === true,
  }
  // Who names no token of ours may have got nothing yet.
  const after = since !== null && request.since === formatToken(since) ? since : null
  if (device !== null) {
    await noteOwnSync(instance, actor)
    // What a filter leaves out is kept for who asks without: that sync alone says what has arrived.
    if (after !== null && !filter.toDevice) void acknowledgeUnwaited(instance, user, device, after)
  }
  const place = `${user}\0${asks.requester.device}`
  if (since === null || request.fullState) {
    noteAnswer(instance, place)
    const { messages, until } = await messagesFor(asks, after, instance.bus.published)
    const lists = since === null || device === null ? noDeviceLists : await readListsBetween(instance, user, since, until)
    const deviceText = device === null ? '' : await devicePart(instance, { user, deviceId: device }, messages, lists)
    const scope = { ...asks, since, until, ignored: await ignoredKeys(instance, user) }
    return everything({ ...scope, mayHave: () => true }, deviceText)
  }
  const key = JSON.stringify([place, request.since, request.filter ?? '', asks.stateAfter, asks.previews, request.timeoutMs ?? 0])
  const deadline = instance.ports.now() + timeoutOf(request)
  return [await share(instance, key, signal, (shared) => poll({ ...asks, since, after, place, deadline, signal: shared }))]
}

type Asks = Omit<Scope, 'since' | 'until' | 'ignored' | 'mayHave'>

interface Poll extends Asks {
  readonly since: number
  /** the device has its messages up to here; null: perhaps none */
  readonly after: number | null
  /** user and device */
  readonly place: string
  /** ms since the epoch */
  readonly deadline: number
  readonly signal: AbortSignal
}

/** Reads, and waits for the bus while there is nothing to say. */
async function poll({ since: start, after: received, place, deadline, signal, ...asks }: Poll): Promise<string> {
  const { instance, requester } = asks
  const { user } = requester
  for (let since = start, after = received; ; ) {
    const answer = await read(asks, since, after)
    if (answer.text !== null) {
      noteAnswer(instance, place)
      return answer.text
    }
    // What was filtered out is behind us: waiting goes on from here, or the poll would wake in a hot loop.
    since = answer.until
    after = since
    const timeoutMs = deadline - instance.ports.now()
    const lastAnswer = lastAnswerTo(instance, place)
    if (timeoutMs <= 0 || !(await waitForUser(instance, { user, after: since, timeoutMs, signal, lastAnswer }))) {
      return answerOf(asks, since, '')
    }
  }
}

/** What happened since then, as a whole answer; a null text when nothing of it is for this client. */
async function read(asks: Asks, since: number, after: number | null): Promise<{ readonly until: number; readonly text: string | null }> {
  const { instance, requester, device, filter } = asks
  const { user } = requester
  const { published } = instance.bus
  const remembered = rememberedChanges(instance, user, since, published)
  if (remembered?.isEmpty && after !== null) return { until: published, text: null }
  const hasMessages = after === null || !remembered || remembered.has('toDevice')
  const { messages, until } = hasMessages ? await messagesFor(asks, after, published) : noMessages(published)
  const changes =
    (until < published ? rememberedChanges(instance, user, since, until) : remembered) ??
    (filter.room.nothing ? unknownChanges : await storedChanges(instance, user, since, until))
  const lists = device === null ? noDeviceLists : await readListsBetween(instance, user, since, until)
  const place = device !== null && changes.has('keyCount') ? { user, deviceId: device } : null
  const isNews =
    messages.length + lists.changed.length + lists.left.length > 0 ||
    (place !== null && (await haveCountsChanged(instance, place, { since, until })))
  const ignored = filter.room.nothing || changes.rooms.length === 0 ? nobody : await ignoredKeys(instance, user)
  const rest = await changed({ ...asks, since, until, ignored, mayHave: changes.mayHave }, changes)
  return { until, text: isNews || rest !== '' ? await answerOf(asks, until, rest, messages, lists) : null }
}

const nobody: ReadonlySet<number> = new Set()

async function messagesFor({ instance, requester, device, filter }: Asks, after: number | null, until: number): Promise<Messages> {
  if (device === null) return noMessages(until)
  return readMessages(instance, { user: requester.user, deviceId: device }, { after, until, wants: filter.toDevice })
}

function noMessages(until: number): Messages {
  return { messages: [], until }
}

async function answerOf(
  { instance, requester, device }: Asks,
  until: number,
  rest: string,
  messages?: Messages['messages'],
  lists?: DeviceLists,
): Promise<string> {
  const deviceText = device === null ? '' : await devicePart(instance, { user: requester.user, deviceId: device }, messages, lists)
  return `{"next_batch":"${formatToken(until)}"${deviceText}${rest}}`
}

const knownSyncing = local(() => new Set<number>())

/** The key of who asks. The bus speaks only of users who sync; a bridge's user becomes one by asking. */
export async function syncingUser(instance: Instance, actor: Actor): Promise<number> {
  const key = requireUser(actor)
  const known = knownSyncing(instance)
  if (known.has(key)) return key
  const row = await instance.storage.first('user', { key })
  if (row && !row.syncs) {
    await command(instance, (decision) => {
      startSyncing(decision, userOf(decision, key))
      decision.onApplied(() => noteBeginning(instance, key, decision.changes.position))
    })
  }
  known.add(key)
  return key
}

/** Initial sync and full_state, streamed a slice of rooms at a time. */
async function* everything(scope: Scope, deviceText: string): AsyncGenerator<string> {
  const { instance, requester, filter, until } = scope
  const accountData = await globalAccountData(scope, null)
  const rows = filter.room.nothing ? [] : await instance.storage.find('membership', { where: { user: requester.user } })
  const sorted = await sortRooms(scope, rows, true)
  yield `{"next_batch":"${formatToken(until)}"${deviceText},"account_data":{"events":[${accountData.join()}]},"rooms":{"join":{`
  yield* listed(joinedBlocks(scope, sorted.joined))
  yield '},"invite":{'
  yield* listed(inviteBlocks(scope, sorted.invited))
  yield '},"knock":{'
  yield (await strippedBlocks(scope, 'knock_state', sorted.knocked)).join()
  yield '},"leave":{'
  yield* listed(departedBlocks(scope, sorted))
  yield '}}}'
}

/** Account data and rooms of an incremental answer, with commas before; empty when nothing of it is for this client. */
async function changed(scope: Scope, changes: Changes): Promise<string> {
  const { instance, requester, filter, since } = scope
  const { user } = requester
  const wantsRooms = !filter.room.nothing
  const [rows, accountData] = await Promise.all([
    wantsRooms && changes.rooms.length > 0 ? instance.storage.membersAt(changes.rooms.map((room) => ({ room, user }))) : [],
    changes.has('accountData') ? globalAccountData(scope, since) : [],
  ])
  const sorted = await sortRooms(scope, rows, false)
  const sections: [string, string[]][] = [
    ['join', await gather(joinedBlocks(scope, sorted.joined))],
    ['invite', await gather(inviteBlocks(scope, sorted.invited))],
    ['knock', await strippedBlocks(scope, 'knock_state', sorted.knocked)],
    ['leave', sorted.left.length > 0 || (wantsRooms && changes.has('departure')) ? await gather(departedBlocks(scope, sorted)) : []],
  ]
  const rooms = sections.filter(([, blocks]) => blocks.length > 0)
  let text = ''
  if (accountData.length > 0) text += `,"account_data":{"events":[${accountData.join()}]}`
  if (rooms.length > 0) text += `,"rooms":{${rooms.map(([name, blocks]) => `"${name}":{${blocks.join()}}`).join()}}`
  return text
}

interface Sorted {
  readonly joined: SyncedRoom[]
  readonly invited: SyncedRoom[]
  readonly knocked: SyncedRoom[]
  readonly left: SyncedRoom[]
  /** ids of all rooms above */
  readonly ids: ReadonlySet<string>
}

async function sortRooms(scope: Scope, rows: readonly MembershipRow[], fullState: boolean): Promise<Sorted> {
  const { instance, filter, since, until } = scope
  const memberships = (await membershipsAt(instance, rows, until)).filter((row) => !row.forgotten)
  const keys = memberships.map((row) => row.room)
  const found = keys.length > 0 ? await instance.storage.find('room', { where: { key: { in: keys } } }) : []
  const rooms = new Map<number, RoomRow>(found.map((room) => [room.key, room]))
  const sorted = { joined: [] as SyncedRoom[], invited: [] as SyncedRoom[], knocked: [] as SyncedRoom[], left: [] as SyncedRoom[] }
  const ids = new Set<string>()
  for (const membership of memberships) {
    const room = rooms.get(membership.room)
    if (!room || !filter.room.allowsRoom(room.roomId)) continue
    const isNew = since === null || membership.order > since
    const fresh = since === null || membership.since > since
    const list = listOf(sorted, membership.membership)
    if (list !== sorted.joined && !(list === sorted.left && since === null ? filter.room.includeLeave : isNew)) continue
    list.push({ room, membership, fresh, full: list === sorted.joined && (fresh || fullState) })
    ids.add(room.roomId)
  }
  return { ...sorted, joined: await markAgain(scope, sorted.joined), ids }
}

function listOf(sorted: Omit<Sorted, 'ids'>, membership: string): SyncedRoom[] {
  if (membership === 'join') return sorted.joined
  if (membership === 'invite') return sorted.invited
  return membership === 'knock' ? sorted.knocked : sorted.left
}

/** Who was in a newly joined room before may hold older events of it. */
async function markAgain({ instance, requester, since }: Scope, joined: SyncedRoom[]): Promise<SyncedRoom[]> {
  const fresh = since === null ? [] : joined.filter((synced) => synced.fresh)
  if (fresh.length === 0) return joined
  const roomIds = fresh.map(({ room }) => room.roomId)
  const [stays, departures] = await Promise.all([
    lastStays(
      instance,
      fresh.map(({ membership }) => membership),
    ),
    instance.storage.find('departure', { where: { user: requester.user, roomId: { in: roomIds } } }),
  ])
  // Or in one of the same name that was deleted.
  const known = new Set(departures.map(({ roomId }) => roomId))
  const isAgain = ({ room, fresh }: SyncedRoom) => fresh && (stays.get(room.key)?.again === true || known.has(room.roomId))
  return joined.map((synced) => (isAgain(synced) ? { ...synced, again: true } : synced))
}

async function* joinedBlocks(scope: Scope, rooms: readonly SyncedRoom[]): AsyncGenerator<string> {
  for (let i = 0; i < rooms.length; i += sliceOfRooms) {
    if (i > 0) await nextTurn()
    yield* await roomBlocks(scope, rooms.slice(i, i + sliceOfRooms))
  }
}

async function* inviteBlocks(scope: Scope, rooms: readonly SyncedRoom[]): AsyncGenerator<string> {
  const wanted = rooms.filter(({ membership }) => !scope.ignored.has(membership.sender))
  if (wanted.length === 0 || !(await wantsInvitations(scope.instance, scope.requester.user))) return
  for (let i = 0; i < wanted.length; i += sliceOfRooms)
    yield (await strippedBlocks(scope, 'invite_state', wanted.slice(i, i + sliceOfRooms))).join()
}

async function* departedBlocks(scope: Scope, { left, ids }: Sorted): AsyncGenerator<string> {
  yield* leaveBlocks(scope, left)
  if (scope.since !== null && !scope.filter.room.nothing) yield* await departureBlocks(scope, ids)
}

/** With commas between. */
async function* listed(blocks: AsyncIterable<string>): AsyncGenerator<string> {
  let separator = ''
  for await (const block of blocks) {
    yield separator + block
    separator = ','
  }
}

async function gather(blocks: AsyncIterable<string>): Promise<string[]> {
  const gathered: string[] = []
  for await (const block of blocks) gathered.push(block)
  return gathered
}
