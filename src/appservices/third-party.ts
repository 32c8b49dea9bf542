/**
 * What bridges know of their networks: protocols, and whom or where one leads to. Those are asked whose registration names the protocol under
 * `protocols`; their answers are put together. https://spec.matrix.org/v1.19/client-server-api/#third-party-networks
 */
import { invalidParam, notFound } from '../errors.ts'
import { isArray, isObject, type Json, type JsonObject } from '../rules/values.ts'
import { type Asked, type Asker, ask, askable } from './questions.ts'

/** Questions of one request. */
const mostAsked = 50
/** What a bridge says of a protocol seldom changes. */
const protocolMs = 60_000
/** Somebody who is searched for may be there a moment later. */
const searchMs = 0
const mostFieldsLength = 8_192
/** How deep an answer may be nested; what protocols say needs five. */
const mostLevels = 20

export interface ThirdPartyProtocol {
  readonly protocol: string
  /** as the client-server API has it */
  readonly metadata: JsonObject
}

export interface ThirdPartyUser {
  readonly userId: string
  readonly protocol: string
  /** JSON text of an object */
  readonly fields: string
}

export interface ThirdPartyLocation {
  readonly alias: string
  readonly protocol: string
  /** JSON text of an object */
  readonly fields: string
}

/** Those that a bridge knows and answers for. */
export async function thirdPartyProtocols(asker: Asker): Promise<ThirdPartyProtocol[]> {
  const named = (await askable(asker.instance)).flatMap((bridge) => protocolsOf(bridge).map((protocol) => ({ bridge, protocol })))
  return readProtocols(asker, named)
}

/** Errors: M_NOT_FOUND when no bridge names it, or none of those answers. */
export async function thirdPartyProtocol(asker: Asker, protocol: string): Promise<ThirdPartyProtocol> {
  const bridges = await speaking(asker, protocol)
  const [found] = await readProtocols(
    asker,
    bridges.map((bridge) => ({ bridge, protocol })),
  )
  if (!found) throw notFound(`The protocol ${protocol} is not known`)
  return found
}

/** Errors: M_INVALID_PARAM for fields that are neither strings nor lists of strings, or too long. */
export async function thirdPartyUsers(asker: Asker, args: { protocol: string; fields: JsonObject }): Promise<ThirdPartyUser[]> {
  const query = queryOf(args.fields)
  const answers = await askAll(asker, await speaking(asker, args.protocol), `thirdparty/user/${encodeURIComponent(args.protocol)}${query}`)
  return answers.flatMap(readUser)
}

/** Errors: as of thirdPartyUsers. */
export async function thirdPartyLocations(asker: Asker, args: { protocol: string; fields: JsonObject }): Promise<ThirdPartyLocation[]> {
  const query = queryOf(args.fields)
  const question = `thirdparty/location/${encodeURIComponent(args.protocol)}${query}`
  const answers = await askAll(asker, await speaking(asker, args.protocol), question)
  return answers.flatMap(readLocation)
}

/** Who somebody of a bridge's namespace is on its network. */
export async function thirdPartyUsersById(asker: Asker, userId: string): Promise<ThirdPartyUser[]> {
  const bridges = await speaking(asker)
  const own = bridges.filter(({ namespaces }) => namespaces.users.matches(userId))
  return (await askAll(asker, own, `thirdparty/user${queryOf({ userid: userId })}`)).flatMap(readUser)
}

/** Where an alias of a bridge's namespace leads to on its network. */
export async function thirdPartyLocationsByAlias(asker: Asker, alias: string): Promise<ThirdPartyLocation[]> {
  const bridges = await speaking(asker)
  const own = bridges.filter(({ namespaces }) => namespaces.aliases.matches(alias))
  return (await askAll(asker, own, `thirdparty/location${queryOf({ alias })}`)).flatMap(readLocation)
}

/** The bridges that speak a protocol, or any. */
async function speaking({ instance }: Asker, protocol?: string): Promise<Asked[]> {
  return (await askable(instance)).filter((bridge) => {
    const protocols = protocolsOf(bridge)
    return protocol === undefined ? protocols.length > 0 : protocols.includes(protocol)
  })
}

/** Names that can stand in a path. */
function protocolsOf({ content }: Asked): string[] {
  const { protocols } = content
  if (!isArray(protocols)) return []
  const names = protocols.filter((name): name is string => typeof name === 'string' && /^[^\p{Cc}\p{Cs}]{1,255}$/u.test(name))
  return [...new Set(names)].filter((name) => name !== '.' && name !== '..')
}

/** Errors: M_INVALID_PARAM. */
function queryOf(fields: JsonObject): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    // The token for the bridge stands there as well.
    if (name === 'access_token') throw invalidParam('access_token is not a field')
    for (const text of isArray(value) ? value : [value]) {
      if (typeof text !== 'string') throw invalidParam(`${name} must be a string or a list of strings`)
      query.append(name, text)
    }
  }
  const text = query.toString()
  if (text.length > mostFieldsLength) throw invalidParam('The fields are too long')
  return text === '' ? '' : `?${text}`
}

/** What the lists hold that they answer. */
async function askAll(asker: Asker, bridges: readonly Asked[], question: string): Promise<Json[]> {
  if (bridges.length > 0) asker.release?.()
  const texts = await Promise.all(bridges.slice(0, mostAsked).map((bridge) => ask(asker.instance, bridge, question, searchMs)))
  return texts.flatMap((text) => {
    const answer = parsed(text)
    return isArray(answer) ? answer : []
  })
}

function readUser(answer: Json): ThirdPartyUser[] {
  if (!isObject(answer)) return []
  const { userid: userId, protocol, fields } = answer
  if (typeof userId !== 'string' || typeof protocol !== 'string' || !isObject(fields)) return []
  return [{ userId, protocol, fields: JSON.stringify(fields) }]
}

function readLocation(answer: Json): ThirdPartyLocation[] {
  if (!isObject(answer)) return []
  const { alias, protocol, fields } = answer
  if (typeof alias !== 'string' || typeof protocol !== 'string' || !isObject(fields)) return []
  return [{ alias, protocol, fields: JSON.stringify(fields) }]
}

/** The first that answers says how a protocol looks, each adds its instances. */
async function readProtocols(
  asker: Asker,
  named: readonly { readonly bridge: Asked; readonly protocol: string }[],
): Promise<ThirdPartyProtocol[]> {
  if (named.length > 0) asker.release?.()
  const answers = await Promise.all(
    named.slice(0, mostAsked).map(async ({ bridge, protocol }) => {
      const answer = parsed(await ask(asker.instance, bridge, `thirdparty/protocol/${encodeURIComponent(protocol)}`, protocolMs))
      return isObject(answer) ? [{ protocol, answer, instances: instancesOf(bridge, answer) }] : []
    }),
  )
  return [...Map.groupBy(answers.flat(), ({ protocol }) => protocol)].map(([protocol, parts]) => ({
    protocol,
    metadata: { ...complete(parts[0]!.answer), instances: parts.flatMap(({ instances }) => instances) },
  }))
}

/** With the id by which this homeserver tells them apart. */
function instancesOf({ id }: Asked, answer: JsonObject): JsonObject[] {
  const { instances } = answer
  if (!isArray(instances)) return []
  return instances.flatMap((each) =>
    isObject(each) && typeof each['network_id'] === 'string' ? [{ ...each, instance_id: `${id}|${each['network_id']}` }] : [],
  )
}

/** What a client expects to find, whatever the bridge left out. */
function complete(answer: JsonObject): JsonObject {
  return {
    ...answer,
    user_fields: isArray(answer['user_fields']) ? answer['user_fields'] : [],
    location_fields: isArray(answer['location_fields']) ? answer['location_fields'] : [],
    icon: typeof answer['icon'] === 'string' ? answer['icon'] : '',
    field_types: isObject(answer['field_types']) ? answer['field_types'] : {},
  }
}

/** Null for what is not JSON, or nested so deep that writing it again could fail. */
function parsed(text: string | null): Json {
  try {
    const value = JSON.parse(text ?? 'null') as Json
    return isFlat(value, mostLevels) ? value : null
  } catch {
    return null
  }
}

function isFlat(value: Json, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  return levels > 0 && Object.values(value).every((each) => isFlat(each, levels - 1))
}
