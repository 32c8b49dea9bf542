/** Keys to begin sessions with, each one-time key for one who asks. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MatrixError } from '../errors.ts'
import { isStorable } from '../rules/event-limits.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import { findUser } from '../users/users.ts'
import { noteKeyCounts } from './key-counts.ts'
import { namedUsers } from './named-users.ts'
import { claimKey, loadOneTimeKeys } from './one-time-keys.ts'

/** Devices of one request. */
const mostDevices = 10_000
/** Of one decision: the keys of so many, however large, fit into what it may hold in memory. */
const devicesAtOnce = 20

interface Wanted {
  readonly userId: string
  readonly deviceId: string
  readonly algorithm: string
}

/**
 * Takes a key of each device, `wanted`: user id → device id → algorithm. Answers with the body of the REST API as JSON text: what there is
 * none of is left out, other servers stand in `failures`. Each device's key is its own matter: many devices are several decisions.
 * Errors: M_BAD_JSON, M_INVALID_PARAM for what is no user id, M_TOO_LARGE for more than 10 000 devices.
 */
export async function claimKeys(instance: Instance, wanted: JsonObject): Promise<string[]> {
  const { local, failures } = namedUsers(instance, wanted)
  const devices: Wanted[] = []
  for (const [userId, named] of local) {
    if (!isObject(named)) throw new MatrixError('M_BAD_JSON', `The devices of ${userId} must be an object`)
    for (const [deviceId, algorithm] of Object.entries(named)) {
      if (typeof algorithm !== 'string') throw new MatrixError('M_BAD_JSON', `The algorithm for ${userId} ${deviceId} must be a string`)
      // No device is called otherwise.
      if (isStorable(deviceId)) devices.push({ userId, deviceId, algorithm })
    }
    if (devices.length > mostDevices) throw new MatrixError('M_TOO_LARGE', `At most ${mostDevices} keys are claimed at once`)
  }
  const texts = new Map<string, string[]>()
  for (let start = 0; start < devices.length; start += devicesAtOnce) {
    if (start > 0) await nextTurn()
    const slice = devices.slice(start, start + devicesAtOnce)
    for (const { userId, text } of await command(instance, (decision) => claimAll(decision, slice))) {
      const ofUser = texts.get(userId)
      if (ofUser) ofUser.push(text)
      else texts.set(userId, [text])
    }
  }
  const users = [...texts].map(([userId, own]) => `${JSON.stringify(userId)}:{${own.join()}}`)
  return ['{"one_time_keys":{', users.join(), `},"failures":${failures}}`]
}

/** One decision hands out the keys of several devices: nobody else comes in between. */
function claimAll(decision: Decision, wanted: readonly Wanted[]): { userId: string; text: string }[] {
  decision.findAll('user', 'userId', [...new Set(wanted.map(({ userId }) => userId))])
  const found = wanted.flatMap((each) => {
    const user = findUser(decision, each.userId)
    return user && user.status !== 'deactivated' ? [{ ...each, user, device: { user: user.key, deviceId: each.deviceId } }] : []
  })
  loadOneTimeKeys(
    decision,
    found.map(({ device }) => device),
  )
  return found.flatMap(({ user, userId, device, deviceId, algorithm }) => {
    const claimed = claimKey(decision, device, algorithm)
    if (!claimed) return []
    if (claimed.changed) noteKeyCounts(decision, user, deviceId)
    return [{ userId, text: `${JSON.stringify(deviceId)}:{${JSON.stringify(claimed.keyId)}:${claimed.json}}` }]
  })
}
