/** Global account data in sync, and whom the user ignores. */
import { parsePushRules, pushRulesType } from '../users/push-rules.ts'
import type { Instance } from '../stream/instance.ts'
import type { Scope } from './joined-rooms.ts'

/** `{type, content}` texts: all in an initial sync, then what changed; m.push_rules is there from the start even when never set. */
export async function accountDataSection({ instance, requester, userId, filter, until }: Scope, since: number | null): Promise<string[]> {
  if (filter.accountData.nothing) return []
  const rows = await instance.storage.find('accountData', { where: { user: requester.user, position: { gt: since ?? -1, lte: until }, room: 0 } })
  const texts = rows
    .filter((row) => filter.accountData.matches({ type: row.type }))
    .map((row) => `{"type":${JSON.stringify(row.type)},"content":${row.content}}`)
  if (since === null && !rows.some((row) => row.type === pushRulesType) && filter.accountData.matches({ type: pushRulesType })) {
    texts.push(JSON.stringify({ type: pushRulesType, content: { global: parsePushRules(null, userId) } }))
  }
  return texts
}

/** Keys of the users in m.ignored_user_list. */
export async function ignoredUsers(instance: Instance, user: number): Promise<ReadonlySet<number>> {
  const row = await instance.storage.first('accountData', { user, room: 0, type: 'm.ignored_user_list' })
  if (!row) return new Set()
  const { ignored_users: ignored } = JSON.parse(row.content) as { ignored_users?: unknown }
  const userIds = typeof ignored === 'object' && ignored !== null ? Object.keys(ignored) : []
  if (userIds.length === 0) return new Set()
  const users = await instance.storage.find('user', { where: { userId: { in: userIds } } })
  return new Set(users.map((each) => each.key))
}
