/**
 * `com.beeper.room_key.ack`: a person has a room key in the backup, so the bridge whose bot made it may let go of its own copy. Not in the
 * specification: `{room_id, session_id, first_message_index}` to the devices of the bots that are in the room, as the person is: nobody else
 * may make a bridge forget a key.
 */
import { findRoom, membershipOf } from '../rooms/room-core.ts'
import type { RoomRow, UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { registrations } from '../users/registrations.ts'
import { devicesOf, loadDevices } from '../users/sessions.ts'
import { userOf } from '../users/users.ts'
import { putToDevice } from './to-device.ts'

const ackType = 'com.beeper.room_key.ack'

/** Of one request, the first of them; clients send 100 to 200 keys. Who sends more at once brings the keys of years, which no bridge has any more. */
const mostAcks = 1_000
/** Messages of one request. A bot whose bridge began anew a few times has several devices. */
const mostMessages = 5_000

export interface StoredRoomKey {
  readonly roomId: string
  readonly sessionId: string
  readonly firstMessageIndex: number
}

/** In the decision that stores the keys. */
export function acknowledgeRoomKeys(decision: Decision, sender: UserRow, stored: readonly StoredRoomKey[]): void {
  if (sender.kind !== 'person') return
  const bots = encryptedBots(decision)
  if (bots.length === 0) return
  const keys = stored.slice(0, mostAcks)
  const roomIds = [...new Set(keys.map(({ roomId }) => roomId))]
  decision.findAll('room', 'roomId', roomIds)
  const rooms = roomIds.flatMap((roomId) => findRoom(decision, roomId) ?? [])
  const members = membersOf(decision, rooms, bots, sender)
  let messages = 0
  for (const { roomId, sessionId, firstMessageIndex } of keys) {
    for (const { user, deviceIds } of members.get(roomId) ?? []) {
      messages += deviceIds.length
      if (messages > mostMessages) return
      const content = JSON.stringify({ room_id: roomId, session_id: sessionId, first_message_index: firstMessageIndex })
      putToDevice(decision, { to: user, deviceIds, type: ackType, sender: sender.userId, content })
    }
  }
}

interface Bot {
  readonly user: UserRow
  readonly deviceIds: readonly string[]
}

/** The bots with a device that has keys; others have nothing to let go of. */
function encryptedBots(decision: Decision): Bot[] {
  const bots = registrations(decision).map(({ bot }) => bot)
  loadDevices(decision, bots)
  const devices = bots.flatMap((bot) => devicesOf(decision, bot))
  decision.all(
    devices.map(
      ({ user, deviceId }) =>
        () =>
          decision.get('deviceKeys', { user, deviceId }),
    ),
  )
  const withKeys = Map.groupBy(
    devices.filter(({ user, deviceId }) => decision.get('deviceKeys', { user, deviceId })),
    ({ user }) => user,
  )
  return [...withKeys].map(([user, own]) => ({ user: userOf(decision, user), deviceIds: own.map(({ deviceId }) => deviceId) }))
}

/** By room id the bots that are joined, as the sender is. An old backup names many rooms: they are looked up together. */
function membersOf(decision: Decision, rooms: readonly RoomRow[], bots: readonly Bot[], sender: UserRow): Map<string, Bot[]> {
  const users = [sender.key, ...bots.map(({ user }) => user.key)]
  const places = rooms.flatMap((room) => users.map((user) => ({ room: room.key, user })))
  decision.loadAll('membership', places, (missing) => decision.instance.storage.membersAt(missing))
  const isIn = (room: RoomRow, user: UserRow) => membershipOf(decision, room.key, user.key)?.membership === 'join'
  return new Map(rooms.filter((room) => isIn(room, sender)).map((room) => [room.roomId, bots.filter(({ user }) => isIn(room, user))]))
}
