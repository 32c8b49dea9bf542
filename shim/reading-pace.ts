/** When a websocket is not read, so that its peer waits: TCP tells it. */
import type { WebSocket } from 'ws'
import type { Ports } from '../src/ports.ts'

/** Messages read of one socket in a second; what the peer sends faster waits on its side. */
const mostPerSecond = 1_000

/** `commands`: it asked more than is done yet; `unread`: it does not read what we send; `often`: it asks too often. */
export type Reason = 'commands' | 'unread' | 'often'

export class ReadingPace {
  private readonly socket: WebSocket
  private readonly ports: Ports
  private readonly reasons = new Set<Reason>()
  private cancel: (() => void) | null = null
  private read = 0
  private ended = false

  constructor(socket: WebSocket, ports: Ports) {
    this.socket = socket
    this.ports = ports
  }

  rest(reason: Reason): void {
    if (this.ended) return
    if (this.reasons.size === 0) this.socket.pause()
    this.reasons.add(reason)
  }

  go(reason: Reason): void {
    if (this.reasons.delete(reason) && this.reasons.size === 0) this.socket.resume()
  }

  rests(reason: Reason): boolean {
    return this.reasons.has(reason)
  }

  /** A message was read. */
  count(): void {
    this.read++
    this.cancel ??= this.ports.timer(1_000, () => {
      this.cancel = null
      this.read = 0
      this.go('often')
    })
    if (this.read >= mostPerSecond) this.rest('often')
  }

  /** It is read to its end. */
  end(): void {
    this.ended = true
    this.cancel?.()
    for (const reason of [...this.reasons]) this.go(reason)
  }
}
