/** A registration comes when users of its namespaces are there already: of the bridge's earlier life, or imported. */

import { coreOf, membershipOf, setCore } from '../rooms/room-core.ts'
import { literalPrefix, type NamespaceRule } from '../rules/namespaces.ts'
import type { MembershipRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { parseRegistration, registrations } from '../users/registrations.ts'
import { putUser } from '../users/users.ts'

/** Users per change set. */
export const ghostsOfSlice = 200

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

/** Those of these users whom nobody else has. */
export async function adoptUsers(instance: Instance, appservice: number, users: readonly number[]): Promise<void> {
  const memberships = await instance.storage.find('membership', { where: { user: { in: users }, membership: { in: ['join', 'invite'] } } })
  const byUser = Map.groupBy(memberships, (membership) => membership.user)
  await command(instance, (decision) => {
    const living = new Set(registrations(decision).map((registration) => registration.key))
    if (!living.has(appservice)) return
    for (const key of users) {
      const user = decision.get('user', { key })
      // Somebody may have been quicker.
      if (!user || user.kind === 'person' || (user.appservice !== null && living.has(user.appservice))) continue
      // One that was left behind when its bridge was deleted lives again.
      putUser(decision, { ...user, appservice, status: 'active' })
      for (const membership of byUser.get(key) ?? []) countIn(decision, appservice, membership)
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
