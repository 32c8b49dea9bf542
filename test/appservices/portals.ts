/** A server whose time can be moved, and bridges registered for a websocket, each with a room that the owner is in. */

import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'
import { startServer, type TestServer } from '../rig/server.ts'
import { Clock } from './clock.ts'
import { SocketBridge, type SocketBridgeOptions } from './socket-bridge.ts'

export const registrationPath = (id: string) => `/_matrix/asmux/mxauth/appservice/owner/${id}`

export interface Portal {
  readonly id: string
  /** of the appservice */
  readonly key: number
  readonly token: string
  readonly roomId: string
  /** the owner writes */
  send(...bodies: string[]): Promise<void>
  connect(options?: Partial<SocketBridgeOptions>): Promise<SocketBridge>
}

export class Portals implements AsyncDisposable {
  readonly clock: Clock
  readonly server: TestServer
  readonly instance: Instance
  readonly administrator: Actor
  private count = 0

  private constructor(clock: Clock, server: TestServer, instance: Instance, administrator: Actor) {
    this.clock = clock
    this.server = server
    this.instance = instance
    this.administrator = administrator
  }

  static async open(): Promise<Portals> {
    const clock = new Clock(SocketBridge.settle)
    const server = await startServer({ ports: clock.ports })
    const { instance, actor } = await server.server.host.authenticate(server.administrator.token, null)
    return new Portals(clock, server, instance, actor)
  }

  async register(): Promise<Portal> {
    const { server, instance } = this
    const id = `sh-echo${++this.count}`
    const { as_token: token } = (await server.owner.put(registrationPath(id), { push: false })).body
    const roomId = await server.client(token).createRoom({ 'com.beeper.initial_members': [server.owner.userId] })
    const { key } = (await instance.storage.first('appservice', { id }))!
    return {
      ...{ id, key, token, roomId },
      async send(...bodies) {
        for (const body of bodies) await server.owner.send(roomId, body)
      },
      connect: (options) => SocketBridge.connect({ url: server.url, token, ...options }),
    }
  }

  /** Everything before now is delivered. */
  async settled({ key }: Portal): Promise<void> {
    for (;;) {
      await this.clock.move(100)
      const row = (await this.instance.storage.first('appservice', { key }))!
      if ((await this.instance.storage.count('interest', { appservice: key, position: { gt: row.cursor } })) === 0) return
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]()
  }
}
