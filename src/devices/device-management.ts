/** Renaming, making and deleting devices. https://spec.matrix.org/v1.19/client-server-api/#device-management */
import { invalidParam, MatrixError, notFound } from '../errors.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import type { JsonObject } from '../rules/values.ts'
import type { DeviceRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { reauthenticate } from '../users/reauthentication.ts'
import { devicesOf, longestName, makeDevice, putDevice, removeDevices } from '../users/sessions.ts'
import { actingUser, requireUser } from '../users/users.ts'
import { noteDeviceListChange } from './device-lists.ts'

export interface UpdatedDevice {
  readonly device: DeviceRow
  /** it was made just now */
  readonly created: boolean
}

/**
 * Renames one of the own devices. An appservice makes one of its users' this way when there is none (MSC4190); it has no token: the as_token
 * speaks for it with `?user_id=&device_id=`. Errors: M_NOT_FOUND, M_INVALID_PARAM for a long name or id, M_FORBIDDEN for one device too many.
 */
export async function updateDevice(
  instance: Instance,
  actor: Actor,
  args: { readonly deviceId: string; readonly displayName?: string | null | undefined },
): Promise<UpdatedDevice> {
  const { deviceId } = args
  // "If not given, the display name is unchanged." An empty one is none.
  const given = args.displayName ?? null
  if (given !== null && [...given.slice(0, 2 * longestName + 1)].length > longestName)
    throw invalidParam(`A device's name has at most ${longestName} characters`)
  return command(instance, (decision) => {
    const user = actingUser(decision, actor)
    const device = decision.get('device', { user: user.key, deviceId })
    if (device) return { device: rename(decision, device, given), created: false }
    if (actor.appservice === null) throw notFound('No such device')
    return { device: makeDevice(decision, user, deviceId, given || null), created: true }
  })
}

function rename(decision: Decision, device: DeviceRow, given: string | null): DeviceRow {
  const displayName = given === null ? device.displayName : given || null
  if (displayName === device.displayName) return device
  const renamed = { ...device, displayName, position: decision.takePosition() }
  putDevice(decision, renamed)
  // Its name stands beside its keys.
  if (decision.get('deviceKeys', { user: device.user, deviceId: device.deviceId })) noteDeviceListChange(decision, device.user)
  return renamed
}

/** Devices that one request names, which is remembered while its password is asked for; a user has 100. */
const mostNamed = 1_000

/**
 * Deletes devices of one's own, their sessions and keys with them; what is not there needs no deleting. People are asked for their password.
 * Errors: 401 with `flows` and `session`, M_MISSING_PARAM, M_INVALID_PARAM for other devices than the ones first asked for, M_TOO_LARGE for more
 * than 1 000.
 */
export async function deleteDevices(
  instance: Instance,
  actor: Actor,
  args: {
    /** those of the first request, when left out */
    readonly deviceIds?: readonly string[] | null | undefined
    readonly auth?: JsonObject | null | undefined
    readonly ip?: string | null
  },
): Promise<boolean> {
  if ((args.deviceIds?.length ?? 0) > mostNamed) throw new MatrixError('M_TOO_LARGE', `At most ${mostNamed} devices are deleted at once`)
  // What is longer is the id of no device.
  const given = args.deviceIds?.filter((deviceId) => checkIdentifier('device_id', deviceId) === null) ?? null
  if (given === null && typeof args.auth?.['session'] !== 'string') throw missingDevices()
  const first = await reauthenticate(instance, actor, { purpose: 'delete_devices', auth: args.auth, ip: args.ip, body: given })
  // An appservice is asked for nothing, so there is no first request.
  if (first === null) throw missingDevices()
  const asked = new Set(first)
  if (given?.some((deviceId) => !asked.has(deviceId))) throw invalidParam('The password was asked for other devices')
  const unwanted = new Set(given ?? first)
  await command(instance, (decision) => {
    const devices = devicesOf(decision, requireUser(actor))
    removeDevices(
      decision,
      devices.filter(({ deviceId }) => unwanted.has(deviceId)),
    )
  })
  return true
}

function missingDevices(): MatrixError {
  return new MatrixError('M_MISSING_PARAM', 'Missing devices')
}
