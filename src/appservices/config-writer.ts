/** Writes the two files that a bridge needs: its registration, and a configuration that any bridge on mautrix-go's bridgev2 runs with. */
import { createHmac } from 'node:crypto'
import { stringify } from 'yaml'
import { literalPrefix, type NamespaceRule } from '../rules/namespaces.ts'
import type { JsonObject } from '../rules/values.ts'
import type { AppserviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { wholeRegistration } from './registration.ts'

export interface BridgeConfigOptions {
  /** where the bridge reaches this homeserver, without a slash at the end; left out, the public address or the one it listens at */
  readonly homeserverUrl?: string | null | undefined
  /** the connector's own section */
  readonly network?: JsonObject | null | undefined
  readonly commandPrefix?: string | null | undefined
  /** display name and avatar (mxc://…) of the bot; left out, the bridge's own */
  readonly bot?: { readonly displayname?: string; readonly avatar?: string } | null
}

/** Where bridges POST their states and checkpoints with their as_token, behind the homeserver's address. */
export const statusPath = '/_bridge/state'
export const checkpointPath = '/_bridge/checkpoints'

export function registrationYaml(row: AppserviceRow): string {
  return `# Registration of the bridge ${row.id}. It holds secrets.\n${write(wholeRegistration(row))}`
}

/** The bridge is run with `-n`: the file is read and never written back. What is not in it keeps the bridge's default. */
export function bridgeConfigYaml(instance: Instance, row: AppserviceRow, options: BridgeConfigOptions): string {
  const { userDomain, bridgeDomain, ownerId } = instance
  const homeserverUrl = options.homeserverUrl ?? usualAddress(instance)
  const registration = JSON.parse(row.registration) as JsonObject
  const websocket = row.url === 'websocket'
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
      software: 'standard',
      status_endpoint: homeserverUrl + statusPath,
      message_send_checkpoint_endpoint: homeserverUrl + checkpointPath,
      async_media: false,
      websocket,
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
      username_template: `${ghostPrefix(registration)}{{.}}`,
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
      max_initial_messages: 20,
      max_catchup_messages: 500,
      unread_hours_threshold: 720,
      queue: { enabled: false },
    },
    double_puppet: {
      // The bridge asks for people where it asks for its ghosts, whatever their domain.
      servers: userDomain === bridgeDomain ? {} : { [userDomain]: homeserverUrl },
      allow_discovery: false,
      secrets: { [userDomain]: `as_token:${row.asToken}` },
    },
    encryption: { allow: false, default: false, require: false },
    logging: { min_level: 'debug', writers: [{ type: 'stdout', format: 'json' }] },
  }
  return `# Configuration of the bridge ${row.id}, for bridges on mautrix-go's bridgev2: run it with -n. It holds secrets.\n${write(config)}`
}

function usualAddress({ config, name }: Instance): string {
  const host = config.host === '0.0.0.0' || config.host === '::' ? '127.0.0.1' : config.host
  const address = config.publicUrl ?? `http://${host.includes(':') ? `[${host}]` : host}:${config.port}`
  return name === 'default' ? address : `${address}/_hungryserv/${name}`
}

/** For the bridge's provisioning API. Known to whoever knows the hs_token, so both sides have it, and it changes with it. */
export function provisioningSecret(row: AppserviceRow): string {
  return createHmac('sha256', row.hsToken).update('provisioning').digest('base64url')
}

/** What the ghosts' localparts begin with: the first namespace's literal part, `^@whatsapp_.+:example\.com$` → `whatsapp_`. */
function ghostPrefix(registration: JsonObject): string {
  const { users } = (registration['namespaces'] ?? {}) as { users?: readonly NamespaceRule[] }
  return literalPrefix(users?.[0]?.regex ?? '').replace(/^@/, '')
}

function write(content: object): string {
  return stringify(content, { indent: 4, lineWidth: 0 })
}
