/**
 * Deleting a bridge: it is shut out at once, and a job takes away what it made. Registering the same id again meanwhile makes another
 * bridge, which adopts the ghosts that are still there.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { notFound } from '../errors.ts'
import { hashSecret } from '../ids.ts'
import { type JobKind, putJob, type Slice, sliceOfRows } from '../jobs/jobs.ts'
import { deleteRooms } from '../rooms/delete.ts'
import { isPresent, leaveRooms, leavesOfSlice, livingMemberships } from '../rooms/leave-rooms.ts'
import type { KeyOf } from '../storage/change-set.ts'
import type { Find } from '../storage/storage.ts'
import { type DeviceRow, type JobRow, type RoomRow, type TableName, tables, type UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { type Registration, readRegistrations, registrations, removeAppservice } from '../users/registrations.ts'
import { removeDevices, removeSecret } from '../users/sessions.ts'
import { putUser, removeUser } from '../users/users.ts'
import { adoptUsers, ghostsOfSlice } from './adoption.ts'
import { requireManager } from './managers.ts'

/** The kind of job. */
export const bridgeDeletion = 'deleteBridge'

/** Rooms per slice. */
const roomsOfSlice = 200

interface Arguments {
  readonly appservice: number
  readonly id: string
}

/**
 * Its registration, its tokens and those of its users end at once, nothing more is delivered. The job that is answered deletes the rooms that it
 * made and its ghosts. Errors: M_FORBIDDEN, M_NOT_FOUND.
 */
export async function deleteBridge(instance: Instance, actor: Actor, id: string): Promise<JobRow> {
  requireManager(instance, actor)
  const job = await command(instance, (decision) => {
    const row = decision.find('appservice', { id })
    if (!row) throw notFound(`There is no bridge ${id}`)
    removeSecret(decision, hashSecret(row.asToken))
    removeAppservice(decision, row)
    decision.announce('appservice', { appservices: [row.key] })
    decision.onCommitted(() => instance.upward.appserviceChanged(instance, row.key))
    return putJob(decision, bridgeDeletion, { appservice: row.key, id } satisfies Arguments)
  })
  await endSessions(instance, (JSON.parse(job.arguments) as Arguments).appservice)
  return job
}

/** Nobody begins a session for its users any more, so what is found now is all. */
async function endSessions(instance: Instance, appservice: number): Promise<void> {
  for (let found = await nextDevices(instance, appservice); found.length > 0; found = await nextDevices(instance, appservice)) {
    const devices = found
    await command(instance, (decision) => removeLiving(decision, devices))
  }
}

/** Of its users, few of whom ever have one. */
async function nextDevices({ storage }: Instance, appservice: number): Promise<DeviceRow[]> {
  for (let after = 0; ; await nextTurn()) {
    const where = { appservice, kind: { not: 'person' as const }, key: { gt: after } }
    const users = await storage.find('user', { where, orderBy: ['key'], limit: ghostsOfSlice })
    const keys = users.map(({ key }) => key)
    const devices = keys.length > 0 ? await storage.find('device', { where: { user: { in: keys } }, limit: sliceOfRows }) : []
    if (devices.length > 0 || keys.length < ghostsOfSlice) return devices
    after = keys.at(-1)!
  }
}

/** Counted in rooms and ghosts. */
export const bridgeDeletionJob: JobKind = async (instance, job) => {
  const { appservice } = JSON.parse(job.arguments) as Arguments
  const total = job.cursor === '' ? await countAll(instance, appservice) : job.total
  const step =
    (job.cursor === roomsDone ? null : await nextRooms(instance, appservice, Number(job.cursor))) ??
    (await nextRows(instance, appservice)) ??
    (await nextGhosts(instance, appservice))
  return step && { cursor: String(step.after ?? roomsDone), done: job.done + (step.deleted ?? 0), total, write: step.write }
}

/** The cursor is the key of the room that was looked at last; then this. */
const roomsDone = 'rooms done'

/** What comes next, and what it means for the progress. */
interface Step {
  readonly after?: number
  readonly deleted?: number
  readonly write: Slice['write']
}

async function countAll({ storage }: Instance, appservice: number): Promise<number> {
  const counts = await Promise.all([storage.count('room', { appservice }), storage.count('user', { appservice })])
  return counts[0] + counts[1]
}

/** The rooms that the bridge or one of its users made, also in an earlier life of it. */
async function nextRooms({ storage }: Instance, appservice: number, from: number): Promise<Step | null> {
  for (let after = from; ; await nextTurn()) {
    const page = await storage.find('room', { where: { key: { gt: after } }, orderBy: ['key'], limit: roomsOfSlice })
    const last = page.at(-1)
    if (!last) return null
    after = last.key
    const creators = await storage.find('user', { where: { key: { in: [...new Set(page.map(({ creator }) => creator))] }, appservice } })
    const own = new Set(creators.map(({ key }) => key))
    const rooms = page.filter((room) => room.appservice === appservice || own.has(room.creator))
    if (rooms.length > 0) return { after, deleted: rooms.length, write: (decision) => deleteRooms(decision, stillThere(decision, rooms)) }
  }
}

/** Somebody else may have deleted one meanwhile, and made another of its name. */
function stillThere(decision: Decision, rooms: readonly RoomRow[]): RoomRow[] {
  decision.all(
    rooms.map(
      ({ key }) =>
        () =>
          decision.get('room', { key }),
    ),
  )
  return rooms.flatMap(({ key }) => decision.get('room', { key }) ?? [])
}

const names = Object.keys(tables) as TableName[]
const ofAppservice = names.filter((name) => tables[name].key[1] === 'appservice')
const ofUser = names.filter((name) => tables[name].key[1] === 'user' && name !== 'device')

/** What waited for the bridge, and what it told of itself. */
async function nextRows({ storage }: Instance, appservice: number): Promise<Step | null> {
  for (const table of ofAppservice) {
    const found = await storage.keys(table, { where: { appservice }, limit: sliceOfRows } as Find<TableName>)
    if (found.length > 0) return { write: (decision) => removeRows(decision, table, found) }
  }
  return null
}

/** Past memory: nobody looks for what belongs to a dead key. */
function removeRows(decision: Decision, table: TableName, keys: readonly object[]): void {
  for (const key of keys) decision.changes.remove(table, key as KeyOf<typeof table>)
}

/** Ghosts and the bot: first they leave the rooms of others, then what is theirs goes, then they. */
async function nextGhosts(instance: Instance, appservice: number): Promise<Step | null> {
  const { storage } = instance
  for (;;) {
    const ghosts = await storage.find('user', { where: { appservice, kind: { not: 'person' } }, limit: ghostsOfSlice })
    if (ghosts.length === 0) return null
    if (await findHeirs(instance, ghosts)) continue
    const users = ghosts.map(({ key }) => key)
    const elsewhere = await livingMemberships(instance, users)
    const present = elsewhere.filter(isPresent).slice(0, leavesOfSlice)
    if (present.length > 0) return { write: (decision) => leaveRooms(decision, present) }
    const devices = await storage.find('device', { where: { user: { in: users } }, limit: sliceOfRows })
    if (devices.length > 0) return { write: (decision) => removeLiving(decision, devices) }
    // Who has been in a room of others stays in its history.
    const remembered = new Set(elsewhere.map(({ user }) => user))
    const gone = users.filter((key) => !remembered.has(key))
    for (const table of ofUser) {
      const found = await storage.keys(table, { where: { user: { in: gone } }, limit: sliceOfRows } as Find<TableName>)
      if (found.length > 0) return { write: (decision) => removeRows(decision, table, found) }
    }
    return { deleted: ghosts.length, write: (decision) => removeGhosts(decision, appservice, users, remembered) }
  }
}

/** Its bot need not lie in its namespaces. */
function covers({ bot, namespaces }: Registration, { key, userId }: UserRow): boolean {
  return bot === key || namespaces.users.matches(userId)
}

/** Ghosts in the namespace of another bridge, or of this one registered again, become that one's. */
async function findHeirs(instance: Instance, ghosts: readonly UserRow[]): Promise<boolean> {
  const living = await readRegistrations(instance)
  const heirOf = (user: UserRow) => living.find((registration) => covers(registration, user))?.key
  let found = false
  for (const [heir, own] of Map.groupBy(ghosts, heirOf)) {
    if (heir === undefined) continue
    found = true
    await adoptUsers(
      instance,
      heir,
      own.map(({ key }) => key),
    )
  }
  return found
}

/** Those of these devices that are still there. */
function removeLiving(decision: Decision, devices: readonly DeviceRow[]): void {
  const find = ({ user, deviceId }: DeviceRow) => decision.get('device', { user, deviceId })
  decision.all(devices.map((device) => () => find(device)))
  removeDevices(
    decision,
    devices.flatMap((device) => find(device) ?? []),
  )
}

function removeGhosts(decision: Decision, appservice: number, users: readonly number[], remembered: ReadonlySet<number>): void {
  decision.all(users.map((key) => () => decision.get('user', { key })))
  const heirs = registrations(decision)
  for (const key of users) {
    const user = decision.get('user', { key })
    // Adopted meanwhile, or about to be: the bridge was registered again.
    if (user?.appservice !== appservice || heirs.some((heir) => covers(heir, user))) continue
    if (!remembered.has(key)) removeUser(decision, user)
    else {
      const nobody = { appservice: null, displayName: null, avatarUrl: null, profile: '{}', status: 'deactivated' }
      putUser(decision, { ...user, ...nobody, position: decision.takePosition() })
    }
  }
}
