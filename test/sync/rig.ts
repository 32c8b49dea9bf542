/** Sync without HTTP: people, a bridge, a clock that the test moves, and a database that is opened again in the middle. */
import { pino } from 'pino'
import { readConfig } from '../../src/config.ts'
import { InstanceHost } from '../../src/instances/host.ts'
import { systemPorts } from '../../src/ports.ts'
import { type CreateRoom, createRoom } from '../../src/rooms/create.ts'
import { messages } from '../../src/rooms/history.ts'
import { inviteUser, joinRoom } from '../../src/rooms/membership.ts'
import { redact } from '../../src/rooms/redact.ts'
import { sendMessage, sendState } from '../../src/rooms/send.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { SyncRequest } from '../../src/sync/request.ts'
import { sync } from '../../src/sync/sync.ts'
import type { Actor } from '../../src/users/actor.ts'
import { putAppservice } from '../../src/users/registrations.ts'
import { makeUser } from '../../src/users/users.ts'
import { Clock } from '../rooms/rig.ts'
import type { Place } from '../storage/engines.ts'

export interface Event {
  readonly type: string
  readonly sender: string
  readonly event_id: string
  readonly state_key?: string
  readonly origin_server_ts: number
  readonly content: JsonObject
  readonly room_id?: string
  readonly redacts?: string
  readonly unsigned?: Readonly<Record<string, unknown>>
}

interface Events {
  readonly events: readonly Event[]
}

export interface RoomBlock {
  readonly timeline: { readonly events: readonly Event[]; readonly limited: boolean; readonly prev_batch: string }
  readonly state?: Events
  readonly state_after?: Events
  readonly 'org.matrix.msc4222.state_after'?: Events
  readonly account_data?: Events
  readonly ephemeral?: Events
  readonly summary?: {
    readonly 'm.heroes'?: readonly string[]
    readonly 'm.joined_member_count'?: number
    readonly 'm.invited_member_count'?: number
  }
  readonly unread_notifications?: { readonly notification_count: number; readonly highlight_count: number }
  readonly unread_thread_notifications?: Readonly<Record<string, { readonly notification_count: number; readonly highlight_count: number }>>
}

export interface Answer {
  readonly next_batch: string
  readonly to_device?: { readonly events: readonly { readonly type: string; readonly sender: string; readonly content: JsonObject }[] }
  readonly device_lists?: { readonly changed: readonly string[]; readonly left: readonly string[] }
  readonly device_one_time_keys_count?: Readonly<Record<string, number>>
  readonly device_unused_fallback_key_types?: readonly string[]
  readonly account_data?: Events
  readonly rooms?: {
    readonly join?: Readonly<Record<string, RoomBlock>>
    readonly invite?: Readonly<Record<string, { readonly invite_state: Events }>>
    readonly knock?: Readonly<Record<string, { readonly knock_state: Events }>>
    readonly leave?: Readonly<Record<string, RoomBlock>>
  }
}

/** `filter` may be an object. */
export interface Request extends Omit<SyncRequest, 'filter'> {
  readonly filter?: object | string
}

export interface Bridge {
  readonly bot: Actor
  ghost(name: string): Actor
}

export class SyncRig {
  readonly clock = new Clock()
  readonly alice: Actor
  readonly bob: Actor
  private readonly place: Place
  private host: InstanceHost
  private open: Instance
  private txn = 0

  private constructor(place: Place, host: InstanceHost, instance: Instance, clock: Clock, people: readonly [Actor, Actor]) {
    this.place = place
    this.host = host
    this.open = instance
    this.clock = clock
    this.alice = people[0]
    this.bob = people[1]
  }

  static async start(place: Place): Promise<SyncRig> {
    const clock = new Clock()
    const host = await makeHost(place, clock)
    const instance = await host.create({
      name: 'default',
      owner: '@alice:example.com',
      userDomain: 'example.com',
      bridgeDomain: 'beeper.local',
    })
    const people = [await makePerson(instance, 'alice'), await makePerson(instance, 'bob')] as const
    return new SyncRig(place, host, instance, clock, people)
  }

  get instance(): Instance {
    return this.open
  }

  person(localpart: string): Promise<Actor> {
    return makePerson(this.open, localpart)
  }

  async bridge(): Promise<Bridge> {
    const { key, bot } = await command(this.open, (decision) => {
      const at = decision.takePosition()
      const user = makeUser(decision, { userId: '@_bot:beeper.local', kind: 'bot', appservice: at })
      const registration = JSON.stringify({ namespaces: { users: [{ regex: '@_.*:beeper\\.local', exclusive: true }] } })
      const row = {
        id: 'bridge',
        asToken: 'as',
        hsToken: 'hs',
        url: null,
        registration,
        setBy: 'operator',
        status: 'active',
        cursor: 0,
        provisioningSecret: null,
        bridgeType: null,
      }
      putAppservice(decision, { ...row, instance: this.open.key, key: at, bot: user.key, createdAt: 0, position: at })
      return { key: at, bot: user.key }
    })
    const ghost = (name: string): Actor => ({ ...nobody, userId: `@_${name}:beeper.local`, appservice: key })
    return { bot: { ...ghost('bot'), user: bot }, ghost }
  }

  /** As after a stop and a start: the bus remembers nothing. */
  async restart(): Promise<void> {
    await this.host[Symbol.asyncDispose]()
    this.host = await makeHost(this.place, this.clock)
    this.open = await this.host.defaultInstance()
  }

  /** The room's id. Members who are not the bridge's are invited and join. */
  async room(creator: Actor, args: CreateRoom = {}, members: readonly Actor[] = []): Promise<string> {
    const { roomId } = await createRoom(this.open, creator, args)
    for (const member of members) {
      await inviteUser(this.open, creator, { roomId, userId: member.userId })
      await joinRoom(this.open, member, { roomIdOrAlias: roomId })
    }
    return roomId
  }

  async say(actor: Actor, roomId: string, body: string, more: JsonObject = {}): Promise<string> {
    const args = { roomId, type: 'm.room.message', txnId: `t${this.txn++}`, content: { msgtype: 'm.text', body, ...more } }
    return (await sendMessage(this.open, actor, args)).eventId
  }

  /** The ids, oldest first. */
  async sayMany(actor: Actor, roomId: string, count: number, name = 'm'): Promise<string[]> {
    const ids: string[] = []
    for (let i = 0; i < count; i++) ids.push(await this.say(actor, roomId, `${name}${i}`))
    return ids
  }

  async set(actor: Actor, roomId: string, type: string, content: JsonObject, stateKey = ''): Promise<string> {
    return (await sendState(this.open, actor, { roomId, type, stateKey, content })).eventId
  }

  async redact(actor: Actor, roomId: string, eventId: string): Promise<string> {
    return (await redact(this.open, actor, { roomId, eventId, txnId: `t${this.txn++}`, content: {} })).eventId
  }

  async messages(actor: Actor, args: Parameters<typeof messages>[2]): Promise<{ chunk: Event[]; end?: string; state?: Event[] }> {
    return JSON.parse(await messages(this.open, actor, args)) as { chunk: Event[]; end?: string; state?: Event[] }
  }

  async sync(actor: Actor, request: Request = {}, signal = new AbortController().signal): Promise<Answer> {
    return JSON.parse(await this.syncText(actor, request, signal)) as Answer
  }

  async syncText(actor: Actor, request: Request = {}, signal = new AbortController().signal): Promise<string> {
    const { filter, ...rest } = request
    const given = filter === undefined ? {} : { filter: typeof filter === 'string' ? filter : JSON.stringify(filter) }
    let text = ''
    for await (const chunk of await sync(this.open, actor, { ...rest, ...given }, signal)) text += chunk
    return text
  }

  /** The token from which on nothing has happened yet. */
  async now(actor: Actor): Promise<string> {
    return (await this.sync(actor)).next_batch
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.host[Symbol.asyncDispose]()
  }
}

const nobody: Actor = { user: null, userId: '', device: null, appservice: null, puppet: false, admin: false, tokenHash: '' }

async function makeHost(place: Place, clock: Clock): Promise<InstanceHost> {
  const ports = {
    ...systemPorts(pino({ level: 'silent' })),
    now: () => clock.now,
    timer: (delayMs: number, run: () => void) => clock.timer(delayMs, run),
  }
  const config = readConfig({ USER_DOMAIN: 'example.com', BRIDGE_DOMAIN: 'beeper.local' })
  const upward = { appserviceChanged: () => undefined, appserviceAlive: () => undefined }
  return new InstanceHost({ config, ports, shards: [await place.open()], services: { start: () => undefined, upward } })
}

async function makePerson(instance: Instance, localpart: string): Promise<Actor> {
  const userId = `@${localpart}:example.com`
  const user = await command(instance, (decision) => makeUser(decision, { userId, kind: 'person' }))
  return { ...nobody, user: user.key, userId, device: `${localpart.toUpperCase()}1` }
}

/** A room as a js-sdk client holds it after syncs: its events, and its state by "type key". */
export class ClientRoom {
  events: Event[] = []
  readonly state = new Map<string, Event>()

  /** State first, then what the timeline brings; with state_after the timeline is not applied. */
  apply(block: RoomBlock): void {
    const after = block.state_after ?? block['org.matrix.msc4222.state_after']
    for (const event of (after ?? block.state)?.events ?? []) this.put(event)
    for (const event of block.timeline.events) {
      if (!after && event.state_key !== undefined) this.put(event)
    }
    this.events = block.timeline.limited ? [...block.timeline.events] : [...this.events, ...block.timeline.events]
  }

  private put(event: Event): void {
    this.state.set(`${event.type} ${event.state_key}`, event)
  }
}

export function ids(events: readonly Event[] | undefined): string[] {
  return (events ?? []).map((event) => event.event_id)
}

/** `type` or `type key` of each. */
export function names(events: readonly Event[] | undefined): string[] {
  return (events ?? []).map(({ type, state_key: key }) => (key ? `${type} ${key}` : type))
}

export function bodies(events: readonly Event[] | undefined): unknown[] {
  return (events ?? []).filter(({ type }) => type === 'm.room.message').map(({ content }) => content['body'])
}

/** What an answer says to a device when nothing happened. */
export function nothingNew(next_batch: string): Answer {
  return { next_batch, device_one_time_keys_count: { signed_curve25519: 0 }, device_unused_fallback_key_types: [] }
}

/** Keys of the answer, but for those that every one has. */
export function news(answer: Answer): string[] {
  const always = Object.keys(nothingNew(''))
  return Object.keys(answer)
    .filter((key) => !always.includes(key))
    .toSorted()
}

export const lazy = { room: { state: { lazy_load_members: true } } }
