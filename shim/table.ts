/** Every endpoint, by section of the specification. The router, the documents and the tests are made from this. */
import type { Endpoint, NamedEndpoint } from './endpoint.ts'
import * as accountData from './endpoints/account-data.ts'
import * as accounts from './endpoints/accounts.ts'
import * as appservice from './endpoints/appservice.ts'
import * as beeper from './endpoints/beeper.ts'
import * as capabilities from './endpoints/capabilities.ts'
import * as devices from './endpoints/devices.ts'
import * as directory from './endpoints/directory.ts'
import * as discovery from './endpoints/discovery.ts'
import * as filter from './endpoints/filter.ts'
import { fixedReplies } from './endpoints/fixed-replies.ts'
import * as login from './endpoints/login.ts'
import * as media from './endpoints/media.ts'
import * as profile from './endpoints/profile.ts'
import * as pushRules from './endpoints/push-rules.ts'
import * as receipts from './endpoints/receipts.ts'
import * as roomEvents from './endpoints/room-events.ts'
import * as roomMembership from './endpoints/room-membership.ts'
import * as rooms from './endpoints/rooms.ts'
import * as server from './endpoints/server.ts'
import * as sync from './endpoints/sync.ts'
import * as typing from './endpoints/typing.ts'
import * as userDirectory from './endpoints/user-directory.ts'

/** file in shim/endpoints → its endpoints */
const sections: Readonly<Record<string, Readonly<Record<string, Endpoint>>>> = {
  'account-data': accountData,
  accounts,
  appservice,
  beeper,
  capabilities,
  devices,
  discovery,
  filter,
  'fixed-replies': fixedReplies,
  login,
  media,
  profile,
  'push-rules': pushRules,
  directory,
  receipts,
  'room-events': roomEvents,
  'room-membership': roomMembership,
  rooms,
  typing,
  server,
  sync,
  'user-directory': userDirectory,
}

export const allEndpoints: readonly NamedEndpoint[] = Object.entries(sections).flatMap(([section, endpoints]) =>
  Object.entries(endpoints).map(([name, endpoint]) => ({ ...endpoint, name, section })),
)
