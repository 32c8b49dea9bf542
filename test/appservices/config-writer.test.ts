import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { configureBridge } from '../../src/appservices/bridge-types.ts'
import { bridgeConfigYaml, checkpointPath, provisioningSecret, registrationYaml, statusPath } from '../../src/appservices/config-writer.ts'
import { readRegistration, wholeRegistration } from '../../src/appservices/registration.ts'
import { registerBridge } from '../../src/appservices/registrations.ts'
import { startServer } from '../rig/server.ts'
import { Homeserver } from './homeserver.ts'

test('a standard configuration says what the Go bridges need of any homeserver', async () => {
  await using homeserver = await Homeserver.open({ config: { bridgeDomain: 'example.com' } })
  const { instance, owner } = homeserver
  const row = await registerBridge(instance, owner, { id: 'echo', url: 'http://127.0.0.1:29399' })
  const network = { file: 'network.jsonl', control: '127.0.0.1:1', password: 'echo', portals: 20, ghosts: 10, history: 20 }
  const bot = { displayname: 'Echo bridge bot', avatar: '' }
  const written = bridgeConfigYaml(instance, row, {
    homeserverUrl: 'http://127.0.0.1:8008',
    network,
    commandPrefix: '!echo',
    bot,
    software: 'standard',
  })
  const example = readFileSync(join(import.meta.dirname, '../interop/go/testdata/echobridge.example.yaml'), 'utf8')
    .replaceAll('OWNER', 'owner')
    .replaceAll(/(?<!_)\bDOMAIN\b/g, 'example.com')
    .replaceAll('HOMESERVER_PORT/STATUS_PATH', `8008${statusPath}`)
    .replaceAll('HOMESERVER_PORT/CHECKPOINT_PATH', `8008${checkpointPath}`)
    .replaceAll('HOMESERVER_PORT', '8008')
    .replaceAll('BRIDGE_PORT', '29399')
    .replaceAll('CONTROL_PORT', '1')
    .replaceAll('AS_TOKEN', row.asToken)
    .replaceAll('HS_TOKEN', row.hsToken)
    .replaceAll('SHARED_SECRET_OF_16_CHARACTERS_OR_MORE', provisioningSecret(row))
  assert.deepEqual(parse(written), parse(example))
})

test('people of another domain are puppeted at the same homeserver', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const row = await registerBridge(instance, owner, { id: 'whatsapp', url: 'websocket' })
  const config = parse(bridgeConfigYaml(instance, row, { homeserverUrl: 'http://127.0.0.1:8008' }))
  assert.deepEqual(config.double_puppet.servers, { 'example.com': 'http://127.0.0.1:8008' })
  assert.deepEqual(config.double_puppet.secrets, { 'example.com': `as_token:${row.asToken}` })
  assert.deepEqual([config.homeserver.domain, config.homeserver.websocket], ['bridges.example.com', true])
  assert.deepEqual(config.bridge.permissions, { '@owner:example.com': 'admin' })
  assert.equal('address' in config.appservice, false)
})

test('the usual configuration has the websocket, history before the present, async media, double puppets and Beeper’s encryption', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const row = await configureBridge(instance, owner, { type: 'whatsapp' })
  assert.deepEqual([row.id, row.url, row.bridgeType], ['whatsapp', 'websocket', 'whatsapp'])
  const config = parse(bridgeConfigYaml(instance, row, { homeserverUrl: 'http://127.0.0.1:8008' }))
  assert.deepEqual(config.homeserver, {
    address: 'http://127.0.0.1:8008',
    domain: 'bridges.example.com',
    software: 'hungry',
    status_endpoint: null,
    message_send_checkpoint_endpoint: null,
    async_media: true,
    websocket: true,
    ping_interval_seconds: 180,
  })
  assert.equal(config.backfill.queue.enabled, true)
  assert.deepEqual(config.encryption, {
    allow: true,
    default: true,
    require: true,
    appservice: true,
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
  })
  assert.equal(wholeRegistration(row)['org.matrix.msc3202'], true)
  assert.equal(config.double_puppet.secrets['example.com'], `as_token:${row.asToken}`)
  assert.equal(config.provisioning.shared_secret, provisioningSecret(row))
  assert.ok(config.provisioning.shared_secret.length >= 16)
  assert.equal(config.provisioning.allow_matrix_auth, false)
  assert.equal(config.matrix.message_status_events, true)
  assert.equal(config.appservice.ephemeral_events, true)
})

test('a bridge whose registration wants no devices in transactions is told to sync, so that its messages reach it', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  for (const wanted of [false, true]) {
    const row = await registerBridge(instance, owner, { id: 'whatsapp', url: 'websocket', others: { 'org.matrix.msc3202': wanted } })
    const { encryption } = parse(bridgeConfigYaml(instance, row, { homeserverUrl: 'http://127.0.0.1:8008' }))
    assert.deepEqual([encryption.allow, encryption.appservice], [true, wanted])
  }
})

test('a bridge that is configured for HTTP is pushed to at its own port, and tells its states by POST', async () => {
  await using homeserver = await Homeserver.open()
  const { instance, owner } = homeserver
  const row = await configureBridge(instance, owner, { type: 'signal', http: true })
  const config = parse(bridgeConfigYaml(instance, row, { homeserverUrl: 'http://127.0.0.1:8008' }))
  assert.deepEqual([config.homeserver.software, config.homeserver.websocket, config.appservice.port], ['hungry', false, 29328])
  assert.equal(config.homeserver.status_endpoint, `http://127.0.0.1:8008${statusPath}`)
  assert.equal(config.homeserver.message_send_checkpoint_endpoint, `http://127.0.0.1:8008${checkpointPath}`)
  // Again without a wish: it stays where it is. And one that can open no websocket is pushed to anyway.
  assert.equal((await configureBridge(instance, owner, { type: 'signal' })).url, row.url)
  assert.equal((await configureBridge(instance, owner, { type: 'googlechat' })).url, 'http://127.0.0.1:29320')
})

test('ghosts are named after their own namespace, wherever it stands, and a registration without one is refused', async () => {
  await using server = await startServer({ config: { bridgeDomain: 'bridges.example.com' } })
  const configure = async (senderLocalpart: string, ...regexes: string[]) => {
    const users = regexes.length > 0 ? regexes.map((regex) => ({ regex, exclusive: true })) : null
    const registration = { sender_localpart: senderLocalpart, namespaces: { users } }
    const query =
      'mutation($id: String!, $registration: JsonObject) { registerBridge(id: $id, registration: $registration) { configYaml } }'
    const { data, errors } = await server.owner.graphql(query, { id: senderLocalpart, registration })
    return errors ? errors[0].extensions.errcode : parse(data.registerBridge.configYaml).appservice.username_template
  }
  const ghosts = String.raw`^@wa_.*:bridges\.example\.com$`
  const bot = String.raw`^@wabot:bridges\.example\.com$`
  // As mautrix-go writes it: the bot first, which is not the sender.
  assert.equal(await configure('wabot', bot, ghosts), 'wa_{{.}}')
  assert.equal(await configure('xyzzy', bot, ghosts), 'wa_{{.}}')
  assert.equal(await configure('wabot', ghosts, bot), 'wa_{{.}}')
  assert.equal(await configure('wabot', '@wabot', '@wa_[0-9]+'), 'wa_{{.}}')
  assert.equal(await configure('wabot', String.raw`^@wa_.*:example\.com$`, String.raw`^@x\.wa=.+:bridges.*`), 'x.wa={{.}}')
  for (const none of [[], [bot], ['@.*'], ['@.*_wa:.*'], ['@(wa|wb)_.*'], ['@wa{{.*'], [String.raw`^@wa_.*:example\.com$`], ['wa_.*']])
    assert.equal(await configure('wabot', ...none), 'M_INVALID_PARAM', none.join())
})

test('the registration file is read back as it was written', async () => {
  await using homeserver = await Homeserver.open()
  const row = await registerBridge(homeserver.instance, homeserver.owner, { id: 'whatsapp', url: 'http://127.0.0.1:29318' })
  const text = registrationYaml(row)
  assert.deepEqual(parse(text), wholeRegistration(row))
  assert.deepEqual(await registerBridge(homeserver.instance, homeserver.owner, readRegistration(parse(text))), row)
})
