/** A small bridge that connects by websocket: it takes transactions as ExampleBridge does, and can be told to be deaf, to fail or to crash. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { note } from '../rig/record.ts'

// biome-ignore lint/suspicious/noExplicitAny: a bridge reads what it gets
export type Frame = any

export interface Attempt {
  /** of the frame */
  readonly id: number
  readonly txnId: string
  /** the frame without its id, as text */
  readonly text: string
}

/**
 * `ok`: take and acknowledge; `silent`: take and say nothing; `hang`: take nothing, say nothing; `lose`: take it and crash before the answer;
 * `error`: answer with an error.
 */
export type Behaviour = 'ok' | 'silent' | 'hang' | 'lose' | 'error'

export interface SocketBridgeOptions {
  /** http://… of the homeserver, perhaps with /_hungryserv/{instance} */
  readonly url: string
  readonly token: string
  /** null: says none */
  readonly version?: string | null
  /** answers the pings of the websocket itself */
  readonly autoPong?: boolean
}

export const syncPath = '/_matrix/client/unstable/fi.mau.as_sync'

export class SocketBridge implements AsyncDisposable {
  readonly options: SocketBridgeOptions
  behaviour: Behaviour = 'ok'
  /** everything it was sent, over all its connections */
  readonly frames: Frame[] = []
  readonly attempts: Attempt[] = []
  /** of transactions other than the one before: bridges remember no more */
  readonly events: Frame[] = []
  socket: WebSocket | null = null
  /** how its last connection was closed */
  closed: Promise<{ code: number; reason: string }> = Promise.resolve({ code: 0, reason: '' })
  private last = ''
  private static readonly living = new Set<WebSocket>()
  private ids = 0

  private constructor(options: SocketBridgeOptions) {
    this.options = options
  }

  static async connect(options: SocketBridgeOptions): Promise<SocketBridge> {
    const bridge = new SocketBridge(options)
    await bridge.connect()
    return bridge
  }

  /** Rejects with the status and the error body when it is refused. */
  async connect(): Promise<void> {
    const socket = this.open()
    this.socket = socket
    this.closed = new Promise((resolve) => socket.once('close', (code, reason) => resolve({ code, reason: String(reason) })))
    socket.on('message', (message) => this.take(String(message)))
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
      socket.once('unexpected-response', (_request, response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          note('GET', syncPath, response.statusCode ?? 0)
          this.socket = null
          reject(Object.assign(new Error(`${response.statusCode} ${text}`), { status: response.statusCode, body: JSON.parse(text) }))
        })
      })
    })
    note('GET', syncPath, 101)
    socket.on('error', () => undefined)
    if (this.options.autoPong === false) return
    SocketBridge.living.add(socket)
    socket.once('close', () => SocketBridge.living.delete(socket))
  }

  /** Every bridge has read what it was sent, and its answers have been read: for a Clock. */
  static async settle(): Promise<void> {
    const answered = (socket: WebSocket) =>
      new Promise<void>((resolve) => {
        const done = () => {
          socket.off('pong', done)
          socket.off('close', done)
          resolve()
        }
        socket.on('pong', done)
        socket.on('close', done)
        socket.ping()
      })
    await Promise.all([...SocketBridge.living].filter((socket) => socket.readyState === WebSocket.OPEN && !socket.isPaused).map(answered))
  }

  get bodies(): string[] {
    return this.events.filter((event) => event.type === 'm.room.message').map((event) => event.content.body)
  }

  send(frame: object | string): void {
    this.socket?.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  /** A request of its own; the frame that answers it. */
  async ask(command: string, data: unknown): Promise<Frame> {
    const id = ++this.ids
    this.send({ id, command, data })
    const isAnswer = (frame: Frame) => frame.id === id && (frame.command === 'response' || frame.command === 'error')
    await this.until(`${command} is answered`, () => this.frames.some(isAnswer))
    return this.frames.find(isAnswer)
  }

  async crash(): Promise<void> {
    const { socket } = this
    this.socket = null
    if (!socket || socket.readyState === WebSocket.CLOSED) return
    socket.terminate()
    await once(socket, 'close')
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    for (let i = 0; !holds(); i++) {
      if (i === 2_000) throw new Error(`the bridge waited in vain until ${what}; it has ${this.frames.length} frames`)
      await sleep(5)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.crash()
  }

  private open(): WebSocket {
    const { url, token, version = '3', autoPong = true } = this.options
    const headers = {
      authorization: `Bearer ${token}`,
      'x-mautrix-process-id': 'test',
      ...(version === null ? {} : { 'x-mautrix-websocket-version': version }),
    }
    return new WebSocket(url.replace('http', 'ws') + syncPath, { headers, autoPong, perMessageDeflate: false })
  }

  private take(text: string): void {
    const frame: Frame = JSON.parse(text)
    this.frames.push(frame)
    if (frame.command !== 'transaction') return
    this.attempts.push({ id: frame.id, txnId: frame.txn_id, text: text.replace(/^\{"id":\d+,/, '{') })
    const { behaviour, socket } = this
    if (behaviour === 'hang') return
    if (behaviour === 'error') {
      this.send({ id: frame.id, command: 'error', data: { code: 'ORG.EXAMPLE', message: 'Told to fail' } })
      return
    }
    if (this.last !== frame.txn_id) this.events.push(...frame.events)
    this.last = frame.txn_id
    if (behaviour === 'lose') socket?.terminate()
    if (behaviour === 'ok') this.send({ id: frame.id, command: 'response', data: { txn_id: frame.txn_id } })
  }
}
