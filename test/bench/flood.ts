/** One homeserver's flood, from a process of its own: 32 senders, history in bulk, and rooms of 100 000 events that are deleted. */
import { Load } from './load.ts'
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

async function flood({ url, bridgeToken, ownerToken }: Place & { readonly ownerToken: string }): Promise<never> {
  const load = new Load(url)
  const newRoom = async (token: string): Promise<string> => (await load.request('POST', `${v3}/createRoom`, token, {}))['room_id'] as string
  const grow = async (): Promise<string> => {
    const room = await newRoom(bridgeToken)
    for (let i = 0; i < 20; i++) await sendHistory(load, bridgeToken, room, historyOf('flood', 5_000))
    return room
  }
  let grown = await grow()
  process.stdout.write('begins\n')
  const deleting = async (): Promise<never> => {
    for (;;) {
      await load.text('POST', `${unstable}/com.beeper.yeet/rooms/${encodeURIComponent(grown)}/delete`, bridgeToken, {})
      grown = await grow()
    }
  }
  const sending = async (client: number): Promise<never> => {
    const room = encodeURIComponent(await newRoom(ownerToken))
    for (let n = 0; ; n++) {
      await load.text('PUT', `${v3}/rooms/${room}/send/m.room.message/f${client}x${n}`, ownerToken, {
        msgtype: 'm.text',
        body: 'x'.repeat(171),
      })
    }
  }
  return Promise.race([deleting(), ...Array.from({ length: 32 }, (_, client) => sending(client))])
}

if (process.argv[1]?.endsWith('flood.ts')) await flood(JSON.parse(process.argv[2] ?? '') as Place & { ownerToken: string })
