/** The appservices of an instance as commands read them: whose namespaces cover a user, an alias or a room. */
import { compileNamespaces, type Namespaces } from '../rules/namespaces.ts'
import type { JsonObject } from '../rules/values.ts'
import type { AppserviceRow, UserRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'

export interface Registration {
  readonly key: number
  readonly id: string
  /** key of its bot */
  readonly bot: number
  readonly row: AppserviceRow
  readonly namespaces: Namespaces
  /** the registration without its tokens, as it was given */
  readonly content: JsonObject
  readonly rateLimited: boolean
  readonly receiveEphemeral: boolean
  /**
   * `org.matrix.msc3202: true`: messages to its users' devices, device lists and key counts go into its transactions. Of mautrix bridges those
   * say so whose `encryption.appservice` is on; the others sync.
   */
  readonly devicesInTransactions: boolean
  /** it is told what its own users did; `hungryserv.own_events: false` in the registration says that it does not want to be */
  readonly ownEvents: boolean
}

/** Under this name the memory holds all registrations; whoever puts an appservice row sets it anew. */
export const registrationsKey = 'registrations'

export function parseRegistration(row: AppserviceRow): Registration {
  const content = JSON.parse(row.registration) as JsonObject
  return {
    key: row.key,
    id: row.id,
    bot: row.bot,
    row,
    namespaces: compileNamespaces((content['namespaces'] ?? {}) as Parameters<typeof compileNamespaces>[0]),
    content,
    rateLimited: content['rate_limited'] === true,
    receiveEphemeral: content['receive_ephemeral'] === true || content['de.sorunome.msc2409.push_ephemeral'] === true,
    devicesInTransactions: content['org.matrix.msc3202'] === true,
    ownEvents: content['hungryserv.own_events'] !== false,
  }
}

/** All of them; an instance has as many as it has bridges. */
export function registrations(decision: Decision): readonly Registration[] {
  return decision.need(registrationsKey, () => readRegistrations(decision.instance))
}

export async function readRegistrations(instance: Instance): Promise<readonly Registration[]> {
  return (await instance.storage.find('appservice', { where: {}, orderBy: ['key'] })).map(parseRegistration)
}

/** Puts the row and the list that holds it. */
export function putAppservice(decision: Decision, row: AppserviceRow): Registration {
  const registration = parseRegistration(row)
  const others = registrations(decision).filter((other) => other.key !== row.key)
  decision.put('appservice', row)
  decision.set(registrationsKey, [...others, registration])
  return registration
}

export function removeAppservice(decision: Decision, row: AppserviceRow): void {
  decision.remove('appservice', row)
  decision.set(
    registrationsKey,
    registrations(decision).filter((other) => other.key !== row.key),
  )
}

/** The appservice in whose user namespace the id lies. */
export function appserviceOf(decision: Decision, userId: string): Registration | null {
  return registrations(decision).find((registration) => registration.namespaces.users.matches(userId)) ?? null
}

/** The appservice whose transactions carry what concerns this user's devices; null: they sync. */
export function transactionsFor(decision: Decision, user: Pick<UserRow, 'appservice'>): Registration | null {
  if (user.appservice === null) return null
  return registrations(decision).find(({ key, devicesInTransactions }) => devicesInTransactions && key === user.appservice) ?? null
}
