/** Account data, global (room 0) and per room. https://spec.matrix.org/v1.19/client-server-api/#client-config */
import type { Decision } from '../stream/command.ts'

/** Puts it and tells every sync of the user, the writer's own included: clients wait for the echo. `content` is a JSON object. */
export function putAccountData(decision: Decision, user: number, room: number, type: string, content: string): void {
  const position = decision.takePosition()
  decision.put('accountData', { instance: decision.instance.key, user, room, type, content, position })
  decision.announce('accountData', { users: [user], rooms: room ? [room] : [] })
}
