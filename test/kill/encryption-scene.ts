/** Who encrypts while the server is killed: the owner on three devices, which sync, a bridge's bot and a ghost of it, who have transactions. */
import assert from 'node:assert/strict'
import { type BridgeRegistration, ExampleBridge } from '../rig/example-bridge.ts'
import { logIn, PatientClient } from './client.ts'
import { freePort, type ServerProcess } from './server-process.ts'

export interface Device {
  readonly userId: string
  readonly deviceId: string
  /** acts on it */
  readonly client: PatientClient
}

export interface EncryptedScene {
  readonly bridge: ExampleBridge
  /** where all of them are */
  readonly roomId: string
  /** all devices of the owner */
  readonly own: readonly Device[]
  /** the bot's and the ghost's */
  readonly served: readonly Device[]
}

export async function setEncryptedScene({ url, accounts }: ServerProcess, signal: AbortSignal): Promise<EncryptedScene> {
  const account = accounts!.owner
  const { userId } = account
  const own: Device[] = []
  for (const deviceId of ['PHONE', 'LAPTOP', 'TABLET']) {
    const token = await logIn(url, account, signal, deviceId)
    own.push({ userId, deviceId, client: new PatientClient({ url, token, signal }) })
  }
  const port = await freePort()
  const path = `/_matrix/asmux/mxauth/appservice/${userId.slice(1, userId.indexOf(':'))}/kill`
  const registration: BridgeRegistration = await own[0]!.client.ask('PUT', path, { address: `http://127.0.0.1:${port}`, push: true })
  const bridge = await ExampleBridge.start({ homeserverUrl: url, registration, domain: 'example.com', port })
  const served: Device[] = []
  for (const [id, deviceId] of [
    [bridge.botId, 'BOT'],
    [bridge.ghostId('g'), 'GHOST'],
  ] as const) {
    const as = { url, token: registration.as_token, userId: id, signal }
    const { status, body } = await new PatientClient(as).answer('PUT', `/devices/${deviceId}`, {})
    assert.equal(status, 201, JSON.stringify(body))
    served.push({ userId: id, deviceId, client: new PatientClient({ ...as, deviceId }) })
  }
  const members = { preset: 'private_chat', 'com.beeper.initial_members': [userId, bridge.ghostId('g')] }
  return { bridge, roomId: (await bridge.ask('POST', '/createRoom', members)).room_id, own, served }
}
