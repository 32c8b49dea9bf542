/** Reading history as the tests do it. */
import type { MatrixError } from '../../src/errors.ts'
import { messages } from '../../src/rooms/history.ts'
import { viewEvent } from '../../src/rooms/timeline.ts'
import type { JsonObject } from '../../src/rules/values.ts'
import type { Instance } from '../../src/stream/instance.ts'
import type { Actor } from '../../src/users/actor.ts'

export interface Event {
  readonly event_id: string
  readonly type: string
  readonly sender: string
  readonly room_id?: string
  readonly state_key?: string
  readonly content: JsonObject
  readonly unsigned: JsonObject
}
export interface Answer {
  readonly start: string
  readonly end?: string
  readonly chunk: readonly Event[]
  readonly state?: readonly Event[]
}

export async function readEvent(instance: Instance, actor: Actor, args: { roomId: string; eventId: string }): Promise<string> {
  return (await viewEvent(instance, actor, args)).text
}

export async function read(
  instance: Instance,
  actor: Actor,
  roomId: string,
  more: Partial<Parameters<typeof messages>[2]> = {},
): Promise<Answer> {
  return JSON.parse(await messages(instance, actor, { roomId, dir: 'b', ...more })) as Answer
}

export function bodies(answer: Answer): unknown[] {
  return answer.chunk.flatMap((event) => (event.type === 'm.room.message' ? [event.content['body']] : []))
}

export const forbidden = (error: MatrixError): boolean => error.errcode === 'M_FORBIDDEN'
export const hidden = (error: MatrixError): boolean => error.errcode === 'M_NOT_FOUND'
