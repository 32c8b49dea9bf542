/** Every endpoint, by section of the specification. The router, the documents and the tests are made from this. */
import type { Endpoint, NamedEndpoint } from './endpoint.ts'
import * as accountData from './endpoints/account-data.ts'
import * as accountModeration from './endpoints/account-moderation.ts'
import * as accounts from './endpoints/accounts.ts'
import * as appservice from './endpoints/appservice.ts'
import * as asSync from './endpoints/as-sync.ts'
import * as bbctlApi from './endpoints/bbctl-api.ts'
import * as beeperBackfill from './endpoints/beeper-backfill.ts'
import * as beeperBridges from './endpoints/beeper-bridges.ts'
import * as beeperChatMerging from './endpoints/beeper-chat-merging.ts'
import * as beeperInbox from './endpoints/beeper-inbox.ts'
import * as beeperRooms from './endpoints/beeper-rooms.ts'
import * as capabilities from './endpoints/capabilities.ts'
import * as crossSigning from './endpoints/cross-signing.ts'
import * as dehydratedDevices from './endpoints/dehydrated-devices.ts'
import * as deviceLists from './endpoints/device-lists.ts'
import * as devices from './endpoints/devices.ts'
import * as directory from './endpoints/directory.ts'
import * as discovery from './endpoints/discovery.ts'
import * as filter from './endpoints/filter.ts'
import { fixedReplies } from './endpoints/fixed-replies.ts'
import * as keyBackup from './endpoints/key-backup.ts'
import * as keys from './endpoints/keys.ts'
import * as login from './endpoints/login.ts'
import * as media from './endpoints/media.ts'
import * as mutualRooms from './endpoints/mutual-rooms.ts'
import * as profile from './endpoints/profile.ts'
import * as pushRules from './endpoints/push-rules.ts'
import * as receipts from './endpoints/receipts.ts'
import * as redactUser from './endpoints/redact-user.ts'
import * as relations from './endpoints/relations.ts'
import * as roomEvents from './endpoints/room-events.ts'
import * as roomMembership from './endpoints/room-membership.ts'
import * as rooms from './endpoints/rooms.ts'
import * as rtc from './endpoints/rtc.ts'
import * as sendToDevice from './endpoints/send-to-device.ts'
import * as server from './endpoints/server.ts'
import * as sync from './endpoints/sync.ts'
import * as thirdParty from './endpoints/third-party.ts'
import * as typing from './endpoints/typing.ts'
import * as userDirectory from './endpoints/user-directory.ts'

/** file in shim/endpoints → its endpoints */
const sections: Readonly<Record<string, Readonly<Record<string, Endpoint>>>> = {
  'account-data': accountData,
  'account-moderation': accountModeration,
  accounts,
  appservice,
  'as-sync': asSync,
  'bbctl-api': bbctlApi,
  'beeper-bridges': beeperBridges,
  'beeper-inbox': beeperInbox,
  'beeper-backfill': beeperBackfill,
  'beeper-chat-merging': beeperChatMerging,
  'beeper-rooms': beeperRooms,
  capabilities,
  'cross-signing': crossSigning,
  'dehydrated-devices': dehydratedDevices,
  'device-lists': deviceLists,
  devices,
  discovery,
  filter,
  'fixed-replies': fixedReplies,
  keys,
  'key-backup': keyBackup,
  login,
  media,
  'mutual-rooms': mutualRooms,
  profile,
  'push-rules': pushRules,
  directory,
  receipts,
  'redact-user': redactUser,
  relations,
  'room-events': roomEvents,
  'room-membership': roomMembership,
  rooms,
  rtc,
  'send-to-device': sendToDevice,
  'third-party': thirdParty,
  typing,
  server,
  sync,
  'user-directory': userDirectory,
}

export const allEndpoints: readonly NamedEndpoint[] = Object.entries(sections).flatMap(([section, endpoints]) =>
  Object.entries(endpoints).map(([name, endpoint]) => ({ ...endpoint, name, section })),
)
