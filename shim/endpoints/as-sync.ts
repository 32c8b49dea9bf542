/** The appservice websocket: bridges that cannot be reached connect to us, and are sent their transactions over it. */
import type { WebSocket, WebSocketServer } from 'ws'
import { bridgeSockets } from '../../src/appservices/sockets.ts'
import { invalidParam, MatrixError } from '../../src/errors.ts'
import { AsSyncSocket, mostReceivedBytes } from '../as-sync.ts'
import type { Commands } from '../as-sync-commands.ts'
import { type UpgradeRequest, upgradeEndpoint } from '../endpoint.ts'
import { reportBridgeState, reportMessageCheckpoints } from './appservice.ts'

/** A peer that does not answer our close is not waited for longer. */
const closeMs = 1_000

/** Takes a websocket of a bridge whose registration says `url: websocket`; the one it had is closed. docs/bridges.md has the frames. */
export const connectBridge = upgradeEndpoint({
  path: '/_matrix/client/unstable/fi.mau.as_sync',
  auth: 'appservice',
  async upgrade(request) {
    const { instance, actor, host } = request.context
    const { headers } = request.request
    const version = versionOf(headers['x-mautrix-websocket-version'])
    const sockets = bridgeSockets(instance)
    const appservice = actor!.appservice!
    const server = await webSockets()
    await sockets.admit(appservice)
    const accepted = accept(server, request)
    if (!accepted) return
    const socket = new AsSyncSocket(accepted, { version, commands: commandsOf(request), ports: instance.ports })
    sockets.attach(appservice, socket)
    const stopListening = host.onSessionEnd(instance, actor!, () => socket.close('registrationChanged'))
    if (socket.gone.aborted) stopListening()
    else socket.gone.addEventListener('abort', stopListening)
    const process = String(headers['x-mautrix-process-id'] ?? '').slice(0, 100)
    instance.ports.log.debug({ appservice, version, process }, 'a bridge has connected')
  },
})

function commandsOf({ perform }: Pick<UpgradeRequest, 'perform'>): Commands {
  return {
    async bridge_status(data) {
      await perform(reportBridgeState, data)
      return {}
    },
    async message_checkpoint(data) {
      await perform(reportMessageCheckpoints, data)
      return {}
    },
  }
}

/** 1: never acknowledges, as clients from before the header; 2: acknowledges; 3: and drops what comes a second time. */
function versionOf(header: string | string[] | undefined): 1 | 2 | 3 {
  const version = header === undefined ? 1 : Number(header)
  if (!Number.isSafeInteger(version) || version < 1) throw invalidParam('X-Mautrix-Websocket-Version takes 1, 2 or 3')
  return Math.min(version, 3) as 1 | 2 | 3
}

let server: Promise<WebSocketServer> | null = null

/** Loaded when the first bridge comes. */
function webSockets(): Promise<WebSocketServer> {
  server ??= import('ws').then(({ WebSocketServer }) => {
    const options = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: mostReceivedBytes,
      closeTimeout: closeMs,
    }
    // One message at a turn of the loop: the homeservers of others have theirs in between.
    return new WebSocketServer({ ...options, allowSynchronousEvents: false })
  })
  return server
}

/** Null when the peer has gone. Errors: 400 when the request is no handshake. */
function accept(server: WebSocketServer, { request, socket, head }: Pick<UpgradeRequest, 'request' | 'socket' | 'head'>): WebSocket | null {
  let accepted: WebSocket | null = null
  let refusal: Error | null = null
  const refuse = (error: Error) => {
    refusal = error
  }
  server.on('wsClientError', refuse)
  server.handleUpgrade(request, socket, head, (made) => {
    accepted = made
  })
  server.off('wsClientError', refuse)
  if (refusal) throw new MatrixError('M_UNKNOWN', `This is no websocket handshake: ${(refusal as Error).message}`, {}, 400)
  return accepted
}
