/**
 * Keys as a device gives them, looked at once and stored as they came: others verify them by their signatures.
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload
 */
import { invalidParam, MatrixError } from '../errors.ts'
import { throwRefusal } from '../rooms/room-core.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import { isObject, type Json, type JsonObject } from '../rules/values.ts'

/** Longest device keys, and longest key to be handed out, bytes of JSON. They have less than 2 KB, and 300 bytes. */
const longestDeviceKeys = 16_384
const longestKey = 3_072

/** What an upload holds; what is not given stays as it is. */
export interface GivenKeys {
  readonly deviceKeys?: JsonObject | null | undefined
  /** `algorithm:id` → a string or a signed object */
  readonly oneTimeKeys?: JsonObject | null | undefined
  readonly fallbackKeys?: JsonObject | null | undefined
}

export interface HandedOutKey {
  /** with its algorithm: "signed_curve25519:AAAAAQ" */
  readonly keyId: string
  readonly algorithm: string
  readonly value: Json
}

export interface CheckedKeys {
  /** without `unsigned`, which is ours to say */
  readonly deviceKeys: JsonObject | null
  readonly oneTimeKeys: readonly HandedOutKey[]
  /** one of an algorithm: the last */
  readonly fallbackKeys: readonly HandedOutKey[]
}

/**
 * The keys of a device, when they look as they should. Errors: M_INVALID_PARAM for the keys of another user or device and for what is no key
 * id, M_MISSING_PARAM, M_BAD_JSON, M_TOO_LARGE.
 */
export function checkKeys(userId: string, deviceId: string, { deviceKeys, oneTimeKeys, fallbackKeys }: GivenKeys): CheckedKeys {
  const fallback = new Map(handedOutKeys(fallbackKeys ?? {}).map((key) => [key.algorithm, key]))
  return {
    deviceKeys: deviceKeys ? checkDeviceKeys(userId, deviceId, deviceKeys) : null,
    oneTimeKeys: handedOutKeys(oneTimeKeys ?? {}),
    fallbackKeys: [...fallback.values()],
  }
}

function checkDeviceKeys(userId: string, deviceId: string, given: JsonObject): JsonObject {
  for (const name of ['user_id', 'device_id', 'algorithms', 'keys']) {
    if (!Object.hasOwn(given, name)) throw new MatrixError('M_MISSING_PARAM', `Missing ${name} in device_keys`)
  }
  const { user_id, device_id, algorithms, keys, signatures } = given
  for (const [name, value, own] of [
    ['user_id', user_id, userId],
    ['device_id', device_id, deviceId],
  ] as const) {
    if (typeof value !== 'string') throw badJson(`${name} in device_keys must be a string`)
    if (value !== own) throw invalidParam(`${name} in device_keys must be ${own}`)
  }
  if (!Array.isArray(algorithms) || !algorithms.every(isText)) throw badJson('algorithms in device_keys must be a list of strings')
  if (!isObject(keys) || !Object.values(keys).every(isText)) throw badJson('keys in device_keys must be an object of strings')
  checkSignatures(signatures, 'device_keys')
  const kept = Object.fromEntries(Object.entries(given).filter(([name]) => name !== 'unsigned'))
  checkLength(kept, longestDeviceKeys, 'device_keys')
  return kept
}

/** "The key identifier: the algorithm, a colon, and an id." */
const keyIdPattern = /^([a-z][a-z0-9_.-]*):./s

function handedOutKeys(given: JsonObject): HandedOutKey[] {
  return Object.entries(given).map(([keyId, value]) => {
    throwRefusal(checkIdentifier('key id', keyId))
    const algorithm = keyIdPattern.exec(keyId)?.[1]
    if (algorithm === undefined) throw invalidParam(`${keyId} is not a key id: it must be algorithm:id`)
    checkKey(keyId, value)
    checkLength(value, longestKey, keyId)
    return { keyId, algorithm, value }
  })
}

function checkKey(keyId: string, value: Json): void {
  if (typeof value === 'string') return
  if (!isObject(value)) throw badJson(`${keyId} must be a string or an object`)
  if (!Object.hasOwn(value, 'key')) throw new MatrixError('M_MISSING_PARAM', `Missing key in ${keyId}`)
  if (!isText(value['key'])) throw badJson(`key in ${keyId} must be a string`)
  checkSignatures(value['signatures'], keyId)
}

/** User id → key id → signature. */
function checkSignatures(signatures: Json | undefined, name: string): void {
  if (signatures === undefined) return
  const fits = isObject(signatures) && Object.values(signatures).every((own) => isObject(own) && Object.values(own).every(isText))
  if (!fits) throw badJson(`signatures in ${name} must be an object of objects of strings`)
}

function checkLength(value: Json, most: number, name: string): void {
  if (Buffer.byteLength(JSON.stringify(value)) > most) throw new MatrixError('M_TOO_LARGE', `${name} has more than ${most} bytes`)
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function badJson(message: string): MatrixError {
  return new MatrixError('M_BAD_JSON', message)
}
