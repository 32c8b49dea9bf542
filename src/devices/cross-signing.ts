/**
 * Cross-signing: a user's master key vouches for two more keys, one of which signs the user's own devices, the other one other people's master
 * keys. https://spec.matrix.org/v1.19/client-server-api/#cross-signing
 */
import { forbidden, invalidParam, MatrixError } from '../errors.ts'
import { isObject, type Json, type JsonObject, sameJson } from '../rules/values.ts'
import type { CrossSigningKeyRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { reauthenticate } from '../users/reauthentication.ts'
import { devicesOf } from '../users/sessions.ts'
import { actingUser } from '../users/users.ts'
import { noteDeviceListChange, noteOwnChange } from './device-lists.ts'
import { dropSignaturesBy, dropSignaturesOn, signaturesOn } from './signature-rows.ts'
import { canonicalJson, ed25519, isPublicKey, signaturesOf, verifies, withoutSignatures } from './signed-json.ts'

/** Of one key, with the signatures of 100 devices. */
const mostKeyBytes = 16_384

const usages = ['master', 'self_signing', 'user_signing'] as const
type Usage = (typeof usages)[number]

export interface CrossSigningUpload {
  readonly masterKey?: JsonObject | null | undefined
  readonly selfSigningKey?: JsonObject | null | undefined
  readonly userSigningKey?: JsonObject | null | undefined
  readonly auth?: JsonObject | null | undefined
  readonly ip?: string | null
}

interface Key {
  readonly usage: Usage
  readonly publicKey: string
  readonly object: JsonObject
}

/**
 * Stores the own cross-signing keys; what is left out stays, unless a new master key comes without it. People whose master key is stored are
 * asked for their password, except for keys that say nothing new (MSC3967).
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload
 * Errors: 401 with `flows` and `session`, M_INVALID_PARAM for what is no such key or is two of them, M_MISSING_PARAM without any master key, M_INVALID_SIGNATURE
 * where it did not sign the others, M_BAD_JSON, M_TOO_LARGE, M_FORBIDDEN for a key that is called like one of the own devices.
 */
export async function uploadCrossSigningKeys(instance: Instance, actor: Actor, args: CrossSigningUpload): Promise<boolean> {
  const given = readKeys(actor.userId, args)
  // A request with nothing but `auth` goes on with what the first one said.
  const goesOn = given.length === 0 && typeof args.auth?.['session'] === 'string'
  if (!goesOn && (await command(instance, (decision) => storeKeys(decision, actor, given, false)))) return true
  const first = await reauthenticate(instance, actor, {
    purpose: 'keys/device_signing/upload',
    auth: args.auth,
    ip: args.ip,
    body: given,
  })
  return command(instance, (decision) => storeKeys(decision, actor, goesOn ? first : given, true))
}

function readKeys(userId: string, args: CrossSigningUpload): Key[] {
  const { masterKey, selfSigningKey, userSigningKey } = args
  return [masterKey, selfSigningKey, userSigningKey].flatMap((object, index) => (object ? [readKey(userId, usages[index]!, object)] : []))
}

function readKey(userId: string, usage: Usage, object: JsonObject): Key {
  const wrong = (what: string) => invalidParam(`The ${usage} key ${what}`)
  const { keys, usage: said, user_id: owner, signatures } = object
  if (owner !== userId) throw wrong(`must have the user_id ${userId}`)
  if (!Array.isArray(said) || !said.includes(usage)) throw wrong(`must have the usage ${usage}`)
  const [first, ...others] = isObject(keys) ? Object.entries(keys) : []
  const [name, publicKey] = first ?? []
  if (others.length > 0 || typeof publicKey !== 'string' || name !== `${ed25519}:${publicKey}` || !isPublicKey(publicKey))
    throw wrong(`must have exactly one public key, as ${ed25519}:<unpadded base64>`)
  // Other clients read all of it, and would refuse the whole answer.
  if (signatures !== undefined && !isMap(signatures, (each) => isMap(each, (text) => typeof text === 'string')))
    throw wrong('must have signatures by user and key')
  if (Buffer.byteLength(canonicalJson(object)) > mostKeyBytes) throw new MatrixError('M_TOO_LARGE', `The ${usage} key is too large`)
  return { usage, publicKey, object }
}

function isMap(value: Json, holds: (each: Json) => boolean): boolean {
  return isObject(value) && Object.values(value).every(holds)
}

/** False when the user has to be asked first. `proven`: this was done. */
function storeKeys(decision: Decision, actor: Actor, keys: readonly Key[], proven: boolean): boolean {
  const user = actingUser(decision, actor)
  const stored = storedKeys(decision, user.key)
  const changed = keys.filter((key) => !saysNothingNew(decision, user, key, stored.get(key.usage)))
  const before = stored.get('master')
  const master = keys.find(({ usage }) => usage === 'master')?.publicKey ?? before?.publicKey
  if (master === undefined) throw new MatrixError('M_MISSING_PARAM', 'Missing master_key')
  const devices = devicesOf(decision, user.key)
  // Signatures name a key by its public key alone.
  const all = new Map([...stored, ...keys.map((key) => [key.usage, key] as const)].map(([usage, { publicKey }]) => [usage, publicKey]))
  if (new Set(all.values()).size < all.size) throw invalidParam('Each of the three keys must be another one')
  for (const { usage, publicKey, object } of keys) {
    if (devices.some(({ deviceId }) => deviceId === publicKey)) throw forbidden(`The ${usage} key is called like one of the devices`)
    const signature = signaturesOf(object, user.userId).get(`${ed25519}:${master}`)
    if (usage !== 'master' && !(signature && verifies(canonicalJson(withoutSignatures(object)), master, signature)))
      throw new MatrixError('M_INVALID_SIGNATURE', `The master key did not sign the ${usage} key`)
  }
  if (changed.length === 0) return true
  if (before && !proven) return false
  const position = decision.takePosition()
  for (const { usage, publicKey, object } of changed) {
    forget(decision, stored.get(usage), object)
    decision.put('crossSigningKey', {
      instance: decision.instance.key,
      user: user.key,
      usage,
      publicKey,
      json: JSON.stringify(object),
      position,
    })
  }
  // What the old master key vouched for, nobody vouches for any more.
  const orphans =
    before && before.publicKey !== master ? [...stored.values()].filter((row) => !keys.some((key) => key.usage === row.usage)) : []
  removeKeys(decision, orphans)
  if (changed.every(({ usage }) => usage === 'user_signing')) noteOwnChange(decision, user.key)
  else noteDeviceListChange(decision, user.key)
  return true
}

function storedKeys(decision: Decision, user: number): ReadonlyMap<string, CrossSigningKeyRow> {
  decision.all(usages.map((usage) => () => decision.get('crossSigningKey', { user, usage })))
  return new Map(usages.flatMap((usage) => decision.get('crossSigningKey', { user, usage }) ?? []).map((row) => [row.usage, row]))
}

/** Clients upload again what they have, with those of its signatures that they know. */
function saysNothingNew(decision: Decision, user: UserRow, { publicKey, object }: Key, stored: CrossSigningKeyRow | undefined): boolean {
  if (!stored) return false
  const before = JSON.parse(stored.json) as JsonObject
  if (!sameJson(withoutSignatures(object), withoutSignatures(before))) return false
  const later = signaturesOn(decision, user.key).filter(({ target, signer }) => target === publicKey && signer === user.key)
  return Object.keys(object['signatures'] ?? {}).every((userId) => {
    const known = signaturesOf(before, userId)
    const isLater = (keyId: string, text: string) =>
      userId === user.userId && later.some((row) => row.keyId === keyId && row.signature === text)
    return [...signaturesOf(object, userId)].every(([keyId, text]) => known.get(keyId) === text || isLater(keyId, text))
  })
}

/** With an account that ends. */
export function removeCrossSigningKeys(decision: Decision, user: number): void {
  const stored = storedKeys(decision, user)
  removeKeys(decision, [...stored.values()])
  if (stored.size > 0) noteDeviceListChange(decision, user)
}

function removeKeys(decision: Decision, rows: readonly CrossSigningKeyRow[]): void {
  for (const row of rows) {
    forget(decision, row, null)
    decision.remove('crossSigningKey', row)
  }
}

/** Signatures of the key before, and by it, go where they are worth nothing any more. */
function forget(decision: Decision, before: CrossSigningKeyRow | undefined, after: JsonObject | null): void {
  if (!before) return
  const old = JSON.parse(before.json) as JsonObject
  if (after && sameJson(withoutSignatures(old), withoutSignatures(after))) return
  dropSignaturesOn(decision, before.user, before.publicKey)
  if (!after || !sameJson(old['keys'], after['keys'])) dropSignaturesBy(decision, before.user, before.publicKey)
}
