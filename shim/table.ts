/** Every endpoint, by section of the specification. The router, the documents and the tests are made from this. */
import type { Endpoint, NamedEndpoint } from './endpoint.ts'
import * as accounts from './endpoints/accounts.ts'
import * as server from './endpoints/server.ts'
import * as sync from './endpoints/sync.ts'

/** file in shim/endpoints → its endpoints */
const sections: Readonly<Record<string, Readonly<Record<string, Endpoint>>>> = { accounts, server, sync }

export const allEndpoints: readonly NamedEndpoint[] = Object.entries(sections).flatMap(([section, endpoints]) =>
  Object.entries(endpoints).map(([name, endpoint]) => ({ ...endpoint, name, section })),
)
