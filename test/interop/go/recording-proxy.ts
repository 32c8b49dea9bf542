/** Stands between a bridge and its homeserver, passes everything on as it comes, and keeps what the homeserver acknowledged. */
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { type RawData, WebSocket, WebSocketServer } from 'ws'

/** What the homeserver answered with 2xx. */
export interface Acknowledged {
  readonly roomId: string
  readonly kind: 'batch' | 'send' | 'state'
  /** in the order in which they were sent */
  readonly eventIds: readonly string[]
}

const largestFrame = 64 * 1024 * 1024

export class RecordingProxy {
  readonly acknowledged: Acknowledged[] = []
  /** refused batches and messages: status and answer */
  readonly refused: string[] = []
  /** of each transaction id, what came with it: once for every attempt */
  readonly transactions = new Map<string, string[]>()
  /** websockets that the homeserver accepted */
  connections = 0
  private readonly target: string
  private readonly agent = new Agent({ keepAlive: true })
  private readonly frames = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: largestFrame })
  private readonly server: Server

  static async start(target: string): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(target)
    proxy.server.listen(0, '127.0.0.1')
    await new Promise((resolve) => proxy.server.once('listening', resolve))
    return proxy
  }

  private constructor(target: string) {
    this.target = target
    this.server = createServer((incoming, answer) => this.pass(incoming, answer))
    this.server.on('upgrade', (incoming, socket, head) => this.join(incoming, socket, head))
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  close(): void {
    this.server.close()
    this.server.closeAllConnections()
    for (const socket of this.frames.clients) socket.terminate()
    this.agent.destroy()
  }

  /**
   * A homeserver that is gone looks to the bridge as it would without us: the connection breaks. A bridge that is gone has asked all the
   * same: what is answered counts.
   */
  private pass(incoming: IncomingMessage, answer: ServerResponse): void {
    const { method = 'GET', headers, url = '/' } = incoming
    const outgoing = request(this.target + url, { method, headers, agent: this.agent })
    const sent = collect(incoming)
    incoming.pipe(outgoing)
    incoming.on('error', () => outgoing.destroy())
    outgoing.on('error', () => answer.destroy())
    outgoing.on('response', (reply) => {
      const received = collect(reply)
      const { statusCode: status = 502 } = reply
      reply.on('error', () => answer.destroy())
      reply.on('end', () => {
        const body = Buffer.concat(received)
        this.record(url, status, Buffer.concat(sent), body)
        answer.writeHead(status, reply.headers).end(body)
      })
    })
  }

  private record(url: string, status: number, sent: Buffer, received: Buffer): void {
    const { pathname } = new URL(url, this.target)
    const [, roomId, what] = /\/rooms\/([^/]+)\/(batch_send|send\/|state\/)/.exec(pathname) ?? []
    if (!roomId || !what || sent.length === 0) return
    if (status < 200 || status > 299) {
      if (what !== 'state/') this.refused.push(`${pathname}: ${status} ${received}`)
      return
    }
    const answer = JSON.parse(received.toString()) as { event_id: string; event_ids: string[] }
    if (what !== 'batch_send') {
      const kind = what === 'send/' ? 'send' : 'state'
      this.acknowledged.push({ roomId: decodeURIComponent(roomId), kind, eventIds: [answer.event_id] })
      return
    }
    const { events } = JSON.parse(sent.toString()) as { events: { event_id: string }[] }
    const eventIds = events.map((event) => event.event_id)
    if (eventIds.join() !== answer.event_ids.join()) this.refused.push(`${pathname}: answered with other event ids than were sent`)
    this.acknowledged.push({ roomId: decodeURIComponent(roomId), kind: 'batch', eventIds })
  }

  /** The bridge's websocket is accepted when the homeserver has accepted ours; a refusal is passed on. */
  private join(incoming: IncomingMessage, socket: Duplex, head: Buffer): void {
    const headers = Object.fromEntries(
      Object.entries(incoming.headers).filter(([name]) => !/^(sec-websocket-|connection$|upgrade$|host$)/.test(name)),
    )
    const upstream = new WebSocket(this.target.replace('http', 'ws') + incoming.url, {
      headers,
      perMessageDeflate: false,
      maxPayload: largestFrame,
    })
    const early: [RawData, boolean][] = []
    const keep = (data: RawData, isBinary: boolean): unknown => early.push([data, isBinary])
    upstream.on('message', keep)
    upstream.on('message', (data) => this.recordFrame(String(data)))
    upstream.on('error', () => socket.destroy())
    upstream.on('unexpected-response', (_, reply) => {
      socket.write(`HTTP/1.1 ${reply.statusCode} ${reply.statusMessage}\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n`)
      reply.pipe(socket)
    })
    const abandon = () => upstream.terminate()
    socket.once('close', abandon)
    upstream.on('open', () => {
      this.connections++
      this.frames.handleUpgrade(incoming, socket, head, (bridge) => {
        socket.off('close', abandon)
        upstream.off('message', keep)
        for (const [data, isBinary] of early) bridge.send(data, { binary: isBinary })
        connect(upstream, bridge)
        connect(bridge, upstream)
      })
    })
  }

  private recordFrame(text: string): void {
    const { id: _, ...frame } = JSON.parse(text) as { id?: number; command: string; txn_id: string }
    if (frame.command !== 'transaction') return
    const attempts = this.transactions.get(frame.txn_id) ?? []
    this.transactions.set(frame.txn_id, [...attempts, JSON.stringify(frame)])
  }
}

function collect(stream: IncomingMessage): Buffer[] {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return chunks
}

/** What comes from one goes to the other; a connection that broke breaks, one that was closed is closed with the same reason. */
function connect(from: WebSocket, to: WebSocket): void {
  from.on('message', (data, isBinary) => to.send(data, { binary: isBinary }, () => undefined))
  from.on('error', () => to.terminate())
  from.on('close', (code, reason) => {
    if (to.readyState !== to.OPEN) return
    if (code === 1006) to.terminate()
    else if (code === 1005) to.close()
    else to.close(code, reason)
  })
}
