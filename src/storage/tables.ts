// Written by `npm run codegen` from prisma/models. Do not edit.

export type ColumnType = 'int' | 'bigint' | 'text'
export interface Table {
  readonly name: string
  readonly columns: Readonly<Record<string, ColumnType>>
  readonly key: readonly string[]
  readonly unique: readonly (readonly string[])[]
}

export interface AppserviceRow {
  instance: number
  key: number
  id: string
  asToken: string
  hsToken: string
  url: string | null
  bot: number
  registration: string
  setBy: string
  status: string
  cursor: number
  createdAt: number
  position: number
  provisioningSecret: string | null
  bridgeType: string | null
}

export interface InterestRow {
  instance: number
  appservice: number
  position: number
  room: number
  order: number | null
  since: number | null
}

export interface FrozenRow {
  instance: number
  appservice: number
  txnId: string
  end: number
  events: string
  parts: string
  createdAt: number
}

export interface BridgeStateRow {
  instance: number
  appservice: number
  remoteId: string
  state: string
  ts: number
  position: number
}

export interface BridgeReachRow {
  instance: number
  appservice: number
  reachable: number
  since: number
  error: string | null
  position: number
}

export interface LoginTokenRow {
  instance: number
  token: string
}

export interface CheckpointRow {
  instance: number
  eventId: string
  step: string
  appservice: number
  status: string
  checkpoint: string
  position: number
  others: string | null
}

export interface BridgeCheckpointRow {
  instance: number
  appservice: number
  eventId: string
  step: string
  status: string
  checkpoint: string
  position: number
}

export interface JobRow {
  instance: number
  key: number
  kind: string
  arguments: string
  cursor: string
  done: number
  total: number
  error: string | null
  createdAt: number
  endedAt: number | null
  position: number
}

export interface MediaRow {
  instance: number
  mediaId: string
  user: number
  contentType: string | null
  fileName: string | null
  sizeBytes: number | null
  createdAt: number
  uploadedAt: number | null
  expiresAt: number | null
  uniqueId: string | null
  uploadHash: string | null
}

export interface DeviceKeysRow {
  instance: number
  user: number
  deviceId: string
  json: string
  position: number
}

export interface OneTimeKeyRow {
  instance: number
  user: number
  deviceId: string
  keyId: string
  algorithm: string
  order: number
  json: string
  claimedAt: number | null
}

export interface FallbackKeyRow {
  instance: number
  user: number
  deviceId: string
  algorithm: string
  keyId: string
  json: string
  used: number
}

export interface KeyCountRow {
  instance: number
  user: number
  deviceId: string
  counts: string
  unusedFallback: string
  appservice: number | null
  position: number
}

export interface CrossSigningKeyRow {
  instance: number
  user: number
  usage: string
  publicKey: string
  json: string
  position: number
}

export interface SignatureRow {
  instance: number
  user: number
  target: string
  signer: number
  keyId: string
  signature: string
  position: number
}

export interface DeviceListChangeRow {
  instance: number
  user: number
  position: number
}

export interface ToDeviceRow {
  instance: number
  user: number
  deviceId: string
  position: number
  type: string
  sender: string
  content: string
  createdAt: number
  appservice: number | null
}

export interface DehydratedDeviceRow {
  instance: number
  user: number
  deviceId: string
  deviceData: string
  createdAt: number
}

export interface BackupVersionRow {
  instance: number
  user: number
  version: number
  algorithm: string
  authData: string
  backup: number
  sessions: number
  etag: number
  deleted: number
  createdAt: number
}

export interface BackupRoomRow {
  instance: number
  user: number
  backup: number
  roomId: string
  key: number
  sessions: number
}

export interface BackupSessionRow {
  instance: number
  user: number
  backupRoom: number
  sessionId: string
  firstMessageIndex: number
  forwardedCount: number
  isVerified: number
  sessionData: string
}

export interface InstanceRow {
  key: number
  name: string | null
  owner: string
  userDomain: string
  bridgeDomain: string
  status: string
  createdAt: number
}

export interface OwnershipRow {
  instance: number
  owner: string
  epoch: number
  leaseUntil: number
  ceiling: number
  clean: number
}

export interface SecretRow {
  hash: string
  kind: string
  instance: number
  user: number
  device: string | null
  appservice: number | null
  expiresAt: number | null
}

export interface OwnerIdRow {
  userId: string
  instance: number
}

export interface MediaIdRow {
  mediaId: string
  instance: number
}

export interface RoomRow {
  instance: number
  key: number
  roomId: string
  version: string
  creator: number
  appservice: number | null
  lowest: number
  listed: number
  createdAt: number
}

export interface AliasRow {
  instance: number
  alias: string
  room: number
  creator: number
}

export interface EventRow {
  instance: number
  room: number
  order: number
  eventId: string
  type: string
  stateKey: string | null
  sender: number
  ts: number
  replaces: number | null
  redactedBy: number | null
  changedKeys: string | null
  device: string | null
  txnId: string | null
  json: string
}

export interface UnredactedRow {
  instance: number
  room: number
  order: number
  redactedAt: number
  json: string
}

export interface StateRow {
  instance: number
  room: number
  type: string
  stateKey: string
  order: number
}

export interface MembershipRow {
  instance: number
  room: number
  user: number
  membership: string
  order: number
  since: number
  sender: number
  displayName: string | null
  avatarUrl: string | null
  forgotten: number
}

export interface RelationRow {
  instance: number
  room: number
  parent: string
  order: number
  relType: string
  type: string
  sender: number
  key: string | null
}

export interface ReceiptRow {
  instance: number
  room: number
  user: number
  type: string
  thread: string
  eventId: string
  order: number
  ts: number
  extra: string
  position: number
}

export interface NotificationRow {
  instance: number
  user: number
  room: number
  order: number
  thread: string
  highlight: number
}

export interface DepartureRow {
  instance: number
  user: number
  room: number
  roomId: string
  position: number
  ts: number | null
}

export interface UserRow {
  instance: number
  key: number
  userId: string
  kind: string
  appservice: number | null
  passwordHash: string | null
  displayName: string | null
  avatarUrl: string | null
  profile: string
  admin: number
  syncs: number
  status: string
  createdAt: number
  position: number
  suspendedAt: number | null
}

export interface DeviceRow {
  instance: number
  user: number
  deviceId: string
  displayName: string | null
  lastSeenTs: number
  lastSeenIp: string | null
  createdAt: number
  accessHash: string | null
  refreshHash: string | null
  oldHashes: string | null
  position: number
  syncedAt: number | null
}

export interface AccountDataRow {
  instance: number
  user: number
  room: number
  type: string
  content: string
  position: number
}

export interface FilterRow {
  instance: number
  user: number
  filterId: string
  json: string
}

export interface TransactionRow {
  instance: number
  user: number
  device: string
  scope: string
  txnId: string
  answer: string
  createdAt: number
}

export interface RegistrationTokenRow {
  instance: number
  token: string
  usesAllowed: number | null
  used: number
  expiresAt: number | null
}

export interface StaleProfileRow {
  instance: number
  user: number
  position: number
}

export interface Rows {
  appservice: AppserviceRow
  interest: InterestRow
  frozen: FrozenRow
  bridgeState: BridgeStateRow
  bridgeReach: BridgeReachRow
  loginToken: LoginTokenRow
  checkpoint: CheckpointRow
  bridgeCheckpoint: BridgeCheckpointRow
  job: JobRow
  media: MediaRow
  deviceKeys: DeviceKeysRow
  oneTimeKey: OneTimeKeyRow
  fallbackKey: FallbackKeyRow
  keyCount: KeyCountRow
  crossSigningKey: CrossSigningKeyRow
  signature: SignatureRow
  deviceListChange: DeviceListChangeRow
  toDevice: ToDeviceRow
  dehydratedDevice: DehydratedDeviceRow
  backupVersion: BackupVersionRow
  backupRoom: BackupRoomRow
  backupSession: BackupSessionRow
  instance: InstanceRow
  ownership: OwnershipRow
  secret: SecretRow
  ownerId: OwnerIdRow
  mediaId: MediaIdRow
  room: RoomRow
  alias: AliasRow
  event: EventRow
  unredacted: UnredactedRow
  state: StateRow
  membership: MembershipRow
  relation: RelationRow
  receipt: ReceiptRow
  notification: NotificationRow
  departure: DepartureRow
  user: UserRow
  device: DeviceRow
  accountData: AccountDataRow
  filter: FilterRow
  transaction: TransactionRow
  registrationToken: RegistrationTokenRow
  staleProfile: StaleProfileRow
}

export const tables = {
  appservice: {
    name: 'appservice',
    columns: {
      instance: 'int',
      key: 'bigint',
      id: 'text',
      asToken: 'text',
      hsToken: 'text',
      url: 'text',
      bot: 'bigint',
      registration: 'text',
      setBy: 'text',
      status: 'text',
      cursor: 'bigint',
      createdAt: 'bigint',
      position: 'bigint',
      provisioningSecret: 'text',
      bridgeType: 'text',
    },
    key: ['instance', 'key'],
    unique: [['instance', 'id']],
  },
  interest: {
    name: 'interest',
    columns: {
      instance: 'int',
      appservice: 'bigint',
      position: 'bigint',
      room: 'bigint',
      order: 'bigint',
      since: 'bigint',
    },
    key: ['instance', 'appservice', 'position'],
    unique: [],
  },
  frozen: {
    name: 'frozen',
    columns: {
      instance: 'int',
      appservice: 'bigint',
      txnId: 'text',
      end: 'bigint',
      events: 'text',
      parts: 'text',
      createdAt: 'bigint',
    },
    key: ['instance', 'appservice'],
    unique: [],
  },
  bridgeState: {
    name: 'bridge_state',
    columns: {
      instance: 'int',
      appservice: 'bigint',
      remoteId: 'text',
      state: 'text',
      ts: 'bigint',
      position: 'bigint',
    },
    key: ['instance', 'appservice', 'remoteId'],
    unique: [],
  },
  bridgeReach: {
    name: 'bridge_reach',
    columns: {
      instance: 'int',
      appservice: 'bigint',
      reachable: 'int',
      since: 'bigint',
      error: 'text',
      position: 'bigint',
    },
    key: ['instance', 'appservice'],
    unique: [],
  },
  loginToken: {
    name: 'login_token',
    columns: {
      instance: 'int',
      token: 'text',
    },
    key: ['instance'],
    unique: [],
  },
  checkpoint: {
    name: 'checkpoint',
    columns: {
      instance: 'int',
      eventId: 'text',
      step: 'text',
      appservice: 'bigint',
      status: 'text',
      checkpoint: 'text',
      position: 'bigint',
      others: 'text',
    },
    key: ['instance', 'eventId', 'step'],
    unique: [],
  },
  bridgeCheckpoint: {
    name: 'bridge_checkpoint',
    columns: {
      instance: 'int',
      appservice: 'bigint',
      eventId: 'text',
      step: 'text',
      status: 'text',
      checkpoint: 'text',
      position: 'bigint',
    },
    key: ['instance', 'appservice', 'eventId', 'step'],
    unique: [],
  },
  job: {
    name: 'job',
    columns: {
      instance: 'int',
      key: 'bigint',
      kind: 'text',
      arguments: 'text',
      cursor: 'text',
      done: 'bigint',
      total: 'bigint',
      error: 'text',
      createdAt: 'bigint',
      endedAt: 'bigint',
      position: 'bigint',
    },
    key: ['instance', 'key'],
    unique: [],
  },
  media: {
    name: 'media',
    columns: {
      instance: 'int',
      mediaId: 'text',
      user: 'bigint',
      contentType: 'text',
      fileName: 'text',
      sizeBytes: 'bigint',
      createdAt: 'bigint',
      uploadedAt: 'bigint',
      expiresAt: 'bigint',
      uniqueId: 'text',
      uploadHash: 'text',
    },
    key: ['instance', 'mediaId'],
    unique: [],
  },
  deviceKeys: {
    name: 'device_keys',
    columns: {
      instance: 'int',
      user: 'bigint',
      deviceId: 'text',
      json: 'text',
      position: 'bigint',
    },
    key: ['instance', 'user', 'deviceId'],
    unique: [],
  },
  oneTimeKey: {
    name: 'one_time_key',
    columns: {
      instance: 'int',
      user: 'bigint',
      deviceId: 'text',
      keyId: 'text',
      algorithm: 'text',
      order: 'bigint',
      json: 'text',
      claimedAt: 'bigint',
    },
    key: ['instance', 'user', 'deviceId', 'keyId'],
    unique: [],
  },
  fallbackKey: {
    name: 'fallback_key',
    columns: {
      instance: 'int',
      user: 'bigint',
      deviceId: 'text',
      algorithm: 'text',
      keyId: 'text',
      json: 'text',
      used: 'int',
    },
    key: ['instance', 'user', 'deviceId', 'algorithm'],
    unique: [],
  },
  keyCount: {
    name: 'key_count',
    columns: {
      instance: 'int',
      user: 'bigint',
      deviceId: 'text',
      counts: 'text',
      unusedFallback: 'text',
      appservice: 'bigint',
      position: 'bigint',
    },
    key: ['instance', 'user', 'deviceId'],
    unique: [],
  },
  crossSigningKey: {
    name: 'cross_signing_key',
    columns: {
      instance: 'int',
      user: 'bigint',
      usage: 'text',
      publicKey: 'text',
      json: 'text',
      position: 'bigint',
    },
    key: ['instance', 'user', 'usage'],
    unique: [],
  },
  signature: {
    name: 'signature',
    columns: {
      instance: 'int',
      user: 'bigint',
      target: 'text',
      signer: 'bigint',
      keyId: 'text',
      signature: 'text',
      position: 'bigint',
    },
    key: ['instance', 'user', 'target', 'signer', 'keyId'],
    unique: [],
  },
  deviceListChange: {
    name: 'device_list_change',
    columns: {
      instance: 'int',
      user: 'bigint',
      position: 'bigint',
    },
    key: ['instance', 'user'],
    unique: [],
  },
  toDevice: {
    name: 'to_device',
    columns: {
      instance: 'int',
      user: 'bigint',
      deviceId: 'text',
      position: 'bigint',
      type: 'text',
      sender: 'text',
      content: 'text',
      createdAt: 'bigint',
      appservice: 'bigint',
    },
    key: ['instance', 'user', 'deviceId', 'position'],
    unique: [],
  },
  dehydratedDevice: {
    name: 'dehydrated_device',
    columns: {
      instance: 'int',
      user: 'bigint',
      deviceId: 'text',
      deviceData: 'text',
      createdAt: 'bigint',
    },
    key: ['instance', 'user'],
    unique: [],
  },
  backupVersion: {
    name: 'backup_version',
    columns: {
      instance: 'int',
      user: 'bigint',
      version: 'int',
      algorithm: 'text',
      authData: 'text',
      backup: 'bigint',
      sessions: 'int',
      etag: 'bigint',
      deleted: 'int',
      createdAt: 'bigint',
    },
    key: ['instance', 'user', 'version'],
    unique: [],
  },
  backupRoom: {
    name: 'backup_room',
    columns: {
      instance: 'int',
      user: 'bigint',
      backup: 'bigint',
      roomId: 'text',
      key: 'bigint',
      sessions: 'int',
    },
    key: ['instance', 'user', 'backup', 'roomId'],
    unique: [],
  },
  backupSession: {
    name: 'backup_session',
    columns: {
      instance: 'int',
      user: 'bigint',
      backupRoom: 'bigint',
      sessionId: 'text',
      firstMessageIndex: 'int',
      forwardedCount: 'int',
      isVerified: 'int',
      sessionData: 'text',
    },
    key: ['instance', 'user', 'backupRoom', 'sessionId'],
    unique: [],
  },
  instance: {
    name: 'instance',
    columns: {
      key: 'int',
      name: 'text',
      owner: 'text',
      userDomain: 'text',
      bridgeDomain: 'text',
      status: 'text',
      createdAt: 'bigint',
    },
    key: ['key'],
    unique: [['name']],
  },
  ownership: {
    name: 'ownership',
    columns: {
      instance: 'int',
      owner: 'text',
      epoch: 'bigint',
      leaseUntil: 'bigint',
      ceiling: 'bigint',
      clean: 'int',
    },
    key: ['instance'],
    unique: [],
  },
  secret: {
    name: 'secret',
    columns: {
      hash: 'text',
      kind: 'text',
      instance: 'int',
      user: 'bigint',
      device: 'text',
      appservice: 'bigint',
      expiresAt: 'bigint',
    },
    key: ['hash'],
    unique: [],
  },
  ownerId: {
    name: 'owner_id',
    columns: {
      userId: 'text',
      instance: 'int',
    },
    key: ['userId'],
    unique: [],
  },
  mediaId: {
    name: 'media_id',
    columns: {
      mediaId: 'text',
      instance: 'int',
    },
    key: ['mediaId'],
    unique: [],
  },
  room: {
    name: 'room',
    columns: {
      instance: 'int',
      key: 'bigint',
      roomId: 'text',
      version: 'text',
      creator: 'bigint',
      appservice: 'bigint',
      lowest: 'bigint',
      listed: 'int',
      createdAt: 'bigint',
    },
    key: ['instance', 'key'],
    unique: [['instance', 'roomId']],
  },
  alias: {
    name: 'alias',
    columns: {
      instance: 'int',
      alias: 'text',
      room: 'bigint',
      creator: 'bigint',
    },
    key: ['instance', 'alias'],
    unique: [],
  },
  event: {
    name: 'event',
    columns: {
      instance: 'int',
      room: 'bigint',
      order: 'bigint',
      eventId: 'text',
      type: 'text',
      stateKey: 'text',
      sender: 'bigint',
      ts: 'bigint',
      replaces: 'bigint',
      redactedBy: 'bigint',
      changedKeys: 'text',
      device: 'text',
      txnId: 'text',
      json: 'text',
    },
    key: ['instance', 'room', 'order'],
    unique: [['instance', 'room', 'eventId']],
  },
  unredacted: {
    name: 'unredacted',
    columns: {
      instance: 'int',
      room: 'bigint',
      order: 'bigint',
      redactedAt: 'bigint',
      json: 'text',
    },
    key: ['instance', 'room', 'order'],
    unique: [],
  },
  state: {
    name: 'state',
    columns: {
      instance: 'int',
      room: 'bigint',
      type: 'text',
      stateKey: 'text',
      order: 'bigint',
    },
    key: ['instance', 'room', 'type', 'stateKey'],
    unique: [],
  },
  membership: {
    name: 'membership',
    columns: {
      instance: 'int',
      room: 'bigint',
      user: 'bigint',
      membership: 'text',
      order: 'bigint',
      since: 'bigint',
      sender: 'bigint',
      displayName: 'text',
      avatarUrl: 'text',
      forgotten: 'int',
    },
    key: ['instance', 'room', 'user'],
    unique: [],
  },
  relation: {
    name: 'relation',
    columns: {
      instance: 'int',
      room: 'bigint',
      parent: 'text',
      order: 'bigint',
      relType: 'text',
      type: 'text',
      sender: 'bigint',
      key: 'text',
    },
    key: ['instance', 'room', 'parent', 'order'],
    unique: [],
  },
  receipt: {
    name: 'receipt',
    columns: {
      instance: 'int',
      room: 'bigint',
      user: 'bigint',
      type: 'text',
      thread: 'text',
      eventId: 'text',
      order: 'bigint',
      ts: 'bigint',
      extra: 'text',
      position: 'bigint',
    },
    key: ['instance', 'room', 'user', 'type', 'thread'],
    unique: [],
  },
  notification: {
    name: 'notification',
    columns: {
      instance: 'int',
      user: 'bigint',
      room: 'bigint',
      order: 'bigint',
      thread: 'text',
      highlight: 'int',
    },
    key: ['instance', 'user', 'room', 'order'],
    unique: [],
  },
  departure: {
    name: 'departure',
    columns: {
      instance: 'int',
      user: 'bigint',
      room: 'bigint',
      roomId: 'text',
      position: 'bigint',
      ts: 'bigint',
    },
    key: ['instance', 'user', 'room'],
    unique: [],
  },
  user: {
    name: 'user',
    columns: {
      instance: 'int',
      key: 'bigint',
      userId: 'text',
      kind: 'text',
      appservice: 'bigint',
      passwordHash: 'text',
      displayName: 'text',
      avatarUrl: 'text',
      profile: 'text',
      admin: 'int',
      syncs: 'int',
      status: 'text',
      createdAt: 'bigint',
      position: 'bigint',
      suspendedAt: 'bigint',
    },
    key: ['instance', 'key'],
    unique: [['instance', 'userId']],
  },
  device: {
    name: 'device',
    columns: {
      instance: 'int',
      user: 'bigint',
      deviceId: 'text',
      displayName: 'text',
      lastSeenTs: 'bigint',
      lastSeenIp: 'text',
      createdAt: 'bigint',
      accessHash: 'text',
      refreshHash: 'text',
      oldHashes: 'text',
      position: 'bigint',
      syncedAt: 'bigint',
    },
    key: ['instance', 'user', 'deviceId'],
    unique: [],
  },
  accountData: {
    name: 'account_data',
    columns: {
      instance: 'int',
      user: 'bigint',
      room: 'bigint',
      type: 'text',
      content: 'text',
      position: 'bigint',
    },
    key: ['instance', 'user', 'room', 'type'],
    unique: [],
  },
  filter: {
    name: 'filter',
    columns: {
      instance: 'int',
      user: 'bigint',
      filterId: 'text',
      json: 'text',
    },
    key: ['instance', 'user', 'filterId'],
    unique: [],
  },
  transaction: {
    name: 'transaction',
    columns: {
      instance: 'int',
      user: 'bigint',
      device: 'text',
      scope: 'text',
      txnId: 'text',
      answer: 'text',
      createdAt: 'bigint',
    },
    key: ['instance', 'user', 'device', 'scope', 'txnId'],
    unique: [],
  },
  registrationToken: {
    name: 'registration_token',
    columns: {
      instance: 'int',
      token: 'text',
      usesAllowed: 'int',
      used: 'int',
      expiresAt: 'bigint',
    },
    key: ['instance', 'token'],
    unique: [],
  },
  staleProfile: {
    name: 'stale_profile',
    columns: {
      instance: 'int',
      user: 'bigint',
      position: 'bigint',
    },
    key: ['instance', 'user'],
    unique: [],
  },
} as const satisfies Record<keyof Rows, Table>

export type TableName = keyof Rows
