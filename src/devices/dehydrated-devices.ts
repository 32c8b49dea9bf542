/**
 * A device that nobody is logged in with: it gathers room keys while its user has no other device, and the next one that logs in reads them from
 * it. MSC3814: https://github.com/matrix-org/matrix-spec-proposals/pull/3814
 */
import { forbidden, invalidParam, MatrixError, notFound } from '../errors.ts'
import type { JsonObject } from '../rules/values.ts'
import type { DehydratedDeviceRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { longestName, makeDevice, removeDevice } from '../users/sessions.ts'
import { actingUser, requireUser } from '../users/users.ts'
import { putKeys } from './device-keys.ts'
import { checkKeys, type GivenKeys } from './given-keys.ts'
import { readInbox } from './inbox.ts'

/** Bytes of JSON; they have about 4 000. */
const longestDeviceData = 65_536
const messagesOfPage = 100

export interface NewDehydratedDevice extends GivenKeys {
  readonly deviceId: string
  /** encrypted by the client, but for its `algorithm` */
  readonly deviceData: JsonObject
  readonly displayName?: string | null | undefined
}

/**
 * Takes the place of the one before, which goes with its keys and messages; the same one again changes nothing. All in one step, so that no
 * device without keys is seen. Errors: M_INVALID_PARAM for the id of a device that somebody is logged in with; those of uploading keys.
 */
export async function putDehydratedDevice(instance: Instance, actor: Actor, args: NewDehydratedDevice): Promise<DehydratedDeviceRow> {
  const { deviceId, displayName = null } = args
  const deviceData = checkDeviceData(args.deviceData)
  if (!args.deviceKeys) throw new MatrixError('M_MISSING_PARAM', 'Missing device_keys')
  if (displayName !== null && displayName.length > longestName) throw invalidParam(`A device's name has at most ${longestName} characters`)
  const keys = checkKeys(actor.userId, deviceId, args)
  return command(instance, (decision) => {
    const user = actingUser(decision, actor)
    const old = decision.get('dehydratedDevice', { user: user.key })
    if (old?.deviceId !== deviceId) {
      if (decision.get('device', { user: user.key, deviceId })) throw invalidParam(`Somebody is logged in with the device ${deviceId}`)
      if (old) remove(decision, old)
      makeDevice(decision, user, deviceId, displayName || null)
    }
    putKeys(decision, user, deviceId, keys)
    return keep(decision, user, deviceId, deviceData)
  })
}

function checkDeviceData(deviceData: JsonObject): string {
  if (!Object.hasOwn(deviceData, 'algorithm')) throw new MatrixError('M_MISSING_PARAM', 'Missing algorithm in device_data')
  if (typeof deviceData['algorithm'] !== 'string') throw new MatrixError('M_BAD_JSON', 'algorithm in device_data must be a string')
  const text = JSON.stringify(deviceData)
  if (Buffer.byteLength(text) > longestDeviceData)
    throw new MatrixError('M_TOO_LARGE', `device_data takes at most ${longestDeviceData} bytes`)
  return text
}

function keep(decision: Decision, { key: user }: UserRow, deviceId: string, deviceData: string): DehydratedDeviceRow {
  const row = { instance: decision.instance.key, user, deviceId, deviceData, createdAt: decision.now }
  decision.put('dehydratedDevice', row)
  return row
}

/** Its row goes with the device, whoever deletes that. */
function remove(decision: Decision, { user, deviceId }: DehydratedDeviceRow): void {
  const device = decision.get('device', { user, deviceId })
  if (device) removeDevice(decision, device)
}

/** Errors: M_NOT_FOUND. */
export async function readDehydratedDevice(instance: Instance, actor: Actor): Promise<DehydratedDeviceRow> {
  const row = await instance.storage.first('dehydratedDevice', { user: requireUser(actor) })
  if (!row) throw noDevice()
  return row
}

/** Its id. Nobody is asked for a password: another one in its place would remove it as well. Errors: M_NOT_FOUND. */
export function deleteDehydratedDevice(instance: Instance, actor: Actor): Promise<string> {
  return command(instance, (decision) => {
    const row = decision.get('dehydratedDevice', { user: actingUser(decision, actor).key })
    if (!row) throw noDevice()
    remove(decision, row)
    return row.deviceId
  })
}

export interface DehydratedMessages {
  /** each a JSON object: `type`, `sender`, `content` */
  readonly messages: readonly string[]
  /** to go on from */
  readonly nextBatch: string
  /** whether there are more already */
  readonly hasMore: boolean
}

/**
 * 100 messages that wait for it, the oldest first. They stay until it is replaced or deleted: who reads them may be lost before it has used them.
 * Errors: M_FORBIDDEN for any other device, M_INVALID_PARAM for `from`.
 */
export async function readDehydratedMessages(
  instance: Instance,
  actor: Actor,
  args: { readonly deviceId: string; readonly from?: string | null | undefined },
): Promise<DehydratedMessages> {
  const user = requireUser(actor)
  const from = args.from || 'd0'
  const after = Number(/^d([0-9]{1,15})$/.exec(from)?.[1])
  if (Number.isNaN(after)) throw invalidParam(`${args.from} is not a token of these messages`)
  const row = await instance.storage.first('dehydratedDevice', { user })
  if (row?.deviceId !== args.deviceId) throw forbidden('This is not your dehydrated device')
  const window = { after, until: instance.bus.published, limit: messagesOfPage + 1 }
  const rows = await readInbox(instance, user, args.deviceId, window)
  const shown = rows.slice(0, messagesOfPage)
  return {
    messages: shown.map(
      ({ type, sender, content }) => `{"type":${JSON.stringify(type)},"sender":${JSON.stringify(sender)},"content":${content}}`,
    ),
    nextBatch: `d${shown.at(-1)?.position ?? after}`,
    hasMore: rows.length > shown.length,
  }
}

function noDevice(): MatrixError {
  return notFound('There is no dehydrated device')
}
