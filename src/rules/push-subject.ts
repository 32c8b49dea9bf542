import { notificationLevel, type PowerLevels, userLevel } from './power-levels.ts'
import type { JsonObject } from './values.ts'

/** The client event that push rules look at, with its `room_id`. */
export type PushEvent = JsonObject & {
  readonly type: string
  readonly sender: string
  readonly room_id: string
  readonly content: JsonObject
}

/** Properties of which nearly every rule wants one value. */
export type TableKey = 'type' | 'sender' | 'room_id'

/** An event prepared once for the rulesets of many users. */
export interface PushSubject {
  readonly event: PushEvent
  readonly memberCount: number
  readonly senderLevel: number
  /** The level needed to notify everybody by this key of `notifications`. */
  notificationLevel(key: string): number
  /** `content.body` without case. */
  readonly body: string
  readonly withoutCase: Readonly<Record<TableKey, string>>
  /** Whether the event says whom it mentions: then the legacy rules that search its body do not apply. */
  readonly hasMentions: boolean
  /** How the event relates to another, and who sent that one; null for an event that relates to none that is known. */
  readonly related: Related | null
}

export interface Related {
  readonly relType: string
  readonly sender: string
}

/** The user whose rules are evaluated. */
export interface PushUser {
  readonly userId: string
  /** In the event's room. */
  readonly displayName?: string | undefined
  /** The user muted the event's room: as a room rule without actions, so that mentions and keywords still come through. */
  readonly muted?: boolean
}

interface RoomOfSubject {
  readonly memberCount: number
  readonly powerLevels: PowerLevels
  readonly related?: Related | null
}

export function pushSubject(event: PushEvent, room: RoomOfSubject): PushSubject {
  const { type, sender, room_id, content } = event
  return {
    event,
    memberCount: room.memberCount,
    senderLevel: userLevel(room.powerLevels, sender),
    notificationLevel: (key) => notificationLevel(room.powerLevels, key),
    body: typeof content.body === 'string' ? ignoreCase(content.body) : '',
    withoutCase: { type: ignoreCase(type), sender: ignoreCase(sender), room_id: ignoreCase(room_id) },
    hasMentions: content['m.mentions'] !== undefined,
    related: room.related ?? null,
  }
}

/** "The exact meaning of 'case insensitive' is defined by the implementation of the homeserver." */
export function ignoreCase(text: string): string {
  return text.toLowerCase()
}
