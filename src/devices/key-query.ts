/** The keys of users and of their devices, as everybody may see them. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MatrixError } from '../errors.ts'
import { isObject, type Json, type JsonObject } from '../rules/values.ts'
import type { CrossSigningKeyRow, SignatureRow, UserRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { namedUsers } from './named-users.ts'

/** Users of one request. */
const mostUsers = 10_000
/** Read together. */
const usersAtOnce = 500
/** Whose keys are in memory together; at most 99 more, for a user's devices are read together. */
const devicesAtOnce = 500

/**
 * The keys of users, `wanted`: user id → device ids, none for all. Answers with the body of the REST API as JSON text: everybody from here who
 * was asked for stands in it, also without devices or unknown (clients would ask again at once, for ever); other servers stand in `failures`.
 * Errors: M_BAD_JSON for what is no list of device ids, M_INVALID_PARAM for what is no user id, M_TOO_LARGE for more than 10 000 users.
 */
export async function queryKeys(instance: Instance, actor: Actor, wanted: JsonObject): Promise<AsyncIterable<string>> {
  const { local, failures } = namedUsers(instance, wanted)
  if (local.length > mostUsers) throw new MatrixError('M_TOO_LARGE', `At most ${mostUsers} users are asked for at once`)
  const devices = new Map(local.map(([userId, asked]) => [userId, deviceIdsOf(userId, asked)]))
  return answer(instance, actor, devices, failures)
}

/** Null: all devices. */
type Wanted = ReadonlyMap<string, ReadonlySet<string> | null>

function deviceIdsOf(userId: string, asked: Json): ReadonlySet<string> | null {
  if (!Array.isArray(asked) || !asked.every((deviceId) => typeof deviceId === 'string'))
    throw new MatrixError('M_BAD_JSON', `The devices of ${userId} must be a list of device ids`)
  return asked.length === 0 ? null : new Set(asked as string[])
}

/** Section of the answer → usage of the keys in it. */
const sections = { master_keys: 'master', self_signing_keys: 'self_signing', user_signing_keys: 'user_signing' } as const

async function* answer(instance: Instance, actor: Actor, wanted: Wanted, failures: string): AsyncGenerator<string> {
  const userIds = [...wanted.keys()]
  const keys = Object.values(sections).map((usage) => ({ usage, texts: [] as string[] }))
  let before = '{"device_keys":{'
  for (let start = 0; start < userIds.length; start += usersAtOnce) {
    if (start > 0) await nextTurn()
    const slice = await readSlice(instance, actor, userIds.slice(start, start + usersAtOnce), wanted)
    for (const { usage, texts } of keys) {
      for (const row of slice.crossSigningKeys) {
        if (row.usage !== usage || (usage === 'user_signing' && row.user !== actor.user)) continue
        texts.push(`${JSON.stringify(slice.userIds.get(row.user))}:${slice.signed(row.json, row.user, row.publicKey)}`)
      }
    }
    for await (const text of deviceTexts(instance, slice)) {
      yield before + text
      before = ','
    }
  }
  if (userIds.length === 0) yield before
  yield '}'
  for (const [index, name] of Object.keys(sections).entries()) yield `,"${name}":{${keys[index]!.texts.join()}}`
  yield `,"failures":${failures}}`
}

interface Slice {
  readonly asked: readonly string[]
  readonly users: ReadonlyMap<string, UserRow>
  /** key of the user → ids of the devices that were asked for and have keys */
  readonly devices: ReadonlyMap<number, readonly string[]>
  readonly userIds: ReadonlyMap<number, string>
  readonly crossSigningKeys: readonly CrossSigningKeyRow[]
  /** A key with the signatures on it that the caller may see. */
  signed(json: string, user: number, target: string): string
}

async function readSlice({ storage }: Instance, actor: Actor, asked: readonly string[], wanted: Wanted): Promise<Slice> {
  // Of those who were deactivated nothing is left. Those who are locked may come back, and then read what they were sent meanwhile.
  const rows = await storage.find('user', { where: { userId: { in: asked }, status: { not: 'deactivated' } } })
  const users = new Map(rows.map((row) => [row.userId, row]))
  const userIds = new Map(rows.map(({ key, userId }) => [key, userId]))
  const user = { in: [...userIds.keys()] }
  // Of most users there are none: ghosts have no devices.
  const [places, crossSigningKeys] = await Promise.all([
    storage.keys('deviceKeys', { where: { user }, orderBy: ['user', 'deviceId'] }),
    storage.find('crossSigningKey', { where: { user } }),
  ])
  const chosen = places.filter((place) => wanted.get(userIds.get(place.user)!)?.has(place.deviceId) ?? true)
  const devices = new Map([...Map.groupBy(chosen, (place) => place.user)].map(([key, own]) => [key, own.map(({ deviceId }) => deviceId)]))
  const signedUsers = [...new Set([...devices.keys(), ...crossSigningKeys.map((key) => key.user)])]
  const signers = actor.user === null ? signedUsers : [...signedUsers, actor.user]
  const signatures = await storage.find('signature', { where: { user: { in: signedUsers }, signer: { in: signers } } })
  // Signatures of the owner are public; whom somebody else trusts is theirs to know.
  const visible = signatures.filter((row) => row.signer === row.user || row.signer === actor.user)
  const byKey = Map.groupBy(visible, ({ user: owner, target }) => `${owner}\0${target}`)
  const signerId = (signer: number) => (signer === actor.user ? actor.userId : userIds.get(signer)!)
  return {
    asked,
    users,
    devices,
    userIds,
    crossSigningKeys,
    signed: (json, owner, target) => withSignatures(json, byKey.get(`${owner}\0${target}`) ?? [], signerId),
  }
}

/** `"user id":{…devices…}` of everybody in the slice. */
async function* deviceTexts({ storage }: Instance, slice: Slice): AsyncGenerator<string> {
  let next = 0
  while (next < slice.asked.length) {
    const together: string[] = []
    const owners: number[] = []
    for (let count = 0; next < slice.asked.length && count < devicesAtOnce; next++) {
      const userId = slice.asked[next]!
      const key = slice.users.get(userId)?.key
      const own = key === undefined ? 0 : (slice.devices.get(key)?.length ?? 0)
      if (key !== undefined && own > 0) owners.push(key)
      together.push(userId)
      count += own
    }
    const user = { in: owners }
    const [keys, devices] = await Promise.all([
      storage.find('deviceKeys', { where: { user }, orderBy: ['user', 'deviceId'] }),
      storage.find('device', { where: { user } }),
    ])
    const names = new Map(devices.map((device) => [`${device.user}\0${device.deviceId}`, device.displayName]))
    const byUser = Map.groupBy(keys, (row) => row.user)
    for (const userId of together) {
      const key = slice.users.get(userId)?.key ?? -1
      const chosen = new Set(slice.devices.get(key))
      const texts = (byUser.get(key) ?? [])
        .filter(({ deviceId }) => chosen.has(deviceId))
        .map(({ deviceId, json }) => {
          const name = names.get(`${key}\0${deviceId}`) ?? null
          const unsigned = JSON.stringify(name === null ? {} : { device_display_name: name })
          return `${JSON.stringify(deviceId)}:${slice.signed(json, key, deviceId).slice(0, -1)},"unsigned":${unsigned}}`
        })
      yield `${JSON.stringify(userId)}:{${texts.join()}}`
    }
  }
}

/** Signatures that came later stand beside those that the key came with. */
function withSignatures(json: string, rows: readonly SignatureRow[], signerId: (signer: number) => string): string {
  if (rows.length === 0) return json
  const key = JSON.parse(json) as JsonObject
  const signatures = new Map(Object.entries(isObject(key['signatures']) ? key['signatures'] : {}))
  for (const { signer, keyId, signature } of rows) {
    const userId = signerId(signer)
    signatures.set(userId, { ...(signatures.get(userId) as JsonObject | undefined), [keyId]: signature })
  }
  return JSON.stringify({ ...key, signatures: Object.fromEntries(signatures) })
}
