/** A bridge with the history of a network, as the tests of batches need it. */
import assert from 'node:assert/strict'
import type { Client, Reply, TestServer } from '../rig/server.ts'
import { registerBridge, type TestBridge } from '../users/bridge.ts'

export const path = encodeURIComponent

export interface HistoryEvent {
  readonly type: string
  readonly sender: string
  readonly origin_server_ts: number
  readonly event_id: string
  readonly content: Record<string, unknown>
  readonly [key: string]: unknown
}

export interface Historian {
  readonly bridge: TestBridge
  /** requests as its bot */
  readonly bot: Client
  /** a room of the bot, the owner and ghost 1 */
  portal(more?: object): Promise<string>
  /** n messages, the oldest first, with ids of the network */
  messages(name: string, n: number, more?: Partial<HistoryEvent>): HistoryEvent[]
  send(roomId: string, body: object): Promise<Reply>
  /** the same, for what must succeed: the ids */
  sent(roomId: string, body: object): Promise<string[]>
}

export async function startHistorian(server: TestServer, id: string): Promise<Historian> {
  const bridge = await registerBridge(server, id)
  const bot = server.client(bridge.as_token, bridge.botId)
  const send = (roomId: string, body: object) =>
    bot.post(`/_matrix/client/unstable/com.beeper.backfill/rooms/${path(roomId)}/batch_send`, body)
  return {
    bridge,
    bot,
    portal: (more = {}) =>
      bot.createRoom({ invite: [server.owner.userId, bridge.ghost(1)], 'com.beeper.auto_join_invites': true, ...more }),
    messages: (name, n, more = {}) =>
      Array.from({ length: n }, (_, i) => ({
        type: 'm.room.message',
        sender: bridge.ghost(1),
        origin_server_ts: 1_600_000_000_000 + i,
        event_id: `$${name}-${i}:whatsapp.com`,
        content: { msgtype: 'm.text', body: `${name} ${i}` },
        ...more,
      })),
    send,
    async sent(roomId, body) {
      const reply = await send(roomId, body)
      assert.equal(reply.status, 200, JSON.stringify(reply.body))
      return reply.body.event_ids
    },
  }
}

/** All events of a room that are no state, the newest first, paged to the very first. */
export async function pageBack(reader: Client, roomId: string, limit = 50): Promise<Reply['body'][]> {
  const events: Reply['body'][] = []
  for (let from = ''; ; ) {
    const reply = await reader.get(`/rooms/${path(roomId)}/messages?dir=b&limit=${limit}${from}`)
    assert.equal(reply.status, 200, JSON.stringify(reply.body))
    events.push(...reply.body.chunk.filter((event: Reply['body']) => event.state_key === undefined))
    if (reply.body.end === undefined) return events
    from = `&from=${reply.body.end}`
  }
}

export function refused(reply: Reply, status: number, errcode: string): void {
  assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(reply.body))
}

export const idsOf = (events: readonly { readonly event_id: string }[]): string[] => events.map(({ event_id }) => event_id)
