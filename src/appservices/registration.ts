/** What a registration says. https://spec.matrix.org/v1.19/application-service-api/#registration */
import { isIP } from 'node:net'
import { forbidden, invalidParam, MatrixError } from '../errors.ts'
import { checkIdentifier, isStorable } from '../rules/event-limits.ts'
import { compileNamespaces, type NamespaceRule } from '../rules/namespaces.ts'
import { compileNetworks } from '../rules/networks.ts'
import { isArray, isObject, type Json, type JsonObject } from '../rules/values.ts'
import type { AppserviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'

/** What is given is set; what is left out stays as it is, or is made for a new bridge. */
export interface GivenRegistration {
  readonly id: string
  readonly asToken?: string
  readonly hsToken?: string
  /** null: no push; "websocket": the bridge connects to us; else an address */
  readonly url?: string | null
  readonly senderLocalpart?: string
  readonly namespaces?: JsonObject
  readonly receiveEphemeral?: boolean
  readonly rateLimited?: boolean
  /** everything else that the registration says, kept as it is */
  readonly others?: JsonObject
}

const named = ['id', 'as_token', 'hs_token', 'url', 'sender_localpart', 'namespaces', 'receive_ephemeral', 'rate_limited']
const unstableEphemeral = 'de.sorunome.msc2409.push_ephemeral'

/** Its users' devices are served by transactions: what a bridge with `encryption.appservice: true` needs, as all configurations written here have it. */
export const devicesInTransactions: JsonObject = { 'org.matrix.msc3202': true }

/** Reads a registration as its file says it. Errors: M_INVALID_PARAM naming the field. */
export function readRegistration(content: JsonObject): GivenRegistration {
  const id = content['id']
  if (typeof id !== 'string') throw invalidParam('id is missing')
  const read = (name: string): string | undefined => take(content, name, 'string')
  const flag = (name: string): boolean | undefined => take(content, name, 'boolean')
  const url = content['url'] === null || content['url'] === '' ? null : read('url')
  const namespaces = content['namespaces'] ?? undefined
  if (namespaces !== undefined && !isObject(namespaces)) throw invalidParam('namespaces must be a map')
  const others = Object.fromEntries(Object.entries(content).filter(([key]) => !named.includes(key)))
  return present({
    id,
    asToken: read('as_token'),
    hsToken: read('hs_token'),
    url,
    senderLocalpart: read('sender_localpart'),
    namespaces,
    receiveEphemeral: flag('receive_ephemeral') ?? flag(unstableEphemeral),
    rateLimited: flag('rate_limited'),
    others,
  })
}

/** The registration of a bridge that says nothing but its name: bot `<id>bot`, ghosts `<id>_…`, on the bridge domain. */
export function usualRegistration(
  instance: Instance,
  id: string,
): Required<Pick<GivenRegistration, 'senderLocalpart' | 'namespaces' | 'receiveEphemeral' | 'rateLimited'>> {
  const domain = escapeRegex(instance.bridgeDomain)
  const name = escapeRegex(id)
  return {
    senderLocalpart: `${id}bot`,
    // The ghosts stand first: bbctl takes the first one.
    namespaces: {
      users: [
        { regex: `^@${name}_.+:${domain}$`, exclusive: true },
        { regex: `^@${name}bot:${domain}$`, exclusive: true },
      ],
    },
    receiveEphemeral: true,
    rateLimited: false,
  }
}

/** What is stored of a registration: all but its id, tokens and url, which have columns. Errors: M_INVALID_PARAM. */
export function storedContent(before: JsonObject, given: GivenRegistration): JsonObject {
  const namespaces = given.namespaces ?? (before['namespaces'] as JsonObject | undefined) ?? {}
  checkNamespaces(namespaces)
  const receiveEphemeral = given.receiveEphemeral ?? before['receive_ephemeral'] === true
  const content: JsonObject = {
    ...before,
    ...given.others,
    sender_localpart: given.senderLocalpart ?? before['sender_localpart'] ?? null,
    rate_limited: given.rateLimited ?? before['rate_limited'] === true,
    namespaces,
    receive_ephemeral: receiveEphemeral,
    [unstableEphemeral]: receiveEphemeral,
  }
  if (!isStorable(JSON.stringify(content))) throw invalidParam('The registration holds a character that cannot be stored')
  return content
}

/** The whole registration, as the bridge's own file has it. */
export function wholeRegistration(row: AppserviceRow): JsonObject {
  return { id: row.id, url: row.url, as_token: row.asToken, hs_token: row.hsToken, ...(JSON.parse(row.registration) as JsonObject) }
}

/** Letters, digits and `._-/=+`: the id stands in paths and localparts. Errors: M_INVALID_PARAM. */
export function checkId(id: string): void {
  if (!/^[A-Za-z0-9._=/+-]{1,100}$/.test(id)) throw invalidParam('The id of an appservice takes a-z, A-Z, 0-9 and ._=/+-, at most 100')
}

/** Long enough not to be guessed. Errors: M_INVALID_PARAM. */
export function checkToken(name: string, token: string | undefined): void {
  if (token !== undefined && !/^[\x21-\x7e]{16,255}$/.test(token)) throw invalidParam(`${name} takes 16 to 255 visible ASCII characters`)
}

/**
 * The address without a slash at its end. An operator may name any; of an owner an IP address is checked here, and what a name leads to at
 * every connection. Errors: M_INVALID_PARAM, M_FORBIDDEN.
 */
export function checkUrl(instance: Instance, url: string, by: 'operator' | 'owner'): string {
  if (url === 'websocket') return url
  const parsed = URL.parse(url)
  if (
    !parsed ||
    !/^https?:$/.test(parsed.protocol) ||
    parsed.username ||
    parsed.password ||
    parsed.search ||
    parsed.hash ||
    url.length > 1_000
  ) {
    throw invalidParam('url takes an http or https address, "websocket", or nothing')
  }
  const host = parsed.hostname.replace(/^\[|\]$/g, '')
  if (by === 'owner' && isIP(host) && !compileNetworks(instance.config.appserviceNetworks)(host)) {
    throw forbidden(`Bridges of owners may not be at ${host}: APPSERVICE_NETWORKS does not hold it`)
  }
  return parsed.href.replace(/\/+$/, '')
}

function checkNamespaces(namespaces: JsonObject): void {
  for (const kind of ['users', 'aliases', 'rooms']) {
    const rules = namespaces[kind] ?? []
    if (!isArray(rules) || rules.length > 100 || !rules.every(isRule))
      throw invalidParam(`namespaces.${kind} takes a list of {regex, exclusive}`)
  }
  try {
    compileNamespaces(namespaces as never)
  } catch (error) {
    throw invalidParam(error instanceof Error ? error.message : String(error))
  }
}

function isRule(rule: Json): boolean {
  const { regex, exclusive } = (isObject(rule) ? rule : {}) as Partial<NamespaceRule>
  return typeof regex === 'string' && regex.length <= 1_000 && (exclusive === undefined || typeof exclusive === 'boolean')
}

/** Errors: M_INVALID_PARAM when the bot's localpart makes no user id. */
export function checkLocalpart(localpart: unknown): string {
  if (typeof localpart !== 'string' || localpart === '' || /[:\s]/.test(localpart)) throw invalidParam('sender_localpart takes a localpart')
  const refusal = checkIdentifier('sender_localpart', localpart)
  if (refusal) throw new MatrixError('M_INVALID_PARAM', refusal.error)
  return localpart
}

function escapeRegex(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

function take<T extends 'string' | 'boolean'>(
  content: JsonObject,
  name: string,
  type: T,
): (T extends 'string' ? string : boolean) | undefined {
  const value = content[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== type) throw invalidParam(`${name} must be a ${type}`)
  return value as never
}

type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>
}

/** Without what is undefined: left out is what that means. */
function present<T extends object>(values: T): Present<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>
}
