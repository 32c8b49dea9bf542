/** One websocket of a bridge, as src/appservices/sockets.ts takes it: frames in and out, and a peer that may be dead, deaf or flooding. */
import type { WebSocket } from 'ws'
import type { Transaction } from '../src/appservices/sinks.ts'
import type { Answer, Connection } from '../src/appservices/sockets.ts'
import { MatrixError } from '../src/errors.ts'
import type { Ports } from '../src/ports.ts'
import { isObject, type JsonObject } from '../src/rules/values.ts'
import { CommandQueue, type Commands } from './as-sync-commands.ts'
import {
  closeReason,
  connectFrame,
  type Farewell,
  type Frame,
  farewells,
  lastId,
  mostSentBytes,
  readFrame,
  requestFrame,
  responseFrame,
  transactionFrame,
} from './as-sync-frames.ts'
import { ReadingPace } from './reading-pace.ts'

/** The largest message taken: the answer of a bridge to a request, such as a list of contacts. */
export const mostReceivedBytes = 16_777_216
/** What a bridge says by itself is as large as the body of a request. */
const mostCommandBytes = 1_048_576
/** Bytes of ours that a bridge has not read yet; then we read nothing of it either. */
const mostUnreadBytes = 4_194_304
const pingEveryMs = 30_000
const mostMissedPings = 2
/** Requests of ours that nobody waits for any more: a late answer to one of them is dropped. The oldest are forgotten. */
const mostGivenUp = 1_000
/** Bridges read nothing, pings neither, while they handle a transaction: slow is not dead. Seven time-outs of it end the connection sooner. */
const mostMissedPingsMeanwhile = 7
const shownErrorLength = 1_000

export interface SocketOptions {
  readonly version: 1 | 2 | 3
  readonly commands: Commands
  readonly ports: Ports
}

export class AsSyncSocket implements Connection {
  readonly version: 1 | 2 | 3
  private readonly socket: WebSocket
  private readonly ports: Ports
  private readonly pace: ReadingPace
  private readonly commands: CommandQueue
  private readonly left = new AbortController()
  private ids = 0
  private readonly asked = new Map<number, (answer: Answer) => void>()
  /** asked, and not answered when whoever waited left; the oldest first */
  private readonly givenUp = new Set<number>()
  /** the transaction sent last, and the frames that carried it; `unsent` while the newest of them has not left us */
  private sent: { readonly txnId: string; readonly ids: number[]; unsent: Promise<Answer> | null } | null = null
  private missedPings = 0
  private stopPings: () => void = () => undefined

  constructor(socket: WebSocket, { version, commands, ports }: SocketOptions) {
    this.socket = socket
    this.version = version
    this.ports = ports
    this.pace = new ReadingPace(socket, ports)
    const write = (text: string) => this.write(text)
    this.commands = new CommandQueue(commands, ports, write, () => this.pace.go('commands'))
    socket.on('message', (message, isBinary) => this.take(message as Buffer, isBinary))
    socket.on('ping', () => this.hear())
    socket.on('pong', (payload) => this.hearPong(payload.toString()))
    socket.on('error', (error) => ports.log.debug({ err: error }, 'the websocket of a bridge failed'))
    socket.once('close', () => this.leave())
    write(connectFrame())
    this.pingLater()
  }

  get gone(): AbortSignal {
    return this.left.signal
  }

  close(why: Farewell): void {
    if (this.gone.aborted) return
    this.leave()
    this.socket.close(farewells[why][0], closeReason(why))
  }

  /** Of version 1 the pong to a ping behind the frame is the answer: the frame was read. */
  transaction({ txnId, body }: Transaction): Promise<Answer> {
    if (this.sent?.txnId !== txnId) {
      for (const id of this.sent?.ids ?? []) this.giveUp(id)
      this.sent = { txnId, ids: [], unsent: null }
    }
    const { sent } = this
    // A copy behind one that has not even left helps nobody.
    if (sent.unsent) return sent.unsent
    const id = this.nextId()
    const text = transactionFrame(id, txnId, body)
    if (Buffer.byteLength(text) > mostSentBytes) throw new Error(`the transaction ${txnId} is larger than bridges read`)
    sent.ids.push(id)
    const answer = new Promise<Answer>((resolve) => this.asked.set(id, resolve))
    sent.unsent = answer
    this.write(text, () => {
      sent.unsent = null
    })
    if (this.version === 1 && this.socket.readyState === this.socket.OPEN) this.socket.ping(String(id))
    return answer
  }

  request(command: string, data: JsonObject, signal: AbortSignal): Promise<Answer> {
    const id = this.nextId()
    const text = requestFrame(id, command, data)
    if (Buffer.byteLength(text) + this.socket.bufferedAmount > mostSentBytes)
      throw new MatrixError('M_TOO_LARGE', 'The request is too large for the websocket of the bridge')
    signal.addEventListener('abort', () => this.giveUp(id))
    const answer = new Promise<Answer>((resolve) => this.asked.set(id, resolve))
    this.write(text)
    return answer
  }

  private giveUp(id: number): void {
    if (!this.asked.delete(id)) return
    this.givenUp.add(id)
    const [oldest] = this.givenUp
    if (this.givenUp.size > mostGivenUp) this.givenUp.delete(oldest!)
  }

  private nextId(): number {
    this.ids = this.ids === lastId ? 1 : this.ids + 1
    this.givenUp.delete(this.ids)
    return this.ids
  }

  private write(text: string, onSent: () => void = () => undefined): void {
    const { socket } = this
    if (socket.readyState !== socket.OPEN) return
    socket.send(text, () => {
      onSent()
      if (socket.bufferedAmount < mostUnreadBytes) this.pace.go('unread')
    })
    if (socket.bufferedAmount >= mostUnreadBytes) this.pace.rest('unread')
  }

  private take(bytes: Buffer, isBinary: boolean): void {
    if (this.gone.aborted) return
    this.missedPings = 0
    // As bridges do.
    if (isBinary) this.pace.count()
    // Not even parsed when nothing of that size can be meant.
    else if (bytes.length > mostCommandBytes && this.asked.size + this.givenUp.size === 0) this.close('tooLarge')
    else {
      const frame = this.read(bytes)
      if (!frame) this.close('badFrame')
      else if (!this.isAnswer(frame)) {
        if (bytes.length > mostCommandBytes) this.close('tooLarge')
        else this.obey(frame)
      }
    }
  }

  private read(bytes: Buffer): Frame | null {
    try {
      return readFrame(bytes)
    } catch (error) {
      this.ports.log.debug({ err: error }, 'a bridge sent no frame')
      return null
    }
  }

  private obey(frame: Frame): void {
    const { id, command } = frame
    this.pace.count()
    // An answer that nobody waits for any more.
    if (command === 'response' || command === 'error') return
    if (command !== 'ping') {
      this.commands.add(frame)
      if (this.commands.isFull) this.pace.rest('commands')
    } else if (id !== null) this.write(responseFrame(id, { timestamp: this.ports.now() }))
  }

  /** Whether it answers what we asked, even if too late. */
  private isAnswer({ id, command, data }: Frame): boolean {
    if (id === null || (command !== 'response' && command !== 'error')) return false
    if (this.givenUp.delete(id)) {
      this.pace.count()
      return true
    }
    const resolve = this.asked.get(id)
    if (!resolve) return false
    this.asked.delete(id)
    // Answered by one of its frames, a transaction is answered.
    if (this.sent?.ids.includes(id)) for (const other of this.sent.ids.splice(0)) this.giveUp(other)
    const object = isObject(data) ? data : {}
    if (command === 'error') {
      const { code, message } = object
      resolve({ ok: false, code: shown(code, 'M_UNKNOWN'), message: shown(message, 'The bridge answered with an error') })
    } else if (data === undefined || data === null || isObject(data)) resolve({ ok: true, data: object })
    else resolve({ ok: false, code: 'M_BAD_JSON', message: 'The bridge answered with data that is no object' })
    return true
  }

  /** The peer lives, and has used some of what it may send. */
  private hear(): void {
    this.missedPings = 0
    this.pace.count()
  }

  private hearPong(payload: string): void {
    this.hear()
    if (this.version === 1) this.isAnswer({ id: Number(payload) || null, command: 'response', data: {} })
  }

  /** Who answers no ping is dead: its side of the connection will never say so. */
  private pingLater(): void {
    this.stopPings = this.ports.timer(pingEveryMs, () => {
      if (this.missedPings >= (this.asked.size > 0 ? mostMissedPingsMeanwhile : mostMissedPings)) {
        this.socket.terminate()
        return
      }
      // While commands wait for us no pong is read.
      if (!this.pace.rests('commands')) this.missedPings++
      this.socket.ping()
      this.pingLater()
    })
  }

  private leave(): void {
    this.stopPings()
    // Its answer to our close must be read.
    this.pace.end()
    this.commands.end()
    this.asked.clear()
    this.givenUp.clear()
    this.left.abort()
  }
}

function shown(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value.slice(0, shownErrorLength) : otherwise
}
