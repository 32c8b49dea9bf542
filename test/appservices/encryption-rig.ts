/** Bridges whose bot encrypts, pushed to over HTTP or at a websocket, and an owner with keys who sends to it. */
import { putToDevice } from '../../src/devices/to-device.ts'
import { joinRoom } from '../../src/rooms/membership.ts'
import type { AppserviceRow } from '../../src/storage/tables.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import { makeDeviceKeys, makeKeys, type Signed, signingKey } from '../devices/rig.ts'
import { ExampleBridge } from '../rig/example-bridge.ts'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { registrationPath } from './portals.ts'
import { SocketBridge } from './socket-bridge.ts'

export type Way = 'HTTP' | 'websocket'
export const botDevice = 'BRIDGE'

export class EncryptedBridge implements AsyncDisposable {
  readonly server: TestServer
  readonly id: string
  readonly peer: ExampleBridge | SocketBridge
  readonly botId: string
  private readonly client: Client
  private readonly signing = signingKey()
  private sent = 0

  /** Its bot has a device, with as many one-time keys and a fallback key. */
  static async start(server: TestServer, id: string, options: { way?: Way; oneTimeKeys?: number } = {}): Promise<EncryptedBridge> {
    const { way = 'HTTP', oneTimeKeys = 3 } = options
    const { body: registration } = await server.owner.put(registrationPath(id), { push: false })
    const { bridgeDomain: domain } = await server.server.host.defaultInstance()
    const token = registration.as_token
    let peer: ExampleBridge | SocketBridge
    if (way === 'websocket') peer = await SocketBridge.connect({ url: server.url, token })
    else {
      const pushed = await ExampleBridge.start({ homeserverUrl: server.url, registration, domain })
      await server.owner.put(registrationPath(id), { push: true, address: pushed.url })
      peer = pushed
    }
    const bridge = new EncryptedBridge(server, id, peer, `@${registration.sender_localpart}:${domain}`, server.client(token))
    await bridge.ask('PUT', `/devices/${botDevice}`, {})
    await bridge.uploadKeys(oneTimeKeys)
    return bridge
  }

  private constructor(server: TestServer, id: string, peer: ExampleBridge | SocketBridge, botId: string, client: Client) {
    this.server = server
    this.id = id
    this.peer = peer
    this.botId = botId
    this.client = client
  }

  /** As its bot, on the bot's device. */
  async ask(method: string, path: string, body?: unknown): Promise<Reply['body']> {
    const device = path.startsWith('/devices/') ? '' : `${path.includes('?') ? '&' : '?'}device_id=${botDevice}`
    const reply = await this.client.request(method, path + device, body)
    if (reply.status >= 300) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body
  }

  async uploadKeys(count: number): Promise<void> {
    const { botId, signing: by } = this
    const names = Array.from({ length: count }, () => `K${this.sent++}`)
    await this.ask('POST', '/keys/upload', {
      device_keys: makeDeviceKeys(botId, botDevice, by),
      one_time_keys: makeKeys(botId, botDevice, names, { by }),
      fallback_keys: makeKeys(botId, botDevice, [`F${this.sent++}`], { by, fallback: true }),
    })
  }

  ghostId(name: string): string {
    return `@${this.id}_${name}:${this.botId.split(':')[1]}`
  }

  /** The id of a ghost with a device that has keys. */
  async encryptingGhost(name: string): Promise<string> {
    const userId = this.ghostId(name)
    const as = `user_id=${encodeURIComponent(userId)}`
    await this.client.put(`/devices/${botDevice}?${as}`, {})
    const one = makeKeys(userId, botDevice, ['A'])
    const keys = { device_keys: makeDeviceKeys(userId, botDevice), one_time_keys: one }
    const { status, body } = await this.client.post(`/keys/upload?${as}&device_id=${botDevice}`, keys)
    if (status !== 200) throw new Error(JSON.stringify(body))
    return userId
  }

  /** A room of the bot with these people in it: whom it does not speak for takes its invitation. */
  async portal(...people: string[]): Promise<string> {
    const roomId = (await this.ask('POST', '/createRoom', { 'com.beeper.initial_members': people })).room_id
    await this.enter(roomId, people)
    return roomId
  }

  /** Who of them is invited joins. */
  async enter(roomId: string, people: readonly string[]): Promise<void> {
    const instance = await this.instance()
    const { key: room } = (await instance.storage.first('room', { roomId }))!
    for (const userId of people) {
      const { key: user } = (await instance.storage.first('user', { userId }))!
      if ((await instance.storage.first('membership', { room, user }))?.membership !== 'invite') continue
      const actor = { user, userId, device: null, appservice: null, puppet: false, admin: false, tokenHash: '' }
      await joinRoom(instance, actor, { roomIdOrAlias: roomId })
    }
  }

  /** So many messages from the owner to the bot's device at once: `{"n": 0}` and so on. */
  async sendMany(count: number): Promise<void> {
    await command(await this.instance(), (decision) => {
      const to = decision.find('user', { userId: this.botId })!
      const message = { to, deviceIds: [botDevice], type: 'm.flood', sender: this.server.owner.userId }
      for (let n = 0; n < count; n++) putToDevice(decision, { ...message, content: JSON.stringify({ n }) })
    })
  }

  /** What each of its transactions said, the same one once. */
  get transactions(): Signed[] {
    const texts = new Map(this.peer.attempts.map(({ txnId, text }) => [txnId, text]))
    return [...texts.values()].map((text) => JSON.parse(text))
  }

  get messages(): Signed[] {
    return this.transactions.flatMap((transaction) => transaction.to_device ?? [])
  }

  async instance(): Promise<Instance> {
    return this.server.server.host.defaultInstance()
  }

  async row(): Promise<AppserviceRow> {
    return (await (await this.instance()).storage.first('appservice', { id: this.id }))!
  }

  /** Nothing waits and nothing is under way. */
  async settled(): Promise<void> {
    for (;;) {
      const { storage } = await this.instance()
      const { key, cursor } = await this.row()
      const waiting = await storage.count('interest', { appservice: key, position: { gt: cursor } })
      if (waiting === 0 && !(await storage.first('frozen', { appservice: key }))) return
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  async pause(paused: boolean): Promise<void> {
    const mutation = paused ? 'pauseBridge' : 'resumeBridge'
    const { errors } = await this.server.owner.graphql(`mutation($id: String!) { ${mutation}(id: $id) { id } }`, { id: this.id })
    if (errors) throw new Error(JSON.stringify(errors))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.peer[Symbol.asyncDispose]()
  }
}

/** The device's keys, so that the person is one whom others encrypt for. */
export async function giveKeys(client: Client, by = signingKey()): Promise<void> {
  const reply = await client.post('/keys/upload', { device_keys: makeDeviceKeys(client.userId, client.deviceId, by) })
  if (reply.status !== 200) throw new Error(JSON.stringify(reply.body))
}

let txn = 0

/** One message to the bot's device. */
export async function sendTo(from: Client, bridge: EncryptedBridge, content: object, type = 'm.room.encrypted'): Promise<void> {
  const reply = await from.put(`/sendToDevice/${type}/t${txn++}`, { messages: { [bridge.botId]: { [botDevice]: content } } })
  if (reply.status !== 200) throw new Error(JSON.stringify(reply.body))
}
