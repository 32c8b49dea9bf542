/**
 * A registration comes when users of its namespaces are there already: of the bridge's earlier life, or imported. And when messages wait for their
 * devices: of a time when transactions did not carry them.
 */
import { removeCrossSigningKeys } from '../devices/cross-signing.ts'
import { noteMessage } from '../devices/inbox.ts'
import { coreOf, membershipOf, setCore } from '../rooms/room-core.ts'
import { literalPrefix, type NamespaceRule } from '../rules/namespaces.ts'
import type { AppserviceRow, MembershipRow, ToDeviceRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { noteInterest } from '../users/interest.ts'
import { parseRegistration, registrations } from '../users/registrations.ts'
import { devicesOf, loadDevices, removeDevices } from '../users/sessions.ts'
import { putUser } from '../users/users.ts'
import { hasDevicesInTransactions } from './encryption.ts'

/** Users per change set. */
export const ghostsOfSlice = 200
/** Devices whose messages are looked for, usually the bot's alone, and messages per change set. */
const mostDevices = 50
const messagesOfSlice = 50

/** Gives the users of its namespaces whom nobody logs in to and no other bridge has to the appservice, and their rooms count for it. */
export async function adoptGhosts(instance: Instance, appservice: number): Promise<void> {
  const row = await instance.storage.first('appservice', { key: appservice })
  if (!row) return
  const registration = parseRegistration(row)
  const { users: rules } = (registration.content['namespaces'] ?? {}) as { users?: readonly NamespaceRule[] }
  const found = new Map<number, UserRow>()
  const take = (user: UserRow) => {
    if (user.kind !== 'person' && user.appservice !== appservice) found.set(user.key, user)
  }
  const bot = await instance.storage.first('user', { key: row.bot })
  if (bot) take(bot)
  for (const { regex } of rules ?? []) {
    for (const user of await instance.storage.find('user', { where: { userId: { startsWith: literalPrefix(regex) } } })) {
      if (registration.namespaces.users.matches(user.userId)) take(user)
    }
  }
  const users = [...found.keys()]
  for (let start = 0; start < users.length; start += ghostsOfSlice) {
    await adoptUsers(instance, appservice, users.slice(start, start + ghostsOfSlice))
  }
}

/** Those of these users whom nobody else has. Of an earlier life they keep their name and rooms; its sessions and keys end with it. */
export async function adoptUsers(instance: Instance, appservice: number, users: readonly number[]): Promise<void> {
  // What is newer than the registration was made by its bridge, which may be quicker than we are.
  const older = { user: { in: users }, position: { lt: appservice } }
  const identities = new Set((await instance.storage.keys('crossSigningKey', { where: older })).map(({ user }) => user))
  const memberships = await instance.storage.find('membership', { where: { user: { in: users }, membership: { in: ['join', 'invite'] } } })
  const byUser = Map.groupBy(memberships, (membership) => membership.user)
  await command(instance, (decision) => {
    const living = new Set(registrations(decision).map((registration) => registration.key))
    if (!living.has(appservice)) return
    const adopted = users.flatMap((key) => {
      const user = decision.get('user', { key })
      // Somebody may have been quicker.
      return user && user.kind !== 'person' && (user.appservice === null || !living.has(user.appservice)) ? [user] : []
    })
    const keys = adopted.map(({ key }) => key)
    loadDevices(decision, keys)
    const devices = keys.flatMap((key) => devicesOf(decision, key))
    removeDevices(
      decision,
      devices.filter(({ position }) => position < appservice),
    )
    for (const user of adopted) {
      if (identities.has(user.key)) removeCrossSigningKeys(decision, user.key)
      // One that was left behind when its bridge was deleted lives again.
      putUser(decision, { ...user, appservice, status: 'active' })
      for (const membership of byUser.get(user.key) ?? []) countIn(decision, appservice, membership)
    }
  })
}

function countIn(decision: Decision, appservice: number, { room: key, user }: MembershipRow): void {
  const room = decision.get('room', { key })
  const now = membershipOf(decision, key, user)?.membership
  if (!room || (now !== 'join' && now !== 'invite')) return
  const core = coreOf(decision, room)
  const appservices = new Map(core.appservices)
  appservices.set(appservice, (appservices.get(appservice) ?? 0) + 1)
  setCore(decision, { ...core, appservices })
}

/**
 * From now on transactions carry what waits for the devices of its users and came while they did not. A device that syncs all the same may be
 * given a message twice.
 */
export async function adoptMessages(instance: Instance, appservice: AppserviceRow): Promise<void> {
  if (!hasDevicesInTransactions(appservice)) return
  const devices = await instance.storage.keys('keyCount', { where: { appservice: appservice.key }, limit: mostDevices })
  for (const { user, deviceId } of devices) {
    const device = await instance.storage.first('device', { user, deviceId })
    // What transactions have passed by is left to its sync, where there is one.
    const isPassed = (row: ToDeviceRow) => row.position <= appservice.cursor && device?.syncedAt == null
    const until = instance.bus.published
    for (let after = 0; ; ) {
      const where = { user, deviceId, position: { gt: after, lte: until } }
      const page = await instance.storage.find('toDevice', { where, orderBy: ['position'], limit: messagesOfSlice })
      const taken = page.filter((row) => row.appservice === null || isPassed(row))
      if (taken.length > 0) await command(instance, (decision) => queueAgain(decision, appservice.key, taken))
      if (page.length < messagesOfSlice) break
      after = page.at(-1)!.position
    }
  }
}

/** Behind what waits already. */
function queueAgain(decision: Decision, appservice: number, messages: readonly ToDeviceRow[]): void {
  const { instance } = decision
  const [first] = messages
  // Deleted meanwhile, and its messages with it.
  if (!first || !decision.get('device', { user: first.user, deviceId: first.deviceId })) return
  for (const message of messages) {
    const position = decision.takePosition()
    decision.changes.remove('toDevice', message)
    decision.write('toDevice', { ...message, position, appservice })
    noteInterest(decision, appservice, position)
    decision.onCommitted(() => noteMessage(instance, { ...message, position }))
  }
  decision.announce('toDevice', { users: [first.user], appservices: [appservice] })
}
