/** One websocket as graphql-ws wants it. What it sends waits until the socket has taken it: a slow reader holds up its own subscriptions only. */
import type { IncomingMessage } from 'node:http'
import type { Server } from 'graphql-ws'
import type { WebSocket } from 'ws'
import type { Ports } from '../ports.ts'

/** A peer that answers no ping until the next one is gone. */
const pingMs = 12_000
/** Bytes of ours that a peer may leave unread before it is not read on: whatever it sends makes answers, pings too, and before its token is known. */
const mostUnreadBytes = 4_194_304

export interface PeerExtra {
  readonly socket: WebSocket
  readonly request: IncomingMessage
}

/** Serves it until it is closed; `extra` is what the operations of this socket find in their context. */
export function attachPeer<E extends PeerExtra>(server: Server<E>, extra: E, { log, timer }: Ports): void {
  const { socket, request } = extra
  const drop = (error: Error): void => {
    log.debug({ err: error }, 'websocket dropped')
    socket.terminate()
  }
  socket.on('error', drop)
  let answered = true
  let stopPings = timer(pingMs, ping)
  function ping(): void {
    if (!answered) socket.terminate()
    else {
      answered = false
      socket.ping()
      stopPings = timer(pingMs, ping)
    }
  }
  socket.on('pong', () => {
    answered = true
  })
  const awaitReading = (): void => {
    if (socket.bufferedAmount > mostUnreadBytes) socket.pause()
  }
  socket.on('ping', awaitReading)
  request.socket.on('drain', () => socket.resume())
  const closed = server.opened(
    {
      protocol: socket.protocol,
      // A socket that is gone is told by its close; nobody needs the error of the message that found out.
      send: (text) =>
        new Promise((resolve) => {
          if (socket.readyState !== socket.OPEN) return resolve()
          socket.send(text, (error) => {
            if (error) drop(error)
            resolve()
          })
        }),
      close: (code, reason) => socket.close(code, reason),
      onMessage: (take) =>
        socket.on('message', (message) => {
          setImmediate(awaitReading)
          take(String(message)).catch((error: unknown) => {
            log.error({ err: error }, 'websocket message failed')
            socket.close(4500, 'Internal server error')
          })
        }),
    },
    extra,
  )
  socket.once('close', (code, reason) => {
    stopPings()
    void closed(code, String(reason))
  })
}
