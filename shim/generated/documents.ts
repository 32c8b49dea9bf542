// Written by `npm run codegen` from the documents beside it. Do not edit.
import type { JsonText } from '../../src/graphql/execute.ts'

export interface LoginInput {
  readonly deviceId?: string | null | undefined
  readonly initialDeviceDisplayName?: string | null | undefined
  readonly password?: string | null | undefined
  readonly refreshToken?: boolean | null | undefined
  readonly token?: string | null | undefined
  readonly type: string
  readonly user?: string | null | undefined
}

export type PushRuleKind = 'CONTENT' | 'OVERRIDE' | 'ROOM' | 'SENDER' | 'UNDERRIDE'

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
    mutation RegisterBeeperBridge($id: String!, $url: String, $registration: JsonObject) {
      registerBridge(id: $id, url: $url, registration: $registration) { registration }
    }
  `]: {
    variables: { readonly id: string; readonly url?: string | null | undefined; readonly registration?: object | null | undefined }
    result: { readonly registerBridge: ({ readonly registration: object }) }
  }
  [`query GetBeeperBridge($id: String!) { bridge(id: $id) { registration } }`]: {
    variables: { readonly id: string }
    result: { readonly bridge: ({ readonly registration: object }) }
  }
  [`mutation DeleteBeeperBridge($id: String!) { deleteBridge(id: $id) }`]: {
    variables: { readonly id: string }
    result: { readonly deleteBridge: boolean }
  }
  [`query Capabilities { capabilities }`]: {
    variables: {  }
    result: { readonly capabilities: object }
  }
  [`query Devices { devices { deviceId displayName lastSeenIp lastSeenTs } }`]: {
    variables: {  }
    result: { readonly devices: readonly (({ readonly deviceId: string; readonly displayName: string | null; readonly lastSeenIp: string | null; readonly lastSeenTs: number }))[] }
  }
  [`query Device($deviceId: ID!) { device(deviceId: $deviceId) { deviceId displayName lastSeenIp lastSeenTs } }`]: {
    variables: { readonly deviceId: string }
    result: { readonly device: ({ readonly deviceId: string; readonly displayName: string | null; readonly lastSeenIp: string | null; readonly lastSeenTs: number }) }
  }
  [`query HomeserverUrl { homeserverUrl }`]: {
    variables: {  }
    result: { readonly homeserverUrl: string | null }
  }
  [`mutation CreateFilter($userId: ID, $filter: JsonObject!) { createFilter(userId: $userId, filter: $filter) { filterId } }`]: {
    variables: { readonly userId?: string | null | undefined; readonly filter: object }
    result: { readonly createFilter: ({ readonly filterId: string }) }
  }
  [`query Filter($userId: ID, $filterId: ID!) { filter(userId: $userId, filterId: $filterId) }`]: {
    variables: { readonly userId?: string | null | undefined; readonly filterId: string }
    result: { readonly filter: object }
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
  [`mutation CreateMedia { createMedia { contentUri unusedExpiresAt } }`]: {
    variables: {  }
    result: { readonly createMedia: ({ readonly contentUri: string; readonly unusedExpiresAt: number }) }
  }
  [`query MaxUploadBytes { maxUploadBytes }`]: {
    variables: {  }
    result: { readonly maxUploadBytes: number }
  }
  [`query Profile($userId: ID!) { profile(userId: $userId) }`]: {
    variables: { readonly userId: string }
    result: { readonly profile: object }
  }
  [`query ProfileField($userId: ID!, $key: String!) { profileField(userId: $userId, key: $key) }`]: {
    variables: { readonly userId: string; readonly key: string }
    result: { readonly profileField: unknown }
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
  [`query Versions { versions { versions unstableFeatures } }`]: {
    variables: {  }
    result: { readonly versions: ({ readonly versions: readonly (string)[]; readonly unstableFeatures: object }) }
  }
  [`
    query Sync($since: String, $timeoutMs: Int, $filter: String, $fullState: Boolean, $setPresence: String, $stateAfter: StateAfter) {
      sync(since: $since, timeoutMs: $timeoutMs, filter: $filter, fullState: $fullState, setPresence: $setPresence, stateAfter: $stateAfter)
    }
  `]: {
    variables: { readonly since?: string | null | undefined; readonly timeoutMs?: number | null | undefined; readonly filter?: string | null | undefined; readonly fullState?: boolean | null | undefined; readonly setPresence?: string | null | undefined; readonly stateAfter?: StateAfter | null | undefined }
    result: { readonly sync: JsonText }
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
