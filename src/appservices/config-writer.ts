/** Writes the two files that a bridge needs: its registration, and a configuration that any bridge on mautrix-go's bridgev2 runs with. */
import { createHmac } from 'node:crypto'
import { stringify } from 'yaml'
import { invalidParam } from '../errors.ts'
import { compileNamespace, literalPrefix, type NamespaceRule } from '../rules/namespaces.ts'
import type { JsonObject } from '../rules/values.ts'
import type { AppserviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { hasDevicesInTransactions } from './encryption.ts'
import { wholeRegistration } from './registration.ts'

export interface BridgeConfigOptions {
  /** where the bridge reaches this homeserver, without a slash at the end; left out, the public address or the one it listens at */
  readonly homeserverUrl?: string | null | undefined
  /** the connector's own section */
  readonly network?: JsonObject | null | undefined
  readonly commandPrefix?: string | null | undefined
  /** display name and avatar (mxc://…) of the bot; left out, the bridge's own */
  readonly bot?: { readonly displayname?: string; readonly avatar?: string } | null
  /** `standard`: nothing that only Hungryserv can do. Usual: `hungry` */
  readonly software?: 'hungry' | 'standard' | null | undefined
}

/** Where bridges POST their states and checkpoints with their as_token, behind the homeserver's address. */
export const statusPath = '/_bridge/state'
export const checkpointPath = '/_bridge/checkpoints'

export function registrationYaml(row: AppserviceRow): string {
  return `# Registration of the bridge ${row.id}. It holds secrets.\n${write(wholeRegistration(row))}`
}

/**
 * The bridge is run with `-n`: the file is read and never written back. What is not in it keeps the bridge's default. Errors: M_INVALID_PARAM when its
 * registration has no namespace that ghosts could be named after.
 */
export function bridgeConfigYaml(instance: Instance, row: AppserviceRow, options: BridgeConfigOptions): string {
  const { userDomain, bridgeDomain, ownerId } = instance
  const homeserverUrl = options.homeserverUrl ?? usualAddress(instance)
  const registration = JSON.parse(row.registration) as JsonObject
  const websocket = row.url === 'websocket'
  const hungry = options.software !== 'standard'
  const address = websocket || row.url === null ? null : new URL(row.url)
  const config = {
    ...(options.network && { network: options.network }),
    bridge: {
      ...(options.commandPrefix && { command_prefix: options.commandPrefix }),
      personal_filtering_spaces: true,
      permissions: { [ownerId]: 'admin' },
    },
    database: { type: 'sqlite3-fk-wal', uri: 'file:bridge.db?_txlock=immediate' },
    homeserver: {
      address: homeserverUrl,
      domain: bridgeDomain,
      software: hungry ? 'hungry' : 'standard',
      // Over a websocket both go as frames.
      status_endpoint: websocket ? null : homeserverUrl + statusPath,
      message_send_checkpoint_endpoint: websocket ? null : homeserverUrl + checkpointPath,
      async_media: hungry,
      websocket,
      ...(websocket && { ping_interval_seconds: 180 }),
    },
    appservice: {
      ...(address && {
        address: row.url,
        hostname: address.hostname.replace(/^\[|\]$/g, ''),
        port: Number(address.port) || (address.protocol === 'https:' ? 443 : 80),
      }),
      id: row.id,
      bot: { username: registration['sender_localpart'], ...options.bot },
      ephemeral_events: registration['receive_ephemeral'] === true,
      async_transactions: false,
      as_token: row.asToken,
      hs_token: row.hsToken,
      username_template: `${ghostPrefix(registration, bridgeDomain)}{{.}}`,
    },
    matrix: {
      message_status_events: true,
      delivery_receipts: true,
      message_error_notices: true,
      sync_direct_chat_list: true,
      federate_rooms: false,
    },
    provisioning: { shared_secret: provisioningSecret(row), allow_matrix_auth: false, debug_endpoints: false },
    backfill: {
      enabled: true,
      max_initial_messages: hungry ? 50 : 20,
      max_catchup_messages: 500,
      unread_hours_threshold: 720,
      // Only here can history be put before what is there already.
      queue: hungry ? backfillQueue : { enabled: false },
    },
    double_puppet: {
      // The bridge asks for people where it asks for its ghosts, whatever their domain.
      servers: userDomain === bridgeDomain ? {} : { [userDomain]: homeserverUrl },
      allow_discovery: false,
      secrets: { [userDomain]: `as_token:${row.asToken}` },
    },
    // Who is not served by transactions logs in and syncs.
    encryption: hungry ? { ...encryption, appservice: hasDevicesInTransactions(row) } : { allow: false, default: false, require: false },
    logging: { min_level: 'debug', writers: [{ type: 'stdout', format: 'json' }] },
  }
  return `# Configuration of the bridge ${row.id}, for bridges on mautrix-go's bridgev2: run it with -n. It holds secrets.\n${write(config)}`
}

/** All of every chat, slowly; of channels, which have no end, the newest thousand messages. */
const backfillQueue = {
  enabled: true,
  batch_size: 100,
  batch_delay: 20,
  max_batches: -1,
  max_batches_override: { channel: 10, supergroup: 10 },
}

/** As Beeper's bridges have it: every room is encrypted, and only devices that their owner has signed are trusted. */
const encryption = {
  allow: true,
  default: true,
  require: true,
  msc4190: false,
  self_sign: false,
  allow_key_sharing: true,
  pickle_key: 'hungryserv',
  delete_keys: {
    delete_outbound_on_ack: true,
    dont_store_outbound: false,
    ratchet_on_decrypt: true,
    delete_fully_used_on_decrypt: true,
    delete_prev_on_new_session: true,
    delete_on_device_delete: true,
    periodically_delete_expired: true,
    delete_outdated_inbound: false,
  },
  verification_levels: { receive: 'cross-signed-tofu', send: 'cross-signed-tofu', share: 'cross-signed-tofu' },
  rotation: { enable_custom: true, milliseconds: 2_592_000_000, messages: 10_000, disable_device_change_key_rotation: true },
}

function usualAddress({ config, name }: Instance): string {
  const host = config.host === '0.0.0.0' || config.host === '::' ? '127.0.0.1' : config.host
  const address = config.publicUrl ?? `http://${host.includes(':') ? `[${host}]` : host}:${config.port}`
  return name === 'default' ? address : `${address}/_hungryserv/${name}`
}

/**
 * For the bridge's provisioning API: the one it was registered with, else one that whoever knows the hs_token can make, so that both sides have it,
 * and that changes with it.
 */
export function provisioningSecret(row: AppserviceRow): string {
  return row.provisioningSecret ?? createHmac('sha256', row.hsToken).update('provisioning').digest('base64url')
}

/** Identifiers of remote networks begin with either. */
const exampleNames = ['1', 'a']

/**
 * What the ghosts' localparts begin with: the literal part of the first namespace that holds names which begin so, `^@whatsapp_.+:example\.com$` →
 * `whatsapp_`. Registrations that bridges write themselves have that of the bot before it.
 */
function ghostPrefix(registration: JsonObject, domain: string): string {
  const { users } = (registration['namespaces'] ?? {}) as { users?: readonly NamespaceRule[] | null }
  for (const rule of users ?? []) {
    const [, prefix] = /^@([\w.=/+-]+)$/.exec(literalPrefix(rule.regex)) ?? []
    const namespace = compileNamespace([rule])
    const isBot = prefix === registration['sender_localpart']
    if (prefix && !isBot && exampleNames.some((name) => namespace.matches(`@${prefix}${name}:${domain}`))) return prefix
  }
  throw invalidParam(
    `No namespace of the registration names ghosts on ${domain}: namespaces.users needs a regex like ^@whatsapp_.+:${domain.replaceAll('.', '\\.')}$`,
  )
}

function write(content: object): string {
  return stringify(content, { indent: 4, lineWidth: 0 })
}
