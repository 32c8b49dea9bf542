/** Sending messages to devices, past all rooms: room keys, verification. https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging */
import { invalidParam, MatrixError } from '../errors.ts'
import { throwRefusal } from '../rooms/room-core.ts'
import { checkIdentifier, isUserId } from '../rules/event-limits.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import type { DeviceRow, ToDeviceRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import { type Instance, isLocal } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { noteInterest } from '../users/interest.ts'
import { transactionsFor } from '../users/registrations.ts'
import { devicesOf, loadDevices } from '../users/sessions.ts'
import { once } from '../users/transactions.ts'
import { actingUser, findUser } from '../users/users.ts'
import { noteMessage } from './inbox.ts'
import { noteGrowth } from './inbox-limits.ts'

/** Longest content of one message, bytes of JSON. */
const mostContentBytes = 65_536
/** Users that one call may name. */
const mostUsers = 5_000
/** Messages that one call may become: `*` makes one for each device. */
const mostMessages = 5_000
const mostBytes = 8_000_000
/** `*` in place of a device id. */
const everyDevice = '*'

export interface ToDeviceMessage {
  readonly to: UserRow
  /** those that the user does not have are left out */
  readonly deviceIds: readonly string[]
  readonly type: string
  /** user id */
  readonly sender: string
  /** JSON text */
  readonly content: string
}

/** Sends one message to devices of one user, in whatever the decision writes. Takes a position. */
export function putToDevice(decision: Decision, { to, deviceIds, type, sender, content }: ToDeviceMessage): void {
  const devices = devicesOf(decision, to.key).filter(({ deviceId }) => deviceIds.includes(deviceId))
  putMessages(
    decision,
    { type, sender },
    devices.map((device) => ({ to, device, content })),
  )
}

export interface SendToDevice {
  readonly eventType: string
  readonly txnId: string
  /** user id → device id or `*` → content */
  readonly messages: JsonObject
}

/**
 * Sends messages to devices; the same txnId again does nothing. A device that is named gets its own message and not the one for `*`. Unknown
 * users and devices and users of other servers are left out. Errors: M_BAD_JSON for other shapes, M_INVALID_PARAM for what is no user id,
 * M_TOO_LARGE for a content above 64 KiB, or more than 5 000 messages or 8 MB in one call.
 */
export async function sendToDevice(instance: Instance, actor: Actor, args: SendToDevice): Promise<boolean> {
  const { eventType: type, txnId } = args
  throwRefusal(checkIdentifier('type', type))
  const wanted = read(instance, args.messages)
  return command(instance, (decision) => {
    const sender = actingUser(decision, actor)
    const addressed = devicesFor(decision, wanted)
    return once(decision, actor, sender.key, { scope: `sendToDevice/${type}`, txnId }, () => {
      putMessages(decision, { type, sender: sender.userId }, addressed)
      return true
    })
  })
}

/** User id → device id or `*` → content as JSON text. */
type Wanted = ReadonlyMap<string, ReadonlyMap<string, string>>

function read(instance: Instance, messages: JsonObject): Wanted {
  const wanted = new Map<string, ReadonlyMap<string, string>>()
  for (const [userId, byDevice] of Object.entries(messages)) {
    if (!isUserId(userId)) throw invalidParam(`${userId} is not a user ID`)
    if (!isObject(byDevice)) throw new MatrixError('M_BAD_JSON', `The messages for ${userId} must be an object`)
    const contents = new Map<string, string>()
    for (const [deviceId, content] of Object.entries(byDevice)) {
      if (!isObject(content)) throw new MatrixError('M_BAD_JSON', `The message for ${userId} ${deviceId} must be an object`)
      const text = JSON.stringify(content)
      if (Buffer.byteLength(text) > mostContentBytes) throw tooLarge(`The message for ${userId} ${deviceId} is too large`)
      contents.set(deviceId, text)
    }
    if (contents.size > 0 && isLocal(instance, userId)) wanted.set(userId, contents)
    if (wanted.size > mostUsers) throw tooLarge(`A call names at most ${mostUsers} users`)
  }
  return wanted
}

interface Addressed {
  readonly to: UserRow
  readonly device: DeviceRow
  readonly content: string
}

function devicesFor(decision: Decision, wanted: Wanted): Addressed[] {
  decision.findAll('user', 'userId', [...wanted.keys()])
  const users = [...wanted].flatMap(([userId, contents]) => {
    const to = findUser(decision, userId)
    return to ? [{ to, contents }] : []
  })
  loadDevices(
    decision,
    users.map(({ to }) => to.key),
  )
  const addressed: Addressed[] = []
  let bytes = 0
  for (const { to, contents } of users) {
    for (const device of devicesOf(decision, to.key)) {
      const content = contents.get(device.deviceId) ?? contents.get(everyDevice)
      if (content === undefined) continue
      addressed.push({ to, device, content })
      bytes += content.length
      if (addressed.length > mostMessages || bytes > mostBytes)
        throw tooLarge(`A call becomes at most ${mostMessages} messages of ${mostBytes} bytes`)
    }
  }
  return addressed
}

/**
 * All at one position, for no device gets two; but what goes into a bridge's transactions has positions of its own, so that a transaction may end
 * between any two messages. Wakes whom they are for.
 */
function putMessages(decision: Decision, { type, sender }: { type: string; sender: string }, addressed: readonly Addressed[]): void {
  if (addressed.length === 0) return
  const { instance, now } = decision
  const bridges = new Set<number>()
  let shared = 0
  const rows = addressed.map(({ to, device: { deviceId }, content }): ToDeviceRow => {
    const appservice = transactionsFor(decision, to)?.key ?? null
    if (appservice === null) shared ||= decision.takePosition()
    const position = appservice === null ? shared : decision.takePosition()
    const row = { instance: instance.key, user: to.key, deviceId, position, type, sender, content, createdAt: now, appservice }
    decision.write('toDevice', row)
    if (appservice !== null) {
      bridges.add(appservice)
      noteInterest(decision, appservice, position)
    }
    return row
  })
  decision.announce('toDevice', { users: addressed.map(({ to }) => to.key), appservices: bridges })
  // Not before the commit: who reads up to a position must not be told of what comes behind it.
  decision.onCommitted(() => {
    for (const row of rows) {
      noteMessage(instance, row)
      noteGrowth(instance, row)
    }
  })
}

function tooLarge(message: string): MatrixError {
  return new MatrixError('M_TOO_LARGE', message)
}
