/** A homeserver without its faces: instances on a temporary folder or PostgreSQL, and bridges that it reaches over real HTTP. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { appserviceSinks, type Options } from '../../shim/outbound/appservices.ts'
import { Outbound } from '../../shim/outbound/http.ts'
import { appserviceAlive, appserviceChanged, startDeliveries } from '../../src/appservices/delivery.ts'
import { watchReach } from '../../src/appservices/reach.ts'
import type { GivenRegistration } from '../../src/appservices/registration.ts'
import { wholeRegistration } from '../../src/appservices/registration.ts'
import { registerBridge, setBridgeAddress } from '../../src/appservices/registrations.ts'
import { type Config, readConfig } from '../../src/config.ts'
import { firstStart } from '../../src/instances/first-start.ts'
import { InstanceHost } from '../../src/instances/host.ts'
import type { OpenInstance } from '../../src/instances/open-instance.ts'
import { type Ports, systemPorts } from '../../src/ports.ts'
import { createRoom } from '../../src/rooms/create.ts'
import { sendMessage } from '../../src/rooms/send.ts'
import { openShard, type ShardOptions } from '../../src/storage/shard.ts'
import type { Actor } from '../../src/users/actor.ts'
import { type BridgeRegistration, ExampleBridge, type ExampleBridgeOptions } from '../rig/example-bridge.ts'

export interface HomeserverOptions {
  readonly databaseUrl?: string
  readonly ports?: Partial<Ports>
  readonly config?: Partial<Config>
  readonly faults?: ShardOptions['faults']
  readonly timeouts?: Pick<Options, 'deliveryTimeoutMs' | 'pingTimeoutMs' | 'questionTimeoutMs'>
}

export class Homeserver implements AsyncDisposable {
  host!: InstanceHost
  instance!: OpenInstance
  owner!: Actor
  administrator!: Actor
  private readonly options: HomeserverOptions
  private readonly folder: string
  private readonly bridges: ExampleBridge[] = []
  private outbound = new Outbound()
  private txn = 0

  private constructor(options: HomeserverOptions, folder: string) {
    this.options = options
    this.folder = folder
  }

  static async open(options: HomeserverOptions = {}): Promise<Homeserver> {
    const homeserver = new Homeserver(options, await mkdtemp(join(tmpdir(), 'hungryserv-bridges-')))
    await homeserver.start()
    return homeserver
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Registers a bridge, which then listens and is reached. */
  async bridge(id: string, given: Partial<GivenRegistration> = {}, more: Partial<ExampleBridgeOptions> = {}): Promise<ExampleBridge> {
    const row = await registerBridge(this.instance, this.administrator, { id, ...given })
    const registration = wholeRegistration(row) as unknown as BridgeRegistration
    const bridge = await ExampleBridge.start({
      homeserverUrl: 'http://127.0.0.1:1',
      registration,
      domain: this.instance.bridgeDomain,
      ...more,
    })
    this.bridges.push(bridge)
    await setBridgeAddress(this.instance, this.administrator, id, bridge.url)
    return bridge
  }

  /** Who asks with the bridge's as_token, as its bot or as somebody else. */
  async actor(bridge: ExampleBridge, userId?: string): Promise<Actor> {
    const { instance, actor } = await this.host.authenticate(bridge.options.registration.as_token, null)
    return userId === undefined ? actor : this.host.masquerade(instance, actor, { userId })
  }

  /** A room of the bridge with ghosts and the owner; its id. */
  async portal(bridge: ExampleBridge, ...ghosts: string[]): Promise<string> {
    const initialMembers = [...ghosts.map((ghost) => bridge.ghostId(ghost)), this.instance.ownerId]
    return (await createRoom(this.instance, await this.actor(bridge), { initialMembers })).roomId
  }

  async send(actor: Actor, roomId: string, body: string, txnId = `t${this.txn++}`): Promise<string> {
    return (await sendMessage(this.instance, actor, { roomId, type: 'm.room.message', txnId, content: { msgtype: 'm.text', body } }))
      .eventId
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    for (const bridge of this.bridges) await bridge[Symbol.asyncDispose]()
    await rm(this.folder, { recursive: true, force: true })
  }

  private async start(): Promise<void> {
    const ports: Ports = { ...systemPorts(pino({ level: 'silent' })), ...this.options.ports }
    const environment = { DATA_DIR: this.folder, USER_DOMAIN: 'example.com', BRIDGE_DOMAIN: 'bridges.example.com' }
    const config: Config = { ...readConfig(environment), ...this.options.config }
    const url = this.options.databaseUrl ?? config.databaseUrl
    const shard = await openShard({
      name: 'main',
      url,
      ports,
      ...(this.options.faults && { faults: this.options.faults }),
      onFatal: (error) => {
        throw error
      },
    })
    this.outbound = new Outbound()
    const sinks = appserviceSinks(this.outbound, { networks: config.appserviceNetworks, ...this.options.timeouts })
    this.host = new InstanceHost({
      config,
      ports,
      shards: [shard],
      services: {
        start: (instance) => {
          startDeliveries(instance, sinks)
          watchReach(instance)
        },
        upward: { appserviceChanged, appserviceAlive },
      },
    })
    await firstStart(this.host)
    this.instance = await this.host.defaultInstance()
    this.owner = await this.actorOf(this.instance.ownerId, false)
    this.administrator = await this.actorOf('@admin:example.com', true)
  }

  private async actorOf(userId: string, admin: boolean): Promise<Actor> {
    const user = await this.instance.storage.first('user', { userId })
    return { user: user!.key, userId, device: 'DEVICE', appservice: null, puppet: false, admin, tokenHash: '' }
  }

  private async stop(): Promise<void> {
    await this.host[Symbol.asyncDispose]()
    await this.outbound[Symbol.asyncDispose]()
  }
}
