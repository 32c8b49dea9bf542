/** What waits for an appservice: one row for each position that it is to hear of, gone when it was delivered. */
import type { InterestRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'

/** Of what happens in no room: messages to devices, device lists and key counts. */
export const noRoom = 0

/** Past memory: decisions write interest and never look for it. */
export function noteInterest(decision: Decision, appservice: number, position: number, room: number = noRoom): void {
  const { key: instance } = decision.instance
  decision.write('interest', { instance, appservice, position, room, order: null, since: decision.now })
}

/** Where the event stands of which an appservice is to be told: it may have moved with its room. */
export function spotOf({ room, position, order }: InterestRow): { room: number; order: number } {
  return { room, order: order ?? position }
}
