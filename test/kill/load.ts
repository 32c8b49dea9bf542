/** People, ghosts and a bot who do at random what there is to do in the rooms of one instance, and remember what they were told. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MatrixError } from '../../src/errors.ts'
import type { OpenInstance } from '../../src/instances/open-instance.ts'
import { createRoom } from '../../src/rooms/create.ts'
import { inviteUser, joinRoom, leaveRoom } from '../../src/rooms/membership.ts'
import { setReadMarkers } from '../../src/rooms/receipts.ts'
import { redact } from '../../src/rooms/redact.ts'
import { sendMessage, sendState } from '../../src/rooms/send.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import { command } from '../../src/stream/command.ts'
import type { Actor } from '../../src/users/actor.ts'
import { putAppservice } from '../../src/users/registrations.ts'
import { beginSession } from '../../src/users/sessions.ts'
import { makeUser, userOf } from '../../src/users/users.ts'
import type { Chance } from './chance.ts'

export interface Sent {
  readonly actor: Actor
  readonly roomId: string
  readonly txnId: string
  readonly body: string
  /** null: it was refused, and not repeated */
  readonly eventId: string | null
}

export interface LoadOptions {
  /** the instance as it is open at the moment */
  readonly instance: () => Promise<OpenInstance>
  readonly chance: Chance
  /** false: every request is repeated until it is answered */
  readonly givesUp: boolean
  /** ends all patience */
  readonly signal: AbortSignal
}

/** Like a client's: what a server that is being opened again, or whose commit failed, answers with. */
export function isTransient(error: unknown): boolean {
  return !(error instanceof MatrixError) || error.status >= 500
}

export class Load {
  readonly sent: Sent[] = []
  /** errors that a client would repeat a request after */
  readonly transient: unknown[] = []
  readonly rooms: string[] = []
  private readonly options: LoadOptions
  private readonly people: Actor[] = []
  private bot: Actor | null = null
  private count = 0

  constructor(options: LoadOptions) {
    this.options = options
  }

  get answered(): number {
    return this.sent.filter((sent) => sent.eventId !== null).length
  }

  /** A bridge, people, and rooms in which all of them are. */
  async prepare(people: number): Promise<void> {
    const instance = await this.options.instance()
    this.bot = await makeBridge(instance)
    for (let n = 0; n < people; n++) {
      const userId = n === 0 ? instance.ownerId : `@p${n}:${instance.userDomain}`
      const { key } = await command(instance, (decision) => makeUser(decision, { userId, kind: 'person' }))
      this.people.push(actorOf({ user: key, userId, device: `D${n}` }))
    }
    for (let n = 0; n < 3; n++) await this.portal()
  }

  /** Each person and some ghosts, one thing after the other; what is refused for good is no matter. */
  async run(until: () => boolean): Promise<void> {
    const ghosts = Array.from({ length: 8 }, (_, n) => this.ghost(n))
    await Promise.all(
      [...this.people, ...ghosts].map(async (actor) => {
        while (!until()) {
          await this.act(actor)
          // A refusal from memory takes no turn of the loop.
          await nextTurn()
        }
      }),
    )
  }

  /** The bot says something in each room: then all that such an event touches is in memory, and has been looked for. */
  async visit(): Promise<void> {
    for (const roomId of this.rooms) await this.send(this.bot!, roomId)
  }

  private async act(actor: Actor): Promise<void> {
    const { chance } = this.options
    const roomId = chance.of(this.rooms)
    const what = chance.next()
    const eventId = this.sent.findLast((sent) => sent.roomId === roomId && sent.eventId !== null)?.eventId ?? null
    if (what < 0.5 || eventId === null) return this.send(actor, roomId)
    if (what < 0.6) {
      const key = chance.of(['a', 'b', 'c'])
      const content = { 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key } }
      const txnId = `t${this.count++}`
      return this.try((instance) => sendMessage(instance, actor, { roomId, type: 'm.reaction', txnId, content }))
    }
    if (what < 0.68) return this.try((instance) => setReadMarkers(instance, actor, { roomId, read: { eventId }, fullyRead: { eventId } }))
    if (what < 0.74) {
      const content: JsonObject = { topic: `${this.count++}` }
      return this.try((instance) => sendState(instance, this.bot!, { roomId, type: 'm.room.topic', stateKey: '', content }))
    }
    if (what < 0.8) {
      const txnId = `t${this.count++}`
      return this.try((instance) => redact(instance, this.bot!, { roomId, eventId, txnId, content: {} }))
    }
    if (what < 0.82) return this.try((instance) => leaveRoom(instance, actor, { roomId }))
    if (what < 0.93) {
      await this.try((instance) => inviteUser(instance, this.bot!, { roomId, userId: actor.userId }))
      return this.try((instance) => joinRoom(instance, actor, { roomIdOrAlias: roomId }))
    }
    if (what < 0.96) return this.portal()
    const { user } = actor
    if (user !== null)
      return this.try((instance) =>
        command(instance, (decision) => beginSession(decision, userOf(decision, user), { deviceId: `S${chance.between(0, 5)}` })),
      )
  }

  /** A ghost that is new makes its user in the commit of what it does. */
  private ghost(n: number): Actor {
    return actorOf({ userId: `@_g${n}:${this.bot!.userId.split(':')[1]}`, appservice: this.bot!.appservice })
  }

  /** The owner and a ghost are joined to it, the others take their invitations. */
  private async portal(): Promise<void> {
    const initialMembers = [...this.people.map((person) => person.userId), this.ghost(this.options.chance.between(0, 20)).userId]
    const made: string[] = []
    await this.try(async (instance) => {
      made.push((await createRoom(instance, this.bot!, { preset: 'public_chat', initialMembers })).roomId)
    })
    for (const roomIdOrAlias of made) {
      await Promise.all(this.people.map((person) => this.try((instance) => joinRoom(instance, person, { roomIdOrAlias }))))
      this.rooms.push(roomIdOrAlias)
    }
  }

  private async send(actor: Actor, roomId: string): Promise<void> {
    const n = this.count++
    const sent = { actor, roomId, txnId: `t${n}`, body: `message ${n}` }
    let eventId: string | null = null
    await this.try(async (instance) => {
      eventId = await resend(instance, sent)
    })
    this.sent.push({ ...sent, eventId })
  }

  /** Repeats what only failed, unless its client loses patience. */
  private async try(request: (instance: OpenInstance) => Promise<unknown>): Promise<void> {
    const { chance, givesUp, signal } = this.options
    for (;;) {
      try {
        await request(await this.options.instance())
        return
      } catch (error) {
        if (!isTransient(error)) return
        if (signal.aborted) throw error
        this.transient.push(error)
        if (givesUp && chance.happens(0.5)) return
      }
      await new Promise((resolve) => setTimeout(resolve, chance.between(0, 5)))
    }
  }
}

export async function resend(instance: OpenInstance, { actor, roomId, txnId, body }: Omit<Sent, 'eventId'>): Promise<string> {
  return (await sendMessage(instance, actor, { roomId, type: 'm.room.message', txnId, content: { msgtype: 'm.text', body } })).eventId
}

export function actorOf(actor: Partial<Actor> & Pick<Actor, 'userId'>): Actor {
  return { user: null, device: null, appservice: null, puppet: false, admin: false, tokenHash: '', ...actor }
}

function makeBridge(instance: OpenInstance): Promise<Actor> {
  return command(instance, (decision) => {
    const key = decision.takePosition()
    const bot = makeUser(decision, { userId: `@_bot:${instance.bridgeDomain}`, kind: 'bot', appservice: key })
    const registration = JSON.stringify({ namespaces: { users: [{ regex: '@_.*', exclusive: true }] } })
    const row = {
      id: 'bridge',
      asToken: 'as',
      hsToken: 'hs',
      url: null,
      bot: bot.key,
      registration,
      setBy: 'operator',
      status: 'active',
      provisioningSecret: null,
      bridgeType: null,
    }
    putAppservice(decision, { ...row, instance: instance.key, key, cursor: 0, createdAt: 0, position: key })
    return actorOf({ user: bot.key, userId: bot.userId, appservice: key })
  })
}
