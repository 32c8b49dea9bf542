/** Users who have or had keys on their devices, usually the owner and the bots of bridges: ghosts have none, and nobody need hear of them. */
import type { Decision } from '../stream/command.ts'

const name = 'users with keys'

/** Their keys in storage, in no order. */
export function usersWithKeys(decision: Decision): readonly number[] {
  return decision.need(name, async () => (await decision.instance.storage.keys('deviceListChange', { where: {} })).map(({ user }) => user))
}

export function addUserWithKeys(decision: Decision, user: number): void {
  const users = usersWithKeys(decision)
  if (!users.includes(user)) decision.set(name, [...users, user])
}
