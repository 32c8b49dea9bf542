/** An instance on a fresh database with people, ghosts and a clock that the test moves. */

import { pino } from 'pino'
import { readConfig } from '../../src/config.ts'
import { InstanceHost } from '../../src/instances/host.ts'
import { systemPorts } from '../../src/ports.ts'
import { type CreateRoom, createRoom } from '../../src/rooms/create.ts'
import { inviteUser, joinRoom } from '../../src/rooms/membership.ts'
import { sendMessage, sendState } from '../../src/rooms/send.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'
import { putAppservice } from '../../src/users/registrations.ts'
import { makeUser } from '../../src/users/users.ts'
import type { Place } from '../storage/engines.ts'

export interface Rig extends AsyncDisposable {
  readonly instance: Instance
  /** milliseconds since the epoch; timers fire when it moves */
  readonly clock: Clock
  /** a person with a device of this name */
  person(localpart: string, device?: string): Promise<Actor>
  /** an appservice and its bot; `ghost(n)` acts for @_ghost_n */
  bridge(): Promise<{ bot: Actor; ghost(name: string): Actor; puppet(owner: Actor): Actor }>
  room(creator: Actor, args?: CreateRoom, members?: readonly Actor[]): Promise<string>
  /** the event's id */
  say(actor: Actor, roomId: string, body: string, more?: JsonObject): Promise<string>
  state(actor: Actor, roomId: string, type: string, content: JsonObject, stateKey?: string): Promise<string>
}

export class Clock {
  now = 1_700_000_000_000
  private timers: { at: number; run: () => void }[] = []

  timer(delayMs: number, run: () => void): () => void {
    const timer = { at: this.now + delayMs, run }
    this.timers.push(timer)
    return () => {
      this.timers = this.timers.filter((other) => other !== timer)
    }
  }

  move(ms: number): void {
    this.now += ms
    const due = this.timers.filter((timer) => timer.at <= this.now)
    this.timers = this.timers.filter((timer) => timer.at > this.now)
    for (const timer of due) timer.run()
  }
}

export async function openRig(place: Place): Promise<Rig> {
  const clock = new Clock()
  const system = systemPorts(pino({ level: 'silent' }))
  const ports = { ...system, now: () => clock.now, timer: (delayMs: number, run: () => void) => clock.timer(delayMs, run) }
  const shard = await place.open()
  const config = readConfig({ USER_DOMAIN: 'example.com', BRIDGE_DOMAIN: 'beeper.local' })
  const upward = { appserviceChanged: () => undefined, appserviceAlive: () => undefined }
  const host = new InstanceHost({ config, ports, shards: [shard], services: { start: () => undefined, upward } })
  const instance = await host.create({
    name: 'default',
    owner: '@owner:example.com',
    userDomain: 'example.com',
    bridgeDomain: 'beeper.local',
  })
  let txn = 0
  const actor = (user: number | null, userId: string, more: Partial<Actor> = {}): Actor => ({
    user,
    userId,
    device: null,
    appservice: null,
    puppet: false,
    admin: false,
    tokenHash: '',
    ...more,
  })
  return {
    instance,
    clock,
    async person(localpart, device = `${localpart.toUpperCase()}1`) {
      const userId = `@${localpart}:example.com`
      const known = await instance.storage.first('user', { userId })
      const user = known ?? (await command(instance, (decision) => makeUser(decision, { userId, kind: 'person' })))
      return actor(user.key, userId, { device })
    },
    async bridge() {
      const { bot, key } = await command(instance, (decision) => {
        const at = decision.takePosition()
        const user = makeUser(decision, { userId: '@_bot:beeper.local', kind: 'bot', appservice: at })
        const registration = JSON.stringify({
          namespaces: { users: [{ regex: '@_.*:beeper\\.local', exclusive: true }] },
          receive_ephemeral: true,
        })
        putAppservice(decision, {
          instance: instance.key,
          key: at,
          id: 'bridge',
          asTokenHash: 'hash',
          asToken: 'as',
          hsToken: 'hs',
          provisioningSecret: null,
          bridgeType: null,
          url: null,
          bot: user.key,
          registration,
          setBy: 'operator',
          status: 'active',
          cursor: 0,
          createdAt: 0,
          position: at,
        } as never)
        return { bot: user.key, key: at }
      })
      return {
        bot: actor(bot, '@_bot:beeper.local', { appservice: key }),
        ghost: (name) => actor(null, `@_ghost_${name}:beeper.local`, { appservice: key }),
        puppet: (owner) => ({ ...owner, device: null, appservice: key, puppet: true }),
      }
    },
    async room(creator, args = {}, members = []) {
      const { roomId } = await createRoom(instance, creator, args)
      for (const member of members) {
        await inviteUser(instance, creator, { roomId, userId: member.userId })
        await joinRoom(instance, member, { roomIdOrAlias: roomId })
      }
      return roomId
    },
    async say(sender, roomId, body, more = {}) {
      const content = { msgtype: 'm.text', body, ...more }
      return (await sendMessage(instance, sender, { roomId, type: 'm.room.message', txnId: `rig${txn++}`, content })).eventId
    },
    async state(sender, roomId, type, content, stateKey = '') {
      return (await sendState(instance, sender, { roomId, type, stateKey, content })).eventId
    },
    async [Symbol.asyncDispose]() {
      // The place closes its shard.
      await host.closeInstance('default')
    },
  }
}

/** The whole text of an answer that comes in pieces, as JSON. */
export async function gather<T>(pieces: AsyncIterable<string> | string): Promise<T> {
  if (typeof pieces === 'string') return JSON.parse(pieces) as T
  let text = ''
  for await (const piece of pieces) text += piece
  return JSON.parse(text) as T
}
