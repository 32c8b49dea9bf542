/** Commands of other programs to a bridge, over its websocket: imessage's `ping`, `start_dm`, `list_contacts`… */
import { invalidParam, MatrixError } from '../errors.ts'
import type { JsonObject } from '../rules/values.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { readBridge } from './registrations.ts'
import { bridgeSockets } from './sockets.ts'

const answerMs = 10_000

/** What only we say: frames of the protocol itself, and requests with the bridge's secret. */
const ours: ReadonlySet<string> = new Set([
  ...['transaction', 'response', 'error', 'connect', 'disconnect', 'close', 'replaced', 'http_proxy'],
])

/**
 * The `data` of the bridge's answer, within 10 s. Errors: M_FORBIDDEN, M_NOT_FOUND, M_INVALID_PARAM, FI.MAU.WS_NOT_CONNECTED, M_CONNECTION_TIMEOUT,
 * M_LIMIT_EXCEEDED; 400 M_UNKNOWN with the bridge's `code` and `message` when it answers with an error.
 */
export async function execBridge(
  instance: Instance,
  actor: Actor,
  { id, command, data }: { readonly id: string; readonly command: string; readonly data: JsonObject },
): Promise<JsonObject> {
  const { key } = await readBridge(instance, actor, id)
  if (!/^[\w.-]{1,100}$/.test(command) || ours.has(command)) throw invalidParam(`${command} is not a command for bridges`)
  try {
    return await bridgeSockets(instance).request(key, command, data, { timeoutMs: answerMs })
  } catch (error) {
    if (!(error instanceof MatrixError) || error.fields['code'] === undefined) throw error
    throw new MatrixError('M_UNKNOWN', error.message, { ...error.fields, message: error.message }, 400)
  }
}
