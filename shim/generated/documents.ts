// Written by `npm run codegen` from the documents beside it. Do not edit.
import type { JsonText } from '../../src/graphql/execute.ts'

export interface BatchEventInput {
  readonly content: object
  readonly eventId?: string | null | undefined
  readonly redacts?: string | null | undefined
  readonly sender: string
  readonly ts?: number | null | undefined
  readonly type: string
}

export interface CreateRoomInput {
  readonly aliasName?: string | null | undefined
  readonly autoJoinInvites?: boolean | null | undefined
  readonly creationContent?: object | null | undefined
  readonly initialMembers?: readonly (string)[] | null | undefined
  readonly initialState?: readonly (InitialStateInput)[] | null | undefined
  readonly invite?: readonly (string)[] | null | undefined
  readonly isDirect?: boolean | null | undefined
  readonly listed?: boolean | null | undefined
  readonly name?: string | null | undefined
  readonly powerLevelOverride?: object | null | undefined
  readonly preset?: RoomPreset | null | undefined
  readonly roomId?: string | null | undefined
  readonly roomVersion?: string | null | undefined
  readonly topic?: string | null | undefined
  readonly ts?: number | null | undefined
}

export type Direction = 'BACKWARDS' | 'FORWARDS'

export interface DoneInput {
  readonly atDelta?: number | null | undefined
  readonly atOrder?: number | null | undefined
}

export interface InitialStateInput {
  readonly content: object
  readonly stateKey: string
  readonly type: string
}

export interface LoginInput {
  readonly deviceId?: string | null | undefined
  readonly initialDeviceDisplayName?: string | null | undefined
  readonly password?: string | null | undefined
  readonly refreshToken?: boolean | null | undefined
  readonly token?: string | null | undefined
  readonly type: string
  readonly user?: string | null | undefined
}

export type Membership = 'BAN' | 'INVITE' | 'JOIN' | 'KNOCK' | 'LEAVE'

export type PushRuleKind = 'CONTENT' | 'OVERRIDE' | 'ROOM' | 'SENDER' | 'UNDERRIDE'

export interface ReadMarkersInput {
  readonly allowBackward?: boolean | null | undefined
  readonly fullyRead?: ReceiptInput | null | undefined
  readonly read?: ReceiptInput | null | undefined
  readonly readPrivate?: ReceiptInput | null | undefined
}

export interface ReceiptInput {
  readonly eventId: string
  readonly extra?: object | null | undefined
  readonly threadId?: string | null | undefined
}

export interface RegisterInput {
  readonly auth?: object | null | undefined
  readonly deviceId?: string | null | undefined
  readonly inhibitLogin?: boolean | null | undefined
  readonly initialDeviceDisplayName?: string | null | undefined
  readonly kind?: string | null | undefined
  readonly password?: string | null | undefined
  readonly refreshToken?: boolean | null | undefined
  readonly type?: string | null | undefined
  readonly username?: string | null | undefined
}

export interface RoomKeyInput {
  readonly firstMessageIndex: number
  readonly forwardedCount: number
  readonly isVerified: boolean
  readonly roomId: string
  readonly sessionData: object
  readonly sessionId: string
}

export type RoomPreset = 'PRIVATE_CHAT' | 'PUBLIC_CHAT' | 'TRUSTED_PRIVATE_CHAT'

export interface SplitPartInput {
  readonly create: CreateRoomInput
  readonly userId?: string | null | undefined
  readonly values: readonly (string)[]
}

export type StateAfter = 'STABLE' | 'UNSTABLE'

export interface Documents {
  [`
    mutation SetAccountData($userId: ID, $type: String!, $content: JsonObject!) {
      setAccountData(userId: $userId, type: $type, content: $content)
    }
  `]: {
    variables: { readonly userId?: string | null | undefined; readonly type: string; readonly content: object }
    result: { readonly setAccountData: boolean }
  }
  [`query AccountData($userId: ID, $type: String!) { accountData(userId: $userId, type: $type) }`]: {
    variables: { readonly userId?: string | null | undefined; readonly type: string }
    result: { readonly accountData: object }
  }
  [`
    mutation SetAccountDataPerRoom($userId: ID, $roomId: ID, $type: String!, $content: JsonObject!) {
      setAccountData(userId: $userId, roomId: $roomId, type: $type, content: $content)
    }
  `]: {
    variables: { readonly userId?: string | null | undefined; readonly roomId?: string | null | undefined; readonly type: string; readonly content: object }
    result: { readonly setAccountData: boolean }
  }
  [`
    query AccountDataPerRoom($userId: ID, $roomId: ID, $type: String!) { accountData(userId: $userId, roomId: $roomId, type: $type) }
  `]: {
    variables: { readonly userId?: string | null | undefined; readonly roomId?: string | null | undefined; readonly type: string }
    result: { readonly accountData: object }
  }
  [`query Tags($userId: ID, $roomId: ID!) { tags(userId: $userId, roomId: $roomId) }`]: {
    variables: { readonly userId?: string | null | undefined; readonly roomId: string }
    result: { readonly tags: object }
  }
  [`
    mutation SetTag($userId: ID, $roomId: ID!, $tag: String!, $content: JsonObject!) {
      setTag(userId: $userId, roomId: $roomId, tag: $tag, content: $content)
    }
  `]: {
    variables: { readonly userId?: string | null | undefined; readonly roomId: string; readonly tag: string; readonly content: object }
    result: { readonly setTag: boolean }
  }
  [`
    mutation RemoveTag($userId: ID, $roomId: ID!, $tag: String!) { removeTag(userId: $userId, roomId: $roomId, tag: $tag) }
  `]: {
    variables: { readonly userId?: string | null | undefined; readonly roomId: string; readonly tag: string }
    result: { readonly removeTag: boolean }
  }
  [`query UserLocked($userId: ID!) { accountModeration(userId: $userId) { locked } }`]: {
    variables: { readonly userId: string }
    result: { readonly accountModeration: ({ readonly locked: boolean }) }
  }
  [`mutation SetUserLocked($userId: ID!, $locked: Boolean!) { setUserLocked(userId: $userId, locked: $locked) { locked } }`]: {
    variables: { readonly userId: string; readonly locked: boolean }
    result: { readonly setUserLocked: ({ readonly locked: boolean }) }
  }
  [`query UserSuspended($userId: ID!) { accountModeration(userId: $userId) { suspended } }`]: {
    variables: { readonly userId: string }
    result: { readonly accountModeration: ({ readonly suspended: boolean }) }
  }
  [`
    mutation SetUserSuspended($userId: ID!, $suspended: Boolean!) { setUserSuspended(userId: $userId, suspended: $suspended) { suspended } }
  `]: {
    variables: { readonly userId: string; readonly suspended: boolean }
    result: { readonly setUserSuspended: ({ readonly suspended: boolean }) }
  }
  [`
    mutation Register($input: RegisterInput!) {
      register(input: $input) { userId session { accessToken deviceId refreshToken expiresInMs } }
    }
  `]: {
    variables: { readonly input: RegisterInput }
    result: { readonly register: ({ readonly userId: string; readonly session: ({ readonly accessToken: string; readonly deviceId: string; readonly refreshToken: string | null; readonly expiresInMs: number | null }) | null }) }
  }
  [`query UsernameAvailable($username: String!) { usernameAvailable(username: $username) }`]: {
    variables: { readonly username: string }
    result: { readonly usernameAvailable: boolean }
  }
  [`query RegistrationTokenValid($token: String!) { registrationTokenValid(token: $token) }`]: {
    variables: { readonly token: string }
    result: { readonly registrationTokenValid: boolean }
  }
  [`query WhoAmI { whoami { userId deviceId } }`]: {
    variables: {  }
    result: { readonly whoami: ({ readonly userId: string; readonly deviceId: string | null }) }
  }
  [`
    mutation ChangePassword($newPassword: String, $logoutDevices: Boolean, $auth: JsonObject) {
      changePassword(newPassword: $newPassword, logoutDevices: $logoutDevices, auth: $auth)
    }
  `]: {
    variables: { readonly newPassword?: string | null | undefined; readonly logoutDevices?: boolean | null | undefined; readonly auth?: object | null | undefined }
    result: { readonly changePassword: boolean }
  }
  [`mutation DeactivateAccount($auth: JsonObject) { deactivateAccount(auth: $auth) }`]: {
    variables: { readonly auth?: object | null | undefined }
    result: { readonly deactivateAccount: boolean }
  }
  [`mutation PingBridge($id: String!, $transactionId: String) { pingBridge(id: $id, transactionId: $transactionId) }`]: {
    variables: { readonly id: string; readonly transactionId?: string | null | undefined }
    result: { readonly pingBridge: number }
  }
  [`mutation ReportBridgeState($state: JsonObject!) { reportBridgeState(state: $state) }`]: {
    variables: { readonly state: object }
    result: { readonly reportBridgeState: boolean }
  }
  [`mutation ReportMessageCheckpoints($checkpoints: JSON!) { reportMessageCheckpoints(checkpoints: $checkpoints) }`]: {
    variables: { readonly checkpoints: unknown }
    result: { readonly reportMessageCheckpoints: boolean }
  }
  [`
    query BbctlWhoami($owner: ID!) {
      loginToken
      homeserverUrl
      viewer { admin }
      user(userId: $owner) { displayName createdAt }
      bridges { id type createdAt states { remoteId stateEvent reportedAt state } }
    }
  `]: {
    variables: { readonly owner: string }
    result: { readonly loginToken: string; readonly homeserverUrl: string | null; readonly viewer: ({ readonly admin: boolean }); readonly user: ({ readonly displayName: string | null; readonly createdAt: number }) | null; readonly bridges: readonly (({ readonly id: string; readonly type: string | null; readonly createdAt: number; readonly states: readonly (({ readonly remoteId: string; readonly stateEvent: string; readonly reportedAt: number; readonly state: object }))[] }))[] }
  }
  [`
    mutation ReportStateOfBbctl($id: String!, $state: JsonObject!, $bridgeType: String) {
      reportBridgeState(id: $id, state: $state, bridgeType: $bridgeType)
    }
  `]: {
    variables: { readonly id: string; readonly state: object; readonly bridgeType?: string | null | undefined }
    result: { readonly reportBridgeState: boolean }
  }
  [`mutation DeleteBeeperBridge($id: String!) { deleteBridge(id: $id) { id } }`]: {
    variables: { readonly id: string }
    result: { readonly deleteBridge: ({ readonly id: string }) }
  }
  [`
    mutation BatchSend(
      $roomId: ID!, $events: [BatchEventInput!]!, $forward: Boolean, $forwardIfNoMessages: Boolean, $sendNotification: Boolean, $markReadBy: ID
    ) {
      batchSend(
        roomId: $roomId, events: $events, forward: $forward, forwardIfNoMessages: $forwardIfNoMessages
        sendNotification: $sendNotification, markReadBy: $markReadBy
      ) { eventIds }
    }
  `]: {
    variables: { readonly roomId: string; readonly events: readonly (BatchEventInput)[]; readonly forward?: boolean | null | undefined; readonly forwardIfNoMessages?: boolean | null | undefined; readonly sendNotification?: boolean | null | undefined; readonly markReadBy?: string | null | undefined }
    result: { readonly batchSend: ({ readonly eventIds: readonly (string)[] }) }
  }
  [`
  mutation RegisterBeeperBridge($id: String!, $url: String, $registration: JsonObject) {
    registerBridge(id: $id, url: $url, registration: $registration, withLoginToken: true) { registration }
  }
`]: {
    variables: { readonly id: string; readonly url?: string | null | undefined; readonly registration?: object | null | undefined }
    result: { readonly registerBridge: ({ readonly registration: object }) }
  }
  [`query GetBeeperBridge($id: String!) { bridge(id: $id) { registration } }`]: {
    variables: { readonly id: string }
    result: { readonly bridge: ({ readonly registration: object }) }
  }
  [`
    mutation ExecBridge($id: String!, $command: String!, $data: JsonObject!) { execBridge(id: $id, command: $command, data: $data) }
  `]: {
    variables: { readonly id: string; readonly command: string; readonly data: object }
    result: { readonly execBridge: object }
  }
  [`query GetBridgeLogins($id: String!) { bridgeGlobalState(id: $id) }`]: {
    variables: { readonly id: string }
    result: { readonly bridgeGlobalState: object }
  }
  [`
    mutation MergeRooms($create: CreateRoomInput!, $rooms: [ID!]!, $key: String!, $userId: ID) {
      mergeRooms(create: $create, rooms: $rooms, key: $key, userId: $userId) { roomId }
    }
  `]: {
    variables: { readonly create: CreateRoomInput; readonly rooms: readonly (string)[]; readonly key: string; readonly userId?: string | null | undefined }
    result: { readonly mergeRooms: ({ readonly roomId: string }) }
  }
  [`
    mutation SplitRoom($roomId: ID!, $key: String!, $parts: [SplitPartInput!]!) {
      splitRoom(roomId: $roomId, key: $key, parts: $parts) { value roomId }
    }
  `]: {
    variables: { readonly roomId: string; readonly key: string; readonly parts: readonly (SplitPartInput)[] }
    result: { readonly splitRoom: readonly (({ readonly value: string; readonly roomId: string }))[] }
  }
  [`
    mutation SetInboxState($userId: ID, $roomId: ID!, $markedUnread: Boolean, $done: DoneInput, $readMarkers: ReadMarkersInput) {
      setInboxState(userId: $userId, roomId: $roomId, markedUnread: $markedUnread, done: $done, readMarkers: $readMarkers)
    }
  `]: {
    variables: { readonly userId?: string | null | undefined; readonly roomId: string; readonly markedUnread?: boolean | null | undefined; readonly done?: DoneInput | null | undefined; readonly readMarkers?: ReadMarkersInput | null | undefined }
    result: { readonly setInboxState: boolean }
  }
  [`mutation ArchiveRooms($roomIds: [ID!]!) { archiveRooms(roomIds: $roomIds) }`]: {
    variables: { readonly roomIds: readonly (string)[] }
    result: { readonly archiveRooms: boolean }
  }
  [`
    mutation SendEphemeralEvent($roomId: ID!, $type: String!, $txnId: String!, $content: EventContent!) {
      sendEphemeralEvent(roomId: $roomId, type: $type, txnId: $txnId, content: $content)
    }
  `]: {
    variables: { readonly roomId: string; readonly type: string; readonly txnId: string; readonly content: object }
    result: { readonly sendEphemeralEvent: boolean }
  }
  [`query Time { time }`]: {
    variables: {  }
    result: { readonly time: number }
  }
  [`mutation YeetRoom($roomId: ID!) { deleteRoom(roomId: $roomId) }`]: {
    variables: { readonly roomId: string }
    result: { readonly deleteRoom: boolean }
  }
  [`query Capabilities { capabilities }`]: {
    variables: {  }
    result: { readonly capabilities: object }
  }
  [`
    mutation UploadCrossSigningKeys(
      $masterKey: JsonObject
      $selfSigningKey: JsonObject
      $userSigningKey: JsonObject
      $auth: JsonObject
    ) {
      uploadCrossSigningKeys(masterKey: $masterKey, selfSigningKey: $selfSigningKey, userSigningKey: $userSigningKey, auth: $auth)
    }
  `]: {
    variables: { readonly masterKey?: object | null | undefined; readonly selfSigningKey?: object | null | undefined; readonly userSigningKey?: object | null | undefined; readonly auth?: object | null | undefined }
    result: { readonly uploadCrossSigningKeys: boolean }
  }
  [`mutation UploadSignatures($signatures: JsonObject!) { uploadSignatures(signatures: $signatures) }`]: {
    variables: { readonly signatures: object }
    result: { readonly uploadSignatures: object }
  }
  [`
    mutation PutDehydratedDevice(
      $deviceId: ID!, $deviceData: JsonObject!, $displayName: String, $deviceKeys: JsonObject!, $oneTimeKeys: JsonObject, $fallbackKeys: JsonObject
    ) {
      putDehydratedDevice(
        deviceId: $deviceId, deviceData: $deviceData, displayName: $displayName, deviceKeys: $deviceKeys
        oneTimeKeys: $oneTimeKeys, fallbackKeys: $fallbackKeys
      ) { deviceId }
    }
  `]: {
    variables: { readonly deviceId: string; readonly deviceData: object; readonly displayName?: string | null | undefined; readonly deviceKeys: object; readonly oneTimeKeys?: object | null | undefined; readonly fallbackKeys?: object | null | undefined }
    result: { readonly putDehydratedDevice: ({ readonly deviceId: string }) }
  }
  [`query DehydratedDevice { dehydratedDevice { deviceId deviceData } }`]: {
    variables: {  }
    result: { readonly dehydratedDevice: ({ readonly deviceId: string; readonly deviceData: object }) }
  }
  [`mutation DeleteDehydratedDevice { deleteDehydratedDevice }`]: {
    variables: {  }
    result: { readonly deleteDehydratedDevice: string }
  }
  [`
    query DehydratedDeviceEvents($deviceId: ID!, $from: String) {
      dehydratedMessages(deviceId: $deviceId, from: $from) { messages nextBatch hasMore }
    }
  `]: {
    variables: { readonly deviceId: string; readonly from?: string | null | undefined }
    result: { readonly dehydratedMessages: ({ readonly messages: readonly (object)[]; readonly nextBatch: string; readonly hasMore: boolean }) }
  }
  [`
    query DehydratedDeviceEventsOfOld($deviceId: ID!, $from: String) {
      dehydratedMessages(deviceId: $deviceId, from: $from) { messages nextBatch }
    }
  `]: {
    variables: { readonly deviceId: string; readonly from?: string | null | undefined }
    result: { readonly dehydratedMessages: ({ readonly messages: readonly (object)[]; readonly nextBatch: string }) }
  }
  [`
    query DeviceLists($from: String!, $to: String!) {
      deviceLists(from: $from, to: $to) { changed left }
    }
  `]: {
    variables: { readonly from: string; readonly to: string }
    result: { readonly deviceLists: ({ readonly changed: readonly (string)[]; readonly left: readonly (string)[] }) }
  }
  [`query Devices { devices { deviceId displayName lastSeenIp lastSeenTs } }`]: {
    variables: {  }
    result: { readonly devices: readonly (({ readonly deviceId: string; readonly displayName: string | null; readonly lastSeenIp: string | null; readonly lastSeenTs: number }))[] }
  }
  [`query Device($deviceId: ID!) { device(deviceId: $deviceId) { deviceId displayName lastSeenIp lastSeenTs } }`]: {
    variables: { readonly deviceId: string }
    result: { readonly device: ({ readonly deviceId: string; readonly displayName: string | null; readonly lastSeenIp: string | null; readonly lastSeenTs: number }) }
  }
  [`
    mutation UpdateDevice($deviceId: ID!, $displayName: String) {
      updateDevice(deviceId: $deviceId, displayName: $displayName) { created }
    }
  `]: {
    variables: { readonly deviceId: string; readonly displayName?: string | null | undefined }
    result: { readonly updateDevice: ({ readonly created: boolean }) }
  }
  [`
    mutation DeleteDevice($deviceIds: [ID!], $auth: JsonObject) { deleteDevices(deviceIds: $deviceIds, auth: $auth) }
  `]: {
    variables: { readonly deviceIds?: readonly (string)[] | null | undefined; readonly auth?: object | null | undefined }
    result: { readonly deleteDevices: boolean }
  }
  [`
    mutation DeleteDevices($deviceIds: [ID!], $auth: JsonObject) { deleteDevices(deviceIds: $deviceIds, auth: $auth) }
  `]: {
    variables: { readonly deviceIds?: readonly (string)[] | null | undefined; readonly auth?: object | null | undefined }
    result: { readonly deleteDevices: boolean }
  }
  [`mutation CreateAlias($alias: String!, $roomId: ID!) { createAlias(alias: $alias, roomId: $roomId) }`]: {
    variables: { readonly alias: string; readonly roomId: string }
    result: { readonly createAlias: boolean }
  }
  [`query RoomOfAlias($alias: String!) { roomOfAlias(alias: $alias) { roomId servers } }`]: {
    variables: { readonly alias: string }
    result: { readonly roomOfAlias: ({ readonly roomId: string; readonly servers: readonly (string)[] }) }
  }
  [`mutation DeleteAlias($alias: String!) { deleteAlias(alias: $alias) }`]: {
    variables: { readonly alias: string }
    result: { readonly deleteAlias: boolean }
  }
  [`query RoomAliases($roomId: ID!) { roomAliases(roomId: $roomId) }`]: {
    variables: { readonly roomId: string }
    result: { readonly roomAliases: readonly (string)[] }
  }
  [`query RoomListed($roomId: ID!) { roomListed(roomId: $roomId) }`]: {
    variables: { readonly roomId: string }
    result: { readonly roomListed: boolean }
  }
  [`mutation SetRoomListed($roomId: ID!, $listed: Boolean!) { setRoomListed(roomId: $roomId, listed: $listed) }`]: {
    variables: { readonly roomId: string; readonly listed: boolean }
    result: { readonly setRoomListed: boolean }
  }
  [`
  query PublicRooms($limit: Int, $since: String, $server: String, $searchTerm: String, $roomTypes: JSON) {
    publicRooms(limit: $limit, since: $since, server: $server, searchTerm: $searchTerm, roomTypes: $roomTypes) {
      rooms { roomId name topic canonicalAlias avatarUrl joinedMemberCount joinRule roomType worldReadable guestCanJoin }
      nextBatch
      prevBatch
      total
    }
  }
`]: {
    variables: { readonly limit?: number | null | undefined; readonly since?: string | null | undefined; readonly server?: string | null | undefined; readonly searchTerm?: string | null | undefined; readonly roomTypes?: unknown | null | undefined }
    result: { readonly publicRooms: ({ readonly rooms: readonly (({ readonly roomId: string; readonly name: string | null; readonly topic: string | null; readonly canonicalAlias: string | null; readonly avatarUrl: string | null; readonly joinedMemberCount: number; readonly joinRule: string; readonly roomType: string | null; readonly worldReadable: boolean; readonly guestCanJoin: boolean }))[]; readonly nextBatch: string | null; readonly prevBatch: string | null; readonly total: number }) }
  }
  [`query HomeserverUrl { homeserverUrl rtcTransports }`]: {
    variables: {  }
    result: { readonly homeserverUrl: string | null; readonly rtcTransports: readonly (object)[] }
  }
  [`mutation CreateFilter($userId: ID, $filter: JsonObject!) { createFilter(userId: $userId, filter: $filter) { filterId } }`]: {
    variables: { readonly userId?: string | null | undefined; readonly filter: object }
    result: { readonly createFilter: ({ readonly filterId: string }) }
  }
  [`query Filter($userId: ID, $filterId: ID!) { filter(userId: $userId, filterId: $filterId) }`]: {
    variables: { readonly userId?: string | null | undefined; readonly filterId: string }
    result: { readonly filter: object }
  }
  [`
    mutation PostRoomKeysVersion($algorithm: String!, $authData: JsonObject!) {
      createKeyBackup(algorithm: $algorithm, authData: $authData) { version }
    }
  `]: {
    variables: { readonly algorithm: string; readonly authData: object }
    result: { readonly createKeyBackup: ({ readonly version: string }) }
  }
  [`query RoomKeysVersionCurrent { keyBackup { version algorithm authData count etag } }`]: {
    variables: {  }
    result: { readonly keyBackup: ({ readonly version: string; readonly algorithm: string; readonly authData: object; readonly count: number; readonly etag: string }) }
  }
  [`query RoomKeysVersion($version: ID!) { keyBackup(version: $version) { version algorithm authData count etag } }`]: {
    variables: { readonly version: string }
    result: { readonly keyBackup: ({ readonly version: string; readonly algorithm: string; readonly authData: object; readonly count: number; readonly etag: string }) }
  }
  [`
    mutation PutRoomKeysVersion($version: ID!, $algorithm: String!, $authData: JsonObject!) {
      updateKeyBackup(version: $version, algorithm: $algorithm, authData: $authData) { version }
    }
  `]: {
    variables: { readonly version: string; readonly algorithm: string; readonly authData: object }
    result: { readonly updateKeyBackup: ({ readonly version: string }) }
  }
  [`mutation DeleteRoomKeysVersion($version: ID!) { deleteKeyBackup(version: $version) }`]: {
    variables: { readonly version: string }
    result: { readonly deleteKeyBackup: boolean }
  }
  [`
    mutation PutRoomKeys($version: ID!, $keys: [RoomKeyInput!]!) { putRoomKeys(version: $version, keys: $keys) { etag count } }
  `]: {
    variables: { readonly version: string; readonly keys: readonly (RoomKeyInput)[] }
    result: { readonly putRoomKeys: ({ readonly etag: string; readonly count: number }) }
  }
  [`
    mutation PutRoomKeysByRoomId($version: ID!, $keys: [RoomKeyInput!]!) { putRoomKeys(version: $version, keys: $keys) { etag count } }
  `]: {
    variables: { readonly version: string; readonly keys: readonly (RoomKeyInput)[] }
    result: { readonly putRoomKeys: ({ readonly etag: string; readonly count: number }) }
  }
  [`
    mutation PutRoomKeyBySessionId($version: ID!, $keys: [RoomKeyInput!]!) { putRoomKeys(version: $version, keys: $keys) { etag count } }
  `]: {
    variables: { readonly version: string; readonly keys: readonly (RoomKeyInput)[] }
    result: { readonly putRoomKeys: ({ readonly etag: string; readonly count: number }) }
  }
  [`query RoomKeys($version: ID!) { roomKeys(version: $version) }`]: {
    variables: { readonly version: string }
    result: { readonly roomKeys: JsonText }
  }
  [`query RoomKeysByRoomId($version: ID!, $roomId: ID!) { roomKeys(version: $version, roomId: $roomId) }`]: {
    variables: { readonly version: string; readonly roomId: string }
    result: { readonly roomKeys: JsonText }
  }
  [`
    query RoomKeyBySessionId($version: ID!, $roomId: ID!, $sessionId: ID!) {
      roomKey(version: $version, roomId: $roomId, sessionId: $sessionId) { firstMessageIndex forwardedCount isVerified sessionData }
    }
  `]: {
    variables: { readonly version: string; readonly roomId: string; readonly sessionId: string }
    result: { readonly roomKey: ({ readonly firstMessageIndex: number; readonly forwardedCount: number; readonly isVerified: boolean; readonly sessionData: object }) }
  }
  [`mutation DeleteRoomKeys($version: ID!) { deleteRoomKeys(version: $version) { etag count } }`]: {
    variables: { readonly version: string }
    result: { readonly deleteRoomKeys: ({ readonly etag: string; readonly count: number }) }
  }
  [`
    mutation DeleteRoomKeysByRoomId($version: ID!, $roomId: ID!) { deleteRoomKeys(version: $version, roomId: $roomId) { etag count } }
  `]: {
    variables: { readonly version: string; readonly roomId: string }
    result: { readonly deleteRoomKeys: ({ readonly etag: string; readonly count: number }) }
  }
  [`
    mutation DeleteRoomKeyBySessionId($version: ID!, $roomId: ID!, $sessionId: ID!) {
      deleteRoomKeys(version: $version, roomId: $roomId, sessionId: $sessionId) { etag count }
    }
  `]: {
    variables: { readonly version: string; readonly roomId: string; readonly sessionId: string }
    result: { readonly deleteRoomKeys: ({ readonly etag: string; readonly count: number }) }
  }
  [`
    mutation UploadKeys($deviceKeys: EventContent, $oneTimeKeys: EventContent, $fallbackKeys: EventContent) {
      uploadKeys(deviceKeys: $deviceKeys, oneTimeKeys: $oneTimeKeys, fallbackKeys: $fallbackKeys) { oneTimeKeys }
    }
  `]: {
    variables: { readonly deviceKeys?: object | null | undefined; readonly oneTimeKeys?: object | null | undefined; readonly fallbackKeys?: object | null | undefined }
    result: { readonly uploadKeys: ({ readonly oneTimeKeys: object }) }
  }
  [`query QueryKeys($deviceKeys: JsonObject!) { queryKeys(deviceKeys: $deviceKeys) }`]: {
    variables: { readonly deviceKeys: object }
    result: { readonly queryKeys: JsonText }
  }
  [`mutation ClaimKeys($oneTimeKeys: JsonObject!) { claimKeys(oneTimeKeys: $oneTimeKeys) }`]: {
    variables: { readonly oneTimeKeys: object }
    result: { readonly claimKeys: JsonText }
  }
  [`query LoginFlows { loginFlows { type getLoginToken } }`]: {
    variables: {  }
    result: { readonly loginFlows: readonly (({ readonly type: string; readonly getLoginToken: boolean }))[] }
  }
  [`
    mutation Login($input: LoginInput!) {
      login(input: $input) { userId deviceId accessToken refreshToken expiresInMs homeserverUrl }
    }
  `]: {
    variables: { readonly input: LoginInput }
    result: { readonly login: ({ readonly userId: string; readonly deviceId: string; readonly accessToken: string; readonly refreshToken: string | null; readonly expiresInMs: number | null; readonly homeserverUrl: string | null }) }
  }
  [`
    mutation GenerateLoginToken($auth: JsonObject) { generateLoginToken(auth: $auth) { loginToken expiresInMs } }
  `]: {
    variables: { readonly auth?: object | null | undefined }
    result: { readonly generateLoginToken: ({ readonly loginToken: string; readonly expiresInMs: number }) }
  }
  [`
    mutation RefreshSession($refreshToken: String!) {
      refreshSession(refreshToken: $refreshToken) { accessToken refreshToken expiresInMs }
    }
  `]: {
    variables: { readonly refreshToken: string }
    result: { readonly refreshSession: ({ readonly accessToken: string; readonly refreshToken: string | null; readonly expiresInMs: number | null }) }
  }
  [`mutation Logout { logout }`]: {
    variables: {  }
    result: { readonly logout: boolean }
  }
  [`mutation LogoutAll { logoutAll }`]: {
    variables: {  }
    result: { readonly logoutAll: boolean }
  }
  [`
    mutation CreateMedia($uniqueId: String) { createMedia(uniqueId: $uniqueId) { contentUri unusedExpiresAt uploadedAt uploadToken } }
  `]: {
    variables: { readonly uniqueId?: string | null | undefined }
    result: { readonly createMedia: ({ readonly contentUri: string; readonly unusedExpiresAt: number | null; readonly uploadedAt: number | null; readonly uploadToken: string | null }) }
  }
  [`mutation CompleteMedia($mxc: String!, $fileName: String) { completeMedia(mxc: $mxc, fileName: $fileName) }`]: {
    variables: { readonly mxc: string; readonly fileName?: string | null | undefined }
    result: { readonly completeMedia: string }
  }
  [`query MaxUploadBytes { maxUploadBytes }`]: {
    variables: {  }
    result: { readonly maxUploadBytes: number }
  }
  [`
    query MutualRooms($userId: ID!, $after: String) {
      mutualRooms(userId: $userId, after: $after) { count edges { node { roomId } } pageInfo { hasNextPage endCursor } }
    }
  `]: {
    variables: { readonly userId: string; readonly after?: string | null | undefined }
    result: { readonly mutualRooms: ({ readonly count: number; readonly edges: readonly (({ readonly node: ({ readonly roomId: string }) }))[]; readonly pageInfo: ({ readonly hasNextPage: boolean; readonly endCursor: string | null }) }) }
  }
  [`query Profile($userId: ID!) { profile(userId: $userId) }`]: {
    variables: { readonly userId: string }
    result: { readonly profile: object }
  }
  [`query ProfileField($userId: ID!, $key: String!) { profileField(userId: $userId, key: $key) }`]: {
    variables: { readonly userId: string; readonly key: string }
    result: { readonly profileField: unknown | null }
  }
  [`
    mutation SetProfileField($userId: ID, $key: String!, $value: JSON) { setProfileField(userId: $userId, key: $key, value: $value) }
  `]: {
    variables: { readonly userId?: string | null | undefined; readonly key: string; readonly value?: unknown | null | undefined }
    result: { readonly setProfileField: boolean }
  }
  [`mutation DeleteProfileField($userId: ID, $key: String!) { setProfileField(userId: $userId, key: $key) }`]: {
    variables: { readonly userId?: string | null | undefined; readonly key: string }
    result: { readonly setProfileField: boolean }
  }
  [`mutation UpdateProfile($userId: ID, $fields: JsonObject!) { updateProfile(userId: $userId, fields: $fields) }`]: {
    variables: { readonly userId?: string | null | undefined; readonly fields: object }
    result: { readonly updateProfile: boolean }
  }
  [`mutation ReplaceProfile($userId: ID, $fields: JsonObject!) { replaceProfile(userId: $userId, fields: $fields) }`]: {
    variables: { readonly userId?: string | null | undefined; readonly fields: object }
    result: { readonly replaceProfile: boolean }
  }
  [`
  query PushRules {
    pushRules {
      override { ruleId default enabled actions conditions pattern }
      content { ruleId default enabled actions conditions pattern }
      room { ruleId default enabled actions conditions pattern }
      sender { ruleId default enabled actions conditions pattern }
      underride { ruleId default enabled actions conditions pattern }
    }
  }
`]: {
    variables: {  }
    result: { readonly pushRules: ({ readonly override: readonly (({ readonly ruleId: string; readonly default: boolean; readonly enabled: boolean; readonly actions: readonly (unknown)[]; readonly conditions: readonly (object)[] | null; readonly pattern: string | null }))[]; readonly content: readonly (({ readonly ruleId: string; readonly default: boolean; readonly enabled: boolean; readonly actions: readonly (unknown)[]; readonly conditions: readonly (object)[] | null; readonly pattern: string | null }))[]; readonly room: readonly (({ readonly ruleId: string; readonly default: boolean; readonly enabled: boolean; readonly actions: readonly (unknown)[]; readonly conditions: readonly (object)[] | null; readonly pattern: string | null }))[]; readonly sender: readonly (({ readonly ruleId: string; readonly default: boolean; readonly enabled: boolean; readonly actions: readonly (unknown)[]; readonly conditions: readonly (object)[] | null; readonly pattern: string | null }))[]; readonly underride: readonly (({ readonly ruleId: string; readonly default: boolean; readonly enabled: boolean; readonly actions: readonly (unknown)[]; readonly conditions: readonly (object)[] | null; readonly pattern: string | null }))[] }) }
  }
  [`
  query PushRule($kind: PushRuleKind!, $ruleId: ID!) {
    pushRule(kind: $kind, ruleId: $ruleId) { ruleId default enabled actions conditions pattern }
  }
`]: {
    variables: { readonly kind: PushRuleKind; readonly ruleId: string }
    result: { readonly pushRule: ({ readonly ruleId: string; readonly default: boolean; readonly enabled: boolean; readonly actions: readonly (unknown)[]; readonly conditions: readonly (object)[] | null; readonly pattern: string | null }) }
  }
  [`
    mutation SetPushRule($kind: PushRuleKind!, $ruleId: ID!, $rule: JsonObject!, $before: ID, $after: ID) {
      setPushRule(kind: $kind, ruleId: $ruleId, rule: $rule, before: $before, after: $after)
    }
  `]: {
    variables: { readonly kind: PushRuleKind; readonly ruleId: string; readonly rule: object; readonly before?: string | null | undefined; readonly after?: string | null | undefined }
    result: { readonly setPushRule: boolean }
  }
  [`mutation DeletePushRule($kind: PushRuleKind!, $ruleId: ID!) { deletePushRule(kind: $kind, ruleId: $ruleId) }`]: {
    variables: { readonly kind: PushRuleKind; readonly ruleId: string }
    result: { readonly deletePushRule: boolean }
  }
  [`
    mutation SetPushRuleEnabled($kind: PushRuleKind!, $ruleId: ID!, $enabled: Boolean!) {
      setPushRuleEnabled(kind: $kind, ruleId: $ruleId, enabled: $enabled)
    }
  `]: {
    variables: { readonly kind: PushRuleKind; readonly ruleId: string; readonly enabled: boolean }
    result: { readonly setPushRuleEnabled: boolean }
  }
  [`
    mutation SetPushRuleActions($kind: PushRuleKind!, $ruleId: ID!, $actions: [JSON!]!) {
      setPushRuleActions(kind: $kind, ruleId: $ruleId, actions: $actions)
    }
  `]: {
    variables: { readonly kind: PushRuleKind; readonly ruleId: string; readonly actions: readonly (unknown)[] }
    result: { readonly setPushRuleActions: boolean }
  }
  [`
    mutation SendReceipt($roomId: ID!, $type: String!, $eventId: ID!, $threadId: ID, $extra: JsonObject!, $allowBackward: Boolean) {
      sendReceipt(roomId: $roomId, type: $type, eventId: $eventId, threadId: $threadId, extra: $extra, allowBackward: $allowBackward)
    }
  `]: {
    variables: { readonly roomId: string; readonly type: string; readonly eventId: string; readonly threadId?: string | null | undefined; readonly extra: object; readonly allowBackward?: boolean | null | undefined }
    result: { readonly sendReceipt: boolean }
  }
  [`
    mutation SetReadMarkers($roomId: ID!, $fullyRead: ReceiptInput, $read: ReceiptInput, $readPrivate: ReceiptInput, $allowBackward: Boolean) {
      setReadMarkers(roomId: $roomId, fullyRead: $fullyRead, read: $read, readPrivate: $readPrivate, allowBackward: $allowBackward)
    }
  `]: {
    variables: { readonly roomId: string; readonly fullyRead?: ReceiptInput | null | undefined; readonly read?: ReceiptInput | null | undefined; readonly readPrivate?: ReceiptInput | null | undefined; readonly allowBackward?: boolean | null | undefined }
    result: { readonly setReadMarkers: boolean }
  }
  [`
    mutation RedactUser($roomId: ID!, $userId: ID!, $reason: String, $limit: Int) {
      redactUser(roomId: $roomId, userId: $userId, reason: $reason, limit: $limit) { total more }
    }
  `]: {
    variables: { readonly roomId: string; readonly userId: string; readonly reason?: string | null | undefined; readonly limit?: number | null | undefined }
    result: { readonly redactUser: ({ readonly total: number; readonly more: boolean }) }
  }
  [`
  query EventRelations(
    $roomId: ID!, $eventId: ID!, $relType: String, $eventType: String, $dir: Direction, $from: String, $to: String, $limit: Int, $recurse: Boolean
  ) {
    eventRelations(
      roomId: $roomId, eventId: $eventId, relType: $relType, eventType: $eventType, dir: $dir, from: $from, to: $to, limit: $limit, recurse: $recurse
    )
  }
`]: {
    variables: { readonly roomId: string; readonly eventId: string; readonly relType?: string | null | undefined; readonly eventType?: string | null | undefined; readonly dir?: Direction | null | undefined; readonly from?: string | null | undefined; readonly to?: string | null | undefined; readonly limit?: number | null | undefined; readonly recurse?: boolean | null | undefined }
    result: { readonly eventRelations: JsonText }
  }
  [`
    query RoomThreads($roomId: ID!, $participated: Boolean, $from: String, $limit: Int) {
      roomThreads(roomId: $roomId, participated: $participated, from: $from, limit: $limit)
    }
  `]: {
    variables: { readonly roomId: string; readonly participated?: boolean | null | undefined; readonly from?: string | null | undefined; readonly limit?: number | null | undefined }
    result: { readonly roomThreads: JsonText }
  }
  [`
    mutation SendMessage($roomId: ID!, $type: String!, $txnId: String!, $content: EventContent!, $eventId: ID) {
      sendMessage(roomId: $roomId, type: $type, txnId: $txnId, content: $content, eventId: $eventId) { eventId }
    }
  `]: {
    variables: { readonly roomId: string; readonly type: string; readonly txnId: string; readonly content: object; readonly eventId?: string | null | undefined }
    result: { readonly sendMessage: ({ readonly eventId: string }) }
  }
  [`
    mutation SendState($roomId: ID!, $type: String!, $stateKey: String!, $content: EventContent!, $txnId: String, $eventId: ID) {
      sendState(roomId: $roomId, type: $type, stateKey: $stateKey, content: $content, txnId: $txnId, eventId: $eventId) { eventId }
    }
  `]: {
    variables: { readonly roomId: string; readonly type: string; readonly stateKey: string; readonly content: object; readonly txnId?: string | null | undefined; readonly eventId?: string | null | undefined }
    result: { readonly sendState: ({ readonly eventId: string }) }
  }
  [`
    mutation Redact($roomId: ID!, $eventId: ID!, $txnId: String!, $content: EventContent!) {
      redact(roomId: $roomId, eventId: $eventId, txnId: $txnId, content: $content) { eventId }
    }
  `]: {
    variables: { readonly roomId: string; readonly eventId: string; readonly txnId: string; readonly content: object }
    result: { readonly redact: ({ readonly eventId: string }) }
  }
  [`
    query OneEvent($roomId: ID!, $eventId: ID!, $includeUnredacted: Boolean) {
      event(roomId: $roomId, eventId: $eventId, includeUnredacted: $includeUnredacted) { raw }
    }
  `]: {
    variables: { readonly roomId: string; readonly eventId: string; readonly includeUnredacted?: boolean | null | undefined }
    result: { readonly event: ({ readonly raw: JsonText }) }
  }
  [`
    query StateEvent($roomId: ID!, $type: String!, $stateKey: String!, $whole: Boolean!) {
      roomStateEvent(roomId: $roomId, type: $type, stateKey: $stateKey, whole: $whole)
    }
  `]: {
    variables: { readonly roomId: string; readonly type: string; readonly stateKey: string; readonly whole: boolean }
    result: { readonly roomStateEvent: object }
  }
  [`query RoomState($roomId: ID!) { roomState(roomId: $roomId) }`]: {
    variables: { readonly roomId: string }
    result: { readonly roomState: JsonText }
  }
  [`
    query RoomMembers($roomId: ID!, $at: String, $membership: Membership, $notMembership: Membership) {
      roomMembers(roomId: $roomId, at: $at, membership: $membership, notMembership: $notMembership)
    }
  `]: {
    variables: { readonly roomId: string; readonly at?: string | null | undefined; readonly membership?: Membership | null | undefined; readonly notMembership?: Membership | null | undefined }
    result: { readonly roomMembers: JsonText }
  }
  [`query JoinedMembers($roomId: ID!) { joinedMembers(roomId: $roomId) }`]: {
    variables: { readonly roomId: string }
    result: { readonly joinedMembers: JsonText }
  }
  [`
    query Messages($roomId: ID!, $dir: Direction!, $from: String, $to: String, $limit: Int, $filter: String) {
      roomMessages(roomId: $roomId, dir: $dir, from: $from, to: $to, limit: $limit, filter: $filter)
    }
  `]: {
    variables: { readonly roomId: string; readonly dir: Direction; readonly from?: string | null | undefined; readonly to?: string | null | undefined; readonly limit?: number | null | undefined; readonly filter?: string | null | undefined }
    result: { readonly roomMessages: JsonText }
  }
  [`
    query EventContext($roomId: ID!, $eventId: ID!, $limit: Int, $filter: String) {
      roomContext(roomId: $roomId, eventId: $eventId, limit: $limit, filter: $filter)
    }
  `]: {
    variables: { readonly roomId: string; readonly eventId: string; readonly limit?: number | null | undefined; readonly filter?: string | null | undefined }
    result: { readonly roomContext: JsonText }
  }
  [`
  mutation JoinRoom($room: String!, $reason: String, $extra: EventContent) {
    joinRoom(roomIdOrAlias: $room, reason: $reason, extra: $extra) { roomId }
  }
`]: {
    variables: { readonly room: string; readonly reason?: string | null | undefined; readonly extra?: object | null | undefined }
    result: { readonly joinRoom: ({ readonly roomId: string }) }
  }
  [`mutation KnockRoom($room: String!, $reason: String) { knockRoom(roomIdOrAlias: $room, reason: $reason) }`]: {
    variables: { readonly room: string; readonly reason?: string | null | undefined }
    result: { readonly knockRoom: string }
  }
  [`
    mutation InviteUser($roomId: ID!, $userId: ID!, $reason: String) { inviteUser(roomId: $roomId, userId: $userId, reason: $reason) }
  `]: {
    variables: { readonly roomId: string; readonly userId: string; readonly reason?: string | null | undefined }
    result: { readonly inviteUser: boolean }
  }
  [`
    mutation KickUser($roomId: ID!, $userId: ID!, $reason: String) { kickUser(roomId: $roomId, userId: $userId, reason: $reason) }
  `]: {
    variables: { readonly roomId: string; readonly userId: string; readonly reason?: string | null | undefined }
    result: { readonly kickUser: boolean }
  }
  [`
    mutation BanUser($roomId: ID!, $userId: ID!, $reason: String) { banUser(roomId: $roomId, userId: $userId, reason: $reason) }
  `]: {
    variables: { readonly roomId: string; readonly userId: string; readonly reason?: string | null | undefined }
    result: { readonly banUser: boolean }
  }
  [`
    mutation UnbanUser($roomId: ID!, $userId: ID!, $reason: String) { unbanUser(roomId: $roomId, userId: $userId, reason: $reason) }
  `]: {
    variables: { readonly roomId: string; readonly userId: string; readonly reason?: string | null | undefined }
    result: { readonly unbanUser: boolean }
  }
  [`mutation LeaveRoom($roomId: ID!, $reason: String) { leaveRoom(roomId: $roomId, reason: $reason) }`]: {
    variables: { readonly roomId: string; readonly reason?: string | null | undefined }
    result: { readonly leaveRoom: boolean }
  }
  [`mutation ForgetRoom($roomId: ID!) { forgetRoom(roomId: $roomId) }`]: {
    variables: { readonly roomId: string }
    result: { readonly forgetRoom: boolean }
  }
  [`mutation CreateRoom($input: CreateRoomInput!) { createRoom(input: $input) { roomId } }`]: {
    variables: { readonly input: CreateRoomInput }
    result: { readonly createRoom: ({ readonly roomId: string }) }
  }
  [`query JoinedRooms { joinedRooms }`]: {
    variables: {  }
    result: { readonly joinedRooms: readonly (string)[] }
  }
  [`query RtcTransports { rtcTransports }`]: {
    variables: {  }
    result: { readonly rtcTransports: readonly (object)[] }
  }
  [`
    mutation SendToDevice($eventType: String!, $txnId: String!, $messages: JsonObject!) {
      sendToDevice(eventType: $eventType, txnId: $txnId, messages: $messages)
    }
  `]: {
    variables: { readonly eventType: string; readonly txnId: string; readonly messages: object }
    result: { readonly sendToDevice: boolean }
  }
  [`query Versions { versions { versions unstableFeatures } }`]: {
    variables: {  }
    result: { readonly versions: ({ readonly versions: readonly (string)[]; readonly unstableFeatures: object }) }
  }
  [`
    query Sync($since: String, $timeoutMs: Int, $filter: String, $fullState: Boolean, $setPresence: String, $stateAfter: StateAfter, $previews: Boolean) {
      sync(since: $since, timeoutMs: $timeoutMs, filter: $filter, fullState: $fullState, setPresence: $setPresence, stateAfter: $stateAfter, previews: $previews)
    }
  `]: {
    variables: { readonly since?: string | null | undefined; readonly timeoutMs?: number | null | undefined; readonly filter?: string | null | undefined; readonly fullState?: boolean | null | undefined; readonly setPresence?: string | null | undefined; readonly stateAfter?: StateAfter | null | undefined; readonly previews?: boolean | null | undefined }
    result: { readonly sync: JsonText }
  }
  [`query ThirdPartyProtocols { thirdPartyProtocols { protocol metadata } }`]: {
    variables: {  }
    result: { readonly thirdPartyProtocols: readonly (({ readonly protocol: string; readonly metadata: object }))[] }
  }
  [`query ThirdPartyProtocol($protocol: String!) { thirdPartyProtocol(protocol: $protocol) { metadata } }`]: {
    variables: { readonly protocol: string }
    result: { readonly thirdPartyProtocol: ({ readonly metadata: object }) }
  }
  [`
    query ThirdPartyUsers($protocol: String!, $fields: JsonObject) {
      thirdPartyUsers(protocol: $protocol, fields: $fields) { userId protocol fields }
    }
  `]: {
    variables: { readonly protocol: string; readonly fields?: object | null | undefined }
    result: { readonly thirdPartyUsers: readonly (({ readonly userId: string; readonly protocol: string; readonly fields: object }))[] }
  }
  [`
    query ThirdPartyUsersById($userId: ID!) { thirdPartyUsersById(userId: $userId) { userId protocol fields } }
  `]: {
    variables: { readonly userId: string }
    result: { readonly thirdPartyUsersById: readonly (({ readonly userId: string; readonly protocol: string; readonly fields: object }))[] }
  }
  [`
    query ThirdPartyLocations($protocol: String!, $fields: JsonObject) {
      thirdPartyLocations(protocol: $protocol, fields: $fields) { alias protocol fields }
    }
  `]: {
    variables: { readonly protocol: string; readonly fields?: object | null | undefined }
    result: { readonly thirdPartyLocations: readonly (({ readonly alias: string; readonly protocol: string; readonly fields: object }))[] }
  }
  [`
    query ThirdPartyLocationsByAlias($alias: String!) { thirdPartyLocationsByAlias(alias: $alias) { alias protocol fields } }
  `]: {
    variables: { readonly alias: string }
    result: { readonly thirdPartyLocationsByAlias: readonly (({ readonly alias: string; readonly protocol: string; readonly fields: object }))[] }
  }
  [`
    mutation SetTyping($roomId: ID!, $userId: ID!, $typing: Boolean!, $timeoutMs: Int) {
      setTyping(roomId: $roomId, userId: $userId, typing: $typing, timeoutMs: $timeoutMs)
    }
  `]: {
    variables: { readonly roomId: string; readonly userId: string; readonly typing: boolean; readonly timeoutMs?: number | null | undefined }
    result: { readonly setTyping: boolean }
  }
  [`
    query SearchUsers($term: String!, $limit: Int) {
      searchUsers(term: $term, limit: $limit) { users { userId displayName avatarUrl } limited }
    }
  `]: {
    variables: { readonly term: string; readonly limit?: number | null | undefined }
    result: { readonly searchUsers: ({ readonly users: readonly (({ readonly userId: string; readonly displayName: string | null; readonly avatarUrl: string | null }))[]; readonly limited: boolean }) }
  }
}
