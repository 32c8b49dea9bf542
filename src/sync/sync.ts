/** Sync v2: what changed for this device since a position, waited for. https://spec.matrix.org/v1.19/client-server-api/#syncing */
import { invalidParam } from '../errors.ts'
import { requesterOf } from '../rooms/event-text.ts'
import type { MembershipRow, RoomRow } from '../storage/tables.ts'
import { waitForUser } from '../stream/consumer.ts'
import { type Instance, local } from '../stream/instance.ts'
import { formatToken, parseToken } from '../stream/token.ts'
import type { Actor } from '../users/actor.ts'
import { requireUser } from '../users/users.ts'
import { accountDataSection, ignoredUsers } from './account-data.ts'
import { type Changes, changesSince, membershipsFor } from './changes.ts'
import { type JoinedRoom, joinedBlocks, type Scope } from './joined-rooms.ts'
import { membershipsAt } from './membership-at.ts'
import { departureBlock, leaveBlocks, type OtherRoom, strippedBlocks } from './other-rooms.ts'
import { filterOf, longestTimeoutMs, type SyncRequest } from './request.ts'

/** Rooms read together: large enough to share reads, small enough to let others in between. */
const sliceOfRooms = 100

const lastAnswers = local(() => new Map<string, number>())

/**
 * The answer as chunks of JSON text. Waits up to `timeoutMs` when nothing changed since `since`; without `since`, or with fullState, never.
 * Errors: M_INVALID_PARAM for a token or filter that is none, M_BAD_JSON.
 */
export async function sync(instance: Instance, actor: Actor, request: SyncRequest, signal: AbortSignal): Promise<AsyncIterable<string> | string[]> {
  const user = requireUser(actor)
  if (request.setPresence && !['online', 'offline', 'unavailable'].includes(request.setPresence)) throw invalidParam('set_presence')
  const filter = await filterOf(instance, user, request.filter)
  const { published } = instance.bus
  // A token of a time that is no more (a restored database) is answered from now on: clients never drop a token.
  let since = request.since ? Math.min(Math.max(parseToken(request.since, 'since'), 0), published) : null
  const fullState = request.fullState === true
  const deadline = instance.ports.now() + Math.min(request.timeoutMs ?? 0, longestTimeoutMs)
  const place = `${user}\0${actor.device}`

  for (;;) {
    const until = instance.bus.published
    const ignored = await ignoredUsers(instance, user)
    const scope: Scope = {
      instance,
      requester: requesterOf(actor, user),
      userId: actor.userId,
      filter,
      since,
      until,
      stateAfter: request.stateAfter ?? null,
      isIgnored: (sender, stateKey) => stateKey === null && ignored.has(sender),
    }
    if (since === null || fullState) {
      lastAnswers(instance).set(place, instance.ports.now())
      return everything(scope, fullState)
    }
    const changes = changesSince(instance, user, since, until)
    if (!changes.isEmpty) {
      const text = await changed(scope, changes)
      if (text !== null) {
        lastAnswers(instance).set(place, instance.ports.now())
        return [text]
      }
      // All of it was filtered out: waiting goes on from here, or the poll would wake in a hot loop.
      since = until
    }
    const timeoutMs = deadline - instance.ports.now()
    const lastAnswer = lastAnswers(instance).get(place) ?? 0
    if (timeoutMs <= 0 || !(await waitForUser(instance, { user, after: since, timeoutMs, signal, lastAnswer }))) {
      return [`{"next_batch":${JSON.stringify(formatToken(since))}}`]
    }
  }
}

/** Initial sync and full_state, streamed a slice of rooms at a time. */
async function* everything(scope: Scope, fullState: boolean): AsyncGenerator<string> {
  const { instance, requester, since, until } = scope
  const sorted = await sortRooms(scope, await instance.storage.find('membership', { where: { user: requester.user } }), fullState)
  yield `{"next_batch":${JSON.stringify(formatToken(until))},"account_data":{"events":[${(await accountDataSection(scope, since)).join(',')}]},"rooms":{"join":{`
  let first = true
  for (let i = 0; i < sorted.joined.length; i += sliceOfRooms) {
    const blocks = await joinedBlocks(scope, sorted.joined.slice(i, i + sliceOfRooms))
    if (blocks.length > 0) yield `${first ? '' : ','}${blocks.join(',')}`
    if (blocks.length > 0) first = false
  }
  const { invite, knock, leave } = await otherSections(scope, sorted)
  yield `},"invite":{${invite.join(',')}},"knock":{${knock.join(',')}},"leave":{${leave.join(',')}}}}`
}

/** An incremental answer, or null when nothing of it is for this client. */
async function changed(scope: Scope, changes: Changes): Promise<string | null> {
  const { requester, since, until } = scope
  const sorted = await sortRooms(scope, await membershipsFor(scope.instance, requester.user, changes), false)
  const accountData = changes.kinds === null || changes.kinds.has('accountData') ? await accountDataSection(scope, since) : []
  const join: string[] = []
  for (let i = 0; i < sorted.joined.length; i += sliceOfRooms) join.push(...(await joinedBlocks(scope, sorted.joined.slice(i, i + sliceOfRooms))))
  const { invite, knock, leave } = await otherSections(scope, sorted)
  if (changes.kinds === null || changes.kinds.has('departure')) leave.push(...(await departures(scope, sorted.seen)))

  const rooms = Object.entries({ join, invite, knock, leave }).flatMap(([name, blocks]) => (blocks.length > 0 ? [`"${name}":{${blocks.join(',')}}`] : []))
  if (rooms.length === 0 && accountData.length === 0) return null
  const parts = [`"next_batch":${JSON.stringify(formatToken(until))}`]
  if (accountData.length > 0) parts.push(`"account_data":{"events":[${accountData.join(',')}]}`)
  if (rooms.length > 0) parts.push(`"rooms":{${rooms.join(',')}}`)
  return `{${parts.join(',')}}`
}

interface Sorted {
  readonly joined: JoinedRoom[]
  readonly invited: OtherRoom[]
  readonly knocked: OtherRoom[]
  readonly left: OtherRoom[]
  /** ids of all rooms above */
  readonly seen: ReadonlySet<string>
}

async function sortRooms(scope: Scope, rows: readonly MembershipRow[], fullState: boolean): Promise<Sorted> {
  const { instance, filter, since, until } = scope
  const memberships = (await membershipsAt(instance.storage, rows, until)).filter((row) => !row.forgotten)
  const rooms = new Map<number, RoomRow>()
  const keys = memberships.map((row) => row.room)
  for (const room of keys.length > 0 ? await instance.storage.find('room', { where: { key: { in: keys } } }) : []) rooms.set(room.key, room)
  const sorted = { joined: [] as JoinedRoom[], invited: [] as OtherRoom[], knocked: [] as OtherRoom[], left: [] as OtherRoom[], seen: new Set<string>() }
  for (const membership of memberships) {
    const room = rooms.get(membership.room)
    if (!room || !filter.room.allowsRoom(room.roomId)) continue
    const isNew = since === null || membership.order > since
    if (membership.membership === 'join') {
      const fresh = since === null || membership.since > since
      sorted.joined.push({ room, membership, fresh, full: fresh || fullState })
    } else if (membership.membership === 'invite' && isNew) sorted.invited.push({ room, membership })
    else if (membership.membership === 'knock' && isNew) sorted.knocked.push({ room, membership })
    else if ((membership.membership === 'leave' || membership.membership === 'ban') && (since === null ? filter.room.includeLeave : isNew)) {
      sorted.left.push({ room, membership })
    } else continue
    sorted.seen.add(room.roomId)
  }
  return sorted
}

async function otherSections(scope: Scope, { invited, knocked, left }: Sorted): Promise<{ invite: string[]; knock: string[]; leave: string[] }> {
  return {
    invite: await strippedBlocks(scope, 'invite_state', invited.filter(({ membership }) => !scope.isIgnored(membership.sender, null))),
    knock: await strippedBlocks(scope, 'knock_state', knocked),
    leave: await leaveBlocks(scope, left),
  }
}

/** Rooms that are gone; not those that came back under their name. */
async function departures({ instance, requester, since, until }: Scope, seen: ReadonlySet<string>): Promise<string[]> {
  const rows = await instance.storage.find('departure', { where: { user: requester.user, position: { gt: since ?? 0, lte: until } } })
  return rows.filter((row) => !seen.has(row.roomId)).map((row) => departureBlock(row.roomId, row.position))
}

