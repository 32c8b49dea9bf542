/** Requests to a server under measure, over kept connections. A client as lean as this leaves the machine to the server. */
import { connect, type Socket } from 'node:net'

const endOfHeaders = Buffer.from('\r\n\r\n')

/** One kept connection, one request at a time. */
class Connection {
  isClosed = false
  private readonly socket: Socket
  private waiting: { resolve(answer: { status: number; text: string }): void; reject(error: Error): void } | null = null
  private received: Buffer[] = []
  private length = 0
  /** total length of the answer under way; null until its headers are there, -1 while it comes in chunks */
  private expected: number | null = null

  constructor(url: URL) {
    this.socket = connect(Number(url.port), url.hostname)
    this.socket.setNoDelay(true)
    this.socket.on('data', (bytes: Buffer) => this.take(bytes))
    const end = (error?: Error) => {
      this.isClosed = true
      this.waiting?.reject(error ?? new Error('the connection was closed'))
    }
    this.socket.on('error', end).on('close', () => end())
  }

  send(head: string, body: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject }
      this.socket.write(head + body)
    })
  }

  close(): void {
    this.socket.destroy()
  }

  private take(bytes: Buffer): void {
    this.received.push(bytes)
    this.length += bytes.length
    if (this.expected === null) this.readHeaders()
    if (this.expected === -1 ? !bytes.subarray(-7).toString('latin1').endsWith('0\r\n\r\n') : this.length < (this.expected ?? Infinity))
      return
    const all = Buffer.concat(this.received)
    const body = all.subarray(all.indexOf(endOfHeaders) + 4)
    const answer = { status: Number(all.toString('latin1', 9, 12)), text: this.expected === -1 ? unchunked(body) : body.toString() }
    this.received = []
    this.length = 0
    this.expected = null
    const { waiting } = this
    this.waiting = null
    waiting?.resolve(answer)
  }

  private readHeaders(): void {
    const all = this.received.length === 1 ? this.received[0]! : Buffer.concat(this.received)
    const end = all.indexOf(endOfHeaders)
    if (end < 0) return
    const headers = all.toString('latin1', 0, end).toLowerCase()
    const found = /\r\ncontent-length: *(\d+)/.exec(headers)
    this.expected = found ? end + 4 + Number(found[1]) : -1
  }
}

function unchunked(body: Buffer): string {
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const end = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.toString('latin1', at, end), 16)
    if (!(size > 0)) return Buffer.concat(parts).toString()
    parts.push(body.subarray(end + 2, end + 2 + size))
    at = end + 4 + size
  }
}

export class Load {
  readonly url: string
  private readonly address: URL
  private readonly free: Connection[] = []
  private readonly all: Connection[] = []

  constructor(url: string) {
    this.url = url
    this.address = new URL(url)
  }

  /** The parsed body; throws unless it went well. */
  async request(method: string, path: string, token: string, body?: unknown): Promise<Record<string, unknown>> {
    const text = await this.text(method, path, token, body)
    return JSON.parse(text) as Record<string, unknown>
  }

  async text(method: string, path: string, token: string, body?: unknown): Promise<string> {
    const content = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)
    const head = `${method} ${path} HTTP/1.1\r\nhost: ${this.address.host}\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(content)}\r\n\r\n`
    const connection = this.take()
    const reply = await connection.send(head, content)
    this.free.push(connection)
    if (reply.status >= 300) throw new Error(`${method} ${path}: ${reply.status} ${reply.text}`)
    return reply.text
  }

  async close(): Promise<void> {
    for (const connection of this.all) connection.close()
  }

  /** One that the server has not closed meanwhile, else a new one. */
  private take(): Connection {
    for (;;) {
      const connection = this.free.pop()
      if (!connection) return this.open()
      if (!connection.isClosed) return connection
    }
  }

  private open(): Connection {
    const connection = new Connection(this.address)
    this.all.push(connection)
    return connection
  }
}

/** Runs `act` from `clients` loops at once for `ms`; how many times a second it was done. */
export async function rate(clients: number, ms: number, act: (client: number, n: number) => Promise<unknown>): Promise<number> {
  const start = performance.now()
  let done = 0
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let n = 0; performance.now() - start < ms; n++) {
        await act(client, n)
        done++
      }
    }),
  )
  return (done * 1_000) / (performance.now() - start)
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}
