/** Whom a user does not want to read. https://spec.matrix.org/v1.19/client-server-api/#ignoring-users */
import { isObject, type JsonObject } from '../rules/values.ts'
import type { Instance } from '../stream/instance.ts'

export async function ignoredUsers(instance: Instance, user: number): Promise<ReadonlySet<string>> {
  const row = await instance.storage.first('accountData', { user, room: 0, type: 'm.ignored_user_list' })
  const ignored = row && (JSON.parse(row.content) as JsonObject)['ignored_users']
  return new Set(isObject(ignored) ? Object.keys(ignored) : [])
}
