/** What kind of id each parameter of the endpoint table and of the SDL takes. Whoever adds a parameter says it here in one word. */
import type { TSchema } from 'typebox'
import type { NamedEndpoint } from '../../shim/endpoint.ts'

/** `none`: not an id. `content`: JSON that may name ids; `byUser`: user id → device id → JSON. `token`: a place in the stream as text, `position` as a number. */
export type Kind =
  | 'none'
  | 'room'
  | 'roomOrAlias'
  | 'alias'
  | 'aliasLocalpart'
  | 'event'
  | 'user'
  | 'localpart'
  | 'device'
  | 'filter'
  | 'media'
  | 'contentUri'
  | 'appservice'
  | 'pushRule'
  | 'stateKey'
  | 'instance'
  | 'session'
  | 'txn'
  | 'token'
  | 'position'
  | 'cursor'
  | 'content'
  | 'byUser'

const of = <K extends Kind>(kind: K, ...names: string[]): [string, K][] => names.map((name) => [name, kind])

/** By name, or by `operation.name` where a name means different things. */
const kinds: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ...of('room', 'roomId', 'room_id', 'room_ids', 'roomIds', 'fi.mau.room_id', 'com.beeper.room_id'),
  ...of('room', 'mergeRooms.rooms'),
  ...of('event', 'event_id', 'redacts'),
  ...of('user', 'sender', 'mark_read_by', 'markReadBy'),
  ...of('roomOrAlias', 'roomIdOrAlias'),
  ...of('alias', 'roomAlias', 'alias'),
  ...of('aliasLocalpart', 'room_alias_name', 'aliasName'),
  ...of('event', 'eventId', 'fi.mau.event_id', 'thread_id', 'threadId', 'm.fully_read', 'm.read', 'm.read.private'),
  ...of('user', 'userId', 'user_id', 'user', 'invite', 'com.beeper.initial_members', 'initialMembers', 'createInstance.owner'),
  ...of('user', 'userid'),
  ...of('localpart', 'username', 'registerBeeperBridge.user', 'getBeeperBridge.user', 'deleteBeeperBridge.user'),
  ...of('localpart', 'manageRegisterBridge.user', 'manageGetBridge.user', 'manageDeleteBridge.user', 'execBeeperBridge.user'),
  ...of('localpart', 'reportStateOfBbctl.user'),
  ...of('device', 'deviceIds', 'deleteDevices.devices'),
  ...of('device', 'deviceId', 'device_id'),
  ...of('filter', 'filterId', 'getEventContext.filter', 'getRoomEvents.filter', 'sync.filter', 'roomContext.filter', 'roomMessages.filter'),
  ...of('media', 'mediaId'),
  ...of('contentUri', 'mxc', 'avatarUrl'),
  ...of('appservice', 'appserviceId', 'bridge', 'id'),
  ...of('pushRule', 'ruleId', 'setPushRule.after', 'setPushRule.before'),
  ...of('stateKey', 'stateKey', 'state_key'),
  ...of('instance', 'createInstance.name', 'deleteInstance.name', 'suspendInstance.name', 'resumeInstance.name', 'instance'),
  ...of('session', 'token', 'refreshToken', 'refresh.refresh_token'),
  ...of('txn', 'txnId', 'fi.mau.transaction_id'),
  ...of('token', 'since', 'from', 'to', 'at'),
  ...of(
    'position',
    'bridgeStatus.after',
    'inbox.after:Position',
    'typing.after',
    'receipts.after',
    'timeline.after:Position',
    'ephemeralEvents.after',
    'toDeviceMessages.after',
    'deviceListChanges.after',
    'acknowledgeToDeviceMessages.upTo',
  ),
  ...of('cursor', 'inbox.after', 'inbox.before', 'members.after', 'members.before', 'timeline.after', 'timeline.before'),
  ...of('content', 'content', 'creation_content', 'creationContent', 'power_level_content_override', 'powerLevelOverride', 'body', 'extra'),
  ...of('content', 'com.beeper.fully_read.extra', 'com.beeper.read.extra', 'com.beeper.read.private.extra', 'value', 'fields'),
  ...of('content', 'data', 'auth', 'rule', 'actions', 'registration', 'state', 'checkpoints', 'createFilter.filter', 'network'),
  ...of('byUser', 'messages', 'queryKeys.device_keys', 'queryKeys.deviceKeys', 'claimKeys.one_time_keys', 'claimKeys.oneTimeKeys'),
  ...of('byUser', 'uploadCrossSigningSignatures.body', 'uploadSignatures.signatures'),
  ...of('content', 'device_keys', 'deviceKeys', 'one_time_keys', 'oneTimeKeys', 'fallback_keys', 'fallbackKeys'),
  ...of('content', 'master_key', 'self_signing_key', 'user_signing_key', 'masterKey', 'selfSigningKey', 'userSigningKey'),
  ...of('content', 'auth_data', 'authData', 'session_data', 'sessionData', 'device_data', 'deviceData'),
  // Each user's own: a version of the backup, a key in it, a place in it or in what a dehydrated device was sent.
  ...of('none', 'version', 'algorithm', 'sessionId', 'keys.after', 'keys.before', 'next_batch', 'dehydratedMessages.from'),
  ...of(
    'none',
    'getDehydratedDeviceEvents.from',
    'batch_token',
    'first_message_index',
    'forwarded_count',
    'firstMessageIndex',
    'forwardedCount',
  ),
  // A place among rooms in common, numbered in each homeserver.
  ...of('none', 'getMutualRooms.from', 'mutualRooms.after', 'mutualRooms.before'),
  // Of one homeserver: jobs are numbered in each.
  ...of('none', 'job.id'),
  ...of('none', 'display_name', 'id_server'),
  ...of('none', 'new_password', 'newPassword', 'relType', 'getThreadRoots.include'),
  // Places and names that belong to nobody.
  ...of('none', 'serverName', 'server', 'tag', 'type', 'eventType', 'receiptType', 'kind', 'keyName', 'key', 'protocol', 'fileName'),
  ...of('none', 'filename', 'bridgeDomain', 'userDomain', 'homeserverUrl', 'commandPrefix', 'url', 'address', 'mxid', 'name', 'topic'),
  ...of(
    'none',
    'transactionId',
    'transaction_id',
    'term',
    'search_term',
    'searchTerm',
    'generic_search_term',
    'password',
    'reason',
    'medium',
  ),
  ...of('none', 'initial_device_display_name', 'initialDeviceDisplayName', 'displayName', 'set_presence', 'setPresence', 'room_version'),
  ...of('none', 'roomVersion', 'dir', 'format', 'membership', 'not_membership', 'notMembership', 'memberships', 'method', 'preset'),
  ...of('none', 'visibility', 'stateAfter', 'limit', 'first', 'last', 'width', 'height', 'timeout', 'timeout_ms', 'timeoutMs', 'ts'),
  ...of('none', 'fi.mau.origin_server_ts', 'expiresAt', 'usesAllowed', 'invite_3pid', 'room_types', 'roomTypes'),
  ...of('none', 'at_delta', 'atDelta', 'at_order', 'atOrder', 'until', 'com.beeper.unique_id', 'uniqueId', 'uploadContentToUrl.token'),
  ...of('none', 'command', 'software', 'bridgeType', 'path', 'query'),
  ...of('none', 'origin_server_ts', 'splitRoom.values', 'SplitPartInput.values'),
  // Objects whose properties are looked at one by one.
  ...of('none', 'events', 'create', 'parts', 'putRoomKeys.rooms', 'putRoomKeysByRoomId.sessions', 'putRoomKeys.keys'),
  ...of(
    'none',
    'input',
    'identifier',
    'filter',
    'fullyRead',
    'read',
    'readPrivate',
    'initial_state',
    'initialState',
    'done',
    'read_markers',
    'readMarkers',
  ),
])

/** Null: nobody said. A parameter that is true or false is no id. */
export function kindOf(operation: string, name: string, type: string): Kind | null {
  if (type === 'boolean' || type === 'Boolean') return 'none'
  return kinds.get(`${operation}.${name}:${type}`) ?? kinds.get(`${operation}.${name}`) ?? kinds.get(name) ?? null
}

export interface Parameter {
  readonly place: 'path' | 'query' | 'body'
  readonly name: string
  readonly type: string
  readonly kind: Kind | null
}

/** The parts of a JSON schema that shim/shape.ts knows. */
export interface Schema {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly eventContent?: boolean
}

export function bodyOf(endpoint: NamedEndpoint): Schema | null {
  return endpoint.kind === 'operation' && endpoint.method !== 'GET' ? (endpoint.body as Schema) : null
}

export function pathParams(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!)
}

/** Every parameter of an endpoint, those deep in the body as well. */
export function parametersOf(endpoint: NamedEndpoint): Parameter[] {
  const found: Parameter[] = []
  const add = (place: Parameter['place'], name: string, type = 'string') =>
    found.push({ place, name, type, kind: kindOf(endpoint.name, name, type) })
  const walk = (place: Parameter['place'], schema: Schema) => {
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      add(place, name, property.type ?? 'any')
      walk(place, property)
    }
    if (schema.items) walk(place, schema.items)
    for (const each of schema.anyOf ?? []) walk(place, each)
  }
  for (const name of pathParams(endpoint.path)) add('path', name)
  walk('query', endpoint.query as TSchema as Schema)
  const body = bodyOf(endpoint)
  if (body) {
    if (body.type === 'object' && !body.properties) add('body', 'body', 'object')
    walk('body', body)
  }
  return found
}
