/** Whose devices or cross-signing keys changed, told to those who share a room with them. https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user */
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { noteInterest } from '../users/interest.ts'
import { registrations } from '../users/registrations.ts'
import { syncingUsers } from '../users/users.ts'
import { addUserWithKeys } from '../users/users-with-keys.ts'

/**
 * The user's devices or cross-signing keys look different from now on. Who shares a room with the user is decided when the change is read: all
 * who may are woken, and they are few.
 */
export function noteDeviceListChange(decision: Decision, user: number): void {
  const { instance } = decision
  const position = decision.takePosition()
  const bridges = registrations(decision).filter(({ devicesInTransactions }) => devicesInTransactions)
  decision.put('deviceListChange', { instance: instance.key, user, position })
  addUserWithKeys(decision, user)
  for (const { key } of bridges) noteInterest(decision, key, position)
  decision.announce('deviceList', {
    users: [...new Set([user, ...syncingUsers(decision).map(({ key }) => key)])],
    appservices: bridges.map(({ key }) => key),
  })
}

/**
 * What only the user sees has changed: the own user-signing key, or an own signature on somebody's master key. Its row stands at a position of
 * this decision: readOwnChanges() finds it there. Nobody else is told, transactions included.
 */
export function noteOwnChange(decision: Decision, user: number): void {
  decision.announce('deviceList', { users: [user] })
}

/** Users whose keys look different to this user alone since then: the user's own, and those of whom the user signed the master key. */
export async function readOwnChanges(instance: Instance, user: number, window: { after: number; until: number }): Promise<number[]> {
  const position = { gt: window.after, lte: window.until }
  const [keys, signatures] = await Promise.all([
    instance.storage.keys('crossSigningKey', { where: { user, usage: 'user_signing', position } }),
    instance.storage.keys('signature', { where: { signer: user, user: { not: user }, position } }),
  ])
  return [...new Set([...keys, ...signatures].map((row) => row.user))]
}
