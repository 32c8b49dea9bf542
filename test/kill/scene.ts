/** Who is there while the server is killed: a bridge with ghosts, the owner, their rooms, and what the bridge took. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type BridgeRegistration, ExampleBridge } from '../rig/example-bridge.ts'
import { type Body, logIn, PatientClient } from './client.ts'
import { freePort, type ServerProcess } from './server-process.ts'

const roomCount = 4
const historyRoomCount = 2

export interface Scene {
  readonly bridge: ExampleBridge
  readonly rooms: readonly string[]
  /** where only the bot sends, batches */
  readonly historyRooms: readonly string[]
  readonly bot: PatientClient
  /** some ghosts and the owner */
  readonly members: readonly string[]
  /** half of them the owner, half of them ghosts */
  readonly senders: readonly PatientClient[]
  /** two devices of the owner: one that reads the rooms, one that syncs */
  readonly reader: PatientClient
  readonly syncing: PatientClient
}

export async function setScene(server: ServerProcess, senders: number, signal: AbortSignal): Promise<Scene> {
  const { url } = server
  const account = server.accounts!.owner
  const client = (token: string, userId?: string) => new PatientClient({ url, token, signal, ...(userId === undefined ? {} : { userId }) })
  const reader = client(await logIn(url, account, signal))
  const syncing = client(await logIn(url, account, signal))

  const port = await freePort()
  const owner = account.userId.slice(1, account.userId.indexOf(':'))
  const address = { address: `http://127.0.0.1:${port}`, push: true }
  const registration: BridgeRegistration = await reader.ask('PUT', `/_matrix/asmux/mxauth/appservice/${owner}/kill`, address)
  const bridge = await ExampleBridge.start({ homeserverUrl: url, registration, domain: 'example.com', port })
  const ghosts = Array.from({ length: senders / 2 }, (_, n) => bridge.ghostId(`g${n}`))
  const bot = client(registration.as_token)
  const rooms: string[] = []
  for (let n = 0; n < roomCount + historyRoomCount; n++) {
    const body = { preset: 'private_chat', 'com.beeper.initial_members': [...ghosts, account.userId] }
    rooms.push((await bot.ask('POST', '/createRoom', body)).room_id)
  }
  return {
    bridge,
    rooms: rooms.slice(0, roomCount),
    historyRooms: rooms.slice(roomCount),
    bot,
    members: [...ghosts.slice(0, 2), account.userId],
    reader,
    syncing,
    senders: [...ghosts.map((ghost) => client(registration.as_token, ghost)), ...ghosts.map(() => reader)],
  }
}

/** The transactions that the bridge acted upon: like a real one it knows its last one again, and none before that. */
export function transactionsOf(bridge: ExampleBridge): Body[] {
  const taken = bridge.attempts.filter(({ status }) => status === 200)
  return taken.flatMap(({ txnId, text }, n) => (taken[n - 1]?.txnId === txnId ? [] : [JSON.parse(text)]))
}

/** The messages in them, ids by room. */
export function messagesOf(bridge: ExampleBridge): Map<string, string[]> {
  const events = new Map<string, string[]>()
  for (const { type, room_id, event_id } of transactionsOf(bridge).flatMap((transaction) => transaction.events)) {
    if (type !== 'm.room.message') continue
    const ids = events.get(room_id) ?? []
    ids.push(event_id)
    events.set(room_id, ids)
  }
  return events
}

/** Resolves when `holds`; throws after `timeoutMs`. */
export async function until(what: string, holds: () => boolean, timeoutMs = 30_000): Promise<void> {
  for (const end = performance.now() + timeoutMs; !holds(); await sleep(10)) {
    if (performance.now() > end) throw new Error(`${timeoutMs} ms passed before ${what}`)
  }
}
