/** What a user shows of themselves. Changing it is in rooms/profile-change.ts: rooms carry copies. https://spec.matrix.org/v1.19/client-server-api/#profiles */
import { MatrixError, notFound } from '../errors.ts'
import type { Json, JsonObject } from '../rules/values.ts'
import type { UserRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from './actor.ts'

/** Longest values, in characters; rooms carry both in each membership. */
export const longestDisplayName = 256
export const longestAvatarUrl = 1_000

/** "Profiles MUST NOT exceed 64KiB in size", "key names are limited to 255 bytes". */
const profileBytes = 65_536
const keyBytes = 255

/**
 * The profile of a user of this homeserver; `{}` for one who set nothing. Needs a token unless profiles are public by configuration.
 * Errors: M_MISSING_TOKEN, M_NOT_FOUND for nobody and for users of other servers.
 */
export async function readProfile(instance: Instance, actor: Actor | null, userId: string): Promise<JsonObject> {
  checkReader(instance, actor)
  const user = await instance.storage.first('user', { userId })
  if (!user) throw notFound(`User ${userId} was not found`)
  return profileOf(user)
}

/**
 * One field; null for a `displayname` or `avatar_url` that is not set: bridges look before they set them and give up on an error, so an
 * unnamed ghost would never get its name. Errors: as readProfile, and M_NOT_FOUND where another field is not set.
 */
export async function readProfileField(instance: Instance, actor: Actor | null, args: { userId: string; key: string }): Promise<Json> {
  const profile = await readProfile(instance, actor, args.userId)
  const value = Object.hasOwn(profile, args.key) ? profile[args.key] : undefined
  if (value !== undefined) return value
  if (args.key === 'displayname' || args.key === 'avatar_url') return null
  throw notFound(`User ${args.userId} has no ${args.key}`)
}

/** The users with these ids, in their order; null for nobody. Errors: M_MISSING_TOKEN. */
export async function readUsers(instance: Instance, actor: Actor | null, userIds: readonly string[]): Promise<(UserRow | null)[]> {
  checkReader(instance, actor)
  const rows = await instance.storage.find('user', { where: { userId: { in: userIds } } })
  const byId = new Map(rows.map((row) => [row.userId, row]))
  return userIds.map((userId) => byId.get(userId) ?? null)
}

/** The same by key, for callers that have checked what they show. */
export async function readUsersByKey(instance: Instance, keys: readonly number[]): Promise<(UserRow | null)[]> {
  const rows = await instance.storage.find('user', { where: { key: { in: keys } } })
  const byKey = new Map(rows.map((row) => [row.key, row]))
  return keys.map((key) => byKey.get(key) ?? null)
}

function checkReader(instance: Instance, actor: Actor | null): void {
  if (!actor && !instance.config.publicProfiles) throw new MatrixError('M_MISSING_TOKEN', 'Missing access token')
}

/** As the client-server API gives it. */
export function profileOf(user: Pick<UserRow, 'displayName' | 'avatarUrl' | 'profile'>): JsonObject {
  return {
    ...(user.displayName !== null && { displayname: user.displayName }),
    ...(user.avatarUrl !== null && { avatar_url: user.avatarUrl }),
    ...(JSON.parse(user.profile) as JsonObject),
  }
}

/** The row with these fields set, or taken away by null. Errors: M_BAD_JSON, M_INVALID_PARAM, M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE. */
export function withProfileFields(user: UserRow, fields: JsonObject): UserRow {
  const { displayname, avatar_url, ...others } = fields
  for (const key of Object.keys(others)) checkKey(key)
  const kept = Object.entries({ ...(JSON.parse(user.profile) as JsonObject), ...others }).filter(([, value]) => value !== null)
  const changed = {
    ...user,
    ...(displayname !== undefined && { displayName: checkText('displayname', displayname, longestDisplayName) }),
    ...(avatar_url !== undefined && { avatarUrl: checkText('avatar_url', avatar_url, longestAvatarUrl) }),
    profile: JSON.stringify(Object.fromEntries(kept)),
  }
  if (Buffer.byteLength(JSON.stringify(profileOf(changed))) > profileBytes) {
    throw new MatrixError('M_PROFILE_TOO_LARGE', `A profile has at most ${profileBytes} bytes`)
  }
  return changed
}

/** The row with these fields and no others. Errors: as withProfileFields. */
export function withWholeProfile(user: UserRow, fields: JsonObject): UserRow {
  return withProfileFields({ ...user, displayName: null, avatarUrl: null, profile: '{}' }, fields)
}

function checkKey(key: string): void {
  if (key === '') throw new MatrixError('M_INVALID_PARAM', 'A profile field needs a name')
  if (Buffer.byteLength(key) > keyBytes) throw new MatrixError('M_KEY_TOO_LARGE', `Names of profile fields have at most ${keyBytes} bytes`)
}

function checkText(key: string, value: Json, longest: number): string | null {
  if (value === null || value === '') return null
  if (typeof value !== 'string') throw new MatrixError('M_BAD_JSON', `${key} must be a string`)
  if (value.length > longest) throw new MatrixError('M_INVALID_PARAM', `${key} has at most ${longest} characters`)
  // PostgreSQL refuses the one and silently changes the other.
  if (value.includes('\0') || !value.isWellFormed())
    throw new MatrixError('M_INVALID_PARAM', `${key} holds a character that cannot be stored`)
  return value
}
