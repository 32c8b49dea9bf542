/**
 * Events that are never stored, such as the words of an answer while it is being written: `com.beeper.ephemeral`. They take positions of the
 * stream, so that syncs bring them like everything else, and are forgotten after two minutes. Appservices are not told.
 */
import { MatrixError } from '../errors.ts'
import { checkIdentifier } from '../rules/event-limits.ts'
import { userLevel } from '../rules/power-levels.ts'
import { isObject, type JsonObject } from '../rules/values.ts'
import type { EventRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { once } from '../users/transactions.ts'
import { actingUser } from '../users/users.ts'
import { checkPuppet } from './puppets.ts'
import { coreOf, joinedSyncers, membershipOf, noSuchRoom, type RoomCore, roomOf, throwRefusal } from './room-core.ts'

/** Longest content, bytes of JSON. */
const mostContentBytes = 65_536
const lifetimeMs = 120_000
/** Of an instance: the oldest go first. */
const mostKept = 2_000
const mostKeptBytes = 8_000_000
/** What it takes to send one where m.room.power_levels does not say. */
const usualLevel = 50

export interface EphemeralEvent {
  readonly room: number
  /** key of the sender */
  readonly sender: number
  readonly senderId: string
  readonly type: string
  /** as clients read it */
  readonly json: string
  readonly position: number
  readonly expiresAt: number
}

class Kept {
  /** oldest first */
  private events: EphemeralEvent[] = []
  private readonly rooms = new Map<number, EphemeralEvent[]>()
  private bytes = 0
  private waiting = false

  of(room: number, since: number, until: number, now: number): EphemeralEvent[] {
    const events = this.rooms.get(room) ?? []
    return events.filter(({ position, expiresAt }) => position > since && position <= until && expiresAt > now)
  }

  add(instance: Instance, event: EphemeralEvent): void {
    this.events.push(event)
    const ofRoom = this.rooms.get(event.room)
    if (ofRoom) ofRoom.push(event)
    else this.rooms.set(event.room, [event])
    this.bytes += event.json.length
    this.drop(instance.ports.now())
    this.wait(instance)
  }

  private drop(now: number): void {
    let dropped = 0
    for (const { room, expiresAt, json } of this.events) {
      if (expiresAt > now && this.events.length - dropped <= mostKept && this.bytes <= mostKeptBytes) break
      this.bytes -= json.length
      dropped++
      // The oldest of all is the oldest of its room.
      const ofRoom = this.rooms.get(room)!
      ofRoom.shift()
      if (ofRoom.length === 0) this.rooms.delete(room)
    }
    if (dropped > 0) this.events = this.events.slice(dropped)
  }

  /** Drops them in time, also when no more come. */
  private wait(instance: Instance): void {
    if (this.waiting || this.events.length === 0) return
    this.waiting = true
    instance.ports.timer(lifetimeMs, () => {
      this.waiting = false
      this.drop(instance.ports.now())
      this.wait(instance)
    })
  }
}

const kept = local(() => new Kept())

/** Those of a room with since < position ≤ until that have not expired; `since` null: all of them. Oldest first. */
export function ephemeralEventsIn(instance: Instance, room: number, since: number | null, until: number): EphemeralEvent[] {
  return kept(instance).of(room, since ?? -1, until, instance.ports.now())
}

export interface SendEphemeralEvent {
  readonly roomId: string
  readonly type: string
  readonly txnId: string
  readonly content: JsonObject
  /** origin_server_ts, ms; appservices only */
  readonly ts?: number | null | undefined
}

/** The same txnId again does nothing. Errors: M_FORBIDDEN unless joined with the power level, M_TOO_LARGE above 64 KiB. */
export async function sendEphemeralEvent(instance: Instance, actor: Actor, args: SendEphemeralEvent): Promise<boolean> {
  throwRefusal(checkIdentifier('type', args.type))
  const content = JSON.stringify(args.content)
  if (Buffer.byteLength(content) > mostContentBytes) throw new MatrixError('M_TOO_LARGE', 'The content is too large')
  return command(instance, (decision) => {
    const room = roomOf(decision, args.roomId, actor.userId)
    const core = coreOf(decision, room)
    checkPuppet(actor, core)
    const sender = actingUser(decision, actor)
    if (membershipOf(decision, room.key, sender.key)?.membership !== 'join') throw noSuchRoom(sender.userId)
    checkLevel(decision, core, sender, args.type)
    return once(decision, actor, sender.key, { scope: `ephemeral/${args.roomId}/${args.type}`, txnId: args.txnId }, () => {
      const ts = actor.appservice !== null && args.ts ? args.ts : decision.now
      const common = { type: args.type, sender: sender.userId, origin_server_ts: ts, room_id: core.roomId }
      const json = `${JSON.stringify(common).slice(0, -1)},"content":${content}}`
      const position = decision.takePosition()
      decision.announce('ephemeral', { rooms: [core.key], users: joinedSyncers(decision, core.key).map(({ key }) => key) })
      // Not before the commit: whoever reads up to a position must not see what comes behind it.
      decision.onCommitted(() =>
        kept(instance).add(instance, {
          room: core.key,
          sender: sender.key,
          senderId: sender.userId,
          type: args.type,
          json,
          position,
          expiresAt: instance.ports.now() + lifetimeMs,
        }),
      )
      return true
    })
  })
}

interface Levels {
  readonly byType: Readonly<Record<string, unknown>>
  readonly usual: number
}

/** `ephemeral` and `ephemeral_default` of m.room.power_levels, beside `events` and `events_default`. */
function checkLevel(decision: Decision, core: RoomCore, sender: UserRow, type: string): void {
  const state = decision.get('state', { room: core.key, type: 'm.room.power_levels', stateKey: '' })
  const row = state && decision.get('event', { room: core.key, order: state.order })
  const { byType, usual } = row ? levelsOf(row) : { byType: {}, usual: usualLevel }
  const own = Object.hasOwn(byType, type) ? byType[type] : undefined
  if (userLevel(core.powerLevels, sender.userId) < (Number.isSafeInteger(own) ? (own as number) : usual)) {
    throw new MatrixError('M_FORBIDDEN', `You don't have permission to send ephemeral events of type ${type}`)
  }
}

/** By the row that holds them: rows are never changed in place. */
const parsed = new WeakMap<EventRow, Levels>()

function levelsOf(row: EventRow): Levels {
  const known = parsed.get(row)
  if (known) return known
  const { content } = JSON.parse(row.json) as { content?: JsonObject }
  const { ephemeral, ephemeral_default: usual } = content ?? {}
  const levels = { byType: isObject(ephemeral) ? ephemeral : {}, usual: Number.isSafeInteger(usual) ? (usual as number) : usualLevel }
  parsed.set(row, levels)
  return levels
}
