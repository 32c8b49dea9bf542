/** Plain requests made from the endpoint table and the SDL: what is required is there, ids are those of a home. */
import { type GraphQLInputType, getNamedType, isEnumType, isInputObjectType, isListType, isNonNullType } from 'graphql'
import type { NamedEndpoint } from '../../shim/endpoint.ts'
import type { RootField } from './documents.ts'
import { byUserNaming, contentNaming, type Home, type IdKind } from './home.ts'
import { bodyOf, type Kind, kindOf, parametersOf, pathParams, type Schema } from './parameters.ts'

/** Whose id a parameter gets; `include`: also where it may be left out. */
export interface Choice {
  from(name: string): Home
  include(name: string): boolean
}

/** What stands where no id does. */
export const plain: Readonly<Record<string, unknown>> = {
  'login.type': 'm.login.password',
  'LoginInput.type': 'm.login.password',
  receiptType: 'm.read',
  'sendReceipt.type': 'm.read',
  kind: 'override',
  'register.kind': 'user',
  'sendMessage.eventType': 'm.room.message',
  eventType: 'x.note',
  membership: 'join',
  type: 'x.note',
  keyName: 'displayname',
  key: 'displayname',
  limit: 5,
  first: 2,
  timeout: 0,
  timeout_ms: 1,
  timeoutMs: 1,
  width: 8,
  height: 8,
  'configureBridge.type': 'signal',
  conditions: [{ kind: 'event_match', key: 'type', pattern: 'm.*' }],
  actions: ['notify', { set_tweak: 'sound', value: 'default' }],
  rule: { conditions: [{ kind: 'event_match', key: 'type', pattern: 'm.*' }], actions: ['notify'] },
  state: { state_event: 'CONNECTED', remote_id: 'one', timestamp: 1, ttl: 60 },
  checkpoints: [
    { event_id: '$a', room_id: '!a', step: 'REMOTE', status: 'SUCCESS', timestamp: 1, event_type: 'm.room.message', reported_by: 'BRIDGE' },
  ],
  'reportBridgeState.body': { state_event: 'CONNECTED', remote_id: 'one', timestamp: 1, ttl: 60 },
  'setProfileField.body': { displayname: 'text' },
  version: '1',
  'putDehydratedDevice.device_data': { algorithm: 'text' },
}

export interface PlainRequest {
  readonly method: string
  readonly path: string
  readonly body?: unknown
}

export function restRequest(endpoint: NamedEndpoint, choice: Choice): PlainRequest {
  const known = new Map(parametersOf(endpoint).map(({ name, kind }) => [name, kind] as const))
  const value = (name: string, schema: Schema): unknown => valueFor(endpoint.name, name, schema, known.get(name) ?? 'none', choice)
  let path = endpoint.path
  for (const name of pathParams(endpoint.path))
    path = path.replace(`{${name}}`, encodeURIComponent(String(value(name, { type: 'string' }))))
  const query = Object.entries(objectOf(endpoint.name, endpoint.query as unknown as Schema, choice))
  if (query.length > 0) path += `?${new URLSearchParams(query.map(([name, each]) => [name, String(each)]))}`
  const schema = bodyOf(endpoint)
  if (!schema) return { method: endpoint.method, path }
  return { method: endpoint.method, path, body: schema.properties ? objectOf(endpoint.name, schema, choice) : value('body', schema) }
}

function objectOf(operation: string, schema: Schema, choice: Choice): Record<string, unknown> {
  const object: Record<string, unknown> = {}
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (!schema.required?.includes(name) && !choice.include(name) && !mentions(property, choice)) continue
    object[name] = valueFor(operation, name, property, kindOf(operation, name, property.type ?? 'any') ?? 'none', choice)
  }
  return object
}

function mentions(schema: Schema, choice: Choice): boolean {
  const inner = [...Object.values(schema.properties ?? {}), ...(schema.items ? [schema.items] : []), ...(schema.anyOf ?? [])]
  return Object.keys(schema.properties ?? {}).some((name) => choice.include(name)) || inner.some((each) => mentions(each, choice))
}

function valueFor(operation: string, name: string, schema: Schema, kind: Kind, choice: Choice): unknown {
  const said = plain[`${operation}.${name}`] ?? plain[name]
  if (schema.type === 'array' && Array.isArray(said)) return said
  if (schema.type === 'array') return schema.items ? [valueFor(operation, name, schema.items, kind, choice)] : []
  if (schema.anyOf?.length) return valueFor(operation, name, schema.anyOf[0]!, kind, choice)
  if ('const' in schema) return schema.const
  if (schema.properties) return objectOf(operation, schema, choice)
  if (kind === 'content') return { ...contentNaming(choice.from(name)), ...(said as object | undefined) }
  if (kind === 'byUser') return byUserNaming(choice.from(name), operation)
  if (kind !== 'none') return idOf(choice.from(name), kind, operation)
  if (said !== undefined) return said
  if (name === 'serverName' || name === 'server') return choice.from(name).instance.bridgeDomain
  switch (schema.type) {
    case 'integer':
    case 'number':
      return schema.minimum ?? 1
    case 'boolean':
      return true
    case 'object':
      return {}
    default:
      return 'text'
  }
}

/** `createInstance` and the like aside, the first id of a kind; what makes a new thing takes a new name. */
function idOf(home: Home, kind: IdKind, operation: string): string | number {
  if (operation === 'createRoom' || operation === 'CreateRoomInput') {
    if (kind === 'alias' || kind === 'aliasLocalpart') return home.ids.aliasLocalpart[0]!
  }
  return home.ids[kind][0]!
}

/** The variables of a root field's document; what may be left out and is not included is not there. */
export function variablesOf(field: RootField, choice: Choice): Record<string, unknown> {
  const variables: Record<string, unknown> = {}
  for (const { variable, field: owner, name, type } of field.variables) {
    if (!isNonNullType(type) && !choice.include(name) && !inputMentions(type, choice)) continue
    variables[variable] = inputOf(owner, name, type, choice)
  }
  return variables
}

function inputMentions(type: GraphQLInputType, choice: Choice): boolean {
  const named = getNamedType(type)
  return (
    isInputObjectType(named) &&
    Object.values(named.getFields()).some((each) => choice.include(each.name) || inputMentions(each.type, choice))
  )
}

function inputOf(owner: string, name: string, given: GraphQLInputType, choice: Choice): unknown {
  const type = isNonNullType(given) ? given.ofType : given
  if (isListType(type)) return [inputOf(owner, name, type.ofType, choice)]
  if (isEnumType(type)) return (type.getValue('OVERRIDE') ?? type.getValues()[0]!).name
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields()).filter(
      (each) => isNonNullType(each.type) || choice.include(each.name) || inputMentions(each.type, choice),
    )
    return Object.fromEntries(fields.map((each) => [each.name, inputOf(type.name, each.name, each.type, choice)]))
  }
  const kind = kindOf(owner, name, type.name) ?? 'none'
  if (kind === 'content') return name === 'checkpoints' ? [contentNaming(choice.from(name))] : contentNaming(choice.from(name))
  if (kind === 'byUser') return byUserNaming(choice.from(name), owner)
  if (kind !== 'none') return idOf(choice.from(name), kind, owner)
  const said = plain[`${owner}.${name}`] ?? plain[name]
  if (said !== undefined) return said
  switch (type.name) {
    case 'Int':
    case 'Float':
    case 'Timestamp':
    case 'Position':
      return 1
    case 'Boolean':
      return true
    case 'JsonObject':
    case 'EventContent':
    case 'JSON':
      return {}
    default:
      return 'text'
  }
}
