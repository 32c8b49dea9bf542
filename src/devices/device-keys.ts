/** What a device uploads of its keys. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload */
import { MatrixError } from '../errors.ts'
import { type JsonObject, sameJson } from '../rules/values.ts'
import type { UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireUser, userOf } from '../users/users.ts'
import { noteDeviceListChange } from './device-lists.ts'
import { type CheckedKeys, checkKeys, type GivenKeys } from './given-keys.ts'
import { type KeyCounts, keyCountsOf, noteKeyCounts } from './key-counts.ts'
import { fallbackKeysOf, oneTimeKeysOf, putFallbackKeys, putOneTimeKeys, removeOneTimeKeys } from './one-time-keys.ts'
import { deviceKeysChanged } from './signature-rows.ts'

/**
 * Stores keys of the device that asks, and says what it has left to hand out; without keys it only says that.
 * Errors: M_MISSING_PARAM for an appservice that names no device, M_INVALID_PARAM for keys of another device, for what is no key id, and when
 * more than 200 one-time keys would wait, 400 M_UNKNOWN for another key under an id that was used, M_BAD_JSON, M_TOO_LARGE.
 */
export async function uploadKeys(instance: Instance, actor: Actor, args: GivenKeys): Promise<KeyCounts> {
  const { device: deviceId } = actor
  if (deviceId === null) throw new MatrixError('M_MISSING_PARAM', 'Keys belong to a device, and none is named: device_id is missing')
  const keys = checkKeys(actor.userId, deviceId, args)
  return command(instance, (decision) => {
    const user = userOf(decision, requireUser(actor))
    // Deleted while it asked: nothing may be left of it.
    if (!decision.get('device', { user: user.key, deviceId })) throw gone(actor)
    return putKeys(decision, user, deviceId, keys)
  })
}

function gone({ appservice, userId, device }: Actor): MatrixError {
  if (appservice !== null) return new MatrixError('M_UNKNOWN_DEVICE', `${userId} has no device ${device}`)
  return new MatrixError('M_UNKNOWN_TOKEN', 'Unknown access token')
}

/** Stores checked keys of a device that there is, or is just being made. Errors: as of uploadKeys(). */
export function putKeys(decision: Decision, user: UserRow, deviceId: string, keys: CheckedKeys): KeyCounts {
  const device = { user: user.key, deviceId }
  decision.all([() => decision.get('deviceKeys', device), () => oneTimeKeysOf(decision, device), () => fallbackKeysOf(decision, device)])
  const forgot = keys.deviceKeys ? putDeviceKeys(decision, user, deviceId, keys.deviceKeys) : false
  const added = putOneTimeKeys(decision, device, keys.oneTimeKeys)
  const replaced = putFallbackKeys(decision, device, keys.fallbackKeys)
  return forgot || added || replaced ? noteKeyCounts(decision, user, deviceId) : keyCountsOf(decision, device)
}

/** True when the device's other keys went with the ones before. The same ones again change nothing. */
function putDeviceKeys(decision: Decision, user: UserRow, deviceId: string, keys: JsonObject): boolean {
  const device = { user: user.key, deviceId }
  const before = decision.get('deviceKeys', device)
  const old = before && (JSON.parse(before.json) as JsonObject)
  if (old && sameJson(old, keys)) return false
  if (before) deviceKeysChanged(decision, before, keys)
  // With another identity it is a client that lost its store: it cannot use the one-time keys that it left here, and gives their ids again.
  const forgets = old !== null && !sameJson(old['keys'], keys['keys'])
  if (forgets) removeOneTimeKeys(decision, device)
  decision.put('deviceKeys', { instance: decision.instance.key, ...device, json: JSON.stringify(keys), position: decision.takePosition() })
  noteDeviceListChange(decision, user.key)
  return forgets
}
