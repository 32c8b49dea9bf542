/** What a flood is made of: history in bulk, on the default homeserver of a server. */
import type { Load } from './load.ts'
import { bridge } from './rows.ts'
import type { ServerProcess } from './server-process.ts'

const v3 = '/_matrix/client/v3'
const unstable = '/_matrix/client/unstable'

/** Where a flood goes. */
export interface Place {
  readonly url: string
  readonly bridgeToken: string
}

/** The default instance of a server, with a bridge. */
export async function floodOf(server: ServerProcess, load: Load): Promise<{ place: Place; token: string }> {
  const login = await load.request('POST', `${v3}/login`, '', {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: server.owner.userId },
    password: server.owner.password,
  })
  const token = login['access_token'] as string
  return { place: { url: server.url, bridgeToken: await bridge({ load, token }, 'flood', null) }, token }
}

let ids = 0

/** Body of a batch_send of messages of 200 bytes by ghosts of this bridge. */
export function historyOf(id: string, events: number): string {
  const base = 1_600_000_000_000 + ids
  return JSON.stringify({
    events: Array.from({ length: events }, (_, i) => ({
      type: 'm.room.message',
      sender: `@${id}_${i % 20}:example.com`,
      origin_server_ts: base + i,
      event_id: `$${process.pid}x${ids++}:bench.example`,
      content: { msgtype: 'm.text', body: 'x'.repeat(171) },
    })),
  })
}

export function sendHistory(load: Load, token: string, room: string, body: string): Promise<string> {
  return load.text('POST', `${unstable}/com.beeper.backfill/rooms/${encodeURIComponent(room)}/batch_send`, token, body)
}
