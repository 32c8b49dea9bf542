/** Account data in sync, global and of rooms, and what of it decides over the rest. */
import type { AccountDataRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { ignoredUsers } from '../users/ignored-users.ts'
import { parsePushRules, pushRulesType } from '../users/push-rules.ts'
import { append, type Scope, type SyncedRoom } from './scope.ts'

/** `{type, content}` texts: all when `since` is null, else what changed; m.push_rules is there from the start even when never set. */
export async function globalAccountData({ instance, requester, userId, filter, until }: Scope, since: number | null): Promise<string[]> {
  const wants = filter.accountData
  if (wants.nothing) return []
  const where = { user: requester.user, room: 0, position: { gt: since ?? -1, lte: until } }
  const rows = await instance.storage.find('accountData', { where })
  const texts = rows.filter(({ type }) => wants.matches({ type })).map((row) => accountDataText(row, userId))
  if (since === null && !rows.some((row) => row.type === pushRulesType) && wants.matches({ type: pushRulesType })) {
    texts.push(JSON.stringify({ type: pushRulesType, content: { global: parsePushRules(null, userId) } }))
  }
  return texts
}

/** The same of rooms, as JSON texts by room. */
export async function roomAccountData(scope: Scope, rooms: readonly SyncedRoom[]): Promise<Map<number, string[]>> {
  const { instance, requester, since, until, userId } = scope
  const texts = new Map<number, string[]>()
  const wants = scope.filter.room.accountData
  if (wants.nothing) return texts
  const ids = new Map<number, string>()
  const whole = new Set<number>()
  for (const { room, full } of rooms) {
    if (!wants.allowsRoom(room.roomId) || !(full || scope.mayHave(room.key, 'accountData'))) continue
    ids.set(room.key, room.roomId)
    if (full) whole.add(room.key)
  }
  if (ids.size === 0) return texts
  const after = whole.size > 0 ? -1 : (since ?? -1)
  const where = { user: requester.user, room: { in: [...ids.keys()] }, position: { gt: after, lte: until } }
  for (const row of await instance.storage.find('accountData', { where })) {
    if (!whole.has(row.room) && row.position <= since!) continue
    if (wants.matches({ type: row.type })) append(texts, row.room, accountDataText(row, userId))
  }
  return texts
}

function accountDataText({ type, room, content }: AccountDataRow, userId: string): string {
  // Stored rules may lack a default that came later.
  const text = type === pushRulesType && room === 0 ? JSON.stringify({ global: parsePushRules(content, userId) }) : content
  return `{"type":${JSON.stringify(type)},"content":${text}}`
}

/** Keys of the users in m.ignored_user_list. */
export async function ignoredKeys(instance: Instance, user: number): Promise<ReadonlySet<number>> {
  const userIds = await ignoredUsers(instance, user)
  if (userIds.size === 0) return new Set()
  const users = await instance.storage.find('user', { where: { userId: { in: [...userIds] } } })
  return new Set(users.map((each) => each.key))
}

/** https://spec.matrix.org/v1.19/client-server-api/#invite-permission: a user may want no invitations at all. */
export async function wantsInvitations(instance: Instance, user: number): Promise<boolean> {
  const row = await instance.storage.first('accountData', { user, room: 0, type: 'm.invite_permission_config' })
  return !row || (JSON.parse(row.content) as { default_action?: unknown }).default_action !== 'block'
}
